//! Connections in memory behave as sockets do, and no time passes in them.

use std::rc::Rc;
use std::time::Duration;

use tractor_runtime::testing::run as run_in_virtual_time;
use tractor_runtime::{Result, move_on_after, nursery, time};

use super::super::{ByteStream, Link, LinkError, Received, SendError};
use super::*;

fn trial_in_virtual_time(main: impl AsyncFnOnce() -> Result<()> + Send + 'static) {
    guarded(|| run_in_virtual_time(main));
}

fn links() -> (Rc<Link>, Rc<Link>) {
    let (ours, theirs) = ByteStream::pair();
    let link = |end| Link::over(end, Limits::default());
    (link(ours), link(theirs))
}

async fn until_the_end(link: &Rc<Link>) -> Result<usize> {
    let mut reader = link.reader();
    let mut count = 0;
    while let Received::Message(_) = reader.next().await? {
        count += 1;
    }
    Ok(count)
}

#[test]
fn talk_takes_no_time() {
    trial_in_virtual_time(async || {
        let start = time::now();
        let (ours, theirs) = links();
        nursery(async |n| {
            for (link, other) in [(&ours, &theirs), (&theirs, &ours)] {
                n.start_soon(async move {
                    link.write_loop().await?.expect("the peer reads");
                    Ok(())
                });
                n.start_soon(async move {
                    let mut reader = other.reader();
                    for turn in 0..100 {
                        link.send(&credit(turn))?;
                        assert_eq!(next_message(&mut reader).await?, credit(turn));
                    }
                    link.close();
                    Ok(())
                });
            }
            Ok(())
        })
        .await?;
        assert_eq!(time::now(), start);
        Ok(())
    });
}

#[test]
fn closing_half_writes_what_waits_and_goes_on_receiving() {
    trial_in_virtual_time(async || {
        let (ours, theirs) = links();
        let sent = fill(&ours, &Cid::fresh(), &"x".repeat(100_000))?;
        ours.close();
        nursery(async |n| {
            n.start_soon(async {
                ours.write_loop().await?.expect("the peer reads");
                Ok(())
            });
            assert_eq!(until_the_end(&theirs).await?, sent);
            Ok(())
        })
        .await?;
        theirs.send(&credit(7))?;
        theirs.close();
        theirs.write_loop().await?.expect("the other way is open");
        let mut reader = ours.reader();
        assert_eq!(next_message(&mut reader).await?, credit(7));
        assert!(matches!(reader.next().await?, Received::Ended));
        Ok(())
    });
}

#[test]
fn dropped_peer_is_the_end_after_what_it_wrote() {
    trial_in_virtual_time(async || {
        let (ours, theirs) = links();
        theirs.send(&credit(7))?;
        theirs.close();
        theirs.write_loop().await?.expect("there is room");
        drop(theirs);
        let mut reader = ours.reader();
        assert_eq!(next_message(&mut reader).await?, credit(7));
        assert!(matches!(reader.next().await?, Received::Ended));
        ours.send(&credit(1))?;
        let error = ours.write_loop().await?.expect_err("nobody will read it");
        assert!(
            matches!(&error, LinkError::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
        );
        assert!(matches!(ours.send(&credit(1)), Err(SendError::Closed)));
        Ok(())
    });
}

#[test]
fn dropped_peer_wakes_who_waits_for_it() {
    trial_in_virtual_time(async || {
        let (ours, theirs) = links();
        fill(&ours, &Cid::fresh(), &"x".repeat(100_000))?;
        nursery(async |n| {
            let written = n.start_soon({
                let ours = ours.clone();
                async move { Ok(ours.write_loop().await?) }
            });
            let read = n.start_soon({
                let ours = ours.clone();
                async move { until_the_end(&ours).await }
            });
            tractor_runtime::testing::wait_all_tasks_blocked().await?;
            drop(theirs);
            written.await?.expect_err("nobody reads");
            assert_eq!(read.await?, 0);
            Ok(())
        })
        .await
    });
}

#[test]
fn aborting_ends_both_ends_at_once() {
    trial_in_virtual_time(async || {
        let (ours, theirs) = links();
        nursery(async |n| {
            let ends = [&ours, &theirs].map(|link| n.start_soon(until_the_end(link)));
            tractor_runtime::testing::wait_all_tasks_blocked().await?;
            ours.abort();
            for end in ends {
                assert_eq!(end.await?, 0);
            }
            theirs.send(&credit(1))?;
            theirs.write_loop().await?.expect_err("nobody reads");
            Ok(())
        })
        .await
    });
}

#[test]
fn peer_that_does_not_read_holds_up_what_is_behind_and_a_cancelled_write_goes_on() {
    trial_in_virtual_time(async || {
        let (ours, theirs) = links();
        let sent = fill(&ours, &Cid::fresh(), &"x".repeat(100_000))?;
        let limit = Duration::from_secs(3600);
        let waited = move_on_after(limit, async {
            ours.write_loop().await?.expect("the peer is there");
            Ok(())
        })
        .await?;
        assert!(waited.timed_out(), "it takes no more than it has room for");
        let waited = move_on_after(limit, async { Ok(ours.flushed().await?) }).await?;
        assert!(waited.timed_out());
        ours.close();
        nursery(async |n| {
            n.start_soon(async {
                ours.write_loop().await?.expect("the peer reads");
                Ok(())
            });
            assert_eq!(until_the_end(&theirs).await?, sent);
            Ok(())
        })
        .await
    });
}

#[test]
fn cancelled_read_loses_nothing() {
    trial_in_virtual_time(async || {
        let (ours, theirs) = links();
        let mut reader = ours.reader();
        for turn in 0..10 {
            let waited = move_on_after(Duration::from_millis(5), async {
                let _ = reader.next().await?;
                Ok(())
            })
            .await?;
            assert!(waited.timed_out(), "nothing was sent");
            theirs.send(&credit(turn))?;
            let written = async {
                theirs.write_loop().await?.expect("there is room");
                Ok(())
            };
            move_on_after(Duration::from_millis(5), written).await?;
            assert_eq!(next_message(&mut reader).await?, credit(turn));
        }
        Ok(())
    });
}
