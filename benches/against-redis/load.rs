//! The load: redis-benchmark, and our own `pykv-cli bench`, on core 1.
//!
//! In: a server, and what to ask it. Out: what that took of the server's processor, how many requests were answered in a second,
//! and how long one took. Promise: a load that fails, or that was answered with an error, ends the run.

use std::fmt;
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::servers::Server;

/// How many keys there are to choose from.
pub const KEYS: u64 = 1_000_000;

/// How thorough a run is.
#[derive(Clone, Copy)]
pub struct Scale {
    pub rounds: usize,
    pub divisor: u64,
}

impl Scale {
    /// So many requests of a full run.
    pub fn of(self, requests: u64) -> u64 {
        (requests / self.divisor).max(1000)
    }
}

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
    /// The load of the table: 50 clients, a million keys, values of 64 bytes.
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
}

/// Processor time, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Cpu {
    pub user_us: f64,
    pub system_us: f64,
}

impl Cpu {
    /// What a server has used for each of so many requests, since it had used `before` seconds.
    fn since(before: (f64, f64), server: &Server, requests: f64) -> Result<Self, Failure> {
        let (user, system) = server.cpu_seconds()?;
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

/// Asks by redis-benchmark.
pub fn redis_benchmark(server: &Server, load: Load) -> Result<Measured, Failure> {
    let before = server.cpu_seconds()?;
    let output = Command::new("taskset")
        .args([
            "-c",
            "1",
            "timeout",
            "600",
            "redis-benchmark",
            "--csv",
            "-p",
        ])
        .arg(server.address.port().to_string())
        .args(["-t", load.test, "-r", &load.keys.to_string()])
        .args([
            "-d",
            &load.value_bytes.to_string(),
            "-c",
            &load.clients.to_string(),
        ])
        .args([
            "-n",
            &load.requests.to_string(),
            "-P",
            &load.pipeline.to_string(),
        ])
        .output()?;
    let cpu = Cpu::since(before, server, load.requests as f64)?;
    let said = String::from_utf8_lossy(&output.stdout);
    // "test","rps","avg","min","p50","p95","p99","max", each in quotes; latencies in milliseconds.
    let row = said.lines().last().unwrap_or_default();
    let field = |place: usize| {
        let field = row
            .split(',')
            .nth(place)
            .map(|field| field.trim_matches('"'));
        field.and_then(|field| field.parse::<f64>().ok())
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

/// Asks by `pykv-cli bench`; its document, and the server's processor time for each request.
pub fn ours(server: &Server, dialect: &str, arguments: &[&str]) -> Result<(Value, Cpu), Failure> {
    let before = server.cpu_seconds()?;
    let output = Command::new("taskset")
        .args(["-c", "1", env!("CARGO_BIN_EXE_pykv-cli"), "--json"])
        .args(["-u", &format!("pykv://{}", server.address)])
        .args(["bench", "--dialect", dialect])
        .args(arguments)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("pykv-cli bench failed: {said}").into());
    }
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let requests = document["all"]["requests"].as_f64().unwrap_or(1.0);
    let cpu = Cpu::since(before, server, requests)?;
    Ok((document, cpu))
}

/// Stores each of so many keys once, with values of 64 bytes.
pub fn fill(server: &Server, keys: u64) -> Result<(), Failure> {
    let keys = keys.to_string();
    ours(
        server,
        "resp",
        &["--fill", "-P", "64", "-k", &keys, "-n", "1000"],
    )
    .map(drop)
}

/// The one in the middle.
pub fn median(mut figures: Vec<Measured>) -> Measured {
    figures.sort_by(|one, other| one.cpu.both_us().total_cmp(&other.cpu.both_us()));
    figures[figures.len() / 2]
}
