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

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

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
    let (router, api) = OpenApiRouter::with_openapi(docs::Api::openapi())
        .routes(routes!(compat::put))
        .merge(keyed(routes!(compat::get_key)))
        .merge(keyed(routes!(compat::delete_key)))
        .routes(routes!(compat::all))
        .routes(routes!(compat::clear))
        .routes(routes!(compat::stats))
        .routes(routes!(ops::health::health))
        .routes(routes!(ops::health::live))
        .route("/health/ready", get(ops::health::health))
        .routes(routes!(ops::metrics::metrics))
        .routes(routes!(ops::live::live))
        .routes(routes!(ops::live::operations))
        .routes(routes!(ops::console::console))
        .merge(keyed(routes!(
            api::keys::get,
            api::keys::put,
            api::keys::patch,
            api::keys::delete
        )))
        .routes(routes!(api::listing::list, api::deletion::delete))
        .routes(routes!(api::batch::batch))
        .routes(routes!(api::deletion::count))
        .routes(routes!(api::namespaces::list))
        .routes(routes!(api::export::export))
        .routes(routes!(api::import::import))
        .routes(routes!(api::stats::stats))
        .routes(routes!(api::commands::list))
        .split_for_parts();
    router
        .merge(docs::router(&api))
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

/// Registers handlers of one path that ends in a key. A key may be empty or hold slashes, so that the `{key}` of the
/// documentation is two routes: the path without it, and with the wildcard `{*key}`.
fn keyed(
    (schemas, paths, methods): UtoipaMethodRouter<Arc<Service>>,
) -> OpenApiRouter<Arc<Service>> {
    let path = paths.paths.keys().next().expect("`routes!` has a handler");
    let prefix = path.strip_suffix("{key}").expect("the path ends in a key");
    let prefix = prefix.to_owned();
    let mut api = OpenApi::default();
    api.paths = paths;
    let components = api.components.get_or_insert_default();
    components.schemas.extend(schemas);
    OpenApiRouter::with_openapi(api)
        .route(&format!("{prefix}{{*key}}"), methods.clone())
        .route(&prefix, methods)
}
