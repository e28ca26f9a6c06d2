//! `GET /api/v1/live`: figures and operations as they come, as server-sent events.
//!
//! In: the counters, the operations. Out: events, the same for all who watch. Promises: while nobody watches, nothing is done for
//! it; who is slow to read skips what was meanwhile, and is told how much; the server does not wait.
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use utoipa::ToSchema;

use crate::codec::json;
use crate::command::Service;
use crate::http::docs::OTHER_SITE;
use crate::http::problem::Problem;
use crate::metrics::histogram::Counts;
use crate::metrics::process;
use crate::metrics::recent_requests::{OPERATIONS_MAX, Operation};
use crate::model::{UnixMs, now_ms};

/// The most who watch at one time: each holds a connection for as long as it likes.
pub const WATCHERS_MAX: usize = 100;
/// How often operations are told.
const TICK: Duration = Duration::from_millis(250);
/// At every so many of these ticks figures are told.
const TICKS_PER_SECOND: u32 = 4;
/// How many events are kept for who is slow to read.
const EVENTS_KEPT: usize = 32;
/// For how long operations are noted for who asks for them now and then.
const NOTED_FOR: Duration = Duration::from_secs(10);
/// How long the first who asks is kept waiting for an operation.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The figures of one second.
#[derive(Debug, Serialize, ToSchema)]
pub struct Figures {
    /// When, in milliseconds since 1970.
    time_ms: UnixMs,
    uptime_seconds: u64,
    /// Null while the data is being loaded.
    keys: Option<u64>,
    data_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    connections: u64,
    /// Since the figures before: requests in a second, of all commands, and of each that was asked for.
    requests_per_second: f64,
    by_command: BTreeMap<&'static str, f64>,
    errors_per_second: f64,
    /// The time in which half of the requests since the figures before were executed, and 99 of 100; null if there were none.
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    /// The share of reads since the figures before that have found their key; null if there were none.
    hit_ratio: Option<f64>,
    disk: Option<DiskFigures>,
}

/// How safe the data is.
#[derive(Debug, Serialize, ToSchema)]
struct DiskFigures {
    durability: String,
    /// Why changes are refused, if they are.
    fault: Option<String>,
    journal_bytes: u64,
    /// The age of the oldest change that is not on the disk.
    unsynced_seconds: f64,
    /// Changes that store.json does not hold.
    unsaved_changes: u64,
    /// When the last save ended (RFC 3339); null if there was none since the start.
    last_save_at: Option<String>,
    last_save_seconds: Option<f64>,
    /// `ok`, or why it failed.
    last_save_result: Option<String>,
}

/// Operations of a quarter of a second.
#[derive(Debug, Serialize, ToSchema)]
pub struct SomeOperations {
    operations: Vec<Operation>,
    /// How many more there were, which are not told.
    skipped: u64,
}

/// The latest operations.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecentOperations {
    /// The latest last; at most 100.
    operations: Vec<Operation>,
    /// Since when they are noted, in milliseconds since 1970.
    since_ms: UnixMs,
    /// How many there were since then which are not told.
    skipped: u64,
}

/// Where events come from.
#[derive(Debug)]
pub struct Feed {
    events: broadcast::Sender<Told>,
    state: Mutex<Making>,
}

/// What is made.
#[derive(Debug, Default)]
struct Making {
    /// Whether anything is.
    is_running: bool,
    /// Until when it is for who asks now and then.
    wanted_until: Option<Instant>,
    recent: VecDeque<Operation>,
    since: UnixMs,
    skipped: u64,
}

const OPERATIONS: &str = "operations";

/// An event: its name, and its data.
type Told = (&'static str, Arc<str>);

impl Default for Feed {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(EVENTS_KEPT),
            state: Mutex::default(),
        }
    }
}

/// Watch the server.
///
/// Server-sent events: `figures` each second; `operations`, four times a second while there are any; `skipped` with a number, in the
/// place of so many events that were not read in time.
#[utoipa::path(get, path = "/api/v1/live", operation_id = "watch", tag = "Server",
    responses(
        (status = 200, description = "Events, until the client goes or the server stops.", body = String,
            content_type = "text/event-stream",
            example = "event: figures\ndata: {\"keys\":10,\"requests_per_second\":3.0}\n\n"),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There are 100 who watch already.", body = Problem,
            content_type = "application/problem+json")))]
pub async fn live(
    State(service): State<Arc<Service>>,
    Extension(feed): Extension<Arc<Feed>>,
) -> Result<Response, Problem> {
    let events = feed.watch(&service)?;
    let shutdown = service.setup.shutdown.clone();
    let stream = stream::unfold(events, move |mut events| {
        let shutdown = shutdown.clone();
        async move {
            let event = tokio::select! {
                () = shutdown.cancelled() => return None,
                event = events.recv() => event,
            };
            let event = match event {
                Ok((name, data)) => Event::default().event(name).data(data),
                Err(RecvError::Lagged(count)) => {
                    Event::default().event("skipped").data(count.to_string())
                }
                Err(RecvError::Closed) => return None,
            };
            Some((Ok::<_, Infallible>(event), events))
        }
    });
    Ok(Sse::new(stream).into_response())
}

