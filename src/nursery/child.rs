use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_lite::future::or;
use rustix::process::Signal;
use tractor_runtime::sync::Event;
use tractor_runtime::time::Instant;
use tractor_runtime::{
    CancelCause, Cancelled, Error, NurseryHandle, Outcome, Result, move_on_after, shield, time,
};

use super::report::{ActorEnd, Ending, Ends};
use crate::actor::{Ack, Actor, Connection};
use crate::discovery::{brief, own_places};
use crate::error::{self, ActorDied, SpawnError, SpawnFailure};
use crate::portal::Portal;
use crate::spawn::{Exit, Home, SpawnOptions, seconds};
use crate::transport::{
    Address, ByteStream, Link, LinkError, LinkReader, Received, remove_abandoned,
};
use crate::wire::{Aid, Message, SpawnSpec, Uid};

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
    asked_at: Cell<Option<Instant>>,
    /// Until when it has time to end, if somebody gave it less than its options do.
    until: Cell<Option<Instant>>,
    /// Set when it was given less, and then replaced.
    hurried: RefCell<Rc<Event>>,
    ack: RefCell<Option<Rc<Ack>>>,
    ending: Cell<Option<Ending>>,
    /// Whether it was said how it ended.
    is_told: Cell<bool>,
    /// When it was doomed: it is to end at once, and nobody has time to see it through.
    doomed_at: Cell<Option<std::time::Instant>>,
    ends: Rc<Ends>,
    siblings: Siblings,
    /// Set when it is gone.
    gone: Event,
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

/// The children of one nursery, and the tasks that see them through.
#[derive(Clone)]
pub(super) struct Siblings {
    pub(super) tasks: NurseryHandle,
    pub(super) children: Rc<RefCell<Vec<Weak<Child>>>>,
}

