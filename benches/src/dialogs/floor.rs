//! What the machine allows: two processes that block.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Child;

use crate::role::{given, start};

/// The name of this side.
pub(super) const FLOOR: &str = "floor";

const ARGUMENT: &str = "--be-the-floor";

/// What is sent back and forth.
pub(super) const PACKET: usize = 64;

/// Two processes on the two ends of a pair of sockets.
pub(super) struct Floor {
    pub(super) socket: UnixStream,
    peer: Child,
}

impl Floor {
    pub(super) fn start() -> Self {
        let (socket, peer) = start(&[ARGUMENT]);
        Self { socket, peer }
    }

    /// Sends a packet, and waits for it to come back.
    pub(super) fn round_trip(&mut self) {
        let mut packet = [7; PACKET];
        self.socket.write_all(&packet).expect("the floor listens");
        self.socket
            .read_exact(&mut packet)
            .expect("the floor answers");
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.peer.wait();
    }
}

/// Sends back what comes, if that is what this process was started for.
pub(super) fn enter_if_floor() {
    let Some((mut socket, _)) = given(ARGUMENT) else {
        return;
    };
    let mut packet = [0; PACKET];
    while socket.read_exact(&mut packet).is_ok() && socket.write_all(&packet).is_ok() {}
    std::process::exit(0);
}
