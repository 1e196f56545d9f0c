//! Guests as a host in C has them.

#![allow(
    clippy::undocumented_unsafe_blocks,
    reason = "a test is a host, which keeps the rules of the header throughout"
)]

mod common;

use std::cell::{Cell, RefCell};
use std::ffi::{CString, c_void};
use std::ptr;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use common::{Host, LONG, Told, last_error};
use rmpv::Value;
use tractor::runtime::time::sleep_forever;
use tractor::runtime::{shield_for, time};
use tractor::{Context, Dialog, Result, endpoint};
use tractor_ffi::*;

struct Numbers;
impl Dialog for Numbers {
    type Started = u64;
    type ToChild = u64;
    type ToParent = u64;
}

/// Sends the numbers from 0 on, `n` of them, and returns their sum.
async fn count(ctx: &mut Context<Numbers>, n: u64) -> Result<u64> {
    ctx.started(n).await?;
    let stream = ctx.open_stream()?;
    for i in 0..n {
        stream.send(&i).await?;
    }
    Ok((0..n).sum())
}
endpoint!(count as "api:count");

/// Sends back what it gets, and returns how many those were.
async fn echo(ctx: &mut Context<Numbers>, first: u64) -> Result<u64> {
    ctx.started(first).await?;
    let stream = ctx.open_stream()?;
    let mut count = 0;
    while let Some(item) = stream.receive().await? {
        stream.send(&item).await?;
        count += 1;
    }
    Ok(count)
}
endpoint!(echo as "api:echo");

/// Takes nothing of what is sent until it has slept so many milliseconds.
async fn slow(ctx: &mut Context<Numbers>, ms: u64) -> Result<u64> {
    ctx.started(ms).await?;
    let stream = ctx.open_stream()?;
    time::sleep(Duration::from_millis(ms)).await?;
    let mut sum = 0;
    while let Some(item) = stream.receive().await? {
        sum += item;
    }
    Ok(sum)
}
endpoint!(slow as "api:slow");

async fn forever(ctx: &mut Context<Numbers>, first: u64) -> Result<u64> {
    ctx.started(first).await?;
    Ok(sleep_forever().await.map(|_| 0)?)
}
endpoint!(forever as "api:forever");

async fn never_starts(_: &mut Context<Numbers>, _: u64) -> Result<u64> {
    Ok(sleep_forever().await.map(|_| 0)?)
}
endpoint!(never_starts as "api:never_starts");

/// Answers no cancellation for so many milliseconds.
async fn stubborn(ctx: &mut Context<Numbers>, ms: u64) -> Result<u64> {
    ctx.started(ms).await?;
    let limit = Duration::from_millis(ms);
    shield_for(limit, sleep_forever()).await??;
    Ok(0)
}
endpoint!(stubborn as "api:stubborn");

#[derive(Debug)]
struct OutOfPaper(u64);
impl std::fmt::Display for OutOfPaper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "page {}", self.0)
    }
}
impl std::error::Error for OutOfPaper {}

async fn fails(ctx: &mut Context<Numbers>, page: u64) -> Result<u64> {
    ctx.started(page).await?;
    Err(OutOfPaper(page).into())
}
endpoint!(fails as "api:fails");

async fn cancels_itself(ctx: &mut Context<Numbers>, first: u64) -> Result<u64> {
    ctx.started(first).await?;
    ctx.cancel();
    Ok(sleep_forever().await.map(|_| 0)?)
}
endpoint!(cancels_itself as "api:cancels_itself");

async fn dies(ctx: &mut Context<Numbers>, first: u64) -> Result<u64> {
    ctx.started(first).await?;
    std::process::exit(3);
}
endpoint!(dies as "api:dies");

async fn hidden(ctx: &mut Context<Numbers>, first: u64) -> Result<u64> {
    ctx.started(first).await?;
    Ok(0)
}
endpoint!(hidden as "other:hidden");

