//! `import`: the pairs of a file or of another server, stored in this one.
//!
//! In: a file of pairs in any format, or standard input; a server of PyKV or Redis. Out: the pairs on the server; refusals, with their keys.
//! Promises: bounded memory; the number of pairs stored is always reported, and after a failure its place and the way to go on; with
//! `--all-or-nothing` nothing is stored of a file that is broken anywhere.

use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use indicatif::ProgressBar;
use pykv::codec::json;
use pykv::codec::pair_file::{
    self, Declared, Duplicates, Fault, FileFormat, FilePair, ReadError, Spool,
};
use pykv::model::now_ms;

use super::export::format_parser;
use super::pair::{Pair, is_url};
use super::store::{BATCH_BYTES, BATCH_KEYS, Store};
use crate::address::Address;
use crate::error::{ClientError, Outcome};
use crate::help::explain_prefix;
use crate::interrupt::{INTERRUPT_INTERVAL, is_interrupted};
use crate::progress::progress_bar;
use crate::terminal::tell;
use crate::units::{counted, grouped};

/// The refusals that are shown; later ones are only counted.
const REFUSALS_SHOWN_MAX: u64 = 10;
/// The batches that may wait to be sent.
const BATCHES_WAITING: usize = 2;
/// About how many bytes a batch has.
const SENT_BYTES: usize = BATCH_BYTES / 8;
/// The error codes of a server that refuses every change at present.
const REFUSES_ALL: [&str; 5] = ["MISCONF", "DISK", "LOADING", "BUSY", "READONLY"];

