//! `import`: every pair of a file, or of another server, stored in this one.
//!
//! In: JSON as PyKV keeps it, JSON lines or CSV, gzipped or not, or standard input; a server of PyKV or Redis. Out: the pairs on the
//! server; what could not be stored is told with its key. Promises: a bounded memory; at the end it is known how many pairs are stored,
//! also when the file or a server fails halfway, and where to go on.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use pykv::codec::json;
use pykv::model::now_ms;

use super::format::{self, Broken, Format};
use super::store::{BATCH_BYTES, BATCH_KEYS, Store};
use super::{Pair, is_url};
use crate::connection::{Address, INTERRUPT_INTERVAL, is_interrupted};
use crate::error::ClientError;
use crate::render::{Outcome, tell};
use crate::table::{counted, grouped};

/// How many refusals are told one by one: the eleventh says no more than the first ten.
const REFUSALS_TOLD_MAX: u64 = 10;
/// How many batches may wait to be sent.
const BATCHES_WAITING: usize = 2;
/// About how many bytes are sent at a time.
const SENT_BYTES: usize = BATCH_BYTES / 8;
/// Refusals with these codes say that the server takes nothing at present, whatever it is.
const TAKES_NOTHING: [&str; 5] = ["MISCONF", "DISK", "LOADING", "BUSY", "READONLY"];

/// What is imported, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Import {
    /// A file, gzipped or not; `-` is standard input; or a server: redis://host:port, pykv://host:port
    #[arg(value_name = "FILE|URL")]
    pub source: String,

    /// How the file is written; else its name says it, and JSON if it does not
    #[arg(long)]
    pub format: Option<Format>,

    /// Only keys that begin with this
    #[arg(long, default_value = "")]
    pub prefix: String,

    /// Store the pairs without their expiry
    #[arg(long)]
    pub ignore_ttl: bool,

    /// Read everything, and store nothing
    #[arg(long)]
    pub dry_run: bool,

    /// From a server: only keys that are not here yet, as after an import that was broken off
    #[arg(long)]
    pub missing: bool,

    /// Of a file: go on where an import has ended that told this place
    #[arg(long, value_name = "PLACE", default_value_t = 0)]
    pub from: u64,
}

/// Pairs that are sent together.
#[derive(Default)]
struct Batch {
    pairs: Vec<Pair>,
    /// Where the source goes on behind them.
    place: u64,
}

/// What is told by who reads.
#[derive(Default)]
struct Told {
    expired: u64,
    left_out: u64,
    fault: Option<ClientError>,
}

#[derive(Default)]
struct Tally {
    stored: u64,
    refused: u64,
    place: u64,
}

