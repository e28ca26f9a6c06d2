//! `GET /api/v1/keys`: pairs page by page, filtered by prefix and search text.
//!
//! In: a prefix, a search text, a cursor. Out: pairs, long values truncated, and the cursor of the next page. Promises: those of
//! the command PAGE.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::codec::json;
use crate::codec::key_text::{key_bytes, key_text};
use crate::command::{PAGE_PAIRS, PAGE_PAIRS_MAX};
use crate::http::descriptions::LOADING;
use crate::http::door::{Caller, OwnedReply};
use crate::http::input::Parameters;
use crate::http::problem::{Problem, unfit};

/// Query of `GET /api/v1/keys`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Prefix of the keys to list; empty for all keys.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
    /// Text that the key or the value must contain. The letters A to Z match in both cases.
    #[serde(default)]
    #[param(required = false, example = "alice")]
    search: String,
    /// Start of the page: the `cursor` of the page before; absent for the first page.
    #[serde(default)]
    #[param(required = false, pattern = "^[0-9]+$", example = "4503599627370496")]
    cursor: Option<String>,
    /// Maximum number of pairs, 1 to 1,000. A page is searched for during 40 ms at most and may have fewer pairs, or none: only a
    /// `cursor` of null means that none is left.
    #[serde(default)]
    #[param(required = false, minimum = 1, maximum = 1000, example = 50)]
    limit: Option<usize>,
}

/// Page of pairs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Page)]
pub struct PairPage {
    /// Pairs, in no order.
    keys: Vec<ListedPair>,
    /// Start of the next page; null on the last page. A string of digits, as it may exceed the integers of JavaScript.
    #[schema(example = "4503599627370496")]
    cursor: Option<String>,
    /// Number of pairs scanned for this page.
    looked_at: u64,
}

/// Pair with its value, or the beginning of a long value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shown)]
struct ListedPair {
    #[schema(example = "user:101:name")]
    key: String,
    /// Value, or its beginning: text, or base64 for bytes that are not UTF-8.
    #[schema(example = "Alice Johnson")]
    value: String,
    /// Encoding of `value`: `text` or `base64`.
    #[schema(example = "text")]
    encoding: &'static str,
    /// True if `value` is the whole value.
    is_whole: bool,
    /// Length of the whole value in bytes.
    #[schema(example = 13)]
    bytes: usize,
    /// Expiry of the pair (RFC 3339); null if it has none.
    expires_at: Option<String>,
}

/// List pairs.
///
/// One page at a time, in no order. Continue with the `cursor` of each page until it is null.
#[utoipa::path(get, path = "/api/v1/keys", operation_id = "list_pairs", tag = "Keys", params(ListQuery),
    responses(
        (status = 200, description = "A page of pairs.", body = PairPage),
        (status = 413, description = "The text to search for is over 65,536 bytes.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not what it should be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    caller: Caller,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<PairPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_PAIRS);
    if !(1..=PAGE_PAIRS_MAX).contains(&limit) {
        return Err(unfit(format!(
            "limit is 1 to {PAGE_PAIRS_MAX}, not {limit}"
        )));
    }
    let cursor = query.cursor.as_deref().unwrap_or("0");
    if cursor.is_empty() || !cursor.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unfit(
            "cursor is the one of the page before, or none for the first page",
        ));
    }
    // Digits that are no cursor stand behind the last pair.
    let cursor = cursor.parse().unwrap_or(u64::MAX);
    let (cursor, limit) = (cursor.to_string(), limit.to_string());
    let words = [
        cursor.as_bytes(),
        b"PREFIX",
        &key_bytes(query.prefix.into()),
        b"SEARCH",
        query.search.as_bytes(),
        b"LIMIT",
        limit.as_bytes(),
    ];
    let result = caller.door().execute("PAGE", &words).await?;
    let mut replies = result.replies.into_iter();
    let (_, cursor, searched, _) = (
        replies.next(),
        replies.next(),
        replies.next(),
        replies.next(),
    );
    let (Some(OwnedReply::Bytes(cursor)), Some(OwnedReply::Number(searched))) = (cursor, searched)
    else {
        unreachable!("PAGE answers with a cursor, a count and pairs")
    };
    let cursor = String::from_utf8_lossy(&cursor).into_owned();
    Ok(Json(PairPage {
        keys: std::iter::from_fn(|| next_pair(&mut replies)).collect(),
        cursor: Some(cursor).filter(|cursor| cursor != "0"),
        looked_at: u64::try_from(searched).unwrap_or(0),
    }))
}

/// Takes the next pair of a page from the replies; `None` after the last.
fn next_pair(replies: &mut impl Iterator<Item = OwnedReply>) -> Option<ListedPair> {
    let [_, key, kind, bytes, expires_at, beginning] = [(); 6].map(|()| replies.next());
    let (
        OwnedReply::Bytes(key),
        OwnedReply::Bytes(kind),
        OwnedReply::Number(bytes),
        OwnedReply::Number(expires_at),
        OwnedReply::Bytes(beginning),
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
    Some(ListedPair {
        key: key_text(&key).into_owned(),
        value,
        encoding,
        is_whole,
        bytes,
        expires_at: expires_at.map(json::time),
    })
}
