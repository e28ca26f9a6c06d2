//! Section `save`: what clients feel of a save, and what it takes.
//!
//! In: the settings. Out: for a load as fast as each server answers, and for one rate that is the same for both: requests,
//! latency and memory before a save and during it. `in a second` is the p99 of the middlemost second.
//! Promises: no save runs when the measuring of `before` begins; if PyKV then saves by itself, the row says `its own`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::load::{Outcome, Plan};
use crate::report;
use crate::servers::{self, Journal, Place, Saved, Server};
use crate::{Failure, Settings};

/// How often memory is looked at during a save.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

const COLUMNS: [&str; 11] = [
    "",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "in a second",
    "p99.9 ms",
    "max ms",
    "load CPU %",
    "save s",
    "memory MB",
    "of a child",
];

pub fn run(settings: &Settings) -> Result<(), Failure> {
    report::head(
        &format!(
            "save: {} pairs; 50 connections, half reads, half writes; memory is the peak, with that of a child",
            report::whole(settings.pairs as f64)
        ),
        &COLUMNS,
    );
    let mut places = Vec::new();
    for dialect in &settings.dialects {
        let place = Place::new(settings, *dialect)?;
        let server = place.start(Journal::EverySecond)?;
        plan(settings, &server, None).fill()?;
        // Also ends what the server may have begun by itself.
        server.save()?;
        places.push((place, server));
    }
    let rates = compare(settings, &places, "as fast as possible", None)?;
    // One rate for both: at a rate of its own, the faster server would be shown with the harder work.
    let half = rates.into_iter().fold(f64::INFINITY, f64::min) / 2.0;
    let title = format!(
        "at {} requests/s, latency from when each is due",
        report::whole(half)
    );
    compare(settings, &places, &title, Some(half))?;
    for (_, server) in &places {
        server.check(&plan(settings, server, None))?;
    }
    println!("each server holds all {} pairs", settings.pairs);
    for (place, server) in places {
        server.kill();
        drop(place);
    }
    Ok(())
}

fn plan<'a>(settings: &'a Settings, server: &Server, rate: Option<f64>) -> Plan<'a> {
    Plan {
        rate,
        ..Plan::steady(
            server.address,
            server.dialect,
            &settings.texts,
            settings.pairs,
        )
    }
}

/// Both servers before and during a save; how many requests a second each answered before.
fn compare(
    settings: &Settings,
    places: &[(Place, Server)],
    title: &str,
    rate: Option<f64>,
) -> Result<Vec<f64>, Failure> {
    println!("{title}");
    let mut rates = Vec::new();
    for (_, server) in places {
        servers::settle()?;
        let plan = plan(settings, server, rate);
        let mark = server.save_mark()?;
        let before = plan.run_for(settings.seconds)?;
        let has_saved = server.save_mark()? != mark;
        let memory = server.memory();
        let name = format!("{} before", server.dialect.name());
        let note = if has_saved { "its own" } else { "" };
        show(&name, &before, note, (memory, 0));
        let (during, saved, peak) = save_under(server, &plan)?;
        let name = format!("{} during", server.dialect.name());
        let time = report::seconds(saved.time);
        show(&name, &during, &time, (peak, saved.child_bytes));
        rates.push(before.rate());
    }
    Ok(rates)
}

/// Saves while the load runs, and ends both together; what came of the load, the save, and the most memory of the server.
fn save_under(server: &Server, plan: &Plan) -> Result<(Outcome, Saved, u64), Failure> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let save = scope.spawn(|| {
            let saved = server.save();
            done.store(true, Relaxed);
            saved
        });
        let watcher = scope.spawn(|| watch(server, &done));
        let outcome = plan.run(|| done.load(Relaxed));
        // If the load has failed, the save still ends.
        let saved = save.join().expect("the save does not panic")?;
        let peak = watcher.join().expect("the watcher does not panic");
        Ok((outcome?, saved, peak))
    })
}

/// The most memory that the server held until the save was done.
fn watch(server: &Server, done: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !done.load(Relaxed) {
        peak = peak.max(server.memory());
        std::thread::sleep(SAMPLE_INTERVAL);
    }
    peak
}

/// Prints a row; `memory` is that of the server, and of its child.
fn show(name: &str, outcome: &Outcome, save: &str, memory: (u64, u64)) {
    report::row(&[
        name,
        &report::whole(outcome.rate()),
        &report::percentile(&outcome.latency, 50.0),
        &report::percentile(&outcome.latency, 99.0),
        &report::milliseconds(outcome.p99_of_a_second()),
        &report::percentile(&outcome.latency, 99.9),
        &report::milliseconds(outcome.latency.max()),
        &report::whole(outcome.own_percent()),
        save,
        &report::megabytes(memory.0 + memory.1),
        &report::megabytes(memory.1),
    ]);
}
