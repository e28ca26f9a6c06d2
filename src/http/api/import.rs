//! `POST /api/v1/import`: pairs of a file, stored while it is received, or once all of it has been checked.
//!
//! In: a file of pairs in any format of [`pair_file`]. Out: the number of pairs stored. Promises: memory is bounded, however long the file is;
//! for a broken file, the error states its line and the number of pairs stored before it.

use std::convert::Infallible;
use std::io::{self, Read};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::io::sink;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use crate::codec::pair_file::{
    self, Declared, Duplicates, FileFormat, FilePair, ReadError, Spool, SpoolError,
};
use crate::command::{Account, OverBudget};
use crate::error::error_chain;
use crate::http::descriptions::UNSAFE;
use crate::http::door::{Caller, Door};
use crate::http::input::Parameters;
use crate::http::problem::{BrokenImport, Problem};
use crate::model::now_ms;
use crate::protocol::{ErrorCode, ErrorReply};

/// Maximum number of concurrent imports, as each occupies a thread that waits for its client.
pub const IMPORTS_MAX: usize = 8;
/// Maximum length of a body that is checked as a whole, in bytes as sent: it is kept in a temporary file meanwhile, which must not fill a disk.
pub const CHECKED_BYTES_MAX: u64 = 1 << 30;
/// Maximum time for which the rest of a broken file is received, so that its sender reads the error instead of a reset.
const DISCARD_TIME: Duration = Duration::from_secs(5);
/// Number of pairs stored between two waits for durability.
const PAIRS_PER_FLUSH: u64 = 1_000;
/// Number of bytes stored between two waits for durability.
const BYTES_PER_FLUSH: usize = 1 << 20;

const STOPPING: &str = "the server is stopping: import the file again once it runs";

static RUNNING: Semaphore = Semaphore::const_new(IMPORTS_MAX);

/// Query of `POST /api/v1/import`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// Name of the file. Its extension decides where the content fits two formats, as one line of JSON may; else the content does.
    #[param(example = "pairs.csv.gz")]
    name: Option<String>,
    /// Format that the file must have; other content is refused.
    #[param(value_type = Option<FormatName>, inline, example = "csv")]
    format: Option<String>,
    /// True to check the whole file first, and to store nothing if anything in it is wrong. The body may have 1 GiB then.
    #[serde(default)]
    #[param(required = false, example = true)]
    all_or_nothing: bool,
}

/// Name of a format.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "`FileFormat` is parsed")]
enum FormatName {
    Json,
    Jsonl,
    Csv,
}

/// Value of a JSON file: a string is text; an object with `$text` or `$base64`, and optionally `$expires_at`, is text or bytes; any
/// other value is stored as its JSON text.
#[derive(ToSchema)]
pub struct ImportedValue;

/// Problem of an import, and what it has done before.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`Problem` writes it")]
struct ImportProblem {
    #[serde(flatten)]
    problem: Problem,
    /// Number of pairs stored before the error; absent if the import has not begun.
    #[schema(nullable = false)]
    stored: Option<u64>,
    /// Number of pairs skipped before it because they had expired.
    #[schema(nullable = false)]
    expired: Option<u64>,
    /// Line at which the file is broken, counted from 1.
    #[schema(nullable = false)]
    line: Option<u64>,
    /// Byte of that line, counted from 1.
    #[schema(nullable = false)]
    column: Option<u64>,
}

/// Result of an import.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Imported {
    /// Number of pairs stored. Of a key that occurs more than once, each pair counts, and the last value remains.
    #[schema(example = 10)]
    stored: u64,
    /// Number of pairs skipped because they had expired.
    #[schema(example = 0)]
    expired: u64,
    /// Keys that occur more than once, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    duplicates: Option<DuplicateKeys>,
    /// Remarks for people, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    notes: Vec<String>,
}

/// Keys that occur more than once in a file.
#[derive(Debug, Serialize, ToSchema)]
pub struct DuplicateKeys {
    /// Number of pairs that a later one of the same key has replaced.
    #[schema(example = 1)]
    replaced: u64,
    /// First of these keys.
    #[schema(example = "user:1")]
    first_key: String,
    /// Lines on which it stands.
    #[schema(example = json!([2, 5]))]
    first_lines: [u64; 2],
}

