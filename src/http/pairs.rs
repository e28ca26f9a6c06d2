//! Pairs as JSON bodies, in pieces: a long value, and the whole store as one object.
//!
//! In: an entry, or a scan. Out: a body that is made as fast as it is read. Promise: whatever the store holds and however
//! slow its reader, no more is held than one chunk, and the entries of one shard, which are shared with the store.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};

use crate::codec::json::{self, Pieces};
use crate::command::Service;
use crate::engine::Scan;
use crate::model::Value;
use crate::model::entry::Entry;

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
    let (opening, pieces, closing) = quoted(entry, false);
    first.extend_from_slice(opening);
    let last = [closing.as_bytes(), end.as_bytes()].concat();
    let chunks = std::iter::once(first).chain(pieces).chain([last]);
    respond(if is_short {
        Body::from(chunks.flatten().collect::<Vec<u8>>())
    } else {
        Body::from_stream(stream::iter(chunks.map(Ok::<_, Infallible>)))
    })
}

/// What stands before, between and behind pairs.
struct Layout {
    opening: &'static [u8],
    between: &'static [u8],
    closing: &'static [u8],
    /// Whether it is told when a pair expires.
    has_expiry: bool,
}

/// All pairs of a scan, as the older program shows them.
pub fn all(scan: Scan, service: Arc<Service>) -> Response {
    let layout = Layout {
        opening: b"{",
        between: b",",
        closing: b"}",
        has_expiry: false,
    };
    listed(scan, service, layout)
}

/// All pairs of a scan, as store.json has them.
pub fn export(scan: Scan, service: Arc<Service>) -> Response {
    let layout = Layout {
        opening: b"{\n",
        between: b",\n",
        closing: b"\n}\n",
        has_expiry: true,
    };
    listed(scan, service, layout)
}

fn listed(scan: Scan, service: Arc<Service>, layout: Layout) -> Response {
    let chunks = Chunks {
        scan,
        entries: Vec::new().into_iter(),
        pieces: None,
        has_begun: false,
        has_ended: false,
        layout,
    };
    let body = stream::unfold((chunks, service), async |(mut chunks, service)| {
        let chunk = chunks.next()?;
        // What is shown must be as safe as promised; what could not be made safe is still true.
        let _ = service.commit(chunks.scan.seen()).await;
        Some((Ok::<_, Infallible>(chunk), (chunks, service)))
    });
    // Who compresses it asks once more after its end.
    respond(Body::from_stream(body.fuse()))
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
fn quoted(entry: Entry, has_expiry: bool) -> (&'static [u8], Pieces, String) {
    let expires_at = entry.expires_at().filter(|_| has_expiry);
    let end = expires_at.map_or_else(
        || "}".to_owned(),
        |at| format!(",\"$expires_at\":{}}}", json::string(&json::time(at))),
    );
    let pieces = Pieces::new(entry);
    match (pieces.is_text(), expires_at) {
        (true, None) => (b"\"", pieces, "\"".to_owned()),
        (true, Some(_)) => (b"{\"$text\":\"", pieces, format!("\"{end}")),
        (false, _) => (b"{\"$base64\":\"", pieces, format!("\"{end}")),
    }
}

/// The chunks of [`listed`].
struct Chunks {
    scan: Scan,
    /// Those of the scan's last shard that are still to be written.
    entries: std::vec::IntoIter<Entry>,
    /// The rest of a long value, and what closes it.
    pieces: Option<(Pieces, String)>,
    has_begun: bool,
    has_ended: bool,
    layout: Layout,
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.has_ended {
            return None;
        }
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES && !self.has_ended {
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
                chunk.extend_from_slice(closing.as_bytes());
                self.pieces = None;
            }
        } else if let Some(entry) = self.entries.next() {
            self.write_pair(chunk, entry);
        } else if let Some(entries) = self.scan.next() {
            self.entries = entries.into_iter();
        } else {
            self.write_opening(chunk, b"");
            chunk.extend_from_slice(self.layout.closing);
            self.has_ended = true;
        }
    }

    /// Writes the opening, if nothing has been written; else what stands here in its place.
    fn write_opening(&mut self, chunk: &mut Vec<u8>, else_: &[u8]) {
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        chunk.extend_from_slice(if has_begun {
            else_
        } else {
            self.layout.opening
        });
    }

    fn write_pair(&mut self, chunk: &mut Vec<u8>, entry: Entry) {
        self.write_opening(chunk, self.layout.between);
        json::write_string(chunk, entry.key().as_str());
        chunk.push(b':');
        if entry.value_bytes().len() <= CHUNK_BYTES {
            let expires_at = entry.expires_at().filter(|_| self.layout.has_expiry);
            let value = Value::parse_until(entry.value_bytes(), expires_at);
            return json::write_value(chunk, value.expect("it was read from the store"));
        }
        let (opening, pieces, closing) = quoted(entry, self.layout.has_expiry);
        chunk.extend_from_slice(opening);
        self.pieces = Some((pieces, closing));
    }
}
