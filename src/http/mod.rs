//! HTTP: every endpoint builds requests of commands and turns their replies into a response.
//!
//! In: HTTP requests. Out: HTTP responses. `door` gives requests to the dispatcher, so that the promises of the text port hold here
//! as well; `compat` is the API of the older `PyKV` program, `api` the one of this program, `ops` the endpoints for operators,
//! `dashboard` the page. Promise: no page of another site can use this server through a browser (`guard`).

mod api;
mod charged_body;
mod compat;
mod dashboard;
mod descriptions;
mod docs;
mod door;
mod entrance;
mod figures;
mod guard;
mod input;
mod listener;
mod openapi;
mod ops;
mod problem;
mod protective_headers;
mod responses;
mod schemas;
mod sessions;
mod sign_in;
mod stream;

pub use listener::{HTTP_CONNECTIONS_MAX, RESERVED_CONNECTIONS};

use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Extension, Router, ServiceExt as _};
use tokio_util::sync::CancellationToken;

use utoipa::Path as _;

use crate::command::Service;
use crate::config::{HostNames, HttpEndpoint, Place, host_name};
use crate::server::listener::Listeners;
use api::{backup, batch, commands, deletion, export, import, keys, listing, namespaces, stats};
use entrance::Entrance;
use listener::HttpClient;
use ops::{console, health, live, members, metrics};
use problem::Problem;
use sessions::Sessions;

/// Functions that return the path of an endpoint and the handlers of its methods.
type Endpoint = (fn() -> String, fn() -> MethodRouter<Arc<Service>>);

/// Table of the documented endpoints. Each path is written once, in the documentation above its handler.
///
/// (utoipa-axum would take path and method from the handlers, but builds all documentation at each start: a megabyte of memory.)
const ENDPOINTS: &[Endpoint] = &[
    (compat::__path_put::path, || post(compat::put)),
    (compat::__path_get_key::path, || get(compat::get_key)),
    (compat::__path_delete_key::path, || {
        delete(compat::delete_key)
    }),
    (compat::__path_all::path, || get(compat::all)),
    (compat::__path_clear::path, || delete(compat::clear)),
    (compat::__path_stats::path, || get(compat::stats)),
    (health::__path_health::path, || get(health::health)),
    (health::__path_ready::path, || get(health::ready)),
    (health::__path_live::path, || get(health::live)),
    (metrics::__path_metrics::path, || get(metrics::metrics)),
    // OpenAPI describes no WebSockets.
    (|| console::PATH.to_owned(), || get(console::console)),
    (keys::__path_get::path, keys::methods),
    (|| input::KEY_PATH.to_owned(), keys::methods),
    (listing::__path_list::path, || {
        get(listing::list).delete(deletion::delete)
    }),
    (batch::__path_batch::path, || post(batch::batch)),
    (deletion::__path_count::path, || get(deletion::count)),
    (backup::__path_back_up::path, || post(backup::back_up)),
    (export::__path_export::path, || get(export::export)),
    (import::__path_import::path, || post(import::import)),
    (stats::__path_stats::path, || get(stats::stats)),
    (commands::__path_list::path, || get(commands::list)),
    (members::__path_list::path, || get(members::list)),
];

/// Endpoints that share the counts of the namespaces.
const NAMESPACE_ENDPOINTS: &[Endpoint] =
    &[(namespaces::__path_list::path, || get(namespaces::list))];

/// Endpoints that share the feed of the live figures.
const LIVE_ENDPOINTS: &[Endpoint] = &[
    (live::__path_live::path, || get(live::live)),
    (live::__path_operations::path, || get(live::operations)),
];

/// Endpoints that share the sessions of browsers.
const SESSION_ENDPOINTS: &[Endpoint] = &[
    (sessions::__path_begin::path, || {
        get(sessions::read)
            .post(sessions::begin)
            .delete(sessions::end)
    }),
    (openapi::__path_openapi::path, || get(openapi::openapi)),
];

/// Serves HTTP until `shutdown` is cancelled.
pub async fn serve(listeners: Listeners, service: Arc<Service>, shutdown: CancellationToken) {
    let (memory, tls) = (
        Arc::clone(&service.client_memory),
        service.setup.tls.clone(),
    );
    let allows_anonymous = service.setup.config.get("allow-anonymous");
    let first = listeners.endpoints().into_iter().next();
    let port = first
        .and_then(|endpoint| endpoint.place.port())
        .unwrap_or(0);
    let entrance = entrance(service, port);
    let entrance = entrance.into_make_service_with_connect_info::<HttpClient>();
    let listener = listener::LimitedListener::new(listeners, tls, &memory, allows_anonymous);
    let served = axum::serve(listener, entrance);
    if let Err(error) = served
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
    {
        tracing::error!("HTTP has ended: {error}");
    }
}

fn entrance(service: Arc<Service>, port: u16) -> Entrance {
    let HostNames(mut own_names) = service.setup.config.get("allowed-hosts");
    for HttpEndpoint(endpoint) in service.setup.config.list("http") {
        if let Some(Place::Tcp(address)) = endpoint.map(|endpoint| endpoint.place) {
            own_names.push(host_name(address.host()));
        }
    }
    let sessions = Arc::new(Sessions::new(port));
    let counts = Extension(Arc::<namespaces::NamespaceCounts>::default());
    let feed = Extension(Arc::<live::Feed>::default());
    let router = routes(ENDPOINTS)
        .merge(routes(NAMESPACE_ENDPOINTS).layer(counts))
        .merge(routes(LIVE_ENDPOINTS).layer(feed))
        .merge(routes(SESSION_ENDPOINTS).layer(Extension(Arc::clone(&sessions))))
        .merge(docs::router())
        .merge(dashboard::router())
        .fallback(async |uri: Uri| Problem::new(StatusCode::NOT_FOUND, "Not Found").at(&uri))
        .method_not_allowed_fallback(async |uri: Uri| {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").at(&uri)
        })
        .with_state(Arc::clone(&service));
    Entrance {
        router,
        service,
        own_names: own_names.into(),
        sessions,
    }
}

/// Makes the routes of a table.
fn routes(endpoints: &[Endpoint]) -> Router<Arc<Service>> {
    endpoints
        .iter()
        .fold(Router::new(), |router, (path, methods)| {
            let (path, methods) = (path(), methods());
            match path.strip_suffix("{key}") {
                // A key may contain slashes; without one, the handler says where to send the empty key.
                Some(prefix) => router
                    .route(&format!("{prefix}{{*key}}"), methods.clone())
                    .route(prefix, methods),
                None => router.route(&path, methods),
            }
        })
}
