//! Sections `always` and `everysec`: how many writes a second are answered once they are as safe as that.
//!
//! In: the settings. Out: a row for each round of each server, then all rounds together, and their ratio.

use crate::load::{Outcome, Plan, Work};
use crate::report;
use crate::servers::{self, Journal, Place, Server};
use crate::{Failure, Settings};

/// How many keys there are, all of them stored before the first round.
const KEYS: u64 = 1_000_000;
const ROUNDS: usize = 3;
const DEPTHS: [usize; 2] = [1, 16];

pub fn run(settings: &Settings, journal: Journal) -> Result<(), Failure> {
    let promise = match journal {
        Journal::Always => "always: writes on the disk before they are answered",
        _ => {
            "everysec: writes handed to the system before they are answered, and on the disk within a second"
        }
    };
    report::head(
        &format!(
            "{promise}; 50 connections, P requests at once; {} keys",
            report::whole(KEYS as f64)
        ),
        &[
            "",
            "writes/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "load CPU %",
            "own saves",
        ],
    );
    let sync = servers::disk_sync_time(&settings.dir)?.as_nanos();
    let mut places = Vec::new();
    for dialect in &settings.dialects {
        let place = Place::new(settings, *dialect)?;
        let server = place.start(journal)?;
        plan(settings, &server).fill()?;
        places.push((place, server));
    }
    for depth in DEPTHS {
        compare(settings, &places, depth)?;
    }
    for (_, server) in &places {
        server.check(&plan(settings, server))?;
    }
    println!(
        "each server holds all {KEYS} pairs; one write of 4 KiB with its sync takes the disk {} ms",
        report::milliseconds(u64::try_from(sync)?)
    );
    for (_, server) in places {
        server.stop()?;
    }
    Ok(())
}

fn plan<'a>(settings: &'a Settings, server: &Server) -> Plan<'a> {
    Plan {
        work: Work::Put,
        ..Plan::steady(server.address, server.dialect, &settings.texts, KEYS)
    }
}

/// All rounds at one depth.
fn compare(settings: &Settings, places: &[(Place, Server)], depth: usize) -> Result<(), Failure> {
    let mut totals: Vec<Outcome> = places.iter().map(|_| Outcome::new()).collect();
    for round in 1..=ROUNDS {
        for ((_, server), total) in places.iter().zip(&mut totals) {
            servers::settle()?;
            let mark = server.save_mark()?;
            let plan = Plan {
                depth,
                ..plan(settings, server)
            };
            let outcome = plan.run_for(settings.seconds)?;
            let has_saved = server.save_mark()? != mark;
            let name = format!("{} P={depth} round {round}", server.dialect.name());
            show(&name, &outcome, if has_saved { "yes" } else { "no" });
            total.add(&outcome);
        }
    }
    for ((_, server), total) in places.iter().zip(&totals) {
        show(
            &format!("{} P={depth} all", server.dialect.name()),
            total,
            "",
        );
    }
    if let [pykv, redis] = totals.as_slice() {
        let ratio = format!("{:.2}", pykv.rate() / redis.rate());
        report::row(&[format!("PyKV / Redis P={depth}"), ratio]);
    }
    Ok(())
}

fn show(name: &str, outcome: &Outcome, saves: &str) {
    report::row(&[
        name,
        &report::whole(outcome.rate()),
        &report::percentile(&outcome.latency, 50.0),
        &report::percentile(&outcome.latency, 99.0),
        &report::milliseconds(outcome.latency.max()),
        &report::whole(outcome.own_percent()),
        saves,
    ]);
}