#[test]
fn context_starts_streams_and_returns() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:count", 300);
    let ended = host.until_ended(context);
    let told = host.told_of(context);
    assert_eq!(told[0], Told::Started(300.into()));
    assert_eq!(host.items(context), (0..300).collect::<Vec<_>>());
    assert_eq!(ended.outcome, TRACTOR_RETURNED);
    assert_eq!(ended.value, Some(Value::from(44850)));
    assert!(!ended.requested);
    // The worker is there for the next.
    let again = host.open(worker, c"api:count", 1);
    assert_eq!(host.until_ended(again).outcome, TRACTOR_RETURNED);
    assert_eq!(host.processes().len(), 1);
    assert_eq!(host.stop(), TRACTOR_OK);
    host.until_done();
    let ended = host.ended(worker).unwrap();
    assert_eq!(ended.outcome, TRACTOR_RETURNED);
    assert!(ended.requested);
    assert_eq!(host.processes().len(), 0, "gone before it is freed");
    assert_eq!(host.turn(0), TRACTOR_DONE, "and still");
    assert_eq!(host.next_deadline(), TRACTOR_NEVER);
    host.free(0);
}

#[test]
fn items_go_both_ways_until_the_host_closes() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:echo", 7);
    // Before the worker is there.
    for n in 0..10 {
        assert_eq!(host.send(context, n), TRACTOR_OK);
    }
    host.until(|host| host.items(context).len() == 10);
    assert_eq!(host.items(context), (0..10).collect::<Vec<_>>());
    assert_eq!(host.send(context, 10), TRACTOR_OK);
    host.until(|host| host.items(context).len() == 11);
    assert_eq!(host.close(context), TRACTOR_OK);
    assert_eq!(host.close(context), TRACTOR_OK, "again has no effect");
    assert_eq!(host.send(context, 11), TRACTOR_CLOSED);
    let ended = host.until_ended(context);
    assert_eq!(
        (ended.outcome, ended.value),
        (TRACTOR_RETURNED, Some(11.into()))
    );
    assert_eq!(host.send(context, 12), TRACTOR_GONE);
    assert_eq!(host.close(context), TRACTOR_GONE);
    host.free(LONG);
}

#[test]
fn items_wait_for_room_and_none_is_lost() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:slow", 50);
    let (mut sent, mut full) = (0_u64, 0);
    while sent < 1000 {
        match host.send(context, sent) {
            TRACTOR_OK => sent += 1,
            TRACTOR_FULL => {
                full += 1;
                let before = host.count(context);
                host.until(|host| {
                    let told = host.told_of(context);
                    told[before..].contains(&Told::Room)
                });
            }
            code => panic!("{code}: {}", last_error()),
        }
    }
    assert!(full > 0, "it takes nothing at first");
    host.close(context);
    let ended = host.until_ended(context);
    assert_eq!(ended.value, Some(Value::from(499_500)));
    host.free(LONG);
}

#[test]
fn paused_context_is_told_nothing_until_it_goes_on() {
    let host = Host::new();
    let worker = host.start();
    let paused = host.open(worker, c"api:count", 500);
    host.hook(move |host, id, told| {
        if id == paused && *told == Told::Item(9.into()) {
            assert_eq!(host.pause(paused), TRACTOR_OK);
        }
    });
    host.until(|host| host.items(paused).len() == 10);
    // Everything that comes meanwhile has come.
    let other = host.open(worker, c"api:count", 200);
    host.until_ended(other);
    assert_eq!(host.items(paused).len(), 10);
    assert_eq!(host.resume(paused), TRACTOR_OK);
    host.until_ended(paused);
    assert_eq!(host.items(paused), (0..500).collect::<Vec<_>>());
    host.free(LONG);
}

#[test]
fn failure_says_of_what() {
    let host = Host::new();
    let worker = host.start();
    let ended = host.until_ended(host.open(worker, c"api:fails", 3));
    assert_eq!(ended.outcome, TRACTOR_FAILED);
    assert_eq!(ended.error_type.as_deref(), Some("OutOfPaper"));
    assert_eq!(ended.source_type.as_deref(), Some("OutOfPaper"));
    assert!(ended.text.unwrap().contains("page 3"));
    assert!(!ended.requested);
    for (endpoint, error_type) in [
        (c"other:hidden", "ModuleNotExposed"),
        (c"api:nobody", "EndpointNotFound"),
        (c"nonsense", "InvalidPath"),
    ] {
        let ended = host.until_ended(host.open(worker, endpoint, 0));
        assert_eq!(ended.outcome, TRACTOR_FAILED);
        assert_eq!(ended.error_type.as_deref(), Some(error_type));
    }
    let ended = host.until_ended(host.open(worker, c"api:count", "text"));
    assert_eq!(ended.error_type.as_deref(), Some("MsgTypeError"));
    host.free(LONG);
}

