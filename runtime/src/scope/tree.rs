//! The tree of scopes and its deadlines, as a plain value: no clock, no wakers, no executor.
//! Time and the number of the current batch are passed in; who has to be woken comes out.
//!
//! # What a node says
//!
//! * `effective`: cached; its own scope was cancelled, or an ancestor that no shield hides.
//!   Every operation that may change it brings the whole subtree up to date before it returns.
//! * `task`: the node is the root of a task-like frame (the main future, a child or a body of a
//!   nursery), which is what can be woken. Other nodes are polled by the nearest such ancestor.
//! * `held`: how many holds are in force on the node itself, plus one for each child node of the
//!   same task that is shielded, `holding` or held. A frame that is held is not dropped when it
//!   is cancelled.
//! * `foreign`: the same count for leaves that registered a waker which is not the task's own.
//! * `stopping`: cached like `effective`; its own scope was asked to stop, or an ancestor that no
//!   shield hides. A cancellation is none: whoever wants to know both asks for both.
//!
//! Nothing here recurses: trees may be as deep as memory allows.

use std::any::Any;
use std::rc::Rc;

use super::deadlines::{DeadlineId, Deadlines};
use crate::cause::{CancelCause, CancelKind};
use crate::executor::Operation;
use crate::time::Instant;

/// A node that may be gone by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeId {
    index: u32,
    generation: u32,
}

impl NodeId {
    pub(crate) const NONE: Self = Self {
        index: NIL,
        generation: 0,
    };
}

const NIL: u32 = u32::MAX;

/// What has to be woken after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken<K> {
    /// This task.
    Task(K),
    /// The wakers that leaves registered with this node.
    Foreign(NodeId),
}

#[derive(Debug)]
pub(crate) struct Tree<K, W> {
    /// Those that are not in use are chained by `next`, from `free` on. Each use of one has a
    /// generation of its own.
    nodes: Vec<Node<K>>,
    free: u32,
    deadlines: Deadlines<Target<W>>,
    /// The number of the batch that runs, kept in nodes that are spared in it.
    batch: u64,
    /// How often a node became cancelled, or ceased to be.
    changes: u64,
    work: Vec<u32>,
    /// The cancellations since they were taken last, if somebody wants to know.
    cancels: Option<Vec<Cancel>>,
}

/// A scope that was cancelled, by the place where it was made.
pub(crate) type Cancel = (CancelCause, &'static std::panic::Location<'static>);

#[derive(Debug)]
struct Node<K> {
    generation: u32,
    parent: u32,
    first_child: u32,
    last_child: u32,
    previous: u32,
    next: u32,
    held: u32,
    foreign: u32,
    task: Option<K>,
    cancel_called: bool,
    effective: bool,
    stopping: bool,
    shield: bool,
    holding: bool,
    /// Shared by the nodes that one cancellation reached: they are many, and the count of a
    /// `CancelCause` is for all threads.
    cause: Option<Rc<CancelCause>>,
    deadline: Option<Instant>,
    armed: Option<DeadlineId>,
    /// In which operation a task waits that was polled and is pending.
    operation: Option<Operation>,
    /// Where the scope was made: the place that a deadline's cause names.
    location: &'static std::panic::Location<'static>,
    /// What few scopes have.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// The batch in which it was first polled as cancelled and could not be dropped for the sake
    /// of leaves that are not woken by its task.
    spared_in: Option<u64>,
    /// When the shield falls by itself.
    shield_until: Option<Instant>,
    /// When the grace of a soft cancel ends, and the scope is cancelled for this cause.
    grace: Option<(Instant, CancelCause)>,
    /// The variable that has a value here. Whoever bound it keeps the value too, so that it is not
    /// dropped in here.
    bound: Option<(usize, Rc<dyn Any>)>,
}

#[derive(Debug)]
enum Target<W> {
    Node(u32),
    Timer(W),
}

/// When the current scope ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectiveDeadline {
    /// No deadline applies.
    None,
    /// The earliest deadline that no shield hides.
    At(Instant),
    /// The scope is cancelled already: the next checkpoint says so.
    Cancelled,
}

