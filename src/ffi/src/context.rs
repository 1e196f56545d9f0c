use std::ffi::{c_char, c_void};
use std::rc::Rc;

use tractor::Raw;

use crate::args;
use crate::callbacks::{ContextCallbacks, ContextEnded, RoomMade, ValueCame};
use crate::guest::{Guest, in_guest};
use crate::status::{Refused, TRACTOR_CLOSED, TRACTOR_FULL, TRACTOR_GONE, TRACTOR_OK};
use crate::tree::{Dialog, NotSent, Tree};

/// How a context is opened. Everything it points to is copied, and may go when `tractor_context_open`
/// has returned; but for `data`.
#[repr(C)]
#[derive(Debug)]
pub struct ContextOptions {
    /// `sizeof(tractor_context_options)`.
    pub size: usize,
    /// The endpoint, `namespace:function`, as the worker's program names it.
    pub endpoint: *const c_char,
    /// Its arguments, one value of MessagePack: a map gives them by name. Null for none.
    pub args: *const u8,
    /// How many bytes they have.
    pub args_len: usize,
    /// Is called with the value that the endpoint started with, if it is not null.
    pub started: ValueCame,
    /// Is called with each item of the stream, if it is not null.
    pub item: ValueCame,
    /// Is called when there is room for items after TRACTOR_FULL, if it is not null.
    pub room: RoomMade,
    /// Is called when the context has ended, if it is not null.
    pub ended: ContextEnded,
    /// Is given to the callbacks. The host's, and not looked at.
    pub data: *mut c_void,
}

/// Opens a context with an endpoint of a worker, in the turns to come: when the worker is up. Its
/// first value comes by `started`, then its items by `item`, and its end by `ended`, whether it
/// returned, failed or was cancelled, and also if it was not there. May be called in a callback.
///
/// `*context` is then the context. TRACTOR_INVALID: an option is not what it has to be.
/// TRACTOR_GONE: the worker has ended, or is about to.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed; `options` is null, or points to
/// what its fields say; its callbacks may be called with `data` on this thread until `ended` has
/// been; `context` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_context_open(
    guest: *mut Guest,
    worker: u64,
    options: *const ContextOptions,
    context: *mut u64,
) -> i32 {
    let work = |tree: &Rc<Tree>| {
        if context.is_null() {
            return Err(Refused::invalid(
                "where to put the context is a null pointer",
            ));
        }
        // SAFETY: as this function's.
        let (endpoint, args, callbacks) = unsafe { read(options) }?;
        let worker = tree.worker(worker)?;
        if worker.is_stopping() {
            return Err(Refused::new(TRACTOR_GONE, "the worker is about to end"));
        }
        let id = tree.add_dialog(|id| Dialog::new(id, worker, endpoint, args, callbacks));
        // SAFETY: it is not null, and as this function's.
        unsafe { context.write(id) };
        Ok(TRACTOR_OK)
    };
    // SAFETY: as this function's.
    unsafe { in_guest(guest, work) }
}

/// Sends an item, one value of MessagePack, which is copied. It is on its way in the turns to come, and
/// after all that was sent before; what was sent before the endpoint has started waits for that. May
/// be called in a callback.
///
/// TRACTOR_FULL: 64 items wait already, for the worker does not take them; `room` will be called when
/// there is room again. TRACTOR_CLOSED: this side has closed the stream, or the other side has, or
/// the endpoint has ended. TRACTOR_GONE: the end was told. TRACTOR_INVALID. In none of these cases
/// was anything sent. An item larger than a frame may be, 16 MiB, or one that nests more than 64 deep, is
/// the end of the context.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed; `item` is null, or points to
/// `item_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_context_send(
    guest: *mut Guest,
    context: u64,
    item: *const u8,
    item_len: usize,
) -> i32 {
    let work = |tree: &Rc<Tree>| {
        let dialog = tree.dialog(context)?;
        // SAFETY: as this function's.
        let item = unsafe { args::value("the item", item, item_len) }?;
        dialog.send(item).map_err(|not_sent| match not_sent {
            NotSent::NoRoom => Refused::new(TRACTOR_FULL, "64 items wait to be sent already"),
            NotSent::Closed => Refused::new(TRACTOR_CLOSED, "the stream is closed"),
        })?;
        Ok(TRACTOR_OK)
    };
    // SAFETY: as this function's.
    unsafe { in_guest(guest, work) }
}

