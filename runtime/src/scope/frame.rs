//! The future under every scope: makes the scope current while it polls what is inside, and drops
//! what is still pending when it had its chance to see a cancellation.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::tree::{MayDrop, NodeId};
use crate::cause::Cancelled;
use crate::executor::{Core, Foreign, Here, current, watch};

pin_project! {
    #[derive(Debug)]
    pub(crate) struct Frame<F> {
        #[pin]
        inner: Option<F>,
        link: Option<Link>,
    }
}

/// The node of a frame or a nursery in the tree, taken out when dropped.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) core: Rc<Core>,
    pub(crate) node: NodeId,
    /// The scope under which it was polled last.
    parent: NodeId,
    foreign: Option<Foreign>,
}

impl<F: Future> Frame<F> {
    pub(crate) fn new(inner: F) -> Self {
        Self {
            inner: Some(inner),
            link: None,
        }
    }

    /// Polls what is inside as code of this scope. `open` makes the node at the first poll.
    ///
    /// `Ready(Err)` if the frame was cancelled before this poll began, and what is inside is
    /// still pending and held by nothing: then it has been dropped.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        open: impl FnOnce() -> Link,
    ) -> Poll<Result<F::Output, Cancelled>> {
        let mut this = self.project();
        if this.link.is_none() && !Here::may_begin(cx) {
            return Poll::Pending;
        }
        let link = this.link.get_or_insert_with(open);
        link.follow();
        let inner = this.inner.as_mut().as_pin_mut();
        let inner = inner.expect("a scope was polled after it was done");
        let Link {
            core,
            node,
            foreign,
            ..
        } = link;
        let node = *node;
        let cancelled = core.tree(|tree| tree.is_effective(node));
        let polled = {
            let _visit = Here::visit_scope(node, cancelled);
            let polled = inner.poll(cx);
            if polled.is_pending() {
                watch(foreign, cx);
            }
            polled
        };
        match polled {
            Poll::Ready(value) => {
                this.inner.set(None);
                Poll::Ready(Ok(value))
            }
            Poll::Pending if !cancelled => Poll::Pending,
            Poll::Pending => match core.may_drop(node) {
                MayDrop::Yes => {
                    this.inner.set(None);
                    Poll::Ready(Err(core.cancelled_at(node)))
                }
                MayDrop::NextBatch => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                MayDrop::Held => Poll::Pending,
            },
        }
    }
}

impl<F> Frame<F> {
    /// The node, while the frame is in the tree.
    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Takes the node out of the tree.
    pub(crate) fn close(self: Pin<&mut Self>) {
        *self.project().link = None;
    }
}

impl Link {
    /// Puts a new node under the current scope.
    pub(crate) fn open(core: Rc<Core>, location: &'static std::panic::Location<'static>) -> Self {
        let parent = Here::node();
        let above = (parent != NodeId::NONE).then_some(parent);
        let node = core.tree_mut(|tree| tree.insert(above, None, location));
        Self {
            core,
            node,
            parent,
            foreign: None,
        }
    }

    /// Moves the node under the current scope, if that is another one than before.
    ///
    /// # Panics
    ///
    /// Outside of the runtime that the node is in: another one's tree would take it for some node
    /// of its own.
    #[inline]
    pub(crate) fn follow(&mut self) {
        assert!(
            Here::executor() == Some(self.core.id()),
            "a scope or nursery was polled outside of the tractor runtime that it was begun in"
        );
        let parent = Here::node();
        if parent != self.parent {
            self.parent = parent;
            self.core
                .change(|tree, woken| tree.reparent(self.node, Some(parent), woken));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.foreign = None;
        self.core.remove_node(self.node);
    }
}

/// Keeps the frames around from being dropped by a cancellation, while an operation has to finish
/// all the same.
#[derive(Debug)]
pub(crate) struct Hold {
    core: Rc<Core>,
    node: NodeId,
}

impl Hold {
    /// Holds the frames of the current task from the current scope outwards.
    pub(crate) fn here(core: Rc<Core>) -> Self {
        let node = Here::node();
        core.tree_mut(|tree| tree.hold(node));
        Self { core, node }
    }

    /// Holds the frames of whoever polls now.
    #[inline]
    pub(crate) fn follow(&mut self) {
        if Here::executor().is_some_and(|executor| executor != self.core.id()) {
            // It was carried to another runtime, whose nodes are none of this one's tree.
            *self = Self::here(current());
        }
        let node = Here::node();
        if node != self.node {
            self.core.tree_mut(|tree| {
                tree.release(self.node);
                tree.hold(node);
            });
            self.node = node;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.core.tree_mut(|tree| tree.release(self.node));
    }
}
