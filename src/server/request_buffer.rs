//! What has arrived from one client, and has not been executed.
//!
//! In: bytes, of any dialect. Out: batches of whole requests that borrow from those bytes, looked up in the table. Promises: no
//! byte of an unfinished request is looked at twice, however slowly it comes; an empty input takes no memory.

use std::io;

use bytes::{Buf as _, BytesMut};

use crate::command::{Prepared, RequestBatch};
use crate::protocol::line::{self, Frame};
use crate::protocol::{Refusal, resp};

/// The least room that is offered to what arrives.
const ROOM_BYTES_MIN: usize = 16 << 10;
/// The most room that is made for a value before it has come: many clients may say that they send a long one.
const ROOM_BYTES_MAX: usize = (1 << 20) + ROOM_BYTES_MIN;
/// The most requests of one batch: what is fetched for them stays in the nearest cache until it is used.
const BATCH_REQUESTS_MAX: usize = 64;
/// About as long as a short request is.
const REQUEST_BYTES_EXPECTED: usize = 32;
/// One request more is taken while there are fewer words.
const BATCH_WORDS_MAX: usize = 4096;

/// What has arrived.
#[derive(Debug, Default)]
pub struct RequestBuffer {
    bytes: BytesMut,
    /// How much of it is known to hold no line feed.
    seen: usize,
    /// How far a request of a Redis client has come.
    resp: resp::Reader,
}

/// Whole requests.
#[derive(Debug, Default)]
pub struct Arrived<'a> {
    /// In the order in which they came.
    pub items: Vec<BufferedRequest>,
    /// Their arguments.
    pub batch: RequestBatch<'a>,
    /// How many bytes they take together, with what asks for nothing.
    pub bytes: usize,
}

/// One request.
#[derive(Debug)]
pub struct BufferedRequest {
    /// What is asked for, or why it is none.
    pub request: Result<Prepared, Box<Refusal>>,
    /// Whether it is one of a Redis client.
    pub is_resp: bool,
    /// Where it ends.
    pub end: usize,
}

impl RequestBuffer {
    /// The whole requests at the beginning, up to the first that is none and ends the connection; some of them, if there are
    /// many.
    pub fn batch(&mut self) -> Arrived<'_> {
        // A guess, so that nothing is moved while they become more.
        let expected = (self.bytes.len() / REQUEST_BYTES_EXPECTED + 1).min(BATCH_REQUESTS_MAX);
        let mut items = Vec::with_capacity(expected);
        let mut batch = RequestBatch::of_about(expected);
        let mut bytes = 0;
        while items.len() < BATCH_REQUESTS_MAX && batch.words() < BATCH_WORDS_MAX {
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
                    Frame::Partial => {
                        self.seen = waiting.len();
                        break;
                    }
                    Frame::TooLong(refusal) => (Err(refusal), waiting.len()),
                    Frame::Line(line, taken) => {
                        let request = line::parse(line);
                        (
                            request.map(|request| request.map(|request| batch.prepare(&request))),
                            taken,
                        )
                    }
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
            items.push(BufferedRequest {
                request,
                is_resp,
                end: bytes,
            });
            if is_end {
                break;
            }
        }
        Arrived {
            items,
            batch,
            bytes,
        }
    }

    /// All that is there, whole requests or not.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what has been executed: a batch, or the first requests of it.
    pub fn advance(&mut self, bytes: usize, is_whole_batch: bool) {
        self.bytes.advance(bytes);
        if !is_whole_batch {
            // What was looked at beyond is looked at again.
            self.seen = 0;
            self.resp = resp::Reader::default();
        }
    }

    /// Takes what has come, by a call that puts it at the end of a buffer.
    ///
    /// # Errors
    /// Those of the call.
    pub fn fill(
        &mut self,
        read: impl FnOnce(&mut BytesMut) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Room for a whole value at once: what is there need not be moved when more comes.
        let missing = self.resp.missing(self.bytes.len());
        self.bytes
            .reserve(missing.clamp(ROOM_BYTES_MIN, ROOM_BYTES_MAX));
        read(&mut self.bytes)
    }

    /// Keeps nothing for a client that may be silent for hours.
    pub fn release_memory(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }
}
