//! Every operation that waits: whether it is a cancel point, and what is true after it was
//! cancelled.
//!
//! A *cancel point* that is reached in a cancelled scope answers [`Cancelled`], before it has had
//! any effect. While it waits, a result that is there beats a cancellation.
//!
//! A *schedule point* lets other tasks run. Most operations are one by *share*: a task that never
//! has to wait yields to the others after 128 operations, before the first attempt of the next, and
//! never between its effect and its return.
//!
//! Both together are a *checkpoint*.
//!
//! | operation | cancel point | schedule point | after a cancellation |
//! | --- | --- | --- | --- |
//! | [`checkpoint`](crate::checkpoint()), [`checkpoint_if_cancelled`](crate::checkpoint_if_cancelled) | yes | `checkpoint` always, the other by share | |
//! | [`check_cancelled`](crate::check_cancelled) | yes, but it does not await | no | |
//! | [`cancel_shielded_checkpoint`](crate::cancel_shielded_checkpoint) | no | always | |
//! | [`sleep`](crate::time::sleep), [`sleep_until`](crate::time::sleep_until), [`sleep_forever`](crate::time::sleep_forever) | yes | share | the timer is gone |
//! | [`stopping`](crate::stopping()) | yes | share | |
//! | [`until_stopping`](crate::until_stopping) | no: it is for `work` to see a cancellation | that of `work` | |
//! | [`Event::wait`](crate::sync::Event::wait) | yes | share | the waiter is gone |
//! | [`Sender::send`](crate::sync::Sender::send) | yes | share | the error has the item |
//! | [`Receiver::recv`](crate::sync::Receiver::recv), [`Receiver::next`](crate::sync::Receiver::next), [`Receiver::items`](crate::sync::Receiver::items) | yes | share | no item was taken; one that was on its way goes to the next receiver |
//! | [`Lock::lock`](crate::sync::Lock::lock) | yes | share | the lock was not taken; if it was on its way, it goes to the next |
//! | [`Semaphore::acquire`](crate::sync::Semaphore::acquire), [`CapacityLimiter::acquire`](crate::sync::CapacityLimiter::acquire) | yes | share | no permit was taken; one that was on its way goes to the next |
//! | [`Condition::wait`](crate::sync::Condition::wait) | yes; it waits for the lock first | share | the error has the lock; a notification that had come goes to the next |
//! | [`ParkingLot::park`](crate::sync::ParkingLot::park) | yes | share | it is not parked; a wake-up that had come goes to the next |
//! | [`Barrier::wait`](crate::sync::Barrier::wait) | yes | share | it does not count as arrived |
//! | [`BroadcastReceiver::recv`](crate::sync::BroadcastReceiver::recv) | yes | share | no item was taken |
//! | [`WatchReceiver::changed`](crate::sync::WatchReceiver::changed) | yes | share | the value does not count as seen |
//! | [`Producer::send`](crate::sync::Producer::send) | yes | share | the item is dropped, if nobody received it |
//! | awaiting a [`TaskHandle`](crate::TaskHandle) or [`SharedTask`](crate::SharedTask), [`TaskHandle::gone`](crate::TaskHandle::gone) | yes | share | the child goes on |
//! | [`Nursery::start`](crate::Nursery::start) | no: the child is cancelled in its place, and waited for | share | the result is the child's |
//! | [`CancelToken::cancelled`](crate::CancelToken::cancelled) | yes | share | |
//! | [`race`](crate::race()), [`wait_any`](crate::wait_any), [`first_ok`](crate::first_ok), [`gather`](crate::gather), [`gather_limited`](crate::gather_limited), [`join_all`](crate::join_all), [`with_producer`](crate::sync::with_producer) | no: what runs is cancelled in their place, and waited for | share | nothing of it is left |
//! | [`Nursery::start_soon_limited`](crate::Nursery::start_soon_limited) | yes | share | the child is not started, and dropped |
//! | leaving a [`nursery`](crate::nursery()) | no: the children are cancelled in its place, and waited for | if it waits | no child is left |
//! | [`Io`](crate::io::Io)'s operations | yes | share | nothing was read or written |
//! | [`receive_some`](crate::io::ReceiveStream::receive_some) | yes | share | nothing was received |
//! | [`send_rest`](crate::io::SendStream::send_rest) | yes, between pieces too | share | the slice is what has not been sent |
//! | [`send_all`](crate::io::SendStream::send_all) | yes, between pieces too | share | some of it may have been sent |
//! | [`send_some`](crate::net::SocketStream::send_some), [`send_ready`](crate::io::SendStream::send_ready), [`send_eof`](crate::io::SendStream::send_eof), datagrams | yes | share | nothing was sent, or told |
//! | [`close`](crate::io::Close::close) of anything | no | no | |
//! | [`accept`](crate::net::Listener::accept) | yes | share | no connection was taken |
//! | [`connect_tcp`](crate::net::connect_tcp), [`connect_unix`](crate::net::connect_unix), [`happy_eyeballs`](crate::net::happy_eyeballs) | yes | share | every socket is closed |
//! | [`resolve`](crate::net::resolve) | yes | share | a thread may go on asking; its answer is discarded |
//! | [`serve_tcp`](crate::net::serve_tcp), [`serve_listeners`](crate::net::serve_listeners) | yes | share | listeners and connections are closed |
//! | [`thread::run_sync`](crate::thread::run_sync) | before it begins; then it is waited for | share | the function was not run, or has its result |
//! | the same, [allowed to be abandoned](crate::thread::Call::abandon_on_cancel) | yes | share | the function goes on, and its result is discarded |
//! | awaiting what [`thread::spawn`](crate::thread::spawn) gave | yes | share | the future has been dropped |
//! | [`ChildExit::wait`](crate::process::ChildExit::wait), [`ChildExit::ended`](crate::process::ChildExit::ended) | yes | share | the process goes on |
//! | [`fs`](crate::fs)'s operations | before they begin; then they are waited for | share | nothing was done, or all of it |
//! | [`SignalReceiver::receive`](crate::signals::SignalReceiver::receive) | yes | share | no signal was taken |
//! | [`Command::run`](crate::process::Command::run) | yes | share | the program was ended and reaped |
//! | [`Process::wait`](crate::process::Process::wait) | yes | share | the process goes on |
//! | entering a scope, opening a nursery | no | share | nothing was begun |
//! | leaving a scope, [`Nursery::start_soon`](crate::Nursery::start_soon), everything with `try_` | no | no | |
//!
//! Everything with `try_`, everything that is no future, and the setters of handles are neither.
//!
//! [`Cancelled`]: crate::Cancelled
