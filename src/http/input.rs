//! Key and value of a request, from its path, its query or its body.
//!
//! In: a URI as it was sent, and the bytes of a body. Out: text, or an error that names the field. Promise: nothing is silently
//! changed; a percent-encoding or a JSON string that is not UTF-8 is refused, not replaced.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::Utf8Error;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::charged_body::{self, BodyError, ReceivedBody};
use super::compat::bodies::{Context, InvalidField};
use super::listener::HttpClient;
use super::problem::Problem;
use crate::codec::json;
use crate::protocol::ErrorReply;
use crate::protocol::line::QUOTED_LINE_BYTES_MAX;

/// Maximum length of a body, in bytes: the longest pair, each byte of which may take six as `\u00XX`.
pub const BODY_BYTES_MAX: usize = QUOTED_LINE_BYTES_MAX;
/// Maximum length of an invalid input that an error repeats, in bytes: a response need not repeat megabytes.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// Field of a request, if present: its text, or the error in it.
type Field = Option<Result<String, InvalidField>>;

/// Returns the parameters of a query.
///
/// # Errors
/// 422 if a parameter is missing or of another type.
pub fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let Query(parameters) = query.map_err(|rejection| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, rejection.body_text())
    })?;
    Ok(parameters)
}

/// Key at the end of a path, percent-decoded. It need not be UTF-8.
pub struct PathKey(pub Vec<u8>);

impl<S: Sync> FromRequestParts<S> for PathKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let route = parts.extensions.get::<MatchedPath>();
        let route = route.expect("a routed request has one").as_str();
        let prefix = route.strip_suffix("{*key}").unwrap_or(route);
        let key = parts.uri.path().strip_prefix(prefix);
        let key = key.expect("the router has compared it");
        Ok(Self(percent_decode_str(key).collect()))
    }
}

/// Receives the whole body of a request.
///
/// # Errors
/// 413 if it is over [`BODY_BYTES_MAX`]; 400 if the connection ends before it is complete; 503 if the server holds too much for its
/// clients, and most for this one.
pub async fn body(request: Request) -> Result<ReceivedBody, Problem> {
    let client = request.extensions().get::<ConnectInfo<HttpClient>>();
    let client = client.expect("the listener gives one to every request");
    let account = Arc::clone(&client.0.account);
    let received = charged_body::receive(&account, request.into_body(), BODY_BYTES_MAX).await;
    received.map_err(|error| match error {
        BodyError::TooLong => {
            let text =
                format!("the body is longer than the {BODY_BYTES_MAX} bytes that it may have");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text)
        }
        BodyError::Partial => {
            Problem::new(StatusCode::BAD_REQUEST, "the body has not arrived whole")
        }
        BodyError::OverBudget(error) => ErrorReply::from(error).into(),
    })
}

/// Returns the pair of `POST /put`: from its query, and for a field that is missing there, from its body.
///
/// # Errors
/// The error in the body if it is needed and not a JSON object; else the errors in key and value, in this order: missing, or not
/// text.
pub fn pair(query: &str, body: &[u8]) -> Result<(String, String), Vec<InvalidField>> {
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
        (Ok(key), Ok(value)) => Ok((key, value)),
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
fn form_decoded(text: &str) -> Result<String, Utf8Error> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().map(Cow::into_owned)
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
