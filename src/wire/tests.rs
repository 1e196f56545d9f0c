use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::recordings::{Recorded, Seen, recordings};
use super::*;

fn decode(body: &[u8]) -> Result<Message, WireError> {
    Message::decode(body, &Limits::default())
}

fn encode(message: &Message) -> Vec<u8> {
    let mut body = Vec::new();
    message.encode_into(&mut body);
    body
}

fn framed(message: &Message) -> Vec<u8> {
    let mut frame = Vec::new();
    append_message(&mut frame, message, &Limits::default()).expect("within the limit");
    frame
}

fn feed(decoder: &mut FrameDecoder, bytes: &[u8]) {
    decoder.spare(bytes.len()).extend_from_slice(bytes);
}

/// Everything that comes out of a decoder which is fed these pieces, and how the stream ended.
fn decode_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Message>, Result<(), WireError>) {
    let limits = Limits::default();
    let mut decoder = FrameDecoder::new(limits);
    let mut messages = Vec::new();
    let mut take = |decoder: &mut FrameDecoder| -> Result<(), WireError> {
        while let Some(frame) = decoder.next_frame()? {
            messages.push(frame.decode(&limits)?);
        }
        Ok(())
    };
    let mut end = Ok(());
    for piece in pieces {
        feed(&mut decoder, piece);
        end = take(&mut decoder);
        if end.is_err() {
            break;
        }
    }
    let end = end.and_then(|()| decoder.finish());
    (messages, end)
}

#[test]
fn recorded_frame_decodes_to_the_recorded_message() {
    for (name, frames) in recordings() {
        for Recorded { frame, message, .. } in frames {
            let (decoded, end) = decode_pieces([&frame[..]]);
            assert_eq!(end, Ok(()), "{name}: {message}");
            assert_eq!(decoded.len(), 1, "{name}: {message}");
            assert_eq!(as_json(&decoded[0]), message, "{name}");
        }
    }
}

#[test]
fn recorded_message_encodes_to_the_recorded_bytes() {
    for (name, frames) in recordings() {
        for Recorded { frame, message, .. } in frames {
            let decoded = decode(&frame[4..]).expect("a recorded frame is a message");
            assert_eq!(framed(&decoded), frame, "{name}: {message}");
        }
    }
}

#[test]
fn recorded_streams_decode_in_pieces_of_any_size() {
    for (name, frames) in recordings() {
        let mut streams: Vec<((u64, String), Vec<u8>, usize)> = Vec::new();
        for Recorded { stream, frame, .. } in frames {
            match streams.iter_mut().find(|(key, ..)| *key == stream) {
                Some((_, bytes, count)) => {
                    bytes.extend(frame);
                    *count += 1;
                }
                None => streams.push((stream, frame, 1)),
            }
        }
        for (_, bytes, count) in streams {
            let (whole, end) = decode_pieces([&bytes[..]]);
            assert_eq!((whole.len(), end), (count, Ok(())), "{name}");
            for size in [1, 2, 3, 5, 7, 64, 1000] {
                let (pieces, end) = decode_pieces(bytes.chunks(size));
                assert_eq!(end, Ok(()), "{name} in pieces of {size}");
                assert_eq!(pieces, whole, "{name} in pieces of {size}");
            }
        }
    }
}

#[test]
fn recorded_frame_cut_at_any_byte_is_no_message() {
    for (name, frames) in recordings() {
        for Recorded { frame, message, .. } in frames {
            for cut in 1..frame.len() {
                let (messages, end) = decode_pieces([&frame[..cut]]);
                assert_eq!(messages, [], "{name}: {message} cut at {cut}");
                let want = (cut >= 4).then_some(frame.len());
                assert_eq!(end, Err(WireError::CutFrame { have: cut, want }));
            }
            // The length of the frame may lie about it, too.
            for cut in 0..frame.len() - 4 {
                decode(&frame[4..4 + cut]).expect_err("a body cut short is no message");
            }
        }
    }
}

