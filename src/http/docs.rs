//! `GET /docs`: Swagger UI, to read the documentation of the endpoints and try them out, and the other files of the documentation.
//!
//! In: nothing. Out: files that are embedded in the binary, so that they work offline.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};

use crate::command::Service;

/// Content security policy: the page loads nothing from other servers, and no page may embed it.
const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; frame-ancestors 'none'";

/// Returns the routes of the documentation.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/docs", get(page))
        .route("/docs/grafana.json", get(grafana))
        .route("/docs/{file}", get(asset))
}

async fn page() -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY)];
    (policy, Html(include_str!("docs.html"))).into_response()
}

/// Read a Grafana dashboard for the figures of `/metrics`.
#[utoipa::path(get, path = "/docs/grafana.json", tag = "Server",
    responses((status = 200, description = "The dashboard, to be imported into Grafana.", body = HashMap<String, serde_json::Value>,
        example = json!({"title": "PyKV", "panels": []}))))]
pub async fn grafana() -> Response {
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
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}
