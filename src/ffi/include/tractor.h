// A tree of actors as a guest in a host's loop.
//
// A guest is given turns by the host's loop: `tractor_guest_turn` runs what there is to do, for so
// long, and comes back. In between the host waits for one descriptor, `tractor_guest_fd`, beside all
// else that it waits for, and for `tractor_guest_next_deadline`. In the guest workers are started,
// programs that are written in Rust with `tractor`; in a worker contexts are opened with what it
// exposes by a name; and what comes of these is told to callbacks.
//
// Threads: a guest belongs to the thread that made it. On any other every function but
// `tractor_version` and `tractor_last_error` answers TRACTOR_WRONG_THREAD, with no effect. Any number
// of guests may share a thread. Nothing is global: no signal is taken, no logger installed, nothing
// printed. A child that a program makes with fork(2) has to leave the guests of its parent alone.
//
// Callbacks run on the guest's thread, inside of `tractor_guest_turn` or `tractor_guest_free`, and at
// no other time. (The one of `tractor_guest_on_wake` is the exception.) They may call everything but
// these two, `tractor_guest_fd`, `tractor_guest_next_deadline` and `tractor_guest_on_wake`, which
// answer TRACTOR_REENTRANT, with no effect. What they are given is theirs until they return. They
// do return: an exception or a longjmp out of them is not allowed. Turns of another guest may be
// taken in them.
//
// Each worker that was started, and each context that was opened, is told its end exactly once, by
// its callback `ended`, and after that its callbacks and its `data` are used no more. Between
// `tractor_context_cancel` and the end none of the other callbacks of that context is called.
// `tractor_guest_free` returns when all that had not ended has been told its end.
//
// Workers and contexts are numbers, which are used once in a guest. To use one whose end was told,
// or that never was, is answered with TRACTOR_GONE. The pointer to a guest is no longer valid when
// `tractor_guest_free` has returned TRACTOR_OK.
//
// Values travel as MessagePack: one value is arguments (a map gives them by name), the started
// value, an item, or the result. They nest at most 64 deep, and are passed on byte for byte.
//
// A turn may be taken at any time: an early one does nothing, and a late one costs lateness and
// nothing else. What came meanwhile, also while the host was busy elsewhere, is kept.
//
// Functions answer with an `int32_t`. One that is negative is an error, of which
// `tractor_last_error` tells more. None of them lets a panic of Rust out: it is TRACTOR_PANIC.

#ifndef TRACTOR_H
#define TRACTOR_H

#include <stddef.h>
#include <stdint.h>

// It was done.
#define TRACTOR_OK 0

// Of a turn: the guest has stopped, and nothing is left of it. Further turns say so again.
#define TRACTOR_DONE 1

// Of a turn: the budget is used up, and there is more to do at once.
#define TRACTOR_MORE 2

// Of a turn: nothing is to be done until the descriptor is readable or the next deadline comes.
#define TRACTOR_IDLE 3

// An argument is not what it has to be: a null pointer, text that is not UTF-8, a value that is not
// one value of MessagePack, a struct of another size.
#define TRACTOR_INVALID -1

// The guest belongs to another thread.
#define TRACTOR_WRONG_THREAD -2

// It was called from inside of a callback, or of a turn, where that cannot be.
#define TRACTOR_REENTRANT -3

// The worker or context has ended or never was, or is about to end and takes nothing any more.
#define TRACTOR_GONE -4

// There is no room for another item: `room` will be called.
#define TRACTOR_FULL -5

// The stream was closed, by either side.
#define TRACTOR_CLOSED -6

// The operating system refused.
#define TRACTOR_SYSTEM -7

// The library failed inside, in a way that it should not. A guest in whose turn that happens has
// ended with it: its workers are gone, all ends have been told, and it is to be freed.
#define TRACTOR_PANIC -8

// The endpoint returned, and `value` is what. A worker: it ended because it was asked to.
#define TRACTOR_RETURNED 0

// It was cancelled: `canceller` says by whom, as far as is known, and `requested` whether that was
// this guest.
#define TRACTOR_CANCELLED 1

// It failed: `error_type` and `text` say of what.
#define TRACTOR_FAILED 2

// The host asked for it to end and there was no answer: in time, or because the connection was lost
// first; `text` says which. It was given up, and nothing more comes of it.
#define TRACTOR_UNANSWERED 3