/// Import pairs.
///
/// The body is a file of pairs, which may be gzipped and of any length: one JSON object in the form of `GET /api/v1/export`, of `GET /all` or of
/// an older PyKV; JSON Lines (`{"key": "...", "value": "...", "expires_at": "..."}`); or CSV (a header of `key`, `value`, and optionally
/// `encoding`, which is `text` or `base64`, and `expires_at`). The content tells the format. Pairs are stored one by one while it is received,
/// and replace the values of their keys; with `all_or_nothing` they are stored once the whole file has been checked. That is no transaction: a
/// server that stops or refuses changes meanwhile has stored some of them.
#[utoipa::path(post, path = "/api/v1/import", tag = "Keys", params(ImportQuery),
    request_body(content = HashMap<String, ImportedValue>, content_type = "application/json",
        description = "A JSON object; or JSON Lines (`application/x-ndjson`) or CSV (`text/csv`), which JSON Schema cannot describe."),
    responses(
        (status = 200, description = "Stored, and as safe as the server's `--durability` says.", body = Imported),
        (status = 400, description = "The body has not arrived whole.", body = ImportProblem, content_type = "application/problem+json"),
        (status = 413, description = "The body is over the limit of `all_or_nothing`.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The body is not such a file, or is broken, or ends too soon: where, and how many pairs before that were stored.",
            body = ImportProblem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn import(
    caller: Caller,
    Parameters(query): Parameters<ImportQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Imported>, Problem> {
    let format = query
        .format
        .as_deref()
        .map(FileFormat::from_str)
        .transpose();
    let format = format.map_err(|reason| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("format: {reason}"),
        )
    })?;
    let _permit = RUNNING.try_acquire().map_err(|_| {
        let reason = format!("{IMPORTS_MAX} imports are going on; try again once one has ended");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)
    })?;
    caller.service.check_ready()?;
    // A body that announces too great a length need not be read to be refused.
    if query.all_or_nothing && body.size_hint().lower() > CHECKED_BYTES_MAX {
        return Err(problem_of_spool(&SpoolError::TooLong(CHECKED_BYTES_MAX)));
    }
    let media_type = headers.get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let by_name = query.name.as_deref().and_then(FileFormat::of_name);
    let declared = Declared {
        format,
        by_name: by_name.or(media_type.and_then(FileFormat::of_media_type)),
    };
    // A shutdown must not wait for the rest of a file.
    let stopping = caller.service.setup.shutdown.clone().cancelled_owned();
    let ended = Arc::clone(&caller.account).ended();
    let chunks = body.into_data_stream().take_until(stopping);
    let chunks = chunks.take_until(Box::pin(ended));
    let chunks = chunks.map_err(io::Error::other);
    let mut body = SyncIoBridge::new(StreamReader::new(Box::pin(chunks)));
    let work = move || {
        let mut import = Import::new(&caller, declared);
        let done = if query.all_or_nothing {
            import.read_checked(&mut body)
        } else {
            import.read(&mut body)
        };
        (done, body)
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (done, body) = done.expect("it does not panic, and nobody aborts it");
    if done.is_err() {
        // Closing a connection with unread bytes is a reset, which can overtake the response.
        let discarded = async { tokio::io::copy(&mut body.into_inner(), &mut sink()).await };
        let _ = timeout(DISCARD_TIME, discarded).await;
    }
    done.map(Json)
}

/// Import in progress.
struct Import {
    door: Door,
    shutdown: CancellationToken,
    declared: Declared,
    stored: u64,
    /// Number of bytes stored since the last wait for durability.
    unflushed_bytes: usize,
    expired: u64,
    duplicates: Duplicates,
}

impl Import {
    fn new(caller: &Caller, declared: Declared) -> Self {
        Self {
            door: caller.door_for_bodies(),
            shutdown: caller.service.setup.shutdown.clone(),
            declared,
            stored: 0,
            unflushed_bytes: 0,
            expired: 0,
            duplicates: Duplicates::default(),
        }
    }

    /// Reads all of a file before its first pair is stored.
    fn read_checked(&mut self, body: impl Read) -> Result<Imported, Problem> {
        let mut spool =
            Spool::new(body, CHECKED_BYTES_MAX).map_err(|error| problem_of_spool(&error))?;
        let hold = hold(self.door.account());
        let take = |_: FilePair<'_>| Ok::<_, Infallible>(());
        let checked = pair_file::read_holding(&mut spool, self.declared, hold, take);
        if let Err(error) = checked {
            return Err(match error {
                ReadError::Refused(never) => match never {},
                ReadError::Fault(fault) => self.problem(ReadError::Fault(fault)),
                ReadError::Source(error) => self.problem(ReadError::Source(error)),
            });
        }
        let copy = spool.into_copy();
        let copy = copy.map_err(|error| problem_of_spool(&SpoolError::Unwritable(error)))?;
        self.read(copy)
    }

    /// Reads a file and stores its pairs.
    fn read(&mut self, file: impl Read) -> Result<Imported, Problem> {
        let declared = self.declared;
        let hold = hold(self.door.account());
        let read = pair_file::read_holding(file, declared, hold, |pair| self.store(pair));
        let committed = self.flush();
        let format = read.map_err(|error| self.problem(error))?;
        committed?;
        let mut notes = Vec::new();
        let duplicates = self.duplicates.to_string();
        if !duplicates.is_empty() {
            notes.push(duplicates);
        }
        if declared.by_name.is_some_and(|named| named != format) {
            notes.push(format!(
                "read as {format}, which it is, whatever its name says"
            ));
        }
        Ok(Imported {
            stored: self.stored,
            expired: self.expired,
            duplicates: self
                .duplicates
                .found()
                .map(|(replaced, first)| DuplicateKeys {
                    replaced,
                    first_key: first.key.clone(),
                    first_lines: first.lines,
                }),
            notes,
        })
    }

    fn store(&mut self, pair: FilePair<'_>) -> Result<(), ErrorReply> {
        let (key, value) = (pair.key.as_bytes(), pair.value.bytes());
        let expires_at = pair.value.expires_at();
        if expires_at.is_some_and(|at| at <= now_ms()) {
            self.expired += 1;
            return Ok(());
        }
        if self.shutdown.is_cancelled() {
            return Err(ErrorReply::new(ErrorCode::Busy, STOPPING));
        }
        match expires_at {
            None => self.door.execute_deferred("SET", &[key, value])?,
            Some(at) => {
                let at = at.to_string();
                let words = [key, value, b"PXAT", at.as_bytes()];
                self.door.execute_deferred("SET", &words)?;
            }
        }
        self.duplicates.note(pair.key.as_bytes(), pair.line);
        self.stored += 1;
        self.unflushed_bytes += key.len() + value.len();
        if self.stored.is_multiple_of(PAIRS_PER_FLUSH) || self.unflushed_bytes >= BYTES_PER_FLUSH {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ErrorReply> {
        self.unflushed_bytes = 0;
        Handle::current().block_on(self.door.flush())
    }

    /// Makes the problem of an import that has ended early.
    fn problem(&self, error: ReadError<ErrorReply>) -> Problem {
        let mut done = BrokenImport {
            stored: self.stored,
            expired: self.expired,
            line: None,
            column: None,
        };
        let problem = match error {
            // It was cut by the server itself, as the client holds too much, or as it stops.
            ReadError::Fault(_) | ReadError::Source(_) if self.door.account().is_ended() => {
                self.door.account().over_budget().into()
            }
            ReadError::Fault(_) if self.shutdown.is_cancelled() => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, STOPPING)
            }
            ReadError::Fault(fault) => {
                (done.line, done.column) = (Some(fault.line), Some(fault.column));
                let detail =
                    format!("the file cannot be read: {fault}; correct it and import it again");
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            }
            ReadError::Refused(refusal) => refusal.into(),
            ReadError::Source(error) => {
                let cause = error.get_ref();
                if let Some(spool) = cause.and_then(|cause| cause.downcast_ref()) {
                    problem_of_spool(spool)
                } else if let Some(over) = cause.and_then(|cause| cause.downcast_ref()) {
                    OverBudget::clone(over).into()
                } else {
                    let detail = "the body has not arrived whole: send it again";
                    Problem::new(StatusCode::BAD_REQUEST, detail)
                }
            }
        };
        problem
            .and(&format!("pairs that were stored before: {}", self.stored))
            .of_import(done)
    }
}

/// Returns a function that charges memory to an account, until it is dropped.
fn hold(account: &Arc<Account>) -> impl FnMut(usize) -> io::Result<()> + use<> {
    let mut charge = account.charge();
    move |bytes| charge.set(bytes).map_err(io::Error::other)
}

fn problem_of_spool(error: &SpoolError) -> Problem {
    let (status, remedy) = match error {
        SpoolError::TooLong(_) => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "gzip it, or send it without all_or_nothing, or use pykv-cli import --all-or-nothing",
        ),
        SpoolError::Unwritable(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "send it without all_or_nothing, or make room there",
        ),
    };
    Problem::new(status, format!("{}; {remedy}", error_chain(error)))
}
