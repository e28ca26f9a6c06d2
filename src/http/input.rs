//! Key and value of a request, from its path, its query or its body.
//!
//! In: a URI as it was sent, and the bytes of a body. Out: text, or an error that names the field. Promise: nothing is silently
//! changed; a percent-encoding or a JSON string that is not UTF-8 is refused, not replaced.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::string::FromUtf8Error;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use super::charged_body::{self, BodyError, ReceivedBody};
use super::compat::bodies::{Context, InvalidField};
use super::listener::HttpClient;
use super::problem::{Problem, unfit};
use crate::codec::json;
use crate::codec::key_text::key_bytes;
use crate::protocol::line::QUOTED_LINE_BYTES_MAX;

/// Maximum length of a body, in bytes: the longest pair, each byte of which may take six as `\u00XX`.
pub const BODY_BYTES_MAX: usize = QUOTED_LINE_BYTES_MAX;
/// Path of a pair whose key is in the query.
pub const KEY_PATH: &str = "/api/v1/key";
/// Maximum length of an invalid input that an error repeats, in bytes: a response need not repeat megabytes.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// Field of a request, if present: its text, or the error in it.
type Field = Option<Result<String, InvalidField>>;

/// Parameters of a query.
pub struct Parameters<T>(pub T);

/// Query of an endpoint without parameters: one that is there was meant for another endpoint, and is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if form_decoded(parts.uri.query().unwrap_or_default()).is_err() {
            return Err(unfit("the query is not UTF-8 once it is percent-decoded"));
        }
        let query = Query::try_from_uri(&parts.uri);
        let Query(parameters) = query.map_err(|rejection| unfit(rejection.body_text()))?;
        Ok(Self(parameters))
    }
}

/// Text of a key at the end of a path, percent-decoded. It need not be UTF-8, nor the one that the client meant: see [`ExactKey`].
pub struct PathKey(Vec<u8>);

impl PathKey {
    /// Returns the key.
    ///
    /// # Errors
    /// 422 if its text is not UTF-8.
    pub fn key(self) -> Result<Vec<u8>, Problem> {
        key_of(self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for PathKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = after_route(parts).expect("its route ends with a key");
        Ok(Self(percent_decode_str(text).collect()))
    }
}

/// Text of the key of a request, exactly as the client meant it: the parameter `key` of the query, or the end of a path that no client
/// and no proxy can have made of another one. It need not be UTF-8.
///
/// Browsers and most libraries remove `.` and `..`, percent-encoded or not, from a path, so that a request for the key `.` would
/// change the empty key; proxies remove empty segments as well, and may decode `%2F` before. Nobody normalizes a query.
pub struct ExactKey(Vec<u8>);

impl ExactKey {
    /// Returns the key.
    ///
    /// # Errors
    /// 422 if its text is not UTF-8.
    pub fn key(self) -> Result<Vec<u8>, Problem> {
        key_of(self.0)
    }
}

impl<S: Sync> FromRequestParts<S> for ExactKey {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let query = parts.uri.query();
        let key = match after_route(parts) {
            Some(path) => exact_path_key(path, query),
            None => exact_query_key(query.unwrap_or_default()),
        };
        key.map(Self).map_err(|problem| problem.at(&parts.uri))
    }
}

/// Returns the key that has this text.
///
/// # Errors
/// 422 if that is not UTF-8.
fn key_of(text: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let text = String::from_utf8(text).map_err(|error| {
        let place = error.utf8_error().valid_up_to() + 1;
        unfit(format!("the key is not UTF-8 (its byte {place})"))
    })?;
    Ok(key_bytes(Cow::Owned(text)).into_owned())
}

/// Returns the part of a path after its route, if that ends with a key.
fn after_route(parts: &Parts) -> Option<&str> {
    let route = parts.extensions.get::<MatchedPath>();
    let route = route.expect("a routed request has one").as_str();
    let prefix = route.strip_suffix("{*key}").unwrap_or(route);
    let rest = parts.uri.path().strip_prefix(prefix);
    rest.filter(|_| prefix.ends_with('/'))
}

/// Returns the text of the key at the end of a path.
///
/// # Errors
/// 400 if it may have been another one before the path was normalized, or before a question mark in it began a query.
fn exact_path_key(path: &str, query: Option<&str>) -> Result<Vec<u8>, Problem> {
    let key: Vec<u8> = percent_decode_str(path).collect();
    let mut segments = key.split(|byte| *byte == b'/');
    let reason = if segments.any(|segment| matches!(segment, b"" | b"." | b"..")) {
        "clients and proxies remove empty segments, `.` and `..` from a path, so that its key may be another one than was meant"
    } else if query.is_some() {
        "a `?` ends the key of a path, and it takes no parameters"
    } else {
        return Ok(key);
    };
    let detail = format!(
        "{reason}; nothing was done. Send the key in the query, percent-encoded: {KEY_PATH}?key=..."
    );
    Err(Problem::new(StatusCode::BAD_REQUEST, detail))
}

/// Returns the parameter `key`, which must be the only one: another one may be the rest of a key with `&`.
///
/// # Errors
/// 422 if there is not exactly this parameter.
fn exact_query_key(query: &str) -> Result<Vec<u8>, Problem> {
    let mut fields = query.split('&').map(|field| field.split_once('='));
    match (fields.next().flatten(), fields.next()) {
        (Some(("key", key)), None) => Ok(form_decoded_bytes(key)),
        _ => Err(unfit(
            "the query must be key=... and nothing else, with the key percent-encoded: `&` is %26, and `+` is %2B; \
             `key=` is the empty key",
        )),
    }
}

