//! A blocking client of the text port: `Address` says where, `Connection` sends request lines and reads reply lines.
//!
//! In: requests without their line end. Out: `Line`s, in the order of the requests. Promises: a request is never sent twice;
//! what became of it is told from `ClientError`; a line is held in memory one at a time, however many a reply has.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::ClientError;
use crate::reply::Line;

/// The port of a server that was started without flags.
const PORT: u16 = 7878;

/// How long a host may take to accept: long enough for another continent, short enough to be waited for at a prompt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a wait for the server looks whether the user has given up.
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(200);

/// Whether the user has pressed Ctrl-C since the last [`forget_interrupt`].
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another protocol.
    #[error("the address begins with {0}://, and should look like pykv://127.0.0.1:7878")]
    Scheme(String),
    /// A password; it is not repeated, as this text may end up in a log.
    #[error(
        "the address holds a password, and this version has no passwords: write pykv://host:port"
    )]
    Password,
    /// A user's name.
    #[error("the address holds a user's name, and there are no users: write pykv://host:port")]
    User,
    /// Something behind the port.
    #[error("the address goes on after host and port with {0:?}: write pykv://host:port")]
    Path(String),
    /// No host, or one that cannot be.
    #[error("the address has no host such as 127.0.0.1, localhost or [::1] in {0:?}")]
    Host(String),
    /// Not a port.
    #[error("the address has no port from 1 to 65535 in {0:?}")]
    Port(String),
}

/// Where a server is: `pykv://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(url: &str) -> Result<Self, AddressError> {
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("pykv") => rest,
            Some((scheme, _)) => return Err(AddressError::Scheme(scheme.to_owned())),
            None => url,
        };
        // A password may hold any character, a slash or an @ as well: the host begins after the last @.
        let place = match rest.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(AddressError::Password),
            Some((user, _)) if !user.is_empty() => return Err(AddressError::User),
            Some((_, place)) => place,
            None => rest,
        };
        let (place, path) = place.find('/').map_or((place, ""), |at| place.split_at(at));
        if path.len() > 1 {
            return Err(AddressError::Path(path.to_owned()));
        }
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
            None => PORT,
            Some(port) => match port.parse() {
                Ok(number) if number > 0 => number,
                // More colons than one, and no brackets.
                _ if port.contains(':') => return Err(AddressError::Host(place.to_owned())),
                _ => return Err(AddressError::Port(place.to_owned())),
            },
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    /// Connects; a host of several addresses is tried at each.
    pub fn connect(&self) -> Result<TcpStream, ClientError> {
        let connect = || -> io::Result<TcpStream> {
            let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for place in (self.host.as_str(), self.port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&place, CONNECT_TIMEOUT) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        return Ok(stream);
                    }
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        };
        connect().map_err(|source| ClientError::Connect {
            address: self.clone(),
            source,
        })
    }
}

/// Lets Ctrl-C end a wait for the server, where there is something to be tidied up after it. Pressed again before that has
/// been heeded, it ends the program as it would have without this.
pub fn heed_interrupts() {
    // It fails if it was done before, which is as well, or if the system has no signals: then Ctrl-C ends the program.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
}

/// Whether the user has pressed Ctrl-C.
pub fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Forgets a Ctrl-C that was pressed before what comes next.
pub fn forget_interrupt() {
    INTERRUPTED.store(false, Ordering::Relaxed);
}

/// A connection to a server.
pub struct Connection {
    address: Address,
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(address: &Address) -> Result<Self, ClientError> {
        let stream = address.connect()?;
        let reader = || -> io::Result<TcpStream> {
            stream.set_read_timeout(Some(INTERRUPT_INTERVAL))?;
            stream.try_clone()
        };
        let reader = reader().map_err(|source| ClientError::Connect {
            address: address.clone(),
            source,
        })?;
        let reader = BufReader::with_capacity(64 << 10, reader);
        Ok(Self {
            address: address.clone(),
            stream,
            reader,
            line: Vec::new(),
        })
    }

    /// The server's address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether a request may be sent. A server that has closed, or has said something unasked before it closed, is told
    /// here, so that the request can go to a new connection: once it is sent, nobody knows whether it was done.
    pub fn is_open(&self) -> bool {
        let look = || {
            self.stream.set_nonblocking(true)?;
            let seen = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            seen
        };
        self.reader.buffer().is_empty()
            && look().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends one request.
    pub fn send(&mut self, request: &[u8]) -> Result<(), ClientError> {
        // In one piece: a line end that follows by itself would be a packet of its own.
        let sent = self.stream.write_all(&[request, b"\n"].concat());
        match sent {
            // A server that closed has often said why before; that is worth more than `broken pipe`.
            Err(error) if self.reader.fill_buf().is_ok_and(|said| !said.is_empty()) => drop(error),
            sent => sent.map_err(|source| self.lost(source))?,
        }
        Ok(())
    }

    /// Another handle on the connection, through which a thread sends requests while this one reads their replies.
    pub fn sender(&self) -> Result<TcpStream, ClientError> {
        self.stream.try_clone().map_err(|source| self.lost(source))
    }

    /// Whether the next line is not here yet, so that reading it may take time.
    pub fn would_wait(&self) -> bool {
        memchr::memchr(b'\n', self.reader.buffer()).is_none()
    }

    /// Reads the next line of a reply.
    pub fn next_line(&mut self) -> Result<Line, ClientError> {
        self.line.clear();
        loop {
            if is_interrupted() {
                return Err(ClientError::Interrupted);
            }
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.pop_if(|last| *last == b'\n').is_some() => break,
                Ok(_) => {
                    return Err(self.lost(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed it",
                    )));
                }
                // What has come so far is in `line`, and the next turn goes on behind it.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
        Line::parse(&self.line).ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(&self.line)
                .chars()
                .take(60)
                .collect();
            ClientError::Foreign {
                address: self.address.clone(),
                shown: format!("{shown:?}"),
            }
        })
    }

    fn lost(&self, source: io::Error) -> ClientError {
        ClientError::Lost {
            address: self.address.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_scheme_and_port() {
        for (url, shown) in [
            ("pykv://127.0.0.1:7878", "127.0.0.1:7878"),
            ("PYKV://localhost", "localhost:7878"),
            ("pykv://host:1/", "host:1"),
            ("localhost:9", "localhost:9"),
            ("pykv://[::1]:9", "[::1]:9"),
            ("[::1]", "[::1]:7878"),
        ] {
            assert_eq!(url.parse::<Address>().expect(url).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (url, reason) in [
            (
                "http://127.0.0.1:8000",
                AddressError::Scheme("http".to_owned()),
            ),
            ("pykv://:secret@host:1", AddressError::Password),
            ("pykv://:se/c@ret@host:1", AddressError::Password),
            ("pykv://ann@host", AddressError::User),
            ("pykv://host/0", AddressError::Path("/0".to_owned())),
            ("", AddressError::Host(String::new())),
            ("pykv://:7878", AddressError::Host(":7878".to_owned())),
            ("::1", AddressError::Host("::1".to_owned())),
            ("fe80::1:2", AddressError::Host("fe80::1:2".to_owned())),
            ("host:0", AddressError::Port("host:0".to_owned())),
            ("host:70000", AddressError::Port("host:70000".to_owned())),
            ("host:", AddressError::Port("host:".to_owned())),
        ] {
            assert_eq!(url.parse::<Address>(), Err(reason), "{url}");
        }
    }
}