#[test]
fn program_that_is_no_worker_is_told_to_all_who_wait_for_it() {
    let host = Host::new();
    for program in [c"/nowhere/at/all", c"true"] {
        let worker = host.start_program(program, &[]).unwrap();
        let context = host.open(worker, c"api:count", 0);
        let ended = host.until_ended(context);
        assert_eq!(ended.outcome, TRACTOR_FAILED);
        assert_eq!(ended.error_type.as_deref(), Some("SpawnError"));
        let ended = host.until_ended(worker);
        assert_eq!(ended.error_type.as_deref(), Some("SpawnError"));
        assert_eq!(host.try_open(worker, c"api:count", 0), Err(TRACTOR_GONE));
        assert_eq!(host.stop_worker(worker), TRACTOR_GONE);
    }
    // The guest goes on.
    let worker = host.start();
    let ended = host.until_ended(host.open(worker, c"api:count", 0));
    assert_eq!(ended.outcome, TRACTOR_RETURNED);
    host.free(LONG);
}

#[test]
fn death_of_a_worker_ends_what_is_open_with_it_and_nothing_else() {
    let host = Host::new();
    let (worker, other) = (host.start(), host.start());
    let waits = host.open(worker, c"api:forever", 0);
    let stays = host.open(other, c"api:forever", 0);
    host.until(|host| host.count(waits) == 1 && host.count(stays) == 1);
    let killer = host.open(worker, c"api:dies", 0);
    let ended = host.until_ended(worker);
    assert_eq!(ended.outcome, TRACTOR_FAILED);
    assert_eq!(ended.error_type.as_deref(), Some("ActorDied"));
    assert!(!ended.requested);
    for context in [waits, killer] {
        let ended = host.ended(context).expect("it is told before its worker");
        assert_eq!(ended.outcome, TRACTOR_FAILED);
        assert_eq!(ended.error_type.as_deref(), Some("PeerLost"), "{ended:?}");
    }
    assert_eq!(host.ended(stays), None);
    host.free(LONG);
}

#[test]
fn cancel_reaches_the_endpoint_and_comes_back() {
    let host = Host::new();
    let worker = host.start();
    for endpoint in [c"api:forever", c"api:echo"] {
        let context = host.open(worker, endpoint, 1);
        host.until(|host| host.count(context) == 1);
        assert_eq!(host.cancel(context), TRACTOR_OK);
        assert_eq!(host.cancel(context), TRACTOR_OK, "again has no effect");
        let ended = host.until_ended(context);
        assert_eq!(ended.outcome, TRACTOR_CANCELLED);
        assert!(ended.requested);
        assert!(ended.canceller.unwrap().starts_with("host@"));
        assert_eq!(host.cancel(context), TRACTOR_GONE, "nor when it has ended");
    }
    // The endpoint itself.
    let ended = host.until_ended(host.open(worker, c"api:cancels_itself", 1));
    assert_eq!(ended.outcome, TRACTOR_CANCELLED);
    assert!(!ended.requested);
    assert!(ended.canceller.unwrap().starts_with("worker@"));
    host.free(LONG);
}

#[test]
fn cancel_comes_at_any_time() {
    // Before the first turn, before the worker is up, before the endpoint has started, and then.
    for turns in [0, 1, 2, 5] {
        for endpoint in [c"api:never_starts", c"api:count"] {
            let host = Host::new();
            let worker = host.start();
            let context = host.open(worker, endpoint, 1_000_000);
            host.some_turns(turns);
            let before = host.count(context);
            assert_eq!(host.cancel(context), TRACTOR_OK);
            let ended = host.until_ended(context);
            assert_eq!(ended.outcome, TRACTOR_CANCELLED);
            assert!(ended.requested);
            assert!(ended.canceller.is_none_or(|by| by.starts_with("host@")));
            assert_eq!(host.count(context), before + 1, "its end and nothing else");
            // The worker does not go with it.
            let ended = host.until_ended(host.open(worker, c"api:count", 1));
            assert_eq!(ended.outcome, TRACTOR_RETURNED);
            host.free(LONG);
        }
    }
}

