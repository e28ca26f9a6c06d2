//! `POST /api/v1/import`: pairs of a file, stored while it is received.
//!
//! In: a JSON object in the format of store.json or of an older PyKV, gzipped or not. Out: the number of pairs stored. Promises:
//! memory is bounded, however long the file is; for a broken file, the error states the number of pairs stored before it.

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

/// Maximum number of concurrent imports, as each occupies a thread that waits for its client.
pub const IMPORTS_MAX: usize = 8;
/// Size of the read buffer.
const BUFFER_BYTES: usize = 256 << 10;
/// Number of pairs stored between two waits for durability.
const PAIRS_PER_FLUSH: u64 = 1_000;

static RUNNING: Semaphore = Semaphore::const_new(IMPORTS_MAX);

/// Result of an import.
#[derive(Debug, Serialize, ToSchema)]
pub struct Imported {
    /// Number of pairs stored. Of a key that occurs more than once, the last value remains.
    #[schema(example = 10)]
    stored: u64,
    /// Number of pairs skipped because they had expired.
    #[schema(example = 0)]
    expired: u64,
}

/// Import pairs.
///
/// The body is one JSON object in the form of `GET /api/v1/export`, of `GET /all` or of an older PyKV; it may be gzipped and of any
/// length. Pairs are stored one by one while it is received, and replace the values of their keys.
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
    let _permit = RUNNING.try_acquire().map_err(|_| {
        let reason = format!("{IMPORTS_MAX} imports are going on; try again once one has ended");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    })?;
    service.engine()?;
    // A shutdown must not wait for the rest of a file.
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

/// Import in progress.
struct Import {
    door: Door,
    done: Imported,
    /// Error reply that has ended the import.
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
        let text = PairLimitReader {
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
            None => self.door.execute_deferred("SET", &pair)?,
            Some(at) => {
                let at = at.to_string();
                let words = [pair[0], pair[1], b"PXAT", at.as_bytes()];
                self.door.execute_deferred("SET", &words)?;
            }
        }
        self.done.stored += 1;
        if self.done.stored.is_multiple_of(PAIRS_PER_FLUSH) {
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

/// Reader that fails once a single pair is longer than any that can be stored, as a pair is read into memory whole.
struct PairLimitReader<'a, R> {
    inner: R,
    /// Number of bytes read since the end of the last pair.
    taken: &'a AtomicU64,
}

impl<R: Read> Read for PairLimitReader<'_, R> {
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
