//! Bodies of `/api/v1/keys`: requests and responses, and the schemas of both.
//!
//! In: JSON. Out: a value and its expiry, or a problem that names the faulty member. Promises: an unknown member is refused, not
//! ignored; an expiry that is accepted is in the future and at most [`EXPIRES_AT_MAX`].

use axum::http::StatusCode;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::codec::json;
use crate::http::compat::bodies::StoredValue;
use crate::http::problem::{Problem, unfit};
use crate::model::{EXPIRES_AT_MAX, UnixMs, Value, now_ms};

/// Maximum length of a parser's message in a response, as it may quote the body.
const REASON_CHARS_MAX: usize = 300;
/// Maximum of `expires_in_ms`, 7,900 years: a constant, for its schema, that stays before [`EXPIRES_AT_MAX`] until 2077.
pub const EXPIRES_IN_MS_MAX: u64 = 250_000_000_000_000;

/// Key and its expiry.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`responses` writes its JSON directly")]
#[schema(as = Expiry, example = json!({"key": "session:7", "expires_at": "2026-11-24T01:02:03.456Z"}))]
pub struct PairExpiry {
    /// Key of the pair.
    key: String,
    /// Expiry of the pair (RFC 3339, UTC); null if it has none.
    #[schema(required)]
    expires_at: Option<String>,
}

/// Pair and its expiry.
#[derive(ToSchema)]
#[expect(dead_code, reason = "`responses` writes its JSON directly")]
#[schema(as = Found, example = json!({"key": "session:7", "value": "Ada", "expires_at": "2026-11-24T01:02:03.456Z"}))]
pub struct PairWithExpiry {
    key: String,
    value: StoredValue,
    /// Expiry of the pair (RFC 3339, UTC); null if it has none.
    #[schema(required)]
    expires_at: Option<String>,
}

/// Value to store, and at most one member for its expiry; without one it does not expire.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"value": "Ada", "expires_in_ms": 1500}))]
pub struct NewValue<'a> {
    /// Value: text, or bytes in base64.
    #[serde(borrow)]
    #[schema(value_type = StoredValue)]
    value: &'a RawValue,
    /// Expiry of the pair (RFC 3339), in the future; null for none.
    #[serde(default)]
    expires_at: Option<String>,
    /// Time to live in milliseconds, at least 1.
    #[serde(default, deserialize_with = "milliseconds")]
    #[schema(value_type = u64, required = false, minimum = 1, maximum = 250_000_000_000_000_u64)]
    expires_in_ms: Option<u64>,
    /// True to keep the expiry of the value that is replaced.
    #[serde(default)]
    #[schema(required = false)]
    keep_expiry: bool,
}

/// Expiry to set: exactly one of the two members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"expires_in_ms": 60_000}))]
pub struct NewExpiry {
    /// Expiry of the pair (RFC 3339), in the future; null for none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    #[expect(clippy::option_option, reason = "null is not the same as absent")]
    expires_at: Option<Option<String>>,
    /// Time to live in milliseconds, at least 1.
    #[serde(default, deserialize_with = "milliseconds")]
    #[schema(value_type = u64, required = false, minimum = 1, maximum = 250_000_000_000_000_u64)]
    expires_in_ms: Option<u64>,
}

/// Expiry of a pair after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedExpiry {
    /// The pair expires at this time, or never.
    Moment(Option<UnixMs>),
    /// The pair keeps the expiry that it has.
    Kept,
}

impl RequestedExpiry {
    /// Returns the options of SET for it.
    pub fn options(self) -> Vec<String> {
        match self {
            Self::Moment(None) => Vec::new(),
            Self::Moment(Some(at)) => vec!["PXAT".to_owned(), at.to_string()],
            Self::Kept => vec!["KEEPTTL".to_owned()],
        }
    }
}

/// Distinguishes a member that is null from one that is absent.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    reader: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(reader).map(Some)
}

/// Reads a number of milliseconds. To JSON, and to many of its writers, `1.0` is an integer.
pub fn milliseconds<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<u64>, D::Error> {
    let number = serde_json::Number::deserialize(reader)?;
    let whole = number.as_f64().filter(|real| real.fract() == 0.0);
    let whole = whole.and_then(|real| format!("{real:.0}").parse().ok());
    let read = number.as_u64().or(whole);
    let read = read
        .ok_or_else(|| D::Error::custom(format!("{number} is not a whole number of milliseconds")));
    read.map(Some)
}

