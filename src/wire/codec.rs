//! Messages to bytes and back. The order of fields is the order on the wire.

use std::ops::Range;
use std::time::Duration;

use rmp::encode as put;

use super::cursor::{Cursor, Head};
use super::{
    Aid, Carrier, CauseInfo, CauseKind, Cid, ErrorMsg, Features, FuncType, Limits, Message, Origin,
    Payload, SpawnSpec, Start, Uid, WireAddr, WireError,
};

const TAG: &str = "msg_type";

/// Appends the body of a frame.
pub(super) fn encode(buf: &mut Vec<u8>, message: &Message) {
    match message {
        Message::Aid(aid) => encode_aid(buf, aid),
        Message::SpawnSpec(spec) => encode_spawn_spec(buf, spec),
        Message::Start(start) => encode_start(buf, start),
        Message::StartAck { cid, functype } => {
            let mut map = MapWriter::open(buf, message.name(), 2);
            map.cid("cid", cid);
            map.str("functype", functype.name());
        }
        Message::Started { cid, pld } => encode_carried(buf, Carrier::Started, cid, pld),
        Message::Yield { cid, pld } => encode_carried(buf, Carrier::Yield, cid, pld),
        Message::Return { cid, pld } => encode_carried(buf, Carrier::Return, cid, pld),
        Message::Stop { cid } => {
            MapWriter::open(buf, message.name(), 1).cid("cid", cid);
        }
        Message::CancelAck { cid, pld } => {
            let mut map = MapWriter::open(buf, message.name(), 2);
            map.cid("cid", cid);
            map.bool("pld", *pld);
        }
        Message::Error(error) => encode_error(buf, error, error.discarded),
        Message::Credit { cid, items } => {
            let mut map = MapWriter::open(buf, message.name(), 2);
            map.cid("cid", cid);
            map.uint("items", u64::from(*items));
        }
        Message::Deadline { cid, ms } | Message::Shielded { cid, ms } => {
            let mut map = MapWriter::open(buf, message.name(), 2);
            map.cid("cid", cid);
            map.uint("ms", *ms);
        }
    }
}

/// Appends everything of a message up to its payload, which is its last field.
pub(super) fn encode_carrier(buf: &mut Vec<u8>, carrier: Carrier, cid: &Cid) {
    let name = match carrier {
        Carrier::Started => "Started",
        Carrier::Yield => "Yield",
        Carrier::Return => "Return",
    };
    let mut map = MapWriter::open(buf, name, 2);
    map.cid("cid", cid);
    map.key("pld");
}

/// Reads the body of a frame. `keep` makes a payload of a part of it.
pub(super) fn decode(
    body: &[u8],
    limits: &Limits,
    keep: &dyn Fn(Range<usize>) -> Payload,
) -> Result<Message, WireError> {
    let reader = Reader { body, limits, keep };
    let tag = reader.tag()?;
    match tag {
        "Yield" => reader.carried(Carrier::Yield, "Yield"),
        "Return" => reader.carried(Carrier::Return, "Return"),
        "Started" => reader.carried(Carrier::Started, "Started"),
        "Stop" => {
            let [cid] = reader.fields("Stop", ["cid"])?;
            Ok(Message::Stop { cid: cid.cid()? })
        }
        "StartAck" => {
            let [cid, functype] = reader.fields("StartAck", ["cid", "functype"])?;
            Ok(Message::StartAck {
                cid: cid.cid()?,
                functype: functype.functype()?,
            })
        }
        "CancelAck" => {
            let [cid, pld] = reader.fields("CancelAck", ["cid", "pld"])?;
            Ok(Message::CancelAck {
                cid: cid.cid()?,
                pld: pld.bool()?,
            })
        }
        "Credit" => {
            let [cid, items] = reader.fields("Credit", ["cid", "items"])?;
            Ok(Message::Credit {
                cid: cid.cid()?,
                items: items.u32()?,
            })
        }
        "Deadline" => {
            let [cid, ms] = reader.fields("Deadline", ["cid", "ms"])?;
            Ok(Message::Deadline {
                cid: cid.cid()?,
                ms: ms.uint()?,
            })
        }
        "Shielded" => {
            let [cid, ms] = reader.fields("Shielded", ["cid", "ms"])?;
            Ok(Message::Shielded {
                cid: cid.cid()?,
                ms: ms.uint()?,
            })
        }
        "Error" => reader.error(),
        "Start" => reader.start(),
        "Aid" => reader.aid(),
        "SpawnSpec" => reader.spawn_spec(),
        unknown => Err(WireError::UnknownTag(shortened(unknown))),
    }
}

