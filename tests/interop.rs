//! The two examples that talk to peers in other languages: with each other, and against peers that
//! are played word for word as live ones were recorded.

mod common;
#[path = "common/places.rs"]
mod places;
#[path = "common/programs.rs"]
mod programs;
#[path = "common/recordings.rs"]
mod recordings;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};

use common::{HangGuard, MARKER, Marker};
use places::deserted;
use programs::example;
use recordings::{Names, Recording, Wire, body_of, decoded, text_at};
use rmpv::Value;
use rustix::process::{Pid, Signal, kill_process};
use tractor::Address;

const SCENARIOS: [&str; 11] = [
    "double",
    "echo",
    "cancel",
    "boom",
    "boom_early",
    "self_cancel",
    "overrun",
    "run",
    "not_exposed",
    "registry",
    "cancel_actor",
];

/// The daemon at any port.
struct Daemon {
    process: Child,
    at: SocketAddr,
}

impl Daemon {
    fn new(marker: &Marker) -> Self {
        let mut process = Command::new(example("interop_daemon"))
            .args(["--tcp", "127.0.0.1:0"])
            .env(MARKER, marker.text())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = process.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let at = line.trim().strip_prefix("listening at ").unwrap();
        let Address::Tcp(at) = at.parse().unwrap() else {
            panic!("{at} is no port");
        };
        Self { process, at }
    }