#[test]
fn cancel_within_a_stream_is_the_end_of_its_items() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:count", 1_000_000);
    host.hook(move |host, id, told| {
        if id == context && *told == Told::Item(100.into()) {
            assert_eq!(host.cancel(context), TRACTOR_OK);
        }
    });
    let ended = host.until_ended(context);
    assert_eq!(ended.outcome, TRACTOR_CANCELLED);
    assert_eq!(host.items(context), (0..=100).collect::<Vec<_>>());
    host.free(LONG);
}

#[test]
fn paused_context_is_cancelled_too() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:count", 1_000_000);
    host.until(|host| !host.items(context).is_empty());
    host.pause(context);
    host.until(|host| host.turn(0) == TRACTOR_IDLE);
    assert_eq!(host.cancel(context), TRACTOR_OK);
    assert_eq!(host.until_ended(context).outcome, TRACTOR_CANCELLED);
    host.free(LONG);
}

#[test]
fn endpoint_that_does_not_answer_is_given_up() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:stubborn", 3_600_000);
    host.until(|host| host.count(context) == 1);
    host.cancel(context);
    let ended = host.until_ended(context);
    assert_eq!(ended.outcome, TRACTOR_UNANSWERED);
    assert!(ended.requested);
    host.free(LONG);
}

#[test]
fn stopped_worker_ends_after_its_contexts() {
    let host = Host::new();
    let (worker, other) = (host.start(), host.start());
    let contexts = [0, 1].map(|n| host.open(worker, c"api:forever", n));
    let stays = host.open(other, c"api:forever", 2);
    host.until(|host| {
        let started = |context: &u64| host.count(*context) == 1;
        contexts.iter().chain([&stays]).all(started)
    });
    assert_eq!(host.stop_worker(worker), TRACTOR_OK);
    assert_eq!(host.stop_worker(worker), TRACTOR_OK);
    assert_eq!(host.try_open(worker, c"api:count", 0), Err(TRACTOR_GONE));
    let ended = host.until_ended(worker);
    assert_eq!((ended.outcome, ended.requested), (TRACTOR_RETURNED, true));
    for context in contexts {
        let ended = host.ended(context).expect("it is told before its worker");
        assert_eq!((ended.outcome, ended.requested), (TRACTOR_CANCELLED, true));
    }
    assert_eq!(host.processes().len(), 1);
    // One that is not up yet, or was not even begun.
    for turns in 0..2 {
        let young = host.start();
        for _ in 0..turns {
            host.turn(0);
        }
        assert_eq!(host.stop_worker(young), TRACTOR_OK);
        let ended = host.until_ended(young);
        assert_eq!((ended.outcome, ended.requested), (TRACTOR_CANCELLED, true));
    }
    assert_eq!((host.ended(other), host.ended(stays)), (None, None));
    host.free(LONG);
}