fn encode_aid(buf: &mut Vec<u8>, aid: &Aid) {
    let extra = usize::from(aid.features.is_some());
    let mut map = MapWriter::open(buf, "Aid", 5 + extra);
    map.str("name", aid.uid.name());
    map.str("uuid", aid.uid.id());
    map.optional("pid", aid.pid, MapWriter::int);
    map.optional("is_registrar", aid.is_registrar, MapWriter::bool);
    map.bool("is_probe", aid.is_probe);
    if let Some(features) = &aid.features {
        map.key("x_features");
        let pairs = 6 + usize::from(features.credit.is_some());
        let mut inner = map.inner(pairs);
        if let Some(window) = features.credit {
            inner.uint("credit", u64::from(window));
        }
        inner.bool("causes", features.causes);
        inner.bool("discards", features.discards);
        inner.bool("deadlines", features.deadlines);
        inner.bool("shields", features.shields);
        inner.bool("sources", features.sources);
        inner.bool("dumps", features.dumps);
    }
}

fn encode_spawn_spec(buf: &mut Vec<u8>, spec: &SpawnSpec) {
    let extra = usize::from(spec.uid.is_some())
        + usize::from(spec.loglevel.is_some())
        + usize::from(spec.grace_ms.is_some())
        + usize::from(spec.limits.is_some());
    let mut map = MapWriter::open(buf, "SpawnSpec", 5 + extra);
    map.payload("_parent_main_data", &spec.parent_main_data);
    map.payload("_runtime_vars", &spec.runtime_vars);
    map.key("enable_modules");
    {
        let mut inner = map.inner(spec.enable_modules.len());
        for (module, file) in &spec.enable_modules {
            inner.str(module, file);
        }
    }
    map.addrs("reg_addrs", &spec.reg_addrs);
    map.optional("bind_addrs", spec.bind_addrs.as_deref(), MapWriter::addrs);
    if let Some(uid) = &spec.uid {
        map.uid("x_uid", uid);
    }
    if let Some(loglevel) = &spec.loglevel {
        map.str("x_loglevel", loglevel);
    }
    if let Some(grace) = spec.grace_ms {
        map.uint("x_grace_ms", grace);
    }
    if let Some(limits) = &spec.limits {
        map.key("x_limits");
        let handshake = limits.handshake.as_nanos();
        let mut inner = map.inner(8);
        inner.uint("frame", limits.frame as u64);
        inner.uint("depth", limits.depth as u64);
        inner.uint("decoded", limits.decoded as u64);
        inner.uint("contexts", limits.contexts as u64);
        inner.uint("buffered", limits.buffered as u64);
        inner.uint("buffered_control", limits.buffered_control as u64);
        inner.uint("handshake_ns", u64::try_from(handshake).unwrap_or(u64::MAX));
        inner.uint("unknown", limits.unknown as u64);
    }
}

