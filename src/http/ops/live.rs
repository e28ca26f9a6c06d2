//! `GET /api/v1/live` and `GET /api/v1/operations`: figures once a second and recent requests, as server-sent events.
//!
//! In: samples of the figures, the recent requests. Out: events, encoded once for all watchers. Promises: without watchers, no work
//! is done; a slow watcher skips events, and receives their number; the server never waits for a watcher.
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use tokio::sync::broadcast::{self, error::RecvError};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::command::Service;
use crate::command::figures::{FIGURES, FigureSpec, FigureValue, Kind, Sample, latencies_of_all};
use crate::http::door::Caller;
use crate::http::input::{NoParameters, Parameters};
use crate::http::problem::Problem;
use crate::metrics::recent_requests::{self, RECENT_REQUESTS_MAX};
use crate::model::{UnixMs, now_ms};
use crate::protocol::Figure;

/// Maximum number of concurrent watchers, as each may hold a connection for ever.
pub const WATCHERS_MAX: usize = 100;
/// Interval between two events of operations.
const TICK: Duration = Duration::from_millis(250);
/// Number of ticks between two events of figures.
const TICKS_PER_SECOND: u32 = 4;
/// Number of events buffered for a slow watcher.
const EVENTS_KEPT: usize = 32;
/// Time for which operations are recorded after a request for the latest ones.
const RECORDED_FOR: Duration = Duration::from_secs(10);
/// Maximum time that the first request for the latest operations waits for one.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Schema of the event `figures`: the rows of the table that show in the live feed.
pub struct Figures;

impl PartialSchema for Figures {
    fn schema() -> RefOr<Schema> {
        let (mut figures, mut objects) = (ObjectBuilder::new(), BTreeMap::new());
        for spec in FIGURES {
            let Some(field) = spec.live else { continue };
            match field.split_once('.') {
                Some((object, field)) => {
                    let fields: ObjectBuilder = objects.remove(object).unwrap_or_default();
                    let fields = fields.property(field, schema_of(spec)).required(field);
                    objects.insert(object, fields);
                }
                None => figures = figures.property(field, schema_of(spec)).required(field),
            }
        }
        for (object, fields) in objects {
            let fields = fields
                .schema_type(nullable(Type::Object))
                .description(Some("Null while the data is being loaded."));
            figures = figures.property(object, fields).required(object);
        }
        figures.into()
    }
}

impl ToSchema for Figures {}

fn schema_of(spec: &FigureSpec) -> ObjectBuilder {
    let number = nullable(Type::Number);
    let (kind, scope) = match spec.kind {
        Kind::Counter(_) => (number, " Per second, since the event before."),
        Kind::Share(_) | Kind::Quantile(_) => (
            number,
            " Since the event before; null if there were none since.",
        ),
        Kind::Count(_) | Kind::Flag(_) => (nullable(Type::Integer), ""),
        Kind::Real(_) => (number, ""),
        Kind::Time(_) | Kind::Text(_) | Kind::Lines(_) => (nullable(Type::String), ""),
        Kind::CommandCounter(_) | Kind::NamedCounter(_) | Kind::CommandLatencies => {
            return ObjectBuilder::new()
                .description(Some(format!(
                    "{} Per second, since the event before.",
                    spec.help
                )))
                .additional_properties(Some(ObjectBuilder::new().schema_type(Type::Number)));
        }
    };
    ObjectBuilder::new()
        .schema_type(kind)
        .description(Some(format!("{}{scope}", spec.help)))
}

/// Returns a type that may be null, for a figure that is not known yet.
fn nullable(kind: Type) -> SchemaType {
    SchemaType::from_iter([kind, Type::Null])
}

/// Executed request.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Operation {
    /// Completion time, in milliseconds since 1970.
    #[schema(value_type = u64)]
    time_ms: UnixMs,
    /// Name of the command.
    #[schema(example = "GET")]
    command: &'static str,
    /// First key, truncated to 120 characters; null if the request has none.
    key: Option<String>,
    /// `OK`, `NOT_FOUND`, or the code of the error.
    #[schema(example = "OK")]
    status: &'static str,
    /// Execution time in microseconds.
    microseconds: f64,
}

