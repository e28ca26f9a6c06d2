//! The thin shim: an HTTP request becomes a `Request`, a `Reply` becomes JSON, as the older `PyKV` program has them.
//!
//! In: HTTP. Out: the older program's bodies to the byte, so that its dashboard can go on; beside them `keys`, which knows expiry
//! and conditions. Where this server differs on
//! purpose: `POST /put` takes a JSON body, too; a key that is not there is a 404; a key may hold any character, slashes
//! included; `GET /all` is streamed; text that is not UTF-8 is refused, not mended. Promises: the same as the text port's,
//! because the same commands run (`answer`); no page of another site can make a browser use this server (`guard`).

mod account;
mod answer;
mod bodies;
mod commands;
mod console;
mod dashboard;
mod deletion;
mod docs;
mod guard;
mod input;
mod keys;
mod listener;
mod listing;
mod live;
mod metrics;
mod namespaces;
mod pairs;
mod problem;
mod transfer;

pub use listener::HTTP_CONNECTIONS_MAX;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::command::Service;
use crate::config::Address;
use crate::engine::Engine;
use answer::{Answer, ask};
use bodies::{Detail, Health, Invalid, Message, NotFound, Pair, Stored, StoredValue};
use bodies::{detail, message};
use docs::{LOADING, OTHER_SITE, TOO_LARGE, UNSAFE};
use problem::Problem;

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
        .route("/health/live", get(live))
        .route("/health/ready", get(health))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/keys", get(listing::list).delete(deletion::delete))
        .route("/api/v1/batch", post(keys::batch::batch))
        .route("/api/v1/count", get(deletion::count))
        .route("/api/v1/stats", get(api_stats))
        .route("/api/v1/commands", get(commands::list))
        .route("/api/v1/export", get(transfer::export))
        .route("/api/v1/import", post(transfer::import))
        .route("/api/v1/operations", get(live::operations))
        .route("/api/v1/console", get(console::console))
        .route("/api/v1/namespaces", get(namespaces::list))
        .route("/api/v1/live", get(live::live))
        .merge(keys::router())
        .merge(docs::router())
        .merge(dashboard::router())
        .fallback(async |uri: Uri| Problem::new(StatusCode::NOT_FOUND, "Not Found").at(&uri))
        .method_not_allowed_fallback(async |uri: Uri| {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").at(&uri)
        })
        .layer(Extension(Arc::<namespaces::Counts>::default()))
        .layer(Extension(Arc::<live::Feed>::default()))
        .layer(DefaultBodyLimit::max(input::BODY_BYTES_MAX))
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .quality(CompressionLevel::Fastest),
        )
        // The last layer is the first to be asked, whatever the route.
        .layer(middleware::from_fn_with_state(
            own_host,
            guard::refuse_other_sites,
        ))
        .with_state(service)
}

/// Store a value under a key.
///
/// Key and value stand in the query. A pair that is too long for a URL may come as a JSON object instead, without a query:
/// `{"key": "...", "value": "..."}`.
#[utoipa::path(post, path = "/put", tag = "Pairs",
    params(
        ("key" = String, Query, description = "The key: any text up to 64 KiB, the empty one included. The last one counts.",
            example = "user:101:name"),
        ("value" = String, Query, description = "The value: any text up to 64 MiB, the empty one included. The last one counts.",
            example = "Alice Johnson")),
    request_body(content = Option<Pair>, content_type = "application/json",
        description = "The pair, or what the query does not have of it; ignored where the query has both."),
    responses(
        (status = 200, description = "Stored, and as safe as the server's `--durability` says.", body = Message,
            example = json!({"message": "Key stored successfully"})),
        (status = 400, description = "The body has not arrived whole.", body = Detail),
        (status = 403, description = OTHER_SITE, body = Detail),
        (status = 413, description = TOO_LARGE, body = Detail),
        (status = 422, description = "A field is missing, or is not text.", body = Invalid),
        (status = 503, description = UNSAFE, body = Detail)))]
