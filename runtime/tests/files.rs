//! Files, by calls in threads.

mod common;

use std::fs::OpenOptions;
use std::io::{ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::trial_in_real_time;
use futures::StreamExt;
use futures::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tractor_runtime::fs::{self, File};
use tractor_runtime::{CancelScope, Error, Result, move_on_after};

/// A directory that is gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tractor-fs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether this process has the file open.
fn is_open(path: &Path) -> bool {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    descriptors
        .flatten()
        .any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|to| to == path))
}

// trio/test_file_io.py::test_open
// trio/test_file_io.py::test_open_context_manager
#[test]
fn file_is_open_until_it_is_dropped() {
    trial_in_real_time(async || {
        let directory = Directory::new("open");
        let path = directory.0.join("file");
        let mut file = File::create(&path).await?;
        assert!(is_open(&path));
        file.write_all("hello").await?;
        file.sync_all().await?;
        drop(file);
        assert!(!is_open(&path));
        let mut file = File::open(&path).await?;
        assert_eq!(file.read(100).await?, b"hello");
        assert_eq!(file.read(100).await?, b"");
        assert_eq!(file.seek(SeekFrom::Start(1)).await?, 1);
        assert_eq!(file.read(3).await?, b"ell");
        assert_eq!(file.metadata().await?.len(), 5);
        let error = File::open(directory.0.join("none")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        Ok(())
    });
}

// trio/test_file_io.py::test_aclose_cancelled
#[test]
fn file_of_a_cancelled_task_is_closed_and_as_it_was() {
    trial_in_real_time(async || {
        let directory = Directory::new("cancelled");
        let path = directory.0.join("file");
        let mut file = File::create(&path).await?;
        file.write_all("before").await?;
        let scope = CancelScope::new();
        scope.handle().cancel();
        let outcome = scope.run(async {
            let error = Error::from(file.write_all("after").await.unwrap_err());
            assert!(error.is_cancelled(), "{error}");
            drop(file);
            Err::<(), _>(error)
        });
        assert!(outcome.await?.is_cancelled());
        assert!(!is_open(&path));
        assert_eq!(fs::read(&path).await?, b"before");
        Ok(())
    });
}

// trio/test_file_io.py::test_async_iter
#[test]
fn lines_of_a_file() {
    trial_in_real_time(async || {
        let directory = Directory::new("lines");
        let path = directory.0.join("file");
        fs::write(&path, "test\nfoo\nbar\n").await?;
        let mut lines = BufReader::new(File::open(&path).await?).lines();
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await {
            seen.push(line?);
        }
        assert_eq!(seen, ["test", "foo", "bar"]);
        Ok(())
    });
}

#[test]
fn reads_that_are_cancelled_or_dropped_lose_no_byte() {
    trial_in_real_time(async || {
        let directory = Directory::new("bytes");
        let path = directory.0.join("file");
        let data: Vec<u8> = (0..400_000_u32).map(|i| (i / 3) as u8).collect();
        fs::write(&path, data.clone()).await?;
        let options = OpenOptions::new().read(true).write(true).clone();
        let mut file = File::open_with(options, &path).await?;
        let (mut received, mut cancelled) = (Vec::new(), 0);
        let mut round = 0_u64;
        loop {
            round += 1;
            let mut buffer = vec![0; 9_001];
            let limit = Duration::from_micros(round % 7 * 30);
            let read = match round % 4 {
                // By polls, and by calls.
                0 => {
                    let read = move_on_after(limit, async { Ok(file.read(9_001).await?) }).await?;
                    read.completed()
                }
                _ => {
                    let read = AsyncReadExt::read(&mut file, &mut buffer);
                    let count = move_on_after(limit, async { Ok(read.await?) })
                        .await?
                        .completed();
                    count.map(|count| buffer[..count].to_vec())
                }
            };
            match read {
                Some(end) if end.is_empty() => break,
                Some(bytes) => received.extend(bytes),
                None => cancelled += 1,
            }
        }
        assert!(received == data, "{} of {}", received.len(), data.len());
        assert!(cancelled > 0);
        // Where it stands is where writing goes on.
        file.write_all("!").await?;
        assert_eq!(file.metadata().await?.len(), data.len() as u64 + 1);
        Ok(())
    });
}

#[test]
fn files_and_directories_are_made_listed_and_removed() {
    async fn names(path: &Path) -> Result<Vec<String>> {
        let entries = fs::read_dir(path).await?;
        let names = entries
            .iter()
            .map(|entry| entry.file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
    }
    trial_in_real_time(async || {
        let directory = Directory::new("tree");
        let deep = directory.0.join("a/b");
        fs::create_dir_all(&deep).await?;
        fs::write(deep.join("one"), "1").await?;
        fs::rename(deep.join("one"), deep.join("two")).await?;
        assert_eq!(names(&deep).await?, ["two"]);
        assert_eq!(fs::read_to_string(deep.join("two")).await?, "1");
        assert!(fs::metadata(&deep).await?.is_dir());
        fs::remove_file(deep.join("two")).await?;
        assert_eq!(names(&deep).await?, [""; 0]);
        fs::remove_dir_all(directory.0.join("a")).await?;
        assert_eq!(names(&directory.0).await?, [""; 0]);
        Ok(())
    });
}