impl Operation {
    /// Returns true if a user may see it.
    fn is_for(&self, caller: &mut Caller) -> bool {
        if caller.sees_all_keys() {
            return true;
        }
        let key = self.key.as_ref();
        let user = caller.identity.user(&caller.service.users);
        key.zip(user)
            .is_some_and(|(key, user)| user.may_read(key.as_bytes()))
    }
}

impl From<recent_requests::RecentRequest> for Operation {
    fn from(request: recent_requests::RecentRequest) -> Self {
        Self {
            time_ms: request.time_ms,
            command: request.command,
            key: request.key,
            status: request.status,
            microseconds: request.microseconds,
        }
    }
}

/// Operations of one tick, a quarter of a second.
#[derive(Debug, Serialize, ToSchema)]
pub struct SomeOperations {
    operations: Vec<Operation>,
    /// Number of further operations of the same tick.
    skipped: u64,
}

/// Latest operations.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecentOperations {
    /// At most 100, the latest last.
    operations: Vec<Operation>,
    /// Start of the recording, in milliseconds since 1970.
    #[schema(value_type = u64)]
    since_ms: UnixMs,
    /// Number of operations since then that are not in the list.
    skipped: u64,
}

/// Event of the live feed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "axum writes it")]
#[schema(example = json!({"event": "operations", "data": "{\"operations\":[],\"skipped\":0}"}))]
pub struct LiveEvent {
    /// `figures`, `operations` or `skipped`.
    event: String,
    /// JSON: an object of figures, or of operations, or a number of events.
    data: String,
}

/// Source of the events, shared by all watchers.
#[derive(Debug)]
pub struct Feed {
    events: broadcast::Sender<FeedEvent>,
    state: Mutex<FeedState>,
}

/// State of the task that produces the events.
#[derive(Debug, Default)]
struct FeedState {
    /// True while the task runs.
    is_running: bool,
    /// Time until which the task runs without watchers.
    wanted_until: Option<Instant>,
    recent: VecDeque<Operation>,
    since: UnixMs,
    skipped: u64,
}

const OPERATIONS: &str = "operations";

/// An event, encoded once for all watchers who may see all of it.
#[derive(Debug, Clone)]
struct FeedEvent {
    name: &'static str,
    data: Arc<str>,
    operations: Option<Arc<SomeOperations>>,
}

impl FeedEvent {
    /// Returns the data that a watcher may see; `None` if there is nothing for it. Operations are for those who may use MONITOR.
    fn for_user(&self, caller: &mut Caller) -> Option<Arc<str>> {
        let Some(operations) = &self.operations else {
            // Permissions may have changed since the client began to watch.
            caller.check("STATS", &[]).ok()?;
            return Some(Arc::clone(&self.data));
        };
        caller.check("MONITOR", &[]).ok()?;
        if caller.sees_all_keys() {
            return Some(Arc::clone(&self.data));
        }
        let shown = operations.operations.iter();
        let shown = SomeOperations {
            operations: shown.filter(|one| one.is_for(caller)).cloned().collect(),
            skipped: operations.skipped,
        };
        let data = serde_json::to_string(&shown).expect("plain fields are always JSON");
        (!shown.operations.is_empty()).then(|| data.into())
    }
}

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
/// Server-sent events: `figures` once a second; `operations`, up to four times a second, if there are any; `skipped` with the number
/// of events that the client did not read in time.
#[utoipa::path(get, path = "/api/v1/live", operation_id = "watch", tag = "Server",
    responses(
        (status = 200, description = "Events, until the client goes or the server stops. The schema is that of one event.",
            body = LiveEvent, content_type = "text/event-stream"),
        (status = 503, description = "There are 100 who watch already.", body = Problem,
            content_type = "application/problem+json")))]