#[test]
fn examples_of_the_protocol_have_these_bytes() {
    let cid = Cid::parse("C");
    let tag = "a86d73675f74797065";
    let pld = |value: &Value| Payload::encode(value).expect("it can be encoded");
    let uid = Uid::new("root", "u");
    let cases = [
        (
            Message::Start(Box::new(Start::new(
                cid.clone(),
                "m",
                "f",
                pld(&json!({"a": 1})),
                uid,
            ))),
            format!(
                "87{tag}a55374617274a3636964a143a26e73a16da466756e63a166a66b776172677381a16101\
                 a375696492a4726f6f74a175a8706c645f73706563aa747970696e672e416e79"
            ),
        ),
        (
            Message::StartAck {
                cid: cid.clone(),
                functype: FuncType::Context,
            },
            format!("83{tag}a8537461727441636ba3636964a143a866756e6374797065a7636f6e74657874"),
        ),
        (
            Message::Started {
                cid: cid.clone(),
                pld: pld(&json!(11)),
            },
            format!("83{tag}a753746172746564a3636964a143a3706c640b"),
        ),
        (
            Message::Yield {
                cid: cid.clone(),
                pld: pld(&json!([1, 2])),
            },
            format!("83{tag}a55969656c64a3636964a143a3706c64920102"),
        ),
        (
            Message::Stop { cid: cid.clone() },
            format!("82{tag}a453746f70a3636964a143"),
        ),
        (
            Message::Return {
                cid: cid.clone(),
                pld: pld(&json!("yo")),
            },
            format!("83{tag}a652657475726ea3636964a143a3706c64a2796f"),
        ),
        (
            Message::CancelAck { cid, pld: true },
            format!("83{tag}a943616e63656c41636ba3636964a143a3706c64c3"),
        ),
    ];
    for (message, hex) in cases {
        let body = encode(&message);
        let encoded: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(encoded, hex);
        assert_eq!(decode(&body), Ok(message));
    }
}

#[test]
fn value_is_encoded_in_its_message() {
    let cid = Cid::fresh();
    let value = json!({"files": ["a", "b"], "n": 3});
    for carrier in [Carrier::Started, Carrier::Yield, Carrier::Return] {
        let mut frame = vec![1, 2, 3];
        append_value(&mut frame, carrier, &cid, &value, &Limits::default()).expect("it fits");
        let message = carrier.message(
            cid.clone(),
            Payload::encode(&value).expect("it can be encoded"),
        );
        assert_eq!(frame[3..], framed(&message));
    }
}

#[test]
fn struct_travels_as_a_map_with_names() {
    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Quote {
        symbol: String,
        price: f64,
        #[serde(default)]
        size: u32,
    }
    let quote = Quote {
        symbol: "X".into(),
        price: 1.5,
        size: 0,
    };
    let payload = Payload::encode(&quote).expect("it can be encoded");
    assert!(payload.is_map());
    assert_eq!(payload.decode(), Ok(quote));
    // Fields may be missing or unknown, in any order.
    let payload = Payload::encode(&json!({"price": 2.0, "new": 1, "symbol": "Y"}))
        .expect("it can be encoded");
    let quote: Quote = payload.decode().expect("what is missing has a default");
    assert_eq!(quote.symbol, "Y");
    let error = payload.decode::<Vec<u8>>().expect_err("a map is no list");
    assert!(error.to_string().contains("Vec<u8>"), "{error}");
}

#[test]
fn frame_over_the_limit_is_refused_before_it_is_received() {
    let limits = Limits {
        frame: 100,
        ..Limits::default()
    };
    let mut decoder = FrameDecoder::new(limits);
    feed(&mut decoder, &101_u32.to_le_bytes());
    let refused = WireError::FrameTooLarge {
        size: 101,
        limit: 100,
    };
    assert_eq!(decoder.next_frame().map(drop), Err(refused));
    let mut buf = vec![7];
    let value = "x".repeat(100);
    let sent = append_value(&mut buf, Carrier::Yield, &Cid::fresh(), &value, &limits);
    assert!(matches!(sent, Err(EncodeError::FrameTooLarge { .. })));
    assert_eq!(buf, [7], "nothing of it is left");
}

#[test]
fn announced_size_takes_no_memory_before_it_comes() {
    let mut decoder = FrameDecoder::new(Limits::default());
    feed(&mut decoder, &(16_u32 << 20).to_le_bytes());
    assert!(
        decoder
            .next_frame()
            .expect("it is within the limit")
            .is_none()
    );
    assert!(decoder.spare(64).capacity() <= 1 << 20);
}

