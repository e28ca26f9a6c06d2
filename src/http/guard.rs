//! No page of another site may use this server through the browser of somebody who can reach it.
//!
//! In: the headers of a request. Out: the request, or a 403 that says why. Three ways in are closed: a request that the
//! browser itself marks as another site's (`Sec-Fetch-Site`), one that another origin has sent (`Origin`), and one to a
//! name of an attacker's that has been made to resolve to this machine (`Host`: DNS rebinding). Programs that are no
//! browsers send neither of the first two, and an address, `localhost` or a name without dots as the third.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::detail;

/// Passes a request on, unless another site has caused it. `own_host` is the name that HTTP was asked to be served on.
pub async fn refuse_other_sites(
    State(own_host): State<Arc<str>>,
    request: Request,
    next: Next,
) -> Response {
    // HTTP/2 and absolute request targets carry the host in the target.
    let target_host = request.uri().authority().map(ToString::to_string);
    match reason_to_refuse(request.headers(), target_host, &own_host) {
        Some(reason) => detail(StatusCode::FORBIDDEN, &reason),
        None => next.run(request).await,
    }
}

fn reason_to_refuse(
    headers: &HeaderMap,
    target_host: Option<String>,
    own_host: &str,
) -> Option<String> {
    let text_of = |name| {
        headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
    };
    if let Some(site) = text_of(header::HeaderName::from_static("sec-fetch-site"))
        && site != "same-origin"
        && site != "none"
    {
        return Some(format!(
            "this request comes from another site (Sec-Fetch-Site: {site}) and is refused"
        ));
    }
    let host = target_host
        .map(|host| host.to_ascii_lowercase())
        .or_else(|| text_of(header::HOST));
    if let Some(host) = &host
        && !is_ours(host, own_host)
    {
        return Some(format!(
            "this server is not known as {host}: use its address or localhost, or start it with --http NAME:PORT"
        ));
    }
    let origin = text_of(header::ORIGIN)?;
    let same = host.is_some_and(|host| {
        origin == format!("http://{host}") || origin == format!("https://{host}")
    });
    (!same)
        .then(|| format!("this request comes from another site (Origin: {origin}) and is refused"))
}

/// Whether a host cannot be an attacker's name: an address, localhost, a name without dots (which nobody can register), or
/// the name that this server was started with.
fn is_ours(host: &str, own_host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || name.ends_with(".localhost")
        || name.eq_ignore_ascii_case(own_host)
}
