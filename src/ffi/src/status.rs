use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// It was done.
pub const TRACTOR_OK: i32 = 0;

/// Of a turn: the guest has stopped, and nothing is left of it. Further turns say so again.
pub const TRACTOR_DONE: i32 = 1;

/// Of a turn: the budget is used up, and there is more to do at once.
pub const TRACTOR_MORE: i32 = 2;

/// Of a turn: nothing is to be done until the descriptor is readable or the next deadline comes.
pub const TRACTOR_IDLE: i32 = 3;

/// An argument is not what it has to be: a null pointer, text that is not UTF-8, a value that is not
/// one value of MessagePack, a struct of another size.
pub const TRACTOR_INVALID: i32 = -1;

/// The guest belongs to another thread.
pub const TRACTOR_WRONG_THREAD: i32 = -2;

/// It was called from inside of a callback, or of a turn, where that cannot be.
pub const TRACTOR_REENTRANT: i32 = -3;

/// The worker or context has ended or never was, or is about to end and takes nothing any more.
pub const TRACTOR_GONE: i32 = -4;

/// There is no room for another item: `room` will be called.
pub const TRACTOR_FULL: i32 = -5;

/// The stream was closed, by either side.
pub const TRACTOR_CLOSED: i32 = -6;

/// The operating system refused.
pub const TRACTOR_SYSTEM: i32 = -7;

/// The library failed inside, in a way that it should not. A guest in whose turn that happens has
/// ended with it: its workers are gone, all ends have been told, and it is to be freed.
pub const TRACTOR_PANIC: i32 = -8;

/// Why a function does not do what it was called for.
#[derive(Debug)]
pub(crate) struct Refused {
    code: i32,
    text: String,
}

impl Refused {
    pub(crate) fn new(code: i32, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, text }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(TRACTOR_INVALID, text)
    }

    pub(crate) fn panic(panic: &(dyn Any + Send)) -> Self {
        let text = (panic.downcast_ref::<&str>().copied())
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::new(TRACTOR_PANIC, text.unwrap_or("a panic without a text"))
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::new(TRACTOR_SYSTEM, error.to_string())
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// What a function of the interface does, with its errors and panics made into a code.
pub(crate) fn answered(work: impl FnOnce() -> Result<i32, Refused>) -> i32 {
    let refused = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(code)) => return code,
        Ok(Err(refused)) => refused,
        Err(panic) => {
            let refused = Refused::panic(&*panic);
            // Its drop may panic too.
            std::mem::forget(panic);
            refused
        }
    };
    // A thread that ends has no place for it any more.
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = c_text(&refused.text));
    refused.code
}

/// The text without what C would take for its end.
pub(crate) fn c_text(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
    CString::new(bytes).unwrap_or_default()
}

/// What the last error of this thread was, as text for people: empty if there was none. It is valid
/// until the next error on this thread. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tractor_last_error() -> *const c_char {
    let last = LAST_ERROR.try_with(|last| last.borrow().as_ptr());
    last.unwrap_or(c"".as_ptr())
}

/// The version of the library, as text that stays. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn tractor_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no zero in it"),
        };
    VERSION.as_ptr()
}
