//! What a thread sleeps on: a set of descriptors, an alarm, and a bell that other threads ring.
//!
//! Events are edge-triggered: each tells once that something changed since it was last told.

#[cfg(not(any(not(target_os = "linux"), tractor_portable_poller)))]
mod linux;
#[cfg(any(not(target_os = "linux"), tractor_portable_poller))]
mod portable;

#[cfg(not(any(not(target_os = "linux"), tractor_portable_poller)))]
pub(super) use linux::{Events, Poller};
#[cfg(any(not(target_os = "linux"), tractor_portable_poller))]
pub(super) use portable::{Events, Poller};

/// What a descriptor may be ready for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) token: u64,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// Whether the other end may have closed, which is told once.
    pub(super) closed: bool,
}
