//! Section `start`: how long a server takes from its call until it serves what it held.
//!
//! In: the settings. Out: a row for each server and each form in which its data lay there, with what was in its folder.
//! Promises: after each start the server holds all pairs. The files have just been written, so no disk is read.

use crate::load::Plan;
use crate::report;
use crate::servers::{Journal, Place, Server};
use crate::wire::Dialect;
use crate::{Failure, Settings};

pub fn run(settings: &Settings) -> Result<(), Failure> {
    report::head(
        &format!(
            "start: from the call until {} pairs are served",
            report::whole(settings.pairs as f64)
        ),
        &["", "seconds", "pairs/s", "memory MB"],
    );
    for dialect in &settings.dialects {
        let [journal, snapshot] = match dialect {
            Dialect::Pykv => ["PyKV from its journal", "PyKV from store.json"],
            Dialect::Redis => ["Redis from its AOF", "Redis from its RDB"],
        };
        let place = Place::new(settings, *dialect)?;
        let server = place.start(Journal::EverySecond)?;
        let filled = plan(settings, &server).fill()?;
        report::row(&[
            format!("({} is filled)", dialect.name()),
            report::seconds(filled.time),
            report::whole(filled.rate()),
        ]);
        // A crash leaves the journal as it is; a stop in order would save.
        server.kill();
        let server = measure(settings, &place, Journal::EverySecond, journal)?;
        server.save()?;
        server.stop()?;
        measure(settings, &place, Journal::None, snapshot)?.kill();
    }
    Ok(())
}

/// Starts a server on what is in its folder, and looks whether it has all of it.
fn measure(
    settings: &Settings,
    place: &Place,
    journal: Journal,
    name: &str,
) -> Result<Server, Failure> {
    let files = place.files()?;
    let server = place.start(journal)?;
    report::row(&[
        name,
        &report::seconds(server.start_time),
        &report::whole(settings.pairs as f64 / server.start_time.as_secs_f64()),
        &report::megabytes(server.memory()),
    ]);
    let files: Vec<String> = files
        .iter()
        .map(|(name, bytes)| format!("{name} {} MB", report::megabytes(*bytes)))
        .collect();
    println!("    in its folder: {}", files.join(", "));
    server.check(&plan(settings, &server))?;
    Ok(server)
}

fn plan<'a>(settings: &'a Settings, server: &Server) -> Plan<'a> {
    Plan::steady(
        server.address,
        server.dialect,
        &settings.texts,
        settings.pairs,
    )
}
