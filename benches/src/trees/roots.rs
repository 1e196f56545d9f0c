//! Root actors in processes of their own.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Child, exit};

use tractor::runtime::time::sleep_forever;

use super::Shape;
use super::actors::grow;
use crate::population::Mark;
use crate::role::{given, start_marked};

const ARGUMENT: &str = "--be-a-root";

/// A root with so many actors, and so many contexts on each of them, which writes a byte when it is
/// there. With actors it then waits for its end; without it has come to it.
pub(super) fn start(actors: usize, contexts: usize, mark: &Mark) -> (UnixStream, Child) {
    start_marked(&[ARGUMENT, &format!("{actors} {contexts}")], mark)
}

/// Is a root, if that is what this process was started for.
pub(crate) fn enter_if_root() {
    let Some((mut socket, Some(numbers))) = given(ARGUMENT) else {
        return;
    };
    let numbers: Vec<usize> = numbers.split(' ').flat_map(str::parse).collect();
    let [actors, contexts] = numbers[..] else {
        panic!("{numbers:?} are not two numbers");
    };
    let result = tractor::run(async || {
        if actors == 0 {
            socket.write_all(&[1])?;
            return Ok(());
        }
        let shape = Shape::row(actors);
        tractor::nursery(async |an| {
            grow(an, shape, contexts, &Mark::inherited(), async || {
                socket.write_all(&[1])?;
                Ok(sleep_forever().await?)
            })
            .await
        })
        .await
    });
    exit(result.map_or_else(|error| tractor::exit_code(&error).into(), |()| 0));
}
