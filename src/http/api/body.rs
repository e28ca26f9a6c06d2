//! The bodies of `/api/v1/keys`: what is asked for, what is answered, and the schemas of both.
//!
//! In: JSON. Out: a value and its expiry, or what is wrong with it. Promises: a member that is not known is refused, not passed over;
//! a moment that is taken is in the future, and one that there is.

use axum::body::Bytes;
use axum::http::StatusCode;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::codec::json;
use crate::http::compat::bodies::StoredValue;
use crate::http::problem::Problem;
use crate::model::{EXPIRES_AT_MAX, UnixMs, Value, now_ms};

/// What a parser says may quote the body; this much of it is passed on.
const REASON_CHARS_MAX: usize = 300;

/// When a pair ceases to be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"key": "session:7", "expires_at": "2026-11-24T01:02:03.456Z"}))]
pub struct Expiry {
    /// The key.
    pub key: String,
    /// When it expires (RFC 3339, UTC); null: it stays.
    #[schema(required)]
    pub expires_at: Option<String>,
}

/// A pair and when it ceases to be.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`pairs` writes it as it goes")]
#[schema(example = json!({"key": "session:7", "value": "Ada", "expires_at": "2026-11-24T01:02:03.456Z"}))]
pub struct Found {
    key: String,
    value: StoredValue,
    /// When it expires (RFC 3339, UTC); null: it stays.
    #[schema(required)]
    expires_at: Option<String>,
}

/// A value to be stored, and at most one member that says when it expires; without one it stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"value": "Ada", "expires_in_ms": 1500}))]
pub struct NewValue<'a> {
    /// The value: text, or bytes in base64.
    #[serde(borrow)]
    #[schema(value_type = StoredValue)]
    value: &'a RawValue,
    /// When it expires (RFC 3339); null: it stays.
    #[serde(default)]
    expires_at: Option<String>,
    /// In how many milliseconds it expires, from 1 on.
    #[serde(default)]
    #[schema(nullable = false)]
    expires_in_ms: Option<u64>,
    /// Whether it expires when the value before it would have.
    #[serde(default)]
    #[schema(required = false)]
    keep_expiry: bool,
}

/// When a pair is to cease to be: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"expires_in_ms": 60_000}))]
pub struct NewExpiry {
    /// When it expires (RFC 3339); null: it stays.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    #[expect(clippy::option_option, reason = "null is given, and is not nothing")]
    expires_at: Option<Option<String>>,
    /// In how many milliseconds it expires, from 1 on.
    #[serde(default)]
    #[schema(nullable = false)]
    expires_in_ms: Option<u64>,
}

/// What becomes of a pair's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It ceases to be then, or never.
    Moment(Option<UnixMs>),
    /// It stays as it is.
    Kept,
}

impl Until {
    /// Returns the options of SET that say so.
    pub fn options(self) -> Vec<String> {
        match self {
            Self::Moment(None) => Vec::new(),
            Self::Moment(Some(at)) => vec!["PXAT".to_owned(), at.to_string()],
            Self::Kept => vec!["KEEPTTL".to_owned()],
        }
    }
}

/// Tells a member that is null from one that is not there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(reader: D) -> Result<Option<T>, D::Error> {
    T::deserialize(reader).map(Some)
}

/// The value that a body asks to store, and when it ceases to be.
///
/// # Errors
/// What is wrong with the body.
pub fn new_value(body: &Bytes) -> Result<(Vec<u8>, Until), Problem> {
    let asked: NewValue<'_> = object(body)?;
    let until = until(
        asked.expires_at.as_deref(),
        asked.expires_in_ms,
        asked.keep_expiry,
    )?;
    let value = value_of(asked.value.get())?;
    Value::parse(&value)?;
    Ok((value, until))
}

/// What becomes of a pair's expiry, from the members that say so.
///
/// # Errors
/// There is more than one of them, or it cannot be.
pub fn until(at: Option<&str>, in_ms: Option<u64>, is_kept: bool) -> Result<Until, Problem> {
    match (at, in_ms, is_kept) {
        (at, None, false) => Ok(Until::Moment(at.map(moment).transpose()?)),
        (None, Some(ms), false) => Ok(Until::Moment(Some(moment_in(ms)?))),
        (None, None, true) => Ok(Until::Kept),
        _ => Err(unfit(
            "there is more than one of expires_at, expires_in_ms and keep_expiry: send one of them",
        )),
    }
}

/// When a body asks a pair to cease to be, if ever.
///
/// # Errors
/// What is wrong with the body.
pub fn new_expiry(body: &Bytes) -> Result<Option<UnixMs>, Problem> {
    let asked: NewExpiry = object(body)?;
    match (asked.expires_at, asked.expires_in_ms) {
        (Some(at), None) => at.as_deref().map(moment).transpose(),
        (None, Some(ms)) => moment_in(ms).map(Some),
        _ => Err(unfit(
            "the body must have one of expires_at, which may be null, and expires_in_ms",
        )),
    }
}

/// Reads an object. (For serde, an array of what its members are is one, too.)
///
/// # Errors
/// It is no JSON, or not what is asked for.
pub fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let read = serde_json::from_slice(body).map_err(|error| unread(&error))?;
    if body.trim_ascii_start().starts_with(b"{") {
        Ok(read)
    } else {
        Err(unfit("the body is not a JSON object"))
    }
}

/// A value, from its JSON text.
///
/// # Errors
/// It is neither a string nor bytes in base64.
pub fn value_of(raw: &str) -> Result<Vec<u8>, Problem> {
    /// Bytes, and nothing beside them: an expiry has members of its own here.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Binary {
        #[serde(rename = "$base64")]
        _base64: IgnoredAny,
    }

    let is_binary = || object::<Binary>(raw.as_bytes()).is_ok();
    if !raw.starts_with('"') && !is_binary() {
        return Err(unfit(
            "value is neither a JSON string nor an object {\"$base64\": \"...\"}: text stands in quotes",
        ));
    }
    let read = json::read_value(raw);
    let loaded = read.map_err(|reason| unfit(format!("value: {}", head(&reason))))?;
    Ok(loaded.bytes.into_owned())
}

fn moment(text: &str) -> Result<UnixMs, Problem> {
    let moment = json::read_moment(text).ok_or_else(|| {
        unfit("expires_at is neither null nor a time such as \"2026-11-23T01:02:03.456Z\"")
    })?;
    if moment <= now_ms() {
        return Err(unfit("expires_at has passed: DELETE the key instead"));
    }
    check_far("expires_at", moment)
}

fn moment_in(ms: u64) -> Result<UnixMs, Problem> {
    if ms == 0 {
        return Err(unfit(
            "expires_in_ms is 0, and must be at least 1: DELETE the key instead",
        ));
    }
    check_far("expires_in_ms", now_ms().saturating_add(ms))
}

fn check_far(member: &str, moment: UnixMs) -> Result<UnixMs, Problem> {
    if moment > EXPIRES_AT_MAX {
        let most = json::time(EXPIRES_AT_MAX);
        return Err(unfit(format!(
            "{member} is after {most}, the last moment that there is: send expires_at null to let the key stay"
        )));
    }
    Ok(moment)
}

/// That a body is JSON, but not what was asked for.
pub fn unfit(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// That a body is no JSON, or not what was asked for.
fn unread(error: &serde_json::Error) -> Problem {
    let reason = error.to_string();
    let reason = head(&reason);
    if error.is_data() {
        unfit(format!("the body is not what is asked for here: {reason}"))
    } else {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not JSON: {reason}"),
        )
    }
}

fn head(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}
