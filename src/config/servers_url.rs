//! The values of `--engine`, `--replica-of` and `--etcd`: other servers, and how to sign in there.
//!
//! In: `redis://[user:password@]host:port,...`, `pykv://` likewise, or `rediss://` and `pykvs://` for TLS. Out: addresses and how to
//! sign in. Promise: a password is shown nowhere.
//! Source: <https://www.iana.org/assignments/uri-schemes/prov/redis>.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

/// Scheme of an URL, which says what the servers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlScheme {
    /// Name; with an `s` behind it for TLS.
    pub name: &'static str,
    /// Port of a server whose address has none.
    pub port: u16,
}

/// Nodes of a Redis or Valkey Cluster.
pub const REDIS: UrlScheme = UrlScheme {
    name: "redis",
    port: 6379,
};
/// Servers of this kind.
pub const PYKV: UrlScheme = UrlScheme {
    name: "pykv",
    port: 7878,
};

/// Members of etcd.
pub const ETCD: UrlScheme = UrlScheme {
    name: "http",
    port: 2379,
};

/// Some servers.
#[derive(Clone, PartialEq, Eq)]
pub struct ServersUrl {
    scheme: UrlScheme,
    /// Addresses, `HOST:PORT`.
    pub nodes: Vec<String>,
    /// True for TLS.
    pub is_encrypted: bool,
    /// User, if the nodes want one.
    pub user: Option<String>,
    /// Password, if the nodes want one.
    pub password: Option<String>,
}

impl ServersUrl {
    /// Parses the URLs of members of etcd, each of which may have a scheme, a user and a password of its own; all the same.
    ///
    /// # Errors
    /// The reason, without the password.
    pub fn parse_etcd(text: &str) -> Result<Self, String> {
        let mut urls = text.split(',');
        let first = urls.next().unwrap_or_default();
        let (scheme, _) = first.split_once("://").unwrap_or_default();
        let mut all = first.trim_end_matches('/').to_owned();
        for url in urls {
            let (own, rest) = url.split_once("://").unwrap_or((scheme, url));
            if own != scheme {
                return Err("some of its URLs are http://, and others https://".to_owned());
            }
            let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
            all.push(',');
            all.push_str(address.trim_end_matches('/'));
        }
        Self::parse(&all, ETCD)
    }

    /// Returns the URL of each server.
    #[must_use]
    pub fn each(&self) -> Vec<String> {
        let encrypted = if self.is_encrypted { "s" } else { "" };
        let name = self.scheme.name;
        let urls = self.nodes.iter();
        urls.map(|node| format!("{name}{encrypted}://{node}"))
            .collect()
    }

    /// Parses an URL of this scheme.
    ///
    /// # Errors
    /// The reason, without the password.
    pub fn parse(text: &str, scheme: UrlScheme) -> Result<Self, String> {
        let UrlScheme { name, port } = scheme;
        let (found, rest) = text.split_once("://").unwrap_or_default();
        let is_encrypted = found.strip_suffix('s') == Some(name);
        if found != name && !is_encrypted {
            return Err(format!("it begins with neither {name}:// nor {name}s://"));
        }
        let rest = rest.trim_end_matches('/');
        let (sign_in, nodes) = match rest.rsplit_once('@') {
            Some((sign_in, nodes)) => (Some(sign_in), nodes),
            None => (None, rest),
        };
        let decoded = |part: &str| {
            let decoded = percent_decode_str(part).decode_utf8();
            decoded.map(Cow::into_owned)
        };
        let (user, password) = match sign_in.map(|text| text.split_once(':').unwrap_or(("", text)))
        {
            None => (None, None),
            Some((user, password)) => {
                let wrong = |_| "its user or password is not UTF-8".to_owned();
                let user = Some(decoded(user).map_err(wrong)?).filter(|user| !user.is_empty());
                (user, Some(decoded(password).map_err(wrong)?))
            }
        };
        let nodes = nodes.split(',').enumerate().map(|(place, node)| {
            let (host, port) = match node.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() && !node.ends_with(']') => {
                    (host, port.parse())
                }
                _ => (node, Ok(port)),
            };
            let is_host = !host.is_empty() && !host.contains(['/', '?', '#', ' ']);
            let port = port.ok().filter(|port| is_host && *port > 0);
            port.map(|port| format!("{host}:{port}"))
                .ok_or_else(|| format!("its node {} is no HOST:PORT", place + 1))
        });
        Ok(Self {
            scheme,
            nodes: nodes.collect::<Result<_, _>>()?,
            is_encrypted,
            user,
            password,
        })
    }
}

/// The value of a setting, valid or not: an error of the parser of flags would show it, with its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSetting(pub Result<ServersUrl, String>);

impl fmt::Display for ServersUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encrypted = if self.is_encrypted { "s" } else { "" };
        write!(
            f,
            "{}{encrypted}://{}",
            self.scheme.name,
            self.nodes.join(",")
        )
    }
}

impl fmt::Debug for ServersUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_names_nodes_and_how_to_sign_in() {
        let url = "rediss://app:p%40ss@a.example:7001,[::1]:7002,b";
        let url = ServersUrl::parse(url, REDIS).expect("an URL");
        assert_eq!(url.nodes, ["a.example:7001", "[::1]:7002", "b:6379"]);
        assert!(url.is_encrypted);
        assert_eq!(
            (url.user.as_deref(), url.password.as_deref()),
            (Some("app"), Some("p@ss"))
        );
        assert_eq!(url.to_string(), "rediss://a.example:7001,[::1]:7002,b:6379");
        let url = ServersUrl::parse("redis://secret@a:1", REDIS).expect("an URL");
        assert_eq!((url.user, url.password.as_deref()), (None, Some("secret")));
    }

    #[test]
    fn each_member_of_etcd_has_an_url() {
        let urls = "https://u:p@a,https://u:p@b:1/,https://c";
        let urls = ServersUrl::parse_etcd(urls).expect("URLs");
        assert_eq!(
            urls.each(),
            ["https://a:2379", "https://b:1", "https://c:2379"]
        );
        assert_eq!(
            (urls.user.as_deref(), urls.password.as_deref()),
            (Some("u"), Some("p"))
        );
        let again = ServersUrl::parse_etcd("http://a:1,b:2").expect("URLs");
        assert_eq!(again.each(), ["http://a:1", "http://b:2"]);
        assert!(ServersUrl::parse_etcd("http://a,https://b").is_err());
        assert!(ServersUrl::parse_etcd("a:2379").is_err());
    }

    #[test]
    fn what_names_no_node_is_refused() {
        for text in [
            "a:1",
            "redis://",
            "redis://a:0",
            "redis://a:70000",
            "redis://a:1,,b:2",
            "http://a:1",
            "redis://a/b:1",
        ] {
            assert!(ServersUrl::parse(text, REDIS).is_err(), "{text}");
        }
    }
}
