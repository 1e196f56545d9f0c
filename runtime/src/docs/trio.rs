//! Where to find what you know from trio.
//!
//! The ideas are the same, and so are most names. What differs, everywhere:
//!
//! * A cancellation is a value, [`Cancelled`], that goes up with `?`. Code that waits for something
//!   that knows nothing of scopes is dropped, so no wait is deaf.
//! * Blocks are functions that take the work: [`nursery`], [`move_on_after`], [`CancelScope::run`].
//!   So they cannot be left in the wrong order, and a scope cannot be entered twice.
//! * What is taken is a guard, and given back when it is dropped. So there are no owners to check,
//!   and nothing is left taken by a task that has ended.
//! * Times are [`Duration`](std::time::Duration) and [`Instant`](crate::time::Instant); "no time" is
//!   `None`.
//! * `..._nowait` is `try_...`, and its error gives back what was to be sent.
//! * One error comes out of a nursery as itself, several as a group; [`Error`] is either.
//!
//! # Running, scopes and nurseries
//!
//! | trio | here |
//! | --- | --- |
//! | `run` | [`run`]; with settings [`Runtime::builder`] |
//! | `CancelScope` | [`CancelScope`], and [`ScopeHandle`] for what is done to it from outside |
//! | `CancelScope.cancel(reason)` | [`ScopeHandle::cancel`], [`ScopeHandle::cancel_because`] with a [`CancelCause`] |
//! | `CancelScope.deadline`, `relative_deadline` | [`CancelScope::deadline`] and [`CancelScope::timeout`] before it runs, [`ScopeHandle::set_deadline`] and [`ScopeHandle::set_timeout`] at any time |
//! | `CancelScope.is_relative` | no: before it runs, [`ScopeHandle::deadline`] is `None` for a timeout |
//! | `CancelScope.shield` | [`CancelScope::shield`], [`ScopeHandle::set_shield`]; around work that must be done [`shield`], [`shield_for`], [`finally`] |
//! | `CancelScope.cancel_called`, `cancelled_caught` | [`ScopeHandle::cancel_called`], [`ScopeHandle::cancelled_caught`]; mostly the [`Outcome`] is enough |
//! | `Cancelled` | [`Cancelled`], with its [`CancelCause`] |
//! | `open_nursery`, `Nursery` | [`nursery`], [`Nursery`], [`NurseryOptions`] |
//! | `Nursery.start_soon` | [`Nursery::start_soon`], which gives a [`TaskHandle`]: to await its value, or cancel it alone |
//! | `Nursery.start`, `TaskStatus`, `TASK_STATUS_IGNORED` | [`Nursery::start`], [`TaskStatus`], [`TaskStatus::ignored`] |
//! | `Nursery.cancel_scope` | [`Nursery::scope`], [`Nursery::cancel`] |
//! | `Nursery.child_tasks`, `parent_task` | [`dump`](crate::dump()): all tasks, scopes and nurseries, as text and as data |
//! | `strict_exception_groups` | always strict, and a group of one is that one |
//! | `current_time` | [`time::now`](crate::time::now) |
//! | `current_effective_deadline` | [`current_effective_deadline`] |
//! | `sleep`, `sleep_until`, `sleep_forever` | [`sleep`](crate::time::sleep), [`sleep_until`](crate::time::sleep_until), [`sleep_forever`](crate::time::sleep_forever) |
//! | `move_on_after`, `move_on_at`, `fail_after`, `fail_at` | [`move_on_after`], [`move_on_at`], [`fail_after`], [`fail_at`] |
//! | `TooSlowError` | [`TooSlow`], which says where the timeout was set; only the deadline makes it, no `cancel()` |
//!
//! # Synchronisation
//!
//! | trio | here |
//! | --- | --- |
//! | `Event`, `EventStatistics` | [`Event`](crate::sync::Event), [`Event::waiting`](crate::sync::Event::waiting) |
//! | `Lock`, `StrictFIFOLock`, `LockStatistics` | [`Lock`](crate::sync::Lock), which is strictly first come, first served; [`LockStatistics`](crate::sync::LockStatistics) |
//! | `Semaphore` | [`Semaphore`](crate::sync::Semaphore), whose permits are values |
//! | `CapacityLimiter`, `CapacityLimiterStatistics` | [`CapacityLimiter`](crate::sync::CapacityLimiter), [`LimiterStatistics`](crate::sync::LimiterStatistics) |
//! | `Condition`, `ConditionStatistics` | [`Condition`](crate::sync::Condition), which loses no notification; [`Condition::waiting`](crate::sync::Condition::waiting) |
//! | `open_memory_channel`, `MemorySendChannel`, `MemoryReceiveChannel` | [`channel`](crate::sync::channel), [`Sender`](crate::sync::Sender), [`Receiver`](crate::sync::Receiver); without a bound [`unbounded`](crate::sync::unbounded) |
//! | `MemoryChannelStatistics` | [`ChannelStatistics`](crate::sync::ChannelStatistics) |
//! | `as_safe_channel` | [`with_producer`](crate::sync::with_producer) |
//! | `ParkingLot`, `ParkingLotStatistics` | [`ParkingLot`](crate::sync::ParkingLot), [`ParkingLot::parked`](crate::sync::ParkingLot::parked) |
//! | `add_parking_lot_breaker`, `remove_parking_lot_breaker` | not needed: a task that ends drops its guards |
//! | `WouldBlock` | [`WouldBlock`](crate::sync::WouldBlock), [`TrySendError::Full`](crate::sync::TrySendError::Full), [`TryRecvError::Empty`](crate::sync::TryRecvError::Empty) |
//! | `EndOfChannel` | [`RecvError::Closed`](crate::sync::RecvError::Closed), or `None` from [`Receiver::next`](crate::sync::Receiver::next) |
//! | `ClosedResourceError` | [`RecvError::EndClosed`](crate::sync::RecvError::EndClosed), [`SendErrorKind::EndClosed`](crate::sync::SendErrorKind::EndClosed), [`io::Closed`](crate::io::Closed) |
//! | `BrokenResourceError` | [`SendErrorKind::Closed`](crate::sync::SendErrorKind::Closed), and the errors of the operating system |
//! | `BusyResourceError` | [`io::Busy`](crate::io::Busy) |
//! | `UnboundedQueue`, `UnboundedQueueStatistics` | [`unbounded`](crate::sync::unbounded), as trio advises too |
//!
//! Not in trio: [`broadcast`](crate::sync::broadcast), [`watch`](crate::sync::watch),
//! [`Barrier`](crate::sync::Barrier), [`race`], [`wait_any`], [`first_ok`], [`gather`],
//! [`gather_limited`], [`join_all`], [`CancelToken`], [`SharedTask`], timeouts by
//! [progress](crate::time::fail_when_stalled), service children, and asking a scope
//! [to stop](crate::ScopeHandle::stop).
//!
//! # Streams, sockets, files and processes
//!
//! | trio | here |
//! | --- | --- |
//! | `abc.AsyncResource` | [`Close`](crate::io::Close), which does not wait; dropping closes as well |
//! | `abc.SendStream`, `ReceiveStream`, `Stream`, `HalfCloseableStream` | [`SendStream`](crate::io::SendStream), [`ReceiveStream`](crate::io::ReceiveStream), [`Stream`](crate::io::Stream); [`send_eof`](crate::io::SendStream::send_eof) |
//! | `abc.Listener` | [`Listener`](crate::net::Listener) |
//! | `abc.SendChannel`, `ReceiveChannel`, `Channel` | no traits: the channels of [`sync`](crate::sync) and of the actor layer are types of their own |
//! | `StapledStream` | [`Stapled`](crate::io::Stapled) |
//! | `aclose_forcefully` | dropping |
//! | `open_tcp_stream`, `open_unix_socket` | [`connect_tcp`](crate::net::connect_tcp), [`Connector`](crate::net::Connector), [`connect_unix`](crate::net::connect_unix) |
//! | `open_tcp_listeners`, `serve_tcp`, `serve_listeners` | [`listen_tcp`](crate::net::listen_tcp), [`serve_tcp`](crate::net::serve_tcp), [`serve_listeners`](crate::net::serve_listeners) |
//! | `SocketStream`, `SocketListener` | [`SocketStream`](crate::net::SocketStream), [`SocketListener`](crate::net::SocketListener) |
//! | `socket.socket`, `socketpair`, `fromfd`, `fromshare`, `from_stdlib_socket`, `SocketType` | any socket of `std`, or of another crate, in [`Io`](crate::io::Io); [`SocketStream::new`](crate::net::SocketStream::new), [`SocketStream::pair`](crate::net::SocketStream::pair), [`UdpSocket`](crate::net::UdpSocket) |
//! | `socket.getaddrinfo` | [`resolve`](crate::net::resolve) |
//! | `socket.getnameinfo`, `getprotobyname` | no: [`thread::run_sync`](crate::thread::run_sync) with a crate for it |
//! | `abc.HostnameResolver`, `SocketFactory`, `socket.set_custom_hostname_resolver`, `set_custom_socket_factory` | no: [`happy_eyeballs`](crate::net::happy_eyeballs) connects by any function, and code for any [`Stream`](crate::io::Stream) takes a [`MemoryStream`](crate::testing::MemoryStream) |
//! | `socket.is_readable`, `did_shutdown_SHUT_WR`, `sendfile` | no |
//! | `lowlevel.wait_readable`, `wait_writable` | [`Io::readable`](crate::io::Io::readable), [`Io::writable`](crate::io::Io::writable) |
//! | `lowlevel.notify_closing` | not needed: what is waited for is borrowed, and cannot be closed meanwhile |
//! | `lowlevel.FdStream` | [`PipeSender`](crate::io::PipeSender), [`PipeReceiver`](crate::io::PipeReceiver), or any descriptor in [`Io`](crate::io::Io) |
//! | `open_file`, `wrap_file`, `Path`, `PosixPath`, `WindowsPath` | [`File`](crate::fs::File) and the functions of [`fs`](crate::fs); paths are those of `std` |
//! | `run_process`, `Process`, `lowlevel.open_process` | [`Command::run`](crate::process::Command::run), [`Process`](crate::process::Process), [`Command::open`](crate::process::Command::open); a process that is dropped is killed and reaped |
//! | `open_signal_receiver` | [`SignalReceiver`](crate::signals::SignalReceiver), in any thread; [`Escalation`](crate::signals::Escalation) |
//! | `SSLStream`, `SSLListener`, `open_ssl_over_tcp_stream`, `open_ssl_over_tcp_listeners`, `serve_ssl_over_tcp`, `NeedHandshakeError` | no: for a TLS crate over our streams. A send that was cancelled in the middle leaves such a stream unusable |
//! | `DTLSEndpoint`, `DTLSChannel`, `DTLSChannelStatistics` | no: for a crate of its own |
//! | `lowlevel.current_kqueue`, `monitor_kevent`, `wait_kevent`, and all of the Windows functions | no: Unix only, and nothing that one system has alone |
//!
//! # Threads
//!
//! | trio | here |
//! | --- | --- |
//! | `to_thread.run_sync` | [`thread::run_sync`](crate::thread::run_sync); with [`Call`](crate::thread::Call) a limiter, a name, and [leave to be abandoned](crate::thread::Call::abandon_on_cancel) |
//! | `to_thread.current_default_thread_limiter` | [`thread::default_limiter`](crate::thread::default_limiter) |
//! | `from_thread.run`, `from_thread.run_sync` | [`from_thread::run`](crate::thread::from_thread::run), [`from_thread::run_sync`](crate::thread::from_thread::run_sync) |
//! | `from_thread.check_cancelled` | [`from_thread::check_cancelled`](crate::thread::from_thread::check_cancelled) |
//! | `lowlevel.TrioToken`, `current_trio_token` | [`RuntimeHandle`], [`runtime_handle`] |
//! | `RunFinishedError` | [`RunFinished`] |
//! | `lowlevel.start_thread_soon` | [`thread::run_sync`](crate::thread::run_sync) keeps threads for reuse; there are none that nobody waits for |
//! | `testing.active_thread_count`, `wait_all_threads_completed` | [`active_threads`](crate::thread::active_threads), [`wait_all_threads_completed`](crate::thread::wait_all_threads_completed) |
//!
//! # Underneath
//!
//! | trio | here |
//! | --- | --- |
//! | `lowlevel.checkpoint`, `checkpoint_if_cancelled`, `cancel_shielded_checkpoint` | [`checkpoint`], [`checkpoint_if_cancelled`], [`cancel_shielded_checkpoint`]; [`check_cancelled`] looks at the clock, and does not await |
//! | `lowlevel.wait_task_rescheduled`, `reschedule`, `Abort`, `RaiseCancelT` | any future: its waker is the reschedule, its `Drop` the abort. [`ParkingLot`](crate::sync::ParkingLot) is the ready-made one |
//! | `lowlevel.Task`, `current_task` | [`TaskId`], [`current_task`] |
//! | `lowlevel.current_root_task` | the first entry of a [`dump`](crate::dump()); [`TaskId::parent`](crate::TaskId::parent) goes up |
//! | `lowlevel.RunVar`, `RunVarToken`, `Task.context`, `Task.custom_sleep_data` | [`RunVar`](crate::RunVar); in place of a context [`TreeVar`](crate::TreeVar), which children have from their nursery |
//! | `lowlevel.spawn_system_task` | no: a [service](crate::ChildOptions::service) of a nursery around everything, which ends after the others |
//! | `lowlevel.start_guest_run` | [`Runtime::guest`](crate::Runtime::guest), [`Guest`](crate::Guest); or as a future of any executor, [`Runtime::run_in`](crate::Runtime::run_in) |
//! | `lowlevel.in_trio_run`, `in_trio_task` | [`in_runtime`]; [`current_task`] is `None` outside of tasks |
//! | `lowlevel.current_statistics`, `RunStatistics` | [`statistics`], [`Statistics`] |
//! | `lowlevel.current_clock`, `abc.Clock` | [`VirtualClock`](crate::testing::VirtualClock); other clocks no: what a clock has to do to be waited for is the runtime's own |
//! | `lowlevel.add_instrument`, `remove_instrument`, `abc.Instrument` and its nine hooks | [`Instrument`](crate::Instrument), [`add_instrument`](crate::add_instrument), [`remove_instrument`](crate::remove_instrument); ready-made [`EventLog`](crate::EventLog) and [`Watchdog`](crate::Watchdog) |
//! | `Task.iter_await_frames` | no: futures have no frames that can be walked |
//! | `TrioInternalError` | a panic that says what was violated |
//! | `TrioDeprecationWarning`, `__version__` | the compiler's and Cargo's |
//! | `lowlevel.enable_ki_protection`, `disable_ki_protection`, `currently_ki_protected` | not needed: nothing interrupts code between two awaits |
//! | `lowlevel.temporarily_detach_coroutine_object`, `permanently_detach_coroutine_object`, `reattach_detached_coroutine_object` | not needed: a future may be polled by anybody |
//!
//! # Testing
//!
//! | trio | here |
//! | --- | --- |
//! | `testing.MockClock` | [`VirtualClock`](crate::testing::VirtualClock) |
//! | `testing.wait_all_tasks_blocked` | [`wait_all_tasks_blocked`](crate::testing::wait_all_tasks_blocked), [`wait_all_tasks_blocked_for`](crate::testing::wait_all_tasks_blocked_for) |
//! | `testing.Sequencer` | [`Sequencer`](crate::testing::Sequencer) |
//! | `testing.assert_checkpoints`, `assert_no_checkpoints` | [`assert_checkpoints`](crate::testing::assert_checkpoints), [`assert_no_checkpoints`](crate::testing::assert_no_checkpoints) |
//! | `testing.trio_test` | a function: [`testing::run`](crate::testing::run) |
//! | `testing.MemorySendStream`, `MemoryReceiveStream`, `memory_stream_pump` | [`MemorySender`](crate::testing::MemorySender), [`MemoryReceiver`](crate::testing::MemoryReceiver); [`MemoryLink`](crate::testing::MemoryLink) in place of pumps and hooks |
//! | `testing.memory_stream_pair`, `memory_stream_one_way_pair` | [`memory_stream_pair`](crate::testing::memory_stream_pair), [`memory_stream_one_way_pair`](crate::testing::memory_stream_one_way_pair) |
//! | `testing.lockstep_stream_pair`, `lockstep_stream_one_way_pair` | [`lockstep_stream_pair`](crate::testing::lockstep_stream_pair), [`lockstep_stream_one_way_pair`](crate::testing::lockstep_stream_one_way_pair) |
//! | `testing.check_one_way_stream`, `check_two_way_stream`, `check_half_closeable_stream` | [`check_one_way_stream`](crate::testing::check_one_way_stream), [`check_two_way_stream`](crate::testing::check_two_way_stream), [`check_half_closeable_stream`](crate::testing::check_half_closeable_stream) |
//! | `testing.open_stream_to_socket_listener` | [`connect_tcp`](crate::net::connect_tcp) or [`connect_unix`](crate::net::connect_unix) to the address of the [`SocketListener`](crate::net::SocketListener) |
//! | `testing.RaisesGroup`, `Matcher` | [`Error::leaves`], [`Error::split`], [`Error::downcast_ref`] |
//! | FakeNet | no: [`MemoryLink`](crate::testing::MemoryLink) for one connection |
//! | random order of a batch | [`testing::run_seeded`](crate::testing::run_seeded), [`RuntimeBuilder::seed`] |
//!
//! [`Cancelled`]: crate::Cancelled
//! [`CancelCause`]: crate::CancelCause
//! [`CancelScope`]: crate::CancelScope
//! [`CancelScope::run`]: crate::CancelScope::run
//! [`CancelScope::deadline`]: crate::CancelScope::deadline
//! [`CancelScope::timeout`]: crate::CancelScope::timeout
//! [`CancelScope::shield`]: crate::CancelScope::shield
//! [`CancelToken`]: crate::CancelToken
//! [`Error`]: crate::Error
//! [`Error::leaves`]: crate::Error::leaves
//! [`Error::split`]: crate::Error::split
//! [`Error::downcast_ref`]: crate::Error::downcast_ref
//! [`Nursery`]: crate::Nursery
//! [`Nursery::cancel`]: crate::Nursery::cancel
//! [`Nursery::scope`]: crate::Nursery::scope
//! [`Nursery::start`]: crate::Nursery::start
//! [`Nursery::start_soon`]: crate::Nursery::start_soon
//! [`NurseryOptions`]: crate::NurseryOptions
//! [`Outcome`]: crate::Outcome
//! [`RunFinished`]: crate::RunFinished
//! [`Runtime::builder`]: crate::Runtime::builder
//! [`RuntimeBuilder::seed`]: crate::RuntimeBuilder::seed
//! [`RuntimeHandle`]: crate::RuntimeHandle
//! [`ScopeHandle`]: crate::ScopeHandle
//! [`ScopeHandle::cancel`]: crate::ScopeHandle::cancel
//! [`ScopeHandle::cancel_because`]: crate::ScopeHandle::cancel_because
//! [`ScopeHandle::cancel_called`]: crate::ScopeHandle::cancel_called
//! [`ScopeHandle::cancelled_caught`]: crate::ScopeHandle::cancelled_caught
//! [`ScopeHandle::deadline`]: crate::ScopeHandle::deadline
//! [`ScopeHandle::set_deadline`]: crate::ScopeHandle::set_deadline
//! [`ScopeHandle::set_shield`]: crate::ScopeHandle::set_shield
//! [`ScopeHandle::set_timeout`]: crate::ScopeHandle::set_timeout
//! [`SharedTask`]: crate::SharedTask
//! [`Statistics`]: crate::Statistics
//! [`TaskHandle`]: crate::TaskHandle
//! [`TaskId`]: crate::TaskId
//! [`TaskStatus`]: crate::TaskStatus
//! [`TaskStatus::ignored`]: crate::TaskStatus::ignored
//! [`TooSlow`]: crate::TooSlow
//! [`cancel_shielded_checkpoint`]: crate::cancel_shielded_checkpoint
//! [`check_cancelled`]: crate::check_cancelled
//! [`checkpoint`]: crate::checkpoint()
//! [`checkpoint_if_cancelled`]: crate::checkpoint_if_cancelled
//! [`current_effective_deadline`]: crate::current_effective_deadline
//! [`current_task`]: crate::current_task
//! [`fail_after`]: crate::fail_after
//! [`fail_at`]: crate::fail_at
//! [`finally`]: crate::finally
//! [`first_ok`]: crate::first_ok
//! [`gather`]: crate::gather
//! [`gather_limited`]: crate::gather_limited
//! [`in_runtime`]: crate::in_runtime
//! [`join_all`]: crate::join_all
//! [`move_on_after`]: crate::move_on_after
//! [`move_on_at`]: crate::move_on_at
//! [`nursery`]: crate::nursery()
//! [`race`]: crate::race
//! [`run`]: crate::run
//! [`runtime_handle`]: crate::runtime_handle
//! [`shield`]: crate::shield
//! [`shield_for`]: crate::shield_for
//! [`statistics`]: crate::statistics
//! [`wait_any`]: crate::wait_any
