//! Functions that other actors may call.

mod dialog;
mod handler;
mod table;

pub use dialog::Dialog;
pub(crate) use handler::{Call, Handler, Running, encode_args, path_of};
pub use handler::{ContextKind, Endpoint, OneWayKind, PlainKind};
pub use table::BootError;
pub(crate) use table::{Path, Table};

/// Makes a function callable by other actors.
///
/// ```
/// use tractor::{Context, Dialog, Result};
///
/// async fn double(x: u64) -> Result<u64> {
///     Ok(2 * x)
/// }
/// tractor::endpoint!(double);
///
/// struct Counting;
/// impl Dialog for Counting {
///     type Started = u64;
///     type ToChild = ();
///     type ToParent = u64;
/// }
///
/// async fn count(ctx: &mut Context<Counting>, upto: u64) -> Result<u64> {
///     ctx.started(0).await?;
///     Ok(upto)
/// }
/// tractor::endpoint!(count as "example:count");
/// # fn main() {}
/// ```
///
/// The function is plain: `async fn f(args: A) -> Result<R>`, or, with a [`Dialog`] of its own,
/// `async fn f(ctx: &mut Context<D>, args: A) -> Result<R>`, or it sends items one way:
/// `async fn f(stream: &mut SendStream<T>, args: A) -> Result<()>`. It stands at module level, takes one
/// value and returns one; both are serde types.
///
/// Its name on the wire is its path in the program, `my_app::feeds::quotes`, unless `as
/// "namespace:function"` gives it another, as callers from other programs and generic functions
/// need. Two endpoints with one name are an error when an actor boots.
///
/// That a function is an endpoint does not expose it: an actor runs what
/// [`SpawnOptions::enable`](crate::SpawnOptions::enable) and
/// [`enable_module`](crate::SpawnOptions::enable_module) gave it, and nothing else.
#[macro_export]
macro_rules! endpoint {
    ($function:path) => {
        $crate::__endpoint!($function, ::core::option::Option::None);
    };
    ($function:path as $name:literal) => {
        const _: () = $crate::__private::assert_name($name);
        $crate::__endpoint!($function, ::core::option::Option::Some($name));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __endpoint {
    ($function:path, $name:expr) => {
        const _: () = {
            #[$crate::__private::linkme::distributed_slice($crate::__private::ENDPOINTS)]
            #[linkme(crate = $crate::__private::linkme)]
            static ENTRY: $crate::__private::Entry = $crate::__private::Entry::new(
                || $crate::__private::path_of($function),
                $name,
                || $crate::__private::erase($function),
                ::core::file!(),
                ::core::line!(),
            );
        };
    };
}

#[doc(hidden)]
pub mod __private {
    pub use linkme;

    pub use super::handler::{Handler, erase, path_of};
    pub use super::table::{ENDPOINTS, Entry, assert_name};
}