impl<K: Copy, W> Tree<K, W> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: NIL,
            deadlines: Deadlines::new(),
            batch: 0,
            changes: 0,
            work: Vec::new(),
            cancels: None,
        }
    }

    #[inline]
    pub(crate) fn insert(
        &mut self,
        parent: Option<NodeId>,
        task: Option<K>,
        location: &'static std::panic::Location<'static>,
    ) -> NodeId {
        let parent = parent.map_or(NIL, |id| self.live(id).expect("the parent is alive"));
        let (effective, stopping, cause, previous) = match self.nodes.get(parent as usize) {
            Some(above) => {
                let cause = above.cause.as_ref().filter(|_| above.effective);
                let cause = cause.cloned();
                (above.effective, above.stopping, cause, above.last_child)
            }
            None => (false, false, None, NIL),
        };
        let new = Node {
            generation: 0,
            parent,
            first_child: NIL,
            last_child: NIL,
            previous,
            next: NIL,
            held: 0,
            foreign: 0,
            task,
            cancel_called: false,
            effective,
            stopping,
            shield: false,
            holding: false,
            cause,
            deadline: None,
            armed: None,
            operation: None,
            location,
            rare: None,
        };
        let (index, generation) = match self.nodes.get_mut(self.free as usize) {
            Some(node) => {
                let index = std::mem::replace(&mut self.free, node.next);
                let generation = node.generation;
                *node = Node { generation, ..new };
                (index, generation)
            }
            None => {
                self.nodes.push(new);
                (self.nodes.len() as u32 - 1, 0)
            }
        };
        // Nothing is held in a new node, so there is nothing to tally.
        if parent != NIL {
            self.append(index, parent, previous);
        }
        NodeId { index, generation }
    }

    /// Takes a node out. Nodes that are still below it move up to its parent.
    pub(crate) fn remove(&mut self, id: NodeId, woken: &mut Vec<Woken<K>>) {
        let Some(index) = self.live(id) else { return };
        let parent = self.node(index).parent;
        while self.node(index).first_child != NIL {
            let child = self.node(index).first_child;
            self.move_under(child, parent, woken);
        }
        self.remove_at(index);
    }

    /// Takes a node out if nothing is below it, which concerns nobody else.
    #[inline]
    pub(crate) fn remove_childless(&mut self, id: NodeId) -> bool {
        let Some(index) = self.live(id) else {
            return true;
        };
        if self.node(index).first_child != NIL {
            return false;
        }
        self.remove_at(index);
        true
    }

    /// Moves a node with everything below it.
    pub(crate) fn reparent(
        &mut self,
        id: NodeId,
        parent: Option<NodeId>,
        woken: &mut Vec<Woken<K>>,
    ) {
        let Some(index) = self.live(id) else { return };
        let parent = parent.map_or(NIL, |id| self.live(id).unwrap_or(NIL));
        if self.node(index).parent != parent {
            debug_assert!(!self.is_below(parent, index), "a node moved below itself");
            self.move_under(index, parent, woken);
        }
    }

    /// Cancels the scope. The first cause that reached it is kept.
    pub(crate) fn cancel(&mut self, id: NodeId, cause: &CancelCause, woken: &mut Vec<Woken<K>>) {
        let Some(index) = self.live(id) else { return };
        self.cancel_at(index, || Rc::new(cause.clone()), woken);
    }

    pub(crate) fn set_shield(&mut self, id: NodeId, shield: bool, woken: &mut Vec<Woken<K>>) {
        let Some(index) = self.live(id) else { return };
        self.clear_shield_until(index);
        self.shield_at(index, shield, woken);
        self.arm(index);
    }

    /// Shields a node that was just entered: what is cancelled outside of it never reached it.
    pub(crate) fn enter_shielded(&mut self, id: NodeId, woken: &mut Vec<Woken<K>>) {
        let Some(index) = self.live(id) else { return };
        self.node_mut(index).cause = None;
        self.shield_at(index, true, woken);
    }

    /// Shields until `until`; from then on the scope is an ordinary one.
    pub(crate) fn shield_until(&mut self, id: NodeId, until: Instant, woken: &mut Vec<Woken<K>>) {
        let Some(index) = self.live(id) else { return };
        self.node_mut(index).rare_mut().shield_until = Some(until);
        self.shield_at(index, true, woken);
        self.arm(index);
    }

    pub(crate) fn set_deadline(&mut self, id: NodeId, deadline: Option<Instant>) {
        let Some(index) = self.live(id) else { return };
        self.node_mut(index).deadline = deadline;
        self.arm(index);
    }

    /// Asks the scope to stop by `until`, when it is cancelled. An earlier end is kept, and so is
    /// the first cause.
    pub(crate) fn stop(
        &mut self,
        id: NodeId,
        until: Instant,
        cause: &CancelCause,
        woken: &mut Vec<Woken<K>>,
    ) {
        let Some(index) = self.live(id) else { return };
        match &mut self.node_mut(index).rare_mut().grace {
            Some((end, _)) => *end = until.min(*end),
            none => *none = Some((until, cause.clone())),
        }
        self.arm(index);
        self.update(index, woken);
    }

    /// Gives a variable a value, in this node and what is below it.
    pub(crate) fn bind(&mut self, id: NodeId, bound: (usize, Rc<dyn Any>)) {
        let Some(index) = self.live(id) else { return };
        self.node_mut(index).rare_mut().bound = Some(bound);
    }

    /// The value of a variable: of the nearest node above that has one.
    pub(crate) fn bound(&self, id: NodeId, variable: usize) -> Option<Rc<dyn Any>> {
        let mut index = self.live(id)?;
        loop {
            let node = self.nodes.get(index as usize)?;
            let bound = node.rare.as_ref().and_then(|rare| rare.bound.as_ref());
            match bound {
                Some((key, value)) if *key == variable => return Some(value.clone()),
                _ => index = node.parent,
            }
        }
    }

    /// Takes what is due: cancels scopes, drops shields, and hands out timers.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        woken: &mut Vec<Woken<K>>,
        mut fired: impl FnMut(W),
    ) -> bool {
        let mut any = false;
        while let Some((_, target)) = self.deadlines.pop_due(now) {
            any = true;
            match target {
                Target::Timer(timer) => fired(timer),
                Target::Node(index) => {
                    self.node_mut(index).armed = None;
                    self.expire_node(index, now, woken);
                }
            }
        }
        any
    }

    /// Cancels the scope now if its deadline has passed.
    pub(crate) fn expire_one(&mut self, id: NodeId, now: Instant, woken: &mut Vec<Woken<K>>) {
        let Some(index) = self.live(id) else { return };
        self.expire_node(index, now, woken);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(crate) fn arm_timer(&mut self, when: Instant, timer: W) -> DeadlineId {
        self.deadlines.arm(when, Target::Timer(timer))
    }

    /// The id must be of a timer that has neither fired nor been disarmed.
    pub(crate) fn disarm_timer(&mut self, id: DeadlineId) -> Option<W> {
        match self.deadlines.disarm(id) {
            Target::Timer(timer) => Some(timer),
            Target::Node(_) => None,
        }
    }

    pub(crate) fn timer_mut(&mut self, id: DeadlineId) -> Option<&mut W> {
        match self.deadlines.target_mut(id) {
            Target::Timer(timer) => Some(timer),
            Target::Node(_) => None,
        }
    }

    /// Another batch begins.
    #[inline]
    pub(crate) fn next_batch(&mut self) {
        self.batch += 1;
    }

    /// Adds a hold on the frames from this node up to its task.
    pub(crate) fn hold(&mut self, id: NodeId) {
        if let Some(index) = self.live(id) {
            self.tally(index, HELD, true);
        }
    }

    pub(crate) fn release(&mut self, id: NodeId) {
        if let Some(index) = self.live(id) {
            self.tally(index, HELD, false);
        }
    }

    /// Makes the node itself a hold on the frames around it.
    pub(crate) fn set_holding(&mut self, id: NodeId, holding: bool) {
        if let Some(index) = self.live(id) {
            self.hold_changes(index, |node| node.holding = holding);
        }
    }

    pub(crate) fn add_foreign(&mut self, id: NodeId) {
        if let Some(index) = self.live(id) {
            self.tally(index, FOREIGN, true);
        }
    }

    pub(crate) fn remove_foreign(&mut self, id: NodeId) {
        if let Some(index) = self.live(id) {
            self.tally(index, FOREIGN, false);
        }
    }

    #[inline]
    pub(crate) fn is_effective(&self, id: NodeId) -> bool {
        self.live(id)
            .is_some_and(|index| self.node(index).effective)
    }

    #[inline]
    pub(crate) fn is_cancel_called(&self, id: NodeId) -> bool {
        self.live(id)
            .is_some_and(|index| self.node(index).cancel_called)
    }

    pub(crate) fn is_shielded(&self, id: NodeId) -> bool {
        self.live(id).is_some_and(|index| self.node(index).shield)
    }

    /// Whether the node is cancelled, and nothing outside of it is to be seen cancelled from
    /// it: then it is the one to absorb the cancellation.
    #[inline]
    pub(crate) fn absorbs(&self, id: NodeId) -> bool {
        self.live(id).is_some_and(|index| {
            let node = self.node(index);
            let parent = self.nodes.get(node.parent as usize);
            node.effective && (node.shield || !parent.is_some_and(|parent| parent.effective))
        })
    }

    pub(crate) fn cause(&self, id: NodeId) -> Option<&CancelCause> {
        self.node(self.live(id)?).cause.as_deref()
    }

    pub(crate) fn deadline(&self, id: NodeId) -> Option<Instant> {
        self.node(self.live(id)?).deadline
    }

    pub(crate) fn parent(&self, id: NodeId) -> Option<NodeId> {
        let parent = self.node(self.live(id)?).parent;
        let node = self.nodes.get(parent as usize)?;
        Some(NodeId {
            index: parent,
            generation: node.generation,
        })
    }

    /// The task that polls this node, and where it was started.
    pub(crate) fn task_node(
        &self,
        id: NodeId,
    ) -> Option<(NodeId, &'static std::panic::Location<'static>)> {
        let mut index = self.live(id)?;
        loop {
            let node = self.nodes.get(index as usize)?;
            if node.task.is_some() {
                return Some((self.id(index), node.location));
            }
            index = node.parent;
        }
    }

    /// The task-like frame that this node is in, with its key.
    pub(crate) fn frame(&self, id: NodeId) -> Option<(NodeId, K)> {
        let (frame, _) = self.task_node(id)?;
        Some((frame, self.node(frame.index).task?))
    }

    /// Whether a frame may be dropped that was cancelled when its poll began: it still is, nothing
    /// holds it, and leaves that are not woken by its task had one more batch to see that.
    #[inline]
    pub(crate) fn may_drop(&mut self, id: NodeId) -> MayDrop {
        let Some(index) = self.live(id) else {
            return MayDrop::Held;
        };
        let batch = self.batch;
        let node = self.node_mut(index);
        if node.held > 0 || !node.effective {
            MayDrop::Held
        } else if node.foreign > 0 && batch <= *node.rare_mut().spared_in.get_or_insert(batch) {
            MayDrop::NextBatch
        } else {
            MayDrop::Yes
        }
    }

    /// Whether the scope, or one around it that no shield hides, was asked to stop.
    pub(crate) fn is_stopping(&self, id: NodeId) -> bool {
        self.live(id).is_some_and(|index| self.node(index).stopping)
    }

    /// When the scope's own grace ends, if it was asked to stop.
    pub(crate) fn grace_end(&self, id: NodeId) -> Option<Instant> {
        let (end, _) = self.node(self.live(id)?).grace()?;
        Some(*end)
    }

    pub(crate) fn effective_deadline(&self, id: NodeId) -> EffectiveDeadline {
        if self.is_effective(id) {
            return EffectiveDeadline::Cancelled;
        }
        self.visible(id)
            .filter_map(Node::own_deadline)
            .min()
            .map_or(EffectiveDeadline::None, EffectiveDeadline::At)
    }

    /// Whether cancellations are recorded from now on.
    pub(crate) fn record_cancels(&mut self, on: bool) {
        self.cancels = on.then(Vec::new);
    }

    /// The cancellations that were recorded since the last call.
    pub(crate) fn take_cancels(&mut self) -> Vec<Cancel> {
        self.cancels
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    #[cold]
    fn record_cancel(&mut self, index: u32) {
        let node = &self.nodes[index as usize];
        let cause = node.cause.as_deref().cloned();
        let cancel = cause.map(|cause| (cause, node.location));
        if let Some(cancels) = &mut self.cancels {
            cancels.extend(cancel);
        }
    }

    /// Notes in which operation a task waits.
    #[inline]
    pub(crate) fn set_operation(&mut self, id: NodeId, operation: Option<Operation>) {
        if let Some(index) = self.live(id) {
            self.node_mut(index).operation = operation;
        }
    }

    pub(crate) fn operation(&self, id: NodeId) -> Option<Operation> {
        self.node(self.live(id)?).operation
    }

    /// Shows every node below this one, and itself, before what is below it.
    pub(crate) fn walk(&self, id: NodeId, mut visit: impl FnMut(usize, NodeId, View<'_, K>)) {
        let Some(root) = self.live(id) else { return };
        let (mut index, mut depth) = (root, 0);
        loop {
            let node = self.node(index);
            visit(depth, self.id(index), node.view());
            if node.first_child != NIL {
                (index, depth) = (node.first_child, depth + 1);
                continue;
            }
            while index != root && self.node(index).next == NIL {
                (index, depth) = (self.node(index).parent, depth - 1);
            }
            if index == root {
                return;
            }
            index = self.node(index).next;
        }
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let free = std::iter::successors(self.nodes.get(self.free as usize), |node| {
            self.nodes.get(node.next as usize)
        });
        self.nodes.len() - free.count()
    }

    /// The node and its ancestors, up to and including the first shield.
    fn visible(&self, id: NodeId) -> impl Iterator<Item = &Node<K>> {
        let mut next = self.live(id).unwrap_or(NIL);
        std::iter::from_fn(move || {
            let node = self.nodes.get(next as usize)?;
            next = if node.shield { NIL } else { node.parent };
            Some(node)
        })
    }

    #[inline]
    fn remove_at(&mut self, index: u32) {
        self.unlink(index);
        if let Some(armed) = self.node(index).armed {
            self.deadlines.disarm(armed);
        }
        let next = std::mem::replace(&mut self.free, index);
        let node = self.node_mut(index);
        node.generation = node.generation.wrapping_add(1);
        node.next = next;
        node.cause = None;
        node.rare = None;
    }

    fn cancel_at(
        &mut self,
        index: u32,
        cause: impl FnOnce() -> Rc<CancelCause>,
        woken: &mut Vec<Woken<K>>,
    ) {
        let node = self.node_mut(index);
        if node.cancel_called {
            return;
        }
        node.cancel_called = true;
        if node.cause.is_none() {
            node.cause = Some(cause());
        }
        if self.cancels.is_some() {
            self.record_cancel(index);
        }
        self.arm(index);
        self.update(index, woken);
    }

    fn expire_node(&mut self, index: u32, now: Instant, woken: &mut Vec<Woken<K>>) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.node(index).shield_until()) {
            self.clear_shield_until(index);
            self.shield_at(index, false, woken);
        }
        if due(self.node(index).own_deadline()) {
            let node = self.node(index);
            let cause = match node.grace() {
                Some((end, cause)) if *end <= now && !due(node.deadline) => cause.clone(),
                _ => CancelCause::at(CancelKind::Deadline, None, node.location),
            };
            self.cancel_at(index, || Rc::new(cause), woken);
        }
        self.arm(index);
    }

    fn clear_shield_until(&mut self, index: u32) {
        if let Some(rare) = &mut self.node_mut(index).rare {
            rare.shield_until = None;
        }
    }

    fn shield_at(&mut self, index: u32, shield: bool, woken: &mut Vec<Woken<K>>) {
        if self.node(index).shield != shield {
            self.hold_changes(index, |node| node.shield = shield);
            self.update(index, woken);
        }
    }

    /// Arms the one entry that the node needs in the heap.
    fn arm(&mut self, index: u32) {
        let node = self.node(index);
        let due = match (node.own_deadline(), node.shield_until()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let armed = match (node.armed, due) {
            (Some(armed), Some(due)) => {
                self.deadlines.rearm(armed, due);
                Some(armed)
            }
            (Some(armed), None) => {
                self.deadlines.disarm(armed);
                None
            }
            (None, Some(due)) => Some(self.deadlines.arm(due, Target::Node(index))),
            (None, None) => None,
        };
        self.node_mut(index).armed = armed;
    }

    /// Brings `effective` and `stopping` up to date from this node downwards.
    fn update(&mut self, start: u32, woken: &mut Vec<Woken<K>>) {
        let mut work = std::mem::take(&mut self.work);
        work.push(start);
        let mut polled_by_a_task_above = true;
        while let Some(index) = work.pop() {
            let node = &self.nodes[index as usize];
            let parent = self.nodes.get(node.parent as usize);
            let parent = parent.filter(|_| !node.shield);
            let inherited = parent.filter(|parent| parent.effective);
            let effective = node.cancel_called || inherited.is_some();
            let stopping = node.grace().is_some() || parent.is_some_and(|parent| parent.stopping);
            if (effective, stopping) == (node.effective, node.stopping) {
                continue;
            }
            let cause = match &node.cause {
                Some(_) => None,
                None => inherited.and_then(|parent| parent.cause.clone()),
            };
            let node = self.node_mut(index);
            let to_be_told = effective && !node.effective || stopping && !node.stopping;
            let changed = effective != node.effective;
            (node.effective, node.stopping) = (effective, stopping);
            if cause.is_some() {
                node.cause = cause;
            }
            if let Some(rare) = &mut node.rare
                && changed
            {
                rare.spared_in = None;
            }
            let (task, foreign) = (node.task, node.foreign > 0);
            self.changes += u64::from(changed);
            if to_be_told {
                match task {
                    Some(task) => woken.push(Woken::Task(task)),
                    // Below the start every node without a task is polled by one that was
                    // reached, or by the one that polls the start.
                    None if polled_by_a_task_above => {
                        woken.extend(self.task_of(index).map(Woken::Task));
                    }
                    None => {}
                }
                if foreign {
                    woken.push(Woken::Foreign(self.id(index)));
                }
            }
            polled_by_a_task_above = false;
            let mut child = self.node(index).last_child;
            while child != NIL {
                work.push(child);
                child = self.node(child).previous;
            }
        }
        self.work = work;
    }

    fn task_of(&self, mut index: u32) -> Option<K> {
        loop {
            let node = self.nodes.get(index as usize)?;
            if node.task.is_some() {
                return node.task;
            }
            index = node.parent;
        }
    }

    fn is_below(&self, mut index: u32, ancestor: u32) -> bool {
        while let Some(node) = self.nodes.get(index as usize) {
            if index == ancestor {
                return true;
            }
            index = node.parent;
        }
        false
    }

    fn move_under(&mut self, index: u32, parent: u32, woken: &mut Vec<Woken<K>>) {
        self.unlink(index);
        self.link(index, parent);
        // A frame that polls the node now may be another one than before, and has to know.
        if self.node(index).effective && self.node(index).task.is_none() {
            woken.extend(self.task_of(index).map(Woken::Task));
        }
        self.update(index, woken);
    }

    fn link(&mut self, index: u32, parent: u32) {
        let above = self.nodes.get(parent as usize);
        let previous = above.map_or(NIL, |above| above.last_child);
        let node = self.node_mut(index);
        (node.parent, node.previous, node.next) = (parent, previous, NIL);
        if parent == NIL {
            return;
        }
        self.append(index, parent, previous);
        for tally in [HELD, FOREIGN] {
            if self.contributes(index, tally) {
                self.tally(parent, tally, true);
            }
        }
    }

    /// Makes a node that knows its place the last child of its parent.
    #[inline]
    fn append(&mut self, index: u32, parent: u32, previous: u32) {
        let above = self.node_mut(parent);
        above.last_child = index;
        match previous {
            NIL => above.first_child = index,
            last => self.node_mut(last).next = index,
        }
    }

    #[inline]
    fn unlink(&mut self, index: u32) {
        let node = self.node_mut(index);
        let (previous, next) = (node.previous, node.next);
        let parent = std::mem::replace(&mut node.parent, NIL);
        if parent == NIL {
            return;
        }
        let tallies = [HELD, FOREIGN].map(|tally| (tally, node.contributes(tally)));
        for (tally, contributed) in tallies {
            if contributed {
                self.tally(parent, tally, false);
            }
        }
        match previous {
            NIL => self.node_mut(parent).first_child = next,
            previous => self.node_mut(previous).next = next,
        }
        match next {
            NIL => self.node_mut(parent).last_child = previous,
            next => self.node_mut(next).previous = previous,
        }
    }

    /// Changes what makes the node a hold on the frames around it.
    fn hold_changes(&mut self, index: u32, change: impl FnOnce(&mut Node<K>)) {
        let before = self.contributes(index, HELD);
        change(self.node_mut(index));
        let after = self.contributes(index, HELD);
        let parent = self.node(index).parent;
        if before != after && parent != NIL {
            self.tally(parent, HELD, after);
        }
    }

    #[inline]
    fn contributes(&self, index: u32, tally: Tally) -> bool {
        self.node(index).contributes(tally)
    }

    /// Counts one more or one less on the node, and on those around it for which that makes a
    /// difference.
    fn tally(&mut self, mut index: u32, tally: Tally, more: bool) {
        while index != NIL {
            let before = self.contributes(index, tally);
            let node = self.node_mut(index);
            let count = match tally {
                Tally::Held => &mut node.held,
                Tally::Foreign => &mut node.foreign,
            };
            *count = if more { *count + 1 } else { *count - 1 };
            if before == self.contributes(index, tally) {
                break;
            }
            index = self.node(index).parent;
        }
    }

    fn id(&self, index: u32) -> NodeId {
        NodeId {
            index,
            generation: self.node(index).generation,
        }
    }

    #[inline]
    fn live(&self, id: NodeId) -> Option<u32> {
        let node = self.nodes.get(id.index as usize)?;
        (node.generation == id.generation).then_some(id.index)
    }

    #[inline]
    fn node(&self, index: u32) -> &Node<K> {
        &self.nodes[index as usize]
    }

    #[inline]
    fn node_mut(&mut self, index: u32) -> &mut Node<K> {
        &mut self.nodes[index as usize]
    }
}

/// What a dump shows of a node.
pub(crate) struct View<'a, K> {
    pub(crate) task: Option<K>,
    pub(crate) holding: bool,
    pub(crate) location: &'static std::panic::Location<'static>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) grace_end: Option<Instant>,
    pub(crate) shielded: bool,
    pub(crate) cancel_called: bool,
    pub(crate) cancelled: bool,
    pub(crate) cause: Option<&'a CancelCause>,
    pub(crate) operation: Option<Operation>,
}

