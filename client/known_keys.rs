//! Keys that somebody at the prompt may want to type: those of earlier replies, and those that the server has.
//!
//! In: keys as they are shown; what has been typed of one. Out: the keys that it may become. Promises: a bounded memory, and whoever types
//! waits for the server for a moment at the most, and only when Tab is pressed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pykv::protocol::line::quote;

use crate::connection::{Address, Connection};
use crate::reply::Line;

/// How many keys of earlier replies are kept.
const KEYS_MAX: usize = 10_000;
/// How many the server is asked for.
const OFFERED_MAX: usize = 100;
/// How long the server is waited for.
const PATIENCE: Duration = Duration::from_millis(150);

/// The keys of earlier replies.
#[derive(Debug, Default)]
pub struct KnownKeys(Mutex<BTreeSet<String>>);

impl KnownKeys {
    fn keys(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a key that has been shown.
    pub fn note(&self, key: &str) {
        let mut keys = self.keys();
        if keys.len() < KEYS_MAX {
            keys.insert(key.to_owned());
        }
    }

    /// The keys that begin with this, in their order.
    pub fn beginning(&self, prefix: &str, address: &Address) -> Vec<String> {
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

/// Keys of the server, as many as come in a moment; the connection is left with the rest.
fn of_server(prefix: &str, address: &Address) -> Option<Vec<String>> {
    let until = Instant::now() + PATIENCE;
    let mut connection = Connection::open_for(address, PATIENCE).ok()?;
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
