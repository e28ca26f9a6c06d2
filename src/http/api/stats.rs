//! `GET /api/v1/stats`: the server's figures, as JSON.

use axum::Json;
use axum::response::{IntoResponse as _, Response};

use crate::http::descriptions::LOADING;
use crate::http::door::Caller;
use crate::http::figures::figures;
use crate::http::input::{NoParameters, Parameters};
use crate::http::problem::Problem;

/// Read the server's figures.
///
/// The same as STATS on the text port: numbers, text, and null for a figure that is not known yet.
#[utoipa::path(get, path = "/api/v1/stats", operation_id = "api_stats", tag = "Server",
    responses(
        (status = 200, description = "Figures by name.", body = HashMap<String, serde_json::Value>,
            example = json!({"version": "0.1.0", "keys": 10, "memory_bytes": 9_437_184, "command_put": 10})),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn stats(caller: Caller, _: Parameters<NoParameters>) -> Result<Response, Problem> {
    Ok(Json(figures(&caller).await?).into_response())
}