pub async fn live(
    caller: Caller,
    _: Parameters<NoParameters>,
    Extension(feed): Extension<Arc<Feed>>,
) -> Result<Response, Problem> {
    caller.check("STATS", &[])?;
    let events = feed.watch(&caller.service)?;
    let shutdown = caller.service.setup.shutdown.clone();
    let stream = stream::unfold((events, caller), move |(mut events, mut caller)| {
        let shutdown = shutdown.clone();
        async move {
            let event = loop {
                let event = tokio::select! {
                    () = shutdown.cancelled() => return None,
                    event = events.recv() => event,
                };
                match event {
                    Err(error) => break Err(error),
                    Ok(event) => {
                        if let Some(data) = event.for_user(&mut caller) {
                            break Ok((event.name, data));
                        }
                    }
                }
            };
            let event = match event {
                Ok((name, data)) => Event::default().event(name).data(data),
                Err(RecvError::Lagged(count)) => {
                    Event::default().event("skipped").data(count.to_string())
                }
                Err(RecvError::Closed) => return None,
            };
            Some((Ok::<_, Infallible>(event), (events, caller)))
        }
    });
    Ok(Sse::new(stream).into_response())
}

/// Read the latest operations.
///
/// Operations are recorded while there are watchers, and for ten seconds after each of these requests; the first request therefore
/// waits for up to a second for an operation. At most a hundred per quarter of a second are recorded, further ones only counted.
#[utoipa::path(get, path = "/api/v1/operations", tag = "Server",
    responses(
        (status = 200, description = "The latest operations.", body = RecentOperations)))]
pub async fn operations(
    mut caller: Caller,
    _: Parameters<NoParameters>,
    Extension(feed): Extension<Arc<Feed>>,
) -> Result<axum::Json<RecentOperations>, Problem> {
    caller.check("MONITOR", &[])?;
    let mut events = feed.events.subscribe();
    if feed.want(&caller.service) {
        let first = async {
            while events
                .recv()
                .await
                .is_ok_and(|event| event.name != OPERATIONS)
            {}
        };
        let _ = tokio::time::timeout(FIRST_WAIT, first).await;
    }
    let state = feed.state();
    let recent = state.recent.iter();
    Ok(axum::Json(RecentOperations {
        operations: recent
            .filter(|one| one.is_for(&mut caller))
            .cloned()
            .collect(),
        since_ms: state.since,
        skipped: state.skipped,
    }))
}

impl Feed {
    fn state(&self) -> MutexGuard<'_, FeedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to the events.
    ///
    /// # Errors
    /// 503 if there are [`WATCHERS_MAX`] watchers already.
    fn watch(
        self: &Arc<Self>,
        service: &Arc<Service>,
    ) -> Result<broadcast::Receiver<FeedEvent>, Problem> {
        let mut state = self.state();
        if self.events.receiver_count() >= WATCHERS_MAX {
            let reason = format!("there are {WATCHERS_MAX} who watch already; try again later");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason));
        }
        let events = self.events.subscribe();
        self.start(&mut state, service);
        Ok(events)
    }

    /// Keeps the task running for the next request for the latest operations. Returns true if it was not running.
    fn want(self: &Arc<Self>, service: &Arc<Service>) -> bool {
        let mut state = self.state();
        state.wanted_until = Some(Instant::now() + RECORDED_FOR);
        self.start(&mut state, service)
    }

    /// Starts the task, unless it runs. Returns true if it did not.
    fn start(self: &Arc<Self>, state: &mut FeedState, service: &Arc<Service>) -> bool {
        if state.is_running {
            return false;
        }
        state.is_running = true;
        state.since = now_ms();
        tokio::spawn(Arc::clone(self).run(Arc::clone(service)));
        true
    }

    /// Returns true if no watcher is left and no request wants the operations: the task has to end.
    fn has_ended(&self) -> bool {
        let mut state = self.state();
        let is_wanted = state
            .wanted_until
            .is_some_and(|until| until > Instant::now());
        let has_ended = !is_wanted && self.events.receiver_count() == 0;
        if has_ended {
            *state = FeedState::default();
        }
        has_ended
    }

    /// Keeps operations for later requests for the latest ones.
    fn keep(&self, tick: &SomeOperations) {
        let mut state = self.state();
        state.recent.extend(tick.operations.iter().cloned());
        let excess = state.recent.len().saturating_sub(RECENT_REQUESTS_MAX);
        state.recent.drain(..excess);
        state.skipped += tick.skipped + excess as u64;
    }

    async fn run(self: Arc<Self>, service: Arc<Service>) {
        let _watch = service.recent_requests.watch();
        let mut ticks = tokio::time::interval(TICK);
        let mut before = Sample::of(&service);
        for tick in (0..TICKS_PER_SECOND).cycle() {
            ticks.tick().await;
            if self.has_ended() {
                return;
            }
            let (operations, skipped) = service.recent_requests.take();
            if !operations.is_empty() {
                let executed = SomeOperations {
                    operations: operations.into_iter().map(Operation::from).collect(),
                    skipped,
                };
                self.keep(&executed);
                let data = encoded(&executed);
                self.send(OPERATIONS, data, Some(Arc::new(executed)));
            }
            if tick == 0 {
                let now = Sample::of(&service);
                self.send("figures", encoded(&figures(&before, &now)), None);
                before = now;
            }
        }
    }

    fn send(&self, name: &'static str, data: Arc<str>, operations: Option<Arc<SomeOperations>>) {
        let event = FeedEvent {
            name,
            data,
            operations,
        };
        // An error means that there is no watcher.
        let _ = self.events.send(event);
    }
}

