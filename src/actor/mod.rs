//! What one actor is: its identity, what it may be asked to run, and whom it is connected to.

mod connection;
mod current;
mod ends;
mod extensions;
mod host;
mod info;
mod listen;
mod registry;
mod serve;
mod whereabouts;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};

use tractor_runtime::{CancelCause, Cancelled, NurseryHandle};

pub(crate) use connection::{Ack, Connection, from_dialog, parent_lost, to_dialog};
pub use ends::on_actor_end;
pub(crate) use host::host;
pub use info::{ActorInfo, current_actor};
pub(crate) use listen::greet;
pub use listen::{ListenOptions, Listening, listen};
pub(crate) use registry::Registry;
pub(crate) use whereabouts::{Place, Whereabouts};

use ends::Ends;
use extensions::Extensions;

use crate::endpoint::{Handler, Path, Table};
use crate::nursery::{self, ActorEnd};
use crate::spawn::{Home, Watchdog};
use crate::wire::{Aid, Features, Limits, Uid};

/// One actor, as everything in it sees it. It hangs off its runtime, not off the process.
pub(crate) struct Actor {
    uid: Uid,
    table: Table,
    enabled: Enabled,
    watchdog: Watchdog,
    limits: Limits,
    services: OnceCell<NurseryHandle>,
    endpoints: OnceCell<NurseryHandle>,
    yard: OnceCell<NurseryHandle>,
    connections: RefCell<Vec<Weak<Connection>>>,
    connected: Cell<u64>,
    children: RefCell<Vec<Weak<Home>>>,
    extensions: Extensions,
    ends: Ends,
    astray: Cell<bool>,
    /// Speaks the common protocol only, to whomever.
    plain: Cell<bool>,
    whereabouts: Whereabouts,
    office: OnceCell<Office>,
    /// What it was told to log.
    log_level: Cell<Option<log::LevelFilter>>,
    is_ending: Cell<bool>,
    /// How the actors below it end that end with it.
    children_ends: nursery::Ends,
}

/// What makes an actor a registrar: what it knows, and how it answers.
pub(crate) struct Office {
    pub(crate) registry: Rc<Registry>,
    /// By the name of the function.
    pub(crate) answers: HashMap<&'static str, Handler>,
}

/// Which of an actor's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(u64);

impl Actor {
    pub(crate) fn new(
        uid: Uid,
        table: Table,
        enabled: Enabled,
        watchdog: Watchdog,
        limits: Limits,
    ) -> Self {
        Self {
            uid,
            table,
            enabled,
            watchdog,
            limits,
            services: OnceCell::new(),
            endpoints: OnceCell::new(),
            yard: OnceCell::new(),
            connections: RefCell::default(),
            connected: Cell::new(0),
            children: RefCell::default(),
            extensions: Extensions::default(),
            ends: Ends::default(),
            astray: Cell::new(false),
            plain: Cell::new(false),
            whereabouts: Whereabouts::default(),
            office: OnceCell::new(),
            log_level: Cell::new(None),
            is_ending: Cell::new(false),
            children_ends: nursery::Ends::default(),
        }
    }

    /// The actor that the running task belongs to.
    pub(crate) fn current() -> Option<Rc<Self>> {
        current::current()
    }

    pub(crate) fn uid(&self) -> &Uid {
        &self.uid
    }

    /// What it says of itself in a handshake.
    pub(crate) fn aid(&self) -> Aid {
        Aid {
            uid: self.uid.clone(),
            pid: Some(std::process::id().into()),
            is_registrar: Some(self.is_registrar()),
            is_probe: false,
            features: (!self.is_plain()).then(Features::ours),
        }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.plain.get()
    }

    /// Speaks nothing but the common protocol from now on.
    pub(crate) fn be_plain(&self) {
        self.plain.set(true);
    }

    pub(crate) fn whereabouts(&self) -> &Whereabouts {
        &self.whereabouts
    }

    pub(crate) fn become_registrar(&self, office: Office) {
        let _ = self.office.set(office);
    }

    pub(crate) fn is_registrar(&self) -> bool {
        self.office.get().is_some()
    }

    /// What it knows, if it is a registrar.
    pub(crate) fn registry(&self) -> Option<&Rc<Registry>> {
        self.office.get().map(|office| &office.registry)
    }

