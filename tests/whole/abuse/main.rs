//! `abuse`: requests that are made to be expensive, and what everybody else notices of them: the longest wait of another client,
//! the time from SIGTERM to the end of the server, and its peak memory, for which half-sent requests have a budget.
//!
//! Goal: none of them holds the server up, however many clients send it. Method: some clients send the same requests again and
//! again; one more, which asks for little, measures each of its own replies.
//!
//! In: flags. Out: a table, and status 1 if a row is over a limit. By itself each row is played once with few data, and the limits
//! are generous: a quadratic program breaks them by far, each time. A row of requests that is over a limit is played once more, as a virtual
//! machine may have to fetch the memory that it was idle with, or its disk to write what others left. With `--full` there is more of everything, and no limit.

mod half_sent;
mod measure;
mod rows;
#[path = "../../support/server.rs"]
#[allow(dead_code, reason = "tests/main.rs shares it and uses more")]
mod server;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use half_sent::HALF_SENT;
use measure::{Measured, Size, measure, measure_half_sent};
use rows::ROWS;

/// The longest wait that passes. The goal is 100 ms; other tests may run at the same time on few cores.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The longest time from SIGTERM to the end that passes: that for which a shutdown waits for its clients, and a last save.
const STOP_MAX: Duration = Duration::from_secs(15);

/// The budget for half-sent requests in bytes, in full.
const BUDGET_BYTES: u64 = 256 << 20;
/// The same for the short form.
const SHORT_BUDGET_BYTES: u64 = 64 << 20;
/// What the server may take beside the budget: itself, and the state of thousands of connections.
const PEAK_SLACK_BYTES: u64 = 64 << 20;

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
        let name = format!("{}: {}", row.name, row.sends);
        let passes = || report(&name, &measure(row, size), size, u64::MAX);
        failed += usize::from(!(passes() || passes()));
    }
    let budget_bytes = match size {
        Size::Full => BUDGET_BYTES,
        Size::Short => SHORT_BUDGET_BYTES,
    };
    let half_sent = HALF_SENT.iter();
    for row in half_sent.filter(|row| row.name.contains(&flags.row)) {
        let peak_bytes_max = budget_bytes + PEAK_SLACK_BYTES;
        let measured = measure_half_sent(row, size, budget_bytes);
        failed += usize::from(!report(row.name, &measured, size, peak_bytes_max));
    }
    if failed > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Prints a row. Returns false if it is over a limit of the short form.
fn report(name: &str, measured: &Measured, size: Size, peak_bytes_max: u64) -> bool {
    let (wait_ms, stop_ms) = (measured.wait.as_millis(), measured.stop.as_millis());
    let (mib, rounds) = (measured.peak_bytes >> 20, measured.rounds);
    println!("| {name} | {wait_ms} ms | {stop_ms} ms | {mib} MiB | {rounds} |");
    let is_over = measured.wait > WAIT_MAX
        || measured.stop > STOP_MAX
        || measured.peak_bytes > peak_bytes_max;
    if size == Size::Full || !is_over {
        return true;
    }
    let peak_mib_max = peak_bytes_max >> 20;
    println!("{name} is over the limits of {WAIT_MAX:?}, {STOP_MAX:?} and {peak_mib_max} MiB");
    false
}
