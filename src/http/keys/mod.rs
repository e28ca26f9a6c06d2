//! `/api/v1/keys/{key}`: a pair with its expiry, and changes under conditions.
//!
//! In: HTTP. Out: JSON, and ETags. Promises: value and expiry are those of one moment; a change is made under its conditions in one
//! step, so that of two who change what both have read, one does; a long value keeps no other request waiting.

pub mod batch;
mod body;
mod condition;
mod turn;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get as on_get};
use axum::{Json, Router};

use super::docs::{LOADING, OTHER_SITE, TOO_LARGE, UNSAFE};
use super::problem::Problem;
use super::{input, pairs};
use crate::codec::json;
use crate::command::Service;
use crate::engine::WriteTransaction;
use crate::model::entry::Entry;
use crate::model::{Key, UnixMs, Value};
use body::{Expiry, Found, NewExpiry, NewValue};
use condition::{Conditions, Unmet, etag};
use turn::Turn;

const ROUTE: &str = "/api/v1/keys/";

/// What takes as long as more bytes than these is done beside the threads that serve others.
const AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// What 412 says.
const UNMET: &str = "A condition does not hold. Nothing was changed.";
/// What 422 says of a request without a body.
const NO_KEY: &str = "The key is not UTF-8.";
/// What `If-Match` means.
const IF_MATCH: &str = "Only if the value has one of these ETags; `*`: only if there is one.";
/// What `If-None-Match` means.
const IF_NONE_MATCH: &str =
    "Only if the value has none of these ETags; `*`: only if there is none.";

/// The routes. They know the same methods for every key.
pub fn router() -> Router<Arc<Service>> {
    let methods: MethodRouter<_> = on_get(get).put(put).patch(patch).delete(delete);
    Router::new()
        .route("/api/v1/keys/", methods.clone())
        .route("/api/v1/keys/{*key}", methods)
}

