//! Synchronisation between the tasks of one runtime.

mod channel;
mod event;
pub(crate) mod waiters;

pub use channel::{
    Receiver, Recv, RecvError, Send, SendError, SendErrorKind, Sender, TryRecvError, TrySendError,
    channel,
};
pub use event::{Event, Wait};