#[test]
fn large_frames_among_small_ones() {
    let cid = Cid::fresh();
    let sizes = [0, 10, 16 << 10, 100, 300_000, 1, 5_000_000, 2, 70_000];
    let messages: Vec<_> = sizes
        .iter()
        .map(|size| Message::Yield {
            cid: cid.clone(),
            pld: Payload::encode(&"y".repeat(*size)).expect("it can be encoded"),
        })
        .collect();
    let bytes: Vec<u8> = messages.iter().flat_map(framed).collect();
    for size in [1000, 4096, 65_536, 1_000_000, bytes.len()] {
        assert_eq!(
            decode_pieces(bytes.chunks(size)),
            (messages.clone(), Ok(())),
            "in pieces of {size}"
        );
    }
    // As a socket fills it: whatever room there is.
    let mut decoder = FrameDecoder::new(Limits::default());
    let mut left = &bytes[..];
    let mut decoded = Vec::new();
    while !left.is_empty() {
        let spare = decoder.spare(64 << 10);
        let room = spare.capacity() - spare.len();
        let (now, later) = left.split_at(room.min(left.len()));
        spare.extend_from_slice(now);
        left = later;
        while let Some(frame) = decoder.next_frame().expect("all are within the limit") {
            decoded.push(frame.decode(&Limits::default()).expect("all are messages"));
        }
    }
    assert_eq!(decoded, messages);
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn nesting_beyond_the_limit_is_refused() {
    let nested = |depth: usize| {
        let mut body = b"\x83\xa8msg_type\xa5Yield\xa3cid\xa1C\xa3pld".to_vec();
        body.extend(vec![0x91; depth]);
        body.push(0xc0);
        body
    };
    let limit = Limits::default().depth;
    let deepest = decode(&nested(limit)).expect("the limit is within");
    assert_eq!(encode(&deepest), nested(limit));
    let too_deep = WireError::TooDeep { limit };
    assert_eq!(decode(&nested(limit + 1)), Err(too_deep.clone()));
    assert_eq!(decode(&nested(1_000_000)), Err(too_deep));
}

#[test]
fn nesting_beyond_the_limit_is_not_sent() {
    for depth in [8, 64, 128] {
        let limits = Limits::new().depth(depth);
        let mut value = json!(1);
        for _ in 0..depth {
            value = json!([value]);
        }
        Payload::encode_within(&limits, &value)
            .expect("the limit is within")
            .decode::<Value>()
            .expect("and can be read again");
        let deeper = json!([value]);
        for refused in [
            Payload::encode_within(&limits, &deeper).map(drop),
            append_value(&mut vec![], Carrier::Yield, &Cid::fresh(), &deeper, &limits),
        ] {
            let refused = refused.expect_err("it is over the limit").to_string();
            assert!(
                refused.contains(&format!("the limit of {depth}")),
                "{refused}"
            );
        }
    }
}

#[test]
fn source_of_an_error_beyond_the_limit_is_not_sent() {
    let limits = Limits::new().depth(8);
    let nested = |depth| (0..depth).fold(json!(1), |value, _| json!([value]));
    for (depth, is_sent) in [(8, true), (9, false)] {
        let mut error = ErrorMsg::new(Uid::fresh("here"), "Deep", "it is deep");
        error.source = Payload::encode(&nested(depth)).ok();
        let mut frame = Vec::new();
        append_error(&mut frame, &error, None, &limits).expect("the rest is within");
        let Ok(Message::Error(read)) = Message::decode(&frame[4..], &limits) else {
            panic!("what is sent can be read");
        };
        assert_eq!(read.source.is_some(), is_sent);
        assert_eq!(read.message, error.message);
    }
}

#[test]
fn what_may_be_sent_may_be_received() {
    let limits = Limits {
        frame: 64 << 10,
        decoded: 0,
        ..Limits::default()
    };
    let (mut sent, mut refused) = (0, 0);
    for count in 0..3000 {
        let mut frame = Vec::new();
        let item = vec![(); count];
        match append_value(&mut frame, Carrier::Yield, &Cid::fresh(), &item, &limits) {
            Ok(()) => {
                sent += 1;
                Message::decode(&frame[4..], &limits).expect("it was sent");
            }
            Err(_) => refused += 1,
        }
        let mut error = ErrorMsg::new(Uid::fresh("here"), "Large", "x".repeat(10 * count));
        error.source = Payload::encode(&item).ok();
        let mut frame = Vec::new();
        if append_error(&mut frame, &error, None, &limits).is_ok() {
            Message::decode(&frame[4..], &limits).expect("it was sent");
        }
    }
    assert!(sent > 0 && refused > 0, "{sent} sent, {refused} refused");
    let text = "x".repeat((64 << 10) - 100);
    let mut frame = Vec::new();
    append_value(&mut frame, Carrier::Yield, &Cid::fresh(), &text, &limits).expect("it is a text");
    Message::decode(&frame[4..], &limits).expect("it was sent");
}

#[test]
fn many_small_values_are_refused_by_what_they_would_take() {
    let limits = Limits {
        frame: 1000,
        decoded: 1000 * Limits::VALUE,
        ..Limits::default()
    };
    let with = |count: u16| {
        let mut body = b"\x83\xa8msg_type\xa5Yield\xa3cid\xa1C\xa3pld\xdc".to_vec();
        body.extend(count.to_be_bytes());
        body.extend(vec![0xc0; count.into()]);
        body
    };
    Message::decode(&with(900), &limits).expect("within the limit");
    let refused = WireError::TooBig {
        limit: limits.decoded,
    };
    assert_eq!(Message::decode(&with(1000), &limits), Err(refused));
}

#[test]
fn bodies_that_are_no_message_say_why() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "not msgpack from byte 0 of the frame on"),
        (b"\xc1", "not msgpack from byte 1 of the frame on"),
        (b"\x93\x01\x02\x03", "a message is a map, not an array"),
        (b"\xc0", "a message is a map, not nil"),
        (b"\x80", "a message without msg_type"),
        (b"\x81\xa8msg_type\x01", "a message.msg_type is an integer, not a string"),
        (b"\x81\xa8msg_type\xa3Foo", "unknown msg_type \"Foo\""),
        (b"\x81\xa8msg_type\xa4Stop", "Stop without its field cid"),
        (
            b"\x82\xa8msg_type\xa4Stop\xa3cid\xc0",
            "Stop.cid is nil, not a string",
        ),
        (
            b"\x82\xa8msg_type\xa4Stop\xa3cid\xa1\xff",
            "Stop.cid is other bytes, not UTF-8",
        ),
        (
            b"\x83\xa8msg_type\xa4Stop\xa3cid\xa1C\xa3cid\xa1D",
            "Stop has its field cid twice",
        ),
        (
            b"\x83\xa8msg_type\xa4Stop\xa3cid\xa1C\xa8msg_type\xa4Stop",
            "Stop has its field msg_type twice",
        ),
        (
            b"\x82\xa8msg_type\xa4Stop\xa3cid\xa1C\xc0",
            "the message ends at byte 21, its frame does not",
        ),
        (
            b"\x82\xa8msg_type\xa5Yield\xa3cid\xa1C",
            "Yield without its field pld",
        ),
        (
            b"\x83\xa8msg_type\xa9CancelAck\xa3cid\xa1C\xa3pld\x01",
            "CancelAck.pld is an integer, not a boolean",
        ),
        (
            b"\x83\xa8msg_type\xa8StartAck\xa3cid\xa1C\xa8functype\xa3foo",
            "StartAck.functype is another text, not asyncfunc, asyncgen or context",
        ),
        (
            b"\x86\xa8msg_type\xa5Start\xa3cid\xa1C\xa2ns\xa1m\xa4func\xa1f\xa6kwargs\x90\xa3uid\x92\xa1a\xa1b",
            "Start.kwargs is an array, not a map",
        ),
        (
            b"\x86\xa8msg_type\xa5Start\xa3cid\xa1C\xa2ns\xa1m\xa4func\xa1f\xa6kwargs\x80\xa3uid\x93\xa1a\xa1b\xa1c",
            "Start.uid is an array, not an array of two",
        ),
        // Lengths that promise more than there is.
        (b"\xdf\xff\xff\xff\xff", "not msgpack from byte 5 of the frame on"),
        (
            b"\x82\xa8msg_type\xa4Stop\xa3cid\xdb\xff\xff\xff\xffC",
            "not msgpack from byte 24 of the frame on",
        ),
    ];
    for (body, why) in cases {
        let error = decode(body).expect_err(why);
        assert_eq!(error.to_string(), *why);
    }
}

