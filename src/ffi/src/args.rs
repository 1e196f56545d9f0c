//! What the host points to.

use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;

use tractor::Raw;

use crate::status::Refused;

/// A text.
///
/// # Safety
///
/// `text` is null, or points to a text that ends with a zero and stays until this returns.
pub(crate) unsafe fn text(what: &str, text: *const c_char) -> Result<String, Refused> {
    // SAFETY: as this function's.
    let bytes = unsafe { c_str(what, text) }?.to_bytes();
    String::from_utf8(bytes.to_vec()).map_err(|_| Refused::invalid(format!("{what} is not UTF-8")))
}

/// A path or an argument of a program, which may be any bytes.
///
/// # Safety
///
/// That of [`text`].
pub(crate) unsafe fn os_text(what: &str, text: *const c_char) -> Result<OsString, Refused> {
    // SAFETY: as this function's.
    let bytes = unsafe { c_str(what, text) }?.to_bytes();
    Ok(std::ffi::OsStr::from_bytes(bytes).to_owned())
}

/// What is in a list that ends with a null pointer. None at all is an empty one.
///
/// # Safety
///
/// `list` is null, or points to pointers of which the last, and no other, is null.
pub(crate) unsafe fn list(list: *const *const c_char) -> Vec<*const c_char> {
    let mut items = Vec::new();
    if list.is_null() {
        return items;
    }
    loop {
        // SAFETY: the list goes on for as long as no null pointer was found in it.
        let item = unsafe { *list.add(items.len()) };
        if item.is_null() {
            return items;
        }
        items.push(item);
    }
}

/// One value.
///
/// # Safety
///
/// `bytes` is null, or points to so many bytes that stay until this returns.
pub(crate) unsafe fn value(what: &str, bytes: *const u8, len: usize) -> Result<Raw, Refused> {
    if bytes.is_null() {
        return Err(Refused::invalid(format!("{what} is a null pointer")));
    }
    if isize::try_from(len).is_err() {
        return Err(Refused::invalid(format!("{what} is larger than can be")));
    }
    // SAFETY: it is not null, and as this function's.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, len) };
    Raw::from_msgpack(bytes).map_err(|error| Refused::invalid(format!("{what}: {error}")))
}

/// # Safety
///
/// That of [`text`].
unsafe fn c_str<'a>(what: &str, text: *const c_char) -> Result<&'a CStr, Refused> {
    if text.is_null() {
        return Err(Refused::invalid(format!("{what} is a null pointer")));
    }
    // SAFETY: it is not null, and as this function's.
    Ok(unsafe { CStr::from_ptr(text) })
}
