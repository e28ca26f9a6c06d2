//! All counters at one time, and the counters since another time.
//!
//! In: the counters. Out: counts, of commands and subcommands each for itself and of commands with their subcommands together. Promise:
//! a difference of two is what has been counted between them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lookup::CommandList;
use crate::metrics::counters::{Stats, Traffic};
use crate::metrics::histogram::LatencyCounts;

/// All counters at one time, or between two.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Requests, those that were no command included.
    pub requests: u64,
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not find their key.
    pub misses: u64,
    /// Keys that have expired.
    pub expired: u64,
    /// Pairs that were evicted.
    pub evicted: u64,
    /// Clients that have connected to the text port.
    pub connections: u64,
    /// Connections that were refused, as there were too many.
    pub connections_refused: u64,
    /// Bytes of the clients of the text port.
    pub traffic: Traffic,
    /// Error replies, by Redis's first word of them.
    pub errors: BTreeMap<&'static str, u64>,
    /// Requests of each command, in the order of the table, those of its subcommands included.
    pub commands: Vec<Usage>,
    /// Requests of each command without subcommands, and of each subcommand, which is named as `config|set`.
    pub parts: Vec<Usage>,
}

/// Requests of one command.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Name of the command, in lower case.
    pub name: String,
    /// Number of requests.
    pub requests: u64,
    /// Number of requests that were answered with an error before they were executed.
    pub rejected: u64,
    /// Number of requests that failed.
    pub failed: u64,
    /// Execution times of the completed requests.
    pub latencies: LatencyCounts,
}

impl Usage {
    /// Returns the number of requests that were executed.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.requests.saturating_sub(self.rejected)
    }

    /// Returns the time that the server has spent on them.
    #[must_use]
    pub fn spent(&self) -> Duration {
        self.latencies.spent()
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.latencies.add(&other.latencies);
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            name: self.name.clone(),
            requests: self.requests.saturating_sub(earlier.requests),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            failed: self.failed.saturating_sub(earlier.failed),
            latencies: self.latencies.since(&earlier.latencies),
        }
    }
}

impl Counts {
    /// Reads the counters of requests and connections; the numbers of expired and of evicted pairs and the traffic are counted elsewhere.
    #[must_use]
    pub fn of(
        stats: &Stats,
        commands: &CommandList,
        (expired, evicted): (u64, u64),
        traffic: Traffic,
    ) -> Self {
        let (by_command, parts) = usage(stats, commands);
        Self {
            requests: stats.requests(),
            hits: stats.hits(),
            misses: stats.misses(),
            expired,
            evicted,
            connections: stats.connections_total(),
            connections_refused: stats.connections_refused(),
            traffic,
            errors: stats.errors(),
            commands: by_command,
            parts,
        }
    }

    /// Returns the number of error replies.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Returns what has been counted since other counts.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let usage = |now: &[Usage], then: &[Usage]| {
            let pairs = now.iter().zip(then);
            pairs.map(|(now, then)| now.since(then)).collect()
        };
        let errors = self.errors.iter().filter_map(|(prefix, count)| {
            let count = count - earlier.errors.get(prefix).unwrap_or(&0);
            (count > 0).then_some((*prefix, count))
        });
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            hits: self.hits.saturating_sub(earlier.hits),
            misses: self.misses.saturating_sub(earlier.misses),
            expired: self.expired.saturating_sub(earlier.expired),
            evicted: self.evicted.saturating_sub(earlier.evicted),
            connections: self.connections.saturating_sub(earlier.connections),
            connections_refused: self.connections_refused - earlier.connections_refused,
            traffic: self.traffic.since(earlier.traffic),
            errors: errors.collect(),
            commands: usage(&self.commands, &earlier.commands),
            parts: usage(&self.parts, &earlier.parts),
        }
    }
}

/// Returns the requests of the commands, and of their parts.
fn usage(stats: &Stats, commands: &CommandList) -> (Vec<Usage>, Vec<Usage>) {
    let (mut by_command, mut parts): (Vec<Usage>, Vec<Usage>) = (Vec::new(), Vec::new());
    for place in 0..commands.len() {
        let of_ids = commands.ids_of(place).map(|id| {
            let (rejected, failed) = stats.failures_of(id);
            Usage {
                name: commands.described(id).name(),
                requests: stats.of_command(id),
                rejected,
                failed,
                latencies: stats.latencies_of(id),
            }
        });
        let of_ids: Vec<Usage> = of_ids.collect();
        let mut whole = of_ids[0].clone();
        of_ids[1..].iter().for_each(|part| whole.add(part));
        // Requests of a command with subcommands that name none are no calls in Redis, either.
        let of_parts = if of_ids.len() == 1 {
            &of_ids[..]
        } else {
            &of_ids[1..]
        };
        // A name with one meaning on a line and another in RESP is counted once; its two rows are neighbours.
        match by_command.last_mut().filter(|last| last.name == whole.name) {
            Some(last) => {
                last.add(&whole);
                if let Some(last) = parts.last_mut() {
                    last.add(&whole);
                }
            }
            None => {
                by_command.push(whole);
                parts.extend_from_slice(of_parts);
            }
        }
    }
    (by_command, parts)
}