fn encode_start(buf: &mut Vec<u8>, start: &Start) {
    let extra = usize::from(start.cause.is_some()) + usize::from(start.deadline_ms.is_some());
    let mut map = MapWriter::open(buf, "Start", 6 + extra);
    map.cid("cid", &start.cid);
    map.str("ns", &start.ns);
    map.str("func", &start.func);
    map.payload("kwargs", &start.kwargs);
    map.uid("uid", &start.uid);
    map.str("pld_spec", &start.pld_spec);
    if let Some(cause) = &start.cause {
        map.cause(cause);
    }
    if let Some(ms) = start.deadline_ms {
        map.uint("x_deadline_ms", ms);
    }
}

fn encode_carried(buf: &mut Vec<u8>, carrier: Carrier, cid: &Cid, pld: &Payload) {
    encode_carrier(buf, carrier, cid);
    buf.extend_from_slice(pld.as_bytes());
}

/// The same for an error that has overtaken so many messages of its dialog.
pub(super) fn encode_error(buf: &mut Vec<u8>, error: &ErrorMsg, discarded: Option<u64>) {
    let extra = usize::from(error.cause.is_some())
        + usize::from(discarded.is_some())
        + usize::from(error.source.is_some());
    let mut map = MapWriter::open(buf, "Error", 11 + extra);
    map.uid("src_uid", &error.src_uid);
    map.str("src_type_str", &error.src_type_str);
    map.str("boxed_type_str", &error.boxed_type_str);
    map.key("relay_path");
    map.array(error.relay_path.len());
    for uid in &error.relay_path {
        map.bare_uid(uid);
    }
    map.optional("message", error.message.as_deref(), MapWriter::str);
    map.str("tb_str", &error.tb_str);
    map.optional("canceller", error.canceller.as_ref(), MapWriter::uid);
    map.optional("sender", error.sender.as_ref(), MapWriter::uid);
    map.optional("cid", error.cid.as_ref(), MapWriter::cid);
    map.optional("_bad_msg", error.bad_msg.as_ref(), MapWriter::payload);
    map.optional(
        "_bad_msg_as_dict",
        error.bad_msg_as_dict.as_ref(),
        MapWriter::payload,
    );
    if let Some(cause) = &error.cause {
        map.cause(cause);
    }
    if let Some(discarded) = discarded {
        map.uint("x_discarded", discarded);
    }
    if let Some(source) = &error.source {
        map.payload("x_source", source);
    }
}

/// Writes the pairs of one map. A `Vec` takes every write, so nothing here can fail.
struct MapWriter<'a> {
    buf: &'a mut Vec<u8>,
}

impl<'a> MapWriter<'a> {
    /// A message with this tag and so many pairs besides.
    #[inline]
    fn open(buf: &'a mut Vec<u8>, tag: &str, fields: usize) -> Self {
        let mut map = Self { buf };
        infallible(put::write_map_len(map.buf, len(fields + 1)));
        map.str(TAG, tag);
        map
    }