/// Read a pair and its expiry.
///
/// The ETag is that of the value: it changes whenever the value does, and only then. A long value is streamed.
#[utoipa::path(get, path = "/api/v1/keys/{key}", operation_id = "get_pair", tag = "Keys",
    params(
        ("key" = String, Path, description = "The key, percent-encoded: `a%2Fb` is `a/b`. Nothing at all is the empty key.",
            example = "session:7"),
        ("If-None-Match" = Option<String>, Header, description = "304 if the value still has one of these ETags.",
            example = "\"9b71d224...\""),
        ("If-Match" = Option<String>, Header, description = IF_MATCH, example = "\"9b71d224...\"")),
    responses(
        (status = 200, description = "The pair.", body = Found,
            headers(("ETag" = String, description = "The ETag of the value."))),
        (status = 304, description = "The value is the one that the client has."),
        (status = 400, description = "A condition cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = UNMET, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = NO_KEY, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = input::key(&uri, ROUTE);
    let conditions = Conditions::read(&headers)?;
    let mut turn = Turn::begin(&service, "GET", Key::parse(&key)?);
    let done = show(&mut turn, &conditions).await;
    Ok(turn.end(done).await)
}

async fn show(turn: &mut Turn<'_>, conditions: &Conditions) -> Result<Response, Problem> {
    let entry = turn.find()?;
    turn.read(entry.is_some());
    let entry = entry.ok_or_else(no_such_key)?;
    let etag = etag_of(&entry).await;
    let mut response = match conditions.check(Some(&etag)) {
        Ok(()) => pairs::one_with_expiry(entry),
        Err(Unmet::NoneMatch) => StatusCode::NOT_MODIFIED.into_response(),
        Err(unmet) => return Err(unmet.into()),
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, header_of(&etag));
    // A cache that keeps it must ask whether it is still so.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Store a value under a key.
///
/// The body says when it expires: `expires_at`, `expires_in_ms`, or `keep_expiry`; else it stays. With `If-Match` and the ETag of
/// what was read, it is stored only if nobody has changed the value since.
#[utoipa::path(put, path = "/api/v1/keys/{key}", operation_id = "put_pair", tag = "Keys",
    params(
        ("key" = String, Path, description = "The key, percent-encoded: `a%2Fb` is `a/b`. Nothing at all is the empty key.",
            example = "session:7"),
        ("If-Match" = Option<String>, Header, description = IF_MATCH, example = "\"9b71d224...\""),
        ("If-None-Match" = Option<String>, Header, description = IF_NONE_MATCH, example = "*")),
    request_body(content = NewValue<'static>, content_type = "application/json"),
    responses(
        (status = 200, description = "Stored in the place of another value, and as safe as the server's `--durability` says.",
            body = Expiry, headers(("ETag" = String, description = "The ETag of the value."))),
        (status = 201, description = "Stored where there was no such key.",
            body = Expiry, headers(("ETag" = String, description = "The ETag of the value."))),
        (status = 400, description = "The body is not JSON or has not arrived whole, or a condition cannot be read.",
            body = Problem, content_type = "application/problem+json"),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 412, description = UNMET, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The body asks for what cannot be, or the key is not UTF-8.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn put(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Problem> {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let body = input::body(request).await?;
    let key = input::key(&uri, ROUTE);
    let (key, conditions) = (Key::parse(&key)?, Conditions::read(&headers)?);
    let asked = aside(body.len(), move || {
        let (value, until) = body::new_value(&body)?;
        let etag = etag(&value);
        Ok::<_, Problem>((value, until, etag))
    });
    let (value, until, etag) = asked.await?;
    let mut turn = Turn::begin(&service, "SET", key);
    let done = change_if(&mut turn, &conditions, true, |group, old| {
        let expires_at = until.after(old);
        group.put(key, Value::parse_until(&value, expires_at)?);
        let status = old.map_or(StatusCode::CREATED, |_| StatusCode::OK);
        Ok((status, expires_at))
    });
    let done = done.await.map(|(status, expires_at)| {
        let etag = [(header::ETAG, header_of(&etag))];
        (status, etag, expiry_of(key, expires_at)).into_response()
    });
    Ok(turn.end(done).await)
}

/// Set when a key expires.
///
/// The value stays as it is, and so does its ETag.
#[utoipa::path(patch, path = "/api/v1/keys/{key}", operation_id = "set_expiry", tag = "Keys",
    params(
        ("key" = String, Path, description = "The key, percent-encoded: `a%2Fb` is `a/b`. Nothing at all is the empty key.",
            example = "session:7"),
        ("If-Match" = Option<String>, Header, description = IF_MATCH, example = "\"9b71d224...\"")),
    request_body(content = NewExpiry, content_type = "application/json"),
    responses(
        (status = 200, description = "Set, and as safe as the server's `--durability` says.", body = Expiry),
        (status = 400, description = "The body is not JSON or has not arrived whole, or a condition cannot be read.",
            body = Problem, content_type = "application/problem+json"),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = UNMET, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = TOO_LARGE, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The body asks for what cannot be, or the key is not UTF-8.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn patch(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Problem> {
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    let body = input::body(request).await?;
    let key = input::key(&uri, ROUTE);
    let (key, conditions) = (Key::parse(&key)?, Conditions::read(&headers)?);
    let expires_at = aside(body.len(), move || body::new_expiry(&body)).await?;
    let verb = expires_at.map_or("PERSIST", |_| "PEXPIREAT");
    let mut turn = Turn::begin(&service, verb, key);
    let done = change_if(&mut turn, &conditions, false, |group, old| {
        if let Some(old) = old
            && old.expires_at() != expires_at
        {
            group.put(key, Value::parse_until(old.value_bytes(), expires_at)?);
        }
        Ok(())
    });
    let done = done.await;
    let done = done.map(|()| expiry_of(key, expires_at).into_response());
    Ok(turn.end(done).await)
}

/// Delete a key.
#[utoipa::path(delete, path = "/api/v1/keys/{key}", operation_id = "delete_pair", tag = "Keys",
    params(
        ("key" = String, Path, description = "The key, percent-encoded: `a%2Fb` is `a/b`. Nothing at all is the empty key.",
            example = "session:7"),
        ("If-Match" = Option<String>, Header, description = IF_MATCH, example = "\"9b71d224...\"")),
    responses(
        (status = 204, description = "Deleted."),
        (status = 400, description = "A condition cannot be read.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = UNMET, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = NO_KEY, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn delete(
    State(service): State<Arc<Service>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = input::key(&uri, ROUTE);
    let conditions = Conditions::read(&headers)?;
    let key = Key::parse(&key)?;
    let mut turn = Turn::begin(&service, "DEL", key);
    let done = change_if(&mut turn, &conditions, false, |group, _| {
        group.delete(key);
        Ok(StatusCode::NO_CONTENT.into_response())
    });
    let done = done.await;
    Ok(turn.end(done).await)
}

/// Changes the pair if the conditions hold for what is there, which `change` is shown. `creates` says whether it can be done where
/// there is no such key.
async fn change_if<R>(
    turn: &mut Turn<'_>,
    conditions: &Conditions,
    creates: bool,
    mut change: impl FnMut(&mut WriteTransaction<'_>, Option<&Entry>) -> Result<R, Problem>,
) -> Result<R, Problem> {
    let name_etags = conditions.name_etags();
    loop {
        // A long value's ETag takes too long to be found while others wait: it is found before, of a value that must then still
        // be there.
        let seen = if name_etags { turn.find()? } else { None };
        let etag = match &seen {
            Some(seen) => etag_of(seen).await,
            None => String::new(),
        };
        let done = turn.step(|group, key| {
            let now = group.get(key);
            if name_etags && !has_same_value(seen.as_ref(), now.as_ref()) {
                return Ok(None);
            }
            // Conditions are not asked about what cannot be done without them (RFC 9110, section 13.2.1).
            if !creates && now.is_none() {
                return Err(no_such_key());
            }
            conditions.check(now.as_ref().map(|_| &*etag))?;
            change(group, now.as_ref()).map(Some)
        })?;
        if let Some(done) = done {
            return Ok(done);
        }
    }
}

fn has_same_value(seen: Option<&Entry>, now: Option<&Entry>) -> bool {
    match (seen, now) {
        (Some(seen), Some(now)) => seen.is_same(now) || seen.value_bytes() == now.value_bytes(),
        (None, None) => true,
        _ => false,
    }
}

async fn etag_of(entry: &Entry) -> String {
    let entry = entry.clone();
    aside(entry.value_bytes().len(), move || etag(entry.value_bytes())).await
}

/// Does what takes as long as so many bytes are many, and does not keep others waiting for it.
async fn aside<R: Send + 'static>(bytes: usize, work: impl FnOnce() -> R + Send + 'static) -> R {
    if bytes <= AT_ONCE_BYTES_MAX {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("it does not panic, and nobody aborts it")
}

fn no_such_key() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such key")
}

fn header_of(etag: &str) -> HeaderValue {
    HeaderValue::from_str(etag).expect("digits and quotes")
}

fn expiry_of(key: Key<'_>, expires_at: Option<UnixMs>) -> Json<Expiry> {
    Json(Expiry {
        key: key.as_str().to_owned(),
        expires_at: expires_at.map(json::time),
    })
}
