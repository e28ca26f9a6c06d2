//! The thin shim: an HTTP request becomes a `Request`, a `Reply` becomes JSON, as the older `PyKV` program has them.
//!
//! In: HTTP. Out: the older program's bodies to the byte, so that its dashboard can go on. Where this server differs on
//! purpose: `POST /put` takes a JSON body, too; a key that is not there is a 404; a key may hold any character, slashes
//! included; `GET /all` is streamed. Promises: the same as the text port's, because the same commands run; no page of
//! another site can make a browser use this server (`guard`).

mod docs;
mod guard;
mod listener;

pub use listener::HTTP_CONNECTIONS_MAX;

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};
use futures_util::stream;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::command::{self, Next, Service};
use crate::config::Address;
use crate::engine::Scan;
use crate::json::{self, Pieces};
use crate::protocol::line::QUOTED_LINE_BYTES_MAX;
use crate::protocol::{ErrorCode, ErrorReply, Replies, Reply, Request};
use crate::record::{Entry, Value};
use crate::stats::Tally;

/// The longest body: the longest pair, each byte of which may take six as `\u00XX`.
pub const BODY_BYTES_MAX: usize = QUOTED_LINE_BYTES_MAX;
/// A list is sent in chunks of about this size.
const CHUNK_BYTES: usize = 64 << 10;

/// Serves HTTP until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    address: Address,
    service: Arc<Service>,
    shutdown: CancellationToken,
) {
    let router = router(service, &address);
    let served = axum::serve(listener::Limited::new(listener), router);
    if let Err(error) = served
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
    {
        tracing::error!("HTTP has ended: {error}");
    }
}

fn router(service: Arc<Service>, address: &Address) -> Router {
    let own_host: Arc<str> = address.host().into();
    Router::new()
        .route("/put", post(put))
        .route("/get/", get(get_key))
        .route("/get/{*key}", get(get_key))
        .route("/delete/", delete(delete_key))
        .route("/delete/{*key}", delete(delete_key))
        .route("/all", get(all))
        .route("/clear", delete(clear))
        .route("/stats", get(stats))
        .route("/health", get(health))
        .merge(docs::router())
        .fallback(async || detail(StatusCode::NOT_FOUND, "Not Found"))
        .method_not_allowed_fallback(async || {
            detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(
            own_host,
            guard::refuse_other_sites,
        ))
        .with_state(service)
}

/// A refusal in the form that the older program gives it.
fn detail(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "detail": text }))).into_response()
}

fn message(text: &str) -> Response {
    Json(json!({ "message": text })).into_response()
}

/// One reply of a command, kept.
enum Answer {
    Ok,
    Value(Vec<u8>),
    LongValue(Entry),
    NotFound,
    Count(u64),
    Scan(Scan),
    Stats(serde_json::Map<String, serde_json::Value>),
}

/// Keeps the replies of one command.
#[derive(Default)]
struct Kept {
    answer: Option<Answer>,
    error: Option<ErrorReply>,
    stats: serde_json::Map<String, serde_json::Value>,
}

impl Replies for Kept {
    fn reply(&mut self, reply: Reply<'_>) {
        match reply {
            Reply::Ok => self.answer = Some(Answer::Ok),
            Reply::Value(value) => self.answer = Some(Answer::Value(value.to_vec())),
            Reply::NotFound => self.answer = Some(Answer::NotFound),
            Reply::Count(count) => self.answer = Some(Answer::Count(count)),
            Reply::Stat(name, figure) => drop(self.stats.insert(name.to_owned(), figure.to_json())),
            Reply::Error(error) => self.error = Some(error.clone()),
            Reply::End(_) => self.answer = Some(Answer::Stats(std::mem::take(&mut self.stats))),
            Reply::Item(..) | Reply::Key(_) | Reply::Help(..) | Reply::Pong => {
                unreachable!("no route asks for a command that answers this")
            }
        }
    }
}

/// Executes one command, and waits until what it did is safe.
async fn ask(service: &Service, verb: &str, words: &[&[u8]]) -> Result<Answer, Response> {
    let mut tally = Tally::default();
    let mut kept = Kept::default();
    let next = command::execute(service, &mut tally, &Request::split(verb, words), &mut kept);
    let committed = service.engine.commit().await;
    let is_change = matches!(kept.answer, Some(Answer::Ok | Answer::Count(_)));
    if let (Err(fault), true) = (committed, is_change) {
        tally.errors += 1;
        kept.error = Some(fault.into());
    }
    service.stats.add(&mut tally);
    if let Some(error) = kept.error {
        return Err(refusal(&error));
    }
    Ok(match next {
        Next::Value(entry) => Answer::LongValue(entry),
        Next::Scan(scan, _) => Answer::Scan(scan),
        _ => kept.answer.expect("a command that is done has answered"),
    })
}

