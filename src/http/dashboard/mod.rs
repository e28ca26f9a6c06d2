//! `GET /`: the dashboard, from inside the binary.
//!
//! In: nothing but a path. Out: a page and what it needs. Promises: nothing is loaded from anywhere else, and no script but these
//! runs, whatever the store holds.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::command::Service;
use crate::http::problem::Problem;

/// What the page may load, and who may show it.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("index.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file: its name, its type, its text.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 15] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("page.js", SCRIPT, include_str!("page.js")),
    ("chart.js", SCRIPT, include_str!("chart.js")),
    ("overview.js", SCRIPT, include_str!("overview.js")),
    ("donut.js", SCRIPT, include_str!("donut.js")),
    ("explorer.js", SCRIPT, include_str!("explorer.js")),
    ("tree.js", SCRIPT, include_str!("tree.js")),
    ("editor.js", SCRIPT, include_str!("editor.js")),
    ("pairs.js", SCRIPT, include_str!("pairs.js")),
    ("json.js", SCRIPT, include_str!("json.js")),
    ("forms.js", SCRIPT, include_str!("forms.js")),
    ("console.js", SCRIPT, include_str!("console.js")),
    ("data.js", SCRIPT, include_str!("data.js")),
];

/// The routes of the dashboard.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/", get(async || respond("text/html; charset=utf-8", PAGE)))
        .route("/dashboard/{file}", get(file))
}

async fn file(Path(name): Path<String>, uri: Uri) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, content_type, text)) => respond(content_type, text),
        None => Problem::new(StatusCode::NOT_FOUND, "Not Found").at(&uri),
    }
}

fn respond(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the server has other files.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
