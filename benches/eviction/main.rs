//! What a cache keeps, and what keeping it costs: PyKV with a cap beside redis-server, in one run.
//!
//!     cargo bench --bench eviction -- trace FILE N.. [--first K] [--rate R] [--sizes]
//!
//! In: the built `pykv-server`, and `redis-server` in PATH. Out: plain tables on standard output. Promises: both servers are
//! asked by the same program; an answer other than the one that is due ends the run with a message and status 1. No process
//! and no folder is left behind, unless the run is interrupted.

// Nothing is counted here that comes near 2^52.
#![allow(clippy::cast_precision_loss)]

mod caps;
mod optimum;
mod peers;
#[path = "../common/spawn.rs"]
mod spawn;
mod trace;
mod trace_file;
mod traffic;

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
    /// Cargo says this to a benchmark that it runs as one.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(clap::Subcommand)]
enum Part {
    /// Hit ratios for a recorded trace, both servers with room for as many entries.
    Trace(trace::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        // `cargo test --all-targets` runs this, too, and waits for it.
        println!("eviction: nothing is measured but by `cargo bench --bench eviction`");
        return ExitCode::SUCCESS;
    }
    match run(arguments.part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eviction: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(part: Option<Part>) -> Result<(), Failure> {
    match part {
        Some(Part::Trace(arguments)) => trace::run(&arguments),
        None => Ok(()),
    }
}
