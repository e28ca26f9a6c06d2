//! Part `same-memory`: hit ratios for a trace where both servers hold as much memory, rather than as many entries.
//!
//! In: a trace, a number of entries. Out: entries held and hit ratio of every policy. Each key of the trace becomes so many that data
//! dominate; all of them are asked for in one pipeline, which changes no ratio of exact LRU. Promise: PyKV's resident memory at
//! the end is that of Redis, whose cap fits that many entries, but for two percent, or the run ends.

use std::path::PathBuf;

use crate::caps::{self, Filler};
use crate::kind::Kind;
use crate::peers::{Cap, Peer};
use crate::trace_file::Trace;
use crate::traffic::{Caller, LookUp, look_up};
use crate::{Failure, process_memory};

/// Entries that hold some ten times the memory of an empty server.
const FITTING_MIN: usize = 200_000;
const VALUE_BYTES: usize = 100;
/// In a pipeline.
const BATCH: usize = 100;
/// How often PyKV's cap is corrected by filling it, and then by the trace itself.
const TRIES: usize = 6;
/// How far its memory may be from that of Redis.
const NEAR: f64 = 0.02;

#[derive(clap::Args)]
pub struct Arguments {
    /// A key per line, gzipped or not.
    file: PathBuf,
    /// How many entries fit in Redis, each taken so often that there are 200,000.
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    entries: u32,
    /// Only so many requests from the start.
    #[arg(long)]
    first: Option<usize>,
}

/// What came of a policy.
struct Outcome {
    cap: Cap,
    keys: u64,
    resident_bytes: u64,
    hit_percent: f64,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let trace = Trace::read(&arguments.file, arguments.first)?;
    let entries = usize::try_from(arguments.entries)?;
    let copies = FITTING_MIN.div_ceil(entries);
    let keys: Vec<Vec<String>> = trace
        .keys
        .iter()
        .map(|key| (0..copies).map(|copy| format!("{key}:{copy}")).collect())
        .collect();
    println!(
        "\nsame memory: trace {}, {} requests, each for {copies} keys; {} entries fit in Redis; values of {VALUE_BYTES} bytes\n",
        arguments.file.display(),
        trace.requests.len(),
        entries * copies
    );
    println!("| | policy | cap in bytes | resident bytes | entries held | hit ratio % |");
    println!("|---|---|---|---|---|---|");
    let fitting = u64::try_from(entries * copies)?;
    let mut best: Vec<(Kind, &str, Outcome)> = Vec::new();
    let mut target = 0;
    for kind in [Kind::Redis, Kind::Pykv] {
        let mut outcomes = Vec::new();
        for policy in kind.allkeys_policies() {
            let outcome = match kind {
                Kind::Redis => {
                    let found = caps::find(kind, policy, fitting, VALUE_BYTES)?;
                    replay(kind, found.cap, &trace, &keys)?
                }
                Kind::Pykv => replay_within(target, fitting, policy, &trace, &keys)?,
            };
            row(kind, policy, &outcome);
            outcomes.push((kind, *policy, outcome));
        }
        let ratio = |outcome: &(Kind, &str, Outcome)| outcome.2.hit_percent;
        let first = outcomes
            .into_iter()
            .max_by(|one, other| ratio(one).total_cmp(&ratio(other)));
        let first = first.ok_or("there is no policy")?;
        target = first.2.resident_bytes;
        best.push(first);
    }
    println!("\nthe best of each:\n");
    for (kind, policy, outcome) in &best {
        row(*kind, policy, outcome);
    }
    Ok(())
}

fn row(kind: Kind, policy: &str, outcome: &Outcome) {
    println!(
        "| {} | {policy} | {} | {} | {} | {:.1} |",
        kind.name(),
        outcome.cap.bytes,
        outcome.resident_bytes,
        outcome.keys,
        outcome.hit_percent
    );
}

/// Replays on PyKV until it has ended with so much resident memory, and corrects its cap in between.
fn replay_within(
    resident_bytes: u64,
    fitting: u64,
    policy: &'static str,
    trace: &Trace,
    keys: &[Vec<String>],
) -> Result<Outcome, Failure> {
    let mut cap = Cap {
        bytes: resident_bytes,
        policy,
    };
    for _ in 0..TRIES {
        let mut filler = Filler::new(Peer::start(Kind::Pykv, Some(cap))?, VALUE_BYTES);
        // More than fit in as much memory, whichever server holds them.
        filler.fill(4 * fitting)?;
        let reached = resident(filler.peer())?;
        if is_near(reached, resident_bytes) {
            break;
        }
        cap.bytes = (cap.bytes + resident_bytes).saturating_sub(reached);
    }
    for _ in 0..TRIES {
        let outcome = replay(Kind::Pykv, cap, trace, keys)?;
        if is_near(outcome.resident_bytes, resident_bytes) {
            return Ok(outcome);
        }
        cap.bytes = (cap.bytes + resident_bytes).saturating_sub(outcome.resident_bytes);
    }
    Err(format!("PyKV by {policy} does not come near {resident_bytes} resident bytes").into())
}

fn is_near(one: u64, other: u64) -> bool {
    one.abs_diff(other) as f64 <= NEAR * other as f64
}

fn resident(peer: &Peer) -> Result<u64, Failure> {
    process_memory::bytes(peer.process(), "VmRSS:")
}

fn replay(kind: Kind, cap: Cap, trace: &Trace, keys: &[Vec<String>]) -> Result<Outcome, Failure> {
    let mut callers = [Caller::new(Peer::start(kind, Some(cap))?)];
    let mut look_ups = 0;
    for number in &trace.requests {
        for keys in keys[*number].chunks(BATCH) {
            let batch = keys.iter().map(|key| LookUp {
                key,
                value_bytes: VALUE_BYTES,
            });
            look_up(&mut callers, &batch.collect::<Vec<_>>())?;
            look_ups += keys.len();
        }
    }
    let [caller] = &mut callers;
    caller.flush()?;
    Ok(Outcome {
        cap,
        keys: caller.peer.keys()?,
        resident_bytes: resident(&caller.peer)?,
        hit_percent: 100.0 * caller.hits as f64 / look_ups as f64,
    })
}
