//! Sources of the long replies of commands on many keys.
//!
//! In: a scan, or entries. Out: rows, counts, arrays. Promises: the entries of one shard of the table are held at a time, and none
//! is copied; the task yields between two shards. An array is an exception: as its length is sent first, its entries are
//! collected before, at 8 bytes a key.

use std::sync::Arc;

use super::namespace_count::Namespaces;
use super::pairs::{Pairs, Walk};
use crate::cluster::WalkPart;
use crate::command::acl::KeyFilter;
use crate::command::call::Call;
use crate::command::client_memory::{Account, Held};
use crate::command::glob::Pattern;
use crate::command::key_events::KeyEvents;
use crate::command::stream::{Pull, Pulled, Source};
use crate::engine::{COPIED_BYTES_MAX, DELETE_CHUNK_KEYS};
use crate::model::entry::Entry;
use crate::model::{Database, Key};
use crate::protocol::{ErrorCode, ErrorReply, Reply};

/// The pairs of a walk that the user may see.
pub(in crate::command) struct Listed {
    walk: Walk,
    filter: Option<KeyFilter>,
    /// Database of the client, whose keys all are.
    database: Database,
    /// True if only keys are listed that belong to no other database.
    is_alone: bool,
}

impl Listed {
    /// Begins to list the pairs with a prefix.
    ///
    /// # Errors
    /// `BUSY` while the data is being loaded.
    pub(in crate::command) fn of(
        call: &mut Call<'_, '_>,
        prefix: Key<'_>,
        part: WalkPart,
    ) -> Result<Self, ErrorReply> {
        let filter = call.key_filter();
        let walk = Pairs::of(call.service)?.walk(prefix, part);
        Ok(Self {
            walk,
            filter,
            database: call.session.database(),
            is_alone: false,
        })
    }

    /// Leaves out the keys of other databases, which database 0 has, too.
    pub(in crate::command) fn of_database_alone(self) -> Self {
        Self {
            is_alone: true,
            ..self
        }
    }

    /// Returns the name of a key, as the client knows it.
    fn name_of<'e>(&self, entry: &'e Entry) -> &'e [u8] {
        name_of(self.database, entry)
    }

    /// Returns some more entries; `None` after the last.
    ///
    /// # Errors
    /// Those of [`Walk::next`].
    async fn next(&mut self, pull: &mut Pull<'_>) -> Result<Option<Vec<Entry>>, ErrorReply> {
        let entries = self.walk.next(pull.barrier).await?;
        Ok(entries.map(|mut entries| {
            if let Some(filter) = &self.filter {
                entries.retain(|entry| filter.permits(entry.key_bytes()));
            }
            if self.is_alone {
                entries.retain(|entry| Database::of_key(entry.key_bytes()) == self.database);
            }
            entries
        }))
    }
}

/// Entries that are written one after the other, and held for the client until the last is.
struct Unwritten {
    held: Arc<Held>,
    next: usize,
}

impl Unwritten {
    fn new(account: &Arc<Account>, entries: Vec<Entry>) -> Self {
        Self {
            held: account.hold(entries),
            next: 0,
        }
    }

    fn next(&mut self) -> Option<&Entry> {
        let entry = self.held.entries().get(self.next)?;
        self.next += 1;
        Some(entry)
    }
}

/// Kind of the rows of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum RowKind {
    /// Key and value.
    Item,
    /// The key.
    Key,
}

/// One row for each pair of a scan, then their number.
pub(in crate::command) struct PairRows {
    account: Arc<Account>,
    listed: Listed,
    row: RowKind,
    /// Entries of the last shard.
    entries: Option<Unwritten>,
    count: u64,
}

impl PairRows {
    pub(in crate::command) fn new(account: &Arc<Account>, listed: Listed, row: RowKind) -> Self {
        Self {
            account: Arc::clone(account),
            listed,
            row,
            entries: None,
            count: 0,
        }
    }
}

