//! Moving messages over a connection.
//!
//! A [`Link`] is one connection, over a [`ByteStream`]. What is sent is encoded at once into the
//! buffers of its [`Outbox`](outbox::Outbox), and one task, [`Link::write_loop`], hands on as much
//! of them as is taken in one call. A [`LinkReader`] receives in bulk and gives out one message
//! at a time. Nothing here waits for a peer except that task, the reader, and who asks for
//! [`Link::room`].

mod address;
mod link;
mod listener;
mod memory;
mod outbox;
mod stream;

#[cfg(test)]
mod tests;

pub use address::{Address, InvalidAddress};
pub(crate) use link::{Link, LinkError, LinkReader, Received};
pub(crate) use listener::{Accepted, Listener, connect, remove_abandoned};
#[cfg(feature = "testing")]
pub(crate) use memory::{End, pair};
pub(crate) use outbox::SendError;
pub(crate) use stream::ByteStream;
