//! Bodies of the older API, as JSON and as the schemas of its documentation: one type for both, so that they agree.
//!
//! In: the result of a handler. Out: a JSON response, its members in the older program's order.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Success message.
#[derive(Serialize, ToSchema)]
pub struct Message {
    message: &'static str,
}

/// Error message.
#[derive(Serialize, ToSchema)]
pub struct Detail {
    detail: String,
}

/// Error of a missing key, in two members, as clients of the older program read either.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"error": "Key not found", "detail": "Key not found"}))]
pub struct NotFound {
    error: &'static str,
    detail: &'static str,
}

/// Errors in the fields of a request.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"detail": [
    {"type": "missing", "loc": ["query", "value"], "msg": "Field required", "input": null}
]}))]
pub struct Invalid {
    detail: Vec<InvalidField>,
}

/// Error in one field.
#[derive(Serialize, ToSchema)]
pub struct InvalidField {
    /// Kind of the error, in one word.
    pub r#type: &'static str,
    /// Location of the field: `query` or `body`, then its name.
    pub loc: Vec<&'static str>,
    /// Message for people.
    pub msg: &'static str,
    /// Input received; null if there was none, or if it is too long to be shown.
    #[schema(value_type = serde_json::Value)]
    pub input: Box<RawValue>,
    /// Message of the parser, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ctx: Option<Context>,
}

/// Message of a parser.
#[derive(Serialize, ToSchema)]
pub struct Context {
    /// Reason and position.
    pub error: String,
}

/// Health of the server.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub struct HealthReport {
    /// Status: `ok`, `loading`, `failing`, or of a member of a cluster that is not asked to lead `following`.
    pub status: &'static str,
    /// Reasons for a status other than `ok`, one sentence each.
    pub reasons: Vec<String>,
}

/// Key and stored value.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`responses` writes its JSON directly")]
#[schema(example = json!({"key": "user:101:name", "value": "Alice Johnson"}))]
pub struct Stored {
    key: String,
    value: StoredValue,
}

/// Value: text as a string, bytes that are not UTF-8 as an object with their base64 form.
#[derive(Serialize, ToSchema)]
#[expect(dead_code, reason = "`responses` writes its JSON directly")]
#[serde(untagged)]
pub enum StoredValue {
    /// UTF-8 text.
    Text(String),
    /// Bytes that are not UTF-8.
    Binary(Binary),
}

/// Bytes that are not UTF-8.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"$base64": "AP8="}))]
pub struct Binary {
    /// Bytes in base64 (RFC 4648, section 4).
    #[schema(rename = "$base64")]
    base64: String,
}

/// Makes an error response in the older program's form.
pub fn detail(status: StatusCode, text: impl Into<String>) -> Response {
    let detail = text.into();
    (status, Json(Detail { detail })).into_response()
}

/// Makes a success response in the older program's form.
pub fn message(message: &'static str) -> Response {
    Json(Message { message }).into_response()
}

/// Makes the 404 response for a key that does not exist.
pub fn not_found() -> Response {
    let (error, detail) = ("Key not found", "Key not found");
    (StatusCode::NOT_FOUND, Json(NotFound { error, detail })).into_response()
}

/// Makes the 422 response for errors in the fields of a request.
pub fn invalid(detail: Vec<InvalidField>) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(Invalid { detail })).into_response()
}
