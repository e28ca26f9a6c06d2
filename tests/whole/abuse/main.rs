//! `abuse`: requests that are made to be expensive, and what everybody else notices of them: the longest wait of another client,
//! and the time from SIGTERM to the end of the server.
//!
//! Goal: none of them holds the server up, however many clients send it. Method: some clients send the same requests again and
//! again; one more, which asks for little, measures each of its own replies.
//!
//! In: flags. Out: a table, and status 1 if a row is over a limit. By itself each row is played once with few data, and the limits
//! are generous: a quadratic program breaks them by far. With `--full` there is more of everything, and no limit.

mod measure;
mod rows;
#[path = "../../support/server.rs"]
#[allow(dead_code, reason = "tests/main.rs shares it and uses more")]
mod server;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use measure::{Measured, Size, measure};
use rows::ROWS;

/// The longest wait that passes. The goal is 100 ms; other tests may run at the same time on few cores.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The longest time from SIGTERM to the end that passes: that for which a shutdown waits for its clients, and a last save.
const STOP_MAX: Duration = Duration::from_secs(15);

/// Measures what expensive requests cost others.
#[derive(Parser)]
struct Flags {
    /// Play every row at full size, on a quiet machine.
    #[arg(long)]
    full: bool,
    /// Only the rows whose names contain this.
    #[arg(long, default_value = "")]
    row: String,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    nocapture: bool,
    /// Nothing is done unless "abuse" contains one of these, as with other tests.
    filter: Vec<String>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let is_meant = flags.filter.is_empty() || flags.filter.iter().any(|one| "abuse".contains(one));
    if !is_meant {
        return ExitCode::SUCCESS;
    }
    let size = if flags.full { Size::Full } else { Size::Short };
    println!(
        "| abuse | worst wait | SIGTERM to end | peak memory | rounds |\n|---|---|---|---|---|"
    );
    let mut failed = 0;
    for row in ROWS.iter().filter(|row| row.name.contains(&flags.row)) {
        let Measured {
            wait,
            stop,
            peak_bytes,
            rounds,
        } = measure(row, size);
        let (wait_ms, stop_ms) = (wait.as_millis(), stop.as_millis());
        let (name, sends, mib) = (row.name, row.sends, peak_bytes >> 20);
        println!("| {name}: {sends} | {wait_ms} ms | {stop_ms} ms | {mib} MiB | {rounds} |");
        if size == Size::Short && (wait > WAIT_MAX || stop > STOP_MAX) {
            println!("{name} is over the limits of {WAIT_MAX:?} and {STOP_MAX:?}");
            failed += 1;
        }
    }
    if failed > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
