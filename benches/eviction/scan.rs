//! Part `scan`: what is left of a working set after all keys were read once.
//!
//! In: how thorough to be. Out: the hit ratio of each policy, for each ten seconds. Requests follow Zipf's law; once a minute all keys
//! are read in order beside them, and only the former count. Promise: every server gets the same requests in step, under a cap
//! at which a tenth of the keys fits. A second of the traffic takes at least one: policies that look at the clock see it.

use crate::caps;
use crate::kind::Kind;
use crate::peers::Peer;
use crate::traffic::{Caller, LookUp, Pace, look_up};
use crate::zipf::Zipf;
use crate::{Failure, Scale};

const KEYS: u64 = 1_000_000;
const FITTING: u64 = KEYS / 10;
const VALUE_BYTES: usize = 100;

const MINUTE_S: usize = 60;
/// A row of the table.
const ROW_S: usize = 10;
/// A scan begins so late in its minute, when the cache is warm, and takes so long.
const SCAN_BEGIN_S: usize = 20;
const SCAN_S: usize = 20;
/// Requests per second by Zipf's law.
const RATE: usize = 20_000;
/// In a pipeline.
const BATCH: usize = 100;

const POLICIES: [(Kind, &str); 5] = [
    (Kind::Redis, "allkeys-lru"),
    (Kind::Redis, "allkeys-lfu"),
    (Kind::Pykv, "allkeys-lru"),
    (Kind::Pykv, "allkeys-lfu"),
    (Kind::Pykv, "allkeys-smart"),
];

pub fn run(scale: Scale) -> Result<(), Failure> {
    let divisor = usize::try_from(scale.divisor)?;
    let keys = usize::try_from(scale.of(KEYS))?;
    let rate = RATE / divisor;
    let seconds = scale.rounds * MINUTE_S;
    println!(
        "\nscan: {rate} look-ups/s by Zipf's law (0.99) of {keys} keys; from second {SCAN_BEGIN_S} of each minute all keys are read once, in {SCAN_S} s"
    );
    println!(
        "room for a tenth of the keys; hit ratio of the former in percent, in each {ROW_S} s\n"
    );
    let mut callers = Vec::new();
    for (kind, policy) in POLICIES {
        let fitting = caps::find(kind, policy, scale.of(FITTING), VALUE_BYTES)?;
        callers.push(Caller::new(Peer::start(kind, Some(fitting.cap))?));
    }
    print!("| seconds |");
    for (kind, policy) in POLICIES {
        print!(" {} {policy} |", kind.name());
    }
    println!("\n|---|{}", "---|".repeat(POLICIES.len()));

    let mut traffic = Traffic {
        zipf: Zipf::new(keys),
        keys: (0..keys)
            .map(|number| format!("key:{number:012}"))
            .collect(),
        scanned: 0,
    };
    let pace = Pace::new(1.0);
    for second in (0..seconds).step_by(ROW_S) {
        let mut hits = [0_usize; POLICIES.len()];
        for second in second..second + ROW_S {
            pace.wait(second);
            let is_scan = (SCAN_BEGIN_S..SCAN_BEGIN_S + SCAN_S).contains(&(second % MINUTE_S));
            let scanned = if is_scan { keys / SCAN_S } else { 0 };
            traffic.second(rate, scanned, &mut callers, &mut hits)?;
        }
        print!("| {second} to {} |", second + ROW_S);
        for hits in hits {
            print!(" {:.1} |", 100.0 * hits as f64 / (rate * ROW_S) as f64);
        }
        println!();
    }
    let took = pace.elapsed().as_secs();
    println!("\n{seconds} seconds of traffic took {took}");
    Ok(())
}

struct Traffic {
    zipf: Zipf,
    keys: Vec<String>,
    /// Keys that were read by scans.
    scanned: usize,
}

impl Traffic {
    /// Sends the requests of a second, those of the scan evenly between the others; adds the hits of the others.
    fn second(
        &mut self,
        rate: usize,
        scanned: usize,
        callers: &mut [Caller],
        hits: &mut [usize],
    ) -> Result<(), Failure> {
        let batches = rate / BATCH;
        for number in 0..batches {
            let chosen = (0..BATCH).map(|_| self.zipf.next());
            let mut numbers: Vec<usize> = chosen.collect();
            let read = scanned * (number + 1) / batches - scanned * number / batches;
            numbers.extend((self.scanned..self.scanned + read).map(|key| key % self.keys.len()));
            self.scanned += read;
            let batch = numbers.iter().map(|number| LookUp {
                key: &self.keys[*number],
                value_bytes: VALUE_BYTES,
            });
            let found = look_up(callers, &batch.collect::<Vec<_>>())?;
            for (hits, found) in hits.iter_mut().zip(found) {
                *hits += found[..BATCH].iter().filter(|is_hit| **is_hit).count();
            }
        }
        Ok(())
    }
}
