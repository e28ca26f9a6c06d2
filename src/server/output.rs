//! The output buffer of a connection: encoded replies that have not been sent.
//!
//! In: replies. Out: bytes of the client's dialect. Promises: a long value is not copied; replies that report a change are marked
//! until they are sent, so that an error can replace them if the change cannot be made durable.

use std::sync::Arc;

use crate::codec::json::Pieces;
use crate::command::{Account, HeldValue, Replies};
use crate::model::entry::Entry;
use crate::protocol::{Dialect, ErrorReply, Reply, line, resp};
use crate::spare::Spare;

/// Length in bytes from which on replies are sent before more requests are executed.
pub const OUTPUT_BYTES_MAX: usize = 256 << 10;

thread_local! {
    static SPARE: Spare<Vec<u8>> = const { Spare::empty() };
}

/// Output buffer of a connection.
pub struct Output {
    account: Arc<Account>,
    bytes: Vec<u8>,
    /// Dialect of the next replies.
    pub dialect: Dialect,
    /// Replies that report a change: start, end, dialect.
    changes: Vec<(usize, usize, Dialect)>,
    /// The value after the bytes. It has to be sent before more replies are appended.
    tail: Option<Box<LongValue>>,
}

/// A long value, which is sent from the entry.
pub enum LongValue {
    /// The value, then CRLF.
    Bytes(HeldValue),
    /// The value as a JSON string, then its closing quote.
    Json(Pieces<HeldValue>),
}

impl Output {
    /// Makes an empty buffer for the client with this account.
    #[must_use]
    pub fn new(account: &Arc<Account>) -> Self {
        Self {
            account: Arc::clone(account),
            bytes: Vec::new(),
            dialect: Dialect::default(),
            changes: Vec::new(),
            tail: None,
        }
    }

    /// Returns true if there is nothing to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reserves memory for that many more bytes.
    #[inline(always)]
    pub fn reserve(&mut self, bytes: usize) {
        if self.bytes.capacity() == 0 {
            self.bytes = Spare::take(&SPARE);
        }
        self.bytes.reserve(bytes);
    }

    /// Marks the replies since `start` as reporting a change.
    pub fn note_change(&mut self, start: usize) {
        self.changes.push((start, self.bytes.len(), self.dialect));
    }

    /// Returns true if a reply is marked.
    #[must_use]
    pub fn has_marks(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Replaces every reply that reports a change with an error. Returns their number.
    pub fn refuse_changes(&mut self, error: &ErrorReply) -> u64 {
        let replies = std::mem::take(&mut self.bytes);
        let changes = std::mem::take(&mut self.changes);
        let mut kept = 0;
        for (start, end, dialect) in &changes {
            self.bytes.extend_from_slice(&replies[kept..*start]);
            dialect.write(&mut self.bytes, Reply::Error(error));
            kept = *end;
        }
        self.bytes.extend_from_slice(&replies[kept..]);
        changes.len() as u64
    }

    /// Removes the replies since `start`, and their marks.
    pub fn discard(&mut self, start: usize) {
        self.bytes.truncate(start);
        self.tail = None;
        self.changes.retain(|(_, end, _)| *end <= start);
    }

    /// Removes the marks of changes, which are durable.
    pub fn confirm_changes(&mut self) {
        self.changes.clear();
    }

    /// Takes the bytes and the value after them, to be sent.
    pub fn take(&mut self) -> (Vec<u8>, Option<Box<LongValue>>) {
        (std::mem::take(&mut self.bytes), self.tail.take())
    }

    /// Returns the bytes, if no value follows them.
    #[must_use]
    pub fn plain_bytes(&self) -> Option<&[u8]> {
        self.tail.is_none().then_some(&*self.bytes)
    }

    /// Removes the first bytes, which have been sent. Returns true if no byte is left.
    #[inline(always)]
    pub fn remove_sent(&mut self, bytes: usize) -> bool {
        if bytes < self.bytes.len() {
            self.bytes.drain(..bytes);
            return false;
        }
        self.clear();
        true
    }

    /// Removes the bytes, which have been sent.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(OUTPUT_BYTES_MAX);
    }

    /// Returns the memory of the buffer in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Releases the memory of the empty buffer.
    #[inline(always)]
    pub fn release_memory(&mut self) {
        Spare::keep(&SPARE, std::mem::take(&mut self.bytes));
    }

    fn long(&mut self, key_in_item: Option<&[u8]>, entry: Entry) {
        let value = self.account.hold_value(entry);
        self.tail = Some(Box::new(if self.dialect.is_resp() {
            resp::value_opening(&mut self.bytes, value.as_ref().len());
            LongValue::Bytes(value)
        } else {
            let pieces = Pieces::new(value);
            let opening = line::value_opening(key_in_item, pieces.is_text());
            self.bytes.extend(opening);
            LongValue::Json(pieces)
        }));
    }
}

impl Replies for Output {
    #[inline(always)]
    fn reply(&mut self, reply: Reply<'_>) {
        self.dialect.write(&mut self.bytes, reply);
    }

    fn long_value(&mut self, entry: Entry) {
        self.long(None, entry);
    }

    fn long_item(&mut self, name: &[u8], entry: Entry) {
        self.long(Some(name), entry);
    }

    #[inline(always)]
    fn is_full(&self) -> bool {
        self.bytes.len() >= OUTPUT_BYTES_MAX || self.tail.is_some()
    }

    fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    #[inline(always)]
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn truncate(&mut self, bytes: usize) {
        self.bytes.truncate(bytes);
    }
}
