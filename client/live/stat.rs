//! `stat`: statistics of a server, row by row.
//!
//! In: STATS. Out: one row per interval, with a header every 20 rows; or one JSON document each.

use std::io::{self, Write as _};
use std::time::Duration;

use super::figures::{Figures, rounded};
use super::rows::Rows;
use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::format::Format;
use crate::interrupt;
use crate::units::{bytes, grouped};

/// The rows between two headers.
const HEADER_EVERY: u64 = 20;
const HEADER: [&str; 8] = [
    "keys",
    "memory",
    "clients",
    "requests/s",
    "hits",
    "errors/s",
    "journal",
    "unsynced",
];

/// Prints one row of statistics per interval.
///
/// # Errors
/// [`ClientError::File`] if the output fails; as [`Figures::ask`].
pub fn run(
    connection: &mut Connection,
    rows: &Rows,
    interval: Duration,
    format: Format,
) -> Result<Outcome, ClientError> {
    let mut before = Figures::ask(connection)?;
    for number in rows.numbers() {
        if !interrupt::sleep(interval) {
            break;
        }
        let now = Figures::ask(connection)?;
        if format == Format::Json {
            print(&document(&now, &before).to_string())?;
        } else {
            if number % HEADER_EVERY == 0 {
                print(&row(&HEADER.map(str::to_owned)))?;
            }
            print(&row(&cells(&now, &before)))?;
        }
        before = now;
    }
    Ok(Outcome::Done)
}

fn document(now: &Figures, before: &Figures) -> serde_json::Value {
    serde_json::json!({
        "keys": now.count("keys"),
        "memory_bytes": now.count("memory_bytes"),
        "clients": now.count("connections"),
        "requests_per_second": now.rate("requests_total", before),
        "hit_ratio": now.hit_ratio(before),
        "errors_per_second": now.rate("errors", before),
        "journal_bytes": now.count("journal_bytes"),
        "unsynced_seconds": now.number("unsynced_seconds"),
    })
}

fn cells(now: &Figures, before: &Figures) -> [String; 8] {
    let none = || "-".to_owned();
    let hits = now.hit_ratio(before);
    let unsynced = now.number("unsynced_seconds");
    [
        grouped(now.count("keys")),
        bytes(now.count("memory_bytes")),
        grouped(now.count("connections")),
        grouped(rounded(now.rate("requests_total", before))),
        hits.map_or_else(none, |ratio| format!("{:.0} %", ratio * 100.0)),
        grouped(rounded(now.rate("errors", before))),
        bytes(now.count("journal_bytes")),
        unsynced.map_or_else(none, |seconds| format!("{seconds:.1} s")),
    ]
}

fn row(cells: &[String; 8]) -> String {
    cells.iter().map(|cell| format!("{cell:>12}")).collect()
}

fn print(line: &str) -> Result<(), ClientError> {
    writeln!(io::stdout(), "{line}").map_err(ClientError::output)
}
