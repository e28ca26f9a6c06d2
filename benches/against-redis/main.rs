//! PyKV beside Redis, in one run: what a request costs the server, how long it takes, and what an entry takes.
//!
//!     cargo bench --bench against-redis -- [table] [latency] [memory] [growth] [values] [all] [--quick]
//!
//! In: the built programs, and Debian's redis-server and redis-benchmark. Out: plain tables on standard output. Promises: each
//! server has core 0 for itself and the load core 1; both are asked by the same program in turn, and the median of three runs
//! is shown; after each run the server is asked whether it holds the data, and what was durable is read back after a
//! restart; where that fails the run ends with status 1. No process and no folder is left behind.
//!
//! The figure of a cell is time of the processor, user and system, of the server with all its threads, for each request: it
//! says how much a core can do, whatever else takes time. (Redis's child that saves is not counted; PyKV's thread that saves is.)

// Nothing is counted here that comes near 2^52.
#![allow(clippy::cast_precision_loss)]

mod growth;
#[path = "../common/kind.rs"]
mod kind;
mod latency;
mod load;
#[path = "../common/process_memory.rs"]
mod process_memory;
#[path = "../common/processor.rs"]
mod processor;
#[path = "../common/redis_benchmark.rs"]
mod redis_benchmark;
#[path = "../common/redis_flags.rs"]
mod redis_flags;
mod servers;
#[path = "../common/spawn.rs"]
mod spawn;
mod table;
mod values;

use std::error::Error;
use std::process::{Command, ExitCode};

use clap::Parser as _;

/// Anything that ends the run.
type Failure = Box<dyn Error + Send + Sync>;

/// PyKV and redis-server side by side, each on one core.
#[derive(clap::Parser)]
#[command(name = "against-redis")]
struct Arguments {
    /// What to measure.
    #[arg(default_value = "table")]
    sections: Vec<Section>,
    /// One run in place of three, of a tenth of the requests: to see whether it works.
    #[arg(long)]
    quick: bool,
    /// Cargo says this to a benchmark that it runs as one.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    /// Processor time of a request, in both dialects.
    Table,
    /// Latency, with and without a save, and at a fixed rate.
    Latency,
    /// Bytes of an entry.
    Memory,
    /// Many keys, and many connections.
    Growth,
    /// Long values.
    Values,
    /// All of these.
    All,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        // `cargo test --all-targets` runs this, too, and waits for it.
        println!("against-redis: nothing is measured but by `cargo bench --bench against-redis`");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("against-redis: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    introduce()?;
    let wanted = |section| {
        let named = &arguments.sections;
        named.contains(&section) || named.contains(&Section::All)
    };
    let scale = load::Scale {
        rounds: if arguments.quick { 1 } else { 3 },
        divisor: if arguments.quick { 10 } else { 1 },
    };
    if wanted(Section::Table) {
        table::run(scale)?;
    }
    if wanted(Section::Latency) {
        latency::run(scale)?;
    }
    if wanted(Section::Memory) {
        growth::memory(scale)?;
    }
    if wanted(Section::Growth) {
        growth::keys(scale)?;
        growth::connections(scale)?;
    }
    if wanted(Section::Values) {
        values::run(scale)?;
    }
    Ok(())
}

/// Says on what machine and with which programs all of it is measured.
fn introduce() -> Result<(), Failure> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| {
        model.trim_start_matches(['\t', ':', ' '])
    });
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d");
    println!("{date}; {cores} cores of {model}; Linux {}", kernel.trim());
    for (program, argument, package) in [
        (env!("CARGO_BIN_EXE_pykv-server"), "--version", ""),
        ("redis-server", "--version", "redis-server"),
        ("redis-benchmark", "--version", "redis-tools"),
        ("taskset", "--version", "util-linux"),
    ] {
        let output = Command::new(program).arg(argument).output();
        let output = output.map_err(|error| {
            format!("{program} cannot be run ({error}): install Debian's package {package}")
        })?;
        if package.is_empty() || package == "redis-server" {
            println!("{}", String::from_utf8_lossy(&output.stdout).trim());
        }
    }
    if cores.get() < 2 {
        return Err("two cores are needed: one for the server, one for the load".into());
    }
    Ok(())
}