#[test]
fn order_of_keys_does_not_matter_and_unknown_ones_are_ignored() {
    let stop = Message::Stop {
        cid: Cid::parse("C"),
    };
    let bodies: &[&[u8]] = &[
        b"\x82\xa3cid\xa1C\xa8msg_type\xa4Stop",
        b"\x83\xa3cid\xa1C\xa5x_new\x92\x01\xa1x\xa8msg_type\xa4Stop",
        // Keys need not even be text, nor unknown ones differ.
        b"\x84\x01\x02\x01\x81\x03\x90\xa8msg_type\xa4Stop\xa3cid\xa1C",
    ];
    for body in bodies {
        assert_eq!(decode(body), Ok(stop.clone()), "{body:02x?}");
    }
}

#[test]
fn missing_fields_with_a_default_are_filled_in() {
    let start = b"\x86\xa8msg_type\xa5Start\xa3cid\xa1C\xa2ns\xa1m\xa4func\xa1f\xa6kwargs\x80\xa3uid\x92\xa1a\xa1b";
    let Ok(Message::Start(start)) = decode(start) else {
        panic!("pld_spec has a default");
    };
    assert_eq!(start.pld_spec, "typing.Any");
    let aid = b"\x83\xa8msg_type\xa3Aid\xa4name\xa1a\xa4uuid\xa1b";
    let Ok(Message::Aid(aid)) = decode(aid) else {
        panic!("only name and uuid have none");
    };
    assert_eq!(
        *aid,
        Aid {
            uid: Uid::new("a", "b"),
            pid: None,
            is_registrar: None,
            is_probe: false,
            features: None,
        }
    );
}

