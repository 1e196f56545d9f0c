use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny};
use serde::{Serialize, Serializer};
use tractor_runtime::{Result, checkpoint, nursery, testing, time};

use crate::Portal;
use crate::actor::{Actor, Connection, Enabled, host};
use crate::context::{Caller, Context, ContextOptions};
use crate::dialog::Overruns;
use crate::endpoint::__private::{Entry, erase, path_of};
use crate::endpoint::{Dialog, Table};
use crate::spawn::Watchdog;
use crate::stream::{SendStream, StreamOptions};
use crate::transport::{ByteStream, Link, LinkReader, Received};
use crate::wire::{
    Aid, CauseInfo, CauseKind, Cid, ErrorMsg, Features, FuncType, Limits, Message, Payload, Start,
    Uid,
};

/// A whole connection: what the peer says, and what is done here meanwhile, is read off the bytes.
///
/// # Panics
///
/// If something follows a terminal message, or if anything is left at the end.
pub fn connection(data: &[u8]) {
    let result = testing::run_seeded(0, async || {
        let [first, script @ ..] = data else {
            return Ok(());
        };
        let (ours, theirs) = ByteStream::pair();
        let features = (first & 1 == 0).then(Features::ours);
        let table = Table::from_entries(&ENDPOINTS)?;
        let enabled = Enabled::from_wire(&[(String::from("fuzz"), String::new())]);
        let actor = Actor::new(own(), table, enabled, Watchdog::default(), Limits::new());
        host(actor, async |actor| {
            let conn = connect(actor, ours, features)?;
            let portal = Portal::new(conn.clone(), None);
            nursery(async |n| {
                let link = Link::over(theirs, Limits::default());
                if let Some(features) = &features {
                    link.agree(features);
                }
                let heard = Rc::new(Heard::default());
                let mut reader = link.reader();
                let writing = link.clone();
                n.start_soon(async move {
                    let _ = writing.write_loop().await?;
                    Ok(())
                });
                let hearing = heard.clone();
                n.start_soon(async move { hearing.listen(&mut reader).await });
                let handle = n.handle();
                let mut script = Script(script);
                while let Some(step) = script.next() {
                    match step % 24 {
                        0..18 => drop(link.send(&message(step % 24, &mut script, &heard))),
                        18 => {
                            let portal = portal.clone();
                            let how = script.byte();
                            handle.start_soon(async move {
                                // It ends in any way, but it ends.
                                let _ = talk(&portal, how).await;
                                Ok(())
                            })?;
                        }
                        19 => time::sleep(Duration::from_millis(script.byte().into())).await?,
                        _ => {
                            for _ in 0..script.byte() % 8 {
                                checkpoint().await?;
                            }
                        }
                    }
                }
                link.close();
                conn.read_ended().wait().await?;
                conn.lose(None);
                Ok(())
            })
            .await?;
            // Endpoints that clean up have their turn.
            time::sleep(Duration::from_secs(1)).await?;
            assert_eq!(conn.dialogs(), 0, "dialogs are left");
            Ok(())
        })
        .await
    });
    result.expect("nothing that a peer says fails the actor");
}

fn own() -> Uid {
    Uid::new("own", "own")
}

fn peer() -> Uid {
    Uid::new("peer", "peer")
}

fn connect(
    actor: &Rc<Actor>,
    stream: ByteStream,
    features: Option<Features>,
) -> Result<Rc<Connection>> {
    let link = Link::over(stream, Limits::default());
    let aid = Aid {
        uid: peer(),
        pid: None,
        is_registrar: None,
        is_probe: false,
        features,
    };
    let reader = link.reader();
    let conn = Connection::new(actor, &aid, link);
    let (reading, writing) = (conn.clone().read(reader), conn.clone().write());
    actor.services().start_soon(async { Ok(reading.await?) })?;
    actor.services().start_soon(async { Ok(writing.await?) })?;
    Ok(conn)
}

/// The bytes that are left.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// When there are no more, zeros follow.
    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }
}

/// What the peer was told.
#[derive(Default)]
struct Heard {
    /// The dialogs that the actor opened.
    opened: RefCell<Vec<Cid>>,
    /// Those that the peer opened.
    started: RefCell<Vec<Cid>>,
    /// Of these, those that have ended.
    ended: RefCell<HashSet<Cid>>,
    /// The peer gave one name to two dialogs, so which has ended is hard to say.
    is_ambiguous: Cell<bool>,
}

