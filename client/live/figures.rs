//! The figures of a server at one moment, and their changes since an earlier one.
//!
//! In: STATS. Out: numbers by name, and rates. Promise: a figure that the server does not send is absent, not zero, unless said otherwise.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::reply::Line;

/// The reply to STATS.
#[derive(Debug, Clone)]
pub struct Figures {
    at: Instant,
    by_name: BTreeMap<String, Value>,
}

impl Figures {
    /// Reads the figures of a server.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server refuses STATS; as [`Connection::next_line`].
    pub fn ask(connection: &mut Connection) -> Result<Self, ClientError> {
        connection.send(b"STATS")?;
        let mut by_name = BTreeMap::new();
        loop {
            match connection.next_line()? {
                Line::Stat(name, figure) => drop(by_name.insert(name, figure)),
                Line::Error(code, message) => return Err(ClientError::Refused { code, message }),
                _ => {
                    let at = Instant::now();
                    return Ok(Self { at, by_name });
                }
            }
        }
    }

    /// Returns a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.by_name.get(name)?.as_f64()
    }

    /// Returns a whole number, or 0 if it is absent.
    pub fn count(&self, name: &str) -> u64 {
        let figure = self.by_name.get(name);
        figure.and_then(Value::as_u64).unwrap_or(0)
    }

    /// Returns a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.by_name.get(name)?.as_str()
    }

    /// Returns the growth of a counter per second since then.
    pub fn rate(&self, name: &str, since: &Self) -> f64 {
        let seconds = (self.at - since.at).as_secs_f64().max(1e-3);
        let counts = self.number(name).zip(since.number(name));
        counts.map_or(0.0, |(now, before)| (now - before).max(0.0) / seconds)
    }

    /// Returns the hit rate of the reads since then, from 0 to 1; `None` without reads.
    pub fn hit_ratio(&self, since: &Self) -> Option<f64> {
        let (hits, misses) = (self.rate("hits", since), self.rate("misses", since));
        (hits + misses > 0.0).then(|| hits / (hits + misses))
    }

    /// Returns each command with its calls per second since then, and its calls in all.
    pub fn commands(&self, since: &Self) -> Vec<(String, f64, u64)> {
        let commands = self.by_name.keys().filter_map(|name| {
            let verb = name.strip_prefix("command_")?;
            let rate = self.rate(name, since);
            Some((verb.to_uppercase(), rate, self.count(name)))
        });
        commands.collect()
    }
}

/// Returns a rate as a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and far below 2^64"
)]
pub fn rounded(rate: f64) -> u64 {
    rate.max(0.0).round() as u64
}
