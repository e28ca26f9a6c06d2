//! `scan` lists keys, `bigkeys` the longest values, `namespaces` the size of each namespace.
//!
//! In: a walk over the keys of a server. Out: rows for people or programs. Promise: keys are read in batches, so that no other client waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufWriter, Write};
use std::iter;

use pykv::codec::json;
use pykv::codec::key_text::{key_bytes, key_text};

use super::store::Store;
use crate::address::Address;
use crate::error::{ClientError, Outcome};
use crate::format::Format;
use crate::help::explain_prefix;
use crate::render::{csv_row, cut, plain_text};
use crate::style::{Kind, paint};
use crate::terminal::{tell, visible};
use crate::units::grouped;

/// The values that `bigkeys` lists.
const BIGGEST: usize = 20;
/// The namespaces that are counted separately, which bounds the memory.
const NAMESPACES_MAX: usize = 100_000;
/// The length of the longest bar.
const BAR_COLUMNS: usize = 30;

/// The arguments of these tools.
#[derive(Debug, clap::Args)]
pub struct KeyRange {
    /// Only keys with this prefix
    #[arg(default_value = "")]
    pub prefix: String,
}

/// Walks the keys with a prefix; `take` gets each with the size of its value, or 0 if not `is_sized`.
fn walk(
    address: &Address,
    options: &KeyRange,
    is_sized: bool,
    take: &mut dyn FnMut(String, usize) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    Store::of(address)?.walk(&options.prefix, |store, keys| {
        if !is_sized {
            return keys.into_iter().try_for_each(|key| take(key, 0));
        }
        let mut sizes = store.sizes(keys)?.into_iter();
        sizes.try_for_each(|(key, size)| take(key, size.unwrap_or(0)))
    })
}

/// Rows of a name and some numbers, in the chosen form.
struct Report {
    out: BufWriter<io::Stdout>,
    format: Format,
    names: &'static [&'static str],
    count: u64,
}

impl Report {
    fn new(format: Format, names: &'static [&'static str]) -> Self {
        Self {
            out: BufWriter::new(io::stdout()),
            format,
            names,
            count: 0,
        }
    }

    /// Writes a row; `show` formats it for people.
    fn row(
        &mut self,
        name: &str,
        numbers: &[u64],
        show: impl FnOnce(&str) -> String,
    ) -> Result<(), ClientError> {
        let out = &mut self.out;
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let cells = || iter::once(name).chain(numbers.iter().map(|number| &**number));
        let write = || match self.format {
            Format::People => writeln!(out, "{}", show(&visible(name, &[]))),
            Format::Json => {
                let before = if self.count == 0 { "[" } else { "," };
                let name = json::string(name);
                write!(out, "{before}{{\"{}\":{name}", self.names[0])?;
                for (title, number) in self.names[1..].iter().zip(&numbers) {
                    write!(out, ",\"{title}\":{number}")?;
                }
                write!(out, "}}")
            }
            Format::Csv => csv_row(out, cells()),
            Format::Plain | Format::Raw => {
                let cells: Vec<_> = cells().map(plain_text).collect();
                writeln!(out, "{}", cells.join("\t"))
            }
        };
        write().map_err(ClientError::output)?;
        self.count += 1;
        Ok(())
    }

    fn finish(mut self, options: &KeyRange) -> Result<Outcome, ClientError> {
        explain_prefix(self.count, &options.prefix);
        if self.format == Format::Json {
            let end = if self.count == 0 { "[]" } else { "]" };
            writeln!(self.out, "{end}").map_err(ClientError::output)?;
        }
        self.out.flush().map_err(ClientError::output)?;
        Ok(Outcome::Done)
    }

    /// Returns whether a summary follows the rows.
    fn has_summary(&self) -> bool {
        self.format == Format::People
    }
}

