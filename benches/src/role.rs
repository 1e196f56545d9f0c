//! This program, started again to be the other end of something.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use crate::population::{MARK, Mark};

/// Starts this program with these arguments, with one end of a pair of sockets as its standard input.
pub(crate) fn start(arguments: &[&str]) -> (UnixStream, Child) {
    spawn(command(arguments))
}

/// The same, as one of those that are counted.
pub(crate) fn start_marked(arguments: &[&str], mark: &Mark) -> (UnixStream, Child) {
    let mut command = command(arguments);
    command.env(MARK, mark.text());
    spawn(command)
}

fn command(arguments: &[&str]) -> Command {
    // As actors are started.
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments);
    command
}

/// The same with any program.
pub(crate) fn spawn(mut command: Command) -> (UnixStream, Child) {
    let (ours, theirs) = UnixStream::pair().expect("there are descriptors left");
    let child = command
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .expect("this program can be started");
    (ours, child)
}

/// The socket that this process was given, if this is its first argument, and the second one.
pub(crate) fn given(argument: &str) -> Option<(UnixStream, Option<String>)> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != argument {
        return None;
    }
    let stdin = std::io::stdin();
    // What this process starts is not to have it.
    let socket = rustix::io::fcntl_dupfd_cloexec(&stdin, 3).expect("standard input is open");
    Some((UnixStream::from(socket), arguments.next()))
}
