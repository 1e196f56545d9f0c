//! Cancel scopes and nurseries as part of a single-threaded executor.