// No deadline: only the descriptor tells when a turn is due.
#define TRACTOR_NEVER UINT64_MAX

// A tree of actors that lives in the host's loop. It is made by `tractor_guest_new`, and freed by
// `tractor_guest_free`.
typedef struct tractor_guest tractor_guest;

// A turn is due: `data` as it was given.
typedef void (*tractor_notify)(void *data);

// How a worker or a context ended. It is valid, with all that it points to, until the callback that
// is given it returns.
typedef struct {
  // `TRACTOR_RETURNED`, `TRACTOR_CANCELLED`, `TRACTOR_FAILED` or `TRACTOR_UNANSWERED`.
  int32_t outcome;
  // 1 if this guest had asked for it to end before it did, else 0. One that was asked may yet have
  // returned or failed first.
  int32_t requested;
  // The result, one value of MessagePack, or null.
  const uint8_t *value;
  // How many bytes it has.
  size_t value_len;
  // The type of the error, or null: what the worker itself met (`RemoteActorError` if it only passed
  // it on), or, like `PeerLost`, `ActorDied`, `SpawnError`, what was found out here.
  const char *error_type;
  // The type of the first error, where the worker passed on that of another actor, or null.
  const char *source_type;
  // The error, as text for people, or null.
  const char *text;
  // The actor that asked for the cancellation, as text, or null.
  const char *canceller;
} tractor_end;

// A worker has ended: `data` as it was given, the worker, and how.
typedef void (*tractor_worker_ended)(void *data, uint64_t worker, const tractor_end *end);

// How a worker is started. Everything it points to is copied, and may go when `tractor_worker_start`
// has returned; but for `data`.
typedef struct {
  // `sizeof(tractor_worker_options)`.
  size_t size;
  // What the actor is called, for people and in logs.
  const char *name;
  // The program: one whose `main` calls `tractor::run`. A path without a slash is searched for in
  // `PATH`.
  const char *program;
  // Its arguments, without its name, and then a null pointer; null for none.
  const char *const *args;
  // Which of its namespaces may be called, and then a null pointer: `api` covers the endpoint
  // `api:echo`, and `api::more:echo`. Null for none, which is of no use.
  const char *const *expose;
  // Is called when it has ended, if it is not null.
  tractor_worker_ended ended;
  // Is given to the callback. The host's, and not looked at.
  void *data;
} tractor_worker_options;

// A value came, one of MessagePack: the first, or an item of the stream.
typedef void (*tractor_value_came)(void *data,
                                   uint64_t context,
                                   const uint8_t *value,
                                   size_t value_len);

// There is room for items again.
typedef void (*tractor_room_made)(void *data, uint64_t context);

// A context has ended: `data` as it was given, the context, and how.
typedef void (*tractor_context_ended)(void *data, uint64_t context, const tractor_end *end);

// How a context is opened. Everything it points to is copied, and may go when `tractor_context_open`
// has returned; but for `data`.
typedef struct {
  // `sizeof(tractor_context_options)`.
  size_t size;
  // The endpoint, `namespace:function`, as the worker's program names it.
  const char *endpoint;
  // Its arguments, one value of MessagePack: a map gives them by name. Null for none.
  const uint8_t *args;
  // How many bytes they have.
  size_t args_len;
  // Is called with the value that the endpoint started with, if it is not null.
  tractor_value_came started;
  // Is called with each item of the stream, if it is not null.
  tractor_value_came item;
  // Is called when there is room for items after TRACTOR_FULL, if it is not null.
  tractor_room_made room;
  // Is called when the context has ended, if it is not null.
  tractor_context_ended ended;
  // Is given to the callbacks. The host's, and not looked at.
  void *data;
} tractor_context_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What the last error of this thread was, as text for people: empty if there was none. It is valid
// until the next error on this thread. From any thread.
const char *tractor_last_error(void);

// The version of the library, as text that stays. From any thread.
const char *tractor_version(void);

