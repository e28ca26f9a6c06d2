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
const HEADER: [&str; 9] = [
    "keys",
    "memory",
    "clients",
    "requests/s",
    "hits",
    "errors/s",
    "journal",
    "unsynced",
    "evicted/s",
];

/// The width of each column, the blanks before it included: all but the last fit 80 columns.
const WIDTHS: [usize; 9] = [12, 11, 8, 12, 7, 10, 10, 10, 11];
/// The columns by importance, the least first: those that a narrow terminal has no room for.
const BY_IMPORTANCE: [usize; 9] = [8, 7, 6, 5, 2, 4, 1, 0, 3];

/// Prints one row of statistics per interval. A terminal shows the columns that fit.
///
/// # Errors
/// [`ClientError::File`] if the output fails; as [`Figures::ask`].
pub fn run(
    connection: &mut Connection,
    rows: &Rows,
    interval: Duration,
    format: Format,
) -> Result<Outcome, ClientError> {
    let columns = if format == Format::People {
        usize::from(console::Term::stdout().size().1)
    } else {
        usize::MAX
    };
    let shown = shown_in(columns);
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
                print(&row(&HEADER.map(str::to_owned), &shown))?;
            }
            print(&row(&cells(&now, &before), &shown))?;
        }
        before = now;
    }
    Ok(Outcome::Done)
}

fn document(now: &Figures, before: &Figures) -> serde_json::Value {
    serde_json::json!({
        "keys": now.count("keys"),
        "memory_bytes": now.count("memory_bytes"),
        "used_memory_bytes": now.count("used_memory_bytes"),
        "max_memory_bytes": now.count("max_memory_bytes"),
        "clients": now.count("connections"),
        "requests_per_second": now.rate("requests_total", before),
        "hit_ratio": now.hit_ratio(before),
        "errors_per_second": now.rate("errors", before),
        "journal_bytes": now.count("journal_bytes"),
        "unsynced_seconds": now.number("unsynced_seconds"),
        "evicted_per_second": now.rate("evicted", before),
    })
}

fn cells(now: &Figures, before: &Figures) -> [String; 9] {
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
        grouped(rounded(now.rate("evicted", before))),
    ]
}

/// Returns the places of the columns that fit.
fn shown_in(columns: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..HEADER.len()).collect();
    for least in BY_IMPORTANCE {
        let taken: usize = shown.iter().map(|place| WIDTHS[*place]).sum();
        if taken <= columns {
            break;
        }
        shown.retain(|place| *place != least);
    }
    shown
}

fn row(cells: &[String; 9], shown: &[usize]) -> String {
    let cells = shown.iter().map(|place| (&cells[*place], WIDTHS[*place]));
    cells
        .map(|(cell, width)| format!("{cell:>width$}"))
        .collect()
}

fn print(line: &str) -> Result<(), ClientError> {
    writeln!(io::stdout(), "{line}").map_err(ClientError::output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_terminal_shows_the_columns_that_fit() {
        let names = |columns| shown_in(columns).into_iter().map(|place| HEADER[place]);
        assert_eq!(names(80).count(), 8);
        let narrow: Vec<_> = names(40).collect();
        assert_eq!(narrow, ["keys", "memory", "requests/s"]);
        assert_eq!(names(usize::MAX).count(), 9);
    }
}
