//! What the machine allows: processes that do nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, exit};

use rustix::process::Pid;

use super::Shape;
use crate::population::Mark;
use crate::role::{given, spawn, start, start_marked};

/// The name of this side.
pub(super) const FLOOR: &str = "floor";

const ARGUMENT: &str = "--bare";

/// What it does with this is to end at once.
const ENDS: &str = "ends";

const WAITS: &str = "waits";

/// A process that says that it is there, and waits for the end of its socket.
pub(super) struct Bare {
    socket: UnixStream,
    child: Child,
}

impl Bare {
    pub(super) fn start(mark: &Mark) -> Self {
        let (socket, child) = start_marked(&[ARGUMENT, WAITS], mark);
        Self { socket, child }
    }

    /// One that is there when all are who are to be below it, and ends when they have.
    fn start_with(below: Shape, mark: &Mark) -> Self {
        let shape = format!("{} {} {}", below.first, below.width, below.levels);
        let (socket, child) = start_marked(&[ARGUMENT, &shape], mark);
        Self { socket, child }
    }

    /// All of these, when they are there.
    pub(super) fn grow(shape: Shape, mark: &Mark) -> Vec<Self> {
        let start = || match shape.below() {
            Some(below) => Self::start_with(below, mark),
            None => Self::start(mark),
        };
        let mut all: Vec<_> = (0..shape.first).map(|_| start()).collect();
        all.iter_mut().for_each(Self::ready);
        all
    }

    /// One that ends at once.
    pub(super) fn start_and_end() -> Self {
        let (socket, child) = start(&[ARGUMENT, ENDS]);
        Self { socket, child }
    }

    /// Another program.
    pub(super) fn start_other(program: &str) -> Self {
        let (socket, child) = spawn(Command::new(program));
        Self { socket, child }
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(super) fn ready(&mut self) {
        self.socket.read_exact(&mut [0]).expect("it says so");
    }

    /// Waits for the end of what it writes, which is nothing.
    pub(super) fn end_of_file(&mut self) {
        let read = self.socket.read(&mut [0]).expect("a socket can be read");
        assert_eq!(read, 0, "it writes nothing");
    }

    pub(super) fn reap(&mut self) {
        self.child.wait().expect("it is our child");
    }
}

/// Closes the sockets of all, and reaps them.
pub(super) fn close(mut all: Vec<Bare>) {
    for bare in &all {
        let _ = bare.socket.shutdown(std::net::Shutdown::Both);
    }
    all.iter_mut().for_each(Bare::reap);
}

/// Does nothing, if that is what this process was started for.
pub(crate) fn enter_if_bare() {
    let Some((mut socket, Some(what))) = given(ARGUMENT) else {
        return;
    };
    if what == ENDS {
        exit(0);
    }
    let mut below = Vec::new();
    if what != WAITS {
        let numbers: Vec<_> = what.split(' ').flat_map(str::parse).collect();
        let [first, width, levels] = numbers[..] else {
            panic!("{what} is no shape");
        };
        // Children inherit the mark.
        below = Bare::grow(
            Shape {
                first,
                width,
                levels,
            },
            &Mark::inherited(),
        );
    }
    // It ends in the same way if whoever started it is gone.
    let _ = socket.write_all(&[1]);
    let _ = socket.read(&mut [0]);
    close(below);
    exit(0);
}
