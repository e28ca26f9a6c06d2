//! The address of a server: `pykv://[user[:password]@]host[:port][,host[:port]...][/database]`, `pykvs://` for TLS, or
//! `unix:[user[:password]@]path`.
//!
//! In: a URL, with or without scheme and port. Out: the place to connect to, and the requests for its password and its database. Promise:
//! the password is in nothing that is shown.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use pykv::protocol::line::quote;

/// The user of a password without a user name, as in Redis.
const DEFAULT_USER: &str = "default";

/// The port of a server that was started without flags.
const DEFAULT_PORT: u16 = 7878;

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The scheme is not `pykv`.
    #[error("the address begins with {0}://, and should look like pykv://127.0.0.1:7878")]
    Scheme(String),
    /// User or password is not UTF-8 once decoded. Neither is shown: messages end up in logs.
    #[error("the user or the password in the address is not percent-encoded text")]
    Password,
    /// What follows the port is not the number of a database.
    #[error(
        "the address goes on after host and port with {0:?}: write pykv://host:port, or pykv://host:port/1 for database 1"
    )]
    Path(String),
    /// The host is missing or malformed.
    #[error("the address has no host such as 127.0.0.1, localhost or [::1] in {0:?}")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("the address has no port from 1 to 65535 in {0:?}")]
    Port(String),
    /// The path of the Unix socket is missing.
    #[error("the address has no path of a socket, such as unix:/run/pykv.sock")]
    Socket,
}

/// The place of a server.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// Host name or IP address, and port.
    Tcp(String, u16),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

/// Place and credentials of a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// That of the server, or those of several, of which one leads; at least one.
    places: Vec<Place>,
    is_tls: bool,
    user: Option<String>,
    password: Option<String>,
    /// Number of the database.
    database: u32,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        let unix = ["unix://", "pykv+unix://", "unix:"];
        let unix = unix.iter().find_map(|head| {
            let start = url.get(..head.len())?;
            start.eq_ignore_ascii_case(head).then(|| &url[head.len()..])
        });
        let mut is_tls = false;
        let rest = match (unix, url.split_once("://")) {
            (Some(rest), _) => rest,
            (None, Some((scheme, rest))) if scheme.eq_ignore_ascii_case("pykv") => rest,
            (None, Some((scheme, rest))) if scheme.eq_ignore_ascii_case("pykvs") => {
                is_tls = true;
                rest
            }
            (None, Some((scheme, _))) => return Err(AddressError::Scheme(scheme.to_owned())),
            (None, None) => url,
        };
        // A password may hold any character, even a slash or an @: the place begins after the last @.
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = user
            .split_once(':')
            .map_or((user, None), |(user, password)| (user, Some(password)));
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(Cow::into_owned)
                .map_err(|_| AddressError::Password)
        };
        let user = Some(decoded(user)?).filter(|user| !user.is_empty());
        let password = password.map(decoded).transpose()?;
        let (place, database) = match (unix, place.split_once('/')) {
            (None, Some((place, ""))) => (place, 0),
            (None, Some((place, digits))) => {
                let number = digits.parse().ok();
                let other = || AddressError::Path(format!("/{digits}"));
                (place, number.ok_or_else(other)?)
            }
            _ => (place, 0),
        };
        let places = match unix {
            Some(_) if place.is_empty() => return Err(AddressError::Socket),
            Some(_) => vec![Place::Unix(place.into())],
            None => place.split(',').map(tcp_place).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            places,
            is_tls,
            user,
            password,
            database,
        })
    }
}

/// Parses a host with or without a port.
fn tcp_place(place: &str) -> Result<Place, AddressError> {
    let (host, port) = match place
        .strip_prefix('[')
        .and_then(|place| place.split_once(']'))
    {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
        None => place
            .split_once(':')
            .map_or((place, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(AddressError::Host(place.to_owned()));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(number) if number > 0 => number,
            // An IPv6 address without brackets.
            _ if port.contains(':') => return Err(AddressError::Host(place.to_owned())),
            _ => return Err(AddressError::Port(place.to_owned())),
        },
    };
    Ok(Place::Tcp(host.to_owned(), port))
}

impl fmt::Debug for Address {
    /// Writes the place only: the password must not end up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Place::Tcp(host, port) => {
                let head = if self.is_tls { "pykvs://" } else { "" };
                if host.contains(':') {
                    write!(f, "{head}[{host}]:{port}")?;
                } else {
                    write!(f, "{head}{host}:{port}")?;
                }
            }
            Place::Unix(path) => write!(f, "unix:{}", path.display())?,
        }
        match self.database {
            0 => Ok(()),
            number => write!(f, "/{number}"),
        }
    }
}

impl Address {
    /// Returns the address of a port, without TLS and password.
    pub fn of_tcp(host: &str, port: u16) -> Self {
        Self {
            places: vec![Place::Tcp(host.to_owned(), port)],
            is_tls: false,
            user: None,
            password: None,
            database: 0,
        }
    }

