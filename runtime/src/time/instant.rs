use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Sub};
use std::sync::OnceLock;
use std::time::Duration;

/// A point on the clock of a runtime, in nanoseconds.
///
/// Instants of the real clock are comparable between all runtimes of a process; those of a
/// [`VirtualClock`](crate::testing::VirtualClock) only with their own. Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(
    /// One more than the nanoseconds, so that an `Option` takes no more room.
    NonZeroU64,
);

impl Instant {
    pub(crate) const ZERO: Self = Self(NonZeroU64::MIN);

    pub(crate) fn real_now() -> Self {
        Self::ZERO + base().elapsed()
    }

    fn nanos(self) -> u64 {
        self.0.get() - 1
    }

    /// The same moment for the operating system's clock, if this is an instant of the real one.
    pub(crate) fn to_std(self) -> Option<std::time::Instant> {
        base().checked_add(Duration::from_nanos(self.nanos()))
    }

    /// The time from `earlier` to this instant; zero if `earlier` is later.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        let left = self.0.get().saturating_sub(nanos(duration));
        NonZeroU64::new(left).map_or(Self::ZERO, Self)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.nanos()))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The zero of the real clock: a day before it was first asked, so that "an hour ago" exists.
fn base() -> std::time::Instant {
    static BASE: OnceLock<std::time::Instant> = OnceLock::new();
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    *BASE.get_or_init(|| {
        let now = std::time::Instant::now();
        now.checked_sub(DAY).unwrap_or(now)
    })
}
