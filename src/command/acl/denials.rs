//! The latest refusals, for ACL LOG.
//!
//! In: refusals. Out: the latest, the newest first. Promise: their number and length are bounded; equal ones within a minute are one.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::now_ms;

/// Maximum number of entries, as in Redis.
const ENTRIES_MAX: usize = 128;
/// Maximum length of an object in bytes.
const OBJECT_BYTES_MAX: usize = 128;
/// Time within which equal refusals are one entry, in milliseconds, as in Redis.
const TOGETHER_MS: u64 = 60_000;

/// Reason of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum DenialReason {
    Command,
    Key,
    Channel,
    Auth,
}

impl DenialReason {
    /// Returns the name in ACL LOG.
    pub(in crate::command) fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Auth => "auth",
        }
    }
}

/// An entry of ACL LOG.
#[derive(Debug, Clone)]
pub(in crate::command) struct Denied {
    pub(in crate::command) id: u64,
    pub(in crate::command) count: u64,
    pub(in crate::command) reason: DenialReason,
    /// True if the request was part of a transaction.
    pub(in crate::command) is_in_multi: bool,
    pub(in crate::command) object: String,
    pub(in crate::command) user: String,
    pub(in crate::command) client: String,
    pub(in crate::command) created_ms: u64,
    pub(in crate::command) updated_ms: u64,
}

/// The latest refusals.
#[derive(Debug, Default)]
pub(in crate::command) struct Denials(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    next_id: u64,
    entries: VecDeque<Denied>,
}

impl Denials {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a refusal.
    pub(in crate::command) fn add(
        &self,
        (reason, is_in_multi): (DenialReason, bool),
        object: &[u8],
        user: &str,
        client: String,
    ) {
        let now = now_ms();
        let object = &object[..object.len().min(OBJECT_BYTES_MAX)];
        let object = String::from_utf8_lossy(object).into_owned();
        let user: String = user.chars().take(OBJECT_BYTES_MAX).collect();
        let mut log = self.log();
        let mut entries = log.entries.iter_mut();
        let same = entries.find(|one| {
            one.reason == reason
                && one.is_in_multi == is_in_multi
                && one.object == object
                && one.user == user
                && now.saturating_sub(one.updated_ms) <= TOGETHER_MS
        });
        if let Some(same) = same {
            same.count += 1;
            same.updated_ms = now;
            same.client = client;
            return;
        }
        let id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(Denied {
            id,
            count: 1,
            reason,
            is_in_multi,
            object,
            user,
            client,
            created_ms: now,
            updated_ms: now,
        });
        log.entries.truncate(ENTRIES_MAX);
    }

    /// Returns the latest entries, the newest first.
    pub(in crate::command) fn latest(&self, count: usize) -> Vec<Denied> {
        self.log().entries.iter().take(count).cloned().collect()
    }

    pub(in crate::command) fn clear(&self) {
        self.log().entries.clear();
    }
}
