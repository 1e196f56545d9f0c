//! WebSockets by `async-tungstenite`, which knows nothing of this crate: over its streams, under its
//! scopes, and ended by a deadline.

use std::time::Duration;

use async_tungstenite::tungstenite::{self, Message};
use async_tungstenite::{accept_async, client_async};
use futures::StreamExt;
use tractor_runtime::net::{SocketStream, TcpStream, connect_tcp, serve_tcp};
use tractor_runtime::{Error, Result, TaskStatus, move_on_after, nursery, run};

fn main() -> Result<()> {
    let heard = run(async || talk(&["one", "two", "three"], Duration::from_millis(200)).await)?;
    println!("heard {heard:?}, and then nothing until the deadline");
    Ok(())
}

/// Says something to a server that echoes, and listens until the deadline, though the server
/// would never close.
pub(crate) async fn talk(words: &[&str], limit: Duration) -> Result<Vec<String>> {
    let mut heard = Vec::new();
    let outcome = move_on_after(
        limit,
        nursery(async |n| {
            let serve = async |status: TaskStatus<_>| serve_tcp("127.0.0.1", 0, echo, status).await;
            let addresses = n.start(serve).await?;
            let stream = connect_tcp("127.0.0.1", addresses[0].port()).await?;
            let (mut socket, _) = client_async("ws://localhost/", stream)
                .await
                .map_err(plain)?;
            for word in words {
                socket.send(Message::text(*word)).await.map_err(plain)?;
            }
            while let Some(message) = socket.next().await {
                heard.push(message.map_err(plain)?.into_text()?.to_string());
            }
            Ok(())
        }),
    );
    assert!(outcome.await?.timed_out());
    Ok(heard)
}

async fn echo(stream: TcpStream) -> Result<()> {
    let mut socket = accept_async::<SocketStream<_>>(stream)
        .await
        .map_err(plain)?;
    while let Some(message) = socket.next().await {
        let message = message.map_err(plain)?;
        if message.is_text() {
            socket.send(message).await.map_err(plain)?;
        }
    }
    Ok(())
}

/// A cancellation is told by the stream, so the crate passes it on as an error of I/O.
fn plain(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Io(error) => error.into(),
        error => error.into(),
    }
}
