//! The figures of a server at one moment, and what has changed since another.
//!
//! In: STATS. Out: numbers by name, and rates. Promise: what is not told is no number, and not nought.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::reply::Line;

/// What STATS has told.
#[derive(Debug, Clone)]
pub struct Figures {
    at: Instant,
    by_name: BTreeMap<String, Value>,
}

impl Figures {
    /// Asks for them.
    pub fn ask(connection: &mut Connection) -> Result<Self, ClientError> {
        connection.send(b"STATS")?;
        let mut by_name = BTreeMap::new();
        loop {
            match connection.next_line()? {
                Line::Stat(name, figure) => drop(by_name.insert(name, figure)),
                Line::Error(code, message) => return Err(ClientError::Refused { code, message }),
                _ => {
                    return Ok(Self {
                        at: Instant::now(),
                        by_name,
                    });
                }
            }
        }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.by_name.get(name)?.as_f64()
    }

    /// A whole number; 0, if it is not told.
    pub fn count(&self, name: &str) -> u64 {
        let figure = self.by_name.get(name);
        figure.and_then(Value::as_u64).unwrap_or(0)
    }

    /// A word.
    pub fn text(&self, name: &str) -> &str {
        let figure = self.by_name.get(name);
        figure.and_then(Value::as_str).unwrap_or("-")
    }

    /// How much a counter has grown in each second since then.
    pub fn rate(&self, name: &str, since: &Self) -> f64 {
        let seconds = (self.at - since.at).as_secs_f64().max(1e-3);
        let grown = self.number(name).zip(since.number(name));
        grown.map_or(0.0, |(now, before)| (now - before).max(0.0) / seconds)
    }

    /// The share of reads since then that have found their key, if there were any.
    pub fn hit_ratio(&self, since: &Self) -> Option<f64> {
        let (hits, misses) = (self.rate("hits", since), self.rate("misses", since));
        (hits + misses > 0.0).then(|| hits / (hits + misses))
    }

    /// The commands that have been asked for since then: how often in a second, and how often in all.
    pub fn commands(&self, since: &Self) -> Vec<(String, f64, u64)> {
        let names = self.by_name.keys().filter_map(|name| {
            let verb = name.strip_prefix("command_")?;
            let rate = self.rate(name, since);
            Some((verb.to_uppercase(), rate, self.count(name)))
        });
        names.collect()
    }
}
