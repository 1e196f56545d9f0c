use std::ffi::{c_char, c_void};
use std::path::PathBuf;

use tractor::SpawnOptions;

use crate::args;
use crate::callbacks::{WorkerCallbacks, WorkerEnded};
use crate::guest::{Guest, in_guest};
use crate::status::{Refused, TRACTOR_GONE, TRACTOR_OK};
use crate::tree::Worker;

/// How a worker is started. Everything it points to is copied, and may go when `tractor_worker_start`
/// has returned; but for `data`.
#[repr(C)]
#[derive(Debug)]
pub struct WorkerOptions {
    /// `sizeof(tractor_worker_options)`.
    pub size: usize,
    /// What the actor is called, for people and in logs.
    pub name: *const c_char,
    /// The program: one whose `main` calls `tractor::run`. A path without a slash is searched for in
    /// `PATH`.
    pub program: *const c_char,
    /// Its arguments, without its name, and then a null pointer; null for none.
    pub args: *const *const c_char,
    /// Which of its namespaces may be called, and then a null pointer: `api` covers the endpoint
    /// `api:echo`, and `api::more:echo`. Null for none, which is of no use.
    pub expose: *const *const c_char,
    /// Is called when it has ended, if it is not null.
    pub ended: WorkerEnded,
    /// Is given to the callback. The host's, and not looked at.
    pub data: *mut c_void,
}

/// Starts a worker: a process, in the turns to come. Contexts may be opened with it at once. It goes on
/// until it is stopped, or the guest is; if it dies, its contexts and it itself are told so, and the
/// guest goes on. Its end is told after those of its contexts, when its process is gone. May be
/// called in a callback.
///
/// `*worker` is then the worker. TRACTOR_INVALID: an option is not what it has to be. TRACTOR_GONE:
/// the guest was stopped. Whatever is wrong with the program is told by `ended` (and by the `ended`
/// of its contexts).
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed; `options` is null, or points to
/// what its fields say, its lists to text that ends with a zero; its callback may be called with
/// `data` on this thread until it has been; `worker` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_worker_start(
    guest: *mut Guest,
    options: *const WorkerOptions,
    worker: *mut u64,
) -> i32 {
    let work = |tree: &std::rc::Rc<crate::tree::Tree>| {
        if worker.is_null() {
            return Err(Refused::invalid(
                "where to put the worker is a null pointer",
            ));
        }
        // SAFETY: as this function's.
        let (name, options, callbacks) = unsafe { read(options) }?;
        if tree.is_stopping() {
            return Err(Refused::new(TRACTOR_GONE, "the guest was stopped"));
        }
        let id = tree.add_worker(|id| Worker::new(id, name, options, callbacks));
        // SAFETY: it is not null, and as this function's.
        unsafe { worker.write(id) };
        Ok(TRACTOR_OK)
    };
    // SAFETY: as this function's.
    unsafe { in_guest(guest, work) }
}

/// Has a worker end in order, in the turns to come: its contexts are cancelled, and when they have
/// ended it is asked to end; 1.6 s later it gets SIGTERM, and 0.5 s after that SIGKILL. One that is
/// not up yet is ended at once. Again has no effect. May be called in a callback.
///
/// TRACTOR_GONE: it has ended.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_worker_stop(guest: *mut Guest, worker: u64) -> i32 {
    // SAFETY: as this function's.
    unsafe {
        in_guest(guest, |tree| {
            tree.worker(worker)?.stop();
            Ok(TRACTOR_OK)
        })
    }
}

/// # Safety
///
/// That of `tractor_worker_start`.
unsafe fn read(
    options: *const WorkerOptions,
) -> Result<(String, SpawnOptions, WorkerCallbacks), Refused> {
    if options.is_null() {
        return Err(Refused::invalid("the options are a null pointer"));
    }
    // SAFETY: they are not null, and begin with their size, whatever it is.
    let size = unsafe { (&raw const (*options).size).read() };
    if size != size_of::<WorkerOptions>() {
        return Err(Refused::invalid("the options are of another size"));
    }
    // SAFETY: they are not null, and of this size.
    let options = unsafe { &*options };
    // SAFETY: as this function's.
    let (name, program) = unsafe {
        (
            args::text("the name", options.name)?,
            args::os_text("the program", options.program)?,
        )
    };
    // SAFETY: as this function's.
    let (given, exposed) = unsafe { (args::list(options.args), args::list(options.expose)) };
    let mut arguments = Vec::new();
    for argument in given {
        // SAFETY: as this function's.
        arguments.push(unsafe { args::os_text("an argument", argument) }?);
    }
    let mut spawn = SpawnOptions::new().program(PathBuf::from(program), arguments);
    for module in exposed {
        // SAFETY: as this function's.
        spawn = spawn.enable_module(unsafe { args::text("a namespace", module) }?);
    }
    let callbacks = WorkerCallbacks {
        ended: options.ended,
        data: options.data,
    };
    Ok((name, spawn, callbacks))
}
