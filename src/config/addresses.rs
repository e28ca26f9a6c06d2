//! Addresses that say what is spoken there: of the settings, and of the two ends of a connection.
//!
//! In: texts such as `127.0.0.1:7878`, `tls://0.0.0.0:7879`, `redis://127.0.0.1:6379`, `https://localhost:8443`, `unix:/run/pykv.sock`.
//! Out: an [`Endpoint`], or why the text is none. Promise: what an endpoint shows is read again as the same endpoint.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// Maximum length of the path of a Unix socket in bytes: `sun_path` of unix(7), without the NUL at its end.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

/// A host and a port, such as `127.0.0.1:7878` or `localhost:0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub String);

impl Address {
    /// Returns the host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0
            .rsplit_once(':')
            .map_or("", |(host, _)| host.trim_matches(['[', ']']))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_host_and_port = text.parse::<SocketAddr>().is_ok()
            || text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
            });
        if is_host_and_port {
            Ok(Self(text.to_owned()))
        } else {
            Err("it is no host and port, such as 127.0.0.1:7878".to_owned())
        }
    }
}

/// What is spoken at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// The text protocol and RESP.
    Text,
    /// The same; what is not RESP is read as an inline command of Redis.
    Redis,
    /// HTTP.
    Http,
}

/// Place that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A host and a port.
    Tcp(Address),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// An address that is listened on, and what is spoken there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint<P = Place> {
    /// What is spoken.
    pub scheme: Scheme,
    /// True if it is spoken over TLS.
    pub is_tls: bool,
    /// Place.
    pub place: P,
}

impl Endpoint {
    /// Parses an address that may begin with one of these schemes.
    ///
    /// # Errors
    /// Why it is none.
    fn parse(text: &str, schemes: &[(&str, Scheme, bool)]) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let (_, scheme, _) = schemes[0];
            let place = Place::Unix(unix_path(path)?);
            return Ok(Self {
                scheme,
                is_tls: false,
                place,
            });
        }
        let (head, address) = text.split_once("://").unwrap_or(("", text));
        let head = head.to_ascii_lowercase();
        let found = schemes.iter().find(|(name, ..)| *name == head);
        let Some((_, scheme, is_tls)) = found else {
            let names = schemes.iter().filter(|(name, ..)| !name.is_empty());
            let names: Vec<String> = names.map(|(name, ..)| format!("{name}://")).collect();
            return Err(format!(
                "{head}:// is not spoken here; it may begin with {} or unix:",
                names.join(", ")
            ));
        };
        Ok(Self {
            scheme: *scheme,
            is_tls: *is_tls,
            place: Place::Tcp(address.parse()?),
        })
    }

    /// Returns the same endpoint at the address that the system has given it.
    #[must_use]
    pub fn bound(&self, address: PeerAddress) -> Endpoint<PeerAddress> {
        Endpoint {
            scheme: self.scheme,
            is_tls: self.is_tls,
            place: address,
        }
    }
}

impl<P> Endpoint<P> {
    /// Returns what stands before a host and a port.
    fn head(&self) -> &'static str {
        match (self.scheme, self.is_tls) {
            (Scheme::Text, false) => "",
            (Scheme::Text, true) => "tls://",
            (Scheme::Redis, false) => "redis://",
            (Scheme::Redis, true) => "rediss://",
            (Scheme::Http, false) => "http://",
            (Scheme::Http, true) => "https://",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(Address(address)) => write!(f, "{}{address}", self.head()),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Endpoint<PeerAddress> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            PeerAddress::Tcp(address) => write!(f, "{}{address}", self.head()),
            PeerAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Parses the path of a Unix socket.
///
/// # Errors
/// Why it is none.
fn unix_path(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() || path.ends_with('/') {
        return Err("it has no path of a socket, such as unix:/run/pykv.sock".to_owned());
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "its path has {} bytes; the system allows {UNIX_PATH_BYTES_MAX} for a Unix socket",
            path.len()
        ));
    }
    Ok(path.into())
}

/// Address of the text port: `HOST:PORT`, `tls://`, `redis://`, `rediss://`, `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextEndpoint(pub Endpoint);

impl FromStr for TextEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let schemes = [
            ("", Scheme::Text, false),
            ("tls", Scheme::Text, true),
            ("redis", Scheme::Redis, false),
            ("rediss", Scheme::Redis, true),
        ];
        Endpoint::parse(text, &schemes).map(Self)
    }
}

/// Address of HTTP: `HOST:PORT`, `http://`, `https://`, `unix:PATH`; `None` for `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpEndpoint(pub Option<Endpoint>);

