//! `export`: the pairs of the server, in a file, on standard output, or on another server.
//!
//! In: the pairs of the server. Out: JSON as in the snapshot, JSON lines or CSV, gzipped if the file name ends in `.gz`; or pairs on a server
//! of PyKV or Redis. Promises: bounded memory; a file gets its name only once it is complete and synced, so that an export that fails leaves
//! an older file as it was.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::ProgressBar;
use pykv::codec::json;
use pykv::codec::pair_file::{FileFormat, PairWriter};
use pykv::model::{Key, PairError};

use super::pair::{Pair, is_url};
use super::store::{BATCH_BYTES, BATCH_KEYS, Store};
use crate::address::Address;
use crate::error::{ClientError, Outcome};
use crate::help::explain_prefix;
use crate::progress::progress_bar;
use crate::terminal::tell;
use crate::units::counted;

/// The size of the write buffer.
const BUFFER_BYTES: usize = 256 << 10;

/// The arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// File, gzipped if its name ends in .gz; `-` for standard output; or URL of a server, redis://host:port [default: -]
    #[arg(value_name = "FILE|URL")]
    target: Option<String>,

    /// Format of the file [default: by its extension, else json]
    #[arg(long, value_parser = format_parser())]
    format: Option<FileFormat>,

    /// Export only keys with this prefix
    #[arg(long, default_value = "")]
    prefix: String,

    /// Write the pairs without their expiry
    #[arg(long)]
    ignore_ttl: bool,

    /// Export only keys that the target does not have yet, to resume an export to a server
    #[arg(long)]
    missing: bool,

    /// Read everything, but write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Returns the parser of `--format`, which knows its values for help and completion.
pub fn format_parser() -> impl TypedValueParser<Value = FileFormat> {
    let names = FileFormat::NAMES.map(|(name, _)| name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<FileFormat>())
}

/// An export in progress.
struct Exporter<'a> {
    source: Store,
    options: &'a Export,
    format: FileFormat,
    progress: ProgressBar,
}

/// Exports the pairs.
///
/// # Errors
/// [`ClientError::Usage`] if flags do not fit the target; `File` if the file cannot be written; `Store` if a server fails or refuses a pair;
/// `Interrupted` after Ctrl-C.
pub fn run(address: &Address, options: &Export) -> Result<Outcome, ClientError> {
    let began = Instant::now();
    let target = options.target.as_deref().filter(|target| *target != "-");
    if options.missing && !target.is_some_and(is_url) {
        let advice = "--missing is for a server; a file is written anew";
        return Err(ClientError::Usage(advice.to_owned()));
    }
    let by_extension = || {
        let named = FileFormat::of_name(target.unwrap_or_default());
        named.unwrap_or(FileFormat::Json)
    };
    let mut source = Store::of(address)?;
    let is_quiet = target.is_none() && io::stdout().is_terminal();
    let mut exporter = Exporter {
        progress: progress(&mut source, is_quiet)?,
        format: options.format.unwrap_or_else(by_extension),
        source,
        options,
    };
    let count = match target {
        _ if options.dry_run => exporter.walk(None, |_| Ok(()))?,
        None => {
            let out = BufWriter::with_capacity(BUFFER_BYTES, io::stdout());
            let (_, count) = exporter.write(out, "standard output")?;
            explain_prefix(count, &options.prefix);
            return Ok(report_left_out(&exporter.source));
        }
        Some(url) if is_url(url) => exporter.send(url)?,
        Some(file) => exporter.write_file(file)?,
    };
    exporter.progress.finish_and_clear();
    let verb = if options.dry_run {
        "would export"
    } else {
        "exported"
    };
    // A URL may hold a password.
    let place = target.map_or("standard output", |target| {
        target.rsplit('@').next().unwrap_or(target)
    });
    explain_prefix(count, &options.prefix);
    let (pairs, seconds) = (counted(count, "pair"), began.elapsed().as_secs_f64());
    tell(&format!("{verb} {pairs} to {place} in {seconds:.1} s"));
    Ok(report_left_out(&exporter.source))
}

/// Reports the number of keys that were left out, if there are any.
pub fn report_left_out(source: &Store) -> Outcome {
    if source.left_out > 0 {
        tell(&format!(
            "{}: {} left out, as they are no text or their values no strings",
            source.name,
            counted(source.left_out, "key")
        ));
    }
    Outcome::done_if(source.left_out == 0)
}

