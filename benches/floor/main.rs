//! The floor: what a request costs a server at least on this machine, beside what it costs PyKV and its peers.
//!
//!     cargo bench --bench floor -- [--quick]
//!
//! In: the built server, and those of Redis, Valkey and memcached that are installed. Out: a table of the processor time of each request, user
//! and system apart. Promises: each server has core 0 for itself and the load core 1; all have their turn in each round; the
//! smallest figure of the rounds is shown, as whatever else the machine does only adds to it. No process and no folder is left behind.
//!
//! Two servers are the floor. The bare loop waits, reads and answers without looking at what it has read. The minimal server runs on
//! PyKV's runtime and has PyKV's entries; it parses, hashes, looks up and copies, and checks, counts and promises nothing. For scripts,
//! the floor is the bare loop that executes them by PyKV's library, with constants in place of commands.

// Nothing is counted here that comes near 2^52.
#![allow(clippy::cast_precision_loss)]

mod bare;
mod load;
mod minimal;
#[path = "../common/processor.rs"]
mod processor;
#[path = "../common/redis_flags.rs"]
mod redis_flags;
#[path = "../common/script.rs"]
mod script;
mod scripted;
#[path = "../common/spawn.rs"]
mod spawn;
mod subjects;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;

use load::{KEYS, Load, Operation};
use subjects::{KINDS, Subject};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Anything that ends the run.
type Failure = Box<dyn Error + Send + Sync>;

/// The pipelines, and how many requests take a second or two with each.
const COLUMNS: [(usize, u64); 3] = [(1, 300_000), (16, 1_600_000), (64, 3_200_000)];
/// What is compared, and how many times fewer requests take as long.
const OPERATIONS: [(Operation, u64); 3] = [
    (Operation::Get, 1),
    (Operation::Set, 1),
    (Operation::Script, 4),
];

/// What a request costs at least, beside PyKV and its peers.
#[derive(clap::Parser)]
#[command(name = "floor")]
struct Arguments {
    /// Two rounds in place of three, of a tenth of the requests: to see whether it works.
    #[arg(long)]
    quick: bool,
    /// Serves as one of the floors.
    #[arg(long, hide = true)]
    serve: Option<Floor>,
    /// Sends a load, in the form of [`Load::to_argument`].
    #[arg(long, hide = true)]
    load: Option<Load>,
    /// Cargo says this to a benchmark that it runs as one.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Floor {
    Bare,
    Minimal,
    Scripted,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match (arguments.serve, &arguments.load) {
        (Some(Floor::Bare), _) => bare::serve(),
        (Some(Floor::Minimal), _) => minimal::serve(),
        (Some(Floor::Scripted), _) => scripted::serve(),
        (None, Some(load)) => load.send(),
        (None, None) if arguments.bench => compare(arguments.quick),
        (None, None) => {
            println!("floor: nothing is measured but by `cargo bench --bench floor`");
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// User and system time of a request, in microseconds; the smallest of each.
type Best = (f64, f64);

fn compare(quick: bool) -> Result<(), Failure> {
    let (rounds, divisor) = if quick { (2, 10) } else { (3, 1) };
    println!("50 connections, {KEYS} random keys of 16 bytes, values of 64; microseconds of the");
    println!("server's core for each request, user + system: the smallest of {rounds} rounds\n");
    let mut subjects = Vec::new();
    for kind in KINDS {
        let Some(subject) = Subject::start(kind)? else {
            println!("{} is not installed: left out", kind.name());
            continue;
        };
        if kind.knows(Operation::Fill) {
            subject.run(Operation::Fill, 64, KEYS)?;
        }
        subjects.push(subject);
    }
    for (operation, weight) in OPERATIONS {
        let known: Vec<&Subject> = subjects
            .iter()
            .filter(|subject| subject.kind.knows(operation))
            .collect();
        println!("| {operation:?} | P=1 | P=16 | P=64 |\n|---|---|---|---|");
        let mut rows = vec![String::new(); known.len()];
        for (pipeline, requests) in COLUMNS {
            let mut cells: Vec<Best> = vec![(f64::INFINITY, f64::INFINITY); known.len()];
            for _ in 0..rounds {
                for (subject, (user, system)) in known.iter().zip(&mut cells) {
                    let (now_user, now_system) =
                        subject.run(operation, pipeline, requests / divisor / weight)?;
                    *user = user.min(now_user);
                    *system = system.min(now_system);
                }
            }
            for (row, (user, system)) in rows.iter_mut().zip(cells) {
                *row += &format!(" {user:.2} + {system:.2} |");
            }
        }
        for (subject, row) in known.iter().zip(rows) {
            println!("| {} |{row}", subject.kind.name());
        }
        println!();
    }
    Ok(())
}
