//! `GET /api/v1/members`: the members of the cluster whose log etcd keeps, as MEMBERS lists them.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::http::door::{Caller, OwnedReply};
use crate::http::input::{NoParameters, Parameters};
use crate::http::problem::Problem;

/// List the members of the cluster.
///
/// Each member answers, whoever leads: who leads and since when, the log, and the state, revision and lag of each. On a server that is no member the
/// cluster is null, and there are none.
#[utoipa::path(get, path = "/api/v1/members", operation_id = "list_members", tag = "Server",
    responses(
        (status = 200, description = "The cluster, and its members by address.", body = HashMap<String, serde_json::Value>,
            example = json!({"cluster": {"name": "shop", "state": "leading", "leader": "10.0.0.1:7878", "leading_since_ms": 1_764_000_000_000_u64,
                "failovers": 1, "lease_seconds": 2, "log_from": 1200, "log_bytes": 81_234, "reason": null},
                "members": [{"address": "10.0.0.1:7878", "state": "leading", "revision": 1300, "lag_revisions": 0, "on_disk": 1300,
                    "http": "http://10.0.0.1:8000", "version": "0.1.0"}]}))))]
pub async fn list(caller: Caller, _: Parameters<NoParameters>) -> Result<Response, Problem> {
    caller.check("MEMBERS", &[])?;
    if caller.service.replication.membership.is_none() {
        return Ok(Json(json!({ "cluster": null, "members": [] })).into_response());
    }
    let result = caller.door().execute("MEMBERS", &[]).await?;
    let mut cluster = Map::new();
    let mut members = Vec::new();
    for reply in result.replies {
        let OwnedReply::Item(name, text) = reply else {
            continue;
        };
        let fields: Map<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
        if let Some(name) = name.strip_prefix("cluster ") {
            cluster = named("name", name, fields);
        } else {
            members.push(named("address", &name, fields));
        }
    }
    Ok(Json(json!({ "cluster": cluster, "members": members })).into_response())
}

/// Returns the fields, with the name before them.
fn named(key: &str, name: &str, fields: Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::from_iter([(key.to_owned(), name.into())]);
    all.extend(fields);
    all
}
