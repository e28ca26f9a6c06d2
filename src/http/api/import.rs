//! `POST /api/v1/import`: pairs of a file, stored as they come.
//!
//! In: a JSON object as store.json is, or as an older PyKV wrote it, gzipped or not. Out: the number of pairs stored. Promises: it takes
//! a bounded memory, however long the file is; for a broken file the number of pairs stored before is told.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::io::{StreamReader, SyncIoBridge};
use utoipa::ToSchema;

use crate::codec::{gzip, json};
use crate::command::Service;
use crate::http::compat::bodies::StoredValue;
use crate::http::descriptions::{OTHER_SITE, UNSAFE};
use crate::http::door::Door;
use crate::http::problem::Problem;
use crate::model::{Key, Value, now_ms};
use crate::protocol::ErrorReply;
use crate::protocol::line::QUOTED_LINE_BYTES_MAX;

/// The most imports at one time: each keeps a thread, which waits for its sender.
pub const IMPORTS_MAX: usize = 8;
/// What is read of a file at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// How many pairs are stored before it is waited until they are safe.
const STORED_AT_A_TIME: u64 = 1_000;

static ROOM: Semaphore = Semaphore::const_new(IMPORTS_MAX);

/// What has become of a file.
#[derive(Debug, Serialize, ToSchema)]
pub struct Imported {
    /// How many pairs were stored; where one has come twice, the last one stays.
    #[schema(example = 10)]
    stored: u64,
    /// How many were left out, as they would have ceased to be before now.
    #[schema(example = 0)]
    expired: u64,
}

/// Import pairs.
///
/// The body is one JSON object as `GET /api/v1/export` writes it, or `GET /all`, or an older PyKV; it may be gzipped. It may be of any
/// length: pairs are stored as they come, each for itself, in the place of what their keys had.
#[utoipa::path(post, path = "/api/v1/import", tag = "Keys",
    request_body(content = HashMap<String, StoredValue>, content_type = "application/json"),
    responses(
        (status = 200, description = "Stored, and as safe as the server's `--durability` says.", body = Imported),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The body is not such an object, or ends too soon: where, and how many pairs before that were stored.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn import(
    State(service): State<Arc<Service>>,
    body: Body,
) -> Result<Json<Imported>, Problem> {
    let _place = ROOM.try_acquire().map_err(|_| {
        let reason = format!("{IMPORTS_MAX} imports are going on; try again once one has ended");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    })?;
    service.engine()?;
    // A server that stops does not wait for the rest of a file.
    let stopping = service.setup.shutdown.clone().cancelled_owned();
    let chunks = body.into_data_stream().take_until(stopping);
    let chunks = chunks.map_err(io::Error::other);
    let body = SyncIoBridge::new(StreamReader::new(Box::pin(chunks)));
    let work = move || {
        let mut import = Import::new(&service);
        let read = import.read(body);
        import.end(read)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("it does not panic, and nobody aborts it")
        .map(Json)
}

/// Pairs on their way into the store.
struct Import {
    door: Door,
    done: Imported,
    /// Why no more are stored.
    refusal: Option<ErrorReply>,
}

impl Import {
    fn new(service: &Arc<Service>) -> Self {
        Self {
            door: Door::for_bodies(service),
            done: Imported {
                stored: 0,
                expired: 0,
            },
            refusal: None,
        }
    }

    fn read(&mut self, body: impl Read) -> io::Result<()> {
        let taken = AtomicU64::new(0);
        let text = Limited {
            inner: gzip::text_of(body)?,
            taken: &taken,
        };
        let reader = BufReader::with_capacity(BUFFER_BYTES, text);
        json::read_pairs(reader, |key, value| {
            taken.store(0, Relaxed);
            self.store(key, value)
        })?;
        Ok(())
    }

    fn store(&mut self, key: Key<'_>, value: Value<'_>) -> Result<(), String> {
        if value.expires_at().is_some_and(|at| at <= now_ms()) {
            self.done.expired += 1;
            return Ok(());
        }
        self.set(key, value).map_err(|refusal| {
            let reason = refusal.message.clone();
            self.refusal = Some(refusal);
            reason
        })
    }

    fn set(&mut self, key: Key<'_>, value: Value<'_>) -> Result<(), ErrorReply> {
        let pair = [key.as_bytes(), value.bytes()];
        match value.expires_at() {
            None => self.door.tell("SET", &pair)?,
            Some(at) => {
                let at = at.to_string();
                let words = [pair[0], pair[1], b"PXAT", at.as_bytes()];
                self.door.tell("SET", &words)?;
            }
        }
        self.done.stored += 1;
        if self.done.stored.is_multiple_of(STORED_AT_A_TIME) {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ErrorReply> {
        Handle::current().block_on(self.door.flush())
    }

    fn end(mut self, read: io::Result<()>) -> Result<Imported, Problem> {
        let committed = self.flush();
        let stored = format!("pairs that were stored before: {}", self.done.stored);
        if let Some(refusal) = self.refusal {
            return Err(Problem::from(refusal).and(&stored));
        }
        if let Err(error) = read {
            let detail = format!("the file cannot be read: {error}; {stored}");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        committed?;
        Ok(self.done)
    }
}

/// Text of which no pair may be longer than any pair that can be stored: a pair is read into memory.
struct Limited<'a, R> {
    inner: R,
    /// How much has been read since the last pair.
    taken: &'a AtomicU64,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let taken = self.taken.fetch_add(count as u64, Relaxed);
        if taken > (QUOTED_LINE_BYTES_MAX + BUFFER_BYTES) as u64 {
            let reason =
                format!("a pair is longer than the {QUOTED_LINE_BYTES_MAX} bytes that it may have");
            return Err(io::Error::other(reason));
        }
        Ok(count)
    }
}
