//! `GET /api/v1/namespaces`: what keys begin with up to the next colon, and how many keys each has.
//!
//! In: a prefix. Out: the namespaces below it. Promises: however often it is asked, all keys are looked at one after the other
//! only now and then, with others having their turn in between; how old the answer is, is told.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::codec::json;
use crate::command::Service;
use crate::http::descriptions::{LOADING, OTHER_SITE};
use crate::http::door::{Door, Told};
use crate::http::input;
use crate::http::problem::Problem;
use crate::model::{UnixMs, now_ms};

/// A count is good for at least so long,
const GOOD_FOR: Duration = Duration::from_secs(1);
/// and so many times as long as it has taken: counting takes a small share of the time, however many keys there are.
const GOOD_FOR_TIMES: u32 = 20;
/// Of how many prefixes counts are kept.
const PREFIXES_MAX: usize = 64;

/// What is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// The namespaces below this one; all, if there is none.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
    /// Only so many, the largest first; all of them by name, if it is not said.
    #[serde(default)]
    #[param(required = false, example = 8)]
    limit: Option<usize>,
}

/// The namespaces below a prefix.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Listed {
    /// Those that were asked for.
    namespaces: Vec<Namespace>,
    /// How many there are.
    #[schema(example = 1)]
    namespaces_total: usize,
    /// Keys below the prefix, in namespaces or not.
    #[schema(example = 10)]
    keys: u64,
    /// Keys below the prefix that are in no namespace there.
    others: u64,
    /// When they were counted (RFC 3339).
    #[schema(example = "2026-11-25T12:00:00.000Z")]
    counted_at: String,
    #[serde(skip)]
    began: Instant,
    #[serde(skip)]
    took: Duration,
}

/// A namespace.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Namespace {
    /// What its keys begin with, the colon included.
    #[schema(example = "user:")]
    name: String,
    /// How many they are.
    #[schema(example = 4)]
    keys: u64,
}

/// Counts that are kept. One is made at a time.
#[derive(Debug, Default)]
pub struct Counts {
    by_prefix: Mutex<HashMap<String, Arc<Listed>>>,
    counting: Arc<tokio::sync::Mutex<()>>,
}

/// List namespaces.
///
/// They are counted now and then, not each time: `counted_at` says when.
#[utoipa::path(get, path = "/api/v1/namespaces", operation_id = "list_namespaces", tag = "Keys", params(Asked),
    responses(
        (status = 200, description = "The namespaces.", body = Listed),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "There are more than 100,000.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not what it should be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    State(service): State<Arc<Service>>,
    Extension(counts): Extension<Arc<Counts>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Problem> {
    let Asked { prefix, limit } = input::query(asked)?;
    let counted = counts.below(&service, prefix).await?;
    Ok(match limit {
        Some(limit) => Json(counted.largest(limit)).into_response(),
        None => Json(&*counted).into_response(),
    })
}

impl Counts {
    /// The namespaces below a prefix: as they were counted last, if that is good; else as they are counted now. While they are, who
    /// has seen an older count is shown that.
    async fn below(
        self: &Arc<Self>,
        service: &Arc<Service>,
        prefix: String,
    ) -> Result<Arc<Listed>, Problem> {
        let kept = self.kept(&prefix);
        if let Some(kept) = kept {
            if !kept.is_good()
                && let Ok(turn) = Arc::clone(&self.counting).try_lock_owned()
            {
                let (counts, service) = (Arc::clone(self), Arc::clone(service));
                tokio::spawn(async move {
                    // Too many by now: the next who asks finds that out.
                    let _ = counts.count(&service, prefix).await;
                    drop(turn);
                });
            }
            return Ok(kept);
        }
        let _turn = self.counting.lock().await;
        // By whoever had the turn before.
        match self.kept(&prefix) {
            Some(kept) => Ok(kept),
            None => self.count(service, prefix).await,
        }
    }

    fn kept(&self, prefix: &str) -> Option<Arc<Listed>> {
        let by_prefix = self
            .by_prefix
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        by_prefix.get(prefix).map(Arc::clone)
    }

    async fn count(&self, service: &Arc<Service>, prefix: String) -> Result<Arc<Listed>, Problem> {
        let counted = count(service, &prefix).await.map(Arc::new);
        let mut by_prefix = self
            .by_prefix
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &counted {
            Ok(counted) => {
                if by_prefix.len() >= PREFIXES_MAX {
                    by_prefix.retain(|_, kept| kept.is_good());
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

impl Listed {
    fn largest(&self, limit: usize) -> Self {
        let mut namespaces = self.namespaces.iter().collect::<Vec<_>>();
        // Those of one size stay in the order of their names.
        namespaces.sort_by_key(|namespace| Reverse(namespace.keys));
        namespaces.truncate(limit);
        Self {
            namespaces: namespaces.into_iter().cloned().collect(),
            counted_at: self.counted_at.clone(),
            ..*self
        }
    }

    fn is_good(&self) -> bool {
        self.began.elapsed() < GOOD_FOR.max(self.took * GOOD_FOR_TIMES)
    }
}

/// Counts the namespaces below a prefix.
async fn count(service: &Arc<Service>, prefix: &str) -> Result<Listed, Problem> {
    let began = Instant::now();
    let counted_at: UnixMs = now_ms();
    let mut door = Door::new(service);
    let answer = door.ask("NAMESPACES", &[prefix.as_bytes()]).await?;
    let (mut namespaces, mut keys, mut others) = (Vec::new(), 0, 0);
    for told in answer.told {
        match told {
            Told::Namespace(name, count) => {
                keys += count;
                namespaces.push(Namespace { name, keys: count });
            }
            Told::Others(count) => others = count,
            _ => unreachable!("NAMESPACES answers with namespaces and their end"),
        }
    }
    Ok(Listed {
        namespaces_total: namespaces.len(),
        keys: keys + others,
        namespaces,
        others,
        counted_at: json::time(counted_at),
        began,
        took: began.elapsed(),
    })
}
