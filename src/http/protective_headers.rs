//! Headers that tell a browser what not to do with a response, in one place for all of them.
//!
//! In: a response. Out: the same, with each of these headers that it did not have. Promises: no browser takes it for another
//! content type than it has, embeds it in a page of another site, or keeps it where the next user of the browser finds it.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;

/// Headers and their values, for a response that does not set them itself.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    // For a response that is opened as a page: it executes and loads nothing. The two pages have policies of their own.
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Where a browser sends neither Sec-Fetch-Site nor Origin, this keeps other sites from `<script src>` and the like.
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The same as a map, which is copied sooner than it is made; with room for the headers of most responses.
static MAP: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut map = HeaderMap::with_capacity(2 * HEADERS.len());
    map.extend(HEADERS);
    map
});

/// Adds the headers to a response.
pub fn add(response: &mut Response) {
    let headers = response.headers_mut();
    let own = std::mem::replace(headers, MAP.clone());
    headers.extend(own);
}
