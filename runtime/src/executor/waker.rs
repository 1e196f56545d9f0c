//! Wakers that are integers.
//!
//! A waker's data pointer is no pointer: it is a [`Key`], packed. So a clone is a copy, a drop is
//! nothing, and a waker may be used on any thread at any time, also after its runtime is gone:
//! a key that names no living slot is ignored.
//!
//! # Invariants
//!
//! * Only this module makes wakers with [`VTABLE`], and their data is always `Key::pack`'s.
//! * Nothing ever dereferences the data.
//! * Every function of the table is safe to call with any data at all, from any thread.

use std::num::NonZeroU64;
use std::ptr;
use std::sync::{Mutex, OnceLock};
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::remote::Mailbox;

/// Names a slot of a runtime. Slots are reused; the generation tells the users apart (a wake by
/// a waker of the 16,777,216th user before would be spurious, which is allowed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(
    /// From the top: the executor's number plus one (so that this is never zero), the generation,
    /// the index.
    NonZeroU64,
);

const INDEX_BITS: u32 = 24;
const GENERATION_BITS: u32 = 24;
/// How many tasks a runtime can have at a time, and how many uses of slots can be told apart.
pub(crate) const MAX_SLOTS: usize = 1 << INDEX_BITS;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

impl Key {
    #[inline]
    pub(crate) fn new(executor: u16, generation: u32, index: u32) -> Self {
        let executor = (u64::from(executor) + 1) << (INDEX_BITS + GENERATION_BITS);
        let generation = u64::from(generation & GENERATION_MASK) << INDEX_BITS;
        let packed = NonZeroU64::new(executor | generation | u64::from(index));
        Self(packed.expect("the number of an executor is packed as one more"))
    }

    #[inline]
    pub(crate) fn executor(self) -> u16 {
        ((self.0.get() >> (INDEX_BITS + GENERATION_BITS)) as u16).wrapping_sub(1)
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0.get() >> INDEX_BITS) as u32 & GENERATION_MASK
    }

    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.0.get() as u32 & (MAX_SLOTS as u32 - 1)
    }

    #[inline]
    pub(crate) fn waker(self) -> Waker {
        let data = ptr::without_provenance(self.pack() as usize);
        // SAFETY: the functions of VTABLE uphold the contract of RawWaker for any data, as they
        // only copy it or unpack it into a Key (this module's invariants).
        unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
    }

    /// The key in one of our wakers; `None` for anybody else's.
    #[inline]
    pub(crate) fn of(waker: &Waker) -> Option<Self> {
        if waker.vtable() == &VTABLE {
            Self::unpack(waker.data().addr() as u64)
        } else {
            None
        }
    }

    #[inline]
    pub(crate) fn pack(self) -> u64 {
        self.0.get()
    }

    #[inline]
    pub(crate) fn unpack(packed: u64) -> Option<Self> {
        NonZeroU64::new(packed).map(Self)
    }
}

static VTABLE: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &VTABLE), wake, wake, |_| {});

#[inline]
fn wake(data: *const ()) {
    if let Some(key) = Key::unpack(data.addr() as u64)
        && !super::wake_here(key)
        && let Some(mailbox) = mailbox(key.executor())
    {
        mailbox.post(key.pack());
    }
}

/// The place of a runtime among those of the process, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Registration {
    id: u16,
}

impl Registration {
    #[inline]
    pub(crate) fn new() -> Self {
        let id = {
            let mut ids = IDS
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            ids.free.pop().unwrap_or_else(|| {
                let id = ids.used;
                assert!(
                    usize::from(id) < MAILBOXES.len(),
                    "more than {} runtimes at a time in one process",
                    MAILBOXES.len()
                );
                ids.used += 1;
                id
            })
        };
        MAILBOXES[usize::from(id)].get_or_init(Mailbox::new).open();
        Self { id }
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn mailbox(&self) -> &'static Mailbox {
        mailbox(self.id).expect("a registered runtime has a mailbox")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.mailbox().close();
        let mut ids = IDS
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        ids.free.push(self.id);
    }
}

struct Ids {
    free: Vec<u16>,
    used: u16,
}

static IDS: Mutex<Ids> = Mutex::new(Ids {
    free: Vec::new(),
    used: 0,
});

static MAILBOXES: [OnceLock<Mailbox>; 4096] = [const { OnceLock::new() }; 4096];

/// Posts a message to the runtime with this number, from any thread.
pub(crate) fn post(executor: u16, message: u64) {
    if let Some(mailbox) = mailbox(executor) {
        mailbox.post(message);
    }
}

fn mailbox(id: u16) -> Option<&'static Mailbox> {
    MAILBOXES.get(usize::from(id))?.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_packing() {
        let key = Key::new(4095, GENERATION_MASK, MAX_SLOTS as u32 - 1);
        assert_eq!(Key::unpack(key.pack()), Some(key));
        assert_eq!((key.executor(), key.index()), (4095, MAX_SLOTS as u32 - 1));
        assert_eq!(Key::of(&key.waker()), Some(key));
        assert_eq!(Key::of(&key.waker().clone()), Some(key));
    }

    #[test]
    fn a_foreign_waker_has_no_key() {
        assert_eq!(Key::of(Waker::noop()), None);
    }
}
