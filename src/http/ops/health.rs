//! `GET /health`, `/health/live`, `/health/ready`: for whoever supervises the server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::command::Service;
use crate::engine::Engine;
use crate::http::compat::bodies::{Detail, Health};
use crate::http::descriptions::OTHER_SITE;

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
pub async fn health(State(service): State<Arc<Service>>) -> Response {
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
pub async fn live() -> Json<Health> {
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