impl Heard {
    async fn listen(&self, reader: &mut LinkReader) -> Result<()> {
        while let Received::Message(message) = reader.next().await? {
            let is_terminal = match &message {
                Message::Start(start) => {
                    self.opened.borrow_mut().push(start.cid.clone());
                    continue;
                }
                Message::Return { .. } | Message::Error(_) => true,
                _ => false,
            };
            let Some(cid) = message.cid() else { continue };
            if !self.started.borrow().contains(cid) || self.is_ambiguous.get() {
                continue;
            }
            let mut ended = self.ended.borrow_mut();
            let after = ended.contains(cid);
            assert!(!after, "{message:?} follows a terminal message");
            if is_terminal {
                ended.insert(cid.clone());
            }
        }
        Ok(())
    }

    /// A name for a dialog of the peer's: a new one, but for a few.
    fn name(&self, script: &mut Script<'_>) -> Cid {
        let mut started = self.started.borrow_mut();
        if script.byte() % 32 == 31
            && let Some(cid) = started.last()
        {
            self.is_ambiguous.set(true);
            return cid.clone();
        }
        let cid = Cid::parse(&started.len().to_string());
        started.push(cid.clone());
        cid
    }
}

fn message(kind: u8, script: &mut Script<'_>, heard: &Heard) -> Message {
    if kind < 5 {
        return start(script, heard);
    }
    let cid = cid(script, heard);
    match kind {
        5 => Message::StartAck {
            cid,
            functype: functype(script),
        },
        6 => Message::Started {
            cid,
            pld: payload(script),
        },
        7 | 8 => Message::Yield {
            cid,
            pld: payload(script),
        },
        9 => Message::Stop { cid },
        10 => Message::Return {
            cid,
            pld: payload(script),
        },
        11 => Message::CancelAck {
            cid,
            pld: script.byte().is_multiple_of(2),
        },
        12 | 13 => Message::Error(Box::new(error(cid, script))),
        14 => Message::Credit {
            cid,
            items: match script.byte() {
                255 => u32::MAX,
                items => items.into(),
            },
        },
        15 => Message::Deadline {
            cid,
            ms: many(script),
        },
        16 => Message::Shielded {
            cid,
            ms: many(script),
        },
        _ => Message::Aid(Box::new(Aid {
            uid: peer(),
            pid: None,
            is_registrar: None,
            is_probe: false,
            features: None,
        })),
    }
}

fn start(script: &mut Script<'_>, heard: &Heard) -> Message {
    let (ns, func) = match script.byte() % 8 {
        0..3 => ("fuzz", "context"),
        3 => ("fuzz", "plain"),
        4 => ("fuzz", "items"),
        5 | 6 => (Start::SELF, "_cancel_task"),
        _ => ("nowhere", "nothing"),
    };
    let kwargs = match func {
        "_cancel_task" => {
            #[derive(Serialize)]
            struct Which {
                cid: String,
            }
            let cid = self::cid(script, heard).to_string();
            Payload::encode(&Which { cid }).expect("a text can be encoded")
        }
        _ => Payload::empty_map(),
    };
    // The name of a request is nobody else's.
    let cid = match func {
        "_cancel_task" => Cid::fresh(),
        _ => heard.name(script),
    };
    let mut start = Start::new(cid, ns, func, kwargs, peer());
    if script.byte().is_multiple_of(4) {
        start.deadline_ms = Some(many(script));
    }
    Message::Start(Box::new(start))
}

fn cid(script: &mut Script<'_>, heard: &Heard) -> Cid {
    let which = usize::from(script.byte());
    let of = match which % 2 {
        0 => heard.opened.borrow(),
        _ => heard.started.borrow(),
    };
    match of.len() {
        0 => Cid::parse("nobody's"),
        // The latest ones are those that are alive.
        len => of[len - 1 - which / 2 % len.min(8)].clone(),
    }
}

fn functype(script: &mut Script<'_>) -> FuncType {
    match script.byte() % 4 {
        0 => FuncType::AsyncFunc,
        1 => FuncType::AsyncGen,
        _ => FuncType::Context,
    }
}

fn payload(script: &mut Script<'_>) -> Payload {
    let encoded = match script.byte() % 4 {
        0 => return Payload::nil(),
        1 => Payload::encode(&u64::from(script.byte())),
        2 => Payload::encode(&"text"),
        _ => return Payload::empty_map(),
    };
    encoded.expect("it can be encoded")
}

