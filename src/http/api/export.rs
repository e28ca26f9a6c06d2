//! `GET /api/v1/export`: all pairs as a file that can be imported.
//!
//! In: a prefix. Out: one JSON object in the format of store.json, expiry included. Promise: it is streamed as fast as the client
//! reads.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::compat::bodies::StoredValue;
use crate::http::descriptions::{LOADING, OTHER_SITE};
use crate::http::door::Caller;
use crate::http::input::Parameters;
use crate::http::problem::Problem;
use crate::http::responses;

/// Query of `GET /api/v1/export`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// Prefix of the keys to export; empty for all pairs.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
}

/// Export pairs.
///
/// One JSON object in the format of store.json, one pair per line. Unlike `GET /all` it includes expiry: such a value reads
/// `{"$text": "...", "$expires_at": "..."}`.
#[utoipa::path(get, path = "/api/v1/export", tag = "Keys", params(ExportQuery),
    responses(
        (status = 200, description = "The pairs.", body = HashMap<String, StoredValue>,
            example = json!({"config:mode": "production",
                "session:7": {"$text": "Ada", "$expires_at": "2026-11-24T01:02:03.456Z"}})),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The prefix is over the limit of a key.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not what it should be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn export(
    caller: Caller,
    Parameters(ExportQuery { prefix }): Parameters<ExportQuery>,
) -> Result<Response, Problem> {
    let mut door = caller.door();
    let stream = door.open_stream("ALL", &[prefix.as_bytes()])?;
    let mut response = responses::export(door, stream);
    let name = HeaderValue::from_static("attachment; filename=\"pykv.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
