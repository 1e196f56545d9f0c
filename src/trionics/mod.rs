//! What is built of nurseries, portals and contexts time and again.
//!
//! * [`gather_contexts`]: many blocks entered at once, as one.
//! * [`maybe_open_context`]: one resource of an actor, shared by whoever needs it.
//! * [`open_actor_cluster`], [`worker_pool`]: many actors that can do the same.
//! * [`Topic`]: what is published here goes to all that subscribed.
//! * [`on_actor_end`]: what is to be done when the actor ends, however it does.

mod cluster;
mod gather;
mod hold;
mod pool;
mod shared;
mod topic;

pub use crate::actor::on_actor_end;
pub use cluster::{Cluster, open_actor_cluster};
pub use gather::{NoContexts, gather_contexts};
pub use hold::{Hold, NeverHeld};
pub use pool::{WorkerPool, worker_pool};
pub use shared::{ResourceEnded, maybe_open_context};
pub use topic::{Subscription, Topic};
