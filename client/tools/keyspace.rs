//! What a server holds, at a glance: `scan` lists keys, `bigkeys` the longest values, `namespaces` how much each namespace takes.
//!
//! In: a walk over all keys. Out: rows for people or programs. Promise: the server is asked for some keys at a time, so that nobody
//! else waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufWriter, Write};

use pykv::codec::json;

use super::store::Store;
use crate::connection::{Address, is_interrupted};
use crate::error::ClientError;
use crate::render::{Format, Outcome, plain_text, tell, visible};
use crate::style::{Kind, paint};
use crate::table::grouped;

/// How many of the longest values are told.
const BIGGEST: usize = 20;
/// How many namespaces are told of one by one.
const NAMESPACES_MAX: usize = 100_000;
/// How long the longest bar is.
const BAR_COLUMNS: usize = 30;

/// Which keys are looked at.
#[derive(Debug, clap::Args)]
pub struct Keys {
    /// Only keys that begin with this
    #[arg(default_value = "")]
    pub prefix: String,
}

/// Takes all keys that are wanted, and how long their values are.
fn walk(
    address: &Address,
    asked: &Keys,
    is_sized: bool,
    take: &mut dyn FnMut(String, usize) -> Result<(), ClientError>,
) -> Result<u64, ClientError> {
    let mut store = Store::of(address)?;
    let mut cursor = 0;
    loop {
        let (next, keys) = store.scan(cursor, &asked.prefix)?;
        if is_sized {
            for (key, size) in store.sizes(keys)? {
                take(key, size.unwrap_or(0))?;
            }
        } else {
            for key in keys {
                take(key, 0)?;
            }
        }
        if is_interrupted() {
            return Err(ClientError::Interrupted);
        }
        if next == 0 {
            return Ok(store.left_out);
        }
        cursor = next;
    }
}

/// Rows of a name and some numbers, in the form that is wanted.
struct Rows {
    out: BufWriter<io::Stdout>,
    format: Format,
    names: &'static [&'static str],
    count: u64,
}

impl Rows {
    fn new(format: Format, names: &'static [&'static str]) -> Self {
        Self {
            out: BufWriter::new(io::stdout()),
            format,
            names,
            count: 0,
        }
    }

    /// Writes a row; `show` says how people are shown it.
    fn row(
        &mut self,
        name: &str,
        numbers: &[u64],
        show: impl FnOnce(&str) -> String,
    ) -> Result<(), ClientError> {
        self.write(name, numbers, show)
            .map_err(ClientError::output)?;
        self.count += 1;
        Ok(())
    }

    fn write(
        &mut self,
        name: &str,
        numbers: &[u64],
        show: impl FnOnce(&str) -> String,
    ) -> io::Result<()> {
        let out = &mut self.out;
        let numbers = numbers.iter().map(u64::to_string);
        match self.format {
            Format::People => writeln!(out, "{}", show(&visible(name, &[])?)),
            Format::Json => {
                let before = if self.count == 0 { "[" } else { "," };
                write!(
                    out,
                    "{before}{{\"{}\":{}",
                    self.names[0],
                    json::string(name)
                )?;
                for (title, number) in self.names[1..].iter().zip(numbers) {
                    write!(out, ",\"{title}\":{number}")?;
                }
                write!(out, "}}")
            }
            Format::Csv => {
                let mut row = Vec::new();
                let mut writer = csv::Writer::from_writer(&mut row);
                writer.write_record(std::iter::once(name.to_owned()).chain(numbers))?;
                writer.flush()?;
                drop(writer);
                out.write_all(&row)
            }
            Format::Plain | Format::Raw => {
                write!(out, "{}", plain_text(name))?;
                for number in numbers {
                    write!(out, "\t{number}")?;
                }
                writeln!(out)
            }
        }
    }

    fn finish(mut self) -> Result<Outcome, ClientError> {
        if self.format == Format::Json {
            let end = if self.count == 0 { "[]" } else { "]" };
            writeln!(self.out, "{end}").map_err(ClientError::output)?;
        }
        self.out.flush().map_err(ClientError::output)?;
        Ok(Outcome::Done)
    }

    /// Whether people are told in a sentence what the rows come to.
    fn has_sum(&self) -> bool {
        self.format == Format::People
    }
}

