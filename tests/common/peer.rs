//! A peer that is played.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use serde_json::{Value, json};
use tractor::Address;

use super::common::HANG;

/// A peer that is none of ours: messages on a socket.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    pub(crate) fn accepted(listener: &TcpListener) -> Self {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        Self(socket)
    }

    /// One that has connected, and said who it is: of the same library if it announces `features`.
    pub(crate) fn known(address: &Address, name: &str, features: Option<Value>) -> Self {
        let Address::Tcp(address) = address else {
            panic!("{address} is no port");
        };
        let mut peer = Self(TcpStream::connect(address).unwrap());
        peer.0.set_read_timeout(Some(HANG)).unwrap();
        let mut aid = json!({
            "msg_type": "Aid", "name": name, "uuid": format!("uuid-of-{name}"), "pid": 1,
            "is_registrar": false, "is_probe": false,
        });
        if let Some(features) = features {
            aid["x_features"] = features;
        }
        peer.send(aid);
        assert_eq!(
            peer.receive().expect("it says who it is")["msg_type"],
            "Aid"
        );
        peer
    }

    /// Asks the other actor itself, under the name that the peer has.
    pub(crate) fn ask(&mut self, name: &str, cid: &str, func: &str, kwargs: Value) {
        self.send(json!({
            "msg_type": "Start", "cid": cid, "ns": "self", "func": func, "kwargs": kwargs,
            "uid": [name, format!("uuid-of-{name}")], "pld_spec": "typing.Any",
        }));
    }

    /// Asks, and gives the answer: a result, or an error.
    pub(crate) fn call(&mut self, name: &str, func: &str, kwargs: Value) -> Value {
        self.ask(name, func, func, kwargs);
        let ack = self.receive().expect("it answers");
        if ack["msg_type"] == "Error" {
            return ack;
        }
        let expected = json!({"msg_type": "StartAck", "cid": func, "functype": "asyncfunc"});
        assert_eq!(ack, expected);
        let answer = self.receive().expect("it answers");
        assert_eq!(
            (&answer["msg_type"], &answer["cid"]),
            (&json!("Return"), &json!(func))
        );
        answer["pld"].clone()
    }

    /// Says nothing more, and waits until the other side does not either.
    pub(crate) fn end(self) {
        self.0.shutdown(Shutdown::Write).unwrap();
        self.closed();
    }

    pub(crate) fn send(&mut self, message: Value) {
        let body = rmp_serde::to_vec_named(&message).unwrap();
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend(body);
        self.0.write_all(&frame).unwrap();
    }

    pub(crate) fn receive(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut body).ok()?;
        Some(rmp_serde::from_slice(&body).unwrap())
    }

    pub(crate) fn greet(&mut self, is_registrar: Value) -> Value {
        self.send(json!({
            "msg_type": "Aid", "name": "other", "uuid": "o-o", "pid": 1,
            "is_registrar": is_registrar, "is_probe": false,
        }));
        self.receive().expect("it says who it is")
    }

    /// Answers a call with nothing, and says what was called.
    pub(crate) fn answer(&mut self) -> Value {
        let start = self.receive().expect("it calls");
        let cid = &start["cid"];
        self.send(json!({"msg_type": "StartAck", "cid": cid, "functype": "asyncfunc"}));
        self.send(json!({"msg_type": "Return", "cid": cid, "pld": null}));
        start
    }

    /// Waits until the other side has nothing more to say.
    pub(crate) fn closed(mut self) {
        while self.receive().is_some() {}
    }
}
