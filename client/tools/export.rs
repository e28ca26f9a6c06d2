//! `export`: all pairs, or those with a prefix, to a file, to standard output, or to another server.
//!
//! In: the server's pairs. Out: JSON as the server keeps it, JSON lines or CSV, gzipped if the file's name ends in `.gz`; or pairs on a
//! server of PyKV or Redis. Promises: a bounded memory; a file is written beside, synced, and only then given its name, so that an export
//! that fails leaves what was there before.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::{ProgressBar, ProgressStyle};
use pykv::codec::json;

use super::format::{Format, Writer};
use super::store::{BATCH_BYTES, BATCH_KEYS, Store};
use super::{Pair, is_url};
use crate::connection::{Address, is_interrupted};
use crate::error::ClientError;
use crate::render::{Outcome, tell};
use crate::table::counted;

/// What is written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// What is exported, and how.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// A file, gzipped if its name ends in .gz; standard output if it is left out or `-`; or a server: redis://host:port
    #[arg(value_name = "FILE|URL")]
    pub target: Option<String>,

    /// How the file is written; else its name says it, and JSON if it does not
    #[arg(long)]
    pub format: Option<Format>,

    /// Only keys that begin with this
    #[arg(long, default_value = "")]
    pub prefix: String,

    /// Leave out when pairs expire
    #[arg(long)]
    pub ignore_ttl: bool,

    /// To a server: only keys that it does not have yet, as after an export that was broken off
    #[arg(long)]
    pub missing: bool,

    /// Read everything, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Writes all pairs to where they are wanted.
pub fn run(address: &Address, asked: &Export) -> Result<Outcome, ClientError> {
    let began = Instant::now();
    if asked.missing && !asked.target.as_deref().is_some_and(is_url) {
        let advice = "--missing is for a server; a file is written anew";
        return Err(ClientError::Usage(advice.to_owned()));
    }
    let mut source = Store::of(address)?;
    let target = asked.target.as_deref().filter(|target| *target != "-");
    let format = asked
        .format
        .unwrap_or_else(|| Format::of(target.unwrap_or_default()));
    let is_quiet = target.is_none() && io::stdout().is_terminal();
    let progress = progress(&mut source, is_quiet)?;
    let done = match target {
        _ if asked.dry_run => walk(&mut source, asked, None, &progress, &mut |_| Ok(())),
        None => {
            let out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout());
            let written = write(
                &mut source,
                asked,
                out,
                format,
                "standard output",
                &progress,
            );
            written?;
            return Ok(left_out(&source));
        }
        Some(url) if is_url(url) => send(&mut source, asked, url, &progress),
        Some(file) => write_file(&mut source, asked, file, format, &progress),
    };
    progress.finish_and_clear();
    let count = counted(done?, "pair");
    let verb = if asked.dry_run {
        "would export"
    } else {
        "exported"
    };
    // A URL may hold a password.
    let place = target.map_or("standard output", |target| {
        target.rsplit('@').next().unwrap_or(target)
    });
    let seconds = began.elapsed().as_secs_f64();
    tell(&format!("{verb} {count} to {place} in {seconds:.1} s"));
    Ok(left_out(&source))
}

/// Tells what could not be exported, if there was anything.
pub fn left_out(source: &Store) -> Outcome {
    if source.left_out == 0 {
        return Outcome::Done;
    }
    tell(&format!(
        "{}: {} left out, as they are no text or their values no strings",
        source.name,
        counted(source.left_out, "key")
    ));
    Outcome::Refused
}

/// A bar that counts up to as many pairs as there are now.
fn progress(source: &mut Store, is_quiet: bool) -> Result<ProgressBar, ClientError> {
    if is_quiet || !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template(
        "{bar:30} {percent:>3}%  {human_pos} of {human_len} pairs, {per_sec}, {eta} left",
    );
    let bar = ProgressBar::new(source.count()?);
    Ok(bar.with_style(style.expect("the template is well-formed")))
}

