//! What a process does with a signal is the one thing here that belongs to all of it.
//!
//! It has one disposition a signal, and safe code cannot set one back to what it was. So a handler
//! that was installed once stays, and does what the default would have done whenever nobody here
//! takes the signal.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::flag;

/// What happens to a signal without us.
#[derive(Clone, Debug)]
enum Before {
    /// What it does by default, while the flag is set.
    Default(Arc<AtomicBool>),
    Ignored,
    /// The host has a handler, which is called beside ours.
    Handled,
}

#[derive(Debug)]
struct Hooked {
    before: Before,
    users: usize,
}

static HOOKED: Mutex<Option<HashMap<i32, Hooked>>> = Mutex::new(None);

/// While there is one, the signal does not do what it does by default.
#[derive(Debug)]
pub struct User {
    signal: i32,
    before: Before,
}

impl User {
    /// `None` if the signal is ignored, which then stays so.
    pub fn unless_ignored(signal: i32) -> io::Result<Option<Self>> {
        let hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hooked.as_ref().and_then(|hooked| hooked.get(&signal));
        let is_ignored = match known {
            Some(known) => matches!(known.before, Before::Ignored),
            None => matches!(before(signal), Before::Ignored),
        };
        drop(hooked);
        match is_ignored {
            true => Ok(None),
            false => Self::new(signal).map(Some),
        }
    }

    pub(super) fn new(signal: i32) -> io::Result<Self> {
        let mut hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
        let hooked = match hooked.get_or_insert_default().entry(signal) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => {
                let before = before(signal);
                if let Before::Default(default) = &before {
                    flag::register_conditional_default(signal, default.clone())?;
                }
                slot.insert(Hooked { before, users: 0 })
            }
        };
        hooked.users += 1;
        if let Before::Default(default) = &hooked.before {
            default.store(false, Ordering::SeqCst);
        }
        Ok(Self {
            signal,
            before: hooked.before.clone(),
        })
    }

    /// The flag that gives the signal its default back, also while it is taken.
    pub fn default(&self) -> Option<&Arc<AtomicBool>> {
        match &self.before {
            Before::Default(default) => Some(default),
            Before::Ignored | Before::Handled => None,
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
        let hooked = hooked
            .as_mut()
            .and_then(|hooked| hooked.get_mut(&self.signal));
        let Some(hooked) = hooked else { return };
        hooked.users -= 1;
        if let (0, Before::Default(default)) = (hooked.users, &hooked.before) {
            default.store(true, Ordering::SeqCst);
        }
    }
}

/// Where there is no way to know, it is the default.
fn before(signal: i32) -> Before {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = |field: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(field));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    };
    if has("SigIgn:") {
        Before::Ignored
    } else if has("SigCgt:") {
        Before::Handled
    } else {
        Before::Default(Arc::new(AtomicBool::new(true)))
    }
}
