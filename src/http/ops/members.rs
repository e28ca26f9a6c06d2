//! `GET /api/v1/members`: the members of the cluster whose log etcd keeps, as MEMBERS lists them.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use crate::command::{CLUSTER_PREFIX, list_members};
use crate::http::door::Caller;
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
    // Not as a request of the dispatcher: the page asks every second, and would be seen among the operations that it shows.
    let service = &caller.service;
    let view = service.replication.membership.as_ref();
    let listed = view.map(|membership| list_members(&membership.view(), service.revision()));
    let mut listed = listed.into_iter().flatten();
    let cluster = listed.next().map(|(name, fields)| {
        let name = name.strip_prefix(CLUSTER_PREFIX).unwrap_or(&name);
        named("name", name, fields)
    });
    let members = listed.map(|(address, fields)| named("address", &address, fields));
    let members: Vec<_> = members.collect();
    Ok(Json(json!({ "cluster": cluster, "members": members })).into_response())
}

/// Returns the fields, with the name before them.
fn named(key: &str, name: &str, fields: Value) -> Map<String, Value> {
    let mut all = Map::from_iter([(key.to_owned(), name.into())]);
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    all
}
