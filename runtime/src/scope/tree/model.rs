//! The tree beside a naive model of it: the same random operations on both, and everything that
//! can be asked compared after each.

use std::panic::Location;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::{EffectiveDeadline, MayDrop, NodeId, Target, Tree, Woken};
use crate::cause::{CancelCause, CancelKind};
use crate::time::Instant;

/// A node of the model: only what was said of it, nothing derived but its cause.
#[derive(Clone, Debug)]
struct Naive {
    id: NodeId,
    parent: Option<usize>,
    task: Option<u32>,
    cancel_called: bool,
    shield: bool,
    shield_until: Option<Instant>,
    deadline: Option<Instant>,
    grace_end: Option<Instant>,
    holding: bool,
    holds: u32,
    foreign: u32,
    cause: Option<CancelCause>,
}

impl Naive {
    fn own_deadline(&self) -> Option<Instant> {
        let ends = self.deadline.into_iter().chain(self.grace_end);
        ends.min().filter(|_| !self.cancel_called)
    }
}

/// Indices choose among the living nodes, times are in seconds from now.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enter {
        parent: u8,
        task: bool,
        shield: bool,
    },
    Exit {
        node: u8,
    },
    Cancel {
        node: u8,
    },
    Shield {
        node: u8,
        on: bool,
    },
    ShieldFor {
        node: u8,
        seconds: u8,
    },
    Deadline {
        node: u8,
        seconds: Option<u8>,
    },
    Stop {
        node: u8,
        seconds: u8,
    },
    Clock {
        seconds: u8,
    },
    Reparent {
        node: u8,
        parent: u8,
    },
    Holding {
        node: u8,
        on: bool,
    },
    Hold {
        node: u8,
    },
    Release {
        node: u8,
    },
    AddForeign {
        node: u8,
    },
    RemoveForeign {
        node: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let node = any::<u8>;
    let seconds = || 0..10_u8;
    prop_oneof![
        4 => (node(), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(parent, task, shield)| Step::Enter { parent, task, shield }),
        2 => node().prop_map(|node| Step::Exit { node }),
        2 => node().prop_map(|node| Step::Cancel { node }),
        3 => (node(), any::<bool>()).prop_map(|(node, on)| Step::Shield { node, on }),
        2 => (node(), seconds()).prop_map(|(node, seconds)| Step::ShieldFor { node, seconds }),
        3 => (node(), proptest::option::weighted(0.8, seconds()))
            .prop_map(|(node, seconds)| Step::Deadline { node, seconds }),
        2 => (node(), seconds()).prop_map(|(node, seconds)| Step::Stop { node, seconds }),
        3 => seconds().prop_map(|seconds| Step::Clock { seconds }),
        2 => (node(), node()).prop_map(|(node, parent)| Step::Reparent { node, parent }),
        1 => (node(), any::<bool>()).prop_map(|(node, on)| Step::Holding { node, on }),
        1 => node().prop_map(|node| Step::Hold { node }),
        1 => node().prop_map(|node| Step::Release { node }),
        1 => node().prop_map(|node| Step::AddForeign { node }),
        1 => node().prop_map(|node| Step::RemoveForeign { node }),
    ]
}

/// How many cases to try: 1,000, or what the environment says.
fn cases() -> ProptestConfig {
    let cases = std::env::var("TRACTOR_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(1_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    // extra::shield_toggle_storm
    #[test]
    fn tree_agrees_with_a_naive_model(steps in proptest::collection::vec(step(), 1..80)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step)?;
        }
    }
}

