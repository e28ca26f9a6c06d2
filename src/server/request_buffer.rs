//! The input buffer of a connection: bytes that have arrived and have not been executed.
//!
//! In: bytes, of any dialect. Out: batches of complete requests that borrow from those bytes, prepared for execution. Promises:
//! parsing of a partial request continues where it stopped; an empty buffer takes no memory.

use std::io;

use crate::command::{Prepared, RequestBatch};
use crate::protocol::line::{self, Frame};
use crate::protocol::{Refusal, foreign, resp};
use crate::receive_buffer::{ReceiveBuffer, Room};

/// Maximum number of requests of a batch: their prefetched entries must stay in the L1 cache until they are used.
const BATCH_REQUESTS_MAX: usize = 64;
/// Typical length of a request in bytes.
const REQUEST_BYTES_EXPECTED: usize = 32;
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

/// A complete request.
#[derive(Debug)]
pub struct BufferedRequest {
    /// The request, or the error for bytes that are not one.
    pub request: Result<Prepared, Box<Refusal>>,
    /// True if it is in RESP.
    pub is_resp: bool,
    /// Offset of its end in the buffer.
    pub end: usize,
}

impl RequestBuffer {
    /// Prepares the first complete requests, up to one whose refusal closes the connection, and to the limits of a batch.
    pub fn batch(&mut self) -> Arrived<'_> {
        // An estimate, so that the vectors are rarely moved while they grow.
        let expected = (self.bytes.len() / REQUEST_BYTES_EXPECTED + 1).min(BATCH_REQUESTS_MAX);
        let mut requests = Vec::with_capacity(expected);
        let mut batch = RequestBatch::of_about(expected);
        let mut bytes = 0;
        while requests.len() < BATCH_REQUESTS_MAX && batch.words() < BATCH_WORDS_MAX {
            let waiting = &self.bytes[bytes..];
            let is_resp = waiting.first() == Some(&b'*');
            let (request, taken) = if is_resp {
                match batch.prepare_resp(|words| self.resp.read(waiting, words)) {
                    (resp::Read::Partial, _) => break,
                    (resp::Read::Broken(refusal), _) => (Err(refusal), waiting.len()),
                    (resp::Read::Frame(taken), request) => (Ok(request), taken),
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
            let is_end = request.as_ref().is_err_and(|refusal| refusal.closes);
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
    let is_suspect =
        prepared.is_malformed() || foreign::is_ambiguous(line, prepared.argument_count());
    if is_suspect && let Some(refusal) = foreign::refuse(line, prepared.is_malformed()) {
        return Err(refusal);
    }
    Ok(Some(prepared))
}
