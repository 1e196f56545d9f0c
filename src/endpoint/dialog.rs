use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::Raw;

/// What the two sides of a context say to each other: one type for each direction of its stream,
/// and one for the value that the child starts with.
///
/// The type that implements it is only a name for the three. Values of other types do not compile:
///
/// ```compile_fail,E0308
/// use tractor::{Context, Dialog, Result};
///
/// struct Greeting;
/// impl Dialog for Greeting {
///     type Started = String;
///     type ToChild = ();
///     type ToParent = ();
/// }
///
/// async fn greet(ctx: &mut Context<Greeting>, (): ()) -> Result<()> {
///     ctx.started(10).await
/// }
/// ```
pub trait Dialog: 'static {
    /// What the child hands over with [`started`](crate::Context::started).
    type Started: Serialize + DeserializeOwned + 'static;
    /// What the stream carries from the parent, which opened the context, to the child.
    type ToChild: Serialize + DeserializeOwned + 'static;
    /// What the stream carries from the child to the parent.
    type ToParent: Serialize + DeserializeOwned + 'static;
}

/// The dialog of a program that does not know the types: see [`Raw`].
impl Dialog for Raw {
    type Started = Self;
    type ToChild = Self;
    type ToParent = Self;
}
