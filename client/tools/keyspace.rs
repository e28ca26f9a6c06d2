//! What a server holds, at a glance: `scan` lists keys, `bigkeys` the longest values, `namespaces` how much each namespace takes.
//!
//! In: a walk over all keys. Out: rows for people or programs. Promise: the server is asked for some keys at a time, so that nobody
//! else waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufWriter, IsTerminal as _, Write};

use super::store::Store;
use crate::connection::{Address, is_interrupted};
use crate::error::ClientError;
use crate::render::{Outcome, tell};
use crate::style::{Kind, paint};
use crate::table::{grouped, write_visible};

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

fn out() -> BufWriter<io::Stdout> {
    BufWriter::new(io::stdout())
}

/// Text as it may be shown where it is written to.
fn shown(text: &str) -> Result<String, ClientError> {
    if !io::stdout().is_terminal() {
        return Ok(text.to_owned());
    }
    let mut safe = Vec::new();
    write_visible(&mut safe, text, &[]).map_err(ClientError::output)?;
    Ok(String::from_utf8_lossy(&safe).into_owned())
}

/// Lists keys, as they come.
pub fn scan(address: &Address, asked: &Keys) -> Result<Outcome, ClientError> {
    let mut out = out();
    walk(address, asked, false, &mut |key, _| {
        writeln!(out, "{}", shown(&key)?).map_err(ClientError::output)
    })?;
    out.flush().map_err(ClientError::output)?;
    Ok(Outcome::Done)
}

/// Lists the longest values.
pub fn bigkeys(address: &Address, asked: &Keys) -> Result<Outcome, ClientError> {
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
    let mut out = out();
    for Reverse((size, key)) in biggest.into_sorted_vec() {
        writeln!(
            out,
            "{:>15}  {}",
            grouped(size as u64),
            paint(&shown(&key)?, Kind::Key)
        )
        .map_err(ClientError::output)?;
    }
    out.flush().map_err(ClientError::output)?;
    let mean = bytes.checked_div(keys).unwrap_or(0);
    tell(&format!(
        "{} keys; their values have {} bytes, {} on the average",
        grouped(keys),
        grouped(bytes),
        grouped(mean)
    ));
    Ok(Outcome::Done)
}

/// Lists namespaces with their keys and bytes, the largest first, as bars.
pub fn namespaces(address: &Address, asked: &Keys) -> Result<Outcome, ClientError> {
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
    let is_terminal = io::stdout().is_terminal();
    let mut out = out();
    let widest = sorted.iter().map(|(name, _)| name.chars().count()).max();
    let width = widest.unwrap_or(0).clamp(6, 30);
    for (name, (keys, bytes)) in &sorted {
        let name = if name.is_empty() { "(none)" } else { name };
        let written = if is_terminal {
            let bar = bar(*bytes, most);
            let name = format!("{:width$}", shown(name)?);
            let (keys, bytes) = (grouped(*keys), grouped(*bytes));
            writeln!(
                out,
                "{}  {keys:>13} keys  {bytes:>15} bytes  {bar}",
                paint(&name, Kind::Key)
            )
        } else {
            writeln!(out, "{name}\t{keys}\t{bytes}")
        };
        written.map_err(ClientError::output)?;
    }
    out.flush().map_err(ClientError::output)?;
    tell(&format!(
        "{} keys, {} bytes",
        grouped(all.0),
        grouped(all.1)
    ));
    Ok(Outcome::Done)
}

/// A bar, to the eighth of a column.
fn bar(part: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = u128::from(part) * (8 * BAR_COLUMNS as u128) / u128::from(most);
    let eighths = usize::try_from(eighths).unwrap_or(8 * BAR_COLUMNS).max(1);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}
