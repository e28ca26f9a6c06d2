//! Part `day`: a day of a cache in minutes, with saves, stops and crashes.
//!
//! In: how thorough to be. Out: a line for each restart, and at the end whether anything was wrong. Promises: every value read is
//! the last written; after each restart all pairs are those of a dump taken before it, but for those that have expired; the
//! server's memory, looked at every 100 ms, stays below its bound. Where one of these fails, the run ends with status 1.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use redis::{cmd, pipe};

use crate::model::{Dump, Model, name};
use crate::peers::{Cap, figure, new_folder};
use crate::subject::{CLIENT_BYTES, Subject, Watch};
use crate::zipf::Zipf;
use crate::{Failure, Scale};

const CAP: Cap = Cap {
    bytes: 64 << 20,
    policy: "allkeys-smart",
};
const KEYS: usize = 400_000;
const HOURS: u64 = 24;
/// How long an hour takes.
const HOUR_MS: u64 = 10_000;
/// Look-ups per second at noon; at midnight there are a fifth of them.
const RATE_MAX: f64 = 20_000.0;
const BATCH: usize = 100;
/// How long values live, but for a tenth that stays; in seconds as they pass here.
const LIFETIME_MS: std::ops::Range<u64> = 1_000..60_000;
/// No change for so long, and all are on the disk, also where they get there within a second.
const QUIET: Duration = Duration::from_secs(2);