const FORMATS: &str = "\
Formats, told by the content, each gzipped or not:
  json   {\"a\": \"1\", \"b\": {\"$base64\": \"AP8=\", \"$expires_at\": \"2026-11-23T01:02:03.456Z\"}}
  jsonl  {\"key\":\"a\",\"value\":\"1\",\"expires_at\":\"2026-11-23T01:02:03.456Z\"} per line
  csv    header key,value,encoding,expires_at; encoding is text or base64; the last two columns may be missing

A broken file stops the import: exit status 1, with the line, the pairs stored before it, and the way to go on.";

/// The arguments of `import`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = FORMATS)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct Import {
    /// File, gzipped or not; `-` for standard input; or URL of a server, redis://host:port or pykv://host:port
    #[arg(value_name = "FILE|URL")]
    source: String,

    /// Format that the file must have [default: told by its content]
    #[arg(long, value_parser = format_parser())]
    format: Option<FileFormat>,

    /// Import only keys with this prefix
    #[arg(long, default_value = "")]
    prefix: String,

    /// Store the pairs without their expiry
    #[arg(long)]
    ignore_ttl: bool,

    /// Read everything, but store nothing
    #[arg(long)]
    dry_run: bool,

    /// Check the whole file first, and store nothing if anything in it is wrong
    #[arg(long)]
    all_or_nothing: bool,

    /// Import only keys that do not exist yet, to resume an import from a server
    #[arg(long)]
    missing: bool,

    /// Skip pairs of the file, to resume an import that reported this number
    #[arg(long, value_name = "PAIRS", default_value_t = 0)]
    from: u64,
}

/// Pairs that are sent together.
#[derive(Default)]
struct Batch {
    pairs: Vec<Pair>,
    /// The pairs of the file up to the end of the batch.
    end: u64,
}

/// The summary of the reading thread.
#[derive(Default)]
struct ReadSummary {
    expired: u64,
    left_out: u64,
    duplicates: Duplicates,
    /// The format that the content has, if the name says another.
    other_format: Option<FileFormat>,
    end: Option<EarlyEnd>,
}

/// Why reading ended before the end of the source.
enum EarlyEnd {
    /// The file is broken.
    Broken(Fault),
    /// The source failed.
    Failed(ClientError),
    /// Nobody wants more pairs.
    Unwanted,
}

/// The progress of storing.
#[derive(Default)]
struct Tally {
    stored: u64,
    refused: u64,
    /// The pairs of the file that need not be sent again.
    end: u64,
}

/// Stores every pair of a source.
///
/// # Errors
/// [`ClientError::Usage`] if flags do not fit the source; `File` if it cannot be read; `Broken` if it is broken; `Store` if a server
/// fails; `Interrupted` after Ctrl-C.
pub fn run(address: &Address, options: &Import) -> Result<Outcome, ClientError> {
    let began = Instant::now();
    let is_server = is_url(&options.source);
    if is_server && options.from > 0 || !is_server && options.missing {
        let advice = "--from is for a file, whose pairs have an order; --missing is for a server";
        return Err(ClientError::Usage(advice.to_owned()));
    }
    if is_server && options.all_or_nothing {
        let advice =
            "--all-or-nothing is for a file, which can be checked before its pairs are stored";
        return Err(ClientError::Usage(advice.to_owned()));
    }
    let mut target = Store::of(address)?;
    let (sender, batches) = sync_channel(BATCHES_WAITING);
    let source = PairSource::open(address, options)?;
    let (name, progress) = (source.name.clone(), source.progress.clone());
    let wanted = options.clone();
    let reading = thread::spawn(move || source.read(&wanted, sender));
    let mut tally = Tally {
        end: options.from,
        ..Tally::default()
    };
    let stored = tally.store_all(&mut target, &batches, options, &progress);
    progress.finish_and_clear();
    // The reading thread ends at its next batch.
    drop(batches);
    if tally.refused > REFUSALS_SHOWN_MAX {
        let more = grouped(tally.refused - REFUSALS_SHOWN_MAX);
        tell(&format!("... and {more} more were refused"));
    }
    let pairs = counted(tally.stored, "pair");
    let go_on = if is_server {
        "go on with --missing".to_owned()
    } else {
        format!("go on with --from {}", tally.end)
    };
    match stored {
        Ok(()) => {}
        Err(ClientError::Refused { .. }) => {
            tell(&format!("stopped: {pairs} stored; {go_on}"));
            return Ok(Outcome::Refused);
        }
        Err(error) => {
            let message = if error.is_interrupt() {
                ""
            } else {
                "some of those sent after may be as well; "
            };
            tell(&format!("{pairs} stored; {message}{go_on}"));
            return Err(error);
        }
    }
    // Only after a success: otherwise the thread may block on an input that never comes.
    let summary = reading.join().expect("the reading thread does not panic");
    let notes = notes(&tally, &summary);
    match summary.end {
        None | Some(EarlyEnd::Unwanted) => {}
        Some(EarlyEnd::Broken(fault)) => {
            let report = if options.dry_run {
                format!("good before that: {pairs}{notes}; correct the file and check it again")
            } else if options.all_or_nothing {
                "nothing was stored; correct the file and import it again".to_owned()
            } else {
                format!("stored before that: {pairs}{notes}; correct the file and {go_on}")
            };
            return Err(ClientError::Broken {
                name,
                fault,
                report,
            });
        }
        Some(EarlyEnd::Failed(error)) => {
            tell(&format!("{pairs} stored{notes}; {go_on}"));
            return Err(error);
        }
    }
    let verb = if options.dry_run {
        "would import"
    } else {
        "imported"
    };
    explain_prefix(tally.stored, &options.prefix);
    let seconds = began.elapsed().as_secs_f64();
    tell(&format!("{verb} {pairs} in {seconds:.1} s{notes}"));
    Ok(Outcome::done_if(tally.refused + summary.left_out == 0))
}

/// Returns what there is to say besides the number of pairs stored.
fn notes(tally: &Tally, summary: &ReadSummary) -> String {
    let mut text = String::new();
    for (count, what) in [
        (tally.refused, "refused"),
        (summary.expired, "had expired"),
        (summary.left_out, "left out, as they are no strings"),
    ] {
        if count > 0 {
            text += &format!("; {} {what}", grouped(count));
        }
    }
    let duplicates = summary.duplicates.to_string();
    if !duplicates.is_empty() {
        text += &format!("; {duplicates}");
    }
    if let Some(format) = summary.other_format {
        text += &format!("; read as {format}, which it is, whatever its name says");
    }
    text
}

impl Tally {
    /// Stores batches until there are no more.
    fn store_all(
        &mut self,
        target: &mut Store,
        batches: &Receiver<Batch>,
        options: &Import,
        progress: &ProgressBar,
    ) -> Result<(), ClientError> {
        loop {
            // Ctrl-C is noticed even if the source is silent.
            let batch = batches.recv_timeout(INTERRUPT_INTERVAL);
            match batch {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(batch) => self.store(target, &batch, options, progress)?,
            }
            if is_interrupted() {
                return Err(ClientError::Interrupted);
            }
        }
    }

    fn store(
        &mut self,
        target: &mut Store,
        batch: &Batch,
        options: &Import,
        progress: &ProgressBar,
    ) -> Result<(), ClientError> {
        let count = batch.pairs.len() as u64;
        let refusals = if options.dry_run || count == 0 {
            Vec::new()
        } else {
            target.put(&batch.pairs)?
        };
        self.stored += count;
        let mut stop = None;
        for (pair, refusal) in batch.pairs.iter().zip(refusals) {
            let Some(refusal) = refusal else { continue };
            self.stored -= 1;
            self.refused += 1;
            if self.refused <= REFUSALS_SHOWN_MAX {
                let key = json::string(&pair.key);
                progress.suspend(|| tell(&format!("Error: {key}: {refusal}")));
            }
            if matches!(&refusal, ClientError::Refused { code, .. } if REFUSES_ALL.contains(&&**code))
            {
                stop.get_or_insert(refusal);
            }
        }
        if let Some(refusal) = stop {
            return Err(refusal);
        }
        self.end = batch.end;
        progress.set_message(format!("{} pairs", grouped(self.stored)));
        if is_url(&options.source) {
            progress.inc(count);
        }
        Ok(())
    }
}

/// The source of an import.
struct PairSource {
    kind: SourceKind,
    name: String,
    progress: ProgressBar,
}

enum SourceKind {
    File(Input, Declared),
    /// A server, and with `--missing` the target, to be asked for its keys.
    Server(Box<Store>, Option<Box<Store>>),
}

/// A file to read.
enum Input {
    /// A regular file, which can be read twice.
    File(File),
    Pipe(Box<dyn Read + Send>),
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Pipe(pipe) => pipe.read(buffer),
        }
    }
}