async fn put(State(service): State<Arc<Service>>, request: Request) -> Response {
    let uri = request.uri().clone();
    let body = match input::body(request).await {
        Ok(body) => body,
        Err(problem) => return problem.into_older(),
    };
    let (key, value) = match input::pair(uri.query().unwrap_or_default(), &body) {
        Ok(pair) => pair,
        Err(faults) => return bodies::invalid(faults),
    };
    // It may be long, and has been copied.
    drop(body);
    match ask(&service, "PUT", &[key.as_bytes(), value.as_bytes()]).await {
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
        (status = 403, description = OTHER_SITE, body = Detail),
        (status = 404, description = "There is no such key.", body = NotFound),
        (status = 413, description = TOO_LARGE, body = Detail),
        (status = 422, description = "The key is not UTF-8.", body = Detail),
        (status = 503, description = LOADING, body = Detail)))]
async fn get_key(State(service): State<Arc<Service>>, uri: Uri) -> Response {
    let key = input::key(&uri, "/get/");
    match ask(&service, "GET", &[&key]).await {
        Ok(Answer::Value(value)) => pairs::one(&String::from_utf8_lossy(&key), &value),
        Ok(Answer::LongValue(entry)) => pairs::one_long(entry),
        Ok(_) => bodies::not_found(),
        Err(refused) => refused.into_older(),
    }
}

/// Delete a key.
#[utoipa::path(delete, path = "/delete/{key}", tag = "Pairs",
    params(("key" = String, Path, description = "The key, percent-encoded: `a%2Fb` is `a/b`. Nothing at all is the empty key.",
        example = "user:101:name")),
    responses(
        (status = 200, description = "Deleted.", body = Message, example = json!({"message": "Key deleted successfully"})),
        (status = 403, description = OTHER_SITE, body = Detail),
        (status = 404, description = "There is no such key.", body = Detail, example = json!({"detail": "Key not found"})),
        (status = 413, description = TOO_LARGE, body = Detail),
        (status = 422, description = "The key is not UTF-8.", body = Detail),
        (status = 503, description = UNSAFE, body = Detail)))]
async fn delete_key(State(service): State<Arc<Service>>, uri: Uri) -> Response {
    let key = input::key(&uri, "/delete/");
    match ask(&service, "DEL", &[&key]).await {
        Ok(Answer::Count(0)) => detail(StatusCode::NOT_FOUND, "Key not found"),
        Ok(_) => message("Key deleted successfully"),
        Err(refused) => refused.into_older(),
    }
}

/// Read all pairs.
///
/// They come as one JSON object, in no order, and are streamed: the answer may be as long as the store.
#[utoipa::path(get, path = "/all", tag = "Pairs",
    responses(
        (status = 200, description = "All pairs.", body = HashMap<String, StoredValue>,
            example = json!({"config:mode": "production", "user:101:name": "Alice Johnson", "logo": {"$base64": "AP8="}})),
        (status = 403, description = OTHER_SITE, body = Detail),
        (status = 503, description = LOADING, body = Detail)))]
async fn all(State(service): State<Arc<Service>>) -> Response {
    match ask(&service, "ALL", &[]).await {
        Ok(Answer::Scan(scan)) => pairs::all(scan, service),
        Ok(_) => unreachable!("ALL is a scan"),
        Err(refused) => refused.into_older(),
    }
}

/// Delete every key.
#[utoipa::path(delete, path = "/clear", tag = "Pairs",
    responses(
        (status = 200, description = "The store is empty.", body = Message,
            example = json!({"message": "Store cleared successfully"})),
        (status = 403, description = OTHER_SITE, body = Detail),
        (status = 503, description = UNSAFE, body = Detail)))]
async fn clear(State(service): State<Arc<Service>>) -> Response {
    match ask(&service, "CLEAR", &[]).await {
        Ok(_) => message("Store cleared successfully"),
        Err(refused) => refused.into_older(),
    }
}

