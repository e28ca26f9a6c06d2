//! The shim's own documentation: `GET /openapi.json` (OpenAPI 3.1) and `GET /docs`, where it can be read and tried out.
//!
//! In: the routes' own descriptions. Out: JSON, and Swagger UI from inside the binary, so that it works without a network.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::{OpenApi, ToSchema};

use crate::command::Service;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "PyKV",
        description = "A key-value server for people who want to see their data: the HTTP shim."
    ),
    paths(
        super::put,
        super::get_key,
        super::delete_key,
        super::all,
        super::clear,
        super::stats,
        super::health
    )
)]
struct Api;

/// A key and its value.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body, and is never made")]
pub struct Pair {
    key: String,
    value: String,
}

/// What has been done.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body, and is never made")]
pub struct Message {
    message: String,
}

/// Why it has not been done.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body, and is never made")]
pub struct Detail {
    detail: String,
}

/// There is no such key; said twice, for those who read the one or the other.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body, and is never made")]
pub struct NotFound {
    error: String,
    detail: String,
}

/// What is wrong with each field.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body, and is never made")]
pub struct Invalid {
    detail: Vec<InvalidField>,
}

/// What is wrong with one field.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body, and is never made")]
pub struct InvalidField {
    r#type: String,
    loc: Vec<String>,
    msg: String,
    input: Option<serde_json::Value>,
}

/// Whether all is well; if not, why.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes a body, and is never made")]
pub struct Health {
    status: String,
    reasons: Vec<String>,
}

/// The routes of the documentation.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/openapi.json", get(async || Json(Api::openapi())))
        .route("/docs", get(async || Html(include_str!("docs.html"))))
        .route("/docs/{file}", get(asset))
}

async fn asset(Path(file): Path<String>) -> Response {
    let config = Arc::new(utoipa_swagger_ui::Config::from("/openapi.json"));
    match utoipa_swagger_ui::serve(&file, config) {
        Ok(Some(asset)) => {
            let mut response = asset.bytes.into_owned().into_response();
            let headers = response.headers_mut();
            if let Ok(content_type) = asset.content_type.parse() {
                headers.insert(header::CONTENT_TYPE, content_type);
            }
            if asset.gzpipped {
                headers.insert(
                    header::CONTENT_ENCODING,
                    header::HeaderValue::from_static("gzip"),
                );
            }
            response
        }
        _ => super::detail(StatusCode::NOT_FOUND, "Not Found"),
    }
}
