//! `GET /health`, `/health/live`, `/health/ready`: health checks for a supervisor of the server.
//!
//! In: the state of the data and of the disk. Out: a status, and the reasons if it is not `ok`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use crate::command::Service;
use crate::engine::Engine;
use crate::http::compat::bodies::HealthReport;

/// Check the health of the server.
///
/// While a server loads its data after a start, the status is `loading`, and the reason states the progress.
#[utoipa::path(get, path = "/health", tag = "Server",
    responses(
        (status = 200, description = "All is well.", body = HealthReport, example = json!({"status": "ok", "reasons": []})),
        (status = 503, description = "Something is not: the data is still being loaded, or the disk fails.", body = HealthReport,
            examples(
                ("loading" = (value = json!({"status": "loading", "reasons":
                    ["loading the data: 42% of store.json and the journals has been read; try again in a moment"]}))),
                ("failing" = (value = json!({"status": "failing", "reasons":
                    ["the last save failed: no space left on device"]})))))))]
pub async fn health(State(service): State<Arc<Service>>) -> Response {
    let (status, mut reasons) = match (service.cluster(), service.engine()) {
        (Some(cluster), _) => {
            let faults = cluster.overview().faults();
            let status = if faults.is_empty() { "ok" } else { "failing" };
            (status, faults)
        }
        (None, Ok(engine)) => health_of(engine, lag_of(&service).or_else(|| outage_of(&service))),
        (None, Err(busy)) => ("loading", vec![busy.message]),
    };
    let code = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    // It is no reason to send the server no requests.
    reasons.extend(service.setup.tls.as_ref().and_then(|tls| tls.warning()));
    (code, Json(HealthReport { status, reasons })).into_response()
}

/// Check that the server takes requests.
///
/// The same as `/health`, under the name that load balancers know. Of the servers of a cluster whose log etcd keeps only the one that leads is
/// ready: the others are well (`/health`), and send changes there.
#[utoipa::path(get, path = "/health/ready", tag = "Server",
    responses(
        (status = 200, description = "All is well.", body = HealthReport, example = json!({"status": "ok", "reasons": []})),
        (status = 503, description = "Something is not: the data is still being loaded, the disk fails, or another server leads.", body = HealthReport,
            example = json!({"status": "following", "reasons": ["10.0.0.2:7878 leads"]}))))]
pub async fn ready(State(service): State<Arc<Service>>) -> Response {
    let membership = service.replication.membership.as_ref();
    let follows = membership.filter(|membership| !membership.leads());
    let Some(membership) = follows else {
        return health(State(service)).await;
    };
    let leader = membership.leader();
    let reason = leader.map_or_else(
        || "nobody leads at the moment".to_owned(),
        |leader| format!("{} leads", leader.address),
    );
    let report = HealthReport {
        status: "following",
        reasons: vec![reason],
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(report)).into_response()
}

/// Check that the server runs.
///
/// For a supervisor that restarts it if not. `/health/ready` checks its data and its disk as well.
#[utoipa::path(get, path = "/health/live", tag = "Server",
    responses(
        (status = 200, description = "It runs.", body = HealthReport, example = json!({"status": "ok", "reasons": []}))))]
pub async fn live() -> Json<HealthReport> {
    Json(HealthReport {
        status: "ok",
        reasons: Vec::new(),
    })
}

/// Returns why a member of a cluster cannot follow or lead, if so; a sentence.
fn outage_of(service: &Service) -> Option<String> {
    let view = service.replication.membership.as_ref()?.view();
    view.reason
}

/// Returns by how much a replica lags, if that is more than `--max-lag`; a sentence.
fn lag_of(service: &Service) -> Option<String> {
    let most: i64 = service.setup.config.get("max-lag");
    let most = Duration::from_secs(most.unsigned_abs());
    let overview = service.replication.overview()?;
    (most > Duration::ZERO && overview.lag > most).then(|| {
        format!(
            "this replica lags {:.1} s behind {}, and --max-lag is {} s: {}",
            overview.lag.as_secs_f64(),
            overview.primary,
            most.as_secs(),
            overview
                .reason
                .as_deref()
                .unwrap_or(overview.state.as_str()),
        )
    })
}

/// Returns the status of a server that has loaded its data, and the reasons if it is not `ok`, one sentence each.
fn health_of(engine: &Engine, lag: Option<String>) -> (&'static str, Vec<String>) {
    let disk = engine.disk();
    let late = disk.late();
    let mut reasons: Vec<String> = disk
        .fault
        .into_iter()
        .map(|fault| format!("changes are refused: {fault}"))
        .collect();
    reasons.extend(late);
    reasons.extend(lag);
    if let Some(save) = disk.last_save.filter(|save| save.result != "ok") {
        reasons.push(format!("the last save failed: {}", save.result));
    }
    let status = if reasons.is_empty() { "ok" } else { "failing" };
    (status, reasons)
}
