//! `POST /api/v1/batch`: several reads and changes in one atomic step.
//!
//! In: a list of operations, each with its key. Out: their results, in the same order. Promises: no other client's request is
//! executed between them, and no crash leaves a part of them; a batch that is refused has changed nothing.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body::{self, RequestedExpiry};
use super::condition::etag;
use super::offload::offload;
use crate::codec::json;
use crate::codec::key_text::{key_bytes, key_text};
use crate::http::compat::bodies::StoredValue;
use crate::http::descriptions::{TOO_LARGE, UNSAFE};
use crate::http::door::{Caller, OwnedReply, expiry_json};
use crate::http::input::{self, NoParameters, Parameters};
use crate::http::problem::{Problem, unfit};
use crate::model::{Key, Value};
use crate::protocol::{ErrorCode, ErrorReply};

/// Maximum number of operations in a batch, as the shards of all its keys are locked at once.
pub const BATCH_OPERATIONS_MAX: usize = 10_000;
/// Maximum total size of the values that a batch reads, in bytes, as its response is built in memory.
pub const BATCH_READ_BYTES_MAX: usize = 64 << 20;

/// Operations that are executed in one atomic step.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Batch, example = json!({"operations": [
    {"op": "get", "key": "user:101:name"},
    {"op": "put", "key": "session:7", "value": "Ada", "expires_in_ms": 60_000},
    {"op": "delete", "key": "session:6"}]}))]
pub struct BatchRequest<'a> {
    /// Operations in the order of their execution, at most 10,000.
    #[serde(borrow)]
    #[schema(max_items = 10_000)]
    operations: Vec<UnparsedOperation<'a>>,
}

/// Read or change of one key.
#[derive(Deserialize, ToSchema)]
#[schema(as = Step)]
#[serde(deny_unknown_fields)]
struct UnparsedOperation<'a> {
    op: Op,
    /// Key of the pair.
    #[serde(borrow)]
    #[schema(value_type = String)]
    key: Cow<'a, str>,
    /// Value to store; for a put only.
    #[serde(borrow, default, deserialize_with = "body::given")]
    #[schema(value_type = StoredValue, required = false)]
    value: Option<&'a RawValue>,
    /// Expiry of the pair (RFC 3339), in the future; null or absent for none. For a put only.
    #[serde(default)]
    expires_at: Option<String>,
    /// Time to live in milliseconds, at least 1. For a put only.
    #[serde(default, deserialize_with = "body::milliseconds")]
    #[schema(value_type = u64, required = false, minimum = 1, maximum = 250_000_000_000_000_u64)]
    expires_in_ms: Option<u64>,
    /// True to keep the expiry of the value that is replaced. For a put only.
    #[serde(default)]
    #[schema(required = false)]
    keep_expiry: bool,
}

/// Kind of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Op {
    /// Read the pair.
    Get,
    /// Store a value under the key.
    Put,
    /// Delete the key.
    Delete,
}

/// Results of a batch, in the order of its operations.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`write` writes its JSON directly")]
#[schema(as = BatchDone, example = json!({"results": [
    {"key": "user:101:name", "status": 200, "etag": "\"9b71d224...\"", "expires_at": null, "value": "Alice Johnson"},
    {"key": "session:7", "status": 201, "etag": "\"1f40fc92...\"", "expires_at": "2026-11-24T01:02:03.456Z"},
    {"key": "session:6", "status": 404}]}))]
pub struct BatchResults {
    results: Vec<OperationResult>,
}

/// Result of an operation.
#[derive(Serialize, ToSchema)]
#[schema(as = StepDone)]
struct OperationResult {
    key: String,
    /// HTTP status that the operation would have alone: 200, 201 for a new key, 204 for a deleted one, 404.
    #[schema(example = 200)]
    status: u16,
    /// ETag of the value that was read or stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    etag: Option<String>,
    /// Expiry of the pair that was read or stored (RFC 3339); null if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    expires_at: Option<Box<RawValue>>,
    /// Value that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = StoredValue)]
    value: Option<Box<RawValue>>,
}

/// Operation that has been parsed and checked against the limits.
enum BatchOperation {
    Get,
    Put(Vec<u8>, RequestedExpiry),
    Delete,
}

type Operations = Vec<(Vec<u8>, BatchOperation)>;