fn refusal(error: &ErrorReply) -> Response {
    let status = match error.code {
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Text => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::Disk | ErrorCode::Busy | ErrorCode::Full => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    detail(status, &error.message)
}

/// What is wrong with one field of a request, in the older program's words.
fn invalid(
    kind: &str,
    place: &str,
    field: &str,
    text: &str,
    input: &serde_json::Value,
) -> serde_json::Value {
    json!({ "type": kind, "loc": [place, field], "msg": text, "input": input })
}

fn unprocessable(detail: Vec<serde_json::Value>) -> Response {
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        Json(json!({ "detail": detail })),
    )
        .into_response()
}

/// Store a value under a key.
///
/// Key and value come in the query, or in a JSON body for what is too long for a URL.
#[utoipa::path(post, path = "/put",
    params(("key" = Option<String>, Query), ("value" = Option<String>, Query)),
    request_body(content = Option<docs::Pair>, content_type = "application/json"),
    responses((status = 200, body = docs::Message), (status = 422, body = docs::Invalid), (status = 503, body = docs::Detail)))]
async fn put(State(service): State<Arc<Service>>, uri: Uri, body: Bytes) -> Response {
    let (key, value) = match pair_of(uri.query().unwrap_or_default(), &body) {
        Ok(pair) => pair,
        Err(faults) => return unprocessable(faults),
    };
    match ask(&service, "PUT", &[key.as_bytes(), value.as_bytes()]).await {
        Ok(_) => message("Key stored successfully"),
        Err(refused) => refused,
    }
}

/// The pair that a request to store carries: the query first, then the body.
fn pair_of<'a>(
    query: &'a str,
    body: &'a [u8],
) -> Result<(Cow<'a, str>, Cow<'a, str>), Vec<serde_json::Value>> {
    let mut members = serde_json::Map::new();
    if !body.is_empty() {
        members = serde_json::from_slice(body).map_err(|error| {
            let text = format!("JSON decode error: {error}");
            vec![invalid("json_invalid", "body", "", &text, &json!({}))]
        })?;
    }
    let mut faults = Vec::new();
    let mut field = |name: &str| -> Cow<'a, str> {
        match (query_field(query, name), members.remove(name)) {
            (Some(Ok(text)), _) => return text,
            (Some(Err(())), _) => {
                let text = "Input should be a valid string: its percent-encoding is not UTF-8";
                faults.push(invalid(
                    "string_unicode",
                    "query",
                    name,
                    text,
                    &serde_json::Value::Null,
                ));
            }
            (None, Some(serde_json::Value::String(text))) => return Cow::Owned(text),
            (None, Some(other)) => {
                faults.push(invalid(
                    "string_type",
                    "body",
                    name,
                    "Input should be a valid string",
                    &other,
                ));
            }
            (None, None) => {
                faults.push(invalid(
                    "missing",
                    "query",
                    name,
                    "Field required",
                    &serde_json::Value::Null,
                ));
            }
        }
        Cow::Borrowed("")
    };
    let pair = (field("key"), field("value"));
    if faults.is_empty() {
        Ok(pair)
    } else {
        Err(faults)
    }
}

/// The last field of this name in a query (application/x-www-form-urlencoded).
fn query_field<'a>(query: &'a str, name: &str) -> Option<Result<Cow<'a, str>, ()>> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text)
            .decode_utf8()
            .map(|text| Cow::Owned(text.into_owned()))
            .map_err(|_| ())
    };
    let fields = query.split('&').filter(|field| !field.is_empty());
    let mut named = fields.map(|field| field.split_once('=').unwrap_or((field, "")));
    let (_, text) = named.rfind(|(field, _)| decode(field).is_ok_and(|field| field == name))?;
    Some(decode(text))
}

/// The key in a path: all that follows the second slash, decoded.
fn key_of<'a>(uri: &'a Uri, before: &str) -> Cow<'a, [u8]> {
    let key = uri
        .path()
        .strip_prefix(before)
        .expect("the route begins with it");
    percent_decode_str(key).into()
}

/// Read the value of a key.
#[utoipa::path(get, path = "/get/{key}", params(("key" = String, Path)),
    responses((status = 200, body = docs::Pair), (status = 404, body = docs::NotFound)))]
async fn get_key(State(service): State<Arc<Service>>, uri: Uri) -> Response {
    let key = key_of(&uri, "/get/");
    let mut body = b"{\"key\":".to_vec();
    match ask(&service, "GET", &[&key]).await {
        Ok(Answer::Value(value)) => {
            json::write_string(&mut body, &String::from_utf8_lossy(&key));
            body.extend_from_slice(b",\"value\":");
            json::write_value(
                &mut body,
                Value::parse(&value).expect("it was read from the store"),
            );
            body.push(b'}');
            json_body(Body::from(body))
        }
        Ok(Answer::LongValue(entry)) => {
            json::write_string(&mut body, entry.key().as_str());
            body.extend_from_slice(b",\"value\":");
            let (opening, pieces, closing) = quoted(entry);
            body.extend_from_slice(opening);
            let chunks = std::iter::once(body)
                .chain(pieces)
                .chain([[closing, b"}"].concat()]);
            json_body(Body::from_stream(stream::iter(
                chunks.map(Ok::<_, Infallible>),
            )))
        }
        Ok(_) => {
            let body = json!({ "error": "Key not found", "detail": "Key not found" });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
        Err(refused) => refused,
    }
}

/// A long value's JSON form: what opens it, its pieces, what closes it.
fn quoted(entry: Entry) -> (&'static [u8], Pieces, &'static [u8]) {
    let pieces = Pieces::new(entry);
    if pieces.is_text() {
        (b"\"", pieces, b"\"")
    } else {
        (b"{\"$base64\":\"", pieces, b"\"}")
    }
}

fn json_body(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Delete a key.
#[utoipa::path(delete, path = "/delete/{key}", params(("key" = String, Path)),
    responses((status = 200, body = docs::Message), (status = 404, body = docs::Detail)))]