// Makes a guest, the root of a tree of actors with this name, which belongs to this thread. Nothing
// of it runs before its first turn.
//
// On TRACTOR_OK `*guest` is to be freed with `tractor_guest_free`; else it is null.
// TRACTOR_INVALID: a pointer is null, or the name not UTF-8. TRACTOR_SYSTEM: there are no
// descriptors left.
//
// # Safety
//
// `name` is null or text that ends with a zero; `guest` is null or may be written to.
int32_t tractor_guest_new(const char *name, tractor_guest **guest);

// Gives the guest a turn: runs what is ready and what is due, with the callbacks that come of it,
// until nothing is or `budget_ns` nanoseconds are used up. At least a little is done; what a
// callback takes counts, and it is not cut short.
//
// TRACTOR_MORE: call it again soon; the descriptor stays readable. TRACTOR_IDLE: wait for the
// descriptor and the next deadline. TRACTOR_DONE: the guest was stopped and has ended; nothing is
// left of its workers, and it is to be freed. TRACTOR_REENTRANT: in a callback of this guest.
// TRACTOR_PANIC.
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed.
int32_t tractor_guest_turn(tractor_guest *guest, uint64_t budget_ns);

// The descriptor that is readable when a turn is due, the same one until the guest is freed. Poll it
// beside others, and do nothing else with it: neither read nor close it. On Linux it tells of
// deadlines too.
//
// Negative if there is none: TRACTOR_INVALID, TRACTOR_WRONG_THREAD. In a callback it is
// TRACTOR_REENTRANT.
//
// # Safety
//
// That of `tractor_guest_turn`.
int32_t tractor_guest_fd(const tractor_guest *guest);

// In how many nanoseconds from now a turn has to be taken at the latest: 0 if there is something to
// do at once, TRACTOR_NEVER if only the descriptor tells. To be asked after each turn. (What is called
// between turns makes the descriptor readable.) In a callback it is TRACTOR_REENTRANT.
//
// # Safety
//
// That of `tractor_guest_turn`; `ns` is null or may be written to.
int32_t tractor_guest_next_deadline(const tractor_guest *guest,
                                    uint64_t *ns);

// Has `notify` called whenever something wakes the guest outside of its turns, once after each
// TRACTOR_IDLE. It is for hosts that can be woken more directly than by the descriptor, not instead
// of it: the descriptor alone tells when a worker has sent something.
//
// `notify` is called on any thread, also on the guest's own in the middle of a call such as
// `tractor_context_send`. It has a turn taken soon, and takes none itself (on the guest's own thread
// that is TRACTOR_REENTRANT, on others TRACTOR_WRONG_THREAD). A null pointer ends it. When this, or
// `tractor_guest_free`, has returned, the former one runs no more, nor will again: a `notify` must
// not wait for the guest's thread. TRACTOR_REENTRANT: in a callback of this guest.
//
// # Safety
//
// That of `tractor_guest_turn`; `notify` may be called with `data` on any thread, until another is
// set or the guest is freed.
int32_t tractor_guest_on_wake(tractor_guest *guest,
                              tractor_notify notify,
                              void *data);

// Has everything in the guest end in order, in the turns to come: all contexts are cancelled, and
// when their workers have answered or 616 ms are over, the workers are ended as by
// `tractor_worker_stop`. Then a turn answers TRACTOR_DONE. Nothing new is taken any more. Again has
// no effect. May be called in a callback.
//
// # Safety
//
// That of `tractor_guest_turn`.
int32_t tractor_guest_stop(tractor_guest *guest);

// Ends the guest and frees it. What was not stopped yet is, in order, while this blocks the thread
// and takes turns, with their callbacks, for at most `limit_ns` nanoseconds; then what is left of its
// workers is killed and waited for, and all that has not been told its end is told
// TRACTOR_UNANSWERED. With 0 that is done at once.
//
// On TRACTOR_OK the pointer is no longer valid, and none of the callbacks is called any more. A null
// pointer is TRACTOR_OK. TRACTOR_REENTRANT, in a callback of this guest, and TRACTOR_WRONG_THREAD:
// nothing was done, and it is still to be freed. After TRACTOR_PANIC it is freed as after TRACTOR_OK.
//
// # Safety
//
// That of `tractor_guest_turn`.
int32_t tractor_guest_free(tractor_guest *guest,
                           uint64_t limit_ns);

