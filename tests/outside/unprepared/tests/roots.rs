//! A test runner that is started as an actor, with nothing that makes it one before its `main`: one
//! of its tests becomes the actor where it enters its root, and the others go on beside it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use tractor::{Result, SpawnError, SpawnFailure, SpawnOptions, endpoint};

async fn double(x: u64) -> Result<u64> {
    Ok(2 * x)
}
endpoint!(double);

/// The variable that names the directory in which the roots of a child say what they could do.
const REPORTS: &str = "UNPREPARED_REPORTS";

/// What is waited for longer hangs.
const HANG: Duration = Duration::from_secs(30);

#[test]
fn roots_beside_an_actor_start_no_actors() {
    if stray("first") {
        return;
    }
    let reports = env::temp_dir().join(format!("tractor-unprepared-{}", process::id()));
    fs::create_dir(&reports).unwrap();
    let found = tractor::run(async || {
        tractor::nursery(async |an| {
            // With all tests of this program at once, also where its runner runs each by itself.
            let options = SpawnOptions::new()
                .program(env::current_exe()?, ["--test-threads=4", "--quiet"])
                .env(REPORTS, &reports)
                .enable(double);
            let portal = an.start_actor("actor", options).await?;
            assert_eq!(portal.run(double, 21).await?, 42);
            let found = three(&reports);
            // And it goes on.
            assert_eq!(portal.run(double, 4).await?, 8);
            an.cancel();
            Ok(found)
        })
        .await
    });
    fs::remove_dir_all(&reports).unwrap();
    assert_eq!(found.unwrap(), ["refused"; 3]);
}

#[test]
fn second_root_in_a_child() {
    stray("second");
}

#[test]
fn third_root_in_a_child() {
    stray("third");
}

#[test]
fn fourth_root_in_a_child() {
    stray("fourth");
}

/// In a process that the test above started, this is a root that starts an actor, or would.
fn stray(name: &str) -> bool {
    let Some(reports) = env::var_os(REPORTS) else {
        return false;
    };
    let result = tractor::run(async || {
        tractor::nursery(async |an| {
            // It would be this program, but that would go on and on if it were not refused.
            let options = SpawnOptions::new().program("false", [""; 0]);
            an.start_actor("recursion", options).await?;
            an.cancel();
            Ok(())
        })
        .await
    });
    let refused = result.is_err_and(|error| {
        let error = error.downcast_ref::<SpawnError>();
        error.is_some_and(|error| matches!(error.failure(), SpawnFailure::NotEntered))
    });
    let report = match refused {
        true => "refused",
        false => "not refused",
    };
    let file = PathBuf::from(reports).join(name);
    fs::write(file.with_extension("new"), report).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
    true
}

/// What the three roots that did not become the actor have reported.
fn three(reports: &Path) -> Vec<String> {
    let start = Instant::now();
    loop {
        let files = fs::read_dir(reports)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|file| file.extension().is_none()).collect();
        if files.len() == 3 {
            return files
                .iter()
                .map(|file| fs::read_to_string(file).unwrap())
                .collect();
        }
        assert!(start.elapsed() < HANG, "only {files:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