impl Siblings {
    pub(super) fn living(&self) -> Vec<Rc<Child>> {
        let children = self.children.borrow();
        children.iter().filter_map(Weak::upgrade).collect()
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
    pub(super) fn new(
        actor: &Rc<Actor>,
        ends: &Rc<Ends>,
        siblings: &Siblings,
        uid: Uid,
        home: Home,
        options: SpawnOptions,
    ) -> Rc<Self> {
        let home = Rc::new(home);
        let listen = match options.listen.is_empty() {
            true => own_places(&actor.whereabouts().registrars(), &uid),
            false => options.listen.clone(),
        };
        actor.adopt(&home);
        ends.expect();
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
            asked_at: Cell::new(None),
            until: Cell::new(None),
            hurried: RefCell::default(),
            ack: RefCell::default(),
            ending: Cell::new(None),
            is_told: Cell::new(false),
            doomed_at: Cell::new(None),
            ends: ends.clone(),
            siblings: siblings.clone(),
            gone: Event::new(),
        })
    }

    pub(super) fn uid(&self) -> &Uid {
        &self.uid
    }

    /// Set when it is known what came of the start.
    pub(super) fn booted(&self) -> &Event {
        &self.booted
    }

    /// What came of the start: for a child that was asked to end meanwhile, nothing.
    pub(super) fn portal(&self) -> Result<Portal> {
        match &*self.start.borrow() {
            Some(Ok(_)) if self.asked.is_set() => Err(self.failed(SpawnFailure::Asked)),
            Some(start) => start.clone(),
            None => Err(self.failed(SpawnFailure::Asked)),
        }
    }

    /// Set when the child is gone.
    pub(super) fn gone(&self) -> &Event {
        &self.gone
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_set()
    }

    /// Asks the child to end.
    pub(super) fn ask(&self, cause: &CancelCause) {
        self.asked_from_now();
        match self.conn.get() {
            Some(conn) => self.asked_by(conn.request_cancel_actor(cause)),
            None => {
                *self.asked_because.borrow_mut() = Some(cause.clone());
                self.asked_now();
            }
        }
    }

    /// The same, with less time than it had.
    pub(super) fn ask_within(&self, cause: &CancelCause, grace: Duration) {
        self.asked_from_now();
        let until = time::now() + grace;
        if self.until.get().is_none_or(|before| until < before) {
            self.until.set(Some(until));
            self.hurried.take().set();
        }
        self.ask(cause);
    }

    /// It was asked to end, and this is where its answer comes.
    fn asked_by(&self, ack: Rc<Ack>) {
        self.ack.borrow_mut().get_or_insert(ack);
        self.asked_now();
    }

    fn asked_now(&self) {
        self.asked_from_now();
        self.asked.set();
    }

    fn asked_from_now(&self) {
        if self.asked_at.get().is_none() {
            self.asked_at.set(Some(time::now()));
        }
    }

    /// Sees the child through its life. When this is done, the actor is gone.
    pub(super) fn supervise(
        self: Rc<Self>,
        channel: ByteStream,
    ) -> impl Future<Output = Result<()>> + use<> {
        let gone = Gone(self.clone());
        async move {
            let _gone = gone;
            self.bring_up(channel).await
        }
    }

    async fn bring_up(self: Rc<Self>, channel: ByteStream) -> Result<()> {
        let boot = async { or(self.boot(channel), self.given_up()).await };
        let conn = match move_on_after(self.options.handshake_limit, boot).await {
            Ok(Outcome::Completed(Ok(conn))) => conn,
            Ok(Outcome::Completed(Err(failure))) => return self.not_started(failure).await,
            Ok(Outcome::Cancelled(_)) => {
                let limit = self.options.handshake_limit;
                return self.not_started(SpawnFailure::TimedOut(limit)).await;
            }
            Err(error) if error.is_cancelled() => {
                self.asked_now();
                let exit = self.kill().await;
                self.all_gone(&exit).await;
                self.started(Err(error.clone()));
                return Err(error);
            }
            Err(error) => {
                let error = io::Error::other(error.into_std());
                return self.not_started(SpawnFailure::NotStarted(error)).await;
            }
        };
        let _ = self.conn.set(conn.clone());
        conn.hear_reports(&self.ends);
        if let Some(cause) = self.asked_because.take() {
            self.asked_by(conn.request_cancel_actor(&cause));
        }
        let child = Rc::downgrade(&self);
        let asked: Rc<dyn Fn(Rc<Ack>)> = Rc::new(move |ack| {
            if let Some(child) = child.upgrade() {
                child.asked_by(ack);
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
                self.asked_from_now();
                self.asked_by(conn.request_cancel_actor(cancelled.cause()));
                self.end().await
            }
        };
        // What it said last is heard before the connection is given up.
        let heard = async { Ok(conn.read_ended().wait().await?) };
        let _ = shield(move_on_after(OTHER_SIGN, heard)).await;
        conn.lose(Some(&exit));
        if asked || matches!(turn, Turn::Cancelled(_)) {
            let heard = self
                .ack
                .borrow()
                .as_ref()
                .is_some_and(|ack| ack.accepted.get());
            let ending = if heard {
                Ending::Acked
            } else {
                Ending::Unreachable
            };
            self.ending.set(Some(self.ending.get().unwrap_or(ending)));
        } else if conn.leaves().is_set() {
            self.ending
                .set(Some(self.ending.get().unwrap_or(Ending::Left)));
        }
        self.all_gone(&exit).await;
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
        loop {
            let left = self.time_ends().saturating_duration_since(time::now());
            let hurried = self.hurried.borrow().clone();
            let hurry = async {
                // The shield hides what could be told.
                let _ = shield(hurried.wait()).await;
                None
            };
            match or(async { Some(self.exit_within(left).await) }, hurry).await {
                Some(Some(exit)) => return exit,
                Some(None) => return self.end_by_force().await,
                None => {}
            }
        }
    }

    /// Until when a child that was asked to end has time to.
    fn time_ends(&self) -> Instant {
        let start = self.asked_at.get().unwrap_or_else(time::now);
        let full = start + self.options.grace;
        self.until.get().map_or(full, |until| until.min(full))
    }

    async fn end_by_force(&self) -> Exit {
        let process = match &*self.home {
            Home::Process(process) => process,
            Home::Thread(_) | Home::Task(_) => return self.end_in_its_time().await,
        };
        log::info!(target: "tractor::spawn", "{} does not end: SIGTERM", self.uid);
        self.forced(Ending::Terminated);
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
                self.forced(Ending::Abandoned);
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
            Home::Process(process) => {
                if let Some(exit) = self.exit_within(Duration::ZERO).await {
                    return exit;
                }
                self.forced(Ending::Killed);
                process.kill();
            }
            Home::Thread(thread) => {
                thread.cut();
                return self.end_unheard().await;
            }
            // Its channel has ended with the attempt to talk to it.
            Home::Task(_) => return self.end_unheard().await,
        }
        match self.exit_within(self.options.kill_grace).await {
            Some(exit) => exit,
            None => {
                log::error!(
                    target: "tractor::spawn",
                    "{} is not gone {} after SIGKILL, and is waited for no more",
                    self.uid, seconds(self.options.kill_grace),
                );
                Exit::Process(None)
            }
        }
    }

    /// What starts in this process ends by itself when its channel does. If it was asked to, that is
    /// no death.
    async fn end_unheard(&self) -> Exit {
        let exit = self.end_in_its_time().await;
        if self.asked.is_set() && self.ending.get().is_none() {
            self.ending.set(Some(Ending::Unreachable));
        }
        exit
    }

    fn forced(&self, ending: impl Fn(Duration) -> Ending) {
        self.ending
            .set(Some(ending(self.since_asked().unwrap_or_default())));
    }

    fn since_asked(&self) -> Option<Duration> {
        self.asked_at.get().map(|at| time::now() - at)
    }

    async fn exit_within(&self, limit: Duration) -> Option<Exit> {
        let exit = async { Ok(self.home.wait().await?) };
        let exit = shield(move_on_after(limit, exit)).await;
        exit.ok().and_then(Outcome::completed)
    }

    /// Waits, for a bounded time, until what the child had started is gone too, and says how it
    /// ended.
    async fn all_gone(&self, exit: &Exit) {
        let limit = self.options.descendants_grace;
        // The shield hides what could be told.
        let complete = shield(self.home.descendants_gone(limit)).await;
        let complete = complete.unwrap_or(false);
        if !complete {
            log::warn!(
                target: "tractor::spawn",
                "something that {} has started is still there {} after its end",
                self.uid, seconds(limit),
            );
        }
        self.tell_end(exit, complete);
    }

    fn tell_end(&self, exit: &Exit, complete: bool) {
        self.is_told.set(true);
        let ending = self.ending.get().unwrap_or(Ending::Died);
        let ack = self.ack.borrow().as_ref().and_then(|ack| ack.at.get());
        let ack = ack.zip(self.asked_at.get()).map(|(ack, asked)| ack - asked);
        let end = ActorEnd::new(&self.uid, self.actor.uid(), ending, exit)
            .asked(self.since_asked(), ack)
            .complete(complete);
        log::info!(target: "tractor::spawn", "{end}");
        self.actor.child_ended(&end);
        self.ends.child(end);
    }

    /// Ends it without waiting for anything that is not to end with it.
    fn doom(&self) {
        if self.is_told.get() || self.doomed_at.get().is_some() {
            return;
        }
        self.asked_from_now();
        self.doomed_at.set(Some(std::time::Instant::now()));
        self.home.doom();
    }

    /// Ends it where nobody sees it through any more, and blocks this thread until it is gone. All
    /// that are left alone with it are doomed before the first of them is waited for, so that the
    /// bound is for all of them together.
    fn end_unseen(&self) {
        if self.siblings.tasks.is_closed() {
            for sibling in self.siblings.living() {
                sibling.doom();
            }
        }
        self.doom();
        let since = self.doomed_at.get().unwrap_or_else(std::time::Instant::now);
        let (exit, complete) = self.home.end_now(since, self.options.descendants_grace);
        match &*self.home {
            Home::Process(_) if exit.is_kill() => self.forced(Ending::Killed),
            Home::Thread(thread) if thread.is_abandoned() => self.forced(Ending::Abandoned),
            Home::Task(_) => self.forced(Ending::Abandoned),
            Home::Process(_) | Home::Thread(_) => self.ending.set(Some(Ending::Unreachable)),
        }
        self.tell_end(&exit, complete);
    }

    async fn not_started(&self, failure: SpawnFailure) -> Result<()> {
        let exit = self.kill().await;
        self.all_gone(&exit).await;
        let error = self.failed(failure);
        log::info!(target: "tractor::spawn", "{error}");
        // It is told to who wanted the actor, and fails nobody else.
        self.started(Err(error));
        Ok(())
    }

    fn failed(&self, failure: SpawnFailure) -> Error {
        SpawnError {
            name: self.uid.name().into(),
            program: self.options.program_text(),
            failure,
        }
        .into()
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
        let link = Link::over(channel, self.actor.limits());
        let mut reader = link.reader();
        if !self.home.is_greeted() {
            link.send(&Message::Aid(Box::new(self.actor.aid())))?;
        }
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

    /// Waits for the end of the time that a child has which is asked to end before it answers.
    async fn given_up(&self) -> Result<std::result::Result<Rc<Connection>, SpawnFailure>> {
        self.asked.wait().await?;
        loop {
            let hurried = self.hurried.borrow().clone();
            let over = async { time::sleep_until(self.time_ends()).await.map(|()| true) };
            let hurry = async { hurried.wait().await.map(|()| false) };
            if or(over, hurry).await? {
                return Ok(Err(SpawnFailure::Asked));
            }
        }
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
        let level = self.options.log_level.or(self.actor.log_level());
        spec.loglevel = level.map(|level| level.to_string());
        let grace = self.options.orphan_grace.as_millis();
        spec.grace_ms = Some(u64::try_from(grace).unwrap_or(u64::MAX));
        spec.limits = Some(self.options.limits.unwrap_or(self.actor.limits()));
        brief(&self.actor, &mut spec, &self.places.0);
        spec
    }
}

/// Says that a child is gone, however it went; and sees to that if its supervision is dropped.
struct Gone(Rc<Child>);

impl Drop for Gone {
    fn drop(&mut self) {
        if !self.0.is_told.get() {
            self.0.end_unseen();
        }
        self.0.gone.set();
        self.0.ends.expect_no_more();
    }
}
