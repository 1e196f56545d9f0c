//! Synchronisation between the tasks of one runtime.

mod barrier;
mod bell;
mod broadcast;
mod channel;
mod condition;
mod event;
mod limiter;
mod lock;
mod parking_lot;
mod permits;
mod producer;
mod semaphore;
pub(crate) mod waiters;
mod watch;

pub use barrier::{Arrival, Barrier, BarrierWait};
pub use broadcast::{
    BroadcastError, BroadcastReceiver, BroadcastRecv, BroadcastSender, TryBroadcastError, broadcast,
};
pub use channel::{
    ChannelStatistics, Items, Next, Receiver, Recv, RecvError, Send, SendError, SendErrorKind,
    Sender, TryRecvError, TrySendError, channel, unbounded,
};
pub use condition::{Condition, ConditionWait, WaitError};
pub use event::{Event, Wait};
pub use limiter::{AcquireToken, Borrower, CapacityLimiter, LimiterStatistics, LimiterToken};
pub use lock::{Lock, LockGuard, LockStatistics, Locking};
pub use parking_lot::{Park, ParkingLot};
pub use permits::WouldBlock;
pub use producer::{Producer, with_producer};
pub use semaphore::{AboveMaximum, AcquirePermit, Semaphore, SemaphorePermit, SemaphoreStatistics};
pub use watch::{Changed, WatchReceiver, WatchSender, watch};
