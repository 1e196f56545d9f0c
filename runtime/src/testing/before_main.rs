//! Hooks that run before `main`, for tests that start processes.
//!
//! A test runner's `main` is not the program's own, so a process that a test starts (the same
//! program again) cannot enter its role there. It does so here instead. Programs do not need this:
//! in a static constructor those of C++ may not have run yet, `SIGPIPE` has its default action, and
//! no panic may leave it.
//!
//! # Invariants
//!
//! * [`INIT`] has the type that the loader calls entries of the section with: a C function, whose
//!   arguments it may ignore.
//! * [`run_hooks`] returns normally or ends the process; it never unwinds into the loader.

use std::panic::catch_unwind;

/// What to run before `main`, in no particular order.
#[linkme::distributed_slice]
pub static BEFORE_MAIN: [fn()];

// SAFETY: the loader calls what stands in this section as `extern "C" fn()`, which INIT is (this
// module's first invariant).
#[used]
#[cfg_attr(
    any(target_os = "linux", target_os = "android", target_os = "freebsd"),
    unsafe(link_section = ".init_array")
)]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
static INIT: extern "C" fn() = run_hooks;

extern "C" fn run_hooks() {
    for hook in BEFORE_MAIN {
        if catch_unwind(hook).is_err() {
            std::process::abort();
        }
    }
}
