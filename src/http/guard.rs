//! Protection against cross-site requests: no page of another site may use this server through a visitor's browser.
//!
//! In: the headers of a request. Out: the request, or a 403 with the reason and a remedy. Three attacks are refused: a request that
//! the browser itself marks as cross-site (`Sec-Fetch-Site`), one from another origin (`Origin`), and one to an attacker's name
//! that resolves to this machine (`Host`: DNS rebinding). Programs other than browsers send neither of the first two headers, and
//! as the third an address, or a name of their own network.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem::Problem;

const WHAT_TO_DO: &str =
    "type this server's address into the browser yourself, or ask by a program that is no browser";

/// Top-level names that nobody can register, as they are reserved for a machine or a network (RFC 6761, RFC 6762, ICANN 2024).
const RESERVED: [&str; 3] = ["localhost", "local", "internal"];

/// Passes a request on, or returns 403 if another site has caused it. `own_host` is the host name of `--http`.
pub async fn refuse_other_sites(
    State(own_host): State<Arc<str>>,
    request: Request,
    next: Next,
) -> Response {
    // An absolute request target has a host as well.
    let target = request.uri().authority().map(Authority::as_str);
    match reason_to_refuse(request.headers(), target, &own_host) {
        Some(reason) => Problem::new(StatusCode::FORBIDDEN, reason).at(request.uri()),
        None => next.run(request).await,
    }
}

/// Returns the reason to refuse a request; `None` if it may pass. `target` is the authority of an absolute request target.
fn reason_to_refuse(headers: &HeaderMap, target: Option<&str>, own_host: &str) -> Option<String> {
    let all_of = |name: HeaderName| {
        let values = headers.get_all(name).into_iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
    };
    let mut sites = all_of(HeaderName::from_static("sec-fetch-site")).peekable();
    let is_marked_own = sites.peek().is_some_and(|site| site == "same-origin");
    if let Some(site) = sites.find(|site| site != "same-origin" && site != "none") {
        return Some(format!(
            "another site's page has caused this request (Sec-Fetch-Site: {site}): {WHAT_TO_DO}"
        ));
    }
    let target = target.map(str::to_ascii_lowercase);
    let hosts: Vec<String> = target.into_iter().chain(all_of(header::HOST)).collect();
    if let Some(host) = hosts.iter().find(|host| !is_ours(host, own_host)) {
        return Some(format!(
            "this server is not known as {host}: use its address or localhost, or start it with --http NAME:PORT"
        ));
    }
    // Sec-Fetch-Site: same-origin outranks Origin, as a proxy may have changed the host.
    let mut origins = all_of(header::ORIGIN).filter(|_| !is_marked_own);
    let foreign = origins.find(|origin| !hosts.iter().any(|host| is_origin_of(origin, host)))?;
    Some(format!(
        "another site's page has caused this request (Origin: {foreign}): {WHAT_TO_DO}"
    ))
}