struct Pair {
    tree: Tree<u32, ()>,
    nodes: Vec<Option<Naive>>,
    now: Instant,
    next_task: u32,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            tree: Tree::new(),
            nodes: Vec::new(),
            now: Instant::ZERO,
            next_task: 0,
        };
        pair.enter(None, true);
        pair
    }

    fn take(&mut self, step: Step) -> TestCaseResult {
        let before: Vec<_> = self
            .living()
            .map(|node| (node, self.effective(node), self.stopping(node)))
            .collect();
        let mut woken = Vec::new();
        self.apply(step, &mut woken);
        self.inherit_causes();
        for (node, was_effective, was_stopping) in before {
            if self.nodes[node].is_none() {
                continue;
            }
            let cancelled = !was_effective && self.effective(node);
            if cancelled || !was_stopping && self.stopping(node) {
                self.check_woken(node, &woken)?;
            }
        }
        self.check()
    }

    fn apply(&mut self, step: Step, woken: &mut Vec<Woken<u32>>) {
        match step {
            Step::Enter {
                parent,
                task,
                shield,
            } => {
                let parent = self.pick(parent);
                let node = self.enter(Some(parent), task);
                if shield {
                    self.tree.enter_shielded(self.naive(node).id, woken);
                    self.naive_mut(node).shield = true;
                }
            }
            Step::Exit { node } => {
                let node = self.pick(node);
                // The root stays, so that there is always something to pick.
                if let Some(parent) = self.naive(node).parent {
                    self.tree.remove(self.naive(node).id, woken);
                    for other in self.nodes.iter_mut().flatten() {
                        if other.parent == Some(node) {
                            other.parent = Some(parent);
                        }
                    }
                    self.nodes[node] = None;
                }
            }
            Step::Cancel { node } => {
                let node = self.pick(node);
                let cause = CancelCause::at(CancelKind::Requested, None, Location::caller());
                self.tree.cancel(self.naive(node).id, &cause, woken);
                let naive = self.naive_mut(node);
                naive.cancel_called = true;
                naive.cause.get_or_insert(cause);
            }
            Step::Shield { node, on } => {
                let node = self.pick(node);
                self.tree.set_shield(self.naive(node).id, on, woken);
                let naive = self.naive_mut(node);
                (naive.shield, naive.shield_until) = (on, None);
            }
            Step::ShieldFor { node, seconds } => {
                let node = self.pick(node);
                let until = self.now + Duration::from_secs(seconds.into());
                self.tree.shield_until(self.naive(node).id, until, woken);
                let naive = self.naive_mut(node);
                (naive.shield, naive.shield_until) = (true, Some(until));
            }
            Step::Deadline { node, seconds } => {
                let node = self.pick(node);
                let deadline = seconds.map(|s| self.now + Duration::from_secs(s.into()));
                self.tree.set_deadline(self.naive(node).id, deadline);
                self.naive_mut(node).deadline = deadline;
            }
            Step::Stop { node, seconds } => {
                let node = self.pick(node);
                let until = self.now + Duration::from_secs(seconds.into());
                let cause = CancelCause::at(CancelKind::Requested, None, Location::caller());
                let id = self.naive(node).id;
                self.tree.stop(id, until, &cause, woken);
                let end = &mut self.naive_mut(node).grace_end;
                *end = Some(end.map_or(until, |end| end.min(until)));
            }
            Step::Clock { seconds } => {
                self.now += Duration::from_secs(seconds.into());
                self.tree.expire(self.now, woken, |()| ());
                self.expire();
            }
            Step::Reparent { node, parent } => {
                let (node, parent) = (self.pick(node), self.pick(parent));
                let is_root = self.naive(node).parent.is_none();
                if !is_root && !self.path(parent).any(|above| above == node) {
                    let above = self.naive(parent).id;
                    self.tree.reparent(self.naive(node).id, Some(above), woken);
                    self.naive_mut(node).parent = Some(parent);
                }
            }
            Step::Holding { node, on } => {
                let node = self.pick(node);
                self.tree.set_holding(self.naive(node).id, on);
                self.naive_mut(node).holding = on;
            }
            Step::Hold { node } => {
                let node = self.pick(node);
                self.tree.hold(self.naive(node).id);
                self.naive_mut(node).holds += 1;
            }
            Step::Release { node } => {
                let node = self.pick(node);
                if self.naive(node).holds > 0 {
                    self.tree.release(self.naive(node).id);
                    self.naive_mut(node).holds -= 1;
                }
            }
            Step::AddForeign { node } => {
                let node = self.pick(node);
                self.tree.add_foreign(self.naive(node).id);
                self.naive_mut(node).foreign += 1;
            }
            Step::RemoveForeign { node } => {
                let node = self.pick(node);
                if self.naive(node).foreign > 0 {
                    self.tree.remove_foreign(self.naive(node).id);
                    self.naive_mut(node).foreign -= 1;
                }
            }
        }
    }

    fn enter(&mut self, parent: Option<usize>, task: bool) -> usize {
        let task = task.then(|| {
            self.next_task += 1;
            self.next_task
        });
        let above = parent.map(|parent| self.naive(parent).id);
        let id = self.tree.insert(above, task, Location::caller());
        self.nodes.push(Some(Naive {
            id,
            parent,
            task,
            cancel_called: false,
            shield: false,
            shield_until: None,
            deadline: None,
            grace_end: None,
            holding: false,
            holds: 0,
            foreign: 0,
            cause: None,
        }));
        self.nodes.len() - 1
    }

    fn expire(&mut self) {
        let now = self.now;
        for naive in self.nodes.iter_mut().flatten() {
            if naive.shield_until.is_some_and(|until| until <= now) {
                (naive.shield, naive.shield_until) = (false, None);
            }
            if naive.own_deadline().is_some_and(|deadline| deadline <= now) {
                naive.cancel_called = true;
                // Which of several causes of one moment comes first is the tree's to say.
                naive.cause = naive
                    .cause
                    .take()
                    .or_else(|| self.tree.cause(naive.id).cloned());
            }
        }
    }

    /// A node that is cancelled by an ancestor takes over its cause if it has none.
    fn inherit_causes(&mut self) {
        let nodes: Vec<_> = self.living().collect();
        let mut by_depth: Vec<_> = nodes.iter().map(|&n| (self.path(n).count(), n)).collect();
        by_depth.sort_unstable();
        for (_, node) in by_depth {
            if self.effective(node) && self.naive(node).cause.is_none() {
                let parent = self
                    .naive(node)
                    .parent
                    .expect("a root is cancelled by itself only");
                self.naive_mut(node).cause = self.naive(parent).cause.clone();
            }
        }
    }

    /// Whoever polls a node that became cancelled was told.
    fn check_woken(&self, node: usize, woken: &[Woken<u32>]) -> TestCaseResult {
        let task = self.path(node).find_map(|above| self.naive(above).task);
        let task = task.expect("the root is a task");
        prop_assert!(
            woken.contains(&Woken::Task(task)),
            "{node}: task {task} is not woken"
        );
        if self.foreign(node) > 0 {
            let id = self.naive(node).id;
            prop_assert!(
                woken.contains(&Woken::Foreign(id)),
                "{node}: leaves are not woken"
            );
        }
        Ok(())
    }

    fn check(&mut self) -> TestCaseResult {
        prop_assert_eq!(self.tree.len(), self.living().count());
        for node in self.living().collect::<Vec<_>>() {
            let held = self.tree.may_drop(self.naive(node).id) == MayDrop::Held;
            let naive = self.naive(node);
            let (tree, id) = (&self.tree, naive.id);
            let effective = self.effective(node);
            prop_assert_eq!(tree.is_effective(id), effective, "{} effective", node);
            prop_assert_eq!(
                tree.is_cancel_called(id),
                naive.cancel_called,
                "{} called",
                node
            );
            prop_assert_eq!(
                tree.is_stopping(id),
                self.stopping(node),
                "{} stopping",
                node
            );
            prop_assert_eq!(tree.is_shielded(id), naive.shield, "{} shielded", node);
            prop_assert_eq!(tree.deadline(id), naive.deadline, "{} deadline", node);
            prop_assert_eq!(tree.effective_deadline(id), self.effective_deadline(node));
            let parent = naive.parent.map(|parent| self.naive(parent).id);
            prop_assert_eq!(tree.parent(id), parent, "{} parent", node);
            prop_assert_eq!(held, !effective || self.held(node) > 0, "{} held", node);
            match (tree.cause(id), &naive.cause) {
                (Some(seen), Some(expected)) => prop_assert!(seen.same_as(expected)),
                (seen, expected) => prop_assert_eq!(seen.is_some(), expected.is_some()),
            }
            // Of all that see one cancellation exactly the outermost absorbs it.
            if effective {
                let absorbing = self
                    .visible(node)
                    .filter(|&n| tree.absorbs(self.naive(n).id));
                let absorbing: Vec<_> = absorbing.collect();
                let outermost = self.visible(node).filter(|&n| self.effective(n)).last();
                prop_assert_eq!(absorbing, Vec::from_iter(outermost));
            } else {
                prop_assert!(!tree.absorbs(id));
            }
        }
        self.check_deadlines()
    }

    /// What is armed is just what can still happen.
    fn check_deadlines(&self) -> TestCaseResult {
        let mut expected: Vec<_> = self
            .nodes
            .iter()
            .flatten()
            .filter_map(|naive| {
                let due = naive
                    .own_deadline()
                    .into_iter()
                    .chain(naive.shield_until)
                    .min()?;
                Some((due, naive.id.index))
            })
            .collect();
        let mut armed: Vec<_> = self
            .tree
            .deadlines
            .armed()
            .map(|(when, target)| match target {
                Target::Node(index) => (when, *index),
                Target::Timer(()) => unreachable!("no timers are armed"),
            })
            .collect();
        expected.sort_unstable();
        armed.sort_unstable();
        prop_assert_eq!(
            self.tree.next_deadline(),
            expected.first().map(|(due, _)| *due)
        );
        prop_assert_eq!(armed, expected);
        Ok(())
    }

    fn effective(&self, node: usize) -> bool {
        let naive = self.naive(node);
        naive.cancel_called
            || !naive.shield && naive.parent.is_some_and(|parent| self.effective(parent))
    }

    fn stopping(&self, node: usize) -> bool {
        self.visible(node)
            .any(|node| self.naive(node).grace_end.is_some())
    }

    fn effective_deadline(&self, node: usize) -> EffectiveDeadline {
        if self.effective(node) {
            return EffectiveDeadline::Cancelled;
        }
        self.visible(node)
            .filter_map(|node| self.naive(node).own_deadline())
            .min()
            .map_or(EffectiveDeadline::None, EffectiveDeadline::At)
    }

    /// How many holds are in force on a node: its own, and one for each frame of the same task
    /// directly inside that is or has one.
    fn held(&self, node: usize) -> u32 {
        let inside = self.inside(node);
        let holding = inside.filter(|&n| {
            let naive = self.naive(n);
            naive.shield || naive.holding || self.held(n) > 0
        });
        self.naive(node).holds + holding.count() as u32
    }

    fn foreign(&self, node: usize) -> u32 {
        let registered = self.inside(node).filter(|&n| self.foreign(n) > 0);
        self.naive(node).foreign + registered.count() as u32
    }

    fn inside(&self, node: usize) -> impl Iterator<Item = usize> {
        self.living().filter(move |&other| {
            self.naive(other).parent == Some(node) && self.naive(other).task.is_none()
        })
    }

    fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_some())
    }

    /// A node and its ancestors.
    fn path(&self, node: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(node), |&node| self.naive(node).parent)
    }

    /// The same up to the first shield.
    fn visible(&self, node: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(node), |&node| {
            let naive = self.naive(node);
            naive.parent.filter(|_| !naive.shield)
        })
    }

    fn pick(&self, choice: u8) -> usize {
        let living: Vec<_> = self.living().collect();
        living[usize::from(choice) % living.len()]
    }

    fn naive(&self, node: usize) -> &Naive {
        self.nodes[node].as_ref().expect("a living node")
    }

    fn naive_mut(&mut self, node: usize) -> &mut Naive {
        self.nodes[node].as_mut().expect("a living node")
    }
}
