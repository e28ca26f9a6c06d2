//! `GET /api/v1/keys`: some pairs at a time, of all or of those that somebody looks for.
//!
//! In: a prefix, a text to look for, a cursor. Out: the beginnings of pairs, and the cursor where the next ones begin. Promises: a
//! walk from cursor to cursor shows every pair that is there all along; no request looks for longer than [`LOOK_MAX`], however
//! many pairs there are and however few are found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use memchr::{memchr2_iter, memmem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::account::Account;
use super::docs::{LOADING, OTHER_SITE};
use super::input;
use super::problem::Problem;
use crate::codec::json;
use crate::command::Service;
use crate::engine::Barrier;
use crate::model::entry::Entry;
use crate::model::{Key, is_text};

/// How many pairs are shown unless it is said, and the most that can be asked for: an answer is made in memory.
const LIMIT: usize = 50;
pub const LIMIT_MAX: usize = 1_000;
/// The most bytes of a value that are shown: the rest is read by its key.
const SHOWN_BYTES_MAX: usize = 256;
/// How long one request looks: a page has to come at once, and others have their turn.
const LOOK_MAX: Duration = Duration::from_millis(40);
/// How many pairs are looked at before others have their turn.
const LOOKED_AT_ONCE: usize = 1_000;

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
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let reason = format!("limit is 1 to {LIMIT_MAX}, not {limit}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let cursor = asked.cursor.as_deref().unwrap_or("0").parse();
    let cursor: u64 = cursor.map_err(|_| {
        let reason = "cursor is the one of the page before, or none for the first page";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
    })?;
    let prefix = Key::parse(asked.prefix.as_bytes())?;
    let account = Account::open(&service, "SCAN", &[]);
    let engine = service.engine()?;
    let wanted = Wanted::new(&asked.search);
    let everything = asked.search.is_empty() && asked.prefix.is_empty();
    let is_wanted =
        |entry: &Entry| entry.key_bytes().starts_with(prefix.as_bytes()) && wanted.is_in(entry);
    let began = Instant::now();
    let (mut found, mut barrier) = (Vec::new(), Barrier::default());
    let (mut from, mut looked_at) = (Some(cursor), 0);
    // Who types a whole key sees it at once, however many others there are; the walk passes over it then.
    let typed = [&asked.prefix, &asked.search].map(String::as_bytes);
    if cursor == 0 && !everything {
        for key in typed.into_iter().filter_map(|key| Key::parse(key).ok()) {
            let mut group = engine.begin(&[key]);
            barrier.raise(group.seen());
            looked_at += 1;
            let is_new = |entry: &Entry| !found.iter().any(|one: &Entry| one.is_same(entry));
            found.extend(
                group
                    .get(key)
                    .filter(|entry| is_wanted(entry) && is_new(entry)),
            );
        }
    }
    // A request gets on in any case; little is looked at at once while much is found, so that no page is much too long.
    let mut least = limit.min(LOOKED_AT_ONCE);
    while let Some(position) = from
        && (position == cursor || found.len() < limit && began.elapsed() < LOOK_MAX)
    {
        let before = found.len();
        let (entries, next) = engine.page(position, least, &mut barrier);
        from = next;
        for entry in entries {
            looked_at += 1;
            let was_shown = !everything && typed.contains(&entry.key_bytes());
            if is_wanted(&entry) && !was_shown {
                found.push(entry);
            }
        }
        if found.len() == before {
            least = (least * 2).min(LOOKED_AT_ONCE);
        }
        tokio::task::yield_now().await;
    }
    // What is shown must be as safe as promised; what could not be made safe is still true.
    let _ = service.commit(barrier).await;
    account.close(None, None);
    Ok(Json(Page {
        keys: found.iter().map(shown).collect(),
        cursor: from.map(|position| position.to_string()),
        looked_at,
    }))
}

/// What is looked for.
struct Wanted<'a> {
    bytes: &'a [u8],
    /// Only where it has letters two cases are compared.
    has_letters: bool,
}

impl<'a> Wanted<'a> {
    fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        Self {
            bytes,
            has_letters: bytes.iter().any(u8::is_ascii_alphabetic),
        }
    }

    fn is_in(&self, entry: &Entry) -> bool {
        self.is_in_bytes(entry.key_bytes()) || self.is_in_bytes(entry.value_bytes())
    }

    fn is_in_bytes(&self, bytes: &[u8]) -> bool {
        let [first, ..] = self.bytes else {
            return true;
        };
        if !self.has_letters {
            return memmem::find(bytes, self.bytes).is_some();
        }
        let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
        memchr2_iter(lower, upper, bytes).any(|at| {
            let there = bytes[at..].get(..self.bytes.len());
            there.is_some_and(|there| there.eq_ignore_ascii_case(self.bytes))
        })
    }
}

fn shown(entry: &Entry) -> Shown {
    let bytes = entry.value_bytes();
    let is_text = is_text(bytes);
    let mut end = bytes.len().min(SHOWN_BYTES_MAX);
    // Back to where a character begins; the first byte of one is never 10xxxxxx (RFC 3629, section 3).
    while is_text && end < bytes.len() && bytes[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    let beginning = &bytes[..end];
    Shown {
        key: entry.key().as_str().to_owned(),
        value: if is_text {
            String::from_utf8_lossy(beginning).into_owned()
        } else {
            json::base64(beginning)
        },
        encoding: if is_text { "text" } else { "base64" },
        is_whole: end == bytes.len(),
        bytes: bytes.len(),
        expires_at: entry.expires_at().map(json::time),
    }
}
