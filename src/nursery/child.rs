use std::cell::{OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use rustix::process::Signal;
use tractor_runtime::sync::Event;
use tractor_runtime::{
    CancelCause, Cancelled, Error, Outcome, Result, move_on_after, shield, time,
};

use crate::actor::{Actor, Connection};
use crate::discovery::{brief, own_places};
use crate::error::{self, ActorDied, SpawnError, SpawnFailure};
use crate::portal::Portal;
use crate::spawn::{Exit, Home, SpawnOptions, seconds};
use crate::transport::{
    Address, ByteStream, Link, LinkError, LinkReader, Received, remove_abandoned,
};
use crate::wire::{Aid, Limits, Message, SpawnSpec, Uid};

/// How long after one sign of a child's end (its exit, or the end of its channel) the other is
/// waited for.
const OTHER_SIGN: Duration = Duration::from_millis(250);

/// How often it is said that an actor of this process is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// One child actor, as its nursery sees it.
pub(super) struct Child {
    actor: Rc<Actor>,
    uid: Uid,
    home: Rc<Home>,
    options: SpawnOptions,
    /// What came of the start, when `booted` is set.
    start: RefCell<Option<Result<Portal>>>,
    booted: Event,
    conn: OnceCell<Rc<Connection>>,
    /// Set when the child was asked to end.
    asked: Event,
    /// Why, if it could not be told yet.
    asked_because: RefCell<Option<CancelCause>>,
    /// Where it is to listen. Dropped when its home is gone.
    places: Places,
}

/// Where a child was to listen. It may have had no time to clean up there.
#[derive(Debug)]
struct Places(Vec<Address>);

impl Drop for Places {
    fn drop(&mut self) {
        for address in &self.0 {
            remove_abandoned(address);
        }
    }
}

/// Why a child is not to go on as it does.
enum Turn {
    Exited(Exit),
    /// Its channel has ended.
    Silent,
    Asked,
    Cancelled(Cancelled),
}

impl Child {
    pub(super) fn new(actor: &Rc<Actor>, uid: Uid, home: Home, options: SpawnOptions) -> Rc<Self> {
        let home = Rc::new(home);
        let listen = match options.listen.is_empty() {
            true => own_places(&actor.whereabouts().registrars(), &uid),
            false => options.listen.clone(),
        };
        actor.adopt(&home);
        Rc::new(Self {
            actor: actor.clone(),
            uid,
            home,
            options,
            start: RefCell::default(),
            booted: Event::new(),
            conn: OnceCell::new(),
            asked: Event::new(),
            asked_because: RefCell::default(),
            places: Places(listen),
        })
    }

    pub(super) fn uid(&self) -> &Uid {
        &self.uid
    }

    /// Set when it is known what came of the start.
    pub(super) fn booted(&self) -> &Event {
        &self.booted
    }

    /// What came of the start. To be asked once.
    pub(super) fn portal(&self) -> Result<Portal> {
        let start = self.start.take();
        start.expect("it is known when the child has booted, and asked for once")
    }

    /// Asks the child to end.
    pub(super) fn ask(&self, cause: &CancelCause) {
        match self.conn.get() {
            Some(conn) => drop(conn.request_cancel_actor(cause)),
            None => *self.asked_because.borrow_mut() = Some(cause.clone()),
        }
        self.asked.set();
    }

    /// Sees the child through its life. When this is done, the actor is gone.
    pub(super) async fn supervise(self: Rc<Self>, channel: ByteStream) -> Result<()> {
        let boot = async { or(self.boot(channel), self.given_up()).await };
        let conn = match move_on_after(self.options.handshake_limit, boot).await {
            Ok(Outcome::Completed(Ok(conn))) => conn,
            Ok(Outcome::Completed(Err(failure))) => return self.not_started(failure).await,
            Ok(Outcome::Cancelled(_)) => {
                let limit = self.options.handshake_limit;
                return self.not_started(SpawnFailure::TimedOut(limit)).await;
            }
            Err(error) if error.is_cancelled() => {
                self.kill().await;
                self.group_gone().await;
                self.started(Err(error.clone()));
                return Err(error);
            }
            Err(error) => {
                let error = io::Error::other(error.into_std());
                return self.not_started(SpawnFailure::NotStarted(error)).await;
            }
        };
        let _ = self.conn.set(conn.clone());
        if let Some(cause) = self.asked_because.take() {
            conn.request_cancel_actor(&cause);
        }
        let child = Rc::downgrade(&self);
        let asked: Rc<dyn Fn()> = Rc::new(move || {
            if let Some(child) = child.upgrade() {
                child.asked.set();
            }
        });
        self.started(Ok(Portal::new(conn.clone(), Some(asked))));
        let result = self.live(&conn).await;
        log::debug!(target: "tractor::spawn", "{} is gone", self.uid);
        result
    }

    async fn live(&self, conn: &Rc<Connection>) -> Result<()> {
        let turn = self.turn(conn).await;
        // Not later: what it died of is not undone by whoever asks for its end when told.
        let asked = self.asked.is_set();
        let exit = match &turn {
            Turn::Exited(exit) => exit.clone(),
            Turn::Silent => {
                // It may be about to exit. A child that cannot be talked to is of no use.
                match self.exit_within(OTHER_SIGN).await {
                    Some(exit) => exit,
                    None => self.end_by_force().await,
                }
            }
            Turn::Asked => self.end().await,
            Turn::Cancelled(cancelled) => {
                conn.request_cancel_actor(cancelled.cause());
                self.end().await
            }
        };
        // What it said last is heard before the connection is given up.
        let heard = async { Ok(conn.read_ended().wait().await?) };
        let _ = shield(move_on_after(OTHER_SIGN, heard)).await;
        conn.lose(Some(&exit));
        self.group_gone().await;
        match turn {
            Turn::Cancelled(cancelled) => Err(cancelled.into()),
            _ if asked || conn.leaves().is_set() => Ok(()),
            _ => Err(ActorDied {
                uid: self.uid.clone(),
                exit,
            }
            .into()),
        }
    }

    /// Waits until something happens to the child.
    async fn turn(&self, conn: &Connection) -> Turn {
        let exited = async {
            match self.home.wait().await {
                Ok(exit) => Turn::Exited(exit),
                Err(cancelled) => Turn::Cancelled(cancelled),
            }
        };
        // By whomever.
        let asked = async {
            match or(self.asked.wait(), conn.leaves().wait()).await {
                Ok(()) => Turn::Asked,
                Err(cancelled) => Turn::Cancelled(cancelled),
            }
        };
        let silent = async {
            match conn.read_ended().wait().await {
                Ok(()) => Turn::Silent,
                Err(cancelled) => Turn::Cancelled(cancelled),
            }
        };
        or(exited, or(asked, silent)).await
    }

    /// Waits for the end of a child that was asked to, and brings it about if it does not come.
    async fn end(&self) -> Exit {
        match self.exit_within(self.options.grace).await {
            Some(exit) => exit,
            None => self.end_by_force().await,
        }
    }

    async fn end_by_force(&self) -> Exit {
        let process = match &*self.home {
            Home::Process(process) => process,
            Home::Thread(_) | Home::Task(_) => return self.end_in_its_time().await,
        };
        log::info!(target: "tractor::spawn", "{} does not end: SIGTERM", self.uid);
        process.signal(Signal::TERM);
        // One that is stopped would not notice.
        process.signal(Signal::CONT);
        match self.exit_within(self.options.term_grace).await {
            Some(exit) => exit,
            None => {
                log::warn!(target: "tractor::spawn", "{} does not end: SIGKILL", self.uid);
                self.kill().await
            }
        }
    }

    /// There is no force to end what is in this process by.
    async fn end_in_its_time(&self) -> Exit {
        let start = time::now();
        let mut limit = self.options.abandon_after;
        loop {
            let left = limit.map_or(SAY_EVERY, |limit| (start + limit) - time::now());
            if let Some(exit) = self.exit_within(left.min(SAY_EVERY)).await {
                return exit;
            }
            let waited = time::now() - start;
            if limit.is_some_and(|limit| waited >= limit) {
                self.home.kill();
                limit = None;
                continue;
            }
            log::warn!(
                target: "tractor::spawn",
                "waiting for {}, {}, which has not ended {} after its grace and cannot be killed",
                self.uid, self.options.program_text(), seconds(Duration::from_secs(waited.as_secs())),
            );
        }
    }

    /// Ends it without asking. What is in this process may take its time.
    async fn kill(&self) -> Exit {
        match &*self.home {
            Home::Process(process) => process.kill(),
            Home::Thread(thread) => {
                thread.cut();
                return self.end_in_its_time().await;
            }
            // Its channel has ended with the attempt to talk to it.
            Home::Task(_) => return self.end_in_its_time().await,
        }
        loop {
            if let Ok(exit) = shield(self.home.wait()).await {
                return exit;
            }
        }
    }

    async fn exit_within(&self, limit: Duration) -> Option<Exit> {
        let exit = async { Ok(self.home.wait().await?) };
        let exit = shield(move_on_after(limit, exit)).await;
        exit.ok().and_then(Outcome::completed)
    }

    async fn group_gone(&self) {
        // The shield hides what could be told.
        let _ = shield(self.home.group_gone()).await;
    }

    async fn not_started(&self, failure: SpawnFailure) -> Result<()> {
        self.kill().await;
        self.group_gone().await;
        let error = SpawnError {
            name: self.uid.name().into(),
            program: self.options.program_text(),
            failure,
        };
        log::info!(target: "tractor::spawn", "{error}");
        // It is told to who wanted the actor, and fails nobody else.
        self.started(Err(error.into()));
        Ok(())
    }

    fn started(&self, start: Result<Portal>) {
        *self.start.borrow_mut() = Some(start);
        self.booted.set();
    }

    /// Tells the child who it is, and hears that it is there.
    async fn boot(
        &self,
        channel: ByteStream,
    ) -> Result<std::result::Result<Rc<Connection>, SpawnFailure>> {
        let link = Link::over(channel, Limits::default());
        let mut reader = link.reader();
        link.send(&Message::Aid(Box::new(self.actor.aid())))?;
        link.send(&Message::SpawnSpec(Box::new(self.spec())))?;
        // What writing fails with is seen by the reader.
        let written = async { link.write_loop().await.map(|_| ()) };
        or(link.flushed(), written).await?;
        let aid = match self.answer(&mut reader).await? {
            Ok(aid) => aid,
            Err(failure) => return Ok(Err(failure)),
        };
        let conn = Connection::new(&self.actor, &aid, link);
        let services = self.actor.services();
        let task = conn.clone().read(reader);
        services.start_soon(async { Ok(task.await?) })?;
        let task = conn.clone().write();
        services.start_soon(async { Ok(task.await?) })?;
        Ok(Ok(conn))
    }

    /// Waits for the end of the grace of a child that is asked to end before it answers.
    async fn given_up(&self) -> Result<std::result::Result<Rc<Connection>, SpawnFailure>> {
        self.asked.wait().await?;
        time::sleep(self.options.grace).await?;
        Ok(Err(SpawnFailure::Asked))
    }

    /// The first message of the child, or why there is none.
    async fn answer(
        &self,
        reader: &mut LinkReader,
    ) -> Result<std::result::Result<Aid, SpawnFailure>> {
        let received = or(async { Ok(Some(reader.next().await?)) }, async {
            self.home.wait().await?;
            Ok::<_, Error>(None)
        });
        let received = match received.await? {
            Some(received) => received,
            // What it said before it exited is still there.
            None => match move_on_after(OTHER_SIGN, async { Ok(reader.next().await?) }).await? {
                Outcome::Completed(received) => received,
                Outcome::Cancelled(_) => Received::Ended,
            },
        };
        Ok(Err(match received {
            Received::Message(Message::Aid(aid)) if aid.uid == self.uid => return Ok(Ok(*aid)),
            Received::Message(Message::Aid(aid)) => {
                SpawnFailure::Protocol(format!("it says that it is {}", aid.uid))
            }
            Received::Message(Message::Error(msg)) => SpawnFailure::Boot(error::remote(*msg)),
            Received::Message(message) => {
                SpawnFailure::Protocol(format!("it sent {} first", message.name()))
            }
            Received::Broken(LinkError::Wire(error)) => SpawnFailure::Protocol(error.to_string()),
            Received::Broken(_) | Received::Ended => match self.home.wait().await? {
                Exit::Process(status) => SpawnFailure::Exited(status),
                exit => SpawnFailure::NotStarted(io::Error::other(exit.to_string())),
            },
        }))
    }

    fn spec(&self) -> SpawnSpec {
        let mut spec = SpawnSpec::new(self.uid.clone());
        spec.enable_modules = self.options.enabled_on_the_wire(&self.actor);
        spec.loglevel = self.options.log_level.map(|level| level.to_string());
        let grace = self.options.orphan_grace.as_millis();
        spec.grace_ms = Some(u64::try_from(grace).unwrap_or(u64::MAX));
        brief(&self.actor, &mut spec, &self.places.0);
        spec
    }
}
