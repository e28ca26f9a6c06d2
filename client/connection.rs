//! A blocking client of the text port: `Address` says where, `Connection` sends request lines and reads reply lines.
//!
//! In: requests without their line end. Out: `Line`s, in the order of the requests. Promises: a request is never sent twice;
//! what became of it is told from `ClientError`; a line is held in memory one at a time, however many a reply has.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use pykv::protocol::line::quote;

use crate::error::ClientError;
use crate::render::tell;
use crate::reply::Line;

/// Who somebody is that gives a password and no name, as in Redis.
const USER: &str = "default";

/// The port of a server that was started without flags.
const PORT: u16 = 7878;

/// How long a host may take to accept: long enough for another continent, short enough to be waited for at a prompt.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a wait for the server looks whether the user has given up.
pub const INTERRUPT_INTERVAL: Duration = Duration::from_millis(200);

/// Whether the user has pressed Ctrl-C since the last [`forget_interrupt`].
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another protocol.
    #[error("the address begins with {0}://, and should look like pykv://127.0.0.1:7878")]
    Scheme(String),
    /// A user or a password that is no text once decoded; it is not repeated, as this text may end up in a log.
    #[error("the user or the password in the address is not percent-encoded text")]
    Password,
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

/// Where a server is, and what it takes to get in: `pykv://[user[:password]@]host[:port]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<String>,
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
            user,
            password,
        })
    }
}

impl fmt::Debug for Address {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
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
    /// The same, with this password.
    pub fn with_password(self, password: String) -> Self {
        let password = Some(password);
        Self { password, ..self }
    }

    /// Whether it has a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// The same place, as Redis's clients write it.
    pub fn redis_url(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let user = encoded(self.user.as_deref().unwrap_or(USER));
        let admission = self
            .password
            .as_deref()
            .map(|password| format!("{user}:{}@", encoded(password)));
        // Redis's clients take this one without a name.
        format!("redis://{}{self}", admission.unwrap_or_default())
    }

    /// The request that shows the password, if there is one.
    fn admission(&self) -> Option<String> {
        let password = quote(self.password.as_deref()?);
        let user = quote(self.user.as_deref().unwrap_or(USER));
        Some(format!("AUTH {user} {password}"))
    }

