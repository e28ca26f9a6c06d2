//! `POST /api/v1/batch`: several reads and changes in one step.
//!
//! In: a list of what is to be done, each with its key. Out: how each has ended, in the same order. Promises: nobody comes between
//! them and no crash leaves a part of them; a batch that is refused has changed nothing.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::body::{self, Until, unfit};
use super::condition::etag;
use super::offload::offload;
use crate::codec::json;
use crate::command::Service;
use crate::http::compat::bodies::StoredValue;
use crate::http::descriptions::{OTHER_SITE, TOO_LARGE, UNSAFE};
use crate::http::door::{Door, Told, expiry_json};
use crate::http::input;
use crate::http::problem::Problem;
use crate::model::{Key, Value};
use crate::protocol::{ErrorCode, ErrorReply};

/// The most operations of a batch: the shards of all its keys are locked at once.
pub const BATCH_OPERATIONS_MAX: usize = 10_000;
/// The most bytes of values that a batch reads: its answer is made in memory.
pub const BATCH_READ_BYTES_MAX: usize = 64 << 20;

/// What is to be done in one step.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"operations": [
    {"op": "get", "key": "user:101:name"},
    {"op": "put", "key": "session:7", "value": "Ada", "expires_in_ms": 60_000},
    {"op": "delete", "key": "session:6"}]}))]
pub struct Batch<'a> {
    /// What is done, one after the other: up to 10,000.
    #[serde(borrow)]
    operations: Vec<Step<'a>>,
}

/// A read or a change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Step<'a> {
    op: Op,
    /// The key.
    #[serde(borrow)]
    #[schema(value_type = String)]
    key: Cow<'a, str>,
    /// For a put: the value.
    #[serde(borrow, default)]
    #[schema(value_type = StoredValue, required = false)]
    value: Option<&'a RawValue>,
    /// For a put: when it expires (RFC 3339); null: it stays.
    #[serde(default)]
    expires_at: Option<String>,
    /// For a put: in how many milliseconds it expires, from 1 on.
    #[serde(default)]
    #[schema(nullable = false)]
    expires_in_ms: Option<u64>,
    /// For a put: whether it expires when the value before it would have.
    #[serde(default)]
    #[schema(required = false)]
    keep_expiry: bool,
}

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Op {
    /// Its pair is read.
    Get,
    /// A value is stored under it.
    Put,
    /// It is deleted.
    Delete,
}

/// How each operation has ended, in their order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`write` writes it as it goes")]
#[schema(example = json!({"results": [
    {"key": "user:101:name", "status": 200, "etag": "\"9b71d224...\"", "expires_at": null, "value": "Alice Johnson"},
    {"key": "session:7", "status": 201, "etag": "\"1f40fc92...\"", "expires_at": "2026-11-24T01:02:03.456Z"},
    {"key": "session:6", "status": 404}]}))]
pub struct BatchDone {
    results: Vec<StepDone>,
}

/// How an operation has ended.
#[derive(Serialize, ToSchema)]
struct StepDone {
    key: String,
    /// As if it had been asked for alone: 200, 201 for a new key, 204 for one that is deleted, 404.
    #[schema(example = 200)]
    status: u16,
    /// The ETag of a value that was read or stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    etag: Option<String>,
    /// Of a pair that was read or stored: when it expires (RFC 3339); null: it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    expires_at: Option<Box<RawValue>>,
    /// What was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = StoredValue)]
    value: Option<Box<RawValue>>,
}

/// An operation whose limits have been checked.
enum Operation {
    Get,
    Put(Vec<u8>, Until),
    Delete,
}

type Operations = Vec<(String, Operation)>;

/// Do several things in one step.
///
/// Reads and changes are done one after the other, and nobody sees a part of them; later ones see what earlier ones have done. If
/// the batch is refused, nothing was changed. That a key is not there is the result of its operation, and no reason to refuse.
#[utoipa::path(post, path = "/api/v1/batch", tag = "Keys",
    request_body(content = Batch<'static>, content_type = "application/json"),
    responses(
        (status = 200, description = "Done, and as safe as the server's `--durability` says.", body = BatchDone),
        (status = 400, description = "The body is not JSON or has not arrived whole.",
            body = Problem, content_type = "application/problem+json"),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "An operation asks for what cannot be. Nothing was changed.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn batch(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Problem> {
    let body = input::body(request).await?;
    let operations = offload(body.len(), move || read(&body)).await?;
    let mut door = Door::for_bodies(&service);
    let told = {
        let words: Vec<_> = operations.iter().map(words_of).collect();
        let words: Vec<Vec<&[u8]>> = words
            .iter()
            .map(|words| words.iter().map(AsRef::as_ref).collect())
            .collect();
        let names = operations.iter().map(|(_, operation)| operation.name());
        let commands: Vec<_> = names.zip(words.iter().map(Vec::as_slice)).collect();
        door.transaction(&commands, too_long).await?
    };
    let bytes = told.iter().map(value_bytes).sum();
    let answer = offload(bytes, move || write(operations, told)).await;
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    Ok((content_type, Body::from(answer)).into_response())
}

/// Returns the arguments of an operation's command.
fn words_of((key, operation): &(String, Operation)) -> Vec<Cow<'_, [u8]>> {
    let mut words = vec![Cow::Borrowed(key.as_bytes())];
    if let Operation::Put(value, until) = operation {
        words.push(Cow::Borrowed(value));
        let options = until.options().into_iter().map(String::into_bytes);
        words.extend(options.map(Cow::Owned));
    }
    words
}

