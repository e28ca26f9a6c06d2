//! The bodies of the shim, as JSON and as the schemas of its documentation: what is documented is what is sent.
//!
//! In: what a route has to say. Out: JSON, its members in the older program's order.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// What has been done.
#[derive(Serialize, ToSchema)]
pub struct Message {
    message: &'static str,
}

/// Why it has not been done.
#[derive(Serialize, ToSchema)]
pub struct Detail {
    detail: String,
}

/// There is no such key; said twice, for those who read the one or the other.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"error": "Key not found", "detail": "Key not found"}))]
pub struct NotFound {
    error: &'static str,
    detail: &'static str,
}

/// What is wrong with the fields of a request.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"detail": [
    {"type": "missing", "loc": ["query", "value"], "msg": "Field required", "input": null}
]}))]
pub struct Invalid {
    detail: Vec<InvalidField>,
}

/// What is wrong with one field.
#[derive(Serialize, ToSchema)]
pub struct InvalidField {
    /// What kind of fault it is, in one word.
    pub r#type: &'static str,
    /// Where it is: `query` or `body`, then the field's name.
    pub loc: Vec<&'static str>,
    /// What is wrong, for people.
    pub msg: &'static str,
    /// What was given instead; null if it was nothing, or is too long to be shown.
    #[schema(value_type = serde_json::Value)]
    pub input: Box<RawValue>,
    /// What the parser said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ctx: Option<Context>,
}

/// What a parser said.
#[derive(Serialize, ToSchema)]
pub struct Context {
    /// Why, and where.
    pub error: String,
}

/// Whether all is well; if not, why.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`, `loading` or `failing`.
    pub status: &'static str,
    /// One sentence for each thing that is not well.
    pub reasons: Vec<String>,
}

/// A key and its value, to be stored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`input` reads it from JSON field by field")]
#[schema(example = json!({"key": "user:101:name", "value": "Alice Johnson"}))]
pub struct Pair {
    key: String,
    value: String,
}

/// A key and its value, as stored.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`pairs` writes it as it goes")]
#[schema(example = json!({"key": "user:101:name", "value": "Alice Johnson"}))]
pub struct Stored {
    key: String,
    value: StoredValue,
}

/// A value: text as a string; bytes that are not UTF-8 as an object that holds them in base64.
#[derive(Serialize, ToSchema)]
#[expect(dead_code, reason = "`pairs` writes it as it goes")]
#[serde(untagged)]
pub enum StoredValue {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Binary),
}

/// Bytes that are not UTF-8.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"$base64": "AP8="}))]
pub struct Binary {
    /// The bytes in base64 (RFC 4648, section 4).
    #[schema(rename = "$base64")]
    base64: String,
}

/// A refusal in the form that the older program gives it.
pub fn detail(status: StatusCode, text: impl Into<String>) -> Response {
    let detail = text.into();
    (status, Json(Detail { detail })).into_response()
}

/// What has been done, in the form that the older program gives it.
pub fn message(message: &'static str) -> Response {
    Json(Message { message }).into_response()
}

/// There is no such key to read.
pub fn not_found() -> Response {
    let (error, detail) = ("Key not found", "Key not found");
    (StatusCode::NOT_FOUND, Json(NotFound { error, detail })).into_response()
}

/// What is wrong with the fields of a request.
pub fn invalid(detail: Vec<InvalidField>) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(Invalid { detail })).into_response()
}