/// Lists keys as they arrive, unsorted.
///
/// # Errors
/// [`ClientError::Store`] if the server fails; `File` if the output fails; `Interrupted` after Ctrl-C.
pub fn scan(address: &Address, options: &KeyRange, format: Format) -> Result<Outcome, ClientError> {
    let mut rows = Report::new(format, &["key"]);
    walk(address, options, false, &mut |key, _| {
        rows.row(&key, &[], |key| paint(key, Kind::Key))
    })?;
    rows.finish(options)
}

/// Lists the longest values.
pub fn bigkeys(
    address: &Address,
    options: &KeyRange,
    format: Format,
) -> Result<Outcome, ClientError> {
    let mut biggest = BinaryHeap::new();
    let (mut keys, mut bytes) = (0_u64, 0_u64);
    walk(address, options, true, &mut |key, size| {
        keys += 1;
        bytes += size as u64;
        biggest.push(Reverse((size, key)));
        if biggest.len() > BIGGEST {
            biggest.pop();
        }
        Ok(())
    })?;
    let mut rows = Report::new(format, &["key", "bytes"]);
    for Reverse((size, key)) in biggest.into_sorted_vec() {
        let size = size as u64;
        rows.row(&key, &[size], |key| {
            format!("{:>15}  {}", grouped(size), paint(key, Kind::Key))
        })?;
    }
    if rows.has_summary() {
        let mean = bytes.checked_div(keys).unwrap_or(0);
        tell(&format!(
            "{} keys, {} bytes of values, {} bytes on average",
            grouped(keys),
            grouped(bytes),
            grouped(mean)
        ));
    }
    rows.finish(options)
}

/// Lists namespaces with their keys and bytes, the largest first, with bars.
pub fn namespaces(
    address: &Address,
    options: &KeyRange,
    format: Format,
) -> Result<Outcome, ClientError> {
    let mut by_name: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut all = (0, 0);
    walk(address, options, true, &mut |key, size| {
        let key = key_bytes(key.into());
        let bytes = (key.len() + size) as u64;
        let name = memchr::memchr(b':', &key[options.prefix.len()..])
            .map_or(&b""[..], |colon| &key[..=options.prefix.len() + colon]);
        let name = &*key_text(name);
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
    let widest = |number: &dyn Fn(&(u64, u64)) -> u64| {
        let numbers = sorted
            .iter()
            .map(|(_, counts)| grouped(number(counts)).len());
        numbers.max().unwrap_or(0)
    };
    let (keys_width, bytes_width) = (widest(&|(keys, _)| *keys), widest(&|(_, bytes)| *bytes));
    // The bar has what the numbers leave.
    let taken = width + keys_width + bytes_width + "   keys   bytes  ".len();
    let columns = usize::from(console::Term::stdout().size().1);
    let most_columns = columns.saturating_sub(taken).min(BAR_COLUMNS);
    let mut rows = Report::new(format, &["namespace", "keys", "bytes"]);
    for (name, (keys, bytes)) in &sorted {
        let name = if name.is_empty() { "(none)" } else { name };
        rows.row(name, &[*keys, *bytes], |name| {
            let name = paint(&format!("{:width$}", cut(name, width)), Kind::Key);
            let bar = bar(*bytes, most, most_columns);
            let (keys, bytes) = (grouped(*keys), grouped(*bytes));
            format!("{name}  {keys:>keys_width$} keys  {bytes:>bytes_width$} bytes  {bar}")
        })?;
    }
    if rows.has_summary() {
        tell(&format!(
            "{} keys, {} bytes",
            grouped(all.0),
            grouped(all.1)
        ));
    }
    rows.finish(options)
}

/// Returns a bar, to the eighth of a column.
fn bar(part: u64, most: u64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if columns == 0 {
        return String::new();
    }
    let eighths = u128::from(part) * (8 * columns as u128) / u128::from(most);
    let eighths = usize::try_from(eighths).unwrap_or(8 * columns).max(1);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}