/// Closes this side's end of the stream, when what was sent before is on its way: the endpoint is told
/// that no more comes, and no item is received any more. The context goes on until the endpoint
/// ends. Again has no effect. May be called in a callback.
///
/// TRACTOR_GONE: the end was told.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_context_close(guest: *mut Guest, context: u64) -> i32 {
    // SAFETY: as this function's.
    unsafe { with_dialog(guest, context, Dialog::close) }
}

/// Calls `item` no more, until `tractor_context_resume`: the worker is made to wait when it has sent 64
/// items more. The end is told all the same, and what has not been received by then is lost, if the
/// endpoint fails or is cancelled; one that returns is heard of after its items. Again has no effect.
/// May be called in a callback, which is then the last one.
///
/// TRACTOR_GONE: the end was told.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_context_pause(guest: *mut Guest, context: u64) -> i32 {
    // SAFETY: as this function's.
    unsafe { with_dialog(guest, context, |dialog| dialog.pause(true)) }
}

/// Calls `item` again, in the turns to come. Again has no effect. May be called in a callback.
///
/// TRACTOR_GONE: the end was told.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_context_resume(guest: *mut Guest, context: u64) -> i32 {
    // SAFETY: as this function's.
    unsafe { with_dialog(guest, context, |dialog| dialog.pause(false)) }
}

/// Cancels a context: the endpoint in the worker is cancelled, in the turns to come, and this guest is
/// named to it as who asked. No `started`, `item` or `room` is called for it any more, and `ended`
/// once: when the endpoint has answered, or 616 ms are over, or the time is for which the endpoint said
/// that it is shielded. A result that was on its way wins: TRACTOR_RETURNED, or TRACTOR_FAILED. Again
/// has no effect. May be called in a callback.
///
/// TRACTOR_GONE: the end was told.
///
/// # Safety
///
/// `guest` is null, or was made by `tractor_guest_new` and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tractor_context_cancel(guest: *mut Guest, context: u64) -> i32 {
    // SAFETY: as this function's.
    unsafe { with_dialog(guest, context, Dialog::cancel) }
}

/// # Safety
///
/// That of [`in_guest`].
unsafe fn with_dialog(guest: *mut Guest, context: u64, what: impl FnOnce(&Dialog)) -> i32 {
    // SAFETY: as this function's.
    unsafe {
        in_guest(guest, |tree| {
            what(&*tree.dialog(context)?);
            Ok(TRACTOR_OK)
        })
    }
}

/// # Safety
///
/// That of `tractor_context_open`.
unsafe fn read(options: *const ContextOptions) -> Result<(String, Raw, ContextCallbacks), Refused> {
    if options.is_null() {
        return Err(Refused::invalid("the options are a null pointer"));
    }
    // SAFETY: they are not null, and begin with their size, whatever it is.
    let size = unsafe { (&raw const (*options).size).read() };
    if size != size_of::<ContextOptions>() {
        return Err(Refused::invalid("the options are of another size"));
    }
    // SAFETY: they are not null, and of this size.
    let options = unsafe { &*options };
    // SAFETY: as this function's.
    let endpoint = unsafe { args::text("the endpoint", options.endpoint) }?;
    let args = if options.args.is_null() {
        Raw::nil()
    } else {
        // SAFETY: as this function's.
        unsafe { args::value("the arguments", options.args, options.args_len) }?
    };
    let callbacks = ContextCallbacks {
        started: options.started,
        item: options.item,
        room: options.room,
        ended: options.ended,
        data: options.data,
    };
    Ok((endpoint, args, callbacks))
}
