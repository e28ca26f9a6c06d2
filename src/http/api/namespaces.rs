//! `GET /api/v1/namespaces`: the parts of keys up to the next colon, and the number of keys of each.
//!
//! In: a prefix. Out: the namespaces below it. Promises: a scan of all keys is cached, so that frequent requests take a small share of the
//! time, unless they ask for a new one; it holds no lock for long; the response has the time of the scan.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::codec::json;
use crate::codec::key_text::key_bytes;
use crate::command::NAMESPACES_MAX;
use crate::http::descriptions::LOADING;
use crate::http::door::{Caller, OwnedReply};
use crate::http::input::Parameters;
use crate::http::problem::{Problem, unfit};
use crate::model::{UnixMs, now_ms};

/// Minimum time for which a count is fresh.
const FRESH_MIN: Duration = Duration::from_secs(1);
/// Time for which a count is fresh, as a multiple of the duration of its scan: the scans of a prefix take at most 5% of the time,
/// however many keys there are.
const FRESH_SCAN_TIMES: u32 = 20;
/// Maximum number of prefixes whose counts are cached.
const PREFIXES_MAX: usize = 64;

/// Query of `GET /api/v1/namespaces`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NamespacesQuery {
    /// Prefix of the namespaces to list; empty for those of the top level.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
    /// Maximum number of namespaces, the largest first; absent for all of them, by name.
    #[serde(default)]
    #[param(required = false, minimum = 0, maximum = 100_000, example = 8)]
    limit: Option<usize>,
}

/// Namespaces below a prefix.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Listed)]
pub struct NamespaceList {
    /// Namespaces, at most `limit` of them.
    namespaces: Vec<Namespace>,
    /// Number of namespaces below the prefix.
    #[schema(example = 1)]
    namespaces_total: usize,
    /// Number of keys with the prefix, in namespaces or not.
    #[schema(example = 10)]
    keys: u64,
    /// Number of keys with the prefix that are in no namespace there.
    others: u64,
    /// Time of the count (RFC 3339).
    #[schema(example = "2026-11-25T12:00:00.000Z")]
    counted_at: String,
    #[serde(skip)]
    began: Instant,
    #[serde(skip)]
    took: Duration,
}

/// Namespace and its number of keys.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Namespace {
    /// Prefix of its keys, the colon included.
    #[schema(example = "user:")]
    name: String,
    /// Number of its keys.
    #[schema(example = 4)]
    keys: u64,
}

/// Cache of counts, by prefix. One scan runs at a time.
#[derive(Debug, Default)]
pub struct NamespaceCounts {
    by_prefix: Mutex<HashMap<String, Arc<NamespaceList>>>,
    scanning: tokio::sync::Mutex<()>,
}