/// Parses the value and the expiry of the body of a PUT.
///
/// # Errors
/// 400 if the body is not JSON; 422 if it has unknown, missing or conflicting members, a value of another type or an expiry that is
/// not valid; 413 if the value is over its limit.
pub fn new_value(body: &[u8]) -> Result<(Vec<u8>, RequestedExpiry), Problem> {
    let new: NewValue<'_> = object(body)?;
    let until = until(
        new.expires_at.as_deref(),
        new.expires_in_ms,
        new.keep_expiry,
    )?;
    let value = value_of(new.value.get())?;
    Value::parse(&value)?;
    Ok((value, until))
}

/// Parses the members that set the expiry of a new value.
///
/// # Errors
/// 422 if there is more than one of them, or if the expiry is not a time, has passed or is after [`EXPIRES_AT_MAX`].
pub fn until(
    at: Option<&str>,
    in_ms: Option<u64>,
    is_kept: bool,
) -> Result<RequestedExpiry, Problem> {
    match (at, in_ms, is_kept) {
        (at, None, false) => Ok(RequestedExpiry::Moment(at.map(moment).transpose()?)),
        (None, Some(ms), false) => Ok(RequestedExpiry::Moment(Some(moment_in(ms)?))),
        (None, None, true) => Ok(RequestedExpiry::Kept),
        _ => Err(unfit(
            "there is more than one of expires_at, expires_in_ms and keep_expiry: send one of them",
        )),
    }
}

/// Parses the expiry in the body of a PATCH; none to remove the expiry of the pair.
///
/// # Errors
/// 400 if the body is not JSON; 422 if it has not exactly one of the members, or if the expiry is not a time, has passed or is
/// after [`EXPIRES_AT_MAX`].
pub fn new_expiry(body: &[u8]) -> Result<Option<UnixMs>, Problem> {
    let new: NewExpiry = object(body)?;
    match (new.expires_at, new.expires_in_ms) {
        (Some(at), None) => at.as_deref().map(moment).transpose(),
        (None, Some(ms)) => moment_in(ms).map(Some),
        _ => Err(unfit(
            "the body must have one of expires_at, which may be null, and expires_in_ms",
        )),
    }
}

/// Parses a JSON object.
///
/// # Errors
/// 400 if the body is not JSON; 422 if it is not an object or does not have the members of `T`.
pub fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let read = serde_json::from_slice(body);
    let is_json = read
        .as_ref()
        .map_or_else(serde_json::Error::is_data, |_| true);
    // For serde, an array of the members' values would do for an object.
    if is_json && !body.trim_ascii_start().starts_with(b"{") {
        return Err(unfit("the body is not a JSON object"));
    }
    read.map_err(|error| unparsable(&error))
}

/// Parses a value from its JSON text.
///
/// # Errors
/// 422 if it is neither a string nor bytes in base64.
pub fn value_of(raw: &str) -> Result<Vec<u8>, Problem> {
    /// Bytes in base64, without the expiry that store.json keeps beside them: here it has members of its own.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Base64Object {
        #[serde(rename = "$base64")]
        _base64: IgnoredAny,
    }

    let is_binary = || object::<Base64Object>(raw.as_bytes()).is_ok();
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
    if moment > EXPIRES_AT_MAX {
        return Err(too_far(
            "expires_at",
            &format!("after {}", json::time(EXPIRES_AT_MAX)),
        ));
    }
    Ok(moment)
}

fn moment_in(ms: u64) -> Result<UnixMs, Problem> {
    if ms == 0 {
        return Err(unfit(
            "expires_in_ms is 0, and must be at least 1: DELETE the key instead",
        ));
    }
    if ms > EXPIRES_IN_MS_MAX {
        return Err(too_far(
            "expires_in_ms",
            &format!("over {EXPIRES_IN_MS_MAX}"),
        ));
    }
    Ok(now_ms() + ms)
}

fn too_far(member: &str, limit: &str) -> Problem {
    unfit(format!(
        "{member} is {limit}, which is the most: send expires_at null to let the key stay"
    ))
}

/// Makes the problem of a body that serde cannot read: 400 if it is not JSON, 422 if it is.
fn unparsable(error: &serde_json::Error) -> Problem {
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
