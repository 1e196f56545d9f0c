//! The state machine of one dialog.
pub(crate) const WINDOW: u32 = 64;
