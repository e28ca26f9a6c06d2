//! `GET /`: the dashboard, embedded in the binary.
//!
//! In: a path. Out: the page, its styles and its scripts. Promises: nothing is loaded from another server, and no other script is
//! executed, whatever the store holds.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::command::Service;
use crate::http::problem::Problem;

/// Content security policy: the page loads nothing from other servers, and no page may embed it.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("index.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, content type and text of a file.
type Asset = (&'static str, &'static str, &'static str);

const ASSETS: [Asset; 25] = [
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    ),
    ("icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("page.js", SCRIPT, include_str!("page.js")),
    ("question.js", SCRIPT, include_str!("question.js")),
    ("work.js", SCRIPT, include_str!("work.js")),
    ("guarded.js", SCRIPT, include_str!("guarded.js")),
    ("conflict.js", SCRIPT, include_str!("conflict.js")),
    ("namespaces.js", SCRIPT, include_str!("namespaces.js")),
    ("danger.js", SCRIPT, include_str!("danger.js")),
    ("replies.js", SCRIPT, include_str!("replies.js")),
    ("log.js", SCRIPT, include_str!("log.js")),
    ("chart.js", SCRIPT, include_str!("chart.js")),
    ("overview.js", SCRIPT, include_str!("overview.js")),
    ("members.js", SCRIPT, include_str!("members.js")),
    ("donut.js", SCRIPT, include_str!("donut.js")),
    ("explorer.js", SCRIPT, include_str!("explorer.js")),
    ("tree.js", SCRIPT, include_str!("tree.js")),
    ("editor.js", SCRIPT, include_str!("editor.js")),
    ("pairs.js", SCRIPT, include_str!("pairs.js")),
    ("json.js", SCRIPT, include_str!("json.js")),
    ("forms.js", SCRIPT, include_str!("forms.js")),
    ("console.js", SCRIPT, include_str!("console.js")),
    ("data.js", SCRIPT, include_str!("data.js")),
    ("session.js", SCRIPT, include_str!("session.js")),
];

/// Returns the routes of the dashboard.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/", get(async || respond("text/html; charset=utf-8", PAGE)))
        .route("/dashboard/{file}", get(asset))
}

async fn asset(Path(name): Path<String>, uri: Uri) -> Response {
    match ASSETS.iter().find(|(file, ..)| *file == name) {
        Some((_, content_type, text)) => respond(content_type, text),
        None => Problem::new(StatusCode::NOT_FOUND, "Not Found").at(&uri),
    }
}

fn respond(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        // Another version of the server has other files under the same names.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
