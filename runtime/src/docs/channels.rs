//! Passing values between tasks, and everything else that they wait for.
//!
//! All of this is for the tasks of one runtime, on one thread: no atomics, and values need not be
//! `Send`. For values that come from other threads use a crate made for it, such as
//! `async-channel`: its futures work under our scopes like any other.
//!
//! # Which one
//!
//! | you want | take |
//! | --- | --- |
//! | each item to go to one receiver | [`channel`], [`unbounded`] |
//! | each item to go to all receivers | [`broadcast`] |
//! | only the latest value to count | [`watch`] |
//! | items made on demand, by code with scopes of its own | [`with_producer`] |
//! | to say once that something happened | [`Event`] |
//! | one task at a time in some place | [`Lock`] |
//! | so many at a time | [`Semaphore`] |
//! | so many at a time, and to change how many, and to know who | [`CapacityLimiter`] |
//! | to wait until what a lock guards has changed | [`Condition`] |
//! | a number of tasks to wait for each other | [`Barrier`] |
//! | to make something else | [`ParkingLot`] |
//! | the value of one task, in several others | [`TaskHandle::shared`] |
//!
//! A plain `Cell` or `RefCell` needs none of these, as long as it is not borrowed across an await:
//! between two awaits no other task runs.
//!
//! # Capacity is a decision
//!
//! [`channel`]`(0)` is a rendezvous: a send returns when a receiver has the item, so that sender
//! and receiver are never more than one step apart. With a capacity the sender may be that many
//! items ahead, which helps when either is bursty, and hides for that long that a receiver is too
//! slow. [`unbounded`] never holds a sender up, and takes memory until there is none. Begin with 0.
//!
//! ```
//! # use tractor_runtime::{nursery, run, sync::channel};
//! # run(async || {
//! let (sender, receiver) = channel(0);
//! nursery(async |n| {
//!     for worker in 0..3 {
//!         let receiver = receiver.clone();
//!         n.start_soon(async move {
//!             while let Some(job) = receiver.next().await? {
//!                 println!("worker {worker} does {job}");
//!             }
//!             Ok(()) // there is no sender any more
//!         });
//!     }
//!     drop(receiver);
//!     for job in ["a", "b", "c", "d"] {
//!         sender.send(job).await?;
//!     }
//!     drop(sender);
//!     Ok(())
//! })
//! .await
//! # }).unwrap();
//! ```
//!
//! # Closing is how a channel says that it is over
//!
//! Ends are cloned, and each clone is closed by itself: by dropping it, or with
//! [`Sender::close`] or [`Receiver::close`] where several tasks use one clone. When the last
//! sender is closed, receivers get what is left and then the end. When the last receiver is closed,
//! what is left is dropped, and senders get their items back. The usual mistake is to keep a
//! clone too many: the loops above end because the body dropped both of its ends.
//!
//! # What a cancellation leaves behind
//!
//! Nothing. A waiter that is cancelled, or dropped, is out of the queue at once. Everything is
//! handed over first come, first served, and belongs to whom it was handed to: nobody barges in
//! between. If that one is cancelled before it came for it, two things can be:
//!
//! * it is still polled: then what is there beats the cancellation. `recv` returns the item, and
//!   the next checkpoint tells that the scope is cancelled;
//! * it is not: then what was handed to it goes to the next. That is true for items, permits,
//!   locks, wake-ups, and for the notifications of a condition.
//!
//! So an item is lost only by code that has it and drops it. The place to look at is a race of two
//! receives, of which both can come through: [`wait_any`](crate::wait_any) has the values of the
//! late ones too.
//!
//! A `send` that is cancelled gives its item back in the [`SendError`](crate::sync::SendError).
//! With `?` it is dropped there, which is mostly what one wants.
//!
//! # Locks and permits
//!
//! They are values: whoever has the [`LockGuard`](crate::sync::LockGuard) has the lock, and drops it
//! to give it back. So a task that ends, fails, panics or is dropped cannot keep a lock, and there
//! is no such thing as giving back what one does not have.
//!
//! [`Condition::wait`] takes the guard and returns it. When it is cancelled, it waits for the lock
//! again before it says so, and the error has the guard: what the lock guards can be put right.
//!
//! [`channel`]: crate::sync::channel
//! [`unbounded`]: crate::sync::unbounded
//! [`broadcast`]: crate::sync::broadcast
//! [`watch`]: crate::sync::watch
//! [`with_producer`]: crate::sync::with_producer
//! [`Event`]: crate::sync::Event
//! [`Lock`]: crate::sync::Lock
//! [`Semaphore`]: crate::sync::Semaphore
//! [`CapacityLimiter`]: crate::sync::CapacityLimiter
//! [`Condition`]: crate::sync::Condition
//! [`Condition::wait`]: crate::sync::Condition::wait
//! [`Barrier`]: crate::sync::Barrier
//! [`ParkingLot`]: crate::sync::ParkingLot
//! [`Sender::close`]: crate::sync::Sender::close
//! [`Receiver::close`]: crate::sync::Receiver::close
//! [`TaskHandle::shared`]: crate::TaskHandle::shared
