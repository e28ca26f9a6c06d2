//! Documentation of the endpoints: `GET /openapi.json` (OpenAPI 3.1), and `GET /docs` to read it and try it out.
//!
//! In: the descriptions above the handlers. Out: JSON, and Swagger UI, embedded in the binary so that it works offline.

use std::sync::Arc;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;
use utoipa::{Modify, OpenApi, Path as _};

use super::api::keys;
use super::input::KEY_PATH;
use crate::command::Service;

/// Content security policy: the page loads nothing from other servers, and no page may embed it.
const CONTENT_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; frame-ancestors 'none'";

/// Root of the OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "PyKV",
        description = "A key-value server for people who want to see their data. \
            This is its HTTP side; everything is JSON.\n\n\
            Values are text. Bytes that are not UTF-8, stored through other interfaces, read as `{\"$base64\": \"...\"}`. \
            Requests that a page of another site causes in a browser are refused with 403."
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
        super::ops::health::health,
        super::ops::health::live,
        super::ops::metrics::metrics,
        super::ops::live::live,
        super::ops::live::operations,
        super::ops::console::console
    ),
    modifiers(&KeyInQuery),
    components(schemas(super::ops::live::Figures, super::ops::live::SomeOperations))
)]
struct Api;

/// Adds [`KEY_PATH`], which has the methods of the path with the key.
struct KeyInQuery;

impl Modify for KeyInQuery {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let mut item = api.paths.paths[&keys::__path_get::path()].clone();
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            operation.operation_id = operation
                .operation_id
                .take()
                .map(|id| format!("{id}_by_query"));
            for parameter in operation.parameters.iter_mut().flatten() {
                if let RefOr::T(key) = parameter
                    && key.name == "key"
                {
                    key.parameter_in = ParameterIn::Query;
                    key.description = Some(keys::IN_QUERY.to_owned());
                }
            }
        }
        api.paths.paths.insert(KEY_PATH.to_owned(), item);
    }
}

/// Returns the routes of the documentation.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/openapi.json", get(async || Json(Api::openapi())))
        .route("/docs", get(page))
        .route("/docs/grafana.json", get(grafana))
        .route("/docs/{file}", get(asset))
}

async fn page() -> Response {
    let policy = [(header::CONTENT_SECURITY_POLICY, CONTENT_POLICY)];
    (policy, Html(include_str!("docs.html"))).into_response()
}

/// Returns a Grafana dashboard for the figures of `/metrics`.
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
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}
