//! Measures tractor beside its peers.

fn main() {}
