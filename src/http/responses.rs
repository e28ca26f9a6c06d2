//! Pairs as JSON bodies: one pair, a long value streamed in pieces, or all pairs streamed as one object.
//!
//! In: a value, or a stream of pairs. Out: a body that is produced as fast as the client reads. Promise: memory is bounded, however
//! large the store and however slow the client: one chunk, and the entries of one shard, which are shared with the store.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};

use super::door::{Door, FoundValue, expiry_json};
use crate::codec::json::{self, Pieces};
use crate::codec::key_text::key_text;
use crate::command::{Account, HeldValue, Replies, Stream};
use crate::model::entry::Entry;
use crate::model::{UnixMs, Value};
use crate::protocol::{Dialect, Reply};

/// Approximate size of a chunk, in bytes; a longer value is sent in pieces.
const CHUNK_BYTES: usize = 64 << 10;

/// Makes the response of `GET /get/{key}`: a pair.
pub fn pair(key: &[u8], value: FoundValue) -> Response {
    one(key, value, "}")
}

/// Makes the response of `GET /api/v1/keys/{key}`: a pair and its expiry.
pub fn pair_with_expiry(key: &[u8], value: FoundValue) -> Response {
    let end = expiry_end(value.expires_at());
    one(key, value, &end)
}

/// Makes the response to a change of `/api/v1/keys/{key}`: the key and its expiry.
pub fn key_with_expiry(key: &[u8], expires_at: Option<UnixMs>) -> Response {
    let mut body = opening(key);
    body.extend_from_slice(expiry_end(expires_at).as_bytes());
    respond(Body::from(body))
}

fn opening(key: &[u8]) -> Vec<u8> {
    let mut opening = b"{\"key\":".to_vec();
    json::write_string(&mut opening, &key_text(key));
    opening
}

fn expiry_end(expires_at: Option<UnixMs>) -> String {
    [",\"expires_at\":", &expiry_json(expires_at), "}"].concat()
}

/// Makes the response for a pair, with `end` after its value. A short one has a `Content-Length`, a long one is streamed.
fn one(key: &[u8], value: FoundValue, end: &str) -> Response {
    let mut body = opening(key);
    body.extend_from_slice(b",\"value\":");
    match value {
        FoundValue::Short(bytes, _) => {
            let value = Value::parse(&bytes).expect("it was read from the store");
            json::write_value(&mut body, value);
            body.extend_from_slice(end.as_bytes());
            respond(Body::from(body))
        }
        FoundValue::Long(value, _) => {
            let (opening, pieces, closing) = quoted(value, None);
            body.extend_from_slice(opening);
            let last = [closing.as_bytes(), end.as_bytes()].concat();
            let chunks = std::iter::once(body).chain(pieces).chain([last]);
            respond(Body::from_stream(stream::iter(
                chunks.map(Ok::<_, Infallible>),
            )))
        }
    }
}

/// Text before, between and after pairs.
struct Layout {
    opening: &'static [u8],
    between: &'static [u8],
    closing: &'static [u8],
    /// True if the expiry of a pair is included.
    has_expiry: bool,
}

/// Streams all pairs in the older program's form.
pub fn all(door: Door, stream: Stream) -> Response {
    let layout = Layout {
        opening: b"{",
        between: b",",
        closing: b"}",
        has_expiry: false,
    };
    listed(door, stream, layout)
}

/// Streams all pairs in the format of store.json.
pub fn export(door: Door, stream: Stream) -> Response {
    let layout = Layout {
        opening: b"{\n",
        between: b",\n",
        closing: b"\n}\n",
        has_expiry: true,
    };
    listed(door, stream, layout)
}

fn listed(door: Door, pairs: Stream, layout: Layout) -> Response {
    let object = ObjectWriter {
        account: Arc::clone(door.account()),
        layout,
        chunk: Vec::new(),
        pieces: None,
        has_begun: false,
    };
    let state = (door, Some(pairs), object);
    let chunks = stream::unfold(state, async |(mut door, mut pairs, mut object)| {
        if !object.write_pieces() {
            let stream = pairs.as_mut()?;
            match door.pump(stream, &mut object).await {
                Ok(has_ended) => pairs = pairs.filter(|_| !has_ended),
                // The response ends there: it is not whole.
                Err(error) => {
                    let broken = io::Error::other(error.to_string());
                    return Some((Err(broken), (door, None, object)));
                }
            }
        }
        let chunk = std::mem::take(&mut object.chunk);
        Some((Ok(chunk), (door, pairs, object)))
    });
    // The compression layer polls once more after the end.
    respond(Body::from_stream(chunks.fuse()))
}