    /// Connects; a host of several addresses is tried at each.
    pub fn connect(&self, timeout: Duration) -> Result<TcpStream, ClientError> {
        let connect = || -> io::Result<TcpStream> {
            let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for place in (self.host.as_str(), self.port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&place, timeout) {
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

/// Waits so long; whether to go on, as the user has not pressed Ctrl-C.
pub fn pause(time: Duration) -> bool {
    let until = Instant::now() + time;
    while !is_interrupted() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(INTERRUPT_INTERVAL));
    }
    false
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
        Self::open_with(address, CONNECT_TIMEOUT, INTERRUPT_INTERVAL)
    }

    fn open_with(
        address: &Address,
        connect_timeout: Duration,
        read_timeout: Duration,
    ) -> Result<Self, ClientError> {
        let stream = address.connect(connect_timeout)?;
        let reader = || -> io::Result<TcpStream> {
            stream.set_read_timeout(Some(read_timeout))?;
            stream.try_clone()
        };
        let reader = reader().map_err(|source| ClientError::Connect {
            address: address.clone(),
            source,
        })?;
        let reader = BufReader::with_capacity(64 << 10, reader);
        let mut connection = Self {
            address: address.clone(),
            stream,
            reader,
            line: Vec::new(),
        };
        if let Some(admission) = address.admission() {
            let until = Instant::now() + connect_timeout;
            connection.send(admission.as_bytes())?;
            match connection.line_until(until) {
                Some(Line::Error(code, message)) => {
                    return Err(ClientError::Refused { code, message });
                }
                Some(_) => {}
                None => return Err(connection.lost(io::ErrorKind::TimedOut.into())),
            }
        }
        Ok(connection)
    }

    /// The same, for somebody who waits no longer than this.
    pub fn open_for(address: &Address, patience: Duration) -> Result<Self, ClientError> {
        Self::open_with(address, patience, patience)
    }

    /// The next line, if it comes until then.
    pub fn line_until(&mut self, until: Instant) -> Option<Line> {
        self.line.clear();
        while Instant::now() < until {
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(_) => {
                    self.line.pop_if(|last| *last == b'\n')?;
                    return Line::parse(&self.line);
                }
                Err(error) if is_pause(&error) => {}
                Err(_) => return None,
            }
        }
        None
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

    /// Asks for one thing that is answered with one line, which is no refusal.
    pub fn ask(&mut self, request: &str) -> Result<Line, ClientError> {
        self.send(request.as_bytes())?;
        match self.next_line()? {
            Line::Error(code, message) => Err(ClientError::Refused { code, message }),
            line => Ok(line),
        }
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
        self.read_line()?;
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

    fn read_line(&mut self) -> Result<(), ClientError> {
        self.line.clear();
        loop {
            if is_interrupted() {
                return Err(ClientError::Interrupted);
            }
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.pop_if(|last| *last == b'\n').is_some() => return Ok(()),
                Ok(_) => {
                    return Err(self.lost(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed it",
                    )));
                }
                // What has come so far is in `line`, and the next turn goes on behind it.
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    /// Reads replies, of either dialect, up to the one that holds this mark; how many there were before it, and how many of them were
    /// refusals, the first of which are told.
    pub fn count_replies(&mut self, mark: &str, told_max: u64) -> Result<(u64, u64), ClientError> {
        let (mut replies, mut errors) = (0, 0);
        // How many parts of an array are still to come.
        let mut parts = 0_usize;
        loop {
            self.read_line()?;
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            if parts == 0 && memchr::memmem::find(line, mark.as_bytes()).is_some() {
                return Ok((replies, errors));
            }
            let length = |line: &[u8]| {
                let digits = std::str::from_utf8(line.get(1..)?).ok()?;
                digits.parse::<usize>().ok()
            };
            let (mut bulk, mut more) = (None, 0);
            match line.first() {
                Some(b'$' | b'=') => bulk = length(line),
                Some(b'*' | b'~' | b'>') => more = length(line).unwrap_or(0),
                Some(b'%') => more = 2 * length(line).unwrap_or(0),
                _ => {}
            }
            let is_row = Line::parse(line).is_some_and(|line| !line.ends_reply());
            if line.first() == Some(&b'-') || line.starts_with(b"ERR ") {
                errors += 1;
                if errors <= told_max {
                    tell(&format!("Error: {}", String::from_utf8_lossy(line)));
                }
            }
            if let Some(bytes) = bulk {
                self.skip(bytes + 2)?;
            }
            parts = parts.saturating_sub(1) + more;
            if parts == 0 && !is_row {
                replies += 1;
            }
        }
    }

    fn skip(&mut self, mut bytes: usize) -> Result<(), ClientError> {
        while bytes > 0 {
            let count = match self.reader.fill_buf() {
                Ok(waiting) => waiting.len().min(bytes),
                Err(error) if is_pause(&error) && !is_interrupted() => continue,
                Err(error) => return Err(self.lost(error)),
            };
            if count == 0 {
                return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
            }
            self.reader.consume(count);
            bytes -= count;
        }
        Ok(())
    }

    fn lost(&self, source: io::Error) -> ClientError {
        ClientError::Lost {
            address: self.address.clone(),
            source,
        }
    }
}

/// Whether nothing has come for a while, and more may.
fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
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
            ("pykv://ann@host", "host:7878"),
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
        ] {
            let address: Address = url.parse().expect(url);
            assert_eq!(address.admission().as_deref(), admission, "{url}");
            assert!(!format!("{address} {address:?}").contains("se"), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (url, reason) in [
            (
                "http://127.0.0.1:8000",
                AddressError::Scheme("http".to_owned()),
            ),
            ("pykv://:%FF@host:1", AddressError::Password),
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
