//! The data of another server: its folder, copied, and its records, one after the other.
//!
//! In: a folder, lines of journals. Out: the same pairs, and the same records under the same numbers. Promises: a record is applied as
//! a whole, once; one that is not the next is an error.

use std::path::Path;

use super::Engine;
use super::data::Data;
use super::error::ApplyError;
use super::listener::Cause;
use super::load::Loading;
use super::map::{LockedShards, SHARDS};
use crate::model::{Key, PairError, Value};
use crate::persistence::{
    DiskFault, FollowError, Line, ParsedChange, Payload, Progress, RecordFeed, Records, StoreError,
    Timeline, read_line,
};

impl Engine {
    /// Returns the number of the last record.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.data.store.appended()
    }

    /// Returns the feed of a replica: what follows on a record of a timeline, or all.
    ///
    /// # Errors
    /// [`FollowError`]; [`FollowError::Ahead`] and [`FollowError::Gone`] if the replica has to copy all.
    pub fn feed_replica(&self, place: Option<(&str, u64)>) -> Result<RecordFeed, FollowError> {
        self.data.store.feed_replica(place)
    }

    /// Returns the timelines of the records, oldest first.
    #[must_use]
    pub fn timelines(&self) -> Vec<Timeline> {
        self.data.store.timelines()
    }

    /// Returns the name of the newest timeline, if there is any.
    #[must_use]
    pub fn newest_timeline(&self) -> Option<String> {
        self.data.store.newest_timeline()
    }

    /// Lets the records from the next one on be of a timeline of this server.
    ///
    /// # Errors
    /// [`DiskFault`], if the journal does not take that.
    pub fn begin_timeline(&self) -> Result<(), DiskFault> {
        self.data.store.begin_timeline()
    }

    /// Lets the records from a number on be of a timeline of another server.
    ///
    /// # Errors
    /// [`DiskFault`], if the journal does not take that.
    pub fn copy_timeline(&self, timeline: Timeline) -> Result<(), DiskFault> {
        self.data.store.copy_timeline(timeline)
    }

    /// Applies a line of another server's journal, without its line feed; a record that is here already is passed over.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing has changed then.
    pub fn apply(&self, line: &[u8]) -> Result<(), ApplyError> {
        let Some(Line::Record(seq, payload)) = read_line(line) else {
            return Err(ApplyError::Malformed);
        };
        let expected = self.revision() + 1;
        if seq < expected {
            return Ok(());
        }
        if seq > expected {
            return Err(ApplyError::Gap { seq, expected });
        }
        let record = Records::of_line(line).ok_or(ApplyError::Malformed)?;
        let changes = match payload {
            Payload::Change(change) => vec![change],
            Payload::Group(changes) => changes,
            Payload::Saved(_) => Vec::new(),
        };
        let Data { table, store, .. } = &*self.data;
        let is_on_all = changes
            .iter()
            .any(|change| matches!(change, ParsedChange::Clear));
        let keys: Vec<Key<'_>> = changes.iter().flat_map(keys_of).collect::<Result<_, _>>()?;
        let mut locked = if is_on_all {
            LockedShards::lock_all(table)
        } else {
            LockedShards::lock(table, &keys)
        };
        let entries = changes.iter().map(|change| match change {
            ParsedChange::Put(key, loaded) => {
                let value = Value::with_expiry(&loaded.bytes, loaded.expires_at)?;
                Ok(Some(table.entry(Key::parse(key)?, value)))
            }
            _ => Ok(None),
        });
        let entries: Vec<_> = entries.collect::<Result<_, PairError>>()?;
        let change = store.append_foreign(record)?;
        let mut removed = None;
        for (change, entry) in changes.iter().zip(entries) {
            match change {
                ParsedChange::Put(..) => drop(entry.map(|entry| locked.insert(entry))),
                ParsedChange::Delete(keys) | ParsedChange::Evict(keys) => {
                    for key in keys {
                        locked.remove(Key::parse(key)?);
                    }
                }
                ParsedChange::Clear => removed = Some(locked.remove_all()),
            }
        }
        locked.set_last_change(change);
        self.note_applied(&changes);
        drop(locked);
        if let Some(removed) = removed {
            // Freeing them takes long.
            let _ = std::thread::Builder::new().spawn(move || drop(removed));
        }
        Ok(())
    }

    /// Tells the listener of changes of another server.
    fn note_applied(&self, changes: &[ParsedChange<'_>]) {
        let note_all = |keys: &[Vec<u8>], cause| {
            for key in keys {
                self.data.note(key, cause);
            }
        };
        for change in changes {
            match change {
                ParsedChange::Put(key, _) => self.data.note(key, Cause::Copied),
                ParsedChange::Delete(keys) => note_all(keys, Cause::DeletedThere),
                ParsedChange::Evict(keys) => note_all(keys, Cause::Evicted),
                ParsedChange::Clear => self.data.note_all(),
            }
        }
    }

    /// Replaces all pairs and records by those of a copy of another server's folder. No client may use the data meanwhile, and
    /// all must be saved then.
    ///
    /// # Errors
    /// [`StoreError`], if the copy cannot be read: the pairs have to be replaced again then.
    pub fn adopt(&self, copy: &Path, progress: &Progress) -> Result<(), StoreError> {
        let Data { table, store, .. } = &*self.data;
        let clear = || (0..SHARDS).for_each(|shard| table.clear_shard(shard));
        store.adopt(copy, clear, &Loading::new(table), progress)?;
        for shard in 0..SHARDS {
            table.set_last_change(shard, store.appended());
        }
        self.data.note_all();
        Ok(())
    }
}

/// Returns the keys of a change.
fn keys_of<'a>(change: &'a ParsedChange<'_>) -> Vec<Result<Key<'a>, PairError>> {
    match change {
        ParsedChange::Put(key, _) => vec![Key::parse(key)],
        ParsedChange::Delete(keys) | ParsedChange::Evict(keys) => {
            keys.iter().map(|key| Key::parse(key)).collect()
        }
        ParsedChange::Clear => Vec::new(),
    }
}
