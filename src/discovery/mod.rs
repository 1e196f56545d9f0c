//! Finding actors by their names.
//!
//! A *registrar* is an actor that others tell where they listen, and ask where others do. A
//! program is told the addresses of its registrars: whoever starts first becomes one there, and
//! those that come later join it, with all the actors that they start.

mod answers;
mod boot;
mod find;
mod membership;
mod probe;
mod registrar;

pub use boot::be_registrar;
pub(crate) use boot::{Plan, Role, brief, own_places, settle};
pub use find::{
    find_actor, find_root, parent, query_actor, registrar, stop_listening, wait_for_actor,
};
pub(crate) use membership::{Entries, Membership};
pub use registrar::Registrar;
