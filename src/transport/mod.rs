//! Moving messages over a connection.
//!
//! A [`Link`] is one connected stream socket. What is sent is encoded at once into the
//! buffers of its [`Outbox`](outbox::Outbox), and one task, [`Link::write_loop`], hands to the kernel as much
//! of them as it takes in one call. A [`LinkReader`] receives in bulk and gives out one message
//! at a time. Nothing here waits for a peer except that task, the reader, and who asks for
//! [`Link::room`].

mod link;
mod outbox;

#[cfg(test)]
mod tests;

pub(crate) use link::{Link, LinkError, LinkReader, Received};
pub(crate) use outbox::SendError;