#[test]
fn cid_is_given_back_as_it_came() {
    let texts = [
        "",
        "C",
        "b9c8f39f-6831-489a-af4d-d9b03c0a07de",
        "B9C8F39F-6831-489A-AF4D-D9B03C0A07DE",
        "b9c8f39f6831489aaf4dd9b03c0a07de",
        "{b9c8f39f-6831-489a-af4d-d9b03c0a07de}",
        "zzzzzzzz-6831-489a-af4d-d9b03c0a07de",
        "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
    ];
    for text in texts {
        assert_eq!(Cid::parse(text).to_string(), text);
    }
    let cid = Cid::fresh();
    assert_eq!(Cid::parse(&cid.to_string()), cid);
    assert_ne!(Cid::fresh(), cid);
}

#[test]
fn relayed_error_keeps_its_source_and_its_path_grows() {
    let [source, relay, last] = ["source", "relay", "last"].map(Uid::fresh);
    let error = ErrorMsg::new(source.clone(), "KeyError", "no such key");
    let twice = error.relayed_by(&relay).relayed_by(&last);
    assert_eq!(twice.src_uid, source);
    assert_eq!(twice.src_type_str, "KeyError");
    assert_eq!(twice.boxed_type_str, "RemoteActorError");
    assert_eq!(twice.relay_path, [source.clone(), relay.clone(), last]);

    let mut cancelled = ErrorMsg::new(source.clone(), ErrorMsg::CONTEXT_CANCELLED, "");
    cancelled.canceller = Some(source.clone());
    let relayed = cancelled.relayed_by(&relay);
    assert!(relayed.is_cancellation());
    assert_eq!(relayed.src_uid, relay, "who reports it");
    assert_eq!(relayed.canceller, Some(source), "who asked");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ".{0,8}",
        // Around where an encoding needs another byte for the length.
        1 => prop::sample::select(&[31, 32, 255, 256, 70_000][..]).prop_map(|len| "x".repeat(len)),
    ]
}

fn uid() -> impl Strategy<Value = Uid> {
    (text(), text()).prop_map(|(name, id)| Uid::new(name, id))
}

fn cid() -> impl Strategy<Value = Cid> {
    prop_oneof![
        text().prop_map(|text| Cid::parse(&text)),
        Just(()).prop_map(|()| Cid::fresh()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        (-1e9_f64..1e9).prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            map(inner),
        ]
    })
}

fn map(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec((text(), values), 0..20)
        .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>()))
}

fn payload() -> impl Strategy<Value = Payload> {
    value().prop_map(|value| Payload::encode(&value).expect("it can be encoded"))
}

fn map_payload() -> impl Strategy<Value = Payload> {
    map(value()).prop_map(|value| Payload::encode(&value).expect("it can be encoded"))
}

