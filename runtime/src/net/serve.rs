use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

use super::listener::{Listener, TcpListener, listen_tcp};
use super::stream::TcpStream;
use crate::error::Result;
use crate::time::sleep;
use crate::{Nursery, TaskStatus, nursery};

/// How long a listener leaves off when the process or the machine has no room for a connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Listens at a TCP port of every address that `host` has here, and runs `handler` for each
/// connection, until it is cancelled. Begun with [`Nursery::start`] it gives the addresses where it
/// listens. A connection is closed when its handler is done with it.
///
/// # Errors
///
/// Cancellation, those of [`listen_tcp`], and those of the handlers: one that is not to end the server
/// is the handler's to deal with. No connection and no listener is left.
pub async fn serve_tcp(
    host: &str,
    port: u16,
    handler: impl AsyncFn(TcpStream) -> Result<()>,
    status: TaskStatus<Vec<SocketAddr>>,
) -> Result<()> {
    let listeners = listen_tcp(host, port).await?;
    let addresses: io::Result<_> = listeners.iter().map(TcpListener::local_addr).collect();
    status.started(addresses?);
    serve_listeners(listeners, handler).await
}

/// Runs `handler` for each connection to these listeners, until it is cancelled.
///
/// While the process or the machine has no room for another connection, that is logged, and tried
/// again every 100 ms.
///
/// # Errors
///
/// Cancellation, those of the listeners and those of the handlers. The listeners are closed.
pub async fn serve_listeners<L: Listener>(
    listeners: Vec<L>,
    handler: impl AsyncFn(L::Stream) -> Result<()>,
) -> Result<()> {
    nursery(async |handlers| serve_listeners_in(handlers, listeners, &handler).await).await
}

/// The same with the handlers in a nursery of their own, which may outlive the listeners.
///
/// # Errors
///
/// Cancellation, and those of the listeners, which are closed; those of the handlers are their
/// nursery's.
pub async fn serve_listeners_in<'scope, L: Listener>(
    handlers: &'scope Nursery<'scope, '_>,
    listeners: Vec<L>,
    handler: &'scope impl AsyncFn(L::Stream) -> Result<()>,
) -> Result<()>
where
    L::Stream: 'scope,
{
    nursery(async |n| {
        for listener in &listeners {
            n.start_soon::<()>(async move {
                loop {
                    match listener.accept().await {
                        Ok(stream) => {
                            handlers.start_soon(handler(stream));
                        }
                        Err(error) if is_for_want_of_room(&error) => {
                            log::error!(
                                target: "tractor::net",
                                "cannot accept a connection, next try in {BACK_OFF:?}: {error}",
                            );
                            sleep(BACK_OFF).await?;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            });
        }
        Ok(())
    })
    .await
}

fn is_for_want_of_room(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}
