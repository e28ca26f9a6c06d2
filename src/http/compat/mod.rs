//! The API of the older `PyKV` program, for its dashboard and its clients.
//!
//! In: HTTP. Out: the older program's bodies, byte for byte. Deliberate differences: `POST /put` also accepts a JSON body; a missing
//! key is a 404; a key may contain any character, slashes included; `GET /all` is streamed; text that is not UTF-8 is refused,
//! not replaced.

pub mod bodies;

use axum::Json;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::descriptions::{LOADING, TOO_LARGE, UNSAFE};
use super::door::{Caller, CommandResult, OwnedReply};
use super::figures::figures;
use super::input::{self, ExactKey, PathKey};
use super::responses;
use crate::command::Status;
use bodies::{Detail, Invalid, Message, NotFound, Stored, StoredValue};
use bodies::{detail, message};

/// Store a value under a key.
///
/// Key and value are in the query. A pair that is too long for a URL may be sent as a JSON object instead, without a query:
/// `{"key": "...", "value": "..."}`; of a body, only what the query lacks is read.
#[utoipa::path(post, path = "/put", tag = "Pairs",
    params(
        ("key" = String, Query, description = "The key: any text up to 64 KiB, the empty one included. The last one counts.",
            example = "user:101:name"),
        ("value" = String, Query, description = "The value: any text up to 64 MiB, the empty one included. The last one counts.",
            example = "Alice Johnson")),
    responses(
        (status = 200, description = "Stored, and as safe as the server's `--durability` says.", body = Message,
            example = json!({"message": "Key stored successfully"})),
        (status = 400, description = "The body has not arrived whole.", body = Detail),
        (status = 413, description = TOO_LARGE, body = Detail),
        (status = 422, description = "A field is missing, or is not text.", body = Invalid),
        (status = 503, description = UNSAFE, body = Detail)))]
pub(super) async fn put(caller: Caller, request: Request) -> Response {
    let uri = request.uri().clone();
    let body = match input::body(request).await {
        Ok(body) => body,
        Err(problem) => return problem.into_older(),
    };
    let (key, value) = match input::pair(uri.query().unwrap_or_default(), &body) {
        Ok(pair) => pair,
        Err(faults) => return bodies::invalid(faults),
    };
    // The pair has been copied from it, and it may be long.
    drop(body);
    let words = [&*key, value.as_bytes()];
    match caller.door().execute("PUT", &words).await {
        Ok(_) => message("Key stored successfully"),
        Err(refused) => refused.into_older(),
    }
}

/// Read the value of a key.
#[utoipa::path(get, path = "/get/{key}", tag = "Pairs",
    params(("key" = String, Path, description = "The key, percent-encoded: `a%2Fb` is `a/b`. Nothing at all is the empty key.",
        example = "user:101:name")),
    responses(
        (status = 200, description = "The pair.", body = Stored),
        (status = 404, description = "There is no such key.", body = NotFound),
        (status = 413, description = TOO_LARGE, body = Detail),
        (status = 422, description = "The key is not UTF-8.", body = Detail),
        (status = 503, description = LOADING, body = Detail)))]
pub(super) async fn get_key(caller: Caller, path: PathKey) -> Response {
    let key = match path.key() {
        Ok(key) => key,
        Err(problem) => return problem.into_older(),
    };
    match caller
        .door()
        .execute("GET", &[&key])
        .await
        .map(CommandResult::first)
    {
        Ok(OwnedReply::Found(value)) => responses::pair(&key, value),
        Ok(_) => bodies::not_found(),
        Err(refused) => refused.into_older(),
    }
}

/// Delete a key.
#[utoipa::path(delete, path = "/delete/{key}", tag = "Pairs",
    params(("key" = String, Path, description = "The key, percent-encoded: `a%2Fb` is `a/b`. Clients and proxies remove empty \
        segments, `.` and `..` from a path: a key that is empty, or has such a segment, is deleted by `/api/v1/key?key=...` alone.",
        example = "user:101:name")),
    responses(
        (status = 200, description = "Deleted.", body = Message, example = json!({"message": "Key deleted successfully"})),
        (status = 400, description = "The path may have had another key before it was normalized. Nothing was deleted.", body = Detail),
        (status = 404, description = "There is no such key.", body = Detail, example = json!({"detail": "Key not found"})),
        (status = 413, description = TOO_LARGE, body = Detail),
        (status = 422, description = "The key is not UTF-8.", body = Detail),
        (status = 503, description = UNSAFE, body = Detail)))]
pub(super) async fn delete_key(caller: Caller, exact: ExactKey) -> Response {
    let key = match exact.key() {
        Ok(key) => key,
        Err(problem) => return problem.into_older(),
    };
    match caller.door().execute("DEL", &[&key]).await {
        Ok(result) if result.status == Status::NotFound => {
            detail(StatusCode::NOT_FOUND, "Key not found")
        }
        Ok(_) => message("Key deleted successfully"),
        Err(refused) => refused.into_older(),
    }
}

/// Read all pairs.
///
/// The response is one JSON object, in no order. It is streamed, as it may be as long as the store.
#[utoipa::path(get, path = "/all", tag = "Pairs",
    responses(
        (status = 200, description = "All pairs.", body = HashMap<String, StoredValue>,
            example = json!({"config:mode": "production", "user:101:name": "Alice Johnson", "logo": {"$base64": "AP8="}})),
        (status = 503, description = LOADING, body = Detail)))]
pub(super) async fn all(caller: Caller) -> Response {
    let mut door = caller.door();
    match door.open_stream("ALL", &[]).await {
        Ok(stream) => responses::all(door, stream),
        Err(refused) => refused.into_older(),
    }
}

/// Delete every key.
#[utoipa::path(delete, path = "/clear", tag = "Pairs",
    responses(
        (status = 200, description = "The store is empty.", body = Message,
            example = json!({"message": "Store cleared successfully"})),
        (status = 503, description = UNSAFE, body = Detail)))]
pub(super) async fn clear(caller: Caller) -> Response {
    match caller.door().execute("CLEAR", &[]).await {
        Ok(_) => message("Store cleared successfully"),
        Err(refused) => refused.into_older(),
    }
}

/// Read the server's figures.
///
/// The same as STATS on the text port: numbers, text, and null for a figure that is not known yet.
#[utoipa::path(get, path = "/stats", tag = "Server",
    responses(
        (status = 200, description = "Figures by name.", body = HashMap<String, serde_json::Value>,
            example = json!({"version": "0.1.0", "keys": 10, "memory_bytes": 9_437_184, "requests_per_second": 12.4,
                "last_save_time": "2026-11-23T01:02:03.456Z", "last_save_result": "ok", "command_put": 10})),
        (status = 503, description = LOADING, body = Detail)))]
pub(super) async fn stats(caller: Caller) -> Response {
    match figures(&caller).await {
        Ok(figures) => Json(figures).into_response(),
        Err(refused) => refused.into_older(),
    }
}