    /// A map as the value of the key that was written last.
    fn inner(&mut self, pairs: usize) -> MapWriter<'_> {
        infallible(put::write_map_len(self.buf, len(pairs)));
        MapWriter { buf: self.buf }
    }

    #[inline]
    fn key(&mut self, key: &str) {
        infallible(put::write_str(self.buf, key));
    }

    fn array(&mut self, count: usize) {
        infallible(put::write_array_len(self.buf, len(count)));
    }

    #[inline]
    fn str(&mut self, key: &str, text: &str) {
        self.key(key);
        infallible(put::write_str(self.buf, text));
    }

    fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        infallible(put::write_bool(self.buf, value));
    }

    fn int(&mut self, key: &str, number: i64) {
        self.key(key);
        infallible(put::write_sint(self.buf, number));
    }

    fn uint(&mut self, key: &str, number: u64) {
        self.key(key);
        infallible(put::write_uint(self.buf, number));
    }

    #[inline]
    fn cid(&mut self, key: &str, cid: &Cid) {
        self.key(key);
        cid.with_text(|text| infallible(put::write_str(self.buf, text)));
    }

    fn uid(&mut self, key: &str, uid: &Uid) {
        self.key(key);
        self.bare_uid(uid);
    }

    fn bare_uid(&mut self, uid: &Uid) {
        self.array(2);
        infallible(put::write_str(self.buf, uid.name()));
        infallible(put::write_str(self.buf, uid.id()));
    }

    fn payload(&mut self, key: &str, payload: &Payload) {
        self.key(key);
        self.buf.extend_from_slice(payload.as_bytes());
    }

    fn addrs(&mut self, key: &str, addrs: &[WireAddr]) {
        self.key(key);
        self.array(addrs.len());
        for addr in addrs {
            self.array(2);
            match addr {
                WireAddr::Tcp(host, port) => {
                    infallible(put::write_str(self.buf, host));
                    infallible(put::write_uint(self.buf, u64::from(*port)));
                }
                WireAddr::Uds(dir, name) => {
                    infallible(put::write_str(self.buf, dir));
                    infallible(put::write_str(self.buf, name));
                }
            }
        }
    }

    fn cause(&mut self, cause: &CauseInfo) {
        self.key("x_cause");
        let CauseInfo {
            kind,
            reason,
            origin,
        } = cause;
        let pairs = 1 + usize::from(reason.is_some()) + 2 * usize::from(origin.is_some());
        let mut inner = self.inner(pairs);
        inner.str("kind", kind.name());
        if let Some(reason) = reason {
            inner.str("reason", reason);
        }
        if let Some(origin) = origin {
            inner.uid("by", &origin.actor);
            inner.str("at", &origin.place);
        }
    }

    fn optional<T>(&mut self, key: &str, value: Option<T>, write: fn(&mut Self, &str, T)) {
        match value {
            Some(value) => write(self, key, value),
            None => {
                self.key(key);
                infallible(put::write_nil(self.buf));
            }
        }
    }
}

fn infallible<T, E: std::fmt::Debug>(written: Result<T, E>) {
    written.expect("a Vec takes every write");
}

fn len(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 elements")
}

/// The body of one frame.
struct Reader<'a> {
    body: &'a [u8],
    limits: &'a Limits,
    keep: &'a dyn Fn(Range<usize>) -> Payload,
}

