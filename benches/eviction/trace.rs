//! Part `trace`: hit ratios of every policy for a recorded trace, beside those of exact LRU and of the optimum.
//!
//! In: a trace, a number of entries. Out: a table in percent. Promises: every server gets the same requests in step, under a cap
//! at which that many entries of the mean size fit in it; the entries that it holds at the end are shown.

use std::path::PathBuf;

use crate::Failure;
use crate::caps::{self, Fitting};
use crate::kind::BOTH;
use crate::optimum::{lru_hits, optimal_hits};
use crate::peers::Peer;
use crate::trace_file::Trace;
use crate::traffic::{Caller, LookUp, Pace, look_up};

/// Bytes of all values that fit: so many that what a server needs beside them does not matter, and a cap below the 64 MiB from which on
/// PyKV goes by its resident memory, too, so that the number of entries that fit stays the same.
const VALUES_BYTES: usize = 40 << 20;
/// A value longer than this would make a run slow.
const VALUE_BYTES_MAX: usize = 40 << 10;
/// How long an entry of exact LRU stays unused, in ticks of Redis's clock of LRU, which are seconds: it tells the oldest so well.
const STAY_S: f64 = 5.0;
/// Slower than the servers are.
const RATE_MAX: f64 = 20_000.0;

#[derive(clap::Args)]
pub struct Arguments {
    /// A key per line, with the bytes of its value behind it where they are known; gzipped or not.
    file: PathBuf,
    /// How many entries fit.
    #[arg(required = true, value_parser = clap::value_parser!(u64).range(100..))]
    entries: Vec<u64>,
    /// Only so many requests from the start.
    #[arg(long)]
    first: Option<usize>,
    /// Requests per second, 0 for as many as possible; without it, so few that an entry of exact LRU stays for five seconds.
    #[arg(long)]
    rate: Option<f64>,
    /// Values as long as the trace says, in place of one length for all.
    #[arg(long)]
    sizes: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let trace = Trace::read(&arguments.file, arguments.first)?;
    println!(
        "\ntrace {}: {} requests for {} keys; a GET, and a SET where it finds nothing",
        arguments.file.display(),
        trace.requests.len(),
        trace.keys.len()
    );
    for entries in &arguments.entries {
        compare(&trace, *entries, arguments)?;
    }
    Ok(())
}

fn compare(trace: &Trace, entries: u64, arguments: &Arguments) -> Result<(), Failure> {
    let fitting = usize::try_from(entries)?;
    let keys = trace.keys.len();
    let (value_bytes, weights, capacity) = if arguments.sizes {
        let sizes = trace.given_sizes()?;
        let weights: Vec<u64> = sizes.iter().map(|bytes| *bytes as u64).collect();
        let mean = weights.iter().sum::<u64>() / keys as u64;
        (sizes, weights, entries * mean)
    } else {
        let bytes = (VALUES_BYTES / fitting).min(VALUE_BYTES_MAX);
        (vec![bytes; keys], vec![1; keys], entries)
    };
    let lru = lru_hits(&trace.requests, &weights, capacity);
    let optimum = optimal_hits(&trace.requests, &weights, capacity);
    let requests = trace.requests.len();
    let percent = |hits: usize| 100.0 * hits as f64 / requests as f64;
    let stay = fitting as f64 * requests as f64 / (requests - lru) as f64;
    let rate = arguments.rate.unwrap_or((stay / STAY_S).min(RATE_MAX));
    let mean_bytes = value_bytes.iter().sum::<usize>() / keys;
    introduce(entries, mean_bytes, stay, rate);

    let mut callers = Vec::new();
    let mut fittings = Vec::new();
    for kind in BOTH {
        for policy in kind.allkeys_policies() {
            let found = caps::find(kind, policy, entries, mean_bytes)?;
            callers.push(Caller::new(Peer::start(kind, Some(found.cap))?));
            fittings.push(found);
        }
    }
    let pace = Pace::new(rate);
    for (number, key) in trace.requests.iter().copied().enumerate() {
        pace.wait(number);
        let wanted = LookUp {
            key: &trace.keys[key],
            value_bytes: value_bytes[key],
        };
        look_up(&mut callers, &[wanted])?;
    }
    let took = pace.elapsed().as_secs_f64();
    println!("{:.0} requests/s came about\n", requests as f64 / took);

    println!("| | policy | cap in bytes | entries that fit | entries at the end | hit ratio % |");
    println!("|---|---|---|---|---|---|");
    let best = if arguments.sizes {
        "farthest next use (no optimum where sizes differ)"
    } else {
        "optimum"
    };
    for (name, hits) in [(best, optimum), ("exact LRU", lru)] {
        println!(
            "| computed | {name} | | {entries} | | {:.1} |",
            percent(hits)
        );
    }
    for (caller, fitting) in callers.iter_mut().zip(fittings) {
        caller.flush()?;
        row(caller, fitting, percent(usize::try_from(caller.hits)?))?;
    }
    Ok(())
}

fn introduce(entries: u64, mean_bytes: usize, stay: f64, rate: f64) {
    println!(
        "\nN = {entries} entries with values of {mean_bytes} bytes; exact LRU keeps an unused one for {stay:.0} requests"
    );
    if rate > 0.0 {
        println!(
            "{rate:.0} requests/s: for {:.1} s, which Redis's clock of LRU sees as so many ticks of a second",
            stay / rate
        );
    } else {
        println!(
            "as fast as possible: Redis's clock of LRU, which ticks each second, may see all entries as equally old"
        );
    }
    println!("Redis takes 5 samples to find the one to evict, its default");
}

fn row(caller: &mut Caller, fitting: Fitting, percent: f64) -> Result<(), Failure> {
    println!(
        "| {} | {} | {} | {} | {} | {percent:.1} |",
        caller.peer.kind.name(),
        fitting.cap.policy,
        fitting.cap.bytes,
        fitting.entries,
        caller.peer.keys()?,
    );
    Ok(())
}
