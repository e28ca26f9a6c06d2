//! Changes that belong together: of one key after a look at it, of several keys, or of a whole transaction.
//!
//! In: the keys, whose shards are locked from the beginning to the end. Out: one record. Promises: nobody sees a part of it;
//! what cannot be recorded has not happened, and neither has what is dropped before its end.

use smallvec::SmallVec;

use super::map::{Locked, Taken};
use super::{Barrier, Engine, MissingKeyWatch, is_gone};
use crate::model::entry::Entry;
use crate::model::{Change, Key, Value};
use crate::persistence::{DiskFault, RECORD_BYTES_MAX, Record};
use crate::protocol::{ErrorCode, ErrorReply};

/// One step, and what it has done away with.
enum Step {
    /// This has come in the place of that.
    Put(Entry, Option<Entry>),
    /// This has gone.
    Delete(Entry),
    /// All this has gone.
    Clear(Taken),
}

/// Changes in the making.
pub struct WriteTransaction<'a> {
    engine: &'a Engine,
    locked: Locked<'a>,
    steps: SmallVec<[Step; 1]>,
    /// Bytes of keys and values that the steps hold: their record is no shorter.
    bytes: usize,
}

/// How much has been done so far.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl<'a> WriteTransaction<'a> {
    pub(super) fn new(engine: &'a Engine, locked: Locked<'a>) -> Self {
        Self {
            engine,
            locked,
            steps: SmallVec::new(),
            bytes: 0,
        }
    }

    /// What whoever looks at these keys has seen.
    #[must_use]
    pub fn seen(&self) -> Barrier {
        Barrier(self.locked.changed())
    }

    /// The pair of a key, as it is now.
    pub fn get(&mut self, key: Key<'_>) -> Option<Entry> {
        self.locked.get(key).filter(|entry| !is_gone(entry))
    }

    /// Notes that a key is not there; tells later whether it has come since.
    #[must_use]
    pub fn watch_missing_key(&self, key: Key<'_>) -> MissingKeyWatch {
        self.engine.table.absences.note(key)
    }

    /// Stores a value under a key; returns true if the key did not exist.
    pub fn put(&mut self, key: Key<'_>, value: Value<'_>) -> bool {
        let entry = Entry::new(key, value);
        let old = self.locked.insert(entry.clone());
        let is_new = old.as_ref().is_none_or(is_gone);
        self.push(Step::Put(entry, old));
        is_new
    }

    /// Deletes a key; whether it was there.
    pub fn delete(&mut self, key: Key<'_>) -> bool {
        let Some(old) = self.locked.remove(key) else {
            return false;
        };
        let was_there = !is_gone(&old);
        self.push(Step::Delete(old));
        was_there
    }

    /// Deletes every key; all shards must be locked.
    pub fn clear(&mut self) {
        // Where this has been done before there is nothing to be kept.
        if self.steps.is_empty() || self.locked.keys() > 0 {
            self.steps.push(Step::Clear(self.locked.take_all()));
        }
    }

    fn push(&mut self, step: Step) {
        self.bytes += step.bytes();
        self.steps.push(step);
    }

    /// How many keys there are, without those that have expired.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.engine.unexpired(self.locked.keys())
    }

    /// That the changes so far are too long to be recorded as one, if they are: `TOO_LARGE`.
    #[must_use]
    pub fn excess(&self) -> Option<ErrorReply> {
        (self.bytes > RECORD_BYTES_MAX).then(|| too_large(self.bytes))
    }

    /// How much has been done so far.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.steps.len())
    }

    /// Undoes what was done since.
    pub fn undo(&mut self, since: Mark) {
        while self.steps.len() > since.0
            && let Some(step) = self.steps.pop()
        {
            self.bytes -= step.bytes();
            match step {
                Step::Put(_, Some(old)) | Step::Delete(old) => drop(self.locked.insert(old)),
                Step::Put(new, None) => drop(self.locked.remove(new.key())),
                Step::Clear(taken) => self.locked.put_back(taken),
            }
        }
    }

    /// Records all of it; whether there was anything.
    ///
    /// # Errors
    /// `DISK`, while the disk takes no changes; `TOO_LARGE`. Nothing has changed then.
    pub fn end(mut self, made: &mut Barrier) -> Result<bool, ErrorReply> {
        if self.steps.is_empty() {
            return Ok(false);
        }
        if let Some(error) = self.excess() {
            return Err(error);
        }
        let record = self.record();
        if let Some(record) = &record
            && record.bytes() > RECORD_BYTES_MAX
        {
            return Err(too_large(record.bytes()));
        }
        let change = self.engine.store.append(record)?;
        self.locked.note(change);
        made.raise(Barrier(change));
        let steps = std::mem::take(&mut self.steps);
        // What is freed is freed without the locks.
        drop(self);
        if steps.iter().any(|step| matches!(step, Step::Clear(_))) {
            // Ten million entries take a second to free; no request waits for it, unless there is no thread to be had.
            let _ = std::thread::Builder::new().spawn(move || drop(steps));
        }
        Ok(true)
    }

    fn record(&self) -> Option<Record> {
        let store = &self.engine.store;
        match &*self.steps {
            [Step::Put(entry, _)] => store.encode(&Change::Put(entry.key(), entry.value())),
            [Step::Clear(_)] => store.encode(&Change::Clear),
            steps => {
                let mut deleted = Vec::new();
                for step in steps {
                    if let Step::Delete(entry) = step {
                        deleted.push(entry.key());
                    }
                }
                if deleted.len() == steps.len() {
                    return store.encode(&Change::Delete(&deleted));
                }
                let mut deleted = deleted.chunks(1);
                let changes: Vec<Change<'_>> = steps
                    .iter()
                    .map(|step| match step {
                        Step::Put(entry, _) => Change::Put(entry.key(), entry.value()),
                        Step::Delete(_) => Change::Delete(deleted.next().unwrap_or_default()),
                        Step::Clear(_) => Change::Clear,
                    })
                    .collect();
                store.encode(&Change::Group(&changes))
            }
        }
    }
}

impl Step {
    fn bytes(&self) -> usize {
        match self {
            Self::Put(entry, _) => entry.data_bytes(),
            Self::Delete(entry) => entry.key_bytes().len(),
            Self::Clear(_) => 0,
        }
    }
}

fn too_large(bytes: usize) -> ErrorReply {
    ErrorReply::new(
        ErrorCode::TooLarge,
        format!(
            "these changes together take at least {bytes} bytes as one record, and may take {RECORD_BYTES_MAX}; nothing was changed"
        ),
    )
}

impl Drop for WriteTransaction<'_> {
    fn drop(&mut self) {
        self.undo(Mark(0));
    }
}

impl From<DiskFault> for ErrorReply {
    fn from(fault: DiskFault) -> Self {
        Self::new(ErrorCode::Disk, fault.to_string())
    }
}
