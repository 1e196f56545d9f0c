//! Where a runtime takes the time from.

use super::Instant;
use crate::testing::VirtualClock;

#[derive(Clone, Debug)]
pub(crate) enum Clock {
    Real,
    Virtual(VirtualClock),
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Real => Instant::real_now(),
            Self::Virtual(clock) => clock.now(),
        }
    }
}