/// Returns true if a host cannot be an attacker's: an address, a name without dots or below a reserved one (which nobody can
/// register), or the name that this server was started with.
fn is_ours(host: &str, own_host: &str) -> bool {
    let (name, port) = match host.find(']') {
        Some(end) => host.split_at(end + 1),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return false;
    }
    if let Some(address) = name.strip_prefix('[') {
        let is_of_address = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
        let address = address.trim_end_matches(']');
        // RFC 6874: a zone, the name of a network interface, follows a percent sign.
        let (address, _) = address.split_once('%').unwrap_or((address, ""));
        return address.bytes().all(is_of_address);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| label.bytes().all(is_of_name);
    let is_private = match name.rsplit_once('.') {
        Some((labels, top)) => RESERVED.contains(&top) && labels.split('.').all(is_label),
        None => is_label(name),
    };
    is_private
        || name.parse::<Ipv4Addr>().is_ok()
        || name.eq_ignore_ascii_case(own_host.strip_suffix('.').unwrap_or(own_host))
}

/// Returns true if an origin is that of this host. The default port of the scheme may be omitted in either.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let schemes = [("http://", ":80"), ("https://", ":443")];
    schemes.into_iter().any(|(scheme, port)| {
        let short = |host: &str| host.strip_suffix(port).unwrap_or(host).to_owned();
        origin
            .strip_prefix(scheme)
            .is_some_and(|site| short(site) == short(host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_private_names_and_the_own_name_are_ours() {
        let ours = [
            "",
            "localhost",
            "localhost:8000",
            "localhost.",
            "localhost.:8000",
            "127.0.0.1",
            "127.0.0.1:8000",
            "192.168.1.7:80",
            "0.0.0.0:8000",
            "[::1]",
            "[::1]:8000",
            "[fe80::1%25eth0]:8000",
            "pykv",
            "pykv:8000",
            "my_pykv-1:8000",
            "app.localhost:8000",
            "shelf.local:8000",
            "host.docker.internal:8000",
            "pykv.default.svc.cluster.local.",
            "kv.example.com",
            "kv.example.com:8000",
            "kv.example.com.",
        ];
        for host in ours {
            assert!(is_ours(host, "KV.example.com"), "{host:?} is refused");
        }
        let foreign = [
            "evil.com",
            "evil.com:8000",
            "evil.com.",
            "evil.com..",
            "evil..",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "localhost:8000@evil.com",
            "127.0.0.1:80@evil.com",
            "user@localhost",
            "localhost@evil.com",
            "evil.com#localhost",
            "[evil.com]:8000",
            "[::1]evil.com",
            "[::1].evil.com:80",
            "evil.com/localhost",
            "kv.example.com.evil.com",
            "xkv.example.com",
            "evil.localhost.com",
            "@.localhost",
            "evil。com",
            "1.2.3.4.5",
            "a b",
            "local.evil.com",
            "evil.xlocal",
        ];
        for host in foreign {
            assert!(!is_ours(host, "kv.example.com"), "{host:?} is let in");
        }
    }

    type Headers = &'static [(&'static str, &'static str)];

    const OWN: &[Headers] = &[
        &[],
        &[("host", "127.0.0.1:8000")],
        &[
            ("host", "LOCALHOST:8000"),
            ("origin", "http://localhost:8000"),
        ],
        &[("host", "localhost"), ("origin", "http://localhost:80")],
        &[("host", "localhost:80"), ("origin", "http://localhost")],
        &[("host", "[::1]:8000"), ("origin", "http://[::1]:8000")],
        &[("host", "localhost:443"), ("origin", "https://localhost")],
        &[("host", "localhost:8000"), ("sec-fetch-site", "none")],
        &[
            ("host", "localhost:8000"),
            ("sec-fetch-site", "Same-Origin"),
            ("origin", "http://localhost:8000"),
        ],
        &[
            ("host", "127.0.0.1:8000"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://behind.a.proxy"),
        ],
    ];

    const FOREIGN: &[Headers] = &[
        &[("host", "localhost:8000"), ("sec-fetch-site", "cross-site")],
        &[("host", "localhost:8000"), ("sec-fetch-site", "same-site")],
        &[("host", "localhost:8000"), ("sec-fetch-site", "")],
        &[
            ("host", "localhost:8000"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "cross-site"),
        ],
        &[("host", "localhost:8000"), ("origin", "null")],
        &[("host", "localhost:8000"), ("origin", "")],
        &[("host", "localhost:8000"), ("origin", "http://evil.com")],
        &[
            ("host", "localhost:8000"),
            ("origin", "http://localhost:9000"),
        ],
        &[
            ("host", "localhost:8000"),
            ("origin", "http://localhost:8000.evil.com"),
        ],
        &[
            ("host", "localhost:8000"),
            ("origin", "http://127.0.0.1:8000"),
        ],
        &[
            ("host", "localhost:8000"),
            ("origin", "ftp://localhost:8000"),
        ],
        &[("host", "localhost:8000"), ("origin", "localhost:8000")],
        &[("host", "localhost:443"), ("origin", "http://localhost")],
        &[
            ("host", "localhost:8000"),
            ("sec-fetch-site", "none"),
            ("origin", "http://evil.com"),
        ],
        &[("origin", "http://localhost:8000")],
        &[("host", "evil.com:8000")],
        &[
            ("host", "evil.com:8000"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://evil.com:8000"),
        ],
        &[("host", "localhost:8000"), ("host", "evil.com:8000")],
    ];

    /// Goal: a request that a browser sends for a page of another site is refused, whatever its other headers; all others pass.
    #[test]
    fn requests_that_another_site_has_caused_are_refused() {
        for headers in OWN {
            assert_eq!(reason(headers, None), None, "{headers:?}");
        }
        for headers in FOREIGN {
            assert!(reason(headers, None).is_some(), "{headers:?}");
        }
    }

    #[test]
    fn the_host_of_an_absolute_target_counts_as_well() {
        let host: &[(&str, &str)] = &[("host", "localhost:8000")];
        assert_eq!(reason(host, Some("Localhost:8000")), None);
        assert!(reason(host, Some("evil.com")).is_some());
        assert!(reason(host, Some("localhost:8000@evil.com")).is_some());
        assert!(reason(&[("host", "evil.com")], Some("localhost:8000")).is_some());
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let said = reason(&[("host", "evil.com:8000")], None);
        assert_eq!(
            said.as_deref(),
            Some(
                "this server is not known as evil.com:8000: use its address or localhost, or start it with --http NAME:PORT"
            )
        );
        let said = reason(&[("origin", "null")], None);
        assert_eq!(
            said.as_deref(),
            Some(
                "another site's page has caused this request (Origin: null): type this server's address into the browser \
                 yourself, or ask by a program that is no browser"
            )
        );
    }

    fn reason(headers: &[(&str, &str)], target: Option<&str>) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header's name");
            map.append(name, value.parse().expect("a header's value"));
        }
        reason_to_refuse(&map, target, "127.0.0.1")
    }
}