fn cause() -> impl Strategy<Value = CauseInfo> {
    (
        prop::sample::select(&CauseKind::ALL[..]),
        prop::option::of(text()),
        prop::option::of((uid(), text())),
    )
        .prop_map(|(kind, reason, origin)| CauseInfo {
            kind,
            reason,
            origin: origin.map(|(actor, place)| Origin {
                actor,
                place: place.into(),
            }),
        })
}

fn addrs() -> impl Strategy<Value = Vec<WireAddr>> {
    let addr = prop_oneof![
        (text(), any::<u16>()).prop_map(|(host, port)| WireAddr::Tcp(host, port)),
        (text(), text()).prop_map(|(dir, name)| WireAddr::Uds(dir, name)),
    ];
    prop::collection::vec(addr, 0..4)
}

fn aid() -> impl Strategy<Value = Message> {
    let features = (prop::option::of(any::<u32>()), any::<[bool; 6]>()).prop_map(
        |(credit, [causes, discards, deadlines, shields, sources, dumps])| Features {
            credit,
            causes,
            discards,
            deadlines,
            shields,
            sources,
            dumps,
        },
    );
    (
        uid(),
        prop::option::of(any::<i64>()),
        prop::option::of(any::<bool>()),
        any::<bool>(),
        prop::option::of(features),
    )
        .prop_map(|(uid, pid, is_registrar, is_probe, features)| {
            Message::Aid(Box::new(Aid {
                uid,
                pid,
                is_registrar,
                is_probe,
                features,
            }))
        })
}

fn spawn_spec() -> impl Strategy<Value = Message> {
    (
        (
            map_payload(),
            map_payload(),
            addrs(),
            prop::option::of(addrs()),
        ),
        prop::collection::vec((text(), text()), 0..20),
        prop::option::of(uid()),
        prop::option::of(text()),
        prop::option::of(any::<u64>()),
        prop::option::of(limits()),
    )
        .prop_map(
            |((main, vars, reg, bind), enable_modules, uid, loglevel, grace_ms, limits)| {
                Message::SpawnSpec(Box::new(SpawnSpec {
                    parent_main_data: main,
                    runtime_vars: vars,
                    enable_modules,
                    reg_addrs: reg,
                    bind_addrs: bind,
                    uid,
                    loglevel,
                    grace_ms,
                    limits,
                }))
            },
        )
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<[usize; 7]>(), any::<u64>()).prop_map(|(sizes, ns)| {
        let [frame, depth, decoded, contexts, buffered, control, unknown] = sizes;
        Limits::new()
            .frame(frame)
            .depth(depth)
            .decoded(decoded)
            .contexts(contexts)
            .buffered(buffered)
            .buffered_control(control)
            .handshake(Duration::from_nanos(ns))
            .unknown(unknown)
    })
}

fn start() -> impl Strategy<Value = Message> {
    (
        cid(),
        text(),
        text(),
        map_payload(),
        uid(),
        text(),
        (prop::option::of(cause()), prop::option::of(any::<u64>())),
    )
        .prop_map(|(cid, ns, func, kwargs, uid, pld_spec, extra)| {
            Message::Start(Box::new(Start {
                cid,
                ns,
                func,
                kwargs,
                uid,
                pld_spec,
                cause: extra.0,
                deadline_ms: extra.1,
            }))
        })
}

fn error() -> impl Strategy<Value = Message> {
    (
        (uid(), text(), text(), prop::collection::vec(uid(), 0..20)),
        (prop::option::of(text()), text()),
        (
            prop::option::of(uid()),
            prop::option::of(uid()),
            prop::option::of(cid()),
        ),
        (
            prop::option::of(map_payload()),
            prop::option::of(map_payload()),
        ),
        (
            prop::option::of(cause()),
            prop::option::of(any::<u64>()),
            prop::option::of(map_payload()),
        ),
    )
        .prop_map(|(source, texts, who, bad, extra)| {
            Message::Error(Box::new(ErrorMsg {
                src_uid: source.0,
                src_type_str: source.1,
                boxed_type_str: source.2,
                relay_path: source.3,
                message: texts.0,
                tb_str: texts.1,
                canceller: who.0,
                sender: who.1,
                cid: who.2,
                bad_msg: bad.0,
                bad_msg_as_dict: bad.1,
                cause: extra.0,
                discarded: extra.1,
                source: extra.2,
            }))
        })
}

