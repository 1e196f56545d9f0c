use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::actor::Connection;
use crate::context::Half;
use crate::dialog::{Cause, Loss};
use crate::error::{PeerLost, Result};
use crate::transport::Address;
use crate::wire::{CauseKind, Uid};

/// Why a dialog ends whose portal was disconnected while others go on with the connection.
const GIVEN_UP: &str = "the portal was disconnected";

/// The connections that an actor has made, for whoever else in it looks for the same actor at the
/// same address.
///
/// At another address the same actor may let others do more or less, and it is not this actor that
/// knows. So neither are connections shared that were made to another address, nor those that the
/// other actor made, nor those between parent and child.
#[derive(Default)]
pub(super) struct Shares(RefCell<Vec<Rc<Shared>>>);

struct Shared {
    conn: Weak<Connection>,
    at: Address,
    /// The shares that were not given up.
    users: Cell<usize>,
}

/// One user's part in a connection that others may have too.
pub(super) struct Share {
    of: Rc<Shared>,
    is_given_up: Cell<bool>,
    /// What was opened by this share, as far as it is there.
    halves: RefCell<Vec<Weak<Half>>>,
}

/// What a portal calls over: a connection, or a share in one.
#[derive(Clone)]
pub(crate) struct Line {
    conn: Rc<Connection>,
    share: Option<Rc<Share>>,
}

impl Shares {
    /// A line to this actor at this address, if there is a connection that can be shared.
    pub(super) fn line_to(&self, peer: &Uid, at: &Address) -> Option<Line> {
        let mut shares = self.0.borrow_mut();
        shares.retain(|shared| shared.conn.strong_count() > 0);
        shares.iter().find_map(|shared| {
            let conn = shared.conn.upgrade()?;
            let is_it = conn.peer() == peer && shared.at == *at && conn.takes_calls();
            is_it.then(|| Line::shared(conn, shared))
        })
    }

    /// The first line over a connection that can be shared.
    pub(super) fn add(&self, conn: Rc<Connection>, at: &Address) -> Line {
        let shared = Rc::new(Shared {
            conn: Rc::downgrade(&conn),
            at: at.clone(),
            users: Cell::new(0),
        });
        self.0.borrow_mut().push(shared.clone());
        Line::shared(conn, &shared)
    }
}

impl Line {
    /// All of a connection.
    pub(super) fn whole(conn: Rc<Connection>) -> Self {
        Self { conn, share: None }
    }

    fn shared(conn: Rc<Connection>, of: &Rc<Shared>) -> Self {
        of.users.set(of.users.get() + 1);
        let share = Rc::new(Share {
            of: of.clone(),
            is_given_up: Cell::new(false),
            halves: RefCell::default(),
        });
        Self {
            conn,
            share: Some(share),
        }
    }

    pub(crate) fn conn(&self) -> &Rc<Connection> {
        &self.conn
    }

    /// Waits until something may be opened over it.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check), and cancellation.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.conn.link().room_for_calls().await?;
        self.check()
    }

    /// Whether something may be asked over it.
    ///
    /// # Errors
    ///
    /// [`PeerLost`] if it was given up.
    pub(super) fn check(&self) -> Result<()> {
        if !self.is_given_up() {
            return Ok(());
        }
        let lost = self.conn.lost().unwrap_or_else(|| PeerLost {
            peer: self.conn.peer().clone(),
            status: None,
            reason: Some(GIVEN_UP.into()),
        });
        Err(lost.into())
    }

    /// Has a dialog end with the line over which it was opened.
    pub(crate) fn opened(&self, half: &Rc<Half>) {
        let Some(share) = &self.share else { return };
        let mut halves = share.halves.borrow_mut();
        if halves.len() == halves.capacity() {
            halves.retain(|half| half.strong_count() > 0);
        }
        halves.push(Rc::downgrade(half));
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.share.as_ref().is_some_and(|it| it.is_given_up.get())
    }

    /// Ends the connection if nobody else has a share in it, and else what goes on over this line.
    /// Again has no effect.
    pub(super) fn give_up(&self) {
        let Some(share) = &self.share else {
            return self.conn.link().close();
        };
        if share.is_given_up.replace(true) {
            return;
        }
        let left = share.of.users.get() - 1;
        share.of.users.set(left);
        match left {
            0 => self.conn.link().close(),
            _ => self.end(share.halves.take()),
        }
    }

    /// Has dialogs end as if the connection had, and the other side know.
    fn end(&self, halves: Vec<Weak<Half>>) {
        let halves = halves.iter().filter_map(Weak::upgrade);
        for half in halves.filter(|half| half.exit().is_none()) {
            if self.conn.is_up() {
                let cause = Cause::new(CauseKind::Requested, self.conn.own().clone());
                self.conn.request_cancel_task(&half, &cause);
            }
            half.link_lost(Loss::new(GIVEN_UP));
        }
    }
}
