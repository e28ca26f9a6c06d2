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

use super::problem::Problem;
use crate::command::Service;

/// What the page may load, and who may show it.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("dashboard/index.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file: its name, its type, its text.
type File = (&'static str, &'static str, &'static str);

const FILES: [File; 15] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("dashboard/style.css"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("dashboard/icon.svg"),
    ),
    ("main.js", SCRIPT, include_str!("dashboard/main.js")),
    ("page.js", SCRIPT, include_str!("dashboard/page.js")),
    ("chart.js", SCRIPT, include_str!("dashboard/chart.js")),
    ("overview.js", SCRIPT, include_str!("dashboard/overview.js")),
    ("donut.js", SCRIPT, include_str!("dashboard/donut.js")),
    ("explorer.js", SCRIPT, include_str!("dashboard/explorer.js")),
    ("tree.js", SCRIPT, include_str!("dashboard/tree.js")),
    ("editor.js", SCRIPT, include_str!("dashboard/editor.js")),
    ("pairs.js", SCRIPT, include_str!("dashboard/pairs.js")),
    ("json.js", SCRIPT, include_str!("dashboard/json.js")),
    ("forms.js", SCRIPT, include_str!("dashboard/forms.js")),
    ("console.js", SCRIPT, include_str!("dashboard/console.js")),
    ("data.js", SCRIPT, include_str!("dashboard/data.js")),
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
