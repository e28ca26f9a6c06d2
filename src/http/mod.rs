//! HTTP: every endpoint builds requests of commands and makes a response of their replies.
//!
//! In: HTTP. Out: HTTP. `door` is the way to the dispatcher, so that whatever the text port promises holds here as well;
//! `compat` is the API of the older `PyKV` program, `api` the one of this program, `ops` what operators use, `dashboard` the
//! page. Promise: no page of another site can make a browser use this server (`guard`).

mod api;
mod compat;
mod dashboard;
mod descriptions;
mod docs;
mod door;
mod figures;
mod guard;
mod input;
mod listener;
mod ops;
mod problem;
mod responses;

pub use listener::HTTP_CONNECTIONS_MAX;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use axum::{Extension, Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use utoipa_axum::routes;

use crate::command::Service;
use crate::config::Address;
use ops::console::ClientAddress;
use problem::Problem;

/// Every documented endpoint: the handlers of one path, which stands with its documentation above each of them. (Functions: the
/// documentation takes a megabyte, and is made when it is asked for.)
const ENDPOINTS: &[docs::Endpoint] = &[
    || routes!(compat::put),
    || routes!(compat::get_key),
    || routes!(compat::delete_key),
    || routes!(compat::all),
    || routes!(compat::clear),
    || routes!(compat::stats),
    || routes!(ops::health::health),
    || routes!(ops::health::live),
    || routes!(ops::metrics::metrics),
    || routes!(ops::live::live),
    || routes!(ops::live::operations),
    || routes!(ops::console::console),
    || {
        routes!(
            api::keys::get,
            api::keys::put,
            api::keys::patch,
            api::keys::delete
        )
    },
    || routes!(api::listing::list, api::deletion::delete),
    || routes!(api::batch::batch),
    || routes!(api::deletion::count),
    || routes!(api::namespaces::list),
    || routes!(api::export::export),
    || routes!(api::import::import),
    || routes!(api::stats::stats),
    || routes!(api::commands::list),
];

/// Serves HTTP until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    address: Address,
    service: Arc<Service>,
    shutdown: CancellationToken,
) {
    let router = router(service, &address);
    let router = router.into_make_service_with_connect_info::<ClientAddress>();
    let served = axum::serve(listener::Limited::new(listener), router);
    if let Err(error) = served
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
    {
        tracing::error!("HTTP has ended: {error}");
    }
}

fn router(service: Arc<Service>, address: &Address) -> Router {
    let own_host: Arc<str> = address.host().into();
    let router = ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        let (_, paths, methods) = endpoint();
        let path = paths.paths.keys().next().expect("an endpoint has a path");
        match path.strip_suffix("{key}") {
            // A key may be empty or hold slashes.
            Some(prefix) => router
                .route(&format!("{prefix}{{*key}}"), methods.clone())
                .route(prefix, methods),
            None => router.route(path, methods),
        }
    });
    router
        .route("/health/ready", get(ops::health::health))
        .merge(docs::router(ENDPOINTS))
        .merge(dashboard::router())
        .fallback(async |uri: Uri| Problem::new(StatusCode::NOT_FOUND, "Not Found").at(&uri))
        .method_not_allowed_fallback(async |uri: Uri| {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed").at(&uri)
        })
        .layer(Extension(Arc::<api::namespaces::Counts>::default()))
        .layer(Extension(Arc::<ops::live::Feed>::default()))
        .layer(DefaultBodyLimit::max(input::BODY_BYTES_MAX))
        .layer(
            CompressionLayer::new()
                .gzip(true)
                .quality(CompressionLevel::Fastest),
        )
        // The last layer is the first to be asked, whatever the route.
        .layer(middleware::from_fn_with_state(
            own_host,
            guard::refuse_other_sites,
        ))
        .with_state(service)
}