#[test]
fn callbacks_may_do_everything_but_take_turns() {
    let host = Host::new();
    let refused = Rc::new(Cell::new(0));
    let made = Rc::new(RefCell::new(Vec::new()));
    let ended = Cell::new(0);
    host.hook({
        let (refused, made) = (refused.clone(), made.clone());
        move |host, id, told| {
            let mut ns = 0;
            unsafe {
                assert_eq!(tractor_guest_turn(host.guest, 0), TRACTOR_REENTRANT);
                assert!(last_error().contains("callback"));
                assert_eq!(tractor_guest_free(host.guest, LONG), TRACTOR_REENTRANT);
                assert_eq!(
                    tractor_guest_on_wake(host.guest, None, ptr::null_mut()),
                    TRACTOR_REENTRANT
                );
                assert_eq!(tractor_guest_fd(host.guest), TRACTOR_REENTRANT);
                assert_eq!(
                    tractor_guest_next_deadline(host.guest, &mut ns),
                    TRACTOR_REENTRANT
                );
            }
            refused.set(refused.get() + 1);
            match told {
                Told::Started(_) if made.borrow().is_empty() => {
                    let worker = host.start();
                    let context = host.open(worker, c"api:echo", 5);
                    assert_eq!(host.send(context, 1), TRACTOR_OK);
                    assert_eq!(host.send(id, 2), TRACTOR_OK);
                    made.borrow_mut().extend([worker, context]);
                }
                Told::Item(_) => {
                    host.close(id);
                }
                Told::Ended(_) => {
                    assert_eq!(host.cancel(id), TRACTOR_GONE);
                    ended.set(ended.get() + 1);
                    // Either context may be the first, and the workers end only now.
                    if ended.get() == 2 {
                        host.stop();
                    }
                }
                _ => {}
            }
        }
    });
    let worker = host.start();
    let context = host.open(worker, c"api:echo", 4);
    host.until_done();
    assert!(refused.get() >= 4);
    let [other, inner] = made.borrow()[..] else {
        panic!("both were made");
    };
    assert_eq!(host.items(context), [2]);
    for id in [context, inner, worker, other] {
        assert!(host.ended(id).is_some());
    }
    assert_eq!(host.start_program(c"true", &[]), Err(TRACTOR_GONE));
    host.free(0);
}

#[test]
fn guest_has_its_turn_in_a_callback_of_another() {
    let outer = Host::new();
    let inner = Rc::new(RefCell::new(Some(Host::new())));
    let worker = outer.start();
    let context = outer.open(worker, c"api:count", 1);
    outer.hook({
        let inner = inner.clone();
        move |_, _, told| {
            if let Told::Item(_) = told {
                let inner = inner.take().unwrap();
                let worker = inner.start();
                let ended = inner.until_ended(inner.open(worker, c"api:count", 2));
                assert_eq!(ended.outcome, TRACTOR_RETURNED);
                inner.free(LONG);
            }
        }
    });
    assert_eq!(outer.until_ended(context).outcome, TRACTOR_RETURNED);
    assert!(inner.borrow().is_none());
    outer.free(LONG);
}

#[test]
fn freed_in_the_midst_it_tells_every_end() {
    for limit in [0, 1, LONG] {
        for turns in [0, 1, 3, usize::MAX] {
            let host = Host::new();
            let worker = host.start();
            let contexts = [
                host.open(worker, c"api:forever", 0),
                host.open(worker, c"api:never_starts", 1),
                host.open(worker, c"api:count", 1_000_000),
            ];
            match turns {
                usize::MAX => host.until(|host| host.count(contexts[0]) == 1),
                _ => host.some_turns(turns),
            }
            host.cancel(contexts[1]);
            host.hook(|host, _, told| {
                if let Told::Ended(_) = told {
                    let refused = unsafe { tractor_guest_free(host.guest, 0) };
                    assert_eq!(refused, TRACTOR_REENTRANT);
                    assert_eq!(host.start_program(c"true", &[]), Err(TRACTOR_GONE));
                }
            });
            let told = host.free(limit);
            assert_eq!(told.len(), 4, "{limit} {turns}: {told:?}");
            for id in contexts {
                let Some(Told::Ended(ended)) = told[&id].last() else {
                    unreachable!("`free` looks for that");
                };
                let expected = match limit {
                    LONG => [TRACTOR_CANCELLED].as_slice(),
                    _ => &[TRACTOR_CANCELLED, TRACTOR_UNANSWERED],
                };
                assert!(expected.contains(&ended.outcome), "{ended:?}");
            }
        }
    }
}

#[test]
fn stubborn_worker_is_freed_all_the_same() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:stubborn", 3_600_000);
    host.until(|host| host.count(context) == 1);
    let told = host.free(50_000_000);
    let Some(Told::Ended(ended)) = told[&context].last() else {
        unreachable!("`free` looks for that");
    };
    assert_eq!(ended.outcome, TRACTOR_UNANSWERED);
}

#[test]
fn blocked_host_loses_nothing() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:count", 1000);
    host.until(|host| host.count(context) > 1);
    // As much as its credit allows has come meanwhile, and its timers have.
    thread::sleep(Duration::from_secs(1));
    assert!(host.is_due(Duration::ZERO));
    assert_eq!(host.until_ended(context).outcome, TRACTOR_RETURNED);
    assert_eq!(host.items(context), (0..1000).collect::<Vec<_>>());
    host.free(LONG);
}

