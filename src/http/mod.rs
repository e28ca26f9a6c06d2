//! HTTP: every endpoint builds requests of commands and makes a response of their replies.
//!
//! In: HTTP. Out: HTTP. `door` is the way to the dispatcher, so that whatever the text port promises holds here as well;
//! `compat` is the API of the older `PyKV` program, `api` the one of this program, `ops` what operators use, `dashboard` the
//! page. Promise: no page of another site can make a browser use this server (`guard`).

mod api;
mod compat;
mod dashboard;
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
use axum::routing::{delete, get, post};
use axum::{Extension, Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::command::Service;
use crate::config::Address;
use ops::console::ClientAddress;
use problem::Problem;

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
    Router::new()
        .route("/put", post(compat::put))
        .route("/get/", get(compat::get_key))
        .route("/get/{*key}", get(compat::get_key))
        .route("/delete/", delete(compat::delete_key))
        .route("/delete/{*key}", delete(compat::delete_key))
        .route("/all", get(compat::all))
        .route("/clear", delete(compat::clear))
        .route("/stats", get(compat::stats))
        .route("/health", get(ops::health::health))
        .route("/health/live", get(ops::health::live))
        .route("/health/ready", get(ops::health::health))
        .route("/metrics", get(ops::metrics::metrics))
        .route(
            "/api/v1/keys",
            get(api::listing::list).delete(api::deletion::delete),
        )
        .route("/api/v1/batch", post(api::batch::batch))
        .route("/api/v1/count", get(api::deletion::count))
        .route("/api/v1/stats", get(api::stats::stats))
        .route("/api/v1/commands", get(api::commands::list))
        .route("/api/v1/export", get(api::export::export))
        .route("/api/v1/import", post(api::import::import))
        .route("/api/v1/operations", get(ops::live::operations))
        .route("/api/v1/console", get(ops::console::console))
        .route("/api/v1/namespaces", get(api::namespaces::list))
        .route("/api/v1/live", get(ops::live::live))
        .merge(api::keys::router())
        .merge(docs::router())
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