/// Stores every pair of a source.
pub fn run(address: &Address, asked: &Import) -> Result<Outcome, ClientError> {
    let began = Instant::now();
    if is_url(&asked.source) && asked.from > 0 || !is_url(&asked.source) && asked.missing {
        let advice = "--from is for a file, whose pairs have an order; --missing is for a server";
        return Err(ClientError::Usage(advice.to_owned()));
    }
    let mut target = Store::of(address)?;
    let (sender, batches) = sync_channel::<Batch>(BATCHES_WAITING);
    let source = Source::open(address, asked)?;
    let progress = source.progress.clone();
    let mut tally = Tally {
        place: asked.from,
        ..Tally::default()
    };
    let wanted = asked.clone();
    let reading = thread::spawn(move || source.read(&wanted, sender));
    let mut stopped = None;
    loop {
        // Looked at now and then, however long the source is silent.
        let batch = match batches.recv_timeout(INTERRUPT_INTERVAL) {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) if !is_interrupted() => continue,
            Err(RecvTimeoutError::Timeout) => {
                stopped = Some(ClientError::Interrupted);
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let Err(error) = store(&mut target, &batch, asked, &mut tally, &progress) {
            stopped = Some(error);
            break;
        }
        if is_interrupted() {
            stopped = Some(ClientError::Interrupted);
            break;
        }
    }
    progress.finish_and_clear();
    if tally.refused > REFUSALS_TOLD_MAX {
        let more = grouped(tally.refused - REFUSALS_TOLD_MAX);
        tell(&format!("... and {more} more were refused"));
    }
    let stored = counted(tally.stored, "pair");
    let go_on = if is_url(&asked.source) {
        "go on with --missing".to_owned()
    } else {
        format!("go on with --from {}", tally.place)
    };
    match stopped {
        Some(ClientError::Refused { .. }) => {
            tell(&format!("stopped: {stored} stored; {go_on}"));
            return Ok(Outcome::Refused);
        }
        Some(error) => {
            tell(&format!(
                "{stored} stored; some of those sent after may be as well; {go_on}"
            ));
            return Err(error);
        }
        None => {}
    }
    // Whoever reads is waited for only here: there may be nothing more to read for long.
    let told = reading.join().expect("the reading thread does not panic");
    match told.fault {
        Some(ClientError::Malformed { name, reason, .. }) => {
            return Err(ClientError::Malformed {
                name,
                reason,
                stored,
            });
        }
        Some(error) => {
            tell(&format!("{stored} stored; {go_on}"));
            return Err(error);
        }
        None => {}
    }
    let done = if asked.dry_run {
        "would import"
    } else {
        "imported"
    };
    let seconds = began.elapsed().as_secs_f64();
    let mut summary = vec![format!("{done} {stored} in {seconds:.1} s")];
    let others = [
        (tally.refused, "refused"),
        (told.expired, "had expired"),
        (told.left_out, "left out, as they are no text or no strings"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0);
    summary.extend(others.map(|(count, what)| format!("{} {what}", grouped(*count))));
    tell(&summary.join("; "));
    Ok(if tally.refused + told.left_out == 0 {
        Outcome::Done
    } else {
        Outcome::Refused
    })
}

fn store(
    target: &mut Store,
    batch: &Batch,
    asked: &Import,
    tally: &mut Tally,
    progress: &ProgressBar,
) -> Result<(), ClientError> {
    let count = batch.pairs.len() as u64;
    let refusals = if asked.dry_run || count == 0 {
        Vec::new()
    } else {
        target.put(&batch.pairs)?
    };
    let mut stop = None;
    let refused_before = tally.refused;
    for (pair, refusal) in batch.pairs.iter().zip(refusals) {
        let Some(reason) = refusal else { continue };
        tally.refused += 1;
        if tally.refused <= REFUSALS_TOLD_MAX {
            let key = json::string(&pair.key);
            progress.suspend(|| tell(&format!("Error: {key}: {reason}")));
        }
        let (code, message) = reason.split_once(' ').unwrap_or((&reason, ""));
        if TAKES_NOTHING.contains(&code) {
            let (code, message) = (code.to_owned(), message.to_owned());
            stop.get_or_insert(ClientError::Refused { code, message });
        }
    }
    tally.stored += count - (tally.refused - refused_before);
    if let Some(error) = stop {
        return Err(error);
    }
    tally.place = batch.place;
    progress.set_message(format!("{} pairs", grouped(tally.stored)));
    if progress.length().is_some() && is_url(&asked.source) {
        progress.inc(count);
    }
    Ok(())
}

/// Where pairs come from.
struct Source {
    kind: Kind,
    name: String,
    progress: ProgressBar,
}

enum Kind {
    File(Box<dyn Read + Send>, Format),
    /// A server, and the one where the pairs go, if it is asked what it has.
    Server(Box<Store>, Option<Box<Store>>),
}

impl Source {
    fn open(address: &Address, asked: &Import) -> Result<Self, ClientError> {
        if is_url(&asked.source) {
            let mut store = Store::open(&asked.source)?;
            let target = asked.missing.then(|| Store::of(address)).transpose()?;
            let style = "{bar:30} {percent:>3}%  {per_sec}, {eta} left  {msg}";
            let progress = styled(ProgressBar::new(store.count()?), style);
            return Ok(Self {
                name: store.name.clone(),
                kind: Kind::Server(Box::new(store), target.map(Box::new)),
                progress,
            });
        }
        let is_input = asked.source == "-";
        let name = if is_input {
            "standard input"
        } else {
            &asked.source
        };
        let opened = if is_input {
            Ok((Box::new(io::stdin()) as Box<dyn Read + Send>, None))
        } else {
            open_file(&asked.source)
        };
        let (file, length) = opened.map_err(ClientError::file("read", name))?;
        let progress = match length {
            Some(length) => styled(
                ProgressBar::new(length),
                "{bar:30} {percent:>3}%  {bytes_per_sec}, {eta} left  {msg}",
            ),
            None => styled(
                ProgressBar::no_length(),
                "{spinner} {bytes}, {bytes_per_sec}  {msg}",
            ),
        };
        let format = asked.format.unwrap_or_else(|| Format::of(&asked.source));
        Ok(Self {
            name: name.to_owned(),
            kind: Kind::File(Box::new(progress.wrap_read(file)), format),
            progress,
        })
    }

    /// Reads all pairs, and hands them on while they are wanted.
    fn read(self, asked: &Import, batches: SyncSender<Batch>) -> Told {
        let mut told = Told::default();
        let mut sending = Sending {
            batches,
            waiting: Batch::default(),
            bytes: 0,
        };
        let now = now_ms();
        let expired =
            |pair: &Pair| !asked.ignore_ttl && pair.expires_at.is_some_and(|at| at <= now);
        match self.kind {
            Kind::File(file, format) => {
                let (mut number, mut skipped) = (0, 0);
                let read = format::read(file, format, |pair| {
                    number += 1;
                    if number <= asked.from || !pair.key.starts_with(&asked.prefix) {
                        return true;
                    }
                    if expired(&pair) {
                        skipped += 1;
                        return true;
                    }
                    sending.add(pair, number, asked)
                });
                told.expired = skipped;
                if let Err(Broken::File(reason)) = read {
                    let stored = String::new();
                    let name = self.name;
                    told.fault = Some(ClientError::Malformed {
                        name,
                        reason,
                        stored,
                    });
                }
                sending.send(number);
            }
            Kind::Server(mut store, mut target) => {
                let mut cursor = 0;
                loop {
                    let next = store.scan(cursor, &asked.prefix).and_then(|(next, keys)| {
                        let mut take = |pair: Pair| {
                            if sending.add(pair, cursor, asked) {
                                Ok(())
                            } else {
                                Err(ClientError::Interrupted)
                            }
                        };
                        let keys = match &mut target {
                            Some(target) => target.missing(keys)?,
                            None => keys,
                        };
                        store.read(keys, &mut take)?;
                        Ok(next)
                    });
                    match next {
                        Ok(next) => cursor = next,
                        Err(error) => {
                            told.fault = Some(error);
                            break;
                        }
                    }
                    if !sending.send(cursor) || cursor == 0 {
                        break;
                    }
                }
                told.left_out = store.left_out;
            }
        }
        told
    }
}

/// Pairs on their way to who stores them.
struct Sending {
    batches: SyncSender<Batch>,
    waiting: Batch,
    bytes: usize,
}

impl Sending {
    /// Takes a pair; whether more are wanted.
    fn add(&mut self, mut pair: Pair, place: u64, asked: &Import) -> bool {
        if asked.ignore_ttl {
            pair.expires_at = None;
        }
        self.bytes += pair.bytes();
        self.waiting.pairs.push(pair);
        let is_full = self.waiting.pairs.len() >= BATCH_KEYS || self.bytes >= SENT_BYTES;
        !is_full || self.send(place)
    }

    fn send(&mut self, place: u64) -> bool {
        self.bytes = 0;
        let mut batch = std::mem::take(&mut self.waiting);
        batch.place = place;
        self.batches.send(batch).is_ok()
    }
}

fn open_file(name: &str) -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
    let file = File::open(name)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // A pipe has no length to be told.
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), length))
}

fn styled(progress: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    progress.with_style(style.expect("the template is well-formed"))
}
