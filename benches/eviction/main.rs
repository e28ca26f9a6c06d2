//! What a cache keeps, and what keeping it costs: PyKV with a cap beside redis-server, in one run.
//!
//!     cargo bench --bench eviction -- trace FILE N.. [--first K] [--rate R] [--sizes]
//!     cargo bench --bench eviction -- same-memory FILE N [--first K]
//!     cargo bench --bench eviction -- [cost|scan|day] [--quick]
//!
//! In: the built `pykv-server`, and `redis-server` in PATH. Out: plain tables on standard output. Promises: both servers are
//! asked by the same program; an answer other than the one that is due ends the run with a message and status 1. No process
//! and no folder is left behind, unless the run is interrupted.

// Nothing is counted here that comes near 2^52.
#![allow(clippy::cast_precision_loss)]

mod caps;
mod cost;
mod day;
#[path = "../common/kind.rs"]
mod kind;
mod model;
mod optimum;
mod peers;
#[path = "../common/process_memory.rs"]
mod process_memory;
#[path = "../common/processor.rs"]
mod processor;
#[path = "../common/redis_benchmark.rs"]
mod redis_benchmark;
mod same_memory;
mod scan;
#[path = "../common/spawn.rs"]
mod spawn;
mod subject;
mod trace;
mod trace_file;
mod traffic;
mod zipf;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;

/// Anything that ends the run.
type Failure = Box<dyn Error + Send + Sync>;

/// PyKV and redis-server side by side, both with a cap on their memory.
#[derive(clap::Parser)]
#[command(name = "eviction")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// One round in place of three, of a tenth of the requests: to see whether it works.
    #[arg(long, global = true)]
    quick: bool,
    /// Cargo says this to a benchmark that it runs as one.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(clap::Subcommand)]
enum Part {
    /// Hit ratios for a recorded trace, both servers with room for as many entries.
    Trace(trace::Arguments),
    /// Hit ratios for a recorded trace, both servers of the same resident memory.
    SameMemory(same_memory::Arguments),
    /// Processor time, throughput and latency of each policy.
    Cost(cost::Arguments),
    /// Hit ratios while all keys are read now and then.
    Scan,
    /// A day of a cache with restarts and crashes, and whether anything is lost.
    Day,
}

/// How thorough a run is.
#[derive(Clone, Copy)]
struct Scale {
    rounds: usize,
    divisor: u64,
}

impl Scale {
    /// So many requests of a full run.
    fn of(self, requests: u64) -> u64 {
        requests / self.divisor
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        // `cargo test --all-targets` runs this, too, and waits for it.
        println!("eviction: nothing is measured but by `cargo bench --bench eviction`");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eviction: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let scale = Scale {
        rounds: if arguments.quick { 1 } else { 3 },
        divisor: if arguments.quick { 10 } else { 1 },
    };
    match &arguments.part {
        Some(Part::Trace(arguments)) => trace::run(arguments),
        Some(Part::SameMemory(arguments)) => same_memory::run(arguments),
        Some(Part::Cost(arguments)) => cost::run(scale, arguments),
        Some(Part::Scan) => scan::run(scale),
        Some(Part::Day) => day::run(scale),
        // All that need no trace.
        None => {
            cost::run(scale, &cost::Arguments::default())?;
            scan::run(scale)?;
            day::run(scale)
        }
    }
}