/// Receives the whole body of a request, of at most [`BODY_BYTES_MAX`].
///
/// # Errors
/// As [`body_up_to`].
pub async fn body(request: Request) -> Result<ReceivedBody, Problem> {
    body_up_to(BODY_BYTES_MAX, request).await
}

/// Receives the whole body of a request, of at most so many bytes.
///
/// # Errors
/// 413 if it is longer; 400 if the connection ends before it is complete; 503 if the server holds too much for its
/// clients, and most for this one.
pub async fn body_up_to(bytes_max: usize, request: Request) -> Result<ReceivedBody, Problem> {
    let client = request.extensions().get::<ConnectInfo<HttpClient>>();
    let client = client.expect("the listener gives one to every request");
    let account = Arc::clone(&client.0.account);
    let received = charged_body::receive(&account, request.into_body(), bytes_max).await;
    received.map_err(|error| match error {
        BodyError::TooLong => {
            let text = format!("the body is longer than the {bytes_max} bytes that it may have");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        BodyError::Partial => {
            Problem::new(StatusCode::BAD_REQUEST, "the body has not arrived whole")
        }
        BodyError::OverBudget(error) => error.into(),
    })
}

/// Returns the pair of `POST /put`: from its query, and for a field that is missing there, from its body.
///
/// # Errors
/// The error in the body if it is needed and not a JSON object; else the errors in key and value, in this order: missing, or not
/// text.
pub fn pair(query: &str, body: &[u8]) -> Result<(Vec<u8>, String), Vec<InvalidField>> {
    let mut key = query_field(query, "key");
    let mut value = query_field(query, "value");
    if (key.is_none() || value.is_none()) && !body.is_empty() {
        let members = members(body).map_err(|fault| vec![fault])?;
        key = key.or(body_field("key", members.key));
        value = value.or(body_field("value", members.value));
    }
    match (
        key.unwrap_or_else(|| missing("key")),
        value.unwrap_or_else(|| missing("value")),
    ) {
        (Ok(key), Ok(value)) => Ok((key_bytes(Cow::Owned(key)).into_owned(), value)),
        (key, value) => Err([key, value].into_iter().filter_map(Result::err).collect()),
    }
}

fn missing(name: &'static str) -> Result<String, InvalidField> {
    Err(InvalidField {
        r#type: "missing",
        loc: vec!["query", name],
        msg: "Field required",
        input: RawValue::NULL.to_owned(),
        ctx: None,
    })
}

/// Returns the last field of this name in a query (application/x-www-form-urlencoded).
///
/// The crates for forms replace invalid UTF-8, which is refused here, and do not return the text as it was sent.
fn query_field(query: &str, name: &'static str) -> Field {
    let fields = query.split('&').filter(|field| !field.is_empty());
    let mut named = fields.map(|field| field.split_once('=').unwrap_or((field, "")));
    let (_, text) = named.rfind(|(field, _)| form_decoded(field).is_ok_and(|it| it == name))?;
    Some(form_decoded(text).map_err(|error| InvalidField {
        r#type: "string_unicode",
        loc: vec!["query", name],
        msg: "Input should be a valid string: its percent-encoding is not UTF-8",
        input: shown(json::string(text)),
        ctx: Some(Context {
            error: error.to_string(),
        }),
    }))
}

/// Decodes a part of a form, in which, unlike in a path, a plus is a space.
fn form_decoded(text: &str) -> Result<String, FromUtf8Error> {
    String::from_utf8(form_decoded_bytes(text))
}

fn form_decoded_bytes(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// Members of a body that are used, as raw JSON.
#[derive(Default)]
struct Members<'a> {
    key: Option<&'a RawValue>,
    value: Option<&'a RawValue>,
}

/// Parser of [`Members`]; of members with the same name, the last one counts, as in a query. Others are skipped without being
/// built, as their values could take many times the memory of their text.
struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the members key and value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "key" => members.key = Some(map.next_value()?),
                "value" => members.value = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(members)
    }
}

fn members(body: &[u8]) -> Result<Members<'_>, InvalidField> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = reader.deserialize_map(MembersVisitor);
    let members = read.and_then(|members| reader.end().map(|()| members));
    members.map_err(|error| InvalidField {
        r#type: "json_invalid",
        loc: vec!["body"],
        msg: "JSON decode error",
        input: shown("{}".to_owned()),
        ctx: Some(Context {
            error: error.to_string(),
        }),
    })
}

fn body_field(name: &'static str, raw: Option<&RawValue>) -> Field {
    let raw = raw?.get();
    let is_string = raw.starts_with('"');
    Some(serde_json::from_str(raw).map_err(|error| InvalidField {
        r#type: "string_type",
        loc: vec!["body", name],
        msg: "Input should be a valid string",
        // An invalid string cannot be shown as JSON, but has a reason; a value of another type can, and needs none.
        input: if is_string {
            RawValue::NULL.to_owned()
        } else {
            shown(raw.to_owned())
        },
        ctx: is_string.then(|| Context {
            error: error.to_string(),
        }),
    }))
}

/// Returns an input for an error message; null if it is over [`SHOWN_BYTES_MAX`].
fn shown(json: String) -> Box<RawValue> {
    if json.len() > SHOWN_BYTES_MAX {
        return RawValue::NULL.to_owned();
    }
    RawValue::from_string(json).expect("it was read or written as JSON")
}
