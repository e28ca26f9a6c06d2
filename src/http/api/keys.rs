//! `/api/v1/key?key=...` and `/api/v1/keys/{key}`: a pair with its expiry, and conditional changes.
//!
//! In: HTTP. Out: JSON, and ETags. Promises: value and expiry are read at the same moment; a condition and its change are one atomic
//! step, so that of two clients that change the same version, only one succeeds; hashing a long value delays no other request.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};

use super::body::{self, NewExpiry, NewValue, PairExpiry, PairWithExpiry};
use super::condition::{Conditions, ExistenceCondition, Unmet, etag, etag_of_version};
use super::offload::offload;
use crate::command::{Service, Status};
use crate::http::descriptions::{LOADING, TOO_LARGE, UNSAFE};
use crate::http::door::{Caller, CommandWords, Door, FoundValue, OwnedReply};
use crate::http::input::ExactKey;
use crate::http::problem::Problem;
use crate::http::{input, responses};
use crate::model::{Key, UnixMs};

/// Maximum number of times that a conditional change is tried: another client that changes the key all the time must not keep a
/// request, and its hashing of the value, for ever.
const CHANGE_TRIES_MAX: usize = 100;

/// Description of 412.
const UNMET: &str = "A condition does not hold. Nothing was changed.";
/// Description of 422 for a request without a body.
const NO_KEY: &str = "The key is not UTF-8, or the query is not `key=...` alone.";
/// Description of a key in a path.
const IN_PATH: &str = "The key, percent-encoded: `a%2Fb` is `a/b`. Clients and proxies remove empty segments, `.` and `..` from a path: \
     a key that is empty, or has such a segment, is sent by `/api/v1/key?key=...` alone.";
/// Description of a key in a query.
pub const IN_QUERY: &str = "The key, percent-encoded: any text, the empty one included. It reaches the server unchanged by any client.";
/// Description of 400 for a request without a body.
const UNREADABLE: &str =
    "A condition cannot be read, or the path may have had another key before it was normalized.";
/// Description of 400 for a request with a body.
const UNREADABLE_BODY: &str = "The body is not JSON or has not arrived whole, a condition cannot be read, or the path may have had \
     another key before it was normalized.";
/// Description of `If-Match`. Neither has an example, which a page to try the request would send.
const IF_MATCH: &str = "Only if the value has one of these ETags, such as `\"9b71d224...\"`; `*`: only if there is one.";
/// Description of `If-None-Match`.
const IF_NONE_MATCH: &str =
    "Only if the value has none of these ETags; `*`: only if there is none.";

/// Returns the handlers of the methods of a pair.
pub fn methods() -> MethodRouter<Arc<Service>> {
    routing::get(get).put(put).patch(patch).delete(delete)
}

