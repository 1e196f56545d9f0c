//! Waiting for file descriptors and for the exit of processes.

mod common;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use common::{Log, guarded, trial_in_every_host};
use tractor_runtime::io::Io;
use tractor_runtime::process::{ChildExit, Stage};
use tractor_runtime::testing::{assert_checkpoints, wait_all_tasks_blocked_for};
use tractor_runtime::time::{now, sleep};
use tractor_runtime::{CancelScope, Error, Instrument, Result, Runtime, move_on_after, nursery};

const TICK: Duration = Duration::from_millis(20);

fn pair() -> Result<(Io<UnixStream>, Io<UnixStream>)> {
    let (a, b) = UnixStream::pair()?;
    Ok((Io::new(a)?, Io::new(b)?))
}

async fn settle() -> Result<()> {
    Ok(wait_all_tasks_blocked_for(TICK).await?)
}

/// Waits for what has to come, however long the machine takes for it.
async fn until(mut done: impl FnMut() -> bool) -> Result<()> {
    while !done() {
        sleep(Duration::from_millis(1)).await?;
    }
    Ok(())
}

/// Writes until nothing more fits.
fn fill(io: &Io<UnixStream>) -> usize {
    let mut written = 0;
    loop {
        match io.get_ref().write(&[7; 4096]) {
            Ok(n) => written += n,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return written;
            }
        }
    }
}

/// Reads until nothing is there.
fn drain(io: &Io<UnixStream>) -> usize {
    let mut read = 0;
    while let Ok(n @ 1..) = io.get_ref().read(&mut [0; 4096]) {
        read += n;
    }
    read
}

// core/test_io.py::test_wait_basic#a
#[test]
fn fresh_socket_is_writable() {
    trial_in_every_host(async || {
        let (a, _b) = pair()?;
        assert_checkpoints(a.writable()).await?;
        Ok(())
    });
}

// core/test_io.py::test_wait_basic#b
#[test]
fn reader_wakes_when_the_peer_sends() {
    trial_in_every_host(async || {
        let (a, b) = pair()?;
        nursery(async |n| {
            let reader = n.start_soon(async {
                a.readable().await?;
                let mut byte = [0];
                let read = a.read_with(|mut a| a.read(&mut byte)).await?;
                Ok((read, byte[0]))
            });
            settle().await?;
            assert!(!reader.is_finished());
            assert_eq!(b.write_with(|mut b| b.write(b"x")).await?, 1);
            assert_eq!(reader.await?, (1, b'x'));
            Ok(())
        })
        .await
    });
}

// core/test_io.py::test_wait_basic#c
#[test]
fn writer_wakes_when_the_peer_drains() {
    trial_in_every_host(async || {
        let (a, b) = pair()?;
        let written = fill(&a);
        nursery(async |n| {
            let writer = n.start_soon(async { Ok(a.write_with(|mut a| a.write(b"x")).await?) });
            settle().await?;
            assert!(!writer.is_finished());
            assert_eq!(drain(&b), written);
            assert_eq!(writer.await?, 1);
            Ok(())
        })
        .await
    });
}

// core/test_io.py::test_wait_basic#d
#[test]
fn reader_and_writer_are_cancelled() {
    trial_in_every_host(async || {
        let (a, b) = pair()?;
        let written = fill(&a);
        let log = Log::default();
        nursery(async |n| {
            n.start_soon(async {
                let error = Error::from(a.readable().await.unwrap_err());
                assert!(error.is_cancelled(), "{error}");
                log.note("reader");
                Err::<(), _>(error)
            });
            n.start_soon(async {
                let result = a.write_with(|mut a| a.write(b"x")).await;
                let error = Error::from(result.unwrap_err());
                assert!(error.is_cancelled(), "{error}");
                log.note("writer");
                Err::<(), _>(error)
            });
            settle().await?;
            n.cancel();
            Ok(())
        })
        .await?;
        assert_eq!(log.sorted(), ["reader", "writer"]);
        assert_eq!(drain(&b), written, "nothing more was written");
        Ok(())
    });
}

/// Counts how often a runtime has waited.
#[derive(Default)]
struct Waits(Cell<usize>);

