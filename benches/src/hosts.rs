//! Starts each side's executor and runs a measurement *inside a task* of it, since what an
//! executor's own `block_on` future costs is another matter.

use std::future::Future;
use std::rc::Rc;

use async_executor::LocalExecutor;

/// Ours.
pub(crate) fn tractor(measure: impl AsyncFnOnce() -> tractor_runtime::Result<()>) {
    tractor_runtime::run(measure).expect("the measurement does not fail");
}

/// One thread of tokio, the way it runs futures that are not `Send`.
pub(crate) fn tokio(measure: impl Future<Output = ()> + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("tokio's runtime starts");
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        tokio::task::spawn_local(measure)
            .await
            .expect("the measurement does not panic");
    });
}

/// smol's executor for one thread. The measurement spawns onto the executor it is given.
pub(crate) fn smol<F: Future<Output = ()> + 'static>(
    measure: impl FnOnce(Rc<LocalExecutor<'static>>) -> F,
) {
    let executor = Rc::new(LocalExecutor::new());
    let task = executor.spawn(measure(executor.clone()));
    async_io::block_on(executor.run(task));
}
