use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use super::home::Place;
use crate::actor::Actor;
use crate::endpoint::{Endpoint, Table, path_of};
use crate::transport::Address;
use crate::wire::Limits;

/// How a child is started and stopped, and what it may be asked to run.
///
/// ```
/// # async fn double(x: u64) -> tractor::Result<u64> { Ok(2 * x) }
/// use std::time::Duration;
/// use tractor::SpawnOptions;
///
/// let options = SpawnOptions::new()
///     .enable(double)
///     .grace(Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
pub struct SpawnOptions {
    pub(crate) place: Place,
    pub(crate) program: Option<(PathBuf, Vec<OsString>)>,
    pub(crate) env: Vec<(OsString, Option<OsString>)>,
    pub(crate) env_clear: bool,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) enabled: Vec<Exposed>,
    pub(crate) listen: Vec<Address>,
    pub(crate) grace: Duration,
    pub(crate) term_grace: Duration,
    pub(crate) kill_grace: Duration,
    pub(crate) descendants_grace: Duration,
    pub(crate) orphan_grace: Duration,
    pub(crate) handshake_limit: Duration,
    pub(crate) abandon_after: Option<Duration>,
    pub(crate) log_level: Option<log::LevelFilter>,
    pub(crate) limits: Option<Limits>,
}

/// Where a child's standard output or standard error goes. Its standard input is the null device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// To where this process's goes.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// To the end of this file, which is made if it is not there.
    Append(PathBuf),
}

/// Something that an actor may be asked to run.
#[derive(Clone, Debug)]
pub(crate) enum Exposed {
    /// One function of this program, by its path.
    Function(&'static str),
    /// Everything in a namespace and those below it.
    Module(String),
}

impl SpawnOptions {
    /// The same program again, with the same arguments; nothing enabled.
    pub fn new() -> Self {
        Self {
            place: Place::Process,
            program: None,
            env: Vec::new(),
            env_clear: false,
            current_dir: None,
            stdout: Output::Inherit,
            stderr: Output::Inherit,
            enabled: Vec::new(),
            listen: Vec::new(),
            grace: Duration::from_millis(1600),
            term_grace: Duration::from_millis(500),
            kill_grace: Duration::from_secs(5),
            descendants_grace: Duration::from_secs(2),
            orphan_grace: Duration::from_millis(500),
            handshake_limit: Duration::from_secs(10),
            abandon_after: None,
            log_level: None,
            limits: None,
        }
    }

    /// Another program, with these arguments. It has to speak the protocol on its standard
    /// input: a program that calls [`tractor::run`](crate::run) does.
    ///
    /// A path without a slash is searched for in `PATH`.
    #[must_use]
    pub fn program<S: AsRef<OsStr>>(
        mut self,
        path: impl Into<PathBuf>,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().into()).collect();
        self.program = Some((path.into(), args));
        self.place = Place::Process;
        self
    }

    /// Instead of a program, a thread of this process with an executor of its own.
    ///
    /// The actor is called, cancelled and waited for as a process is, and what it is told and
    /// answers travels the same way. It touches nothing that belongs to all of the process:
    /// neither signals nor standard input nor the level of logs, and so
    /// what is said of environment, directory, output and [`log_level`](Self::log_level), and
    /// [`orphan_grace`](Self::orphan_grace), have no effect. What it starts as processes ends with
    /// it, and also when this process is killed.
    ///
    /// What a thread cannot be is killed. If it is stuck in code that does not come back to its
    /// executor, or shields itself, its nursery waits, and says every 5 s in the log for what,
    /// unless it may [abandon](Self::abandon_after) it. A second signal to the program, as
    /// [`run`](crate::run) takes them, abandons it at once. A thread that aborts takes the process
    /// with it. A panic does not: in an endpoint it is an error of that endpoint, and outside of
    /// one the end of the actor, [`ActorDied`](crate::ActorDied).
    #[must_use]
    pub fn in_thread(mut self) -> Self {
        self.place = Place::Thread;
        self
    }

