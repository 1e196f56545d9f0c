use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use tractor_runtime::time::sleep_forever;
use tractor_runtime::{
    CancelCause, CancelKind, CancelScope, NurseryOptions, Result, move_on_after, nursery,
};

use super::Actor;
use super::current::within;

/// How long an actor that has ended may take to write what it still has to say, and to hear that
/// its peers have.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);

/// Runs `main` as an actor: with its connections around it, which outlive it.
///
/// What `main` leaves behind in the actor, the tasks of peers, is cancelled when it ends.
pub(crate) async fn host<T>(
    actor: Actor,
    main: impl AsyncFnOnce(&Rc<Actor>) -> Result<T>,
) -> Result<T> {
    let actor = Rc::new(actor);
    let mut result = None;
    // Not to be cancelled with the actor: what it says last still has to be written.
    let shielded = CancelScope::new().shield(true);
    let services = NurseryOptions::new().scope(shielded).run(async |services| {
        actor.serves_in(services.handle());
        let main = nursery(async |tasks| {
            actor.works_in(tasks.handle());
            // On the heap, or without optimisation each level around it has a copy on the stack.
            let result = Box::pin(main(&actor)).await;
            actor.cancel_tasks(CancelCause::new(CancelKind::Requested));
            result
        });
        // Kept apart, for the cancellation of the services is not to absorb one of `main`'s.
        result = Some(main.await);
        actor.ends.run();
        actor.report_to_parent();
        move_on_after(LEAVE_LIMIT, async { Ok(actor.take_leave().await?) }).await?;
        services.cancel();
        Ok(())
    });
    // So what cancels the runtime reaches it as what cancels the actor does.
    let asked = async {
        if let Err(cancelled) = sleep_forever().await {
            actor.cancel(cancelled.cause().clone());
        }
        pending().await
    };
    let connected = Connected(actor.clone());
    let ended = within(actor.clone(), or(asked, services)).await;
    drop(connected);
    // If the services failed, it was not done yet.
    actor.ends.run();
    ended?;
    result.expect("the services end after main")
}

/// Lets go of the connections in the end, also when the actor is dropped.
struct Connected(Rc<Actor>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.lose_connections();
    }
}