#[test]
fn early_turn_does_nothing() {
    let host = Host::new();
    assert!(host.is_due(Duration::ZERO), "the first");
    assert_eq!(host.next_deadline(), 0);
    let worker = host.start();
    let context = host.open(worker, c"api:forever", 1);
    host.until(|host| host.count(context) == 1);
    while host.turn(0) != TRACTOR_IDLE {}
    assert!(!host.is_due(Duration::ZERO));
    for _ in 0..100 {
        assert_eq!(host.turn(LONG), TRACTOR_IDLE);
    }
    assert_eq!(host.count(context), 1);
    // A call between turns makes one due.
    host.cancel(context);
    assert!(host.is_due(Duration::ZERO));
    host.free(LONG);
}

#[test]
fn turn_leaves_the_rest_when_its_budget_is_used_up() {
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:count", 100);
    host.hook(move |_, id, told| {
        if id == context && matches!(told, Told::Item(_)) {
            thread::sleep(Duration::from_millis(2));
        }
    });
    let mut most = 0;
    while host.ended(context).is_none() {
        let before = host.items(context).len();
        if host.turn(1_000_000) == TRACTOR_IDLE {
            host.is_due(Duration::from_secs(30));
        }
        most = most.max(host.items(context).len() - before);
    }
    assert_eq!(most, 1, "each takes longer than that");
    host.free(LONG);
}

unsafe extern "C" fn noted(data: *mut c_void) {
    let (guest, seen) = unsafe { &*data.cast::<(*mut Guest, RefCell<Vec<i32>>)>() };
    let code = unsafe { tractor_guest_turn(*guest, 0) };
    seen.borrow_mut().push(code);
}

#[test]
fn notify_is_told_once_for_each_idle_time_and_takes_no_turn() {
    let host = Host::new();
    let notes = (host.guest, RefCell::new(Vec::<i32>::new()));
    let data = ptr::from_ref(&notes).cast_mut().cast();
    let worker = host.start();
    let context = host.open(worker, c"api:echo", 1);
    host.until(|host| host.count(context) == 1);
    while host.turn(0) != TRACTOR_IDLE {}
    unsafe { tractor_guest_on_wake(host.guest, Some(noted), data) };
    host.send(context, 1);
    host.send(context, 2);
    assert_eq!(notes.1.take(), [TRACTOR_REENTRANT]);
    host.until(|host| host.items(context).len() == 2);
    while host.turn(0) != TRACTOR_IDLE {}
    assert_eq!(notes.1.take(), [], "not for what came by the descriptor");
    unsafe { tractor_guest_on_wake(host.guest, None, ptr::null_mut()) };
    host.close(context);
    assert_eq!(notes.1.take(), []);
    host.free(LONG);
}

#[test]
fn other_threads_are_refused() {
    struct Address(*mut Guest);
    unsafe impl Send for Address {}
    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:forever", 1);
    let guest = Address(host.guest);
    let codes = thread::spawn(move || {
        let Address(guest) = { guest };
        let (mut ns, mut id) = (0, 0);
        let codes = unsafe {
            [
                tractor_guest_turn(guest, 0),
                tractor_guest_fd(guest),
                tractor_guest_next_deadline(guest, &mut ns),
                tractor_guest_on_wake(guest, None, ptr::null_mut()),
                tractor_guest_stop(guest),
                tractor_guest_free(guest, 0),
                tractor_worker_start(guest, ptr::null(), &mut id),
                tractor_worker_stop(guest, worker),
                tractor_context_open(guest, worker, ptr::null(), &mut id),
                tractor_context_send(guest, context, ptr::null(), 0),
                tractor_context_close(guest, context),
                tractor_context_pause(guest, context),
                tractor_context_resume(guest, context),
                tractor_context_cancel(guest, context),
            ]
        };
        assert!(last_error().contains("another thread"));
        codes
    })
    .join()
    .unwrap();
    assert_eq!(codes, [TRACTOR_WRONG_THREAD; 14]);
    host.until(|host| host.count(context) == 1);
    host.free(LONG);
}

