//! The sink of replies: what a door gives the dispatcher to write to.
//!
//! In: replies, in their order. Out: whatever the door makes of them. Promise: whoever writes to a sink that is full, and goes
//! on, takes memory; a [`Source`](super::stream::Source) therefore stops as soon as it is.

use crate::model::entry::Entry;
use crate::protocol::{Dialect, Reply};

/// A sink of replies.
pub trait Replies: Send {
    /// Takes one reply.
    fn reply(&mut self, reply: Reply<'_>);

    /// Takes the value of an entry as a [`Reply::Found`], without copying it. The sink is full until it has been sent.
    fn long_value(&mut self, entry: Entry);

    /// Takes an entry as a [`Reply::Item`], without copying its value. The sink is full until it has been sent.
    fn long_item(&mut self, entry: Entry);

    /// Returns true if what it holds is to be sent before it takes more.
    fn is_full(&self) -> bool;

    /// Changes the dialect of the replies that follow.
    fn speak(&mut self, dialect: Dialect);

    /// Returns the length of what it holds, in bytes.
    fn bytes(&self) -> usize;

    /// Drops what it has taken since its length was `bytes`.
    fn truncate(&mut self, bytes: usize);
}