// Starts a worker: a process, in the turns to come. Contexts may be opened with it at once. It goes on
// until it is stopped, or the guest is; if it dies, its contexts and it itself are told so, and the
// guest goes on. Its end is told after those of its contexts, when its process is gone. May be
// called in a callback.
//
// `*worker` is then the worker. TRACTOR_INVALID: an option is not what it has to be. TRACTOR_GONE:
// the guest was stopped. Whatever is wrong with the program is told by `ended` (and by the `ended`
// of its contexts).
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed; `options` is null, or points to
// what its fields say, its lists to text that ends with a zero; its callback may be called with
// `data` on this thread until it has been; `worker` is null or may be written to.
int32_t tractor_worker_start(tractor_guest *guest,
                             const tractor_worker_options *options,
                             uint64_t *worker);

// Has a worker end in order, in the turns to come: its contexts are cancelled, and when they have
// ended it is asked to end; 1.6 s later it gets SIGTERM, and 0.5 s after that SIGKILL. One that is
// not up yet is ended at once. Again has no effect. May be called in a callback.
//
// TRACTOR_GONE: it has ended.
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed.
int32_t tractor_worker_stop(tractor_guest *guest, uint64_t worker);

// Opens a context with an endpoint of a worker, in the turns to come: when the worker is up. Its
// first value comes by `started`, then its items by `item`, and its end by `ended`, whether it
// returned, failed or was cancelled, and also if it was not there. May be called in a callback.
//
// `*context` is then the context. TRACTOR_INVALID: an option is not what it has to be.
// TRACTOR_GONE: the worker has ended, or is about to.
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed; `options` is null, or points to
// what its fields say; its callbacks may be called with `data` on this thread until `ended` has
// been; `context` is null or may be written to.
int32_t tractor_context_open(tractor_guest *guest,
                             uint64_t worker,
                             const tractor_context_options *options,
                             uint64_t *context);

// Sends an item, one value of MessagePack, which is copied. It is on its way in the turns to come, and
// after all that was sent before; what was sent before the endpoint has started waits for that. May
// be called in a callback.
//
// TRACTOR_FULL: 64 items wait already, for the worker does not take them; `room` will be called when
// there is room again. TRACTOR_CLOSED: this side has closed the stream, or the other side has, or
// the endpoint has ended. TRACTOR_GONE: the end was told. TRACTOR_INVALID. In none of these cases
// was anything sent. An item larger than a frame may be, 16 MiB, or one that nests more than 64 deep, is
// the end of the context.
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed; `item` is null, or points to
// `item_len` bytes.
int32_t tractor_context_send(tractor_guest *guest,
                             uint64_t context,
                             const uint8_t *item,
                             size_t item_len);

// Closes this side's end of the stream, when what was sent before is on its way: the endpoint is told
// that no more comes, and no item is received any more. The context goes on until the endpoint
// ends. Again has no effect. May be called in a callback.
//
// TRACTOR_GONE: the end was told.
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed.
int32_t tractor_context_close(tractor_guest *guest,
                              uint64_t context);

// Calls `item` no more, until `tractor_context_resume`: the worker is made to wait when it has sent 64
// items more. The end is told all the same, and what has not been received by then is lost, if the
// endpoint fails or is cancelled; one that returns is heard of after its items. Again has no effect.
// May be called in a callback, which is then the last one.
//
// TRACTOR_GONE: the end was told.
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed.
int32_t tractor_context_pause(tractor_guest *guest,
                              uint64_t context);

// Calls `item` again, in the turns to come. Again has no effect. May be called in a callback.
//
// TRACTOR_GONE: the end was told.
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed.
int32_t tractor_context_resume(tractor_guest *guest, uint64_t context);

// Cancels a context: the endpoint in the worker is cancelled, in the turns to come, and this guest is
// named to it as who asked. No `started`, `item` or `room` is called for it any more, and `ended`
// once: when the endpoint has answered, or 616 ms are over, or the time is for which the endpoint said
// that it is shielded. A result that was on its way wins: TRACTOR_RETURNED, or TRACTOR_FAILED. Again
// has no effect. May be called in a callback.
//
// TRACTOR_GONE: the end was told.
//
// # Safety
//
// `guest` is null, or was made by `tractor_guest_new` and not freed.
int32_t tractor_context_cancel(tractor_guest *guest,
                               uint64_t context);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TRACTOR_H */
