//! Files and directories, by blocking calls in [threads](crate::thread).
//!
//! Each operation is a checkpoint before it begins; from then on it comes to its end, cancelled or
//! not, and its result counts. The calls are limited as others are, by the runtime's
//! [`default_limiter`](crate::thread::default_limiter).
//!
//! What is not here is a call away: `thread::run_sync(|| std::fs::...)`.

mod file;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use file::File;

use crate::thread::run_sync;

/// Runs a function that works on files.
async fn call<T: Send + 'static>(
    path: impl AsRef<Path>,
    f: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let path = path.as_ref().to_owned();
    run_sync(move || f(path)).await?
}

/// What is in a file.
///
/// # Errors
///
/// Those of [`std::fs::read`], and cancellation.
pub async fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    call(path, fs::read).await
}

/// The text in a file.
///
/// # Errors
///
/// Those of [`std::fs::read_to_string`], and cancellation.
pub async fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    call(path, fs::read_to_string).await
}

/// Makes a file, or what is in it, anew.
///
/// # Errors
///
/// Those of [`std::fs::write`], and cancellation; then the file is as it was.
pub async fn write(path: impl AsRef<Path>, data: impl Into<Vec<u8>>) -> io::Result<()> {
    let data = data.into();
    call(path, move |path| fs::write(path, data)).await
}

/// What there is to know of a file.
///
/// # Errors
///
/// Those of [`std::fs::metadata`], and cancellation.
pub async fn metadata(path: impl AsRef<Path>) -> io::Result<fs::Metadata> {
    call(path, fs::metadata).await
}

/// The entries of a directory, in no order.
///
/// # Errors
///
/// Those of [`std::fs::read_dir`], and cancellation.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<Vec<fs::DirEntry>> {
    call(path, |path| fs::read_dir(path)?.collect()).await
}

/// Makes a directory and those above it.
///
/// # Errors
///
/// Those of [`std::fs::create_dir_all`], and cancellation; then none was made.
pub async fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    call(path, fs::create_dir_all).await
}

/// Removes a file.
///
/// # Errors
///
/// Those of [`std::fs::remove_file`], and cancellation; then it is still there.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    call(path, fs::remove_file).await
}

/// Removes a directory with all that is in it.
///
/// # Errors
///
/// Those of [`std::fs::remove_dir_all`], and cancellation; then it is still there.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    call(path, fs::remove_dir_all).await
}

/// Gives a file another name.
///
/// # Errors
///
/// Those of [`std::fs::rename`], and cancellation; then it has its old one.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let to = to.as_ref().to_owned();
    call(from, move |from| fs::rename(from, to)).await
}
