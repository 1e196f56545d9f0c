//! A guide, one chapter for each topic. It has no items, only text.
//!
//! * [`scopes`]: what a cancellation is, how far it reaches, and where it ends.
//! * [`nurseries`]: tasks that borrow, and are all gone when the block is left.
//! * [`cleanup`]: what has to be done also in a scope that is cancelled.
//! * [`timeouts`]: deadlines, what comes of them, and work that must not be cut short.
//! * [`channels`]: passing values between tasks, and everything else that they wait for.
//! * [`threads`]: blocking calls, and ways back.
//! * [`testing`]: tests that take no time and repeat exactly.
//! * [`checkpoints`]: every operation, and what is true after it was cancelled.
//! * [`trio`]: where to find what you know from there.

pub mod channels;
pub mod checkpoints;
pub mod cleanup;
pub mod nurseries;
pub mod scopes;
pub mod testing;
pub mod threads;
pub mod timeouts;
pub mod trio;
