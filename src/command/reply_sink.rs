//! The sink of replies, which each interface implements.
//!
//! In: replies, in order. Out: their encoding, which is up to the interface. Promise: a full sink still takes replies, at the cost
//! of memory; a [`Source`](super::stream::Source) therefore stops as soon as its sink is full.

use crate::model::entry::Entry;
use crate::protocol::{Dialect, Reply};

/// A sink of replies.
pub trait Replies: Send {
    /// Appends a reply.
    fn reply(&mut self, reply: Reply<'_>);

    /// Appends the value of an entry as a [`Reply::Found`], without copying it. The sink is full until it has been sent.
    fn long_value(&mut self, entry: Entry);

    /// Appends an entry as a [`Reply::Item`] with this name, without copying its value. The sink is full until it has been sent.
    fn long_item(&mut self, name: &[u8], entry: Entry);

    /// Returns true if the replies should be sent before more are appended.
    fn is_full(&self) -> bool;

    /// Sets the dialect of the replies that follow.
    fn set_dialect(&mut self, dialect: Dialect);

    /// Returns the length of the replies in bytes.
    fn bytes(&self) -> usize;

    /// Removes the replies after the first `bytes` bytes.
    fn truncate(&mut self, bytes: usize);
}