fn error(cid: Cid, script: &mut Script<'_>) -> ErrorMsg {
    let by = [own(), peer(), Uid::new("third", "third")];
    let mut who = || by[usize::from(script.byte()) % by.len()].clone();
    let (src, canceller) = (who(), who());
    let type_str = match script.byte() % 5 {
        0 => ErrorMsg::CONTEXT_CANCELLED,
        1 => ErrorMsg::STREAM_OVERRUN,
        2 => ErrorMsg::MSG_TYPE_ERROR,
        3 => ErrorMsg::REMOTE_ACTOR_ERROR,
        _ => "ValueError",
    };
    let mut error = ErrorMsg::new(src, type_str, "of the peer");
    if type_str == ErrorMsg::CONTEXT_CANCELLED {
        error.canceller = Some(canceller);
        let kind = CauseKind::ALL[usize::from(script.byte()) % CauseKind::ALL.len()];
        error.cause = Some(CauseInfo {
            kind,
            reason: None,
            origin: None,
        });
    }
    error.for_dialog(cid)
}

fn many(script: &mut Script<'_>) -> u64 {
    match script.byte() {
        255 => u64::MAX,
        254 => u64::MAX - 1,
        ms => ms.into(),
    }
}

/// Whatever a peer may send.
#[derive(Clone, Copy, Debug)]
struct Anything;

impl Serialize for Anything {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

struct Loose;
impl Dialog for Loose {
    type Started = Anything;
    type ToChild = Anything;
    type ToParent = u64;
}

/// The side that opens a dialog.
async fn talk(portal: &Portal, how: u8) -> Result<()> {
    if how & 1 == 0 && how & 2 == 0 {
        let _: Anything = portal.run_named("peer:plain", ()).await?;
        return Ok(());
    }
    if how & 1 == 0 {
        let options = ContextOptions::new();
        let receive = async |stream: &crate::ReceiveStream<u64>| {
            while stream.receive().await?.is_some() {}
            Ok(())
        };
        return portal
            .open_stream_from_named(options, "peer:items", (), receive)
            .await;
    }
    let overruns = match how >> 6 {
        0 => Overruns::Wait,
        1 => Overruns::Error,
        2 => Overruns::Keep(3),
        _ => Overruns::DropOldest,
    };
    let stream = StreamOptions::new().buffer(2).overruns(overruns);
    let options = ContextOptions::new().stream(stream);
    let body = async |ctx: &Context<Loose, Caller<Anything>>, _: Anything| {
        let stream = ctx.open_stream()?;
        match (how >> 2) % 4 {
            0 => while stream.receive().await?.is_some() {},
            1 => {
                for _ in 0..100 {
                    stream.send(&Anything).await?;
                }
            }
            2 => drop(ctx.cancel().await),
            _ => time::sleep(Duration::from_millis(40)).await?,
        }
        if how & 16 != 0 {
            ctx.wait_for_result().await?;
        }
        Ok(())
    };
    portal
        .open_context_named_with(options, "peer:context", (), body)
        .await?;
    Ok(())
}

async fn context(ctx: &mut Context<Loose>, _: Anything) -> Result<u64> {
    ctx.started(Anything).await?;
    let stream = ctx.open_stream()?;
    let mut count = 0;
    while stream.receive().await?.is_some() {
        stream.send(&count).await?;
        count += 1;
    }
    Ok(count)
}

async fn plain(_: Anything) -> Result<()> {
    Ok(time::sleep(Duration::from_millis(20)).await?)
}

async fn items(stream: &mut SendStream<u64>, _: Anything) -> Result<()> {
    for item in 0..100 {
        stream.send(&item).await?;
    }
    Ok(())
}

/// The program's own are registered when it is linked, which takes `unsafe`.
static ENDPOINTS: [Entry; 3] = [
    Entry::new(
        || path_of(context),
        Some("fuzz:context"),
        || erase(context),
        file!(),
        line!(),
    ),
    Entry::new(
        || path_of(plain),
        Some("fuzz:plain"),
        || erase(plain),
        file!(),
        line!(),
    ),
    Entry::new(
        || path_of(items),
        Some("fuzz:items"),
        || erase(items),
        file!(),
        line!(),
    ),
];
