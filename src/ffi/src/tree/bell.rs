use std::cell::RefCell;
use std::rc::Rc;

use tractor::Cancelled;
use tractor::runtime::sync::Event;

/// Has those who wait look again at what they wait for.
#[derive(Default)]
pub(crate) struct Bell(RefCell<Rc<Event>>);

impl Bell {
    pub(crate) fn ring(&self) {
        let rung = self.0.replace(Rc::default());
        rung.set();
    }

    /// Waits until that is so.
    pub(crate) async fn until(&self, is_so: impl Fn() -> bool) -> Result<(), Cancelled> {
        while !is_so() {
            let next = self.0.borrow().clone();
            next.wait().await?;
        }
        Ok(())
    }
}