fn respond(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Returns the JSON form of a long value: its opening, its pieces, its closing. A value with an expiry is an object.
fn quoted(
    value: HeldValue,
    expires_at: Option<UnixMs>,
) -> (&'static [u8], Pieces<HeldValue>, String) {
    let end = expires_at.map_or_else(
        || "}".to_owned(),
        |at| format!(",\"$expires_at\":{}}}", expiry_json(Some(at))),
    );
    let pieces = Pieces::new(value);
    match (pieces.is_text(), expires_at) {
        (true, None) => (b"\"", pieces, "\"".to_owned()),
        (true, Some(_)) => (b"{\"$text\":\"", pieces, format!("\"{end}")),
        (false, _) => (b"{\"$base64\":\"", pieces, format!("\"{end}")),
    }
}

/// Sink that writes pairs as the members of one JSON object.
struct ObjectWriter {
    account: Arc<Account>,
    layout: Layout,
    /// Bytes that are not sent yet.
    chunk: Vec<u8>,
    /// Remaining pieces of a long value, and its closing.
    pieces: Option<(Pieces<HeldValue>, String)>,
    has_begun: bool,
}

impl ObjectWriter {
    /// Writes pieces of a long value until the chunk is full; returns false if there is no long value.
    fn write_pieces(&mut self) -> bool {
        let Some((pieces, closing)) = &mut self.pieces else {
            return false;
        };
        while self.chunk.len() < CHUNK_BYTES {
            match pieces.next() {
                Some(piece) => self.chunk.extend(piece),
                None => {
                    self.chunk.extend_from_slice(closing.as_bytes());
                    self.pieces = None;
                    break;
                }
            }
        }
        true
    }

    /// Writes the separator before a pair, and its key.
    fn write_key(&mut self, key: &[u8]) {
        let has_begun = std::mem::replace(&mut self.has_begun, true);
        let before = if has_begun {
            self.layout.between
        } else {
            self.layout.opening
        };
        self.chunk.extend_from_slice(before);
        json::write_string(&mut self.chunk, &key_text(key));
        self.chunk.push(b':');
    }
}

impl Replies for ObjectWriter {
    fn reply(&mut self, reply: Reply<'_>) {
        match reply {
            Reply::Item(key, value) => {
                self.write_key(key);
                let expires_at = value.expires_at().filter(|_| self.layout.has_expiry);
                let value = Value::with_expiry(value.bytes(), expires_at);
                let value = value.expect("it was read from the store");
                json::write_value(&mut self.chunk, value);
            }
            Reply::End(_) => {
                if !self.has_begun {
                    self.chunk.extend_from_slice(self.layout.opening);
                }
                self.chunk.extend_from_slice(self.layout.closing);
            }
            _ => unreachable!("ALL answers with pairs and their end"),
        }
    }

    fn long_value(&mut self, _entry: Entry) {
        unreachable!("ALL answers with pairs and their end");
    }

    fn long_item(&mut self, name: &[u8], entry: Entry) {
        self.write_key(name);
        let expires_at = entry.expires_at().filter(|_| self.layout.has_expiry);
        let (opening, pieces, closing) = quoted(self.account.hold_value(entry), expires_at);
        self.chunk.extend_from_slice(opening);
        self.pieces = Some((pieces, closing));
    }

    fn is_full(&self) -> bool {
        self.chunk.len() >= CHUNK_BYTES || self.pieces.is_some()
    }

    fn set_dialect(&mut self, _dialect: Dialect) {}

    fn bytes(&self) -> usize {
        self.chunk.len()
    }

    fn truncate(&mut self, bytes: usize) {
        self.chunk.truncate(bytes);
    }
}