/// Read the latest operations.
///
/// They are noted while somebody watches, and for ten seconds after each of these requests; so the first of them waits for up to a
/// second for something to be done. Of each quarter of a second a hundred are noted, and the others counted.
#[utoipa::path(get, path = "/api/v1/operations", tag = "Server",
    responses(
        (status = 200, description = "The latest operations.", body = RecentOperations),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json")))]
pub async fn operations(
    State(service): State<Arc<Service>>,
    Extension(feed): Extension<Arc<Feed>>,
) -> Json<RecentOperations> {
    let mut events = feed.events.subscribe();
    if feed.want(&service) {
        let first = async {
            while events
                .recv()
                .await
                .is_ok_and(|(name, _)| name != OPERATIONS)
            {}
        };
        let _ = tokio::time::timeout(FIRST_WAIT, first).await;
    }
    let state = feed.state();
    Json(RecentOperations {
        operations: state.recent.iter().cloned().collect(),
        since_ms: state.since,
        skipped: state.skipped,
    })
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, Making> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more who watches.
    fn watch(
        self: &Arc<Self>,
        service: &Arc<Service>,
    ) -> Result<broadcast::Receiver<Told>, Problem> {
        let mut state = self.state();
        if self.events.receiver_count() >= WATCHERS_MAX {
            let reason = format!("there are {WATCHERS_MAX} who watch already; try again later");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason));
        }
        let events = self.events.subscribe();
        self.start(&mut state, service);
        Ok(events)
    }

    /// Somebody who asks now, and may again; whether nothing had been made before.
    fn want(self: &Arc<Self>, service: &Arc<Service>) -> bool {
        let mut state = self.state();
        state.wanted_until = Some(Instant::now() + NOTED_FOR);
        self.start(&mut state, service)
    }

    /// Begins, unless it has begun; whether it had not.
    fn start(self: &Arc<Self>, state: &mut Making, service: &Arc<Service>) -> bool {
        if state.is_running {
            return false;
        }
        state.is_running = true;
        state.since = now_ms();
        tokio::spawn(Arc::clone(self).run(Arc::clone(service)));
        true
    }

    /// Whether nobody watches any more; if so, nothing is made from now on.
    fn has_ended(&self) -> bool {
        let mut state = self.state();
        let is_wanted = state
            .wanted_until
            .is_some_and(|until| until > Instant::now());
        let has_ended = !is_wanted && self.events.receiver_count() == 0;
        if has_ended {
            *state = Making::default();
        }
        has_ended
    }

    /// Keeps operations for who asks later.
    fn keep(&self, told: &SomeOperations) {
        let mut state = self.state();
        state.recent.extend(told.operations.iter().cloned());
        let excess = state.recent.len().saturating_sub(OPERATIONS_MAX);
        state.recent.drain(..excess);
        state.skipped += told.skipped + excess as u64;
    }

    async fn run(self: Arc<Self>, service: Arc<Service>) {
        let _watch = service.operations.watch();
        let mut ticks = tokio::time::interval(TICK);
        let mut before = Moment::of(&service);
        for tick in (0..TICKS_PER_SECOND).cycle() {
            ticks.tick().await;
            if self.has_ended() {
                return;
            }
            let (operations, skipped) = service.operations.take();
            if !operations.is_empty() {
                let told = SomeOperations {
                    operations,
                    skipped,
                };
                self.keep(&told);
                self.tell(OPERATIONS, &told);
            }
            if tick == 0 {
                let now = Moment::of(&service);
                self.tell("figures", &figures(&service, &before, &now));
                before = now;
            }
        }
    }

    fn tell(&self, name: &'static str, what: &impl Serialize) {
        let data = serde_json::to_string(what).expect("plain fields are always JSON");
        // Whoever was there may have gone.
        let _ = self.events.send((name, data.into()));
    }
}

/// The counters at one moment.
struct Moment {
    at: Instant,
    by_command: BTreeMap<&'static str, u64>,
    latencies: Counts,
    requests: u64,
    errors: u64,
    hits: u64,
    misses: u64,
}

impl Moment {
    fn of(service: &Service) -> Self {
        let mut latencies = Counts::default();
        let mut by_command = BTreeMap::new();
        for (name, usage) in service.usage() {
            latencies.add(&usage.latencies);
            by_command.insert(name, usage.requests);
        }
        Self {
            at: Instant::now(),
            by_command,
            latencies,
            requests: service.stats.requests(),
            errors: service.stats.errors(),
            hits: service.stats.hits(),
            misses: service.stats.misses(),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates need no more than 53 bits"
)]
fn figures(service: &Service, before: &Moment, now: &Moment) -> Figures {
    let seconds = (now.at - before.at).as_secs_f64().max(1e-3);
    let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
    let by_command = now.by_command.iter().filter_map(|(name, requests)| {
        let of_it = rate(*requests, before.by_command.get(name).copied().unwrap_or(0));
        (of_it > 0.0).then_some((*name, of_it))
    });
    let latencies = now.latencies.since(&before.latencies);
    let quantile = |share| Some(latencies.quantile(share)?.as_secs_f64() * 1e6);
    let (hits, misses) = (now.hits - before.hits, now.misses - before.misses);
    let engine = service.engine().ok();
    Figures {
        time_ms: now_ms(),
        uptime_seconds: service.stats.uptime_seconds(),
        keys: engine.map(|engine| engine.keys()),
        data_bytes: engine.map(|engine| engine.data_bytes()),
        memory_bytes: process::resident_bytes(),
        connections: service.stats.connections(),
        requests_per_second: rate(now.requests, before.requests),
        by_command: by_command.collect(),
        errors_per_second: rate(now.errors, before.errors),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        hit_ratio: (hits + misses > 0).then(|| hits as f64 / (hits + misses) as f64),
        disk: engine.map(|engine| {
            let disk = engine.disk();
            let save = disk.last_save;
            DiskFigures {
                durability: disk.durability.to_string(),
                fault: disk.fault,
                journal_bytes: disk.journal_bytes,
                unsynced_seconds: disk.unsynced.as_secs_f64(),
                unsaved_changes: engine.unsaved_changes(),
                last_save_at: save.as_ref().map(|save| json::time(save.ended_at)),
                last_save_seconds: save.as_ref().map(|save| save.seconds),
                last_save_result: save.map(|save| save.result),
            }
        }),
    }
}