#[test]
fn null_pointers_are_refused() {
    let (mut ns, mut id) = (0, 0);
    let guest = ptr::null_mut();
    let codes = unsafe {
        [
            tractor_guest_new(c"name".as_ptr(), ptr::null_mut()),
            tractor_guest_turn(guest, 0),
            tractor_guest_fd(guest),
            tractor_guest_next_deadline(guest, &mut ns),
            tractor_guest_on_wake(guest, None, ptr::null_mut()),
            tractor_guest_stop(guest),
            tractor_worker_start(guest, ptr::null(), &mut id),
            tractor_worker_stop(guest, 1),
            tractor_context_open(guest, 1, ptr::null(), &mut id),
            tractor_context_send(guest, 1, ptr::null(), 0),
            tractor_context_close(guest, 1),
            tractor_context_pause(guest, 1),
            tractor_context_resume(guest, 1),
            tractor_context_cancel(guest, 1),
        ]
    };
    assert_eq!(codes, [TRACTOR_INVALID; 14]);
    assert!(last_error().contains("null pointer"));
    assert_eq!(unsafe { tractor_guest_free(guest, 0) }, TRACTOR_OK);
    let mut made = ptr::dangling_mut();
    assert_eq!(
        unsafe { tractor_guest_new(ptr::null(), &mut made) },
        TRACTOR_INVALID
    );
    assert!(made.is_null());

    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:echo", 1);
    let codes = unsafe {
        [
            tractor_guest_next_deadline(host.guest, ptr::null_mut()),
            tractor_worker_start(host.guest, ptr::null(), &mut id),
            tractor_worker_start(host.guest, ptr::null(), ptr::null_mut()),
            tractor_context_open(host.guest, worker, ptr::null(), &mut id),
            tractor_context_open(host.guest, worker, ptr::null(), ptr::null_mut()),
            tractor_context_send(host.guest, context, ptr::null(), 0),
        ]
    };
    assert_eq!(codes, [TRACTOR_INVALID; 6]);
    host.free(LONG);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut guest = ptr::null_mut();
    let not_text = CString::new([0xff]).unwrap();
    assert_eq!(
        unsafe { tractor_guest_new(not_text.as_ptr(), &mut guest) },
        TRACTOR_INVALID
    );
    assert!(last_error().contains("UTF-8"));

    let host = Host::new();
    let worker = host.start();
    let context = host.open(worker, c"api:echo", 1);
    let too_deep = [0x91; 100];
    let too_long = [0xc6, 0xff, 0xff, 0xff, 0xff, 1];
    for item in [&[][..], &[0xc1], &[1, 2], &[0x93, 1], &too_deep, &too_long] {
        let code = unsafe { tractor_context_send(host.guest, context, item.as_ptr(), item.len()) };
        assert_eq!(code, TRACTOR_INVALID, "{item:?}");
    }
    let mut id = 0;
    let mut options = ContextOptions {
        size: size_of::<ContextOptions>() - 8,
        endpoint: c"api:echo".as_ptr(),
        args: ptr::null(),
        args_len: 0,
        started: None,
        item: None,
        room: None,
        ended: None,
        data: ptr::null_mut(),
    };
    let code = unsafe { tractor_context_open(host.guest, worker, &options, &mut id) };
    assert_eq!(code, TRACTOR_INVALID);
    assert!(last_error().contains("size"));
    // A worker is no context, and a context no worker.
    options.size = size_of::<ContextOptions>();
    let codes = unsafe {
        [
            tractor_context_open(host.guest, context, &options, &mut id),
            tractor_context_cancel(host.guest, worker),
            tractor_worker_stop(host.guest, context),
            tractor_context_cancel(host.guest, u64::MAX),
        ]
    };
    assert_eq!(codes, [TRACTOR_GONE; 4]);
    // A host that wants to be told nothing.
    let code = unsafe { tractor_context_open(host.guest, worker, &options, &mut id) };
    assert_eq!(code, TRACTOR_OK);
    host.close(id);
    host.until(|host| host.cancel(id) == TRACTOR_GONE);
    host.free(LONG);
}

#[test]
fn version_is_the_packages() {
    let version = unsafe { std::ffi::CStr::from_ptr(tractor_version()) };
    assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
}
