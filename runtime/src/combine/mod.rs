//! Several futures at once, as tasks of a nursery: the first, all, or each by itself.

mod gather;
mod race;
mod token;

pub use gather::{gather, gather_limited, join_all};
pub use race::{Competitors, First, NoCompetitors, first_ok, race, wait_any};
pub use token::{CancelToken, Linked};
