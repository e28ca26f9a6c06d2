//! The value of `--engine`: where the data lies, if not in this process.
//!
//! In: `redis://[user:password@]host:port,...`, or `rediss://` for TLS. Out: addresses and how to sign in. Promise: a password is shown
//! nowhere.
//! Source: <https://www.iana.org/assignments/uri-schemes/prov/redis>.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Port of a node whose address has none.
const PORT: u16 = 6379;

/// Some nodes of a Redis or Valkey Cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineUrl {
    /// Addresses, `HOST:PORT`.
    pub nodes: Vec<String>,
    /// True for TLS.
    pub is_encrypted: bool,
    /// User, if the nodes want one.
    pub user: Option<String>,
    /// Password, if the nodes want one.
    pub password: Option<String>,
}

impl FromStr for EngineUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_encrypted, rest) = if let Some(rest) = text.strip_prefix("redis://") {
            (false, rest)
        } else if let Some(rest) = text.strip_prefix("rediss://") {
            (true, rest)
        } else {
            return Err("it begins with neither redis:// nor rediss://".to_owned());
        };
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
                _ => (node, Ok(PORT)),
            };
            let is_host = !host.is_empty() && !host.contains(['/', '?', '#', ' ']);
            let port = port.ok().filter(|port| is_host && *port > 0);
            port.map(|port| format!("{host}:{port}"))
                .ok_or_else(|| format!("its node {} is no HOST:PORT", place + 1))
        });
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            is_encrypted,
            user,
            password,
        })
    }
}

/// The value of the setting, valid or not: an error of the parser of flags would show it, with its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSetting(pub Result<EngineUrl, String>);

impl From<&str> for EngineSetting {
    fn from(text: &str) -> Self {
        Self(text.parse())
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "rediss" } else { "redis" };
        write!(f, "{scheme}://{}", self.nodes.join(","))
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_names_nodes_and_how_to_sign_in() {
        let url: EngineUrl = "rediss://app:p%40ss@a.example:7001,[::1]:7002,b"
            .parse()
            .expect("an URL");
        assert_eq!(url.nodes, ["a.example:7001", "[::1]:7002", "b:6379"]);
        assert!(url.is_encrypted);
        assert_eq!(
            (url.user.as_deref(), url.password.as_deref()),
            (Some("app"), Some("p@ss"))
        );
        assert_eq!(url.to_string(), "rediss://a.example:7001,[::1]:7002,b:6379");
        let url: EngineUrl = "redis://secret@a:1".parse().expect("an URL");
        assert_eq!((url.user, url.password.as_deref()), (None, Some("secret")));
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
            assert!(text.parse::<EngineUrl>().is_err(), "{text}");
        }
    }
}
