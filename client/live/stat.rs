//! `stat`: a row of figures for each second.
//!
//! In: STATS. Out: rows, with their names above them now and then.

use std::io::{self, Write as _};
use std::time::Duration;

use super::Rows;
use super::figures::Figures;
use crate::connection::{Connection, pause};
use crate::error::ClientError;
use crate::render::{Format, Outcome};
use crate::table::{bytes, grouped};

/// After so many rows their names are told again.
const NAMES_EVERY: u64 = 20;
const NAMES: [&str; 8] = [
    "keys",
    "memory",
    "clients",
    "requests/s",
    "hits",
    "errors/s",
    "journal",
    "unsynced",
];

/// Tells.
pub fn run(
    connection: &mut Connection,
    rows: &Rows,
    interval: Duration,
    format: Format,
) -> Result<Outcome, ClientError> {
    let mut before = Figures::ask(connection)?;
    for number in 0.. {
        if (rows.count > 0 && number == rows.count) || !pause(interval) {
            break;
        }
        let now = Figures::ask(connection)?;
        let hits = now.hit_ratio(&before);
        if format == Format::Json {
            let told = serde_json::json!({
                "keys": now.count("keys"),
                "memory_bytes": now.count("memory_bytes"),
                "clients": now.count("connections"),
                "requests_per_second": now.rate("requests_total", &before),
                "hit_ratio": hits,
                "errors_per_second": now.rate("errors", &before),
                "journal_bytes": now.count("journal_bytes"),
                "unsynced_seconds": now.number("unsynced_seconds"),
            });
            writeln!(io::stdout(), "{told}").map_err(ClientError::output)?;
            before = now;
            continue;
        }
        if number % NAMES_EVERY == 0 {
            row(&NAMES.map(str::to_owned))?;
        }
        row(&[
            grouped(now.count("keys")),
            bytes(now.count("memory_bytes")),
            grouped(now.count("connections")),
            rounded(now.rate("requests_total", &before)),
            hits.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
            rounded(now.rate("errors", &before)),
            bytes(now.count("journal_bytes")),
            now.number("unsynced_seconds")
                .map_or("-".to_owned(), |age| format!("{age:.1} s")),
        ])?;
        before = now;
    }
    Ok(Outcome::Done)
}

fn row(cells: &[String; 8]) -> Result<(), ClientError> {
    let line: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
    writeln!(io::stdout(), "{line}").map_err(ClientError::output)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is no less than nought, and far below 2^64"
)]
fn rounded(rate: f64) -> String {
    grouped(rate.round() as u64)
}