/// Returns the error for values of so many bytes, if they are over [`BATCH_READ_BYTES_MAX`].
fn too_long(bytes: usize) -> Option<ErrorReply> {
    (bytes > BATCH_READ_BYTES_MAX).then(|| {
        let message = format!(
            "the values that are read have more than {BATCH_READ_BYTES_MAX} bytes together; nothing was changed. \
             Read them one by one"
        );
        ErrorReply::new(ErrorCode::TooLarge, message)
    })
}

fn value_bytes(told: &Told) -> usize {
    match told {
        Told::Found(value) => value.bytes().len(),
        _ => 0,
    }
}

/// The operations that a body asks for.
fn read(body: &Bytes) -> Result<Operations, Problem> {
    let asked: Batch<'_> = body::object(body)?;
    if asked.operations.len() > BATCH_OPERATIONS_MAX {
        return Err(unfit(format!(
            "there are {} operations, and a batch may have {BATCH_OPERATIONS_MAX}: send several batches",
            asked.operations.len()
        )));
    }
    let read = asked
        .operations
        .into_iter()
        .enumerate()
        .map(|(place, asking)| {
            asking
                .read()
                .map_err(|problem| problem.of(&format!("operations[{place}]")))
        });
    read.collect()
}

impl Step<'_> {
    fn read(self) -> Result<(String, Operation), Problem> {
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
                Operation::Put(value, until)
            }
            (Op::Put, None) => return Err(unfit("a put has no value: say which")),
            (_, Some(_)) => return Err(unfit("only a put takes a value")),
            _ if until != Until::Moment(None) => return Err(unfit("only a put takes an expiry")),
            (Op::Get, None) => Operation::Get,
            (Op::Delete, None) => Operation::Delete,
        };
        Ok((self.key.into_owned(), operation))
    }
}

impl Operation {
    /// Returns the command that does it.
    fn name(&self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put(..) => "SET",
            Self::Delete => "DEL",
        }
    }
}

fn write(operations: Operations, told: Vec<Told>) -> Vec<u8> {
    let mut answer = b"{\"results\":[".to_vec();
    for (place, ((key, operation), told)) in operations.into_iter().zip(told).enumerate() {
        if place > 0 {
            answer.push(b',');
        }
        let ended = step_done(key, &operation, &told);
        serde_json::to_writer(&mut answer, &ended).expect("plain fields are always JSON");
    }
    answer.extend_from_slice(b"]}");
    answer
}

/// Returns the result of an operation.
fn step_done(key: String, operation: &Operation, told: &Told) -> StepDone {
    let done = |status: StatusCode| StepDone {
        key,
        status: status.as_u16(),
        etag: None,
        expires_at: None,
        value: None,
    };
    match (operation, told) {
        (_, Told::Found(found)) => {
            let value = Value::parse(found.bytes()).expect("it was read from the store");
            let mut json = Vec::new();
            json::write_value(&mut json, value);
            StepDone {
                etag: Some(etag(found.bytes())),
                expires_at: Some(raw(expiry_json(found.expires_at()).into_bytes())),
                value: Some(raw(json)),
                ..done(StatusCode::OK)
            }
        }
        (Operation::Put(value, _), Told::Stored(stored)) => StepDone {
            etag: Some(etag(value)),
            expires_at: Some(raw(expiry_json(stored.expires_at).into_bytes())),
            ..done(if stored.is_new {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            })
        },
        (Operation::Delete, Told::Number(1)) => done(StatusCode::NO_CONTENT),
        _ => done(StatusCode::NOT_FOUND),
    }
}

fn raw(json: Vec<u8>) -> Box<RawValue> {
    let text = String::from_utf8(json).expect("it was written as text");
    RawValue::from_string(text).expect("it was written as JSON")
}
