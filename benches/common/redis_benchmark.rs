//! Load by redis-benchmark, on core 1.
//!
//! In: a server, and what to ask it. Out: what that took of the server's processor, how many requests were answered in a second,
//! and how long one took. Promise: a load that fails, or that was answered with an error, ends the run.

use std::fmt;
use std::net::SocketAddr;
use std::process::Command;

use crate::{Failure, processor};

/// How many keys there are to choose from.
pub const KEYS: u64 = 1_000_000;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Load {
    /// `get` or `set`.
    pub test: &'static str,
    pub pipeline: u64,
    pub requests: u64,
    pub keys: u64,
    pub value_bytes: u64,
    pub clients: u64,
}

impl Load {
    /// The load of the tables: 50 clients, a million keys, values of 64 bytes.
    pub fn of(test: &'static str, pipeline: u64, requests: u64) -> Self {
        Self {
            test,
            pipeline,
            requests,
            keys: KEYS,
            value_bytes: 64,
            clients: 50,
        }
    }

    /// Asks a server with this address and process.
    ///
    /// # Errors
    /// If redis-benchmark fails, or the server has ended.
    pub fn run(self, address: SocketAddr, process: u32) -> Result<Measured, Failure> {
        let before = processor::seconds(process)?;
        let output = Command::new("taskset")
            .args(["-c", "1", "timeout", "600", "redis-benchmark", "--csv"])
            .args(["-p", &address.port().to_string()])
            .args(["-t", self.test, "-r", &self.keys.to_string()])
            .args(["-d", &self.value_bytes.to_string()])
            .args(["-c", &self.clients.to_string()])
            .args(["-n", &self.requests.to_string()])
            .args(["-P", &self.pipeline.to_string()])
            .output()?;
        let cpu = Cpu::since(before, process, self.requests as f64)?;
        let said = String::from_utf8_lossy(&output.stdout);
        // "test","rps","avg","min","p50","p95","p99","max", each in quotes; latencies in milliseconds.
        let row = said.lines().last().unwrap_or_default();
        let field = |place: usize| {
            let field = row.split(',').nth(place)?.trim_matches('"');
            field.parse::<f64>().ok()
        };
        match (field(1), field(6)) {
            (Some(per_second), Some(p99_ms)) if output.status.success() => Ok(Measured {
                cpu,
                per_second,
                p99_ms,
            }),
            _ => {
                let errors = String::from_utf8_lossy(&output.stderr);
                Err(format!("redis-benchmark failed: {said}{errors}").into())
            }
        }
    }
}

/// Processor time, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Cpu {
    pub user_us: f64,
    pub system_us: f64,
}

impl Cpu {
    /// What a process has used for each of so many requests, since it had used `before` seconds.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn since(before: (f64, f64), process: u32, requests: f64) -> Result<Self, Failure> {
        let (user, system) = processor::seconds(process)?;
        Ok(Self {
            user_us: (user - before.0) / requests * 1e6,
            system_us: (system - before.1) / requests * 1e6,
        })
    }

    /// User and system time together.
    pub fn both_us(self) -> f64 {
        self.user_us + self.system_us
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} + {:.2}", self.user_us, self.system_us)
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Measured {
    /// Of the server, for each request.
    pub cpu: Cpu,
    pub per_second: f64,
    pub p99_ms: f64,
}

/// The one in the middle, by processor time.
pub fn median(mut figures: Vec<Measured>) -> Measured {
    figures.sort_by(|one, other| one.cpu.both_us().total_cmp(&other.cpu.both_us()));
    figures[figures.len() / 2]
}