impl PairSource {
    fn open(address: &Address, options: &Import) -> Result<Self, ClientError> {
        if is_url(&options.source) {
            let mut store = Store::open(&options.source)?;
            let target = options.missing.then(|| Store::of(address)).transpose()?;
            let template = "{bar:30} {percent:>3}%  {per_sec}, {eta} left  {msg}";
            return Ok(Self {
                name: store.name.clone(),
                progress: progress_bar(Some(store.count()?), template),
                kind: SourceKind::Server(Box::new(store), target.map(Box::new)),
            });
        }
        let (name, opened) = if options.source == "-" {
            let input = Input::Pipe(Box::new(io::stdin()));
            ("standard input", Ok((input, None)))
        } else {
            (&*options.source, open_file(&options.source))
        };
        let (file, length) = opened.map_err(ClientError::file("read", name))?;
        let progress = progress_bar(
            length,
            if length.is_some() {
                "{bar:30} {percent:>3}%  {bytes_per_sec}, {eta} left  {msg}"
            } else {
                "{spinner} {bytes}, {bytes_per_sec}  {msg}"
            },
        );
        let declared = Declared {
            format: options.format,
            by_name: FileFormat::of_name(&options.source),
        };
        Ok(Self {
            name: name.to_owned(),
            kind: SourceKind::File(file, declared),
            progress,
        })
    }

