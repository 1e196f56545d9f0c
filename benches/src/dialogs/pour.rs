//! A process that writes bytes, and does nothing else.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Child;

use crate::role::{given, start};

/// The name of this side.
pub(super) const RAW: &str = "raw";

const ARGUMENT: &str = "--pour";
const PIECE: usize = 64 << 10;

pub(super) struct Pour {
    pub(super) socket: UnixStream,
    peer: Child,
}

impl Pour {
    pub(super) fn start(bytes: u64) -> Self {
        let (mut socket, peer) = start(&[ARGUMENT]);
        socket.write_all(&bytes.to_ne_bytes()).expect("it listens");
        Self { socket, peer }
    }
}

impl Drop for Pour {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.peer.wait();
    }
}

pub(super) fn enter_if_pour() {
    let Some((mut socket, _)) = given(ARGUMENT) else {
        return;
    };
    let mut bytes = [0; 8];
    socket.read_exact(&mut bytes).expect("it says how much");
    let mut left = u64::from_ne_bytes(bytes);
    let piece = vec![7; PIECE];
    while left > 0 {
        let now = left.min(PIECE as u64);
        if socket.write_all(&piece[..now as usize]).is_err() {
            break;
        }
        left -= now;
    }
    std::process::exit(0);
}