/// Read the server's figures.
///
/// The same as STATS on the text port: numbers, words, and null for what is not known yet.
#[utoipa::path(get, path = "/stats", tag = "Server",
    responses(
        (status = 200, description = "Figures by name.", body = HashMap<String, serde_json::Value>,
            example = json!({"version": "0.1.0", "keys": 10, "memory_bytes": 9_437_184, "requests_per_second": 12.4,
                "last_save_time": "2026-11-23T01:02:03.456Z", "last_save_result": "ok", "command_put": 10})),
        (status = 403, description = OTHER_SITE, body = Detail),
        (status = 503, description = LOADING, body = Detail)))]
async fn stats(State(service): State<Arc<Service>>) -> Response {
    figures(&service).await.unwrap_or_else(Problem::into_older)
}

/// Read the server's figures.
///
/// The same as STATS on the text port: numbers, words, and null for what is not known yet.
#[utoipa::path(get, path = "/api/v1/stats", tag = "Server",
    responses(
        (status = 200, description = "Figures by name.", body = HashMap<String, serde_json::Value>,
            example = json!({"version": "0.1.0", "keys": 10, "memory_bytes": 9_437_184, "command_put": 10})),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
async fn api_stats(State(service): State<Arc<Service>>) -> Result<Response, Problem> {
    figures(&service).await
}

async fn figures(service: &Service) -> Result<Response, Problem> {
    match ask(service, "STATS", &[]).await? {
        Answer::Stats(figures) => Ok(Json(figures).into_response()),
        _ => unreachable!("STATS answers with figures"),
    }
}

/// Ask whether the server can do all that it promises; if not, why.
///
/// While a server that has just been started is loading its data, its status is `loading`, and the reason says how far it is.
#[utoipa::path(get, path = "/health", tag = "Server",
    responses(
        (status = 200, description = "All is well.", body = Health, example = json!({"status": "ok", "reasons": []})),
        (status = 403, description = OTHER_SITE, body = Detail),
        (status = 503, description = "Something is not: the data is still being loaded, or the disk fails.", body = Health,
            examples(
                ("loading" = (value = json!({"status": "loading", "reasons":
                    ["loading the data: 42% of store.json and the journals has been read; try again in a moment"]}))),
                ("failing" = (value = json!({"status": "failing", "reasons":
                    ["the last save failed: no space left on device"]})))))))]
async fn health(State(service): State<Arc<Service>>) -> Response {
    let (status, reasons) = match service.engine() {
        Ok(engine) => health_of(engine),
        Err(busy) => ("loading", vec![busy.message]),
    };
    let code = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(Health { status, reasons })).into_response()
}

/// Ask whether the server runs at all.
///
/// For whoever starts it again if it does not. Whether it can do all that it promises says `/health`, which is also
/// `/health/ready`.
#[utoipa::path(get, path = "/health/live", tag = "Server",
    responses(
        (status = 200, description = "It runs.", body = Health, example = json!({"status": "ok", "reasons": []})),
        (status = 403, description = OTHER_SITE, body = Detail)))]
async fn live() -> Json<Health> {
    Json(Health {
        status: "ok",
        reasons: Vec::new(),
    })
}

/// The status of a server that has its data, and one sentence for each thing that is not well.
fn health_of(engine: &Engine) -> (&'static str, Vec<String>) {
    let disk = engine.disk();
    let late = disk.late();
    let mut reasons: Vec<String> = disk
        .fault
        .into_iter()
        .map(|fault| format!("changes are refused: {fault}"))
        .collect();
    reasons.extend(late);
    if let Some(save) = disk.last_save.filter(|save| save.result != "ok") {
        reasons.push(format!("the last save failed: {}", save.result));
    }
    let status = if reasons.is_empty() { "ok" } else { "failing" };
    (status, reasons)
}