impl FromStr for HttpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let schemes = [
            ("", Scheme::Http, false),
            ("http", Scheme::Http, false),
            ("https", Scheme::Http, true),
        ];
        Endpoint::parse(text, &schemes)
            .map(|endpoint| Self(Some(endpoint)))
            .map_err(|error| format!("{error}, nor `off`"))
    }
}

/// Address of one end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of the Unix socket: its clients have no address of their own.
    Unix(Arc<Path>),
}

impl PeerAddress {
    /// Returns it as a place that clients connect to.
    #[must_use]
    pub fn to_place(&self) -> Place {
        match self {
            Self::Tcp(address) => Place::Tcp(Address(address.to_string())),
            Self::Unix(path) => Place::Unix(path.to_path_buf()),
        }
    }

    /// Returns true if no other machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.to_canonical().is_loopback())
    }

    /// Returns the IP address; `None` for a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Returns the port; `None` for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    /// Writes the address as Redis's CLIENT LIST and SLOWLOG do: `127.0.0.1:50000`, or `/run/pykv.sock:0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{}:0", path.display()),
        }
    }
}

/// The addresses of the text port, with the ports that the system has chosen.
#[derive(Debug, Clone, Default)]
pub struct BoundEndpoints(pub Vec<Endpoint<PeerAddress>>);

impl BoundEndpoints {
    /// Returns the IP addresses, separated by spaces, as Redis's `bind` has them.
    #[must_use]
    pub fn ips(&self) -> String {
        let mut ips: Vec<String> = Vec::new();
        for ip in self.0.iter().filter_map(|endpoint| endpoint.place.ip()) {
            if !ips.contains(&ip.to_string()) {
                ips.push(ip.to_string());
            }
        }
        ips.join(" ")
    }

    /// Returns the first port, with or without TLS; 0 without one, as Redis.
    #[must_use]
    pub fn port(&self, is_tls: bool) -> u16 {
        let endpoints = self.0.iter().filter(|endpoint| endpoint.is_tls == is_tls);
        let mut ports = endpoints.filter_map(|endpoint| endpoint.place.port());
        ports.next().unwrap_or(0)
    }

    /// Returns the path of the first Unix socket; empty without one, as Redis.
    #[must_use]
    pub fn unix_path(&self) -> String {
        let mut paths = self.0.iter().filter_map(|endpoint| match &endpoint.place {
            PeerAddress::Unix(path) => Some(path.display().to_string()),
            PeerAddress::Tcp(_) => None,
        });
        paths.next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_shows_what_it_was_read_from() {
        for text in [
            "127.0.0.1:7878",
            "localhost:0",
            "[::1]:7878",
            "tls://0.0.0.0:7879",
            "redis://127.0.0.1:6379",
            "rediss://kv.example.com:6380",
            "unix:/run/pykv.sock",
            "unix:pykv.sock",
        ] {
            let endpoint: TextEndpoint = text.parse().expect(text);
            assert_eq!(endpoint.0.to_string(), text);
        }
        for (text, shown) in [
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("HTTPS://localhost:8443", "https://localhost:8443"),
            ("unix:/run/http.sock", "unix:/run/http.sock"),
        ] {
            let HttpEndpoint(endpoint) = text.parse().expect(text);
            assert_eq!(endpoint.expect(text).to_string(), shown);
        }
        assert_eq!("off".parse(), Ok(HttpEndpoint(None)));
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_the_reason() {
        let long = format!("unix:{}", "a".repeat(UNIX_PATH_BYTES_MAX + 1));
        for (text, reason) in [
            ("", "no host and port"),
            ("7878", "no host and port"),
            ("127.0.0.1:70000", "no host and port"),
            ("tls://", "no host and port"),
            ("tls://unix:/a", "no host and port"),
            (
                "https://127.0.0.1:1",
                "https:// is not spoken here; it may begin with tls://, redis://, rediss:// or unix:",
            ),
            ("unix:", "no path of a socket"),
            ("unix:/tmp/", "no path of a socket"),
            (&long, "its path has 108 bytes; the system allows 107"),
        ] {
            let error = text.parse::<TextEndpoint>().expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
        let error = "tls://a:1".parse::<HttpEndpoint>().expect_err("no HTTP");
        assert!(error.contains("it may begin with http://, https:// or unix:, nor `off`"));
        let longest = &long[..long.len() - 1];
        assert!(longest.parse::<TextEndpoint>().is_ok());
    }
}