fn progress(source: &mut Store, is_quiet: bool) -> Result<ProgressBar, ClientError> {
    if is_quiet || !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let template =
        "{bar:30} {percent:>3}%  {human_pos} of {human_len} pairs, {per_sec}, {eta} left";
    Ok(progress_bar(Some(source.count()?), template))
}

impl Exporter<'_> {
    /// Reads all pairs, without those that `target` has; returns their number.
    fn walk(
        &mut self,
        mut target: Option<Store>,
        mut take: impl FnMut(Pair) -> Result<(), ClientError>,
    ) -> Result<u64, ClientError> {
        let (options, progress, mut count) = (self.options, &self.progress, 0);
        self.source.walk(&options.prefix, |source, mut keys| {
            if let Some(target) = &mut target {
                keys = target.missing(keys)?;
            }
            source.read(keys, &mut |mut pair| {
                if options.ignore_ttl {
                    pair.expires_at = None;
                }
                count += 1;
                take(pair)
            })?;
            progress.set_position(count);
            Ok(())
        })?;
        Ok(count)
    }

    fn write<W: Write>(&mut self, out: W, name: &str) -> Result<(W, u64), ClientError> {
        let failed = || ClientError::file("write to", name);
        let mut writer = PairWriter::new(out, self.format);
        self.walk(None, |pair| {
            let key = pair.key_bytes();
            let checked = || Ok::<_, PairError>((Key::parse(&key)?, pair.checked_value()?));
            let checked = checked().map_err(io::Error::other);
            let written = checked.and_then(|(key, value)| writer.pair(key, value));
            written.map_err(failed())
        })?;
        writer.finish().map_err(failed())
    }

    /// Stores all pairs on another server.
    fn send(&mut self, url: &str) -> Result<u64, ClientError> {
        let mut target = Store::open(url)?;
        let mut put = |pairs: &mut Vec<Pair>| -> Result<(), ClientError> {
            let refusals = target.put(pairs)?;
            for (pair, refusal) in pairs.drain(..).zip(refusals) {
                if let Some(refusal) = refusal {
                    let name = format!("{}: {}", target.name, json::string(&pair.key));
                    let reason = refusal.to_string();
                    return Err(ClientError::Store { name, reason });
                }
            }
            Ok(())
        };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let existing = self.options.missing.then(|| Store::open(url)).transpose()?;
        let count = self.walk(existing, |pair| {
            bytes += pair.bytes();
            batch.push(pair);
            if batch.len() < BATCH_KEYS && bytes < BATCH_BYTES {
                return Ok(());
            }
            bytes = 0;
            put(&mut batch)
        })?;
        if !batch.is_empty() {
            put(&mut batch)?;
        }
        Ok(count)
    }

    /// Writes a file beside the target, and renames it once it is on disk.
    fn write_file(&mut self, file: &str) -> Result<u64, ClientError> {
        // The target of a symbolic link is replaced, and not the link.
        let path = fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(file));
        let old = fs::metadata(&path).ok();
        let failed = |action| ClientError::file(action, file);
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            // A pipe or device is written to, and must not be replaced.
            let out = File::create(&path).map_err(failed("write"))?;
            return self.write_to(&out, file);
        }
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let written = || -> Result<u64, ClientError> {
            let name = beside.display().to_string();
            let out = File::create(&beside).map_err(ClientError::file("write", name))?;
            if let Some(old) = old {
                let permitted = out.set_permissions(old.permissions());
                permitted.map_err(failed("write"))?;
            }
            let count = self.write_to(&out, file)?;
            out.sync_all().map_err(failed("write"))?;
            fs::rename(&beside, &path).map_err(failed("replace"))?;
            Ok(count)
        };
        let written = written();
        if written.is_err() {
            self.progress.finish_and_clear();
            let _ = fs::remove_file(&beside);
        }
        let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
        let count = written?;
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(failed("sync the folder of"))?;
        Ok(count)
    }

    fn write_to(&mut self, file: &File, name: &str) -> Result<u64, ClientError> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, file);
        let extension = Path::new(name).extension();
        if extension.is_none_or(|extension| !extension.eq_ignore_ascii_case("gz")) {
            return self.write(out, name).map(|(_, count)| count);
        }
        let zipped = GzEncoder::new(out, Compression::default());
        let (zipped, count) = self.write(zipped, name)?;
        let ended = zipped.finish().and_then(|mut out| out.flush());
        ended.map_err(ClientError::file("write to", name))?;
        Ok(count)
    }
}