impl Source for PairRows {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        while !pull.replies.is_full() {
            let Some(entry) = self.entries.as_mut().and_then(Unwritten::next) else {
                self.entries = None;
                let Some(entries) = self.listed.next(pull).await? else {
                    pull.replies.reply(Reply::End(self.count));
                    return Ok(Pulled::End);
                };
                if !entries.is_empty() {
                    self.entries = Some(Unwritten::new(&self.account, entries));
                }
                continue;
            };
            self.count += 1;
            let name = self.listed.name_of(entry);
            match self.row {
                RowKind::Key => pull.replies.reply(Reply::Key(name)),
                RowKind::Item if entry.value_bytes().len() > COPIED_BYTES_MAX => {
                    pull.replies.long_item(name, entry.clone());
                }
                RowKind::Item => {
                    let item = Reply::Item(name, entry.value());
                    pull.replies.reply(item);
                }
            }
        }
        Ok(Pulled::More)
    }
}

/// The number of pairs of a scan.
pub(in crate::command) struct Count(pub Listed);

impl Source for Count {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let mut count = 0;
        while let Some(entries) = self.0.next(pull).await? {
            count += entries.len() as u64;
        }
        pull.replies.reply(Reply::Count(count));
        Ok(Pulled::End)
    }
}

/// A random key of a scan.
pub(in crate::command) struct RandomKey(pub Listed);

impl Source for RandomKey {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        // Each key replaces the one before with a chance that makes all equally likely (reservoir sampling).
        let (mut chosen, mut seen): (Option<Entry>, u64) = (None, 0);
        while let Some(entries) = self.0.next(pull).await? {
            for entry in entries {
                seen += 1;
                if fastrand::u64(..seen) == 0 {
                    chosen = Some(entry);
                }
            }
        }
        match &chosen {
            Some(entry) => {
                let name = self.0.name_of(entry);
                pull.replies.reply(Reply::Value(name));
            }
            None => pull.replies.reply(Reply::NotFound),
        }
        Ok(Pulled::End)
    }
}

/// The keys of a scan that match a pattern, as an array.
pub(in crate::command) struct Matching {
    account: Arc<Account>,
    listed: Listed,
    pattern: Pattern,
    /// The entries, once all have been found.
    found: Option<Unwritten>,
}

impl Matching {
    pub(in crate::command) fn new(
        account: &Arc<Account>,
        listed: Listed,
        pattern: Pattern,
    ) -> Self {
        Self {
            account: Arc::clone(account),
            listed,
            pattern,
            found: None,
        }
    }
}

impl Source for Matching {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let found = if let Some(found) = &mut self.found {
            found
        } else {
            let mut found = Vec::new();
            while let Some(entries) = self.listed.next(pull).await? {
                found.append(&mut matching(entries, &self.pattern, Database::default()).await);
            }
            pull.replies.reply(Reply::Array(found.len()));
            self.found.insert(Unwritten::new(&self.account, found))
        };
        while !pull.replies.is_full() {
            let Some(entry) = found.next() else {
                return Ok(Pulled::End);
            };
            let name = self.listed.name_of(entry);
            pull.replies.reply(Reply::Key(name));
        }
        Ok(Pulled::More)
    }
}

/// Maximum number of bytes that are compared with a pattern before the task yields: some milliseconds for the longest pattern.
const COMPARED_BYTES_AT_A_TIME: usize = 256 << 10;

/// Returns the name that the key of an entry has in a database, to which it must belong.
pub(in crate::command) fn name_of(database: Database, entry: &Entry) -> &[u8] {
    database.name_of(entry.key_bytes())
}

/// Returns the entries of a database whose names match a pattern.
pub(in crate::command) async fn matching(
    entries: Vec<Entry>,
    pattern: &Pattern,
    database: Database,
) -> Vec<Entry> {
    let (mut kept, mut compared) = (Vec::new(), 0);
    for entry in entries {
        compared += entry.key_bytes().len();
        if compared > COMPARED_BYTES_AT_A_TIME {
            compared = 0;
            tokio::task::yield_now().await;
        }
        if pattern.matches(name_of(database, &entry)) {
            kept.push(entry);
        }
    }
    kept
}

/// The values of keys, as an array.
pub(in crate::command) struct ValueArray {
    /// For each key, whether it exists.
    exist: std::vec::IntoIter<bool>,
    /// The entries of those that do.
    entries: Unwritten,
    has_begun: bool,
}

impl ValueArray {
    pub(in crate::command) fn new(account: &Arc<Account>, entries: Vec<Option<Entry>>) -> Self {
        let exist: Vec<bool> = entries.iter().map(Option::is_some).collect();
        let found = entries.into_iter().flatten().collect();
        Self {
            exist: exist.into_iter(),
            entries: Unwritten::new(account, found),
            has_begun: false,
        }
    }
}

