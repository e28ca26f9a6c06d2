//! `GET /api/v1/export`: all pairs as a file that can be imported.
//!
//! In: a prefix. Out: one JSON object in the format of store.json, expiry included. Promise: it is streamed as fast as the client
//! reads.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::codec::key_text::key_bytes;
use crate::http::descriptions::LOADING;
use crate::http::door::Caller;
use crate::http::input::Parameters;
use crate::http::problem::Problem;
use crate::http::responses;

/// Query of `GET /api/v1/export`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// Prefix of the keys to export; empty for all pairs.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
}

/// Value of an export: text, or an object for bytes that are not UTF-8 or that expire.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "`responses` writes its JSON directly")]
pub enum ExportedValue {
    /// UTF-8 text that does not expire.
    Text(String),
    /// Bytes, or text that expires.
    Object(ExportedObject),
}

/// Value of an export that is not text alone: `$text` with `$expires_at`, or `$base64`, with it or without.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`responses` writes its JSON directly")]
#[schema(example = json!({"$text": "Ada", "$expires_at": "2026-11-24T01:02:03.456Z"}))]
pub struct ExportedObject {
    /// UTF-8 text.
    #[schema(rename = "$text", nullable = false)]
    text: Option<String>,
    /// Bytes in base64 (RFC 4648, section 4).
    #[schema(rename = "$base64", nullable = false)]
    base64: Option<String>,
    /// Expiry of the pair (RFC 3339).
    #[schema(rename = "$expires_at", nullable = false)]
    expires_at: Option<String>,
}

/// Export pairs.
///
/// One JSON object in the format of store.json, one pair per line. Unlike `GET /all` it includes expiry: such a value reads
/// `{"$text": "...", "$expires_at": "..."}`.
#[utoipa::path(get, path = "/api/v1/export", tag = "Keys", params(ExportQuery),
    responses(
        (status = 200, description = "The pairs.", body = HashMap<String, ExportedValue>,
            example = json!({"config:mode": "production",
                "session:7": {"$text": "Ada", "$expires_at": "2026-11-24T01:02:03.456Z"}})),
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
    let stream = door
        .open_stream("ALL", &[&key_bytes(prefix.into())])
        .await?;
    let mut response = responses::export(door, stream);
    let name = HeaderValue::from_static("attachment; filename=\"pykv.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
