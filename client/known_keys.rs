//! Candidates for the completion of a key: keys of earlier replies, and keys of the server.
//!
//! In: keys as they are shown; a prefix. Out: keys with that prefix. Promises: bounded memory; Tab waits for the server for 150 ms at most.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pykv::protocol::line::quote;

use crate::address::Address;
use crate::connection::Connection;
use crate::reply::Line;

/// The keys of earlier replies that are kept.
const KEYS_MAX: usize = 10_000;
/// The candidates offered.
const OFFERED_MAX: usize = 100;
/// The time that the server has to answer.
const TIMEOUT: Duration = Duration::from_millis(150);

/// The keys of earlier replies.
#[derive(Debug, Default)]
pub struct KnownKeys(Mutex<BTreeSet<String>>);

impl KnownKeys {
    fn keys(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a key that has been shown.
    pub fn note(&self, key: &str) {
        let mut keys = self.keys();
        if keys.len() < KEYS_MAX {
            keys.insert(key.to_owned());
        }
    }

    /// Returns keys with a prefix, sorted.
    pub fn with_prefix(&self, prefix: &str, address: &Address) -> Vec<String> {
        let mut found: BTreeSet<String> = self
            .keys()
            .range(prefix.to_owned()..)
            .take_while(|key| key.starts_with(prefix))
            .take(OFFERED_MAX)
            .cloned()
            .collect();
        found.extend(of_server(prefix, address).unwrap_or_default());
        found.into_iter().take(OFFERED_MAX).collect()
    }
}

/// Returns the keys of the server that arrive in time. The rest of the reply is dropped with the connection.
fn of_server(prefix: &str, address: &Address) -> Option<Vec<String>> {
    let until = Instant::now() + TIMEOUT;
    let mut connection = Connection::open_within(address, TIMEOUT).ok()?;
    connection
        .send(format!("KEYS {}", quote(prefix)).as_bytes())
        .ok()?;
    let mut keys = Vec::new();
    while keys.len() < OFFERED_MAX && Instant::now() < until {
        match connection.line_until(until) {
            Some(Line::Key(key)) => keys.push(key),
            _ => break,
        }
    }
    Some(keys)
}
