//! Nothing: what this crate is there for are its tests.
