//! Structured concurrency that does not stop at the process boundary.
//!
//! An actor is a process, or a thread, that runs one [`runtime`], and a tree of actors is one tree of
//! scopes. A task here and a task in another actor are opened, fail and are cancelled as one, and
//! when the block that started an actor is left, the actor is gone.
//!
//! ```no_run
//! use tractor::SpawnOptions;
//!
//! async fn double(x: u64) -> tractor::Result<u64> {
//!     Ok(2 * x)
//! }
//! tractor::endpoint!(double);
//!
//! fn main() -> tractor::Result<()> {
//!     tractor::run(async || {
//!         tractor::nursery(async |an| {
//!             let portal = an.start_actor("doubler", SpawnOptions::new().enable(double)).await?;
//!             println!("{}", portal.run(double, 21).await?);
//!             an.cancel();
//!             Ok(())
//!         })
//!         .await
//!     })
//! }
//! ```
//!
//! # Overview
//!
//! * [`run`](fn@run), [`RunOptions`], [`exit_code`]: the root of a tree.
//! * [`nursery`](fn@nursery), [`ActorNursery`], [`SpawnOptions`]: starting actors, and their end.
//! * [`Restart`], [`Daemon`], [`ActorTask`], [`TeardownReport`]: supervising them.
//! * [`endpoint!`], [`Dialog`]: what an actor can be asked to run.
//! * [`Portal`], [`Context`], [`MsgStream`], [`Outcome`]: asking.
//! * [`listen`], [`ListenOptions`], [`connect`], [`Address`]: actors of other trees.
//! * [`Limits`]: what peers may make an actor hold.
//! * [`trionics`]: what is built of these: clusters, pools of workers, shared resources, topics.
//! * `testing`, with the feature of that name: trees of actors in tests.
//! * [`RunOptions::registry`], [`find_actor`], [`wait_for_actor`], [`Registrar`], [`parent`],
//!   [`find_root`], [`current_actor`]: actors by their names, also of other programs.
//! * [`dump_tree`]: what all actors are doing.
//! * [`Error`] and what is found in it: [`RemoteActorError`], [`ContextCancelled`], [`ActorDied`],
//!   [`PeerLost`], [`SpawnError`], ...
//! * [`runtime`]: tasks, scopes, deadlines and everything else inside of an actor.
//!
//! # Logs
//!
//! Through the [`log`] crate, with the targets `tractor::actor`, `tractor::spawn`,
//! `tractor::wire` and `tractor::dialog`. Nothing is printed, and no logger is installed.
//!
//! # Tests
//!
//! With the feature `testing`, given to a dev-dependency, tests start actors as programs do, with
//! any runner; and whole trees of actors run in memory, under a virtual clock and in a seeded
//! order. The module `testing` says how.
//!
//! ```toml
//! [dev-dependencies]
//! tractor = { git = "...", features = ["testing"] }
//! ```
#![forbid(unsafe_code)]

mod actor;
mod context;
mod dialog;
mod discovery;
mod dump;
mod endpoint;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod nursery;
mod portal;
mod run;
mod signals;
mod spawn;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
pub mod trionics;
mod wire;

pub use tractor_runtime as runtime;

pub use actor::{ActorInfo, ListenOptions, Listening, current_actor, listen};
pub use context::{Callee, Caller, Context, ContextOptions, Outcome};
pub use discovery::{
    Registrar, be_registrar, find_actor, find_root, parent, query_actor, registrar, stop_listening,
    wait_for_actor,
};
pub use dump::{TreeDump, dump_tree};
pub use endpoint::{BootError, ContextKind, Dialog, Endpoint, OneWayKind, PlainKind};
pub use error::{
    ActorDied, ConnectError, ContextCancelled, ContextMisuse, EndpointNotFound, Error, InvalidPath,
    Lagged, ListenError, ModuleNotExposed, MsgTypeError, NoActor, PeerLost, Portable,
    RegistryError, RemoteActorError, Result, SpawnError, SpawnFailure, StreamClosed, StreamOverrun,
    portable,
};
pub use nursery::{
    ActorEnd, ActorNursery, ActorTask, Daemon, DaemonOver, Ending, Restart, RestartLimit,
    TeardownReport, nursery,
};
pub use portal::{Portal, connect};
pub use run::{RunOptions, exit_code, run};
pub use spawn::{Output, SpawnOptions, enter_if_actor};
pub use stream::{MsgStream, Overruns, ReceiveStream, SendStream, StreamOptions, Subscription};
pub use tractor_runtime::{CancelCause, CancelKind, Cancelled, Origin};
pub use transport::{Address, InvalidAddress};
pub use wire::{Limits, Raw, Uid};

#[doc(hidden)]
pub use endpoint::__private;

/// A test's child is the test runner again, whose `main` knows nothing of actors.
#[cfg(feature = "testing")]
#[linkme::distributed_slice(runtime::testing::BEFORE_MAIN)]
static ENTER: fn() = enter_if_actor;

/// The code in the README compiles, and what can runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