    /// How it answers to this function as a registrar, if it is one.
    fn answer(&self, func: &str) -> Option<&Handler> {
        self.office.get()?.answers.get(func)
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// Where tasks go that outlive what the actor does, and are shielded from its cancellation:
    /// those of the connections.
    pub(crate) fn services(&self) -> &NurseryHandle {
        self.services.get().expect("an actor is hosted")
    }

    /// Where the tasks of peers go.
    pub(crate) fn endpoints(&self) -> &NurseryHandle {
        self.endpoints.get().expect("an actor is hosted")
    }

    /// Where the tasks of actors in memory stand, whoever starts them: with the actor that has the
    /// runtime to itself.
    pub(crate) fn yard(&self) -> &NurseryHandle {
        self.yard.get().unwrap_or_else(|| self.services())
    }

    /// It has no runtime to itself, but is one of these tasks.
    pub(crate) fn is_one_of(&self, tasks: NurseryHandle) {
        let _ = self.yard.set(tasks);
    }

    fn serves_in(&self, services: NurseryHandle) {
        let _ = self.services.set(services);
    }

    fn works_in(&self, tasks: NurseryHandle) {
        let _ = self.endpoints.set(tasks);
    }

    /// What this part of the library keeps here.
    pub(crate) fn extension<E: Default + 'static>(&self) -> Rc<E> {
        self.extensions.of()
    }

    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// Of all its connections.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn exposes(&self, path: &Path) -> bool {
        self.enabled.covers(path)
    }

    /// Cancels everything the actor does: its main task and its endpoints.
    pub(crate) fn cancel(&self, cause: CancelCause) {
        log::debug!(target: "tractor::actor", "{} is cancelled: {cause}", self.uid);
        self.is_ending.set(true);
        self.cancel_tasks(cause);
    }

    /// Cancels what is left to do, and tells the contexts who asked for that.
    fn cancel_tasks(&self, cause: CancelCause) {
        let told = to_dialog(&cause, &self.uid);
        self.endpoints().cancel_because(cause);
        for conn in self.connections() {
            conn.cancel_endpoints(&told);
        }
    }

    fn next_connection(&self) -> ConnectionId {
        self.connected.set(self.connected.get() + 1);
        ConnectionId(self.connected.get())
    }

    /// Those that are there.
    pub(crate) fn connections(&self) -> Vec<Rc<Connection>> {
        let connections = self.connections.borrow();
        connections.iter().filter_map(Weak::upgrade).collect()
    }

    /// Remembers a connection for as long as it is one.
    fn connected(&self, conn: &Rc<Connection>) {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|conn| conn.strong_count() > 0);
        connections.push(Rc::downgrade(conn));
    }

    /// Waits until everything that was sent is written, and until who is connected over a socket
    /// of its own has heard the end of it: closed with something unread, TCP throws out what is
    /// still on its way to the peer.
    async fn take_leave(&self) -> Result<(), Cancelled> {
        let connections = self.connections();
        for conn in connections.iter().filter(|conn| conn.is_served()) {
            conn.link().close();
        }
        for conn in &connections {
            conn.link().flushed().await?;
        }
        for conn in connections.iter().filter(|conn| conn.is_served()) {
            conn.read_ended().wait().await?;
        }
        Ok(())
    }

    /// Lets go of the connections, which hold what is left of their dialogs and are held by it.
    fn lose_connections(&self) {
        let connections = self.connections.take();
        for conn in connections.iter().filter_map(Weak::upgrade) {
            conn.lose(None);
        }
    }

    /// It is a root in a process that was started to be another actor, and is to start none.
    pub(crate) fn is_astray(&self) -> bool {
        self.astray.get()
    }

    pub(crate) fn goes_astray(&self) {
        self.astray.set(true);
    }

    /// Remembers a child for as long as it is one.
    pub(crate) fn adopt(&self, child: &Rc<Home>) {
        let mut children = self.children.borrow_mut();
        children.retain(|child| child.strong_count() > 0);
        children.push(Rc::downgrade(child));
    }

    /// An actor below has ended. If this one is ending too, its parent will be told.
    pub(crate) fn child_ended(&self, end: &ActorEnd) {
        if self.is_ending.get() {
            self.children_ends.told(end.clone());
        }
    }

    fn report_to_parent(&self) {
        let ends = self.children_ends.take();
        if let Some(parent) = self.whereabouts.parent()
            && !ends.is_empty()
        {
            parent.report(&ends);
        }
    }

    /// What it was told to log, which it tells the actors that it starts.
    pub(crate) fn log_level(&self) -> Option<log::LevelFilter> {
        self.log_level.get()
    }

    pub(crate) fn set_log_level(&self, level: Option<log::LevelFilter>) {
        self.log_level.set(level);
    }

    /// Ends all child processes at once, waits for child threads no more, and drops what is in memory.
    pub(crate) fn kill_children(&self) {
        for child in self.children.borrow().iter().filter_map(Weak::upgrade) {
            child.kill();
        }
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actor({})", self.uid)
    }
}

/// What an actor may be asked to run: nothing, unless it is named here.
#[derive(Debug, Default)]
pub(crate) struct Enabled {
    modules: Vec<String>,
    endpoints: Vec<Path>,
}

impl Enabled {
    /// Of what came with a spawn spec: `namespace:function` is one endpoint, anything else a
    /// module.
    pub(crate) fn from_wire(modules: &[(String, String)]) -> Self {
        let mut enabled = Self::default();
        for (name, _) in modules {
            match Path::of_name(name) {
                Some(path) => enabled.endpoints.push(path),
                None => enabled.modules.push(name.clone()),
            }
        }
        enabled
    }

    fn covers(&self, path: &Path) -> bool {
        self.endpoints.contains(path)
            || self.modules.iter().any(|module| {
                let below = path.ns.strip_prefix(&**module);
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enabled_modules_and_endpoints() {
        let wire = ["a::b", "c:f", "x::y:g"].map(|name| (String::from(name), String::new()));
        let enabled = Enabled::from_wire(&wire);
        let covers = |ns: &str, func: &str| {
            enabled.covers(&Path {
                ns: ns.into(),
                func: func.into(),
            })
        };
        assert!(covers("a::b", "any"));
        assert!(covers("a::b::deeper", "any"));
        assert!(covers("c", "f"));
        assert!(covers("x::y", "g"));
        assert!(!covers("a", "any"));
        assert!(!covers("a::bc", "any"));
        assert!(!covers("c", "g"));
        assert!(!covers("c::d", "f"));
        assert!(!covers("x::y", "h"));
        assert!(!Enabled::default().covers(&Path::of_function("a::f")));
    }
}
