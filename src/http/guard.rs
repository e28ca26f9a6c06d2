//! Protection against cross-site requests: no page of another site may use this server through a visitor's browser.
//!
//! In: the headers of a request. Out: the request, or a 403 with the reason and a remedy. Three attacks are refused: a request that
//! the browser itself marks as cross-site (`Sec-Fetch-Site`), one from another origin (`Origin`), and one to an attacker's name
//! that resolves to this machine (`Host`: DNS rebinding). Programs other than browsers send neither of the first two headers. Nor
//! does a browser in a GET over plain HTTP, which is why the third must be known for all clients.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use smallvec::SmallVec;

use super::problem::Problem;
use crate::config::{HostNames, host_name};

/// The header by which a browser names the site that has caused a request (Fetch Metadata).
pub const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const WHAT_TO_DO: &str =
    "type this server's address into the browser yourself, or ask by a program that is no browser";

/// Checks that no other site has caused a request. `own_names` are those of `--http` and `--allowed-hosts`.
///
/// # Errors
/// 403.
pub fn refuse_other_sites(request: &Request, own_names: &[String]) -> Result<(), Problem> {
    // An absolute request target has a host as well.
    let target = request.uri().authority().map(Authority::as_str);
    match reason_to_refuse(request.headers(), target, own_names) {
        Some(reason) => Err(Problem::new(StatusCode::FORBIDDEN, reason)),
        None => Ok(()),
    }
}

/// Returns the reason to refuse a request; `None` if it may pass. `target` is the authority of an absolute request target.
fn reason_to_refuse(
    headers: &HeaderMap,
    target: Option<&str>,
    own_names: &[String],
) -> Option<String> {
    let all_of = |name: HeaderName| {
        let values = headers.get_all(name).into_iter();
        values.map(|value| lower_case(String::from_utf8_lossy(value.as_bytes())))
    };
    let mut sites = all_of(SEC_FETCH_SITE).peekable();
    let is_marked_own = sites.peek().is_some_and(|site| site == "same-origin");
    if let Some(site) = sites.find(|site| site != "same-origin" && site != "none") {
        return Some(format!(
            "another site's page has caused this request (Sec-Fetch-Site: {site}): {WHAT_TO_DO}"
        ));
    }
    let target = target.map(|target| lower_case(target.into()));
    let hosts: SmallVec<[Cow<'_, str>; 1]> =
        target.into_iter().chain(all_of(header::HOST)).collect();
    if let Some(host) = hosts.iter().find(|host| !is_ours(host, own_names)) {
        let name = name_of(host).and_then(|name| name.parse().ok());
        let name = name.map_or_else(|| "NAME".to_owned(), |HostNames(names)| names.join(","));
        return Some(format!(
            "this server is not known as {host}: use its address or localhost, or start it with --allowed-hosts {name} \
             (PYKV_ALLOWED_HOSTS={name}) if that is its name"
        ));
    }
    // Sec-Fetch-Site: same-origin outranks Origin, as a proxy may have changed the host.
    let mut origins = all_of(header::ORIGIN).filter(|_| !is_marked_own);
    let foreign = origins.find(|origin| !hosts.iter().any(|host| is_origin_of(origin, host)))?;
    Some(format!(
        "another site's page has caused this request (Origin: {foreign}): {WHAT_TO_DO}"
    ))
}

/// Returns text in lower case, without a copy where it is already.
fn lower_case(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return text.to_ascii_lowercase().into();
    }
    text
}

/// Returns true if a host cannot be an attacker's: an address, `localhost` or a name below it (RFC 6761), or a name that this
/// server was told. All others can be: whoever is in the same network can answer for a name without a dot or below `.local`.
fn is_ours(host: &str, own_names: &[String]) -> bool {
    let Some(name) = name_of(host) else {
        return false;
    };
    if let Some(address) = name.strip_prefix('[') {
        let address = address.trim_end_matches(']');
        // RFC 6874: a zone, the name of a network interface, follows a percent sign.
        let (address, _) = address.split_once('%').unwrap_or((address, ""));
        return address.parse::<Ipv6Addr>().is_ok();
    }
    // Most clients name an address: no copy in lower case is made for it.
    if name
        .strip_suffix('.')
        .unwrap_or(name)
        .parse::<Ipv4Addr>()
        .is_ok()
    {
        return true;
    }
    let name = host_name(name);
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let below_localhost = name.strip_suffix(".localhost");
    // A client of HTTP/1.0 may send an empty host; a browser never does.
    name.is_empty()
        || name == "localhost"
        || below_localhost.is_some_and(|labels| labels.split('.').all(is_label))
        || own_names.contains(&name)
}

/// Returns a host without its port; `None` if what follows it is not a port.
fn name_of(host: &str) -> Option<&str> {
    // Of so short a text, bytes are compared sooner than a search for a character begins.
    let position = |wanted| host.bytes().position(|byte| byte == wanted);
    let end = match position(b']') {
        Some(end) => end + 1,
        None => position(b':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(name)
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
    fn only_addresses_localhost_and_the_names_that_the_server_was_told_are_ours() {
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
            "app.localhost:8000",
            "a.b.localhost.",
            "pykv",
            "pykv:8000",
            "kv.example.com",
            "kv.example.com:8000",
            "kv.example.com.",
        ];
        let own = ["pykv", "kv.example.com"].map(str::to_owned);
        for host in ours {
            assert!(is_ours(host, &own), "{host:?} is refused");
        }
        let foreign = [
            // A neighbour can answer for these by mDNS, LLMNR or DHCP.
            "evil",
            "evil:8000",
            "shelf.local:8000",
            "pykv.local",
            "host.docker.internal:8000",
            "pykv.default.svc.cluster.local.",
            "localhost.local",
            "localhost.localdomain",
            // Some resolvers take these for addresses, and others ask for them as names.
            "127.1",
            "2130706433",
            "0x7f.1",
            "[::1]80",
            "[]",
            "[::1",
            "[dead.beef]",
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
            assert!(!is_ours(host, &own), "{host:?} is let in");
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
                "this server is not known as evil.com:8000: use its address or localhost, or start it with --allowed-hosts \
                 evil.com (PYKV_ALLOWED_HOSTS=evil.com) if that is its name"
            )
        );
        let said = reason(&[("host", "a b,c")], None).expect("no name");
        assert!(
            said.contains(" --allowed-hosts NAME (PYKV_ALLOWED_HOSTS=NAME)"),
            "{said}"
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
        reason_to_refuse(&map, target, &["127.0.0.1".to_owned()])
    }
}
