//! What durability costs: PyKV beside redis-server, in one run, on the same disk.
//!
//!     cargo bench --bench durability -- [always] [everysec] [save] [start] [--pairs N] [--seconds N] [--dir FOLDER] [--pin]
//!
//! In: the built `pykv-server`, and `redis-server` if it is in PATH. Out: plain tables on standard output.
//! Promises: every reply is compared with the one that is due, every value read with the one that was written, and the
//! number of pairs with the one that was stored; anything else ends the run with a message and status 1. Each server keeps
//! its data in a folder of its own that is removed at the end, unless the run is interrupted.
//!
//! What is fair, and what is not:
//!
//! - In all but `start` both servers are up at the same time and are measured in turn, so that what else the machine does
//!   meets both; there one follows the other.
//! - Keys have 16 bytes, values 64 bytes that do not compress. Both servers get the same pairs through the same code, PyKV
//!   as JSON strings, as its protocol asks of programs, Redis as RESP arrays.
//! - Redis runs without a file of settings, so with one thread for its clients; PyKV runs a thread for each core.
//!   `--pin` gives either server core 0, its threads and children included, and the load core 1: PyKV then runs one thread
//!   for its clients, too. Without it the system places all three; then a server with several threads takes what the load
//!   leaves, and so does a child that saves.
//! - `load CPU %` tells how much of one core the load took: near 100 it is the load that is measured. But a load with a rate
//!   watches the clock, and so takes one core whole, whichever server it asks: where the figure is lower there,
//!   somebody else was at work on the machine, and the latencies hold the pauses of the load as well.
//! - PyKV's `SAVE` also begins a new journal, which of Redis's commands `BGREWRITEAOF` does, and `BGSAVE` does not.
//! - All that is read at a start has just been written, so it comes from the system's cache and not from the disk.

// Nothing is counted here that comes near 2^52, and 64 bits are what a machine has that this is for.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod load;
#[path = "../common/process_memory.rs"]
mod process_memory;
#[path = "../common/redis_flags.rs"]
mod redis_flags;
mod report;
mod save;
mod servers;
#[path = "../common/spawn.rs"]
mod spawn;
mod start;
mod wire;
mod writes;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser as _;

use crate::servers::Journal;
use crate::wire::{Dialect, Pairs};

/// Anything that ends the run.
type Failure = Box<dyn Error + Send + Sync>;

/// PyKV and redis-server side by side: durable writes, saves under load, starts.
#[derive(clap::Parser)]
#[command(name = "durability")]
struct Arguments {
    /// What to measure; all of them if none is named.
    sections: Vec<Section>,
    /// How many pairs `save` and `start` store.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pairs: u64,
    /// How long each measurement lasts; that during a save lasts as long as the save.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Where the servers keep their data; it tells which disk is measured.
    #[arg(long, value_name = "FOLDER", default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Servers on core 0, the load on core 1.
    #[arg(long)]
    pin: bool,
    /// Cargo says this to a benchmark that it runs as one.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Section {
    Always,
    Everysec,
    Save,
    Start,
}

/// What every section needs to know.
struct Settings {
    /// The servers to compare.
    dialects: Vec<Dialect>,
    texts: Pairs,
    pairs: u64,
    seconds: Duration,
    dir: PathBuf,
    pin: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.bench {
        // `cargo test --all-targets` runs this, too, and waits for it.
        println!("durability: nothing is measured but by `cargo bench --bench durability`");
        return ExitCode::SUCCESS;
    }
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("durability: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    std::fs::create_dir_all(&arguments.dir)?;
    // Before this process is put on one of them.
    let cores = std::thread::available_parallelism()?;
    if arguments.pin {
        servers::pin_load()?;
    }
    let settings = Settings {
        dialects: present()?,
        texts: Pairs::new(),
        pairs: arguments.pairs,
        seconds: Duration::from_secs(arguments.seconds),
        dir: arguments.dir,
        pin: arguments.pin,
    };
    println!(
        "{cores} cores; {}",
        if settings.pin {
            "each server on core 0, the load on core 1"
        } else {
            "nothing pinned: the system places servers and load"
        }
    );
    let wanted = |section| arguments.sections.is_empty() || arguments.sections.contains(&section);
    if wanted(Section::Always) {
        writes::run(&settings, Journal::Always)?;
    }
    if wanted(Section::Everysec) {
        writes::run(&settings, Journal::EverySecond)?;
    }
    if wanted(Section::Save) {
        save::run(&settings)?;
    }
    if wanted(Section::Start) {
        start::run(&settings)?;
    }
    Ok(())
}

/// The servers that there are, with a line about each.
fn present() -> Result<Vec<Dialect>, Failure> {
    let mut present = Vec::new();
    for dialect in [Dialect::Pykv, Dialect::Redis] {
        match Command::new(dialect.program()).arg("--version").output() {
            Ok(output) => {
                println!("{}", String::from_utf8_lossy(&output.stdout).trim());
                present.push(dialect);
            }
            Err(error) if dialect == Dialect::Redis => {
                println!("redis-server cannot be run ({error}): PyKV is measured alone");
            }
            Err(error) => return Err(format!("{}: {error}", dialect.program()).into()),
        }
    }
    Ok(present)
}