/// List namespaces.
///
/// Counts are cached for a while: `counted_at` is the time of the scan. With `Cache-Control: no-cache` in the request, the keys are counted
/// anew, as they are after every change that was answered before.
#[utoipa::path(get, path = "/api/v1/namespaces", operation_id = "list_namespaces", tag = "Keys", params(NamespacesQuery),
    responses(
        (status = 200, description = "The namespaces.", body = NamespaceList),
        (status = 413, description = "There are more than 100,000.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not what it should be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    caller: Caller,
    Extension(counts): Extension<Arc<NamespaceCounts>>,
    headers: HeaderMap,
    Parameters(NamespacesQuery { prefix, limit }): Parameters<NamespacesQuery>,
) -> Result<Response, Problem> {
    if let Some(limit) = limit.filter(|limit| *limit > NAMESPACES_MAX) {
        return Err(unfit(format!(
            "limit is 0 to {NAMESPACES_MAX}, not {limit}"
        )));
    }
    caller.check("NAMESPACES", &[])?;
    let counted = if caller.sees_all_keys() {
        let asked = Instant::now();
        let wants_new = wants_new(&headers);
        let will_do = |cached: &NamespaceList| {
            if wants_new {
                cached.began >= asked
            } else {
                cached.is_fresh()
            }
        };
        counts.below(&caller, prefix, will_do).await?
    } else {
        // The cache is of all keys.
        let _permit = counts.scanning.lock().await;
        Arc::new(count(&caller, &prefix).await?)
    };
    Ok(match limit {
        Some(limit) => Json(counted.largest(limit)).into_response(),
        None => Json(&*counted).into_response(),
    })
}

impl NamespaceCounts {
    /// Returns the namespaces below a prefix: from the cache if the count there will do, else from a scan.
    ///
    /// # Errors
    /// 413 if there are too many namespaces or the prefix is over the limit of a key; 503 while the data is being loaded.
    async fn below(
        &self,
        caller: &Caller,
        prefix: String,
        will_do: impl Fn(&NamespaceList) -> bool,
    ) -> Result<Arc<NamespaceList>, Problem> {
        let cached = || self.cached(&prefix).filter(|cached| will_do(cached));
        if let Some(cached) = cached() {
            return Ok(cached);
        }
        let _permit = self.scanning.lock().await;
        // Another request may have counted them meanwhile.
        match cached() {
            Some(cached) => Ok(cached),
            None => self.count(caller, prefix).await,
        }
    }

    fn cached(&self, prefix: &str) -> Option<Arc<NamespaceList>> {
        let by_prefix = self
            .by_prefix
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        by_prefix.get(prefix).map(Arc::clone)
    }

    async fn count(&self, caller: &Caller, prefix: String) -> Result<Arc<NamespaceList>, Problem> {
        let counted = count(caller, &prefix).await.map(Arc::new);
        let mut by_prefix = self
            .by_prefix
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &counted {
            Ok(counted) => {
                if by_prefix.len() >= PREFIXES_MAX {
                    by_prefix.retain(|_, cached| cached.is_fresh());
                }
                if by_prefix.len() >= PREFIXES_MAX {
                    by_prefix.clear();
                }
                by_prefix.insert(prefix, Arc::clone(counted));
            }
            Err(_) => drop(by_prefix.remove(&prefix)),
        }
        counted
    }
}

impl NamespaceList {
    fn largest(&self, limit: usize) -> Self {
        let mut namespaces = self.namespaces.iter().collect::<Vec<_>>();
        // The sort is stable: namespaces of the same size stay in the order of their names.
        namespaces.sort_by_key(|namespace| Reverse(namespace.keys));
        namespaces.truncate(limit);
        Self {
            namespaces: namespaces.into_iter().cloned().collect(),
            counted_at: self.counted_at.clone(),
            ..*self
        }
    }

    fn is_fresh(&self) -> bool {
        self.began.elapsed() < FRESH_MIN.max(self.took * FRESH_SCAN_TIMES)
    }
}

/// Returns true if a request accepts no cached response (RFC 9111, section 5.2.1.4).
fn wants_new(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter();
    let mut directives = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
}

/// Counts the namespaces below a prefix, by a scan of all keys.
///
/// # Errors
/// The error reply of NAMESPACES.
async fn count(caller: &Caller, prefix: &str) -> Result<NamespaceList, Problem> {
    let began = Instant::now();
    let counted_at: UnixMs = now_ms();
    let mut door = caller.door();
    let result = door
        .execute("NAMESPACES", &[&key_bytes(prefix.into())])
        .await?;
    let (mut namespaces, mut keys, mut others) = (Vec::new(), 0, 0);
    for reply in result.replies {
        match reply {
            OwnedReply::Namespace(name, count) => {
                keys += count;
                namespaces.push(Namespace { name, keys: count });
            }
            OwnedReply::Others(count) => others = count,
            _ => unreachable!("NAMESPACES answers with namespaces and their end"),
        }
    }
    Ok(NamespaceList {
        namespaces_total: namespaces.len(),
        keys: keys + others,
        namespaces,
        others,
        counted_at: json::time(counted_at),
        began,
        took: began.elapsed(),
    })
}