/// What happens at the end of an hour.
fn event(hour: u64) -> Option<Event> {
    match hour {
        1 | 5 | 9 | 13 | 17 | 21 => Some(Event::Save),
        3 | 11 | 19 => Some(Event::Stop),
        7 | 15 | 23 => Some(Event::Crash),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    /// BGSAVE, and traffic goes on.
    Save,
    /// SIGTERM.
    Stop,
    /// SIGKILL, right after a BGSAVE.
    Crash,
}

pub fn run(scale: Scale) -> Result<(), Failure> {
    let hour = Duration::from_millis(scale.of(HOUR_MS));
    println!(
        "\nday: {HOURS} hours of {} s; {KEYS} keys by Zipf's law, values of 50 to 4,000 bytes that live for up to a minute, cap {} bytes, {}",
        hour.as_secs_f64(),
        CAP.bytes,
        CAP.policy
    );
    let mut faults = 0;
    for durability in ["always", "everysec"] {
        println!("\n--durability {durability}\n");
        let watch = Watch::default();
        faults += thread::scope(|scope| {
            scope.spawn(|| watch.run());
            let faults = one_day(durability, hour, &watch);
            watch.end();
            faults
        })?;
    }
    if faults > 0 {
        return Err(format!("{faults} faults in the day").into());
    }
    println!("\nnothing was lost, stale or too large");
    Ok(())
}

/// Returns the number of faults.
fn one_day(durability: &str, hour: Duration, watch: &Watch) -> Result<usize, Failure> {
    let folder = new_folder()?;
    let start = || Subject::start(folder.path(), durability, CAP, watch);
    let mut subject = start()?;
    let idle = watch.bytes();
    let bound = CAP.bytes / 20 * 21 + CLIENT_BYTES + idle;
    println!("idle {idle} bytes; bound {bound} = cap * 1.05 + {CLIENT_BYTES} of clients + idle");
    let mut traffic = Traffic::new();
    for number in 0..HOURS {
        traffic.hour(&mut subject, number, hour)?;
        let event = event(number);
        match event {
            None => {}
            Some(Event::Save) => save(&mut subject)?,
            Some(Event::Stop | Event::Crash) => {
                let is_crash = event == Some(Event::Crash);
                thread::sleep(QUIET);
                let evicted: usize = figure(&mut subject.connection, "evicted_keys")?;
                let before = Dump::take(&mut subject.connection)?;
                let signal = if is_crash { "-KILL" } else { "-TERM" };
                if is_crash {
                    save(&mut subject)?;
                }
                let evicted = figure::<usize>(&mut subject.connection, "evicted_keys")? - evicted;
                subject.end(signal, watch)?;
                let begun = Instant::now();
                subject = start()?;
                let took = begun.elapsed().as_secs_f64();
                traffic.faults += check(&mut subject, (&before, evicted), number, signal, took)?;
            }
        }
        let peak = watch.take_peak();
        if peak > bound {
            println!(
                "FAULT: hour {number}: {peak} bytes of memory, {} too many",
                peak - bound
            );
            traffic.faults += 1;
        }
        traffic.peak = traffic.peak.max(peak);
    }
    let evicted: u64 = figure(&mut subject.connection, "evicted_keys")?;
    println!(
        "{} look-ups, {:.1} % hits; {} writes; {evicted} evicted since the last start; memory at most {} of {bound}",
        traffic.look_ups,
        100.0 * traffic.hits as f64 / traffic.look_ups as f64,
        traffic.writes,
        traffic.peak
    );
    Ok(traffic.faults)
}

fn save(subject: &mut Subject) -> Result<(), Failure> {
    // One that runs already is enough.
    let saved = cmd("BGSAVE").query::<String>(&mut subject.connection);
    saved.map_or_else(
        |error| match error.to_string() {
            said if said.contains("in progress") => Ok(()),
            said => Err(said.into()),
        },
        |_| Ok(()),
    )
}

/// Compares what is there after a restart with what was before, of which so many were evicted since, and prints it; the number of faults.
fn check(
    subject: &mut Subject,
    (before, evicted): (&Dump, usize),
    hour: u64,
    signal: &str,
    took: f64,
) -> Result<usize, Failure> {
    let after = Dump::take(&mut subject.connection)?;
    let found = before.compare(&after);
    let evicted = evicted + figure::<usize>(&mut subject.connection, "evicted_keys")?;
    let lost = found.missing.saturating_sub(evicted);
    let is_wrong = lost + found.changed + found.added > 0;
    println!(
        "{}hour {hour}: {signal}, {took:.2} s to start; {} pairs before, {} after; {} expired, {evicted} evicted, {lost} lost, {} changed, {} that were not there",
        if is_wrong { "FAULT: " } else { "" },
        before.pairs.len(),
        after.pairs.len(),
        found.expired,
        found.changed,
        found.added,
    );
    Ok(usize::from(is_wrong))
}

/// Cache-aside traffic, with changes and deletions, and what must come of it.
struct Traffic {
    model: Model,
    zipf: Zipf,
    random: Rng,
    look_ups: u64,
    hits: u64,
    writes: u64,
    faults: usize,
    /// Most bytes of memory.
    peak: u64,
}

impl Traffic {
    fn new() -> Self {
        Self {
            model: Model::new(KEYS),
            zipf: Zipf::new(KEYS),
            random: Rng::with_seed(2),
            look_ups: 0,
            hits: 0,
            writes: 0,
            faults: 0,
            peak: 0,
        }
    }

    fn hour(&mut self, subject: &mut Subject, number: u64, lasts: Duration) -> Result<(), Failure> {
        let angle = number as f64 / HOURS as f64 * std::f64::consts::PI;
        let rate = RATE_MAX * (0.2 + 0.8 * angle.sin());
        let interval = Duration::from_secs_f64(BATCH as f64 / rate);
        let started = Instant::now();
        while started.elapsed() < lasts {
            let due = Instant::now() + interval;
            self.batch(subject)?;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    /// Looks keys up, checks what is found, stores what is not, and changes or deletes some.
    fn batch(&mut self, subject: &mut Subject) -> Result<(), Failure> {
        let mut keys: Vec<usize> = (0..BATCH).map(|_| self.zipf.next()).collect();
        keys.sort_unstable();
        // What is found of a key is checked before it is changed.
        keys.dedup();
        let mut look_ups = pipe();
        for key in &keys {
            look_ups.cmd("GET").arg(name(*key));
        }
        let sent = Instant::now();
        let found: Vec<Option<Vec<u8>>> = look_ups.query(&mut subject.connection)?;
        let mut writes = pipe();
        let mut written = Vec::new();
        let began = Instant::now();
        for (key, found) in keys.into_iter().zip(found) {
            self.look_ups += 1;
            let chance = self.random.u8(..100);
            if let Some(read) = &found {
                self.hits += 1;
                if let Some(fault) = self.model.check(key, read, sent) {
                    println!("FAULT: {fault}");
                    self.faults += 1;
                }
            }
            if found.is_some() && chance < 2 {
                self.model.delete(key);
                writes.cmd("DEL").arg(name(key)).ignore();
            } else if found.is_none() || chance < 12 {
                let stays = self.random.u8(..10) == 0;
                let lifetime = self.random.u64(LIFETIME_MS);
                let lives = (!stays).then(|| Duration::from_millis(lifetime));
                writes.cmd("SET").arg(name(key));
                writes.arg(self.model.write(key, lives));
                if lives.is_some() {
                    writes.arg("PX").arg(lifetime);
                }
                writes.ignore();
                written.push(key);
            }
        }
        if !writes.is_empty() {
            writes.exec(&mut subject.connection)?;
        }
        self.writes += written.len() as u64;
        self.model.settle(&written, began);
        Ok(())
    }
}
