//! An actor that publishes, and actors that subscribe to it and change their minds.

mod common;
#[path = "common/places.rs"]
mod places;

use std::cell::Cell as Flag;
use std::fmt;
use std::time::Duration;

use common::{Cell, in_every_cell};
use places::tree_of_peers;
use serde::{Deserialize, Serialize};
use tractor::runtime::{TooSlow, fail_after, nursery, sync::Event, time};
use tractor::trionics::Topic;
use tractor::{Caller, Context, Dialog, Error, Result, SpawnOptions, endpoint, wait_for_actor};

thread_local! {
    static EVEN: Topic<u64> = Topic::new();
    static ODD: Topic<u64> = Topic::new();
}

/// Publishes a number a millisecond.
async fn publish((): ()) -> Result<()> {
    let (even, odd) = (EVEN.with(Topic::clone), ODD.with(Topic::clone));
    for number in 0.. {
        match number % 2 {
            0 => even.publish(&number),
            _ => odd.publish(&number),
        };
        time::sleep(Duration::from_millis(1)).await?;
    }
    Ok(())
}
endpoint!(publish);

/// What a subscriber wants to have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Wanted {
    even: bool,
    odd: bool,
}

impl Wanted {
    const EVEN: Self = Self {
        even: true,
        odd: false,
    };
    const ODD: Self = Self {
        even: false,
        odd: true,
    };
    const BOTH: Self = Self {
        even: true,
        odd: true,
    };

    fn covers(self, number: u64) -> bool {
        if number.is_multiple_of(2) {
            self.even
        } else {
            self.odd
        }
    }
}

struct Subscribing;
impl Dialog for Subscribing {
    type Started = ();
    type ToChild = Wanted;
    type ToParent = u64;
}

/// Sends what is wanted, of what is published here.
async fn subscribe(ctx: &mut Context<Subscribing>, (): ()) -> Result<()> {
    ctx.started(()).await?;
    let stream = &ctx.open_stream()?;
    let wanted = &Flag::new(Wanted {
        even: false,
        odd: false,
    });
    nursery(async |n| {
        for topic in [EVEN.with(Topic::clone), ODD.with(Topic::clone)] {
            n.start_soon(async move {
                let subscription = topic.subscribe(64);
                // Here it is one of those that have it.
                drop(topic);
                while let Some(number) = subscription.next().await? {
                    if wanted.get().covers(number) {
                        stream.send(&number).await?;
                    }
                }
                Ok(())
            });
        }
        while let Some(other) = stream.receive().await? {
            wanted.set(other);
        }
        Ok(())
    })
    .await
}
endpoint!(subscribe);

struct Plain;
impl Dialog for Plain {
    type Started = ();
    type ToChild = ();
    type ToParent = ();
}

/// How many items a sender has on the way.
const WINDOW: u32 = 64;

/// Takes what it wants from the publisher, and has started when it has had enough of it. With
/// several things to want, it wants one after the other.
async fn take(ctx: &mut Context<Plain>, wants: Vec<Wanted>) -> Result<()> {
    let publisher = wait_for_actor("publisher").await?;
    let body = async |subscribing: &Context<Subscribing, Caller<()>>, ()| {
        let stream = subscribing.open_stream()?;
        for round in 0.. {
            for wanted in &wants {
                stream.send(wanted).await?;
                let (mut count, mut others, mut last) = (0, 0, None);
                while count < 10 {
                    let number = stream.receive().await?.expect("it goes on for ever");
                    match wanted.covers(number) {
                        true => count += 1,
                        false => others += 1,
                    }
                    // Of each topic in order.
                    if wants.len() == 1 && *wanted != Wanted::BOTH {
                        assert!(last < Some(number), "{wanted:?}: {number}");
                        last = Some(number);
                    }
                }
                // What was on the way when it changed its mind: a window, and what waited for that.
                let most = if wants.len() > 1 { WINDOW + 2 } else { 0 };
                assert!(others <= most, "{wanted:?}: {others} others");
            }
            if round == 1 {
                ctx.started(()).await?;
            }
        }
        Ok(())
    };
    publisher.open_context(subscribe, (), body).await
}
endpoint!(take);

/// What a body fails with.
#[derive(Debug, PartialEq)]
struct Interrupt;

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupt {}

/// Runs a publisher with its subscribers, and `then` when all of them have had something.
fn published(cell: Cell, then: impl AsyncFnOnce() -> Result<()>) -> Error {
    let subscribers = [
        ("even", vec![Wanted::EVEN]),
        ("odd", vec![Wanted::ODD]),
        ("both", vec![Wanted::BOTH]),
        ("dynamic", vec![Wanted::EVEN, Wanted::ODD, Wanted::BOTH]),
    ];
    tree_of_peers(cell, async |options: SpawnOptions| {
        tractor::nursery(async |an| {
            let options = options.enable_module("publishers");
            let publisher = an.start_actor("publisher", options.clone()).await?;
            nursery(async |n| {
                n.start_soon(publisher.run(publish, ()));
                let mut all = Vec::new();
                for (name, wants) in subscribers {
                    let portal = an.start_actor(name, options.clone()).await?;
                    let served = std::rc::Rc::new(Event::new());
                    all.push(served.clone());
                    n.start_soon(async move {
                        let body = async |_: &Context<Plain, Caller<()>>, ()| {
                            served.set();
                            Ok(time::sleep_forever().await?)
                        };
                        portal.open_context(take, wants, body).await
                    });
                }
                for served in all {
                    served.wait().await?;
                }
                then().await
            })
            .await
        })
        .await
    })
    .unwrap_err()
}

in_every_cell![
    user_interrupts_a_publisher_with_its_subscribers,
    publisher_and_its_subscribers_take_too_long,
];

// test_advanced_streaming.py::test_dynamic_pub_sub[expect_user_exc_raised=KeyboardInterrupt]
fn user_interrupts_a_publisher_with_its_subscribers(cell: Cell) {
    let error = published(cell, async || Err(Interrupt.into()));
    assert_eq!(error.downcast_ref(), Some(&Interrupt), "{error:?}");
    assert!(error.group_name().is_none(), "{error:?}");
}

// test_advanced_streaming.py::test_dynamic_pub_sub[expect_user_exc_raised=TooSlowError]
fn publisher_and_its_subscribers_take_too_long(cell: Cell) {
    let error = published(cell, async || {
        let limit = Duration::from_millis(50);
        fail_after(limit, async { Ok(time::sleep_forever().await?) }).await
    });
    assert!(
        error.is::<TooSlow>() && error.group_name().is_none(),
        "{error:?}"
    );
}
