//! Pairs as JSON bodies, in pieces: a long value, and the whole store as one object.
//!
//! In: an entry, or a scan. Out: a body that is made as fast as it is read. Promise: whatever the store holds and however
//! slow its reader, no more is held than one chunk, and the entries of one shard, which are shared with the store.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use crate::command::Service;
use crate::engine::Scan;
use crate::entry::Entry;
use crate::json::{self, Pieces};
use crate::record::Value;

/// A list is sent in chunks of about this size, and a value that is longer in pieces.
const CHUNK_BYTES: usize = 64 << 10;

/// One pair, as `GET /get` shows it.
pub fn one(key: &str, value: &[u8]) -> Response {
    let mut body = opening_of(key);
    let value = Value::parse(value).expect("it was read from the store");
    json::write_value(&mut body, value);
    body.push(b'}');
    respond(Body::from(body))
}

/// One pair whose value is long.
pub fn one_long(entry: Entry) -> Response {
    in_pieces(entry, "}")
}

/// One pair and when it expires, as `GET /api/v1/keys` shows it.
pub fn one_with_expiry(entry: Entry) -> Response {
    let expires_at = entry.expires_at().map(json::time);
    let expires_at = expires_at.map_or("null".to_owned(), |time| json::string(&time));
    in_pieces(entry, &format!(",\"expires_at\":{expires_at}}}"))
}

/// One pair, and what stands behind its value. One that is short has a length, and no pieces.
fn in_pieces(entry: Entry, end: &str) -> Response {
    let is_short = entry.value_bytes().len() <= CHUNK_BYTES;
    let mut first = opening_of(entry.key().as_str());
    let (opening, pieces, closing) = quoted(entry);
    first.extend_from_slice(opening);
    let last = [closing, end.as_bytes()].concat();
    let chunks = std::iter::once(first).chain(pieces).chain([last]);
    respond(if is_short {
        Body::from(chunks.flatten().collect::<Vec<u8>>())
    } else {
        Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)))
    })
}

/// All pairs of a scan, as one object.
pub fn all(scan: Scan, service: Arc<Service>) -> Response {
    let chunks = Chunks {
        scan,
        entries: Vec::new().into_iter(),
        pieces: None,
        opening: b"{",
        ended: false,
    };
    let body = stream::unfold((chunks, service), async |(mut chunks, service)| {
        let chunk = chunks.next()?;
        // What is shown must be as safe as promised; what could not be made safe is still true.
        let _ = service.commit(chunks.scan.seen()).await;
        Some((Ok::<_, Infallible>(chunk), (chunks, service)))
    });
    respond(Body::from_stream(body))
}

fn opening_of(key: &str) -> Vec<u8> {
    let mut body = b"{\"key\":".to_vec();
    json::write_string(&mut body, key);
    body.extend_from_slice(b",\"value\":");
    body
}

fn respond(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A long value's JSON form: what opens it, its pieces, what closes it.
fn quoted(entry: Entry) -> (&'static [u8], Pieces, &'static [u8]) {
    let pieces = Pieces::new(entry);
    if pieces.is_text() {
        (b"\"", pieces, b"\"")
    } else {
        (b"{\"$base64\":\"", pieces, b"\"}")
    }
}

/// The chunks of [`all`].
struct Chunks {
    scan: Scan,
    /// Those of the scan's last shard that are still to be written.
    entries: std::vec::IntoIter<Entry>,
    /// The rest of a long value, and what closes it.
    pieces: Option<(Pieces, &'static [u8])>,
    /// What stands before the next pair.
    opening: &'static [u8],
    ended: bool,
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES && !self.ended {
            self.write_more(&mut chunk);
        }
        Some(chunk)
    }
}

impl Chunks {
    /// Writes the next piece, the next pair or the end.
    fn write_more(&mut self, chunk: &mut Vec<u8>) {
        if let Some((pieces, closing)) = &mut self.pieces {
            if let Some(piece) = pieces.next() {
                chunk.extend(piece);
            } else {
                chunk.extend_from_slice(closing);
                self.pieces = None;
            }
        } else if let Some(entry) = self.entries.next() {
            self.write_pair(chunk, entry);
        } else if let Some(entries) = self.scan.next() {
            self.entries = entries.into_iter();
        } else {
            chunk.extend_from_slice(if self.opening == b"{" { b"{}" } else { b"}" });
            self.ended = true;
        }
    }

    fn write_pair(&mut self, chunk: &mut Vec<u8>, entry: Entry) {
        chunk.extend_from_slice(std::mem::replace(&mut self.opening, b","));
        json::write_string(chunk, entry.key().as_str());
        chunk.push(b':');
        if entry.value_bytes().len() <= CHUNK_BYTES {
            let value = Value::parse(entry.value_bytes()).expect("it was read from the store");
            return json::write_value(chunk, value);
        }
        let (opening, pieces, closing) = quoted(entry);
        chunk.extend_from_slice(opening);
        self.pieces = Some((pieces, closing));
    }
}
