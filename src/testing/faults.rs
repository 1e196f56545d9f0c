use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io::IoSlice;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use tractor_runtime::{Cancelled, NurseryClosed, NurseryHandle, cancellable, shield, time};

use crate::transport::{ByteStream, End, pair};
use crate::wire::Uid;

/// What goes wrong with actors in memory, decided by a seed: bytes are late, few at a time or cut
/// off, and actors are gone without a word.
///
/// ```
/// use std::time::Duration;
/// use tractor::testing::Faults;
///
/// let faults = Faults::seeded(7)
///     .delay(Duration::from_millis(50))
///     .cut(0.1)
///     .kill(0.1)
///     .within(Duration::from_secs(1))
///     .happen();
/// // Actors that are started here have them.
/// println!("{:?}", faults.happened());
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    random: Random,
    delay: Duration,
    slow: f64,
    cut: f64,
    kill: f64,
    within: Duration,
}

/// While it lives, actors in memory that are started on this thread have faults.
#[derive(Debug)]
pub struct Happening {
    faults: Rc<State>,
    before: Option<Rc<State>>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The channel of this actor to its parent was cut off.
    Cut(Uid),
    /// This actor was dropped with all that it did and had started.
    Killed(Uid),
}

impl Faults {
    /// None, until it is said which.
    pub fn seeded(seed: u64) -> Self {
        Self {
            random: Random(Rc::new(Cell::new(seed))),
            delay: Duration::ZERO,
            slow: 0.0,
            cut: 0.0,
            kill: 0.0,
            within: Duration::from_secs(1),
        }
    }

    /// Bytes take up to this long from one actor to another, each time another time.
    #[must_use]
    pub fn delay(mut self, most: Duration) -> Self {
        self.delay = most;
        self
    }

    /// With this probability, the bytes of a channel are taken a few at a time, so that what waits
    /// in front of it fills up.
    #[must_use]
    pub fn slow(mut self, probability: f64) -> Self {
        self.slow = probability;
        self
    }

    /// With this probability, a channel is cut off, in the middle of whatever is in it.
    #[must_use]
    pub fn cut(mut self, probability: f64) -> Self {
        self.cut = probability;
        self
    }

    /// With this probability, an actor is killed.
    #[must_use]
    pub fn kill(mut self, probability: f64) -> Self {
        self.kill = probability;
        self
    }

    /// How long after the start of an actor something happens to it, at most. 1 s by default.
    #[must_use]
    pub fn within(mut self, most: Duration) -> Self {
        self.within = most;
        self
    }

    /// From now on, until what this gives is dropped.
    pub fn happen(self) -> Happening {
        let faults = Rc::new(State {
            faults: self,
            happened: RefCell::default(),
        });
        Happening {
            before: HAPPENING.replace(Some(faults.clone())),
            faults,
        }
    }
}

impl Happening {
    /// What went wrong so far, in its order.
    pub fn happened(&self) -> Vec<Fault> {
        self.faults.happened.borrow().clone()
    }
}

impl Drop for Happening {
    fn drop(&mut self) {
        HAPPENING.set(self.before.take());
    }
}

thread_local! {
    static HAPPENING: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

struct State {
    faults: Faults,
    happened: RefCell<Vec<Fault>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.happened.borrow())
    }
}

/// What is to happen to one actor.
pub(crate) struct Doom {
    state: Rc<State>,
    uid: Uid,
    killed_after: Option<Duration>,
}

impl Doom {
    /// Waits until the actor is to be killed.
    pub(crate) async fn comes(self) {
        match self.killed_after {
            Some(after) => drop(shield(time::sleep(after)).await),
            None => std::future::pending().await,
        }
        self.state
            .happened
            .borrow_mut()
            .push(Fault::Killed(self.uid));
    }
}

/// The channel to a new actor, and what is to happen to that.
pub(crate) fn channel(
    uid: &Uid,
    tasks: &NurseryHandle,
) -> Result<(ByteStream, ByteStream, Option<Doom>), NurseryClosed> {
    let Some(state) = HAPPENING.with_borrow(Clone::clone) else {
        let (ours, theirs) = ByteStream::pair();
        return Ok((ours, theirs, None));
    };
    let Faults {
        random,
        slow,
        cut,
        kill,
        within,
        ..
    } = &state.faults;
    let ((ours, here), (there, theirs)) = (pair(), pair());
    let (here, there) = (Rc::new(here), Rc::new(there));
    let few = random.happens(*slow);
    let cut_after = random.happens(*cut).then(|| random.up_to(*within));
    for (from, to, cut_after) in [(&here, &there, cut_after), (&there, &here, None)] {
        let carrier = Carrier {
            state: state.clone(),
            uid: uid.clone(),
            from: from.clone(),
            to: to.clone(),
            few,
        };
        tasks.start_soon(async move {
            // It ends with one of its ends, or is cut off.
            let _ = shield(or(carrier.cut_off(cut_after), carrier.carry())).await;
            Ok(())
        })?;
    }
    let killed_after = random.happens(*kill).then(|| random.up_to(*within));
    let doom = Doom {
        state: state.clone(),
        uid: uid.clone(),
        killed_after,
    };
    let (ours, theirs) = (ByteStream::Memory(ours), ByteStream::Memory(theirs));
    Ok((ours, theirs, Some(doom)))
}

/// Carries bytes in one direction.
struct Carrier {
    state: Rc<State>,
    uid: Uid,
    from: Rc<End>,
    to: Rc<End>,
    few: bool,
}

impl Carrier {
    async fn cut_off(&self, after: Option<Duration>) -> Result<(), Cancelled> {
        let Some(after) = after else {
            return std::future::pending().await;
        };
        time::sleep(after).await?;
        self.from.shutdown();
        self.to.shutdown();
        let cut = Fault::Cut(self.uid.clone());
        self.state.happened.borrow_mut().push(cut);
        Ok(())
    }

    async fn carry(&self) -> Result<(), Cancelled> {
        let Faults { random, delay, .. } = &self.state.faults;
        loop {
            let most = if self.few {
                1 + random.below(64)
            } else {
                16 << 10
            };
            let mut bytes = Vec::with_capacity(most);
            let count = cancellable(poll_fn(|cx| self.from.poll_read(cx, &mut bytes))).await?;
            if count == 0 {
                self.to.shutdown_write();
                return Ok(());
            }
            if !delay.is_zero() {
                time::sleep(random.up_to(*delay)).await?;
            }
            let mut left = &bytes[..];
            while !left.is_empty() {
                let write = poll_fn(|cx| self.to.poll_write(cx, &[IoSlice::new(left)]));
                match cancellable(write).await? {
                    Ok(written) => left = &left[written..],
                    Err(_) => {
                        // Nobody reads it, so nobody is to write it.
                        self.from.shutdown();
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Numbers that look random: splitmix64.
#[derive(Clone, Debug)]
struct Random(Rc<Cell<u64>>);

impl Random {
    fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut number = self.0.get();
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    fn happens(&self, probability: f64) -> bool {
        (self.next() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }

    fn up_to(&self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.next() % nanos.max(1))
    }
}
