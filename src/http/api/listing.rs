//! `GET /api/v1/keys`: pairs page by page, of all or of those that match.
//!
//! In: a prefix, a text to search for, a cursor. Out: the beginnings of pairs, and the cursor of the next page. Promises: those
//! of PAGE.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::codec::json;
use crate::command::{PAGE_PAIRS, PAGE_PAIRS_MAX, Service};
use crate::http::descriptions::{LOADING, OTHER_SITE};
use crate::http::door::{Door, Told};
use crate::http::input;
use crate::http::problem::Problem;

/// What is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Only keys that begin with this.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
    /// Only pairs whose key or value holds this. Case does not matter for the letters A to Z.
    #[serde(default)]
    #[param(required = false, example = "alice")]
    search: String,
    /// Where to begin: the `cursor` of the page before.
    #[serde(default)]
    #[param(required = false, example = "4503599627370496")]
    cursor: Option<String>,
    /// How many pairs, 1 to 1,000. There may be a few more where keys share a place, and fewer, or none, where the search has
    /// not come to its end: it has once `cursor` is null.
    #[serde(default)]
    #[param(required = false, minimum = 1, maximum = 1000, example = 50)]
    limit: Option<usize>,
}

/// Some pairs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    /// The pairs, in no order.
    keys: Vec<Shown>,
    /// Where the next page begins; null after the last. Digits, but more than a number of JavaScript can have.
    #[schema(example = "4503599627370496")]
    cursor: Option<String>,
    /// How many pairs were looked at for this page.
    looked_at: u64,
}

/// A pair, or the beginning of it.
#[derive(Debug, Serialize, ToSchema)]
struct Shown {
    #[schema(example = "user:101:name")]
    key: String,
    /// The value, or its beginning: text, or bytes that are no text as base64.
    #[schema(example = "Alice Johnson")]
    value: String,
    /// `text` or `base64`.
    #[schema(example = "text")]
    encoding: &'static str,
    /// Whether that is the whole value.
    is_whole: bool,
    /// The length of the whole value.
    #[schema(example = 13)]
    bytes: usize,
    /// When the pair ceases to be (RFC 3339), if it does.
    expires_at: Option<String>,
}

/// List pairs.
///
/// Some at a time, in no order. Go on with the `cursor` of each page until it is null.
#[utoipa::path(get, path = "/api/v1/keys", operation_id = "list_pairs", tag = "Keys", params(Asked),
    responses(
        (status = 200, description = "Some pairs.", body = Page),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not what it should be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    State(service): State<Arc<Service>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Page>, Problem> {
    let asked = input::query(asked)?;
    let limit = asked.limit.unwrap_or(PAGE_PAIRS);
    if !(1..=PAGE_PAIRS_MAX).contains(&limit) {
        let reason = format!("limit is 1 to {PAGE_PAIRS_MAX}, not {limit}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let cursor = asked.cursor.as_deref().unwrap_or("0").parse();
    let cursor: u64 = cursor.map_err(|_| {
        let reason = "cursor is the one of the page before, or none for the first page";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
    })?;
    let (cursor, limit) = (cursor.to_string(), limit.to_string());
    let words = [
        &cursor,
        "PREFIX",
        &asked.prefix,
        "SEARCH",
        &asked.search,
        "LIMIT",
        &limit,
    ]
    .map(str::as_bytes);
    let answer = Door::new(&service).ask("PAGE", &words).await?;
    let mut told = answer.told.into_iter();
    let (_, cursor, searched, _) = (told.next(), told.next(), told.next(), told.next());
    let (Some(Told::Bytes(cursor)), Some(Told::Number(searched))) = (cursor, searched) else {
        unreachable!("PAGE answers with a cursor, a count and pairs")
    };
    let cursor = String::from_utf8_lossy(&cursor).into_owned();
    Ok(Json(Page {
        keys: std::iter::from_fn(|| shown(&mut told)).collect(),
        cursor: Some(cursor).filter(|cursor| cursor != "0"),
        looked_at: u64::try_from(searched).unwrap_or(0),
    }))
}

/// Returns the next pair of a page.
fn shown(told: &mut impl Iterator<Item = Told>) -> Option<Shown> {
    let [_, key, kind, bytes, expires_at, beginning] = [(); 6].map(|()| told.next());
    let (
        Told::Bytes(key),
        Told::Bytes(kind),
        Told::Number(bytes),
        Told::Number(expires_at),
        Told::Bytes(beginning),
    ) = (key?, kind?, bytes?, expires_at?, beginning?)
    else {
        unreachable!("a pair of PAGE has five members")
    };
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let expires_at = u64::try_from(expires_at).ok();
    let is_whole = beginning.len() == bytes;
    let (value, encoding) = match String::from_utf8(beginning) {
        Ok(text) if kind == b"text" => (text, "text"),
        Ok(text) => (json::base64(text.as_bytes()), "base64"),
        Err(binary) => (json::base64(binary.as_bytes()), "base64"),
    };
    Some(Shown {
        key: String::from_utf8_lossy(&key).into_owned(),
        value,
        encoding,
        is_whole,
        bytes,
        expires_at: expires_at.map(json::time),
    })
}