impl Instrument for Waits {
    fn after_wait(&self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn other_end_that_reads_wakes_nobody() {
    guarded(|| {
        let waits = Rc::new(Waits::default());
        let runtime = Runtime::builder().instrument(waits.clone()).build();
        let result: Result<()> = runtime.run(async || {
            let (ours, mut theirs) = UnixStream::pair()?;
            let ours = Io::new(ours)?;
            let filled = fill(&ours);
            let other_end = thread::spawn(move || {
                theirs.read_exact(&mut vec![0; filled])?;
                loop {
                    match theirs.read(&mut [0])? {
                        0 => return Ok::<_, io::Error>(()),
                        // Long enough for a runtime that is woken by the read to wait again.
                        _ => thread::sleep(TICK),
                    }
                    theirs.write_all(&[1])?;
                }
            });
            ours.writable().await?;
            let answered = async || -> Result<usize> {
                ours.get_ref().write_all(&[1])?;
                let before = waits.0.get();
                ours.read_with(|mut io| io.read(&mut [0])).await?;
                Ok(waits.0.get() - before)
            };
            // Once after it was waited for, room may be told of.
            answered().await?;
            answered().await?;
            for _ in 0..3 {
                assert!(answered().await? <= 1, "woken by the answer alone");
            }
            drop(ours);
            Ok(other_end.join().expect("it does not panic")?)
        });
        result.unwrap();
    });
}

// core/test_io.py::test_socket_simultaneous_read_write
#[test]
fn reader_and_writer_of_one_socket_wake_apart() {
    trial_in_every_host(async || {
        let (a, b) = pair()?;
        fill(&a);
        let log = Log::default();
        nursery(async |n| {
            n.start_soon(async {
                a.readable().await?;
                log.note("reader");
                Ok(())
            });
            n.start_soon(async {
                a.writable().await?;
                log.note("writer");
                Ok(())
            });
            settle().await?;
            assert_eq!(log.count(), 0);
            b.get_ref().write_all(b"x")?;
            until(|| log.count() > 0).await?;
            settle().await?;
            assert_eq!(log.seen(), ["reader"]);
            drain(&b);
            until(|| log.count() > 1).await?;
            assert_eq!(log.seen(), ["reader", "writer"]);
            Ok(())
        })
        .await
    });
}

// core/test_io.py::test_socket_actual_streaming
#[test]
fn a_megabyte_each_way_in_pieces() {
    const BYTES: usize = 1 << 20;

    async fn send(io: &Io<UnixStream>, mut seed: usize) -> Result<()> {
        let mut left = BYTES;
        while left > 0 {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
            let piece = vec![1; (seed % 10_000 + 1).min(left)];
            left -= io.write_with(|mut io| io.write(&piece)).await?;
        }
        io.get_ref().shutdown(std::net::Shutdown::Write)?;
        Ok(())
    }

    async fn receive(io: &Io<UnixStream>) -> Result<usize> {
        let mut received = 0;
        let mut piece = [0; 7_919];
        loop {
            match io.read_with(|mut io| io.read(&mut piece)).await? {
                0 => return Ok(received),
                read => received += read,
            }
        }
    }

    trial_in_every_host(async || {
        let (a, b) = pair()?;
        nursery(async |n| {
            n.start_soon(send(&a, 1));
            n.start_soon(send(&b, 2));
            let there = n.start_soon(receive(&b));
            let back = n.start_soon(receive(&a));
            assert_eq!(there.await?, BYTES);
            assert_eq!(back.await?, BYTES);
            Ok(())
        })
        .await
    });
}

// core/test_io.py::test_can_survive_unnotified_close#b
#[test]
fn duplicate_closed_while_another_is_waited_for() {
    trial_in_every_host(async || {
        let (a, _b) = pair()?;
        let duplicate = Io::new(a.get_ref().try_clone()?)?;
        nursery(async |n| {
            let waiting = n.start_soon(async { Ok(a.readable().await?) });
            settle().await?;
            drop(duplicate);
            settle().await?;
            assert!(!waiting.is_finished());
            Ok(waiting.cancel_and_wait().await?)
        })
        .await
    });
}

#[test]
fn end_of_file_wakes_the_reader() {
    trial_in_every_host(async || {
        let (a, b) = pair()?;
        nursery(async |n| {
            let reader = n.start_soon(async { Ok(a.read_with(|mut a| a.read(&mut [0])).await?) });
            settle().await?;
            drop(b);
            assert_eq!(reader.await?, 0);
            Ok(())
        })
        .await
    });
}

#[test]
fn data_that_is_there_wins_over_a_later_cancel() {
    trial_in_every_host(async || {
        let (a, b) = pair()?;
        let scope = CancelScope::new();
        let handle = scope.handle();
        nursery(async |n| {
            let reader = n.start_soon(scope.run(async {
                let mut bytes = [0; 8];
                let read = a.read_with(|mut a| a.read(&mut bytes)).await;
                Ok(read.map(|n| bytes[..n].to_vec()).ok())
            }));
            settle().await?;
            b.get_ref().write_all(b"late")?;
            handle.cancel();
            let read = reader.await?.completed().expect("the error was swallowed");
            // Either it was read, or it is still there: it is not lost.
            let mut rest = [0; 8];
            let left = a.get_ref().read(&mut rest).unwrap_or(0);
            assert_eq!(read.map_or(0, |read| read.len()) + left, 4);
            Ok(())
        })
        .await
    });
}

#[test]
fn flooded_reader_leaves_room_for_others() {
    trial_in_every_host(async || {
        let (a, b) = pair()?;
        let turns = Cell::new(0);
        nursery(async |n| {
            n.start_soon(async {
                loop {
                    // Always something to read, and always room.
                    b.write_with(|mut b| b.write(b"x")).await?;
                    a.read_with(|mut a| a.read(&mut [0; 64])).await?;
                    turns.set(turns.get() + 1);
                }
                #[allow(unreachable_code, reason = "gives the block its type")]
                Ok(())
            });
            let start = now();
            sleep(TICK).await?;
            assert!(now() - start >= TICK);
            n.cancel();
            Ok(())
        })
        .await?;
        assert!(turns.get() > 0);
        Ok(())
    });
}

/// A process that is killed if a test ends without it.
struct Process(Cell<Option<u32>>);

impl Process {
    fn start(script: &str) -> Result<(ChildExit, Self)> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let child: Child = command.spawn()?;
        let guard = Self(Cell::new(Some(child.id())));
        match ChildExit::new(child) {
            Ok(exit) => Ok((exit, guard)),
            Err((error, mut child)) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    fn kill(&self) {
        if let Some(id) = self.0.take() {
            let id = rustix::process::Pid::from_raw(id as i32).expect("a process has a number");
            rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        }
    }

    fn is_gone(&self) {
        self.0.take();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn exit_status_of_a_process() {
    trial_in_every_host(async || {
        let (exit, process) = Process::start("exit 3")?;
        let status = exit.wait().await?.expect("nobody else reaped it");
        process.is_gone();
        assert_eq!(status.code(), Some(3));
        assert_eq!(exit.wait().await?, Some(status), "it is known from then on");
        Ok(())
    });
}

#[test]
fn process_that_is_killed_while_many_wait() {
    use std::os::unix::process::ExitStatusExt;

    trial_in_every_host(async || {
        let (exit, process) = Process::start("exec sleep 1000")?;
        nursery(async |n| {
            let waiting = [0; 3].map(|_| n.start_soon(async { Ok(exit.wait().await?) }));
            settle().await?;
            assert_eq!(exit.try_wait()?, None);
            process.kill();
            for waiting in waiting {
                let status = waiting.await?.expect("nobody else reaped it");
                assert_eq!(status.signal(), Some(9));
            }
            Ok(())
        })
        .await
    });
}

#[test]
fn waiting_for_a_process_is_cancelled_and_the_process_goes_on() {
    trial_in_every_host(async || {
        let (exit, process) = Process::start("exec sleep 1000")?;
        let outcome = move_on_after(TICK, async { Ok(exit.wait().await?) }).await?;
        assert!(outcome.timed_out());
        assert_eq!(exit.try_wait()?, None);
        process.kill();
        assert!(exit.wait().await?.is_some());
        Ok(())
    });
}

#[test]
fn looking_at_a_process_does_not_reap_it() {
    trial_in_every_host(async || {
        let (exit, process) = Process::start("exec sleep 1000")?;
        assert_eq!(exit.stage()?, Stage::Running);
        let outcome = move_on_after(TICK, async { Ok(exit.ended().await?) }).await?;
        assert!(outcome.timed_out());
        process.kill();
        exit.ended().await?;
        exit.ended().await?;
        assert_eq!(exit.stage()?, Stage::Ended, "it is still to be reaped");
        assert!(exit.wait().await?.is_some());
        assert_eq!(exit.stage()?, Stage::Reaped);
        exit.ended().await?;
        Ok(())
    });
}

/// Everything that comes, by reads of a stream with room for more than is sent at a time.
async fn read_to_end(io: &Io<UnixStream>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut room = [0; 64];
    loop {
        let read = io
            .read_stream_with(room.len(), |mut io| io.read(&mut room))
            .await?;
        match read {
            0 => return Ok(all),
            read => all.extend_from_slice(&room[..read]),
        }
    }
}

#[test]
fn end_of_a_stream_that_comes_together_with_its_last_bytes() {
    trial_in_every_host(async || {
        for waits_before in [false, true] {
            let (reader, mut writer) = UnixStream::pair()?;
            let reader = Io::new(reader)?;
            nursery(async |n| {
                let all = n.start_soon(read_to_end(&reader));
                if waits_before {
                    settle().await?;
                }
                writer.write_all(b"last")?;
                drop(writer);
                assert_eq!(all.await?, b"last");
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

#[test]
fn end_of_a_stream_that_comes_after_its_bytes_were_read() {
    trial_in_every_host(async || {
        let (reader, mut writer) = UnixStream::pair()?;
        let reader = Io::new(reader)?;
        nursery(async |n| {
            let all = n.start_soon(read_to_end(&reader));
            for piece in [b"one", b"two"] {
                writer.write_all(piece)?;
                settle().await?;
            }
            drop(writer);
            assert_eq!(all.await?, b"onetwo");
            Ok(())
        })
        .await
    });
}

#[test]
fn stream_from_a_thread_in_pieces_of_all_sizes() {
    trial_in_every_host(async || {
        let (reader, mut writer) = UnixStream::pair()?;
        let reader = Io::new(reader)?;
        let pieces: Vec<Vec<u8>> = (0..2000_usize)
            .map(|n| vec![n as u8; 1 + n * 31 % 150])
            .collect();
        let expected = pieces.concat();
        let writes = std::thread::spawn(move || {
            for (n, piece) in pieces.iter().enumerate() {
                writer.write_all(piece).unwrap();
                if n % 7 == 0 {
                    std::thread::yield_now();
                }
            }
        });
        assert!(read_to_end(&reader).await? == expected);
        writes.join().unwrap();
        Ok(())
    });
}