/// Read a pair and its expiry.
///
/// The ETag changes whenever the value does, and only then. A long value is streamed.
#[utoipa::path(get, path = "/api/v1/keys/{key}", operation_id = "get_pair", tag = "Keys",
    params(
        ("key" = String, Path, description = IN_PATH,
            example = "session:7"),
        ("If-None-Match" = Option<String>, Header, description = "304 if the value still has one of these ETags."),
        ("If-Match" = Option<String>, Header, description = IF_MATCH)),
    responses(
        (status = 200, description = "The pair.", body = PairWithExpiry,
            headers(("ETag" = String, description = "The ETag of the value."))),
        (status = 304, description = "The value is the one that the client has."),
        (status = 400, description = UNREADABLE, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = UNMET, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = NO_KEY, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn get(caller: Caller, exact: ExactKey, headers: HeaderMap) -> Result<Response, Problem> {
    let conditions = Conditions::parse(&headers)?;
    let key = exact.key()?;
    let mut door = caller.door_for_bodies();
    let result = door.execute("GET", &[&key]).await?;
    let OwnedReply::Found(value) = result.first() else {
        return Err(no_such_key());
    };
    let (value, etag) = with_etag(value).await;
    let mut response = match conditions.check(Some(&etag)) {
        Ok(()) => responses::pair_with_expiry(&key, value),
        Err(Unmet::NoneMatch) => StatusCode::NOT_MODIFIED.into_response(),
        Err(unmet) => return Err(unmet.into()),
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, header_of(&etag));
    // A cache may keep it, and must revalidate it before each use.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Returns the value and its ETag; the hash of a long value is computed on another thread.
async fn with_etag(value: FoundValue) -> (FoundValue, String) {
    offload(value.bytes().len(), move || {
        let etag = etag(value.bytes());
        (value, etag)
    })
    .await
}

/// Store a value under a key.
///
/// The body may set the expiry: `expires_at`, `expires_in_ms` or `keep_expiry`; without one the pair does not expire. With `If-Match`
/// and the ETag of an earlier read, the value is stored only if it has not changed since.
#[utoipa::path(put, path = "/api/v1/keys/{key}", operation_id = "put_pair", tag = "Keys",
    params(
        ("key" = String, Path, description = IN_PATH,
            example = "session:7"),
        ("If-Match" = Option<String>, Header, description = IF_MATCH),
        ("If-None-Match" = Option<String>, Header, description = IF_NONE_MATCH)),
    request_body(content = NewValue<'static>, content_type = "application/json"),
    responses(
        (status = 200, description = "Stored in the place of another value, and as safe as the server's `--durability` says.",
            body = PairExpiry, headers(("ETag" = String, description = "The ETag of the value."))),
        (status = 201, description = "Stored where there was no such key.",
            body = PairExpiry, headers(("ETag" = String, description = "The ETag of the value."))),
        (status = 400, description = UNREADABLE_BODY,
            body = Problem, content_type = "application/problem+json"),
        (status = 412, description = UNMET, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The body asks for what cannot be, the key is not UTF-8, or the query is not `key=...` alone.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn put(caller: Caller, exact: ExactKey, request: Request) -> Result<Response, Problem> {
    let conditions = Conditions::parse(request.headers());
    let body = input::body(request).await?;
    let key = exact.key()?;
    let (_, conditions) = (Key::parse(&key)?, conditions?);
    let parsed = offload(body.len(), move || {
        let (value, until) = body::new_value(&body)?;
        let etag = etag(&value);
        Ok::<_, Problem>((value, until, etag))
    });
    let (value, until, etag) = parsed.await?;
    let mut words = vec![&*key, &*value];
    let until = until.options();
    words.extend(until.iter().map(String::as_bytes));
    let mut door = caller.door_for_bodies();
    let reply = match conditions.existence() {
        Some(existence) => {
            words.extend(existence.option());
            door.execute("SET", &words).await?.first()
        }
        None => {
            change_if(
                &mut door,
                &key,
                &conditions,
                OnMissing::Create,
                ("SET", &words),
            )
            .await?
        }
    };
    match reply {
        OwnedReply::Stored(stored) => {
            let status = if stored.is_new {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            let mut response = expiry_of(&key, stored.expires_at);
            *response.status_mut() = status;
            response
                .headers_mut()
                .insert(header::ETAG, header_of(&etag));
            Ok(response)
        }
        _ if conditions.existence() == Some(ExistenceCondition::Exists) => Err(Unmet::Match.into()),
        _ => Err(Unmet::NoneMatch.into()),
    }
}

/// Set the expiry of a key.
///
/// The value does not change, nor does its ETag.
#[utoipa::path(patch, path = "/api/v1/keys/{key}", operation_id = "set_expiry", tag = "Keys",
    params(
        ("key" = String, Path, description = IN_PATH,
            example = "session:7"),
        ("If-Match" = Option<String>, Header, description = IF_MATCH)),
    request_body(content = NewExpiry, content_type = "application/json"),
    responses(
        (status = 200, description = "Set, and as safe as the server's `--durability` says.", body = PairExpiry),
        (status = 400, description = UNREADABLE_BODY,
            body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = UNMET, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The body asks for what cannot be, the key is not UTF-8, or the query is not `key=...` alone.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn patch(caller: Caller, exact: ExactKey, request: Request) -> Result<Response, Problem> {
    let conditions = Conditions::parse(request.headers());
    let body = input::body(request).await?;
    let key = exact.key()?;
    let (_, conditions) = (Key::parse(&key)?, conditions?);
    let expires_at = offload(body.len(), move || body::new_expiry(&body)).await?;
    let moment = expires_at.map(|at| at.to_string());
    let words = [Some(&*key), moment.as_ref().map(String::as_bytes)];
    let words: Vec<&[u8]> = words.into_iter().flatten().collect();
    let command = (expires_at.map_or("PERSIST", |_| "PEXPIREAT"), &*words);
    change(&caller, &key, &conditions, command).await?;
    Ok(expiry_of(&key, expires_at))
}

/// Delete a key.
#[utoipa::path(delete, path = "/api/v1/keys/{key}", operation_id = "delete_pair", tag = "Keys",
    params(
        ("key" = String, Path, description = IN_PATH,
            example = "session:7"),
        ("If-Match" = Option<String>, Header, description = IF_MATCH)),
    responses(
        (status = 204, description = "Deleted."),
        (status = 400, description = UNREADABLE, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = UNMET, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = NO_KEY, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn delete(
    caller: Caller,
    exact: ExactKey,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let conditions = Conditions::parse(&headers)?;
    let key = exact.key()?;
    change(&caller, &key, &conditions, ("DEL", &[&key])).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Executes a change of a key that must exist, under conditions.
///
/// # Errors
/// 404 if the key does not exist, 412 if a condition does not hold, or the error reply of the command.
async fn change(
    caller: &Caller,
    key: &[u8],
    conditions: &Conditions,
    command: CommandWords<'_>,
) -> Result<(), Problem> {
    let mut door = caller.door_for_bodies();
    if conditions.existence() == Some(ExistenceCondition::None) {
        let result = door.execute(command.0, command.1).await?;
        return match result.status {
            Status::NotFound => Err(no_such_key()),
            _ => Ok(()),
        };
    }
    change_if(&mut door, key, conditions, OnMissing::Refuse, command).await?;
    Ok(())
}

/// Behaviour of a conditional change when its key does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnMissing {
    /// Apply the conditions.
    Create,
    /// Return 404, whatever the conditions are (RFC 9110, section 13.2.1).
    Refuse,
}

/// Executes a command if the conditions hold for the value of a key; returns its reply. The key is watched (optimistic locking)
/// while its version is computed and compared, which takes time for a long value; after a concurrent change, it is tried again, up
/// to [`CHANGE_TRIES_MAX`] times.
///
/// # Errors
/// 404 if the key does not exist and `on_missing` refuses that, 412 if a condition does not hold, 503 if there was a concurrent
/// change each time, or the error reply of a command.
async fn change_if(
    door: &mut Door,
    key: &[u8],
    conditions: &Conditions,
    on_missing: OnMissing,
    (name, words): CommandWords<'_>,
) -> Result<OwnedReply, Problem> {
    let mut tries = Tries::default();
    loop {
        tries.begin()?;
        door.execute("WATCH", &[key]).await?;
        let etag = match door.execute("VERSION", &[key]).await?.first() {
            OwnedReply::Bytes(version) => Some(etag_of_version(&String::from_utf8_lossy(&version))),
            _ => None,
        };
        // That a condition does not hold is told of a state that is durable only.
        door.flush().await?;
        if on_missing == OnMissing::Refuse && etag.is_none() {
            return Err(no_such_key());
        }
        conditions.check(etag.as_deref())?;
        door.execute("MULTI", &[]).await?;
        door.execute(name, words).await?;
        let executed = door.execute("EXEC", &[]).await?;
        let mut replies = executed.replies.into_iter();
        if let Some(OwnedReply::Array) = replies.next() {
            return Ok(replies.next().expect("one command has one reply"));
        }
    }
}

/// Number of tries of a conditional change.
#[derive(Default)]
struct Tries(usize);

impl Tries {
    /// Counts a try.
    ///
    /// # Errors
    /// 503 after [`CHANGE_TRIES_MAX`] of them.
    fn begin(&mut self) -> Result<(), Problem> {
        self.0 += 1;
        if self.0 <= CHANGE_TRIES_MAX {
            return Ok(());
        }
        let reason = format!(
            "other clients have changed the key during each of {CHANGE_TRIES_MAX} tries; nothing was changed. Send the \
             request again"
        );
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason))
    }
}

fn no_such_key() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such key")
}

fn header_of(etag: &str) -> HeaderValue {
    HeaderValue::from_str(etag).expect("digits and quotes")
}

fn expiry_of(key: &[u8], expires_at: Option<UnixMs>) -> Response {
    responses::key_with_expiry(key, expires_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_always_meets_another_one_ends_after_a_hundred_tries() {
        let mut tries = Tries::default();
        for _ in 0..100 {
            assert!(tries.begin().is_ok());
        }
        let response = tries.begin().expect_err("no try is left").into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
