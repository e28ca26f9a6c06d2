//! The input buffer of a connection: bytes that have arrived and have not been executed.
//!
//! In: bytes, of any dialect. Out: batches of complete requests that borrow from those bytes, prepared for execution. Promises:
//! parsing of a partial request continues where it stopped; an empty buffer takes no memory.

use std::io;

use crate::command::{LastCommand, Prepared, RequestBatch};
use crate::model::Database;
use crate::protocol::inline::{self, Inline};
use crate::protocol::line::{self, Frame};
use crate::protocol::{Refusal, foreign, resp};
use crate::receive_buffer::{ReceiveBuffer, Room};
use crate::spare::Spare;

/// Maximum number of requests of a batch: their prefetched entries must stay in the L1 cache until they are used.
const BATCH_REQUESTS_MAX: usize = 64;
/// Typical length of a request in bytes.
const REQUEST_BYTES_EXPECTED: usize = 32;
/// Length in bytes up to which a single request is expected.
const SINGLE_BYTES_EXPECTED: usize = 256;
/// Number of words from which on a batch is complete.
const BATCH_WORDS_MAX: usize = 4096;

/// Input buffer of a connection.
#[derive(Debug, Default)]
pub struct RequestBuffer {
    bytes: ReceiveBuffer,
    /// Number of bytes that are known to have no line feed.
    seen: usize,
    /// Progress of a partial request in RESP.
    resp: resp::Reader,
    /// True if what is not RESP is an inline command of Redis.
    is_inline: bool,
    last: LastCommand,
}

/// A batch of complete requests.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// The requests, in the order of their arrival.
    pub requests: Vec<BufferedRequest>,
    /// Their arguments.
    pub batch: RequestBatch<'a>,
    /// Their total length in bytes, including blank lines.
    pub bytes: usize,
}

impl Arrived<'_> {
    /// Ends the batch. Its memory is kept for the next one.
    #[inline(always)]
    pub fn release(self) {
        Spare::keep(&SPARE, self.requests);
        self.batch.release();
    }
}

thread_local! {
    static SPARE: Spare<Vec<BufferedRequest>> = const { Spare::empty() };
}

/// A complete request.
#[derive(Debug)]
pub struct BufferedRequest {
    /// The request, or the error for bytes that are not one.
    pub request: Result<Prepared, Box<Refusal>>,
    /// True if it is answered in RESP.
    pub is_resp: bool,
    /// Offset of its end in the buffer.
    pub end: usize,
}

impl RequestBuffer {
    /// Makes an empty buffer. If `is_inline`, what is not RESP is read as Redis's inline commands.
    #[must_use]
    pub fn new(is_inline: bool) -> Self {
        Self {
            is_inline,
            ..Self::default()
        }
    }

    /// Returns true if what has arrived is answered in RESP.
    #[must_use]
    pub fn is_resp(&self) -> bool {
        self.is_inline || self.bytes.first() == Some(&b'*')
    }

    /// Removes all bytes.
    pub fn clear(&mut self) {
        *self = Self::new(self.is_inline);
    }

