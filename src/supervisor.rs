//! What the server tells its supervisor, systemd or another that speaks its protocol: sd_notify(3).
//!
//! In: the socket that the supervisor names in the environment. Out: datagrams with the state of the server: loading, ready, alive,
//! stopping. Promises: without such a socket nothing is done; the server is called alive only after a client of the text port has
//! been answered; nothing here delays or ends the server.

use std::io;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::time::Duration;
use std::{env, process};

use tokio::time::{interval, timeout};

use crate::config::{Endpoint, PeerAddress};
use crate::health::look;

/// Interval of the messages during long work.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);
/// Time that long work asks for with each message: a machine that is out of breath may send the next one late.
const BUSY_EXTENSION: Duration = Duration::from_secs(60);
/// Number of looks in the time after which the supervisor gives the server up.
const LOOKS_PER_WATCHDOG: u32 = 3;

/// The supervisor of this process, if there is one.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<(UnixDatagram, UnixAddress)>,
    /// Time after which it gives up a server that does not say that it is alive.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// Finds the supervisor in the environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    #[must_use]
    pub fn from_environment() -> Self {
        let path = env::var("NOTIFY_SOCKET").unwrap_or_default();
        let opened = (!path.is_empty()).then(|| open(&path));
        let socket = opened.and_then(|opened| {
            let unusable = |error: &_| {
                tracing::warn!("cannot use the socket of the supervisor, {path}: {error}");
            };
            opened.inspect_err(unusable).ok()
        });
        let number = |name| {
            env::var(name)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
        };
        let is_mine = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_mine && *usec > 0);
        Self {
            socket,
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// Sends a state, which is lost if the supervisor does not take it now.
    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!("cannot tell the supervisor {state:?}: {error}");
        }
    }

    /// Says that requests are served.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// Says that the server is stopping.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Does work that may take long, and says meanwhile how far it is: the supervisor does not give the server up.
    pub async fn during<W: Future>(&self, status: impl Fn() -> String, work: W) -> W::Output {
        let mut work = std::pin::pin!(work);
        let mut messages = interval(BUSY_INTERVAL);
        let usec = BUSY_EXTENSION.as_micros();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = messages.tick() => {
                    let status = status();
                    self.tell(&format!("STATUS={status}\nEXTEND_TIMEOUT_USEC={usec}\nWATCHDOG=1"));
                }
            }
        }
    }

    /// Says again and again that the server is alive, each time after a new client of the text port at this address was answered.
    /// Returns at once if the supervisor does not watch.
    pub async fn prove_alive(&self, text: &Endpoint<PeerAddress>) {
        let (Some(watchdog), Some(_)) = (self.watchdog, &self.socket) else {
            return;
        };
        let wait = watchdog / LOOKS_PER_WATCHDOG;
        let place = text.place.to_place();
        let mut looks = interval(wait);
        loop {
            looks.tick().await;
            match timeout(wait, look(&place)).await {
                Ok(Ok(())) => self.tell("WATCHDOG=1"),
                Ok(Err(error)) => tracing::warn!("no client can reach {text}: {error}"),
                Err(_) => tracing::warn!("a client of {text} got no answer in {wait:?}"),
            }
        }
    }
}

/// Opens a socket that can send to a path, or to an abstract name, which begins with `@`.
fn open(path: &str) -> io::Result<(UnixDatagram, UnixAddress)> {
    let address = match path.strip_prefix('@') {
        Some(name) => abstract_address(name)?,
        None => UnixAddress::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<UnixAddress> {
    <UnixAddress as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &str) -> io::Result<UnixAddress> {
    Err(io::ErrorKind::Unsupported.into())
}