/// Takes all pairs that are wanted, one after the other; how many they are.
fn walk(
    source: &mut Store,
    asked: &Export,
    mut target: Option<Store>,
    progress: &ProgressBar,
    take: &mut dyn FnMut(Pair) -> Result<(), ClientError>,
) -> Result<u64, ClientError> {
    let (mut cursor, mut count) = (0, 0);
    loop {
        let (next, keys) = source.scan(cursor, &asked.prefix)?;
        let keys = match &mut target {
            Some(target) => target.missing(keys)?,
            None => keys,
        };
        source.read(keys, &mut |mut pair| {
            if asked.ignore_ttl {
                pair.expires_at = None;
            }
            count += 1;
            take(pair)
        })?;
        progress.set_position(count);
        if is_interrupted() {
            return Err(ClientError::Interrupted);
        }
        if next == 0 {
            return Ok(count);
        }
        cursor = next;
    }
}

fn write<W: Write>(
    source: &mut Store,
    asked: &Export,
    out: W,
    format: Format,
    name: &str,
    progress: &ProgressBar,
) -> Result<(W, u64), ClientError> {
    let mut writer = Writer::new(out, format);
    walk(source, asked, None, progress, &mut |pair| {
        writer
            .pair(&pair)
            .map_err(ClientError::file("write to", name))
    })?;
    writer.finish().map_err(ClientError::file("write to", name))
}

/// Stores all pairs on another server.
fn send(
    source: &mut Store,
    asked: &Export,
    url: &str,
    progress: &ProgressBar,
) -> Result<u64, ClientError> {
    let mut target = Store::open(url)?;
    let (mut waiting, mut bytes) = (Vec::new(), 0);
    let mut put = |pairs: &mut Vec<Pair>| -> Result<(), ClientError> {
        let refusals = target.put(pairs)?;
        for (pair, refusal) in pairs.drain(..).zip(refusals) {
            if let Some(reason) = refusal {
                let name = format!("{}: {}", target.name, json::string(&pair.key));
                return Err(ClientError::Store { name, reason });
            }
        }
        Ok(())
    };
    let there = asked.missing.then(|| Store::open(url)).transpose()?;
    let count = walk(source, asked, there, progress, &mut |pair| {
        bytes += pair.bytes();
        waiting.push(pair);
        if waiting.len() < BATCH_KEYS && bytes < BATCH_BYTES {
            return Ok(());
        }
        bytes = 0;
        put(&mut waiting)
    })?;
    if !waiting.is_empty() {
        put(&mut waiting)?;
    }
    Ok(count)
}

/// Writes a file beside the one that is asked for, and puts it in its place once it is on disk.
fn write_file(
    source: &mut Store,
    asked: &Export,
    file: &str,
    format: Format,
    progress: &ProgressBar,
) -> Result<u64, ClientError> {
    // Through a link to what it links to, so that the link stays one.
    let path = fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(file));
    let old = fs::metadata(&path).ok();
    let failed = |action| ClientError::file(action, file);
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        // A pipe or a device is written to; it must not be replaced.
        let out = File::create(&path).map_err(failed("write"))?;
        return write_to(source, asked, &out, file, format, progress);
    }
    let mut beside = path.clone().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = || -> Result<u64, ClientError> {
        let out = File::create(&beside)
            .map_err(ClientError::file("write", beside.display().to_string()))?;
        if let Some(old) = old {
            out.set_permissions(old.permissions())
                .map_err(failed("write"))?;
        }
        let count = write_to(source, asked, &out, file, format, progress)?;
        out.sync_all().map_err(failed("write"))?;
        fs::rename(&beside, &path).map_err(failed("replace"))?;
        Ok(count)
    };
    let count = written().inspect_err(|_| {
        progress.finish_and_clear();
        let _ = fs::remove_file(&beside);
    })?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of"))?;
    Ok(count)
}

fn write_to(
    source: &mut Store,
    asked: &Export,
    file: &File,
    name: &str,
    format: Format,
    progress: &ProgressBar,
) -> Result<u64, ClientError> {
    let out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let ends_in_gz = Path::new(name)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    if !ends_in_gz {
        return write(source, asked, out, format, name, progress).map(|(_, count)| count);
    }
    let zipped = GzEncoder::new(out, Compression::default());
    let (zipped, count) = write(source, asked, zipped, format, name, progress)?;
    let ended = zipped.finish().and_then(|mut out| out.flush());
    ended.map_err(ClientError::file("write to", name))?;
    Ok(count)
}
