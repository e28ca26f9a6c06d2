//! Part `cost`: what a cap costs a request that evicts nothing, and what evicting costs one that stores.
//!
//! In: how thorough to be. Out: processor time per request, throughput and p99 of each policy, and its ratio to no cap.
//! Promises: each round has all policies of both servers in turn, and ratios are taken within a round; the medians of the rounds
//! are shown. Every GET finds its key. Nearly all keys of SETs are new, and it is shown how many were evicted for each.

use std::thread::sleep;
use std::time::Duration;

use redis::cmd;

use crate::kind::{BOTH, Kind};
use crate::peers::{Cap, Peer};
use crate::redis_benchmark::{KEYS, Load, Measured, median};
use crate::traffic::{Caller, LookUp};
use crate::{Failure, Scale};

/// The pipelines, and how many requests take some seconds with each.
const PIPELINES: [(u64, u64); 2] = [(1, 300_000), (64, 2_000_000)];
/// More than is ever held.
const FAR_BYTES: u64 = 8 << 30;
/// So many keys to choose from that nearly all chosen are new; redis-benchmark takes no more than fit in 31 bits.
const NEW_KEYS: u64 = 2_000_000_000;
/// Times that other new keys are stored at most before each of them evicts another, and how many keys they are chosen from at first and
/// how many more each time: redis-benchmark draws the same random numbers in each run, which other moduli make other keys.
const WARM_UPS_MAX: u64 = 20;
const WARM_UP_KEYS: u64 = 10_000_000;
const WARM_UP_MORE_KEYS: u64 = 1_000_000;
/// Keys stored at once.
const FILL_BATCH: u64 = 1000;

/// The figures of one policy, or of no cap, of a server with a pipeline: one for each round.
type Rounds = Vec<Round>;

/// What came of a load, and how many keys were evicted for each request.
#[derive(Debug, Clone, Copy)]
struct Round {
    measured: Measured,
    evicted: f64,
}

/// What is measured.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Arguments {
    /// Only SETs of new keys at the cap, and no GETs.
    #[arg(long)]
    only_stores: bool,
}

/// Measures what a cap costs.
///
/// # Errors
/// If a server fails, or does not evict as it should.
pub fn run(scale: Scale, arguments: &Arguments) -> Result<(), Failure> {
    println!(
        "\n50 connections, {KEYS} keys of 16 bytes, values of 64; each server on core 0, redis-benchmark on core 1"
    );
    println!(
        "microseconds of the server's core for each request, user + system; ratio of both together to no cap"
    );
    if !arguments.only_stores {
        reads(scale)?;
    }
    stores(scale)
}

/// GETs of keys that are there, under a cap that is not reached.
fn reads(scale: Scale) -> Result<(), Failure> {
    let mut servers = servers()?;
    for caller in &mut servers {
        fill(caller)?;
    }
    let measure = |caller: &mut Caller, policy: Option<&'static str>, load: Load| {
        let peer = &mut caller.peer;
        match policy {
            Some(policy) => peer.set_cap(Cap {
                bytes: FAR_BYTES,
                policy,
            })?,
            None => peer.remove_cap()?,
        }
        // What a new policy has to do at first is not its cost.
        let first = Load {
            requests: load.requests / 10,
            ..load
        };
        first.run(peer.address, peer.process())?;
        let misses = peer.figure("keyspace_misses")?;
        let measured = load.run(peer.address, peer.process())?;
        if peer.figure("keyspace_misses")? != misses {
            return Err(format!("{} has lost keys under {policy:?}", peer.kind.name()).into());
        }
        Ok(Round {
            measured,
            evicted: 0.0,
        })
    };
    table(
        "GET under a cap that is not reached",
        "get",
        KEYS,
        Kind::policies,
        &mut servers,
        scale,
        measure,
    )
}

