//! `GET /openapi.json`: the documentation of the endpoints (OpenAPI 3.1).
//!
//! In: the descriptions above the handlers, and whether the client has to sign in. Out: JSON. Promise: a request that it allows is not
//! refused for its form, one that it does not allow is, and every response is of a form that it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use utoipa::{OpenApi, Path as _};

use super::api::{condition, keys};
use super::descriptions::{NO_PARAMETERS, NOT_SIGNED_IN, OVERLOADED, REFUSED};
use super::input::KEY_PATH;
use super::listener::HttpClient;
use super::ops::health;
use super::problem::is_of_api;
use super::sessions::Sessions;
use super::{compat, schemas, sign_in};
use crate::command::{Identity, Service};

/// Pattern of a key in a path that takes no key with empty segments, `.` or `..`.
const PATH_KEY: &str =
    r"^(?:[^./][^/]*|\.[^./][^/]*|\.\.[^/]+)(?:/(?:[^./][^/]*|\.[^./][^/]*|\.\.[^/]+))*$";

/// Root of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "PyKV",
        description = "A key-value server for people who want to see their data. \
            This is its HTTP side; everything is JSON.\n\n\
            Values are text. Bytes that are not UTF-8, stored through other interfaces, read as `{\"$base64\": \"...\"}`. \
            Requests that a page of another site causes in a browser are refused with 403; parameters that an endpoint below `/api` \
            does not know, with 422.\n\n\
            `GET /api/v1/console`, which OpenAPI cannot describe, becomes a WebSocket with the line protocol of the text port: requests \
            are text messages of at most a mebibyte, replies are binary messages."
    ),
    paths(
        super::compat::put,
        super::compat::get_key,
        super::compat::delete_key,
        super::compat::all,
        super::compat::clear,
        super::compat::stats,
        super::api::keys::get,
        super::api::keys::put,
        super::api::keys::patch,
        super::api::keys::delete,
        super::api::listing::list,
        super::api::deletion::delete,
        super::api::deletion::count,
        super::api::batch::batch,
        super::api::namespaces::list,
        super::api::backup::back_up,
        super::api::export::export,
        super::api::import::import,
        super::api::stats::stats,
        super::sessions::read,
        super::sessions::begin,
        super::sessions::end,
        super::api::commands::list,
        super::ops::members::list,
        super::ops::health::health,
        super::ops::health::ready,
        super::ops::health::live,
        super::ops::metrics::metrics,
        super::ops::live::live,
        super::ops::live::operations,
        super::docs::grafana,
        openapi
    ),
    components(schemas(super::ops::live::Figures, super::ops::live::SomeOperations))
)]
struct Api;

/// Read this documentation.
///
/// It says of each endpoint whether this client has to sign in.
#[utoipa::path(get, path = "/openapi.json", tag = "Server",
    responses((status = 200, description = "An OpenAPI document.", body = HashMap<String, serde_json::Value>,
        example = json!({"openapi": "3.1.0"}))))]
pub async fn openapi(
    State(service): State<Arc<Service>>,
    ConnectInfo(client): ConnectInfo<HttpClient>,
    Extension(sessions): Extension<Arc<Sessions>>,
) -> Json<Value> {
    let anonymous = Identity::anonymous(&service.users, client.allows_anonymous);
    Json(document(anonymous.name().is_some(), sessions.cookie()))
}

/// Makes the document.
fn document(allows_anonymous: bool, cookie: &str) -> Value {
    let mut api = serde_json::to_value(Api::openapi()).expect("plain fields are always JSON");
    let mut paths: BTreeMap<String, Map<String, Value>> =
        serde_json::from_value(api["paths"].take()).expect("paths have operations");
    let mut by_query = paths[&keys::__path_get::path()].clone();
    by_query.values_mut().for_each(move_key_to_query);
    paths.insert(KEY_PATH.to_owned(), by_query);
    for (path, operations) in &mut paths {
        for operation in operations.values_mut() {
            if sign_in::is_open(path) {
                operation["security"] = json!([]);
            }
            add_responses(path, &mut operation["responses"]);
            let parameters = operation.get_mut("parameters");
            for parameter in parameters
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                complete_parameter(path, parameter);
            }
        }
    }
    api["paths"] = json!(paths);
    schemas::complete(&mut api["components"]["schemas"]);
    api["components"]["securitySchemes"] = json!({
        "basic": {"type": "http", "scheme": "basic", "description": "A user and a password."},
        "token": {"type": "http", "scheme": "bearer", "description": "A token that `TOKEN NEW` has made."},
        "session": {"type": "apiKey", "in": "cookie", "name": cookie, "description": "The cookie that `POST /api/v1/session` sets."},
    });
    let mut ways = vec![
        json!({"basic": []}),
        json!({"token": []}),
        json!({"session": []}),
    ];
    if allows_anonymous {
        ways.insert(0, json!({}));
    }
    api["security"] = json!(ways);
    api
}

/// Changes an operation on the key in a path to the one on the key in a query.
fn move_key_to_query(operation: &mut Value) {
    let id = operation["operationId"].as_str().expect("each has a name");
    operation["operationId"] = json!(format!("{id}_by_query"));
    let key = &mut operation["parameters"][0];
    key["in"] = json!("query");
    key["description"] = json!(keys::IN_QUERY);
}

/// Adds the responses that any operation may have.
fn add_responses(path: &str, responses: &mut Value) {
    let is_of_api = is_of_api(path);
    let (schema, content_type) = if is_of_api {
        ("Problem", "application/problem+json")
    } else {
        ("Detail", "application/json")
    };
    let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
    let added = [
        ("401", NOT_SIGNED_IN),
        ("403", REFUSED),
        ("422", NO_PARAMETERS),
        ("503", OVERLOADED),
    ];
    let responses = responses.as_object_mut().expect("each has responses");
    for (status, description) in added {
        // That the server runs is told to every client.
        let is_never = path == health::__path_live::path();
        if (status == "422" && !is_of_api) || (status == "503" && is_never) {
            continue;
        }
        responses.entry(status).or_insert_with(
            || json!({"description": description, "content": {content_type: {"schema": schema}}}),
        );
    }
}

/// Completes the schema of a parameter.
fn complete_parameter(path: &str, parameter: &mut Value) {
    let place = parameter["in"].as_str().map(str::to_owned);
    let schema = &mut parameter["schema"];
    // A parameter that may be left out cannot be null for that: `null` would be a text.
    if let Some(types) = schema["type"].as_array() {
        schema["type"] = types[0].clone();
    }
    match place.as_deref() {
        Some("header") => {
            *schema = json!({"type": "string", "anyOf": [{"const": "*"}, {"pattern": condition::ETAGS_PATTERN}]});
        }
        Some("path") if path != compat::__path_get_key::path() => {
            schema["pattern"] = json!(PATH_KEY);
        }
        _ => {}
    }
}
