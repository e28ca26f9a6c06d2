//! All pairs to a file and back: `GET /api/v1/export`, `POST /api/v1/import`.
//!
//! In: a prefix; a JSON object as store.json is, or as an older PyKV wrote it, gzipped or not. Out: such an object, expiry included; how
//! many pairs were stored. Promises: both take a bounded memory, however long the file; who sends a broken file is told how much of it
//! was stored.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::io::{StreamReader, SyncIoBridge};
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::bodies::StoredValue;
use super::docs::{LOADING, OTHER_SITE, UNSAFE};
use super::problem::Problem;
use super::{input, pairs};
use crate::codec::gzip;
use crate::codec::json;
use crate::command::{Service, place_of};
use crate::engine::{Barrier, Engine};
use crate::metrics::counters::Tally;
use crate::model::{Key, Value, now_ms};
use crate::protocol::line::QUOTED_LINE_BYTES_MAX;
use crate::protocol::{Dialect, ErrorReply};

/// The most imports at one time: each keeps a thread, which waits for its sender.
pub const IMPORTS_MAX: usize = 8;
/// What is read of a file at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// How many pairs are stored before it is waited until they are safe.
const STORED_AT_A_TIME: u64 = 1_000;

static ROOM: Semaphore = Semaphore::const_new(IMPORTS_MAX);

/// What is exported.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Only pairs whose key begins with this.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
}

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

/// Export pairs.
///
/// One JSON object as store.json is, a pair to a line. Unlike `GET /all` it has when pairs expire: such a value reads
/// `{"$text": "...", "$expires_at": "..."}`.
#[utoipa::path(get, path = "/api/v1/export", tag = "Keys", params(Asked),
    responses(
        (status = 200, description = "The pairs.", body = HashMap<String, StoredValue>,
            example = json!({"config:mode": "production",
                "session:7": {"$text": "Ada", "$expires_at": "2026-11-24T01:02:03.456Z"}})),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The prefix is over the limit of a key.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not what it should be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn export(
    State(service): State<Arc<Service>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Asked { prefix } = input::query(asked)?;
    let scan = service.engine()?.scan(Key::parse(prefix.as_bytes())?);
    Account::open(&service, "ALL", &[prefix.as_bytes()]).close(None, None);
    let mut response = pairs::export(scan, service);
    let name = HeaderValue::from_static("attachment; filename=\"pykv.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
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
    let engine = Arc::clone(service.engine()?);
    // A server that stops does not wait for the rest of a file.
    let stopping = service.setup.shutdown.clone().cancelled_owned();
    let chunks = body.into_data_stream().take_until(stopping);
    let chunks = chunks.map_err(io::Error::other);
    let body = SyncIoBridge::new(StreamReader::new(Box::pin(chunks)));
    let work = move || {
        let mut import = Import::new(&engine, &service);
        let read = import.read(body);
        import.end(read)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("it does not panic, and nobody aborts it")
        .map(Json)
}

/// Pairs on their way into the store.
struct Import<'a> {
    engine: &'a Engine,
    service: &'a Service,
    place: usize,
    done: Imported,
    /// Of those that are not known to be safe.
    barrier: Barrier,
    tally: Tally,
    /// Why no more are stored: the store refuses them.
    refusal: Option<ErrorReply>,
}

impl<'a> Import<'a> {
    fn new(engine: &'a Engine, service: &'a Service) -> Self {
        Self {
            engine,
            service,
            place: place_of(b"SET", Dialect::Line).expect("a command of the table"),
            done: Imported {
                stored: 0,
                expired: 0,
            },
            barrier: Barrier::default(),
            tally: Tally::default(),
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
        let put = self.engine.put(key, value, &mut self.barrier);
        put.map_err(ErrorReply::from)
            .and_then(|()| {
                self.done.stored += 1;
                self.tally.requests += 1;
                self.tally.command(self.place);
                if self.done.stored.is_multiple_of(STORED_AT_A_TIME) {
                    self.commit()?;
                }
                Ok(())
            })
            .map_err(|refusal| {
                let reason = refusal.message.clone();
                self.refusal = Some(refusal);
                reason
            })
    }

    fn commit(&mut self) -> Result<(), ErrorReply> {
        self.service.stats.add(&mut self.tally);
        Ok(Handle::current().block_on(self.engine.commit(self.barrier))?)
    }

    fn end(mut self, read: io::Result<()>) -> Result<Imported, Problem> {
        let committed = self.commit();
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