    /// Instead of a program, a task of this runtime: an actor in memory, for tests and simulations.
    ///
    /// It is an actor like any other, with an identity and connections of its own, and its channel
    /// is a pipe in memory that carries the same bytes as a socket. It needs no descriptor, and as
    /// it shares the executor of its parent, a virtual clock and a seeded order rule a whole tree
    /// of such actors: see the module `testing`.
    ///
    /// All that was said of [threads](Self::in_thread) holds for it too, but for this: code that
    /// does not come back to the executor holds up its parent as well, and to
    /// [abandon](Self::abandon_after) it is to drop it, with all that it was doing and has started,
    /// so that nothing is left of it. It is dropped at once with its nursery.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.place = Place::Memory;
        self
    }

    /// How long after its grace an actor that is a thread or in memory and does not end is waited
    /// for. By default as long as it takes.
    ///
    /// After that it is abandoned: the nursery ends without it, and says so in the log. A thread
    /// may go on for as long as the process lives, cut off from its parent; what is in memory is
    /// dropped.
    #[must_use]
    pub fn abandon_after(mut self, limit: Duration) -> Self {
        self.abandon_after = Some(limit);
        self
    }

    /// Sets a variable of the child's environment. The rest is inherited.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Removes a variable from the child's environment.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().into(), None));
        self
    }

    /// Gives the child none of this process's environment, but what [`env`](Self::env) sets.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.env_clear = true;
        self
    }

    /// The child's working directory. By default this process's.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// Where the child's standard output goes.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Where the child's standard error goes.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Lets the child run this endpoint.
    #[must_use]
    pub fn enable<K>(mut self, endpoint: impl Endpoint<K>) -> Self {
        self.enabled.push(Exposed::Function(path_of(endpoint)));
        self
    }

    /// Lets the child run every endpoint of this module and of those below it. `a::b` covers
    /// `a::b::f` and `a::b::c::f`; the namespace of a given name counts as its module.
    #[must_use]
    pub fn enable_module(mut self, module: impl Into<String>) -> Self {
        self.enabled.push(Exposed::Module(module.into()));
        self
    }

    /// An address at which the child listens from its start, as with [`listen`](crate::listen),
    /// beside others that are given so. Without any it listens only if it is to be
    /// [found](crate::RunOptions::registry), beside its registrars.
    ///
    /// If it cannot, it is not started: [`SpawnFailure::Boot`](crate::SpawnFailure::Boot). Port 0
    /// is any that is free; the child knows [which](crate::ActorInfo::addresses).
    #[must_use]
    pub fn listen(mut self, address: Address) -> Self {
        self.listen.push(address);
        self
    }

    /// How long the child has from the request to cancel until SIGTERM, or until a thread is said
    /// to be late. 1.6 s by default.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long the child has from SIGTERM until SIGKILL. 0.5 s by default.
    #[must_use]
    pub fn term_grace(mut self, grace: Duration) -> Self {
        self.term_grace = grace;
        self
    }

    /// How long a child is waited for after SIGKILL: the system may hold it. 5 s by default. After
    /// that it is given up, which is logged.
    #[must_use]
    pub fn kill_grace(mut self, grace: Duration) -> Self {
        self.kill_grace = grace;
        self
    }

    /// How long, after the child has ended, the actors below it are waited for, which end
    /// themselves when they lose their parent. 2 s by default. If some are still there, that is
    /// logged, and in the [`TeardownReport`](crate::TeardownReport).
    #[must_use]
    pub fn descendants_grace(mut self, grace: Duration) -> Self {
        self.descendants_grace = grace;
        self
    }

    /// How long the child may clean up after it lost its parent, before it ends itself. 0.5 s
    /// by default.
    #[must_use]
    pub fn orphan_grace(mut self, grace: Duration) -> Self {
        self.orphan_grace = grace;
        self
    }

    /// How long the child may take from its start until it answers. 10 s by default.
    #[must_use]
    pub fn handshake_limit(mut self, limit: Duration) -> Self {
        self.handshake_limit = limit;
        self
    }

    /// What the child is to log at most: passed to [`log::set_max_level`] there. The actors that it
    /// starts are told the same, unless they are told something else. The logger, and without this
    /// the level, are what the program installs.
    #[must_use]
    pub fn log_level(mut self, level: log::LevelFilter) -> Self {
        self.log_level = Some(level);
        self
    }

    /// What peers may make the child hold, and the actors that it starts, unless they are told
    /// something else. By default the same as this actor.
    ///
    /// They hold for its side of the channel to this actor too. If they are smaller than here, what
    /// is sent to it has to keep to them: over them it is the end of the child.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// The program, for people.
    pub(crate) fn program_text(&self) -> String {
        match (self.place, &self.program) {
            (Place::Thread, _) => String::from("a thread of this process"),
            (Place::Memory, _) => String::from("a task of this runtime"),
            (Place::Process, Some((program, _))) => program.display().to_string(),
            (Place::Process, None) => std::env::args_os().next().map_or_else(
                || String::from("this program"),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }

    /// What is enabled, as it travels.
    pub(crate) fn enabled_on_the_wire(&self, actor: &Actor) -> Vec<(String, String)> {
        on_the_wire(&self.enabled, actor.table())
    }
}

/// What an actor exposes, as it travels.
pub(crate) fn on_the_wire(exposed: &[Exposed], table: &Table) -> Vec<(String, String)> {
    let exposed = exposed.iter().map(|exposed| match exposed {
        Exposed::Function(function) => {
            let path = table.path_of(function);
            (path.to_string(), String::from("endpoint"))
        }
        Exposed::Module(module) => (module.clone(), String::from("module")),
    });
    exposed.collect()
}

impl Default for SpawnOptions {
    fn default() -> Self {
        Self::new()
    }
}