    /// Prepares the first complete requests, which name keys of a database, up to one whose refusal closes the connection or behind which
    /// that may be another one, and to the limits of a batch. `may_change` is true if that is so behind each.
    #[inline(always)]
    pub fn batch(&mut self, database: Database, may_change: bool) -> Arrived<'_> {
        // An estimate, so that the vectors are rarely moved while they grow. A few bytes are mostly one request.
        let expected = if self.bytes.len() < SINGLE_BYTES_EXPECTED {
            1
        } else {
            (self.bytes.len() / REQUEST_BYTES_EXPECTED + 1).min(BATCH_REQUESTS_MAX)
        };
        let mut requests = Spare::take(&SPARE);
        requests.reserve(expected);
        let mut batch = RequestBatch::of_about(expected, &mut self.last, database);
        let mut bytes = 0;
        while requests.len() < BATCH_REQUESTS_MAX && batch.words() < BATCH_WORDS_MAX {
            let waiting = &self.bytes[bytes..];
            let Some(first) = waiting.first() else { break };
            let mut is_resp = *first == b'*';
            let (request, taken) = if is_resp {
                match batch.prepare_resp(|words| self.resp.read(waiting, words)) {
                    (resp::Read::Partial, _) => break,
                    (resp::Read::Broken(refusal), _) => (Err(refusal), waiting.len()),
                    (resp::Read::Frame(taken), request) => (Ok(request), taken),
                }
            } else if self.is_inline {
                is_resp = true;
                match prepare_inline(&mut batch, waiting, self.seen) {
                    Some(prepared) => prepared,
                    None => {
                        self.seen = waiting.len();
                        break;
                    }
                }
            } else {
                match line::frame(waiting, self.seen) {
                    Frame::Partial => match foreign::refuse_beginning(waiting) {
                        Some(refusal) => (Err(refusal), waiting.len()),
                        None => {
                            self.seen = waiting.len();
                            break;
                        }
                    },
                    Frame::TooLong(refusal) => (Err(refusal), waiting.len()),
                    Frame::Line(line, taken) => (prepare_line(&mut batch, line), taken),
                }
            };
            self.seen = 0;
            bytes += taken;
            let request = match request {
                Ok(None) => continue,
                Ok(Some(request)) => Ok(request),
                Err(refusal) => Err(Box::new(refusal)),
            };
            let is_end = match &request {
                Ok(request) => may_change || request.selects_database,
                Err(refusal) => refusal.closes,
            };
            requests.push(BufferedRequest {
                request,
                is_resp,
                end: bytes,
            });
            if is_end {
                break;
            }
        }
        Arrived {
            requests,
            batch,
            bytes,
        }
    }

    /// Returns true if a word has arrived in part, and the rest of it is missing.
    #[must_use]
    pub fn is_in_word(&self) -> bool {
        self.resp.missing(self.bytes.len()) > 0
    }

    /// Returns the bytes that have not been executed.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.bytes
    }

    /// Removes the executed bytes: those of a batch, or of its first requests.
    pub fn advance(&mut self, bytes: usize, is_whole_batch: bool) {
        self.bytes.advance(bytes);
        if !is_whole_batch {
            // The rest of the batch is parsed again.
            self.seen = 0;
            self.resp = resp::Reader::default();
        }
    }

    /// Reads bytes by `read`, which fills a part of the room and returns its length.
    ///
    /// # Errors
    /// Those of `read`, and of [`ReceiveBuffer::fill`].
    pub fn fill(&mut self, read: impl FnOnce(Room<'_>) -> io::Result<usize>) -> io::Result<usize> {
        let missing = self.resp.missing(self.bytes.len());
        self.bytes.fill(missing, read)
    }

    /// Releases memory before a wait.
    ///
    /// # Errors
    /// Those of [`ReceiveBuffer::release_memory`].
    #[inline(always)]
    pub fn release_memory(&mut self) -> io::Result<()> {
        self.bytes.release_memory()
    }

    /// Returns the memory of the buffer in bytes.
    #[must_use]
    #[inline(always)]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
    }
}

/// The request of a line, `None` if it is blank, or the error, and the number of bytes that it takes.
type Taken = (Result<Option<Prepared>, Refusal>, usize);

/// Prepares the first inline command of Redis, or the refusal, which closes the connection, for a line of another protocol; `None` if
/// it has not arrived whole. The first `seen` bytes are known to have no line feed.
#[cold]
fn prepare_inline<'a>(
    batch: &mut RequestBatch<'a>,
    waiting: &'a [u8],
    seen: usize,
) -> Option<Taken> {
    let (line, taken, request) =
        match batch.prepare_resp(|words| inline::split(waiting, seen, words)) {
            (Inline::Line(line, taken), request) => (line, taken, request),
            (Inline::Broken(refusal), _) => {
                let refusal = foreign::refuse_beginning(waiting).unwrap_or(refusal);
                return Some((Err(refusal), waiting.len()));
            }
            (Inline::Partial, _) => {
                let refusal = foreign::refuse_beginning(waiting)?;
                return Some((Err(refusal), waiting.len()));
            }
        };
    let Some(request) = request else {
        return Some((Ok(None), taken));
    };
    let refusal = refuse_foreign(line, &request);
    Some((refusal.map_or(Ok(Some(request)), Err), taken))
}

/// Returns the refusal of a request that is a line of another protocol.
#[inline(always)]
fn refuse_foreign(line: &[u8], request: &Prepared) -> Option<Refusal> {
    if request.is_malformed() || foreign::is_ambiguous(line, request.argument_count()) {
        return foreign::refuse(line, request.is_malformed());
    }
    None
}

/// Prepares a line; `None` for a blank one.
///
/// # Errors
/// Those of [`line::parse`]; `DENIED`, which closes the connection, for a line of another protocol.
#[inline(always)]
fn prepare_line<'a>(
    batch: &mut RequestBatch<'a>,
    line: &'a [u8],
) -> Result<Option<Prepared>, Refusal> {
    let request = match line::parse(line) {
        Ok(Some(request)) => request,
        Ok(None) => return Ok(None),
        Err(refusal) => return Err(foreign::refuse_malformed(line).unwrap_or(refusal)),
    };
    let prepared = batch.prepare(&request);
    if let Some(refusal) = refuse_foreign(line, &prepared) {
        return Err(refusal);
    }
    Ok(Some(prepared))
}
