//! A web server on smol that counts primes in a worker process, for as long as the client listens.
//!
//! ```text
//! cargo run -p host-smol 8080
//! curl -N localhost:8080/primes/5000000   # says how far it is; hang up, and the worker stops
//! curl localhost:8080/running             # how many counts go on in the worker
//! ```

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use async_signal::{Signal, Signals};
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use smol::net::{TcpListener, TcpStream};
use smol::stream::StreamExt;
use smol::{LocalExecutor, future};
use tractor::runtime::sync::{Sender, channel};
use tractor::runtime::{NurseryHandle, checkpoint, nursery, time};
use tractor::{Context, Dialog, Portal, Result, RunOptions, SpawnOptions, endpoint};

/// What the handlers of requests have of the tree: a worker, and a nursery for what they ask of it.
struct Tree {
    worker: Portal,
    tasks: NurseryHandle,
}

fn main() -> Result<()> {
    // First thing: the worker is this program too.
    tractor::enter_if_actor();
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let executor = Rc::new(LocalExecutor::new());
    smol::block_on(executor.run(serve(&executor, port.unwrap_or(8080))))
}

async fn serve(executor: &Rc<LocalExecutor<'static>>, port: u16) -> Result<()> {
    let (sender, receiver) = smol::channel::bounded(1);
    let root = executor.spawn(RunOptions::new().run_in(async || live(sender).await));
    let Ok(tree) = receiver.recv().await else {
        return root.await;
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening at http://{}", listener.local_addr()?);
    let accept = async {
        loop {
            let client = listener.accept().await?.0;
            executor.spawn(handle(client, tree.clone())).detach();
        }
    };
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let stop = async {
        signals.next().await;
        // What is under way is cancelled, then the worker, and then the root is done.
        tree.tasks.cancel();
        future::pending().await
    };
    match future::or(root, future::or(accept, stop)).await {
        Err(error) if error.is_cancelled() => Ok(()),
        result => result,
    }
}

/// The root of the tree: a worker, and a nursery that the host starts tasks in.
async fn live(sender: smol::channel::Sender<Rc<Tree>>) -> Result<()> {
    tractor::nursery(async |an| {
        let options = SpawnOptions::new().enable(primes).enable(running);
        let worker = an.start_actor("worker", options).await?;
        nursery(async |n| {
            let tasks = n.handle();
            let _ = sender.send(Rc::new(Tree { worker, tasks })).await;
            Ok(time::sleep_forever().await.map(drop)?)
        })
        .await
    })
    .await
}

/// Answers a request, on the host's executor. What comes of it concerns nobody else.
async fn handle(client: TcpStream, tree: Rc<Tree>) {
    if let Err(error) = answer(client, &tree).await {
        println!("{error}");
    }
}

async fn answer(mut client: TcpStream, tree: &Tree) -> Result<()> {
    let mut request = BufReader::new(client.clone()).lines();
    let line = request.try_next().await?.unwrap_or_default();
    while request
        .try_next()
        .await?
        .is_some_and(|header| !header.is_empty())
    {}
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    if path == "/running" {
        let worker = tree.worker.clone();
        let count = tree
            .tasks
            .start_soon(async move { Ok(worker.run(running, ()).await) })?;
        let text = format!("HTTP/1.0 200 OK\r\n\r\n{}\n", count.await??);
        return Ok(client.write_all(text.as_bytes()).await?);
    }
    let Some(below) = path
        .strip_prefix("/primes/")
        .and_then(|below| below.parse().ok())
    else {
        return Ok(client.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").await?);
    };

    let (sender, news) = channel(1);
    let worker = tree.worker.clone();
    // What it fails with is kept for the handler: it is no failure of the tree.
    let count = async move { Ok(count(&worker, below, sender).await) };
    let count = tree.tasks.start_soon(count)?;
    let copy = async {
        let mut client = client.clone();
        client.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await?;
        while let Ok(line) = news.recv().await {
            client.write_all(line.as_bytes()).await?;
        }
        io::Result::Ok(())
    };
    if let Err(error) = future::or(copy, hang_up(client.clone())).await {
        count.cancel_and_wait().await?;
        println!("{path}: {error}, and the worker has stopped");
        return Ok(());
    }
    count.await?
}

/// Waits until the client closes its connection, or breaks it.
async fn hang_up(mut client: TcpStream) -> io::Result<()> {
    while client.read(&mut [0; 64]).await? > 0 {}
    Err(io::Error::other("the client hung up"))
}

/// In the tree: has the worker count, and hands on what it says.
async fn count(worker: &Portal, below: u64, lines: Sender<String>) -> Result<()> {
    worker
        .open_context(primes, below, async |ctx, ()| {
            let news = ctx.open_stream()?;
            while let Some(found) = news.receive().await? {
                lines.send(format!("{found} primes so far\n")).await?;
            }
            Ok(())
        })
        .await
}

struct Primes;
impl Dialog for Primes {
    type Started = ();
    type ToChild = ();
    type ToParent = u64;
}

/// In the worker: counts primes, and says how many there are so far.
async fn primes(ctx: &mut Context<Primes>, below: u64) -> Result<()> {
    let _running = Running::new();
    ctx.started(()).await?;
    let news = ctx.open_stream()?;
    let mut found = 0;
    for number in 2..below {
        let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
        found += u64::from(divisors.all(|divisor| number % divisor != 0));
        if number % 10_000 == 0 || number + 1 == below {
            // Others run here too, and a cancel comes in.
            checkpoint().await?;
            news.send(&found).await?;
        }
    }
    Ok(())
}
endpoint!(primes);

thread_local! {
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// One count that goes on.
struct Running;

impl Running {
    fn new() -> Self {
        RUNNING.set(RUNNING.get() + 1);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(RUNNING.get() - 1);
    }
}

async fn running((): ()) -> Result<usize> {
    Ok(RUNNING.get())
}
endpoint!(running);
