//! Cancel scopes: the tree, the futures that are scopes, and the handles to them.

mod cancel_scope;
mod checkpoint;
pub(crate) mod deadlines;
mod frame;
mod handle;
mod shield;
mod stopping;
pub(crate) mod tree;
mod vars;

pub use cancel_scope::{
    CancelScope, FailAfter, Outcome, Scoped, TooSlow, fail_after, fail_at, move_on_after,
    move_on_at,
};
pub use checkpoint::{
    Checkpoint, CheckpointIfCancelled, ShieldedCheckpoint, cancel_shielded_checkpoint,
    check_cancelled, checkpoint, checkpoint_if_cancelled, current_effective_deadline,
};
pub use handle::ScopeHandle;
pub use shield::{Cancellable, Shield, ShieldFor, cancellable, finally, shield, shield_for};
pub use stopping::{Stopping, UntilStopping, is_stopping, stopping, until_stopping};
pub use tree::EffectiveDeadline;
pub use vars::{RunVar, TreeVar, TreeVarScope};

pub(crate) use frame::{Hold, Link};
pub(crate) use handle::{Entry, Spec};