impl<K: Copy> Node<K> {
    fn view(&self) -> View<'_, K> {
        View {
            task: self.task,
            holding: self.holding,
            location: self.location,
            deadline: self.deadline,
            grace_end: self.grace().map(|(end, _)| *end),
            shielded: self.shield,
            cancel_called: self.cancel_called,
            cancelled: self.effective,
            cause: self.cause.as_deref().filter(|_| self.effective),
            operation: self.operation,
        }
    }
}

impl<K> Node<K> {
    /// Whether the node counts in this tally of its parent.
    #[inline]
    fn contributes(&self, tally: Tally) -> bool {
        self.task.is_none()
            && match tally {
                Tally::Held => self.shield || self.holding || self.held > 0,
                Tally::Foreign => self.foreign > 0,
            }
    }

    /// When the scope is cancelled by the clock.
    fn own_deadline(&self) -> Option<Instant> {
        if self.cancel_called {
            return None;
        }
        match (self.deadline, self.grace()) {
            (Some(deadline), Some((end, _))) => Some(deadline.min(*end)),
            (deadline, grace) => deadline.or(grace.map(|(end, _)| *end)),
        }
    }

    fn grace(&self) -> Option<&(Instant, CancelCause)> {
        self.rare.as_ref()?.grace.as_ref()
    }

    fn shield_until(&self) -> Option<Instant> {
        self.rare.as_ref()?.shield_until
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// The answer of [`Tree::may_drop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayDrop {
    Yes,
    /// Not before the batch after the one in which it was first polled as cancelled.
    NextBatch,
    Held,
}

#[derive(Clone, Copy)]
enum Tally {
    Held,
    Foreign,
}

const HELD: Tally = Tally::Held;
const FOREIGN: Tally = Tally::Foreign;

#[cfg(test)]
mod model;
