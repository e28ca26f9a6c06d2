//! `import`: every pair of a JSON object, sent as PUTs.
//!
//! In: a file as the server keeps it or as an older `PyKV` wrote it, pretty or on one line, gzipped or not, or standard input.
//! Out: the pairs on the server; what could not be stored is told with its key. Promises: constant memory, but for the longest
//! value; at the end it is known how many pairs are stored, also when the file or the server fails halfway.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use pykv::json;
use pykv::protocol::line::quote;
use pykv::record::{Key, Value};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::pipe::Requests;
use crate::render::{Outcome, tell};
use crate::reply::Line;
use crate::table::{counted, grouped};

/// How many pairs may wait for their replies. Their keys are kept meanwhile, of up to 64 KiB each.
const UNANSWERED_MAX: usize = 1024;

/// How many refusals are told one by one: the eleventh says no more than the first ten.
const REFUSALS_TOLD_MAX: u64 = 10;

const GZIP: &[u8] = &[0x1f, 0x8b];
const BOM: &[u8] = "\u{feff}".as_bytes();

/// What became of the pairs.
#[derive(Default)]
struct Tally {
    stored: u64,
    refused: u64,
    /// Whether the server refuses pairs whatever they are.
    stopped: bool,
}

/// How the sending of the pairs ended.
struct Sent {
    skipped: u64,
    fault: Option<serde_json::Error>,
}

/// Stores every pair of a file.
pub fn run(connection: &mut Connection, file: &str) -> Result<Outcome, ClientError> {
    let began = Instant::now();
    let name = if file == "-" { "standard input" } else { file };
    let (reader, progress) = open(file).map_err(ClientError::file("read", name))?;
    let mut requests = Requests::new(connection)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (keys, sent_keys) = sync_channel(UNANSWERED_MAX);
    let sending = thread::spawn({
        let (stop, progress) = (Arc::clone(&stop), progress.clone());
        move || send_pairs(reader, &mut requests, &keys, &stop, &progress)
    });
    let mut tally = Tally::default();
    let answered = read_replies(connection, &sent_keys, &mut tally, &stop, &progress);
    progress.finish_and_clear();
    if tally.refused > REFUSALS_TOLD_MAX {
        tell(&format!(
            "... and {} more were refused",
            grouped(tally.refused - REFUSALS_TOLD_MAX)
        ));
    }
    let stored = counted(tally.stored, "pair");
    // The thread is not waited for then: it may be waiting for input that never comes.
    answered.inspect_err(|_| {
        tell(&format!(
            "{stored} stored; some of those sent after may be as well"
        ));
    })?;
    let sent = sending.join().expect("the sending thread does not panic");
    if tally.stopped {
        tell(&format!("stopped: {stored} stored"));
        return Ok(Outcome::Refused);
    }
    if let Some(fault) = sent.fault {
        let (name, reason) = (name.to_owned(), fault.to_string());
        return Err(ClientError::Malformed {
            name,
            reason,
            stored,
        });
    }
    let mut summary = vec![format!(
        "imported {stored} in {:.1} s",
        began.elapsed().as_secs_f64()
    )];
    let left_out = [(sent.skipped, "skipped"), (tally.refused, "refused")];
    let left_out = left_out.iter().filter(|(count, _)| *count > 0);
    summary.extend(left_out.map(|(count, what)| format!("{} {what}", grouped(*count))));
    tell(&summary.join("; "));
    let is_whole = summary.len() == 1;
    Ok(if is_whole {
        Outcome::Done
    } else {
        Outcome::Refused
    })
}

