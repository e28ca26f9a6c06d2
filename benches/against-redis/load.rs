//! The load: redis-benchmark, and our own `pykv-cli bench`, on core 1.
//!
//! In: a server, and what to ask it. Out: what that took of the server's processor, how many requests were answered in a second,
//! and how long one took. Promise: a load that fails, or that was answered with an error, ends the run.

use std::process::Command;

use serde_json::Value;

use crate::redis_benchmark::{Cpu, Load, Measured};
use crate::servers::Server;
use crate::{Failure, processor};

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

/// Asks by redis-benchmark.
pub fn redis_benchmark(server: &Server, load: Load) -> Result<Measured, Failure> {
    load.run(server.address, server.process())
}

/// Asks by `pykv-cli bench`; its document, and the server's processor time for each request.
pub fn ours(server: &Server, dialect: &str, arguments: &[&str]) -> Result<(Value, Cpu), Failure> {
    let before = processor::seconds(server.process())?;
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
    let cpu = Cpu::since(before, server.process(), requests)?;
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
