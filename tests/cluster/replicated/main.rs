//! `replicated`: several servers with one log in etcd, and what a client may rely on while servers, etcd and the network fail.
//!
//! Goal: an acknowledged change is there whatever happens to one server, one etcd or one wire, another server takes over by itself, and what clients
//! see is linearizable. Method: three etcd and three servers, hurt under load; each scenario has its own, and a line of figures.
//!
//! In: names of scenarios; without any, those that are short, or all with `--long`. Out: a line for each, and status 1 if one failed.
//!
//!     cargo test --features etcd --test replicated -- [--cycles 2] [--values 64] [--long] [leader-killed ...]

mod askers;
#[path = "../at_work.rs"]
mod at_work;
#[path = "../../whole/histories/checker.rs"]
#[allow(dead_code, reason = "whole/histories/ shares it and uses more")]
mod checker;
mod client;
mod connection;
mod etcd;
mod handed_over;
mod harness;
mod histories;
mod http;
mod killed;
mod ledger;
mod network;
mod partitions;
mod place;
mod probe;
mod process;
mod progress;
mod quota;
mod register;
#[path = "../../support/server.rs"]
#[allow(dead_code, reason = "tests/main.rs shares it and uses more")]
mod server;
mod servers;
mod setup;
mod stopped;
#[path = "../wait.rs"]
mod wait;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use server::is_skipped;
use setup::{Ending, Setup};

/// What is done.
type Scenario = fn(&Setup) -> Ending;

/// Those that are run without names; the others take longer, and are run with their names or `--long`.
const SHORT: &[(&str, Scenario)] = &[
    ("harness-checker", harness::checker),
    ("leader-killed", killed::leader_killed),
    ("leader-stopped", stopped::leader_stopped),
    ("etcd-leader-killed", killed::etcd_leader_killed),
    ("stepdown", handed_over::stepdown),
    ("new-member", handed_over::new_member),
    ("quota-full", quota::full),
    ("partition-leader-etcd", partitions::leader_etcd),
    ("histories", histories::histories),
    ("histories-without-fence", histories::without_fence),
];

const OTHERS: &[(&str, Scenario)] = &[
    ("harness-etcd", harness::etcd),
    ("harness-network", harness::network),
    ("etcd-slow", killed::etcd_slow),
    ("all-killed", killed::all_killed),
    ("rolling", handed_over::rolling),
    ("away", killed::away),
    ("quota", quota::trimmed),
    ("partition-leader-clients", partitions::leader_clients),
    ("partition-etcd-2-1", partitions::etcd_2_1),
    ("partition-etcd-alone", partitions::etcd_alone),
];

/// Cycles of a run, one for each length of values, and of a long one.
const CYCLES: usize = 2;
const LONG_CYCLES: usize = 100;

/// Hurts servers with one log in etcd under load, and looks whether promises are kept.
#[derive(Parser)]
struct Flags {
    /// How often each scenario does what it does [default: 2, or 100 with --long].
    #[arg(long)]
    cycles: Option<usize>,
    /// The lengths of values, which cycles take in turn.
    #[arg(long, value_name = "BYTES", default_values_t = [64, 32 << 10])]
    values: Vec<usize>,
    /// A hundred cycles, or an hour.
    #[arg(long)]
    long: bool,
    /// The server, in place of the built one.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_pykv-server"))]
    program: PathBuf,
    /// A flag for the servers, as in `--with=--linearizable-reads`.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    with: Vec<String>,
    /// A flag for each etcd, as in `--etcd-with=--election-timeout=500`.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    etcd_with: Vec<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    nocapture: bool,
    /// Names of scenarios, or "replicated" for all.
    filter: Vec<String>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let is_named = |name: &str| {
        let mut filter = flags.filter.iter();
        filter.any(|one| name == one || "replicated".contains(&**one))
    };
    let is_short = |name: &str| SHORT.iter().any(|(short, _)| *short == name);
    let scenarios = SHORT.iter().chain(OTHERS).filter(|(name, _)| {
        is_named(name) || flags.filter.is_empty() && (flags.long || is_short(name))
    });
    let scenarios: Vec<_> = scenarios.collect();
    if scenarios.is_empty() || is_skipped("etcd") {
        return ExitCode::SUCCESS;
    }
    let cycles = if flags.long { LONG_CYCLES } else { CYCLES };
    let setup = Setup {
        program: flags.program,
        flags: flags.with,
        etcd_flags: flags.etcd_with,
        cycles: flags.cycles.unwrap_or(cycles),
        values: flags.values,
        is_long: flags.long,
    };
    let mut failed = 0;
    for (name, run) in scenarios {
        failed += usize::from(!report(name, *run, &setup));
    }
    if failed > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs a scenario and prints its line. Returns whether it went well.
fn report(name: &str, run: Scenario, setup: &Setup) -> bool {
    let started = Instant::now();
    // A scenario that panics fails alone.
    let result = std::thread::scope(|scope| scope.spawn(|| run(setup)).join());
    let result = result.unwrap_or_else(|_| Err("it panicked".to_owned()));
    let seconds = started.elapsed().as_secs_f64();
    let (word, figures) = match &result {
        Ok(figures) => ("well", figures),
        Err(figures) => ("FAILED", figures),
    };
    println!("replicated: {name}: {word} in {seconds:.1} s: {figures}");
    result.is_ok()
}
