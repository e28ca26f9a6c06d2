//! The shim's own documentation: `GET /openapi.json` (OpenAPI 3.1) and `GET /docs`, where it can be read and tried out.
//!
//! In: the routes' own descriptions. Out: JSON, and Swagger UI from inside the binary, so that it works without a network.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};
use utoipa::OpenApi;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::command::Service;

/// What the page may load and who may show it: nothing from elsewhere, and nobody else in a frame of theirs.
const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; frame-ancestors 'none'";

/// An endpoint: its schemas, its documented path, its handlers.
pub type Endpoint = fn() -> UtoipaMethodRouter<Arc<Service>>;

/// The documentation without that of the endpoints.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "PyKV",
        description = "A key-value server for people who want to see their data. \
            This is its HTTP side; everything is JSON.\n\n\
            Values are text. Bytes that are not UTF-8, stored through other interfaces, read as `{\"$base64\": \"...\"}`. \
            Requests that a page of another site causes in a browser are refused with 403."
    ),
    components(schemas(super::ops::live::Figures, super::ops::live::SomeOperations))
)]
struct Api;

/// Returns the routes of the documentation of these endpoints.
pub fn router(endpoints: &'static [Endpoint]) -> Router<Arc<Service>> {
    Router::new()
        .route("/openapi.json", get(async || Json(document(endpoints))))
        .route("/docs", get(page))
        .route("/docs/grafana.json", get(grafana))
        .route("/docs/{file}", get(asset))
}

fn document(endpoints: &[Endpoint]) -> utoipa::openapi::OpenApi {
    let mut api = Api::openapi();
    for endpoint in endpoints {
        let (schemas, paths, _) = endpoint();
        api.paths.paths.extend(paths.paths);
        let components = api.components.get_or_insert_default();
        components.schemas.extend(schemas);
    }
    api
}

async fn page() -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY)];
    (policy, Html(include_str!("docs.html"))).into_response()
}

/// A dashboard for Grafana of what `/metrics` tells.
async fn grafana() -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, include_str!("ops/grafana.json")).into_response()
}

async fn asset(Path(name): Path<String>) -> Response {
    let mut files = SwaggerUi::static_files().iter();
    let Some(&(file, content)) = files.find(|(file, _)| file.file_name() == name) else {
        return super::compat::bodies::detail(StatusCode::NOT_FOUND, "Not Found");
    };
    let content_type = match file {
        SwaggerUiStaticFile::Css | SwaggerUiStaticFile::IndexCss => "text/css",
        SwaggerUiStaticFile::Js | SwaggerUiStaticFile::StandalonePresetJs => "text/javascript",
        _ => "image/png",
    };
    ([(header::CONTENT_TYPE, content_type)], content).into_response()
}