/// Execute several operations in one atomic step.
///
/// Operations are executed in their order, and later ones see the changes of earlier ones; no other client sees only some of them. If
/// the batch is refused, nothing was changed. A missing key is a result of its operation, not a reason to refuse the batch.
#[utoipa::path(post, path = "/api/v1/batch", tag = "Keys",
    request_body(content = BatchRequest<'static>, content_type = "application/json"),
    responses(
        (status = 200, description = "Done, and as safe as the server's `--durability` says.", body = BatchResults),
        (status = 400, description = "The body is not JSON or has not arrived whole.",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "An operation asks for what cannot be. Nothing was changed.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn batch(
    caller: Caller,
    _: Parameters<NoParameters>,
    request: Request,
) -> Result<Response, Problem> {
    let body = input::body(request).await?;
    let operations = offload(body.len(), move || parse(&body)).await?;
    let mut door = caller.door_for_bodies();
    let replies = {
        let words: Vec<_> = operations.iter().map(words_of).collect();
        let words: Vec<Vec<&[u8]>> = words
            .iter()
            .map(|words| words.iter().map(AsRef::as_ref).collect())
            .collect();
        let names = operations.iter().map(|(_, operation)| operation.name());
        let commands: Vec<_> = names.zip(words.iter().map(Vec::as_slice)).collect();
        door.transaction(&commands, too_long).await?
    };
    let bytes = replies.iter().map(value_bytes).sum();
    let body = offload(bytes, move || write(operations, replies)).await;
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((content_type, Body::from(body)).into_response())
}

/// Returns the arguments of an operation's command.
fn words_of((key, operation): &(Vec<u8>, BatchOperation)) -> Vec<Cow<'_, [u8]>> {
    let mut words = vec![Cow::Borrowed(&**key)];
    if let BatchOperation::Put(value, until) = operation {
        words.push(Cow::Borrowed(value));
        let options = until.options().into_iter().map(String::into_bytes);
        words.extend(options.map(Cow::Owned));
    }
    words
}

/// Returns an error if values of this total size are over [`BATCH_READ_BYTES_MAX`].
fn too_long(bytes: usize) -> Option<ErrorReply> {
    (bytes > BATCH_READ_BYTES_MAX).then(|| {
        let message = format!(
            "the values that are read have more than {BATCH_READ_BYTES_MAX} bytes together; nothing was changed. \
             Read them one by one"
        );
        ErrorReply::new(ErrorCode::TooLarge, message)
    })
}

fn value_bytes(reply: &OwnedReply) -> usize {
    match reply {
        OwnedReply::Found(value) => value.bytes().len(),
        _ => 0,
    }
}

/// Parses the operations of a body.
fn parse(body: &[u8]) -> Result<Operations, Problem> {
    let batch: BatchRequest<'_> = body::object(body)?;
    if batch.operations.len() > BATCH_OPERATIONS_MAX {
        return Err(unfit(format!(
            "there are {} operations, and a batch may have {BATCH_OPERATIONS_MAX}: send several batches",
            batch.operations.len()
        )));
    }
    let parsed = batch
        .operations
        .into_iter()
        .enumerate()
        .map(|(place, unparsed)| {
            unparsed
                .parse()
                .map_err(|problem| problem.of(&format!("operations[{place}]")))
        });
    parsed.collect()
}

impl UnparsedOperation<'_> {
    fn parse(self) -> Result<(Vec<u8>, BatchOperation), Problem> {
        Key::parse(self.key.as_bytes())?;
        let until = body::until(
            self.expires_at.as_deref(),
            self.expires_in_ms,
            self.keep_expiry,
        )?;
        let operation = match (self.op, self.value) {
            (Op::Put, Some(raw)) => {
                let value = body::value_of(raw.get())?;
                Value::parse(&value)?;
                BatchOperation::Put(value, until)
            }
            (Op::Put, None) => return Err(unfit("a put has no value: say which")),
            (_, Some(_)) => return Err(unfit("only a put takes a value")),
            _ if until != RequestedExpiry::Moment(None) => {
                return Err(unfit("only a put takes an expiry"));
            }
            (Op::Get, None) => BatchOperation::Get,
            (Op::Delete, None) => BatchOperation::Delete,
        };
        Ok((key_bytes(self.key).into_owned(), operation))
    }
}

impl BatchOperation {
    /// Returns the name of its command.
    fn name(&self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put(..) => "SET",
            Self::Delete => "DEL",
        }
    }
}

fn write(operations: Operations, replies: Vec<OwnedReply>) -> Vec<u8> {
    let mut json = b"{\"results\":[".to_vec();
    for (place, ((key, operation), reply)) in operations.into_iter().zip(replies).enumerate() {
        if place > 0 {
            json.push(b',');
        }
        let result = result_of(&key, &operation, &reply);
        serde_json::to_writer(&mut json, &result).expect("plain fields are always JSON");
    }
    json.extend_from_slice(b"]}");
    json
}

/// Makes the result of an operation from its reply.
fn result_of(key: &[u8], operation: &BatchOperation, reply: &OwnedReply) -> OperationResult {
    let done = |status: StatusCode| OperationResult {
        key: key_text(key).into_owned(),
        status: status.as_u16(),
        etag: None,
        expires_at: None,
        value: None,
    };
    match (operation, reply) {
        (_, OwnedReply::Found(found)) => {
            let value = Value::parse(found.bytes()).expect("it was read from the store");
            let mut json = Vec::new();
            json::write_value(&mut json, value);
            OperationResult {
                etag: Some(etag(found.bytes())),
                expires_at: Some(raw(expiry_json(found.expires_at()).into_bytes())),
                value: Some(raw(json)),
                ..done(StatusCode::OK)
            }
        }
        (BatchOperation::Put(value, _), OwnedReply::Stored(stored)) => OperationResult {
            etag: Some(etag(value)),
            expires_at: Some(raw(expiry_json(stored.expires_at).into_bytes())),
            ..done(if stored.is_new {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            })
        },
        (BatchOperation::Delete, OwnedReply::Number(1)) => done(StatusCode::NO_CONTENT),
        _ => done(StatusCode::NOT_FOUND),
    }
}

fn raw(json: Vec<u8>) -> Box<RawValue> {
    let text = String::from_utf8(json).expect("it was written as text");
    RawValue::from_string(text).expect("it was written as JSON")
}