    /// Waits for its end, which a scenario asks for, or else a signal does.
    fn ended(mut self, scenario: &str) {
        let status = if scenario == "cancel_actor" {
            let status = self.process.wait().unwrap();
            assert!(status.success(), "{status}");
            return;
        } else {
            let pid = Pid::from_child(&self.process);
            kill_process(pid, Signal::INT).unwrap();
            self.process.wait().unwrap()
        };
        assert_eq!(status.code(), Some(130), "{scenario}: {status}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Of one that has ended there is nothing to be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The client with its scenario.
struct Client(Child);

impl Client {
    fn new(at: SocketAddr, scenario: &str, marker: &Marker) -> Self {
        let client = Command::new(example("interop_client"))
            .args(["--tcp", &at.to_string(), scenario])
            .env(MARKER, marker.text())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self(client.unwrap())
    }

    fn ended(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        let mut errors = self.0.stderr.take().unwrap();
        errors.read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap(), said)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn client_and_daemon_play_every_scenario() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    for scenario in SCENARIOS {
        let daemon = Daemon::new(&marker);
        let (status, said) = Client::new(daemon.at, scenario, &marker).ended();
        assert!(status.success(), "{said}");
        assert_eq!(said, "");
        daemon.ended(scenario);
    }
    assert_eq!(marker.processes(), [0; 0]);
}

#[test]
fn daemon_plays_them_all_to_one_client_after_the_other() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    let daemon = Daemon::new(&marker);
    for scenario in SCENARIOS {
        let (status, said) = Client::new(daemon.at, scenario, &marker).ended();
        assert!(status.success(), "{said}");
    }
    daemon.ended("cancel_actor");
}

#[test]
fn client_without_a_daemon_says_that_it_could_not_connect() {
    let marker = Marker::new();
    let Address::Tcp(nobody) = deserted() else {
        unreachable!("it is a port");
    };
    let (status, said) = Client::new(nobody, "echo", &marker).ended();
    assert_eq!(status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// What came in the place of a recorded message is it, byte for byte, except for names.
fn hold(recording: &Recording, names: &mut Names, came: &[u8], recorded: &Value) {
    let value = decoded(came);
    assert_eq!(body_of(&value), came, "{value} is not in its shortest form");
    let adopted = names.adopted(&value, recorded, "");
    let same = body_of(&adopted) == body_of(recorded);
    assert!(
        same,
        "{}: {recorded} was expected, not {value}",
        recording.name
    );
}

/// Says what the recorded client said, and holds the daemon to what the recorded one answered.
fn play_client(recording: &Recording, at: SocketAddr) {
    let mut names = Names::default();
    let mut wires = BTreeMap::new();
    // In `registry` it says where it is.
    let port = recorded_port(recording);
    names.bind_port(u64::from(at.port()), port);
    for line in &recording.lines {
        let connect = || Wire::new(TcpStream::connect(at).expect("the daemon listens"));
        let wire = wires.entry(line.conn).or_insert_with(connect);
        match (&line.message, line.by_client) {
            (Some(recorded), true) => wire.send(&names.translated(recorded)),
            (None, true) => wire.end(),
            (Some(recorded), false) => loop {
                let came = wire.receive_for(recorded, &names);
                let came = came.unwrap_or_else(|| panic!("{recorded} did not come"));
                // Items that were sent before an error came were on the way, and a stream is
                // closed when an endpoint leaves it.
                if text_at(recorded, "msg_type") == Some("Error") && is_of_stream(&decoded(&came)) {
                    continue;
                }
                hold(recording, &mut names, &came, recorded);
                break;
            },
            (None, false) => {
                let rest = wire.rest();
                assert!(rest.is_empty(), "{}: too much: {rest:?}", recording.name);
            }
        }
    }
}

fn is_of_stream(message: &Value) -> bool {
    matches!(text_at(message, "msg_type"), Some("Yield" | "Stop"))
}

/// At which port the recorded daemon listened, as far as it said.
fn recorded_port(recording: &Recording) -> u64 {
    let answers = recording.lines.iter().filter(|line| !line.by_client);
    let mut answers = answers.filter_map(|line| line.message.as_ref());
    let port = answers.find_map(|message| {
        let pairs = message.as_map()?;
        let (_, value) = pairs.iter().find(|(key, _)| key.as_str() == Some("pld"))?;
        value.as_array()?.first()?.as_array()?.get(1)?.as_u64()
    });
    port.unwrap_or(0)
}

#[test]
fn daemon_answers_recorded_clients_as_the_recorded_daemon_did() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    for scenario in SCENARIOS {
        let daemon = Daemon::new(&marker);
        play_client(&Recording::named(scenario), daemon.at);
        daemon.ended(scenario);
    }
}

/// Says what the recorded daemon said, and holds the client to what the recorded one said.
fn play_daemon(recording: &Recording, listener: TcpListener, alter: impl Fn(Value) -> Value) {
    let mut names = Names::default();
    let port = listener.local_addr().expect("it is bound").port();
    names.bind_port(u64::from(port), recorded_port(recording));
    let mut wires = BTreeMap::new();
    let mut listener = Some(listener);
    for line in &recording.lines {
        let accept = || {
            let (socket, _) = listener.as_ref().expect("more to come").accept().unwrap();
            Wire::new(socket)
        };
        let wire = wires.entry(line.conn).or_insert_with(accept);
        if line.conn == recording.connections() {
            // Nobody listens there any more.
            listener = None;
        }
        match (&line.message, line.by_client) {
            (Some(recorded), false) => wire.send(&alter(names.translated(recorded))),
            (None, false) => wire.end(),
            (Some(recorded), true) => {
                let came = wire.receive_for(recorded, &names);
                let came = came.unwrap_or_else(|| panic!("{recorded} did not come"));
                hold(recording, &mut names, &came, recorded);
            }
            (None, true) => {
                let rest = wire.rest();
                assert!(rest.is_empty(), "{}: too much: {rest:?}", recording.name);
            }
        }
    }
}

#[test]
fn client_asks_recorded_daemons_as_the_recorded_client_did() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    for scenario in SCENARIOS {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(listener.local_addr().unwrap(), scenario, &marker);
        play_daemon(&Recording::named(scenario), listener, |message| message);
        let (status, said) = client.ended();
        assert!(status.success(), "{said}");
        assert_eq!(said, "");
    }
}

/// The message with another value where it has this one.
fn with(message: Value, from: &Value, to: &Value) -> Value {
    match message {
        value if value == *from => to.clone(),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| with(item, from, to)).collect())
        }
        Value::Map(pairs) => {
            let pairs = pairs.into_iter();
            Value::Map(
                pairs
                    .map(|(key, value)| (key, with(value, from, to)))
                    .collect(),
            )
        }
        other => other,
    }
}

#[test]
fn client_names_the_first_thing_that_is_different() {
    let _guard = HangGuard::new();
    let marker = Marker::new();
    for (scenario, from, to, first) in [
        (
            "double",
            Value::from(42),
            Value::from(43),
            "double: the result: Integer(PosInt(43)) instead of Integer(PosInt(42))\n",
        ),
        (
            "boom",
            Value::from("ValueError"),
            Value::from("TypeError"),
            "boom: the type of the source: \"TypeError\" instead of \"ValueError\"\n",
        ),
        (
            "run",
            Value::from(5),
            Value::from("5"),
            "run: the result: String(Utf8String { s: Ok(\"5\") }) instead of Integer(PosInt(5))\n",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(listener.local_addr().unwrap(), scenario, &marker);
        let recording = Recording::named(scenario);
        play_daemon(&recording, listener, |message| with(message, &from, &to));
        let (status, said) = client.ended();
        assert_eq!(status.code(), Some(1), "{said}");
        assert_eq!(said, first);
    }
}