/// Opens a file, and a progress bar that follows the reading of it.
fn open(file: &str) -> io::Result<(Box<dyn Read + Send>, ProgressBar)> {
    let (source, progress): (Box<dyn Read + Send>, _) = if file == "-" {
        (Box::new(io::stdin()), ProgressBar::no_length())
    } else {
        let file = File::open(file)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // A pipe has no length to be told.
        let progress = if metadata.is_file() {
            ProgressBar::new(metadata.len())
        } else {
            ProgressBar::no_length()
        };
        (Box::new(file), progress)
    };
    let template = match progress.length() {
        Some(_) => "{bar:30} {percent:>3}%  {msg}",
        None => "{spinner} {bytes}  {msg}",
    };
    progress
        .set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
    let (head, source) = peek(progress.wrap_read(source), GZIP.len())?;
    let text: Box<dyn Read + Send> = if head == GZIP {
        Box::new(MultiGzDecoder::new(source))
    } else {
        Box::new(source)
    };
    let (head, mut text) = peek(text, BOM.len())?;
    if head == BOM {
        io::copy(&mut text.by_ref().take(BOM.len() as u64), &mut io::sink())?;
    }
    Ok((
        Box::new(BufReader::with_capacity(256 << 10, text)),
        progress,
    ))
}

/// The first bytes that a reader gives, and all of them to be read.
fn peek(mut reader: impl Read, count: usize) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    reader.by_ref().take(count as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// Sends pairs until the file ends or is found broken, or there is no use in going on.
fn send_pairs(
    reader: Box<dyn Read + Send>,
    requests: &mut Requests,
    keys: &SyncSender<String>,
    stop: &AtomicBool,
    progress: &ProgressBar,
) -> Sent {
    let mut skipped = 0;
    let mut gave_up = false;
    let mut request = Vec::new();
    let read = json::read_pairs(reader, |key, value| {
        if let Err(reason) = write_put(&mut request, key, value) {
            skipped += 1;
            progress.suspend(|| tell(&format!("skipped {}: {reason}", json::string(key.as_str()))));
            return Ok(());
        }
        gave_up =
            stop.load(Ordering::Relaxed) || !requests.send(&request, key.as_str().to_owned(), keys);
        if gave_up {
            Err("given up".to_owned())
        } else {
            Ok(())
        }
    });
    requests.flush();
    Sent {
        skipped,
        fault: read.err().filter(|_| !gave_up),
    }
}

/// Writes the request that stores a pair, if a line can carry it.
fn write_put(request: &mut Vec<u8>, key: Key<'_>, value: Value<'_>) -> Result<(), &'static str> {
    if value.expires_at().is_some() {
        return Err("it expires, and the line protocol has no expiry");
    }
    let text = std::str::from_utf8(value.bytes())
        .map_err(|_| "its bytes are no text, and a line carries text only")?;
    request.clear();
    // One long value must not keep its room for all the short ones.
    request.shrink_to(1 << 20);
    for part in ["PUT ", &quote(key.as_str()), " ", &quote(text)] {
        request.extend_from_slice(part.as_bytes());
    }
    Ok(())
}

/// Reads a reply for each key that was sent.
fn read_replies(
    connection: &mut Connection,
    sent_keys: &Receiver<String>,
    tally: &mut Tally,
    stop: &AtomicBool,
    progress: &ProgressBar,
) -> Result<(), ClientError> {
    for key in sent_keys {
        if let Line::Error(code, message) = connection.next_line()? {
            tally.refused += 1;
            if tally.refused <= REFUSALS_TOLD_MAX {
                progress
                    .suspend(|| tell(&format!("Error: {}: {code} {message}", json::string(&key))));
            }
            // Of any other code the next pair would be refused as well.
            if !matches!(code.as_str(), "TOO_LARGE" | "TEXT") {
                tally.stopped = true;
                stop.store(true, Ordering::Relaxed);
            }
        } else {
            tally.stored += 1;
        }
        if tally.stored.is_multiple_of(1024) {
            let ms = u64::try_from(progress.elapsed().as_millis()).unwrap_or(u64::MAX);
            let rate = grouped(tally.stored * 1000 / ms.max(1));
            progress.set_message(format!(
                "{}, {rate} a second",
                counted(tally.stored, "pair")
            ));
        }
    }
    Ok(())
}