async fn delete_key(State(service): State<Arc<Service>>, uri: Uri) -> Response {
    let key = key_of(&uri, "/delete/");
    match ask(&service, "DEL", &[&key]).await {
        Ok(Answer::Count(0)) => detail(StatusCode::NOT_FOUND, "Key not found"),
        Ok(_) => message("Key deleted successfully"),
        Err(refused) => refused,
    }
}

/// Read all pairs, as one JSON object.
#[utoipa::path(get, path = "/all", responses((status = 200, body = std::collections::HashMap<String, String>)))]
async fn all(State(service): State<Arc<Service>>) -> Response {
    let scan = match ask(&service, "ALL", &[]).await {
        Ok(Answer::Scan(scan)) => scan,
        Ok(_) => unreachable!("ALL is a scan"),
        Err(refused) => return refused,
    };
    let chunks = Chunks {
        scan,
        entries: Vec::new().into_iter(),
        pieces: None,
        opening: b"{",
        ended: false,
    };
    let body = stream::unfold((chunks, service), async |(mut chunks, service)| {
        let chunk = chunks.next()?;
        // What is shown must be as safe as promised; what could not be made safe is still true.
        let _ = service.engine.commit().await;
        Some((Ok::<_, Infallible>(chunk), (chunks, service)))
    });
    json_body(Body::from_stream(body))
}

/// All pairs as one JSON object, in chunks; nothing is held but the chunk and the entries of one shard.
struct Chunks {
    scan: Scan,
    entries: std::vec::IntoIter<Entry>,
    pieces: Option<(Pieces, &'static [u8])>,
    opening: &'static [u8],
    ended: bool,
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK_BYTES {
            if let Some((pieces, closing)) = &mut self.pieces {
                match pieces.next() {
                    Some(piece) => chunk.extend(piece),
                    None => {
                        chunk.extend_from_slice(closing);
                        self.pieces = None;
                    }
                }
                continue;
            }
            let Some(entry) = self.entries.next() else {
                let Some(entries) = self.scan.next() else {
                    chunk.extend_from_slice(if self.opening == b"{" { b"{}" } else { b"}" });
                    self.ended = true;
                    break;
                };
                self.entries = entries.into_iter();
                continue;
            };
            self.write(&mut chunk, entry);
        }
        Some(chunk)
    }
}

impl Chunks {
    fn write(&mut self, chunk: &mut Vec<u8>, entry: Entry) {
        chunk.extend_from_slice(std::mem::replace(&mut self.opening, b","));
        json::write_string(chunk, entry.key().as_str());
        chunk.push(b':');
        if entry.value_bytes().len() <= CHUNK_BYTES {
            let value = Value::parse(entry.value_bytes()).expect("it was read from the store");
            return json::write_value(chunk, value);
        }
        let (opening, pieces, closing) = quoted(entry);
        chunk.extend_from_slice(opening);
        self.pieces = Some((pieces, closing));
    }
}

/// Delete every key.
#[utoipa::path(delete, path = "/clear", responses((status = 200, body = docs::Message)))]
async fn clear(State(service): State<Arc<Service>>) -> Response {
    match ask(&service, "CLEAR", &[]).await {
        Ok(_) => message("Store cleared successfully"),
        Err(refused) => refused,
    }
}

/// The server's figures.
#[utoipa::path(get, path = "/stats", responses((status = 200, body = serde_json::Value)))]
async fn stats(State(service): State<Arc<Service>>) -> Response {
    match ask(&service, "STATS", &[]).await {
        Ok(Answer::Stats(figures)) => Json(figures).into_response(),
        Ok(_) => unreachable!("STATS answers with figures"),
        Err(refused) => refused,
    }
}

/// Whether the server can do all that it promises; if not, why.
#[utoipa::path(get, path = "/health", responses((status = 200, body = docs::Health), (status = 503, body = docs::Health)))]
async fn health(State(service): State<Arc<Service>>) -> Response {
    let disk = service.engine.disk();
    let mut reasons: Vec<String> = disk
        .fault
        .into_iter()
        .map(|fault| format!("changes are refused: {fault}"))
        .collect();
    if let Some(save) = disk.last_save.filter(|save| save.result != "ok") {
        reasons.push(format!("the last save failed: {}", save.result));
    }
    let (status, word) = if reasons.is_empty() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    };
    (status, Json(json!({ "status": word, "reasons": reasons }))).into_response()
}