fn message() -> impl Strategy<Value = Message> {
    let functype =
        prop::sample::select(&[FuncType::AsyncFunc, FuncType::AsyncGen, FuncType::Context][..]);
    prop_oneof![
        aid(),
        spawn_spec(),
        start(),
        (cid(), functype).prop_map(|(cid, functype)| Message::StartAck { cid, functype }),
        (cid(), payload()).prop_map(|(cid, pld)| Message::Started { cid, pld }),
        (cid(), payload()).prop_map(|(cid, pld)| Message::Yield { cid, pld }),
        cid().prop_map(|cid| Message::Stop { cid }),
        (cid(), payload()).prop_map(|(cid, pld)| Message::Return { cid, pld }),
        (cid(), any::<bool>()).prop_map(|(cid, pld)| Message::CancelAck { cid, pld }),
        error(),
        (cid(), any::<u32>()).prop_map(|(cid, items)| Message::Credit { cid, items }),
        (cid(), any::<u64>()).prop_map(|(cid, ms)| Message::Deadline { cid, ms }),
        (cid(), any::<u64>()).prop_map(|(cid, ms)| Message::Shielded { cid, ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_comes_back(message in message()) {
        let body = encode(&message);
        prop_assert_eq!(decode(&body), Ok(message.clone()));
        // And as the map it is, to who knows nothing of messages.
        let map: Value = Payload::copied(&body).decode().expect("a body is msgpack");
        prop_assert_eq!(&map["msg_type"], message.name());
    }

    #[test]
    fn messages_in_any_pieces_come_back(
        messages in prop::collection::vec(message(), 1..8),
        cuts in prop::collection::vec(0..20_000_usize, 0..20),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(framed).collect();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        prop_assert_eq!(decode_pieces(pieces), (messages, Ok(())));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = decode_pieces(bytes.chunks(7));
    }

    #[test]
    fn damaged_message_never_panics(
        message in message(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut body = encode(&message);
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        if let Ok(decoded) = decode(&body) {
            prop_assert_eq!(decode(&encode(&decoded)), Ok(decoded));
        }
    }

    #[test]
    fn message_cut_at_any_byte_is_none(message in message(), cut in any::<prop::sample::Index>()) {
        let body = encode(&message);
        prop_assert!(decode(&body[..cut.index(body.len())]).is_err());
    }
}

/// A message as the recordings have it.
fn as_json(message: &Message) -> Value {
    let uid = |uid: &Uid| json!([uid.name(), uid.id()]);
    let pld = |pld: &Payload| pld.decode::<Seen>().expect("a payload is msgpack").0;
    let mut json = match message {
        Message::Aid(aid) => json!({
            "name": aid.uid.name(),
            "uuid": aid.uid.id(),
            "pid": aid.pid,
            "is_registrar": aid.is_registrar,
            "is_probe": aid.is_probe,
        }),
        Message::Start(start) => json!({
            "cid": start.cid.to_string(),
            "ns": start.ns,
            "func": start.func,
            "kwargs": pld(&start.kwargs),
            "uid": uid(&start.uid),
            "pld_spec": start.pld_spec,
        }),
        Message::StartAck { cid, functype } => {
            json!({"cid": cid.to_string(), "functype": functype.name()})
        }
        Message::Started { cid, pld: value }
        | Message::Yield { cid, pld: value }
        | Message::Return { cid, pld: value } => {
            json!({"cid": cid.to_string(), "pld": pld(value)})
        }
        Message::Stop { cid } => json!({"cid": cid.to_string()}),
        Message::CancelAck { cid, pld } => json!({"cid": cid.to_string(), "pld": pld}),
        Message::Error(error) => json!({
            "src_uid": uid(&error.src_uid),
            "src_type_str": error.src_type_str,
            "boxed_type_str": error.boxed_type_str,
            "relay_path": error.relay_path.iter().map(uid).collect::<Vec<_>>(),
            "message": error.message,
            "tb_str": error.tb_str,
            "canceller": error.canceller.as_ref().map(uid),
            "sender": error.sender.as_ref().map(uid),
            "cid": error.cid.as_ref().map(Cid::to_string),
            "_bad_msg": error.bad_msg.as_ref().map(pld),
            "_bad_msg_as_dict": error.bad_msg_as_dict.as_ref().map(pld),
        }),
        Message::SpawnSpec(_)
        | Message::Credit { .. }
        | Message::Deadline { .. }
        | Message::Shielded { .. } => panic!("not in the recordings"),
    };
    json["msg_type"] = message.name().into();
    json
}