impl Source for ValueArray {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        if !self.has_begun {
            self.has_begun = true;
            pull.replies.reply(Reply::Array(self.exist.len()));
        }
        while !pull.replies.is_full() {
            let Some(exists) = self.exist.next() else {
                return Ok(Pulled::End);
            };
            match exists.then(|| self.entries.next()).flatten() {
                None => pull.replies.reply(Reply::NotFound),
                Some(entry) if entry.value_bytes().len() > COPIED_BYTES_MAX => {
                    pull.replies.long_value(entry.clone());
                }
                Some(entry) => pull.replies.reply(Reply::Found(entry.value())),
            }
        }
        Ok(Pulled::More)
    }
}

/// The namespaces below a prefix, each with its number of keys.
pub(in crate::command) struct NamespaceRows {
    listed: Listed,
    namespaces: Namespaces,
    is_resp: bool,
    /// Rows that have not been written, once all have been counted.
    rows: Option<std::collections::btree_map::IntoIter<Box<[u8]>, u64>>,
    count: u64,
}

impl NamespaceRows {
    pub(in crate::command) fn new(listed: Listed, prefix: &[u8], is_resp: bool) -> Self {
        Self {
            listed,
            namespaces: Namespaces::below(prefix),
            is_resp,
            rows: None,
            count: 0,
        }
    }
}

impl Source for NamespaceRows {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        if self.rows.is_none() {
            while let Some(entries) = self.listed.next(pull).await? {
                self.namespaces.count(&entries).map_err(|error| {
                    let message = format!("{error}; SCAN lists the keys");
                    ErrorReply::new(ErrorCode::TooLarge, message)
                })?;
            }
            let by_name = std::mem::take(&mut self.namespaces.by_name);
            self.count = by_name.len() as u64;
            if self.is_resp {
                pull.replies.reply(Reply::Map(by_name.len()));
            }
            self.rows = Some(by_name.into_iter());
        }
        let rows = self.rows.get_or_insert_default();
        while !pull.replies.is_full() {
            let Some((name, keys)) = rows.next() else {
                let end = Reply::NamespacesEnd(self.count, self.namespaces.others);
                pull.replies.reply(end);
                return Ok(Pulled::End);
            };
            let name = self.listed.database.name_of(&name);
            pull.replies.reply(Reply::Namespace(name, keys));
        }
        Ok(Pulled::More)
    }
}

/// Reply to a deletion.
#[derive(Debug, Clone, Copy)]
pub(in crate::command) enum DeletionReply {
    /// The number of deleted pairs.
    Count,
    /// `OK`.
    Ok,
}

/// The deletion of the pairs of a scan, in chunks, each of which is one change.
pub(in crate::command) struct Deletion {
    pub listed: Listed,
    pub reply: DeletionReply,
}

impl Source for Deletion {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let mut deleted = 0;
        while let Some(entries) = self.listed.next(pull).await? {
            for entries in entries.chunks(DELETE_CHUNK_KEYS) {
                let notices = &pull.service.notices;
                let count = match Pairs::of(pull.service)? {
                    Pairs::Engine(engine) => engine
                        .delete(entries, pull.barrier, |changes| match self.reply {
                            DeletionReply::Count => {
                                notices.tell(KeyEvents::DEFAULT, changes, None);
                            }
                            // A flush is no event of its keys.
                            DeletionReply::Ok => notices.invalidate(changes, None),
                        })
                        .map_err(ErrorReply::from),
                    Pairs::Cluster(cluster) => {
                        let keys = entries.iter().map(Entry::key_bytes);
                        cluster.delete(keys).await.map_err(ErrorReply::from)
                    }
                };
                deleted += count.map_err(|mut error: ErrorReply| {
                    error.message += &format!("; {deleted} keys were deleted before");
                    error
                })?;
            }
        }
        if matches!(self.reply, DeletionReply::Ok) {
            pull.service.notices.invalidate_all();
        }
        pull.replies.reply(match self.reply {
            DeletionReply::Count => Reply::Count(deleted),
            DeletionReply::Ok => Reply::Ok,
        });
        Ok(Pulled::End)
    }
}
