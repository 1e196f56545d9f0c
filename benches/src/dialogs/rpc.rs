//! tarpc, over the same kind of socket.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::{Framed, LengthDelimitedCodec};
use tarpc::{client, context, serde_transport};
use tokio::net::UnixStream;

use super::actors::shared_clock;
use crate::hosts;
use crate::role::{given, start};

pub(super) const TARPC: &str = "tarpc";

const ARGUMENT: &str = "--be-a-tarpc-server";

/// A type that bincode does not take apart byte by byte.
pub(super) type Bytes = serde_bytes::ByteBuf;

#[tarpc::service]
pub(super) trait Peer {
    async fn nothing(payload: Bytes) -> Bytes;
    async fn waits();
    async fn last_cancelled() -> (u64, u64);
}

#[derive(Clone, Debug, Default)]
struct Server(std::sync::Arc<std::sync::Mutex<(u64, u64)>>);

impl Peer for Server {
    async fn nothing(self, _: context::Context, payload: Bytes) -> Bytes {
        payload
    }

    async fn waits(self, _: context::Context) {
        struct Dropped(Server);
        impl Drop for Dropped {
            fn drop(&mut self) {
                let mut dropped = self.0.0.lock().expect("nobody panics");
                *dropped = (dropped.0 + 1, shared_clock());
            }
        }
        let _dropped = Dropped(self);
        std::future::pending().await
    }

    async fn last_cancelled(self, _: context::Context) -> (u64, u64) {
        std::mem::take(&mut *self.0.lock().expect("nobody panics"))
    }
}

/// Starts a server, and runs `body` with a client of it.
pub(super) fn with_client<F>(body: impl FnOnce(PeerClient) -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let (socket, mut server) = start(&[ARGUMENT]);
    hosts::tokio(async move {
        let client = PeerClient::new(client::Config::default(), transport!(socket)).spawn();
        body(client).await;
    });
    let _ = server.wait();
}

/// A context that does not time out meanwhile.
pub(super) fn patient() -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(3600);
    context
}

macro_rules! transport {
    ($socket:expr) => {{
        let socket = $socket;
        socket.set_nonblocking(true).expect("sockets can be that");
        let socket = UnixStream::from_std(socket).expect("the socket can be registered");
        let framed = Framed::new(socket, LengthDelimitedCodec::new());
        serde_transport::new(framed, Bincode::default())
    }};
}
use transport;

/// Serves, if that is what this process was started for.
pub(super) fn enter_if_rpc() {
    let Some((socket, _)) = given(ARGUMENT) else {
        return;
    };
    hosts::tokio(async move {
        let requests = BaseChannel::with_defaults(transport!(socket)).requests();
        let server = Server::default();
        requests
            .execute(server.serve())
            .for_each(|response| async move {
                tokio::task::spawn_local(response);
            })
            .await;
    });
    std::process::exit(0);
}