/// Lists keys, as they come.
pub fn scan(address: &Address, asked: &Keys, format: Format) -> Result<Outcome, ClientError> {
    let mut rows = Rows::new(format, &["key"]);
    walk(address, asked, false, &mut |key, _| {
        rows.row(&key, &[], |key| paint(key, Kind::Key))
    })?;
    rows.finish()
}

/// Lists the longest values.
pub fn bigkeys(address: &Address, asked: &Keys, format: Format) -> Result<Outcome, ClientError> {
    let mut biggest = BinaryHeap::new();
    let (mut keys, mut bytes) = (0_u64, 0_u64);
    walk(address, asked, true, &mut |key, size| {
        keys += 1;
        bytes += size as u64;
        biggest.push(Reverse((size, key)));
        if biggest.len() > BIGGEST {
            biggest.pop();
        }
        Ok(())
    })?;
    let mut rows = Rows::new(format, &["key", "bytes"]);
    for Reverse((size, key)) in biggest.into_sorted_vec() {
        let size = size as u64;
        rows.row(&key, &[size], |key| {
            format!("{:>15}  {}", grouped(size), paint(key, Kind::Key))
        })?;
    }
    if rows.has_sum() {
        let mean = bytes.checked_div(keys).unwrap_or(0);
        tell(&format!(
            "{} keys; their values have {} bytes, {} on the average",
            grouped(keys),
            grouped(bytes),
            grouped(mean)
        ));
    }
    rows.finish()
}

/// Lists namespaces with their keys and bytes, the largest first, as bars.
pub fn namespaces(address: &Address, asked: &Keys, format: Format) -> Result<Outcome, ClientError> {
    let mut by_name: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut all = (0, 0);
    walk(address, asked, true, &mut |key, size| {
        let bytes = (key.len() + size) as u64;
        let below = &key[asked.prefix.len()..];
        let name = below
            .find(':')
            .map_or("", |colon| &key[..=asked.prefix.len() + colon]);
        let is_known = by_name.contains_key(name) || by_name.len() < NAMESPACES_MAX;
        let name = if is_known { name } else { "(others)" };
        let (keys, sum) = by_name.entry(name.to_owned()).or_default();
        (*keys, *sum) = (*keys + 1, *sum + bytes);
        all = (all.0 + 1, all.1 + bytes);
        Ok(())
    })?;
    let mut sorted: Vec<_> = by_name.into_iter().collect();
    sorted.sort_by_key(|(_, (_, bytes))| Reverse(*bytes));
    let most = sorted.first().map_or(1, |(_, (_, bytes))| (*bytes).max(1));
    let widest = sorted.iter().map(|(name, _)| name.chars().count()).max();
    let width = widest.unwrap_or(0).clamp(6, 30);
    let mut rows = Rows::new(format, &["namespace", "keys", "bytes"]);
    for (name, (keys, bytes)) in &sorted {
        let name = if name.is_empty() { "(none)" } else { name };
        rows.row(name, &[*keys, *bytes], |name| {
            let name = paint(&format!("{name:width$}"), Kind::Key);
            let bar = bar(*bytes, most);
            format!(
                "{name}  {:>13} keys  {:>15} bytes  {bar}",
                grouped(*keys),
                grouped(*bytes)
            )
        })?;
    }
    if rows.has_sum() {
        tell(&format!(
            "{} keys, {} bytes",
            grouped(all.0),
            grouped(all.1)
        ));
    }
    rows.finish()
}

/// A bar, to the eighth of a column.
fn bar(part: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(part) * (8 * BAR_COLUMNS as u128) / u128::from(most);
    let eighths = usize::try_from(eighths).unwrap_or(8 * BAR_COLUMNS).max(1);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}
