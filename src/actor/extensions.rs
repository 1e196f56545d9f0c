use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// What parts of the library keep once an actor, by its type.
#[derive(Default)]
pub(super) struct Extensions(RefCell<HashMap<TypeId, Rc<dyn Any>>>);

impl Extensions {
    pub(super) fn of<E: Default + 'static>(&self) -> Rc<E> {
        let mut extensions = self.0.borrow_mut();
        let extension = extensions
            .entry(TypeId::of::<E>())
            .or_insert_with(|| Rc::new(E::default()));
        let extension = extension.clone().downcast();
        extension.expect("an extension is found by its type")
    }
}