    /// Reads all pairs, and passes them on while they are wanted.
    fn read(self, options: &Import, batches: SyncSender<Batch>) -> ReadSummary {
        let mut summary = ReadSummary::default();
        let mut sender = BatchSender {
            batches,
            waiting: Batch::default(),
            bytes: 0,
        };
        let ignore_ttl = options.ignore_ttl;
        match self.kind {
            SourceKind::File(mut input, declared) => {
                let failed = |error| EarlyEnd::of(error, &self.name);
                if options.all_or_nothing {
                    input = match check(input, declared, &self.progress) {
                        Ok(input) => input,
                        Err(error) => {
                            summary.end = Some(failed(error));
                            return summary;
                        }
                    };
                    self.progress.reset();
                }
                let (now, mut number) = (now_ms(), 0);
                let input = self.progress.wrap_read(input);
                let read = pair_file::read(input, declared, |pair: FilePair<'_>| {
                    number += 1;
                    let key = pair.key.as_bytes();
                    if number <= options.from || !key.starts_with(options.prefix.as_bytes()) {
                        return Ok(());
                    }
                    let is_expired = pair.value.expires_at().is_some_and(|at| at <= now);
                    if is_expired && !ignore_ttl {
                        summary.expired += 1;
                        return Ok(());
                    }
                    summary.duplicates.note(key, pair.line);
                    let mut pair = Pair::from(pair);
                    if ignore_ttl {
                        pair.expires_at = None;
                    }
                    let is_wanted = sender.add(pair, number);
                    is_wanted.then_some(()).ok_or(Unwanted)
                });
                match read {
                    Ok(format) => {
                        let is_other = declared.by_name.is_some_and(|named| named != format);
                        summary.other_format = is_other.then_some(format);
                    }
                    Err(error) => summary.end = Some(failed(error)),
                }
                sender.send(number);
            }
            SourceKind::Server(mut store, mut target) => {
                // The end of a batch means nothing here: the pairs of a server have no order.
                let walked = store.walk(&options.prefix, |store, mut keys| {
                    if let Some(target) = &mut target {
                        keys = target.missing(keys)?;
                    }
                    store.read(keys, &mut |mut pair| {
                        if ignore_ttl {
                            pair.expires_at = None;
                        }
                        let is_wanted = sender.add(pair, 0);
                        is_wanted.then_some(()).ok_or(ClientError::Interrupted)
                    })
                });
                summary.end = walked.err().map(EarlyEnd::Failed);
                sender.send(0);
                summary.left_out = store.left_out;
            }
        }
        summary
    }
}

/// Groups pairs into batches.
struct BatchSender {
    batches: SyncSender<Batch>,
    waiting: Batch,
    bytes: usize,
}

impl BatchSender {
    /// Adds a pair, the last of the file so far if `end` are read; returns whether more are wanted.
    fn add(&mut self, pair: Pair, end: u64) -> bool {
        self.bytes += pair.bytes();
        self.waiting.pairs.push(pair);
        let is_full = self.waiting.pairs.len() >= BATCH_KEYS || self.bytes >= SENT_BYTES;
        !is_full || self.send(end)
    }

    fn send(&mut self, end: u64) -> bool {
        self.bytes = 0;
        let mut batch = std::mem::take(&mut self.waiting);
        batch.end = end;
        self.batches.send(batch).is_ok()
    }
}

/// Nobody wants more pairs.
struct Unwanted;

impl EarlyEnd {
    fn of(error: ReadError<Unwanted>, name: &str) -> Self {
        match error {
            ReadError::Fault(fault) => Self::Broken(fault),
            ReadError::Source(error) => Self::Failed(ClientError::file("read", name)(error)),
            ReadError::Refused(Unwanted) => Self::Unwanted,
        }
    }
}

/// Reads all of a file without storing anything; returns it, to be read from its beginning.
fn check(
    input: Input,
    declared: Declared,
    progress: &ProgressBar,
) -> Result<Input, ReadError<Unwanted>> {
    let read = |source: &mut dyn Read| {
        progress.set_message("checking");
        pair_file::read(progress.wrap_read(source), declared, |_| {
            let is_wanted = !is_interrupted();
            is_wanted.then_some(()).ok_or(Unwanted)
        })
    };
    let file = match input {
        Input::File(mut file) => {
            read(&mut file)?;
            file.rewind().map_err(ReadError::Source)?;
            file
        }
        Input::Pipe(pipe) => {
            let failed = |error| ReadError::Source(io::Error::other(error));
            // Bounded by the disk alone: it is the user's own.
            let mut spool = Spool::new(pipe, u64::MAX).map_err(failed)?;
            read(&mut spool)?;
            spool.into_copy().map_err(ReadError::Source)?
        }
    };
    Ok(Input::File(file))
}

fn open_file(name: &str) -> io::Result<(Input, Option<u64>)> {
    let file = File::open(name)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // A pipe has no length.
    if !metadata.is_file() {
        return Ok((Input::Pipe(Box::new(file)), None));
    }
    Ok((Input::File(file), Some(metadata.len())))
}