fn encoded(event: &impl Serialize) -> Arc<str> {
    let data = serde_json::to_string(event).expect("plain fields are always JSON");
    data.into()
}

/// Renders the figures of a sample; counters as rates since an earlier sample.
fn figures(before: &Sample, now: &Sample) -> Map<String, Json> {
    let seconds = (now.at - before.at).as_secs_f64().max(1e-3);
    let mut figures = Map::new();
    for ((spec, then), (_, value)) in before.rows().zip(now.rows()) {
        let Some(path) = spec.live else { continue };
        let shown = since(spec.kind, then, value, seconds);
        match path.split_once('.') {
            Some((object, field)) => figures
                .entry(object)
                .or_insert_with(|| Map::new().into())
                .as_object_mut()
                .expect("no other field has the name of an object")
                .insert(field.to_owned(), shown),
            None => figures.insert(path.to_owned(), shown),
        };
    }
    // While the data is being loaded, the figures of the disk are unknown: the object as a whole is null then.
    for figure in figures.values_mut() {
        let fields = figure.as_object().filter(|fields| !fields.is_empty());
        if fields.is_some_and(|fields| fields.values().all(Json::is_null)) {
            *figure = Json::Null;
        }
    }
    figures
}

/// Renders one figure: a counter as its rate per second, a share and a quantile over the requests since the earlier sample, any other
/// kind as its value.
fn since(kind: Kind, then: Option<&FigureValue>, now: Option<&FigureValue>, seconds: f64) -> Json {
    let rate = |then: u64, now: u64| real(now.saturating_sub(then)) / seconds;
    match (kind, then, now) {
        (Kind::Counter(_), Some(FigureValue::Count(then)), Some(FigureValue::Count(now))) => {
            rate(*then, *now).into()
        }
        (Kind::Counter(_), ..) => Json::Null,
        (
            Kind::Share(_),
            Some(FigureValue::Share(part_then, whole_then)),
            Some(FigureValue::Share(part, whole)),
        ) => {
            let whole = whole.saturating_sub(*whole_then);
            let share = real(part.saturating_sub(*part_then)) / real(whole);
            (whole > 0).then_some(share).into()
        }
        (
            Kind::Quantile(share),
            Some(FigureValue::Commands(then)),
            Some(FigureValue::Commands(now)),
        ) => {
            let latencies = latencies_of_all(now).since(&latencies_of_all(then));
            let time = latencies.quantile(share);
            time.map(|time| time.as_secs_f64() * 1e6).into()
        }
        (
            Kind::CommandCounter(count),
            Some(FigureValue::Commands(then)),
            Some(FigureValue::Commands(now)),
        ) => {
            let rates = then.iter().zip(now.iter()).map(|(then, now)| {
                let rate = rate(count(then), count(now));
                (now.name.to_uppercase(), Json::from(rate))
            });
            let rates = rates.filter(|(_, rate)| rate.as_f64() > Some(0.0));
            rates.collect::<Map<_, _>>().into()
        }
        _ => match now.map(FigureValue::figure) {
            Some(Figure::Count(count)) => count.into(),
            Some(Figure::Real(real)) => real.into(),
            Some(Figure::Text(text)) => text.into(),
            Some(Figure::Absent) | None => Json::Null,
        },
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates need no more than 53 bits"
)]
fn real(count: u64) -> f64 {
    count as f64
}
