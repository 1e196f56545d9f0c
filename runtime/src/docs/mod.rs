//! A guide, one chapter for each topic. It has no items, only text.
//!
//! * [`threads`]: blocking calls, and ways back.
//! * [`timeouts`]: deadlines, what comes of them, and work that must not be cut short.
//! * [`channels`]: passing values between tasks, and everything else that they wait for.
//! * [`trio`]: where to find what you know from there.

pub mod channels;
pub mod threads;
pub mod timeouts;
pub mod trio;