/// SETs of new keys at the cap, each of which evicts another; without a cap they add to what is there.
fn stores(scale: Scale) -> Result<(), Failure> {
    let measure = |caller: &mut Caller, policy: Option<&'static str>, load: Load| {
        caller.peer.remove_cap()?;
        cmd("FLUSHALL").query::<()>(&mut caller.peer.connection)?;
        fill(caller)?;
        let peer = &mut caller.peer;
        if let Some(policy) = policy {
            let bytes = peer.figure("used_memory")?;
            peer.set_cap(Cap { bytes, policy })?;
            settle(peer)?;
        }
        // What a new cap has to do at first is not its cost, nor what still fits under it.
        let first = Load {
            requests: load.requests / 2,
            ..load
        };
        for warm_up in 0..WARM_UPS_MAX {
            let keys = WARM_UP_KEYS + warm_up * WARM_UP_MORE_KEYS;
            let evicted = peer.figure("evicted_keys")?;
            Load { keys, ..first }.run(peer.address, peer.process())?;
            let evicted = peer.figure("evicted_keys")? - evicted;
            if policy.is_none() || evicted >= first.requests / 4 * 3 {
                break;
            }
        }
        let evicted = peer.figure("evicted_keys")?;
        let measured = load.run(peer.address, peer.process())?;
        let evicted = peer.figure("evicted_keys")? - evicted;
        // PyKV lets more in while its resident memory leaves room.
        if policy.is_some() && evicted < load.requests / 2 {
            let name = peer.kind.name();
            let requests = load.requests;
            return Err(
                format!("{name} has evicted {evicted} keys for {requests} new ones").into(),
            );
        }
        Ok(Round {
            measured,
            evicted: evicted as f64 / load.requests as f64,
        })
    };
    table(
        "SET of new keys at the cap",
        "set",
        NEW_KEYS,
        Kind::allkeys_policies,
        &mut servers()?,
        scale,
        measure,
    )
}

/// Waits until a server does not evict any more, as it has reached its cap.
fn settle(peer: &mut Peer) -> Result<(), Failure> {
    const INTERVAL: Duration = Duration::from_millis(200);
    let mut evicted = peer.figure("evicted_keys")?;
    loop {
        sleep(INTERVAL);
        let before = std::mem::replace(&mut evicted, peer.figure("evicted_keys")?);
        if evicted == before {
            return Ok(());
        }
    }
}

/// Measures all policies of both servers, and prints what came of it.
fn table(
    title: &str,
    test: &'static str,
    keys: u64,
    policies: fn(Kind) -> &'static [&'static str],
    servers: &mut [Caller],
    scale: Scale,
    mut measure: impl FnMut(&mut Caller, Option<&'static str>, Load) -> Result<Round, Failure>,
) -> Result<(), Failure> {
    println!("\n{title}\n");
    println!("| | P | us | ratio | k/s | p99 ms | evicted for each |");
    println!("|---|---|---|---|---|---|---|");
    for (pipeline, requests) in PIPELINES {
        let load = Load {
            keys,
            ..Load::of(test, pipeline, scale.of(requests))
        };
        let mut cases: Vec<(usize, Option<&'static str>, Rounds)> = Vec::new();
        for (place, server) in servers.iter().enumerate() {
            cases.push((place, None, Vec::new()));
            let policies = policies(server.peer.kind).iter();
            cases.extend(policies.map(|policy| (place, Some(*policy), Vec::new())));
        }
        for _ in 0..scale.rounds {
            for (place, policy, figures) in &mut cases {
                figures.push(measure(&mut servers[*place], *policy, load)?);
            }
        }
        let mut uncapped = &cases[0].2;
        for (place, policy, figures) in &cases {
            if policy.is_none() {
                uncapped = figures;
            }
            let measured = median(figures.iter().map(|round| round.measured).collect());
            let evicted: f64 = figures.iter().map(|round| round.evicted).sum();
            println!(
                "| {} {} | {pipeline} | {} | {:.2} x | {:.0} | {:.2} | {:.2} |",
                servers[*place].peer.kind.name(),
                policy.unwrap_or("without a cap"),
                measured.cpu,
                median_ratio(figures, uncapped),
                measured.per_second / 1e3,
                measured.p99_ms,
                evicted / figures.len() as f64,
            );
        }
    }
    Ok(())
}

/// Returns the middlemost of the ratios of processor time, each within its round.
fn median_ratio(figures: &Rounds, to: &Rounds) -> f64 {
    let pairs = figures.iter().zip(to);
    let mut ratios: Vec<f64> = pairs
        .map(|(one, other)| one.measured.cpu.both_us() / other.measured.cpu.both_us())
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn servers() -> Result<Vec<Caller>, Failure> {
    let start = |kind| Ok(Caller::new(Peer::start(kind, None)?));
    BOTH.into_iter().map(start).collect()
}

/// Stores all keys that redis-benchmark can ask for.
fn fill(caller: &mut Caller) -> Result<(), Failure> {
    for number in 0..KEYS {
        caller.store(LookUp {
            key: &format!("key:{number:012}"),
            value_bytes: 64,
        });
        if number % FILL_BATCH == FILL_BATCH - 1 {
            caller.flush()?;
        }
    }
    caller.flush()
}
