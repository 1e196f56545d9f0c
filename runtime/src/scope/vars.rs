//! Values that belong to a part of the tree of tasks, or to a whole runtime.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::frame::Link;
use crate::executor::{Here, current, try_current};

/// A variable that has a value in a part of the tree of tasks: where it was given one, and in
/// everything inside of that.
///
/// A child of a nursery has the value of the place where the nursery was opened, and not of the
/// place where it was started: as with cancellation. (So a child that
/// [`start`](crate::Nursery::start) waits for has the caller's until it has started.)
///
/// ```
/// use tractor_runtime::{TreeVar, nursery, run};
///
/// static USER: TreeVar<&str> = TreeVar::new();
///
/// run(async || {
///     assert_eq!(USER.value(), None);
///     let work = nursery(async |n| {
///         n.start_soon(async { Ok(assert_eq!(USER.value(), Some("ann"))) });
///         Ok(())
///     });
///     USER.scope("ann", work).await
/// })
/// # .unwrap();
/// ```
pub struct TreeVar<T: 'static> {
    key: Key<T>,
}

impl<T: 'static> TreeVar<T> {
    /// A variable that has no value anywhere.
    #[expect(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self { key: Key::new() }
    }

    /// Runs `work` with this value. Not a checkpoint, and no scope that could be cancelled.
    #[track_caller]
    pub fn scope<F: Future>(&'static self, value: T, work: F) -> TreeVarScope<F> {
        TreeVarScope {
            work: Some(work),
            link: None,
            key: self.key.address(),
            value: Rc::new(value),
            location: Location::caller(),
        }
    }

    /// Calls `f` with the value that this code sees; `None` if there is none, or no runtime.
    pub fn with<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let address = self.key.address();
        let value =
            try_current().and_then(|core| core.tree(|tree| tree.bound(Here::node(), address)));
        // A value of another type cannot be there: the key is this variable's own.
        f(value.as_deref().and_then(|value| value.downcast_ref()))
    }

    /// A clone of the value that this code sees; `None` if there is none, or no runtime.
    pub fn value(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }
}

impl<T> fmt::Debug for TreeVar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeVar").finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`TreeVar::scope`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct TreeVarScope<F> {
        // The work goes first, and the value last: it is dropped when nothing of the runtime is
        // borrowed, and nobody sees it any more.
        #[pin]
        work: Option<F>,
        link: Option<Link>,
        key: usize,
        value: Rc<dyn Any>,
        location: &'static Location<'static>,
    }
}

impl<F: Future> Future for TreeVarScope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if this.link.is_none() && !Here::may_begin(cx) {
            return Poll::Pending;
        }
        let link = this.link.get_or_insert_with(|| {
            let link = Link::open(current(), this.location);
            let bound = (*this.key, this.value.clone());
            link.core.tree_mut(|tree| tree.bind(link.node, bound));
            link
        });
        link.follow();
        let cancelled = link.core.tree(|tree| tree.is_effective(link.node));
        let work = this.work.as_mut().as_pin_mut();
        let work = work.expect("the scope of a variable was polled after it was done");
        let polled = {
            let _visit = Here::visit_scope(link.node, cancelled);
            work.poll(cx)
        };
        if polled.is_ready() {
            this.work.set(None);
            *this.link = None;
        }
        polled
    }
}

/// A variable that each runtime has a value of its own of.
///
/// ```
/// use tractor_runtime::{RunVar, run};
///
/// static REQUESTS: RunVar<u32> = RunVar::new();
///
/// run(async || {
///     assert_eq!(REQUESTS.set(1), None);
///     assert_eq!(REQUESTS.value(), Some(1));
///     Ok(())
/// })
/// # .unwrap();
/// run(async || Ok(assert_eq!(REQUESTS.value(), None)))
/// # .unwrap();
/// ```
pub struct RunVar<T: 'static> {
    key: Key<T>,
}

impl<T: 'static> RunVar<T> {
    /// A variable that has no value in any runtime.
    #[expect(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self { key: Key::new() }
    }

    /// A clone of the value in the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn value(&'static self) -> Option<T>
    where
        T: Clone,
    {
        let core = current();
        let value = core.vars.borrow().get(&self.key.address()).cloned();
        value.and_then(|value| value.downcast_ref().cloned())
    }

    /// Sets the value in the current runtime, and gives the one before.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn set(&'static self, value: T) -> Option<T>
    where
        T: Clone,
    {
        self.replace(Some(value))
    }

    /// Sets the value in the current runtime, or takes it away, and gives the one before.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn replace(&'static self, value: Option<T>) -> Option<T>
    where
        T: Clone,
    {
        let core = current();
        let before = {
            let mut vars = core.vars.borrow_mut();
            match value {
                Some(value) => vars.insert(self.key.address(), Rc::new(value)),
                None => vars.remove(&self.key.address()),
            }
        };
        before.and_then(|value| value.downcast_ref().cloned())
    }
}

impl<T> fmt::Debug for RunVar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunVar").finish_non_exhaustive()
    }
}

/// Tells variables apart by where they are: so it must have a size.
struct Key<T> {
    _place: u8,
    value: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    const fn new() -> Self {
        Self {
            _place: 0,
            value: PhantomData,
        }
    }

    fn address(&'static self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}
