//! Sockets: streams, listeners, datagrams, connecting and serving.
//!
//! [`connect_tcp`] and [`serve_tcp`] are the short ways in:
//!
//! ```
//! use tractor_runtime::io::{ReceiveStream, SendStream};
//! use tractor_runtime::net::{TcpStream, connect_tcp, serve_tcp};
//! use tractor_runtime::{nursery, run};
//!
//! run(async || {
//!     nursery(async |n| {
//!         let echo = async |stream: TcpStream| {
//!             let mut buffer = [0; 1024];
//!             loop {
//!                 match stream.receive_some(&mut buffer).await? {
//!                     0 => return Ok(()),
//!                     count => stream.send_all(&buffer[..count]).await?,
//!                 }
//!             }
//!         };
//!         let serve = async move |status| serve_tcp("localhost", 0, echo, status).await;
//!         let addresses = n.start(serve).await?;
//!
//!         let stream = connect_tcp("localhost", addresses[0].port()).await?;
//!         stream.send_all(b"hello").await?;
//!         stream.send_eof().await?;
//!         let mut answer = [0; 16];
//!         assert_eq!(stream.receive_some(&mut answer).await?, 5);
//!         n.cancel();
//!         Ok(())
//!     })
//!     .await
//! })
//! # .unwrap();
//! ```

mod connect;
mod listener;
mod resolve;
mod serve;
mod stream;
mod udp;

pub use connect::{Attempts, ConnectFailed, Connector, connect_tcp, connect_unix, happy_eyeballs};
pub use listener::{Listener, SocketListener, TcpListener, UnixListener, listen_tcp};
pub use resolve::resolve;
pub use serve::{serve_listeners, serve_listeners_in, serve_tcp};
pub use stream::{SocketStream, TcpStream, UnixStream};
pub use udp::UdpSocket;
