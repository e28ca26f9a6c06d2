//! Changes that no command of a client has made here: what has expired, was evicted, or came from another server.
//!
//! In: a listener, once. Out: a call for each such change. Promise: the calls for one key come in the order of its changes, under its lock.

use std::fmt::Debug;

/// Why a pair has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was deleted because it had expired.
    Expired,
    /// It was evicted.
    Evicted,
    /// It was stored by the server that this one copies.
    Copied,
    /// It was deleted by the server that this one copies.
    DeletedThere,
}

/// Receives changes. Its methods are called under locks: they must not use the engine.
pub trait Listener: Debug + Send + Sync {
    /// Receives the change of one key.
    fn note(&self, key: &[u8], cause: Cause);

    /// Receives that all pairs may have changed.
    fn note_all(&self);
}