    /// Returns the number of the database.
    pub fn database(&self) -> u32 {
        self.database
    }

    /// Changes the database.
    pub fn select(&mut self, database: u32) {
        self.database = database;
    }

    /// Returns the place to connect to.
    pub fn place(&self) -> &Place {
        &self.places[0]
    }

    /// Returns the address of each server, if there are several.
    pub fn each(&self) -> Vec<Self> {
        if self.places.len() == 1 {
            return Vec::new();
        }
        let each = self.places.iter().map(|place| Self {
            places: vec![place.clone()],
            ..self.clone()
        });
        each.collect()
    }

    /// Returns whether the server speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns the address with another password.
    pub fn with_password(self, password: String) -> Self {
        let password = Some(password);
        Self { password, ..self }
    }

    /// Returns whether the URL had a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Returns user and password, if there is a password.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        let user = self.user.as_deref().unwrap_or(DEFAULT_USER);
        Some((user, self.password.as_deref()?))
    }

    /// Returns the AUTH request, if there is a password.
    pub fn auth_request(&self) -> Option<String> {
        let (user, password) = self.credentials()?;
        Some(format!("AUTH {} {}", quote(user), quote(password)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_several_servers() {
        let address: Address = "pykvs://ann:secret@a,b:1,[::1]:2"
            .parse()
            .expect("an address");
        let each: Vec<String> = address.each().iter().map(ToString::to_string).collect();
        assert_eq!(each, ["pykvs://a:7878", "pykvs://b:1", "pykvs://[::1]:2"]);
        assert!(address.each().iter().all(Address::has_password));
        let alone: Address = "a:1".parse().expect("an address");
        assert!(alone.each().is_empty());
        assert!("pykv://a,,b".parse::<Address>().is_err());
    }

    #[test]
    fn an_address_may_leave_out_scheme_and_port() {
        for (url, shown) in [
            ("pykv://127.0.0.1:7878", "127.0.0.1:7878"),
            ("PYKV://localhost", "localhost:7878"),
            ("pykv://host:1/", "host:1"),
            ("pykv://host:1/0", "host:1"),
            ("pykv://host/12", "host:7878/12"),
            ("host/1", "host:7878/1"),
            ("localhost:9", "localhost:9"),
            ("pykv://[::1]:9", "[::1]:9"),
            ("[::1]", "[::1]:7878"),
            ("pykv://ann@host", "host:7878"),
            ("pykvs://ann:x@host", "pykvs://host:7878"),
            ("PYKVS://[::1]:9", "pykvs://[::1]:9"),
            ("unix:/run/pykv.sock", "unix:/run/pykv.sock"),
            ("unix:///run/pykv.sock", "unix:/run/pykv.sock"),
            ("pykv+unix://ann:x@/run/pykv.sock", "unix:/run/pykv.sock"),
            ("UNIX:a.sock", "unix:a.sock"),
        ] {
            assert_eq!(url.parse::<Address>().expect(url).to_string(), shown);
        }
    }

    #[test]
    fn a_password_is_shown_to_the_server_and_to_nobody_else() {
        for (url, admission) in [
            ("pykv://host", None),
            ("pykv://ann@host", None),
            ("pykv://:secret@host:1", Some("AUTH default secret")),
            (
                "pykv://ann:se/c@r%20et@host:1",
                Some("AUTH ann \"se/c@r et\""),
            ),
            ("unix:ann:secret@/run/pykv.sock", Some("AUTH ann secret")),
        ] {
            let address: Address = url.parse().expect(url);
            assert_eq!(address.auth_request().as_deref(), admission, "{url}");
            assert!(!format!("{address} {address:?}").contains("se"), "{url}");
        }
    }

    #[test]
    fn a_malformed_address_is_refused_with_the_reason() {
        for (url, reason) in [
            (
                "http://127.0.0.1:8000",
                AddressError::Scheme("http".to_owned()),
            ),
            ("pykv://:%FF@host:1", AddressError::Password),
            ("pykv://host/x", AddressError::Path("/x".to_owned())),
            ("pykv://host/1/", AddressError::Path("/1/".to_owned())),
            ("", AddressError::Host(String::new())),
            ("pykv://:7878", AddressError::Host(":7878".to_owned())),
            ("::1", AddressError::Host("::1".to_owned())),
            ("fe80::1:2", AddressError::Host("fe80::1:2".to_owned())),
            ("host:0", AddressError::Port("host:0".to_owned())),
            ("host:70000", AddressError::Port("host:70000".to_owned())),
            ("host:", AddressError::Port("host:".to_owned())),
            ("unix:", AddressError::Socket),
            ("unix://ann:x@", AddressError::Socket),
        ] {
            assert_eq!(url.parse::<Address>(), Err(reason), "{url}");
        }
    }
}