impl<'a> Reader<'a> {
    /// The tag is first, unless a peer chose otherwise.
    #[inline]
    fn tag(&self) -> Result<&'a str, WireError> {
        let mut cursor = Cursor::new(self.body);
        let pairs = match cursor.head()? {
            Head::Map(pairs) => pairs,
            other => {
                return Err(WireError::NotAMap {
                    found: other.name(),
                });
            }
        };
        let mut budget = self.limits.budget();
        for _ in 0..pairs {
            let key_at = cursor.at();
            if !matches!(cursor.head()?, Head::Str(key) if key == TAG.as_bytes()) {
                cursor = self.cursor_at(key_at);
                cursor.skip(self.limits, &mut budget)?;
                cursor.skip(self.limits, &mut budget)?;
                continue;
            }
            let head = cursor.head()?;
            return match head {
                Head::Str(tag) => str::from_utf8(tag).map_err(|_| WireError::WrongType {
                    message: "a message",
                    field: TAG,
                    expected: "UTF-8",
                    found: "other bytes",
                }),
                other => Err(WireError::WrongType {
                    message: "a message",
                    field: TAG,
                    expected: "a string",
                    found: other.name(),
                }),
            };
        }
        Err(WireError::MissingTag)
    }

    fn cursor_at(&self, at: usize) -> Cursor<'a> {
        Cursor::starting_at(self.body, at)
    }

    /// Finds the fields of these names in the whole message, whatever else there is.
    #[inline]
    fn fields<const N: usize>(
        &self,
        message: &'static str,
        names: [&'static str; N],
    ) -> Result<[Field<'a>; N], WireError> {
        let mut cursor = Cursor::new(self.body);
        let fields = self.map_fields(&mut cursor, message, names)?;
        if !cursor.is_at_end() {
            return Err(WireError::TrailingBytes { at: cursor.at() });
        }
        Ok(fields)
    }

    /// The same for the map at the cursor, which is left after it.
    #[inline]
    fn map_fields<const N: usize>(
        &self,
        cursor: &mut Cursor<'a>,
        message: &'static str,
        names: [&'static str; N],
    ) -> Result<[Field<'a>; N], WireError> {
        let Head::Map(pairs) = cursor.head()? else {
            unreachable!("the caller saw a map here");
        };
        let mut fields = names.map(|name| Field {
            body: self.body,
            message,
            name,
            range: 0..0,
        });
        let mut budget = self.limits.budget();
        let mut tagged = false;
        // Most come in the order of the names.
        let mut expected = 0;
        for _ in 0..pairs {
            let key_at = cursor.at();
            let Head::Str(key) = cursor.head()? else {
                *cursor = self.cursor_at(key_at);
                cursor.skip(self.limits, &mut budget)?;
                cursor.skip(self.limits, &mut budget)?;
                continue;
            };
            let value_at = cursor.at();
            cursor.skip(self.limits, &mut budget)?;
            let duplicate = if key == TAG.as_bytes() {
                std::mem::replace(&mut tagged, true).then_some(TAG)
            } else if let Some(at) = position(&fields, expected, key) {
                expected = at + 1;
                let field = &mut fields[at];
                let again = field.is_there();
                field.range = value_at..cursor.at();
                again.then_some(field.name)
            } else {
                None
            };
            if let Some(field) = duplicate {
                return Err(WireError::DuplicateField { message, field });
            }
        }
        Ok(fields)
    }

    #[inline]
    fn carried(&self, carrier: Carrier, message: &'static str) -> Result<Message, WireError> {
        let [cid, pld] = self.fields(message, ["cid", "pld"])?;
        Ok(carrier.message(cid.cid()?, self.payload(&pld)?))
    }

    fn aid(&self) -> Result<Message, WireError> {
        let [name, uuid, pid, is_registrar, is_probe, features] = self.fields(
            "Aid",
            [
                "name",
                "uuid",
                "pid",
                "is_registrar",
                "is_probe",
                "x_features",
            ],
        )?;
        Ok(Message::Aid(Box::new(Aid {
            uid: Uid::new(name.str()?, uuid.str()?),
            pid: pid.optional(Field::int)?,
            is_registrar: is_registrar.optional(Field::bool)?,
            is_probe: is_probe.or_default(Field::bool)?,
            features: features.optional(|field| self.features(field))?,
        })))
    }

    fn features(&self, field: &Field<'a>) -> Result<Features, WireError> {
        let [credit, causes, discards, deadlines, shields, sources, dumps] = self.inner_fields(
            field,
            "Aid.x_features",
            [
                "credit",
                "causes",
                "discards",
                "deadlines",
                "shields",
                "sources",
                "dumps",
            ],
        )?;
        Ok(Features {
            credit: credit.optional(Field::u32)?,
            causes: causes.or_default(Field::bool)?,
            discards: discards.or_default(Field::bool)?,
            deadlines: deadlines.or_default(Field::bool)?,
            shields: shields.or_default(Field::bool)?,
            sources: sources.or_default(Field::bool)?,
            dumps: dumps.or_default(Field::bool)?,
        })
    }

    fn spawn_spec(&self) -> Result<Message, WireError> {
        let [
            main,
            vars,
            modules,
            reg_addrs,
            bind_addrs,
            uid,
            loglevel,
            grace_ms,
            limits,
        ] = self.fields(
            "SpawnSpec",
            [
                "_parent_main_data",
                "_runtime_vars",
                "enable_modules",
                "reg_addrs",
                "bind_addrs",
                "x_uid",
                "x_loglevel",
                "x_grace_ms",
                "x_limits",
            ],
        )?;
        Ok(Message::SpawnSpec(Box::new(SpawnSpec {
            parent_main_data: self.map_payload(&main)?,
            runtime_vars: self.map_payload(&vars)?,
            enable_modules: modules.string_pairs()?,
            reg_addrs: reg_addrs.addrs()?,
            bind_addrs: bind_addrs.required()?.optional(Field::addrs)?,
            uid: uid.optional(Field::uid)?,
            loglevel: loglevel.optional(Field::string)?,
            grace_ms: grace_ms.optional(Field::uint)?,
            limits: limits.optional(|limits| self.limits_of(limits))?,
        })))
    }

    fn limits_of(&self, field: &Field<'a>) -> Result<Limits, WireError> {
        let fields = self.inner_fields(
            field,
            "SpawnSpec.x_limits",
            [
                "frame",
                "depth",
                "decoded",
                "contexts",
                "buffered",
                "buffered_control",
                "handshake_ns",
                "unknown",
            ],
        )?;
        let [
            frame,
            depth,
            decoded,
            contexts,
            buffered,
            buffered_control,
            handshake,
            unknown,
        ] = fields;
        let size = |field: &Field<'a>| {
            let size = field.required()?.uint()?;
            Ok(usize::try_from(size).unwrap_or(usize::MAX))
        };
        Ok(Limits::new()
            .frame(size(&frame)?)
            .depth(size(&depth)?)
            .decoded(size(&decoded)?)
            .contexts(size(&contexts)?)
            .buffered(size(&buffered)?)
            .buffered_control(size(&buffered_control)?)
            .handshake(Duration::from_nanos(handshake.required()?.uint()?))
            .unknown(size(&unknown)?))
    }

    fn start(&self) -> Result<Message, WireError> {
        let [cid, ns, func, kwargs, uid, pld_spec, cause, deadline_ms] = self.fields(
            "Start",
            [
                "cid",
                "ns",
                "func",
                "kwargs",
                "uid",
                "pld_spec",
                "x_cause",
                "x_deadline_ms",
            ],
        )?;
        Ok(Message::Start(Box::new(Start {
            cid: cid.cid()?,
            ns: ns.string()?,
            func: func.string()?,
            kwargs: self.map_payload(&kwargs)?,
            uid: uid.uid()?,
            pld_spec: match pld_spec.is_there() {
                true => pld_spec.string()?,
                false => Start::ANY.into(),
            },
            cause: cause.optional(|field| self.cause(field, "Start.x_cause"))?,
            deadline_ms: deadline_ms.optional(Field::uint)?,
        })))
    }

    fn error(&self) -> Result<Message, WireError> {
        let [
            src_uid,
            src_type_str,
            boxed_type_str,
            relay_path,
            message,
            tb_str,
            canceller,
            sender,
            cid,
            bad_msg,
            bad_msg_as_dict,
            cause,
            discarded,
            source,
        ] = self.fields(
            "Error",
            [
                "src_uid",
                "src_type_str",
                "boxed_type_str",
                "relay_path",
                "message",
                "tb_str",
                "canceller",
                "sender",
                "cid",
                "_bad_msg",
                "_bad_msg_as_dict",
                "x_cause",
                "x_discarded",
                "x_source",
            ],
        )?;
        Ok(Message::Error(Box::new(ErrorMsg {
            src_uid: src_uid.uid()?,
            src_type_str: src_type_str.string()?,
            boxed_type_str: boxed_type_str.string()?,
            relay_path: relay_path.uids()?,
            message: message.optional(Field::string)?,
            tb_str: tb_str.or_default(Field::string)?,
            canceller: canceller.optional(Field::uid)?,
            sender: sender.optional(Field::uid)?,
            cid: cid.optional(Field::cid)?,
            bad_msg: bad_msg.optional(|field| self.map_payload(field))?,
            bad_msg_as_dict: bad_msg_as_dict.optional(|field| self.map_payload(field))?,
            cause: cause.optional(|field| self.cause(field, "Error.x_cause"))?,
            discarded: discarded.optional(Field::uint)?,
            source: source.optional(|field| self.payload(field))?,
        })))
    }

    fn cause(&self, field: &Field<'a>, message: &'static str) -> Result<CauseInfo, WireError> {
        let names = ["kind", "reason", "by", "at"];
        let [kind, reason, by, at] = self.inner_fields(field, message, names)?;
        let by = by.optional(Field::uid)?;
        let at = at.optional(Field::str)?;
        Ok(CauseInfo {
            kind: CauseKind::from_name(kind.str()?),
            reason: reason.optional(Field::string)?,
            origin: by.zip(at).map(|(actor, place)| Origin {
                actor,
                place: place.into(),
            }),
        })
    }

    fn inner_fields<const N: usize>(
        &self,
        field: &Field<'a>,
        message: &'static str,
        names: [&'static str; N],
    ) -> Result<[Field<'a>; N], WireError> {
        field.expect_map()?;
        self.map_fields(&mut self.cursor_at(field.range.start), message, names)
    }

    #[inline]
    fn payload(&self, field: &Field<'a>) -> Result<Payload, WireError> {
        let range = field.required()?.range.clone();
        Ok((self.keep)(range))
    }

    fn map_payload(&self, field: &Field<'a>) -> Result<Payload, WireError> {
        field.expect_map()?;
        self.payload(field)
    }
}

/// Which of the fields has this name, if one has. It is looked for from `expected` on first.
#[inline]
fn position(fields: &[Field<'_>], expected: usize, key: &[u8]) -> Option<usize> {
    let (before, from) = fields.split_at(expected);
    let is_it = |field: &Field<'_>| field.name.as_bytes() == key;
    match from.iter().position(is_it) {
        Some(at) => Some(expected + at),
        None => before.iter().position(is_it),
    }
}

/// One field of a message: where its value stands, if it is there.
#[derive(Debug)]
struct Field<'a> {
    body: &'a [u8],
    message: &'static str,
    name: &'static str,
    /// Empty if the field is missing: a value has at least one byte.
    range: Range<usize>,
}

impl<'a> Field<'a> {
    fn is_there(&self) -> bool {
        !self.range.is_empty()
    }

    fn required(&self) -> Result<&Self, WireError> {
        if self.is_there() {
            return Ok(self);
        }
        Err(WireError::MissingField {
            message: self.message,
            field: self.name,
        })
    }

    /// Missing and nil are the same here.
    fn optional<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        if !self.is_there() || self.head()? == Head::Nil {
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// May be missing, but not nil.
    fn or_default<T: Default>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        if !self.is_there() {
            return Ok(T::default());
        }
        read(self)
    }

    fn bool(&self) -> Result<bool, WireError> {
        match self.head()? {
            Head::Bool(value) => Ok(value),
            other => Err(self.wrong("a boolean", other)),
        }
    }

    fn int(&self) -> Result<i64, WireError> {
        match self.head()? {
            Head::Int(number) => Ok(number),
            Head::Uint(number) if number <= i64::MAX as u64 => Ok(number as i64),
            other => Err(self.wrong("a 64-bit integer", other)),
        }
    }

    fn uint(&self) -> Result<u64, WireError> {
        match self.head()? {
            Head::Uint(number) => Ok(number),
            other => Err(self.wrong("a positive integer", other)),
        }
    }

    fn u32(&self) -> Result<u32, WireError> {
        match self.head()? {
            Head::Uint(number) if number <= u64::from(u32::MAX) => Ok(number as u32),
            other => Err(self.wrong("a positive 32-bit integer", other)),
        }
    }

    #[inline]
    fn str(&self) -> Result<&'a str, WireError> {
        let head = self.head()?;
        self.text_of(head)
    }

    fn string(&self) -> Result<String, WireError> {
        self.str().map(String::from)
    }

    #[inline]
    fn cid(&self) -> Result<Cid, WireError> {
        self.str().map(Cid::parse)
    }

    fn functype(&self) -> Result<FuncType, WireError> {
        FuncType::from_name(self.str()?).ok_or(WireError::WrongType {
            message: self.message,
            field: self.name,
            expected: "asyncfunc, asyncgen or context",
            found: "another text",
        })
    }

    fn uid(&self) -> Result<Uid, WireError> {
        self.uid_at(&mut self.required()?.cursor())
    }

    fn uids(&self) -> Result<Vec<Uid>, WireError> {
        let mut cursor = self.required()?.cursor();
        let count = self.array_at(&mut cursor)?;
        (0..count).map(|_| self.uid_at(&mut cursor)).collect()
    }

    fn addrs(&self) -> Result<Vec<WireAddr>, WireError> {
        let mut cursor = self.required()?.cursor();
        let count = self.array_at(&mut cursor)?;
        (0..count).map(|_| self.addr_at(&mut cursor)).collect()
    }

    fn string_pairs(&self) -> Result<Vec<(String, String)>, WireError> {
        let mut cursor = self.required()?.cursor();
        let pairs = match cursor.head()? {
            Head::Map(pairs) => pairs,
            other => return Err(self.wrong("a map", other)),
        };
        (0..pairs)
            .map(|_| {
                let key = self.text_of(cursor.head()?)?.into();
                let value = self.text_of(cursor.head()?)?.into();
                Ok((key, value))
            })
            .collect()
    }

    fn expect_map(&self) -> Result<(), WireError> {
        match self.head()? {
            Head::Map(_) => Ok(()),
            other => Err(self.wrong("a map", other)),
        }
    }

    fn uid_at(&self, cursor: &mut Cursor<'a>) -> Result<Uid, WireError> {
        self.pair_at(cursor)?;
        let name = self.text_of(cursor.head()?)?;
        let id = self.text_of(cursor.head()?)?;
        Ok(Uid::new(name, id))
    }

    fn addr_at(&self, cursor: &mut Cursor<'a>) -> Result<WireAddr, WireError> {
        self.pair_at(cursor)?;
        let first = self.text_of(cursor.head()?)?.into();
        match cursor.head()? {
            Head::Str(name) => Ok(WireAddr::Uds(first, self.text_of(Head::Str(name))?.into())),
            Head::Uint(port) if port <= u64::from(u16::MAX) => {
                Ok(WireAddr::Tcp(first, port as u16))
            }
            other => Err(self.wrong("a port or a name", other)),
        }
    }

    fn array_at(&self, cursor: &mut Cursor<'a>) -> Result<usize, WireError> {
        match cursor.head()? {
            Head::Array(count) => Ok(count),
            other => Err(self.wrong("an array", other)),
        }
    }

    fn pair_at(&self, cursor: &mut Cursor<'a>) -> Result<(), WireError> {
        match cursor.head()? {
            Head::Array(2) => Ok(()),
            other => Err(self.wrong("an array of two", other)),
        }
    }

    #[inline]
    fn text_of(&self, head: Head<'a>) -> Result<&'a str, WireError> {
        match head {
            Head::Str(text) => str::from_utf8(text).map_err(|_| WireError::WrongType {
                message: self.message,
                field: self.name,
                expected: "UTF-8",
                found: "other bytes",
            }),
            other => Err(self.wrong("a string", other)),
        }
    }

    #[inline]
    fn head(&self) -> Result<Head<'a>, WireError> {
        self.required()?.cursor().head()
    }

    fn cursor(&self) -> Cursor<'a> {
        Cursor::starting_at(self.body, self.range.start)
    }

    fn wrong(&self, expected: &'static str, found: Head<'_>) -> WireError {
        WireError::WrongType {
            message: self.message,
            field: self.name,
            expected,
            found: found.name(),
        }
    }
}

/// A peer's text as an error may quote it.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
