//! The two servers: started on core 0 without persistence, with a cap or without, and asked for their figures.
//!
//! In: which one, and its cap. Out: a connection, figures of INFO, its process. Promises: a server is killed when it is
//! dropped, and its folder goes with it.

use std::io::BufReader;
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command};
use std::str::FromStr;
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, cmd};
use tempfile::TempDir;

use crate::kind::Kind;
use crate::{Failure, spawn};

/// How often a server that starts is asked whether it has.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
/// Longest that a server may take to load its data.
const START_TIME_MAX: Duration = Duration::from_secs(60);

impl Kind {
    /// Returns its policies.
    pub fn policies(self) -> &'static [&'static str] {
        const POLICIES: [&str; 9] = [
            "noeviction",
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "allkeys-smart",
        ];
        match self {
            // The last is PyKV's own.
            Self::Redis => &POLICIES[..8],
            Self::Pykv => &POLICIES,
        }
    }

    /// Returns the policies by which it evicts any key.
    pub fn allkeys_policies(self) -> &'static [&'static str] {
        &self.policies()[5..]
    }
}

/// How much a server may hold, and what it evicts beyond.
#[derive(Clone, Copy)]
pub struct Cap {
    pub bytes: u64,
    pub policy: &'static str,
}

/// A running server, and a connection to it.
pub struct Peer {
    pub kind: Kind,
    pub address: SocketAddr,
    pub connection: Connection,
    child: Child,
    /// Kept open: a server that writes to it must not fail.
    _stdout: Option<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl Peer {
    /// Starts a server that keeps nothing on the disk.
    pub fn start(kind: Kind, cap: Option<Cap>) -> Result<Self, Failure> {
        let folder = new_folder()?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        let (child, address, stdout) = match kind {
            Kind::Redis => {
                command.arg("redis-server");
                let mut flags = vec!["--appendonly".to_owned(), "no".to_owned()];
                if let Some(Cap { bytes, policy }) = cap {
                    flags.extend(["--maxmemory".to_owned(), bytes.to_string()]);
                    flags.extend(["--maxmemory-policy".to_owned(), policy.to_owned()]);
                }
                let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                spawn::redis(&mut command, folder.path(), &flags)?
            }
            Kind::Pykv => {
                command.arg(env!("CARGO_BIN_EXE_pykv-server"));
                if let Some(Cap { bytes, policy }) = cap {
                    command.args(["--max-memory", &bytes.to_string()]);
                    command.args(["--eviction", policy]);
                }
                spawn::pykv(&mut command, folder.path(), "off")?
            }
        };
        Ok(Self {
            kind,
            address,
            connection: connect(address)?,
            child,
            _stdout: stdout,
            _folder: folder,
        })
    }

    /// Returns the number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Changes what it may hold.
    pub fn set_cap(&mut self, cap: Cap) -> Result<(), Failure> {
        self.configure("maxmemory-policy", cap.policy)?;
        self.configure("maxmemory", &cap.bytes.to_string())
    }

    /// Lets it hold all that the machine does.
    pub fn remove_cap(&mut self) -> Result<(), Failure> {
        self.configure("maxmemory", "0")
    }

    fn configure(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let mut command = cmd("CONFIG");
        command.arg("SET").arg(name).arg(value);
        command.query::<()>(&mut self.connection).map_err(|error| {
            format!("{} takes no {name} {value}: {error}", self.kind.name()).into()
        })
    }

    /// Returns the number of its keys.
    pub fn keys(&mut self) -> Result<u64, Failure> {
        Ok(cmd("DBSIZE").query(&mut self.connection)?)
    }

    /// Returns a figure of INFO.
    pub fn figure(&mut self, name: &str) -> Result<u64, Failure> {
        figure(&mut self.connection, name)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to a server, once it has loaded its data.
///
/// # Errors
/// If it takes too long.
pub fn connect(address: SocketAddr) -> Result<Connection, Failure> {
    let client = redis::Client::open(format!("redis://{address}/"))?;
    let started = Instant::now();
    loop {
        let connected = client.get_connection().and_then(|mut connection| {
            cmd("DBSIZE").query::<u64>(&mut connection)?;
            Ok(connection)
        });
        match connected {
            Ok(connection) => return Ok(connection),
            Err(error) if started.elapsed() > START_TIME_MAX => return Err(error.into()),
            Err(_) => std::thread::sleep(ASK_INTERVAL),
        }
    }
}

/// Returns a figure of INFO.
///
/// # Errors
/// If there is none of this name.
pub fn figure<F: FromStr>(connection: &mut Connection, name: &str) -> Result<F, Failure> {
    let text = String::from_redis_value(cmd("INFO").query(connection)?)?;
    let mut figures = text.lines().filter_map(|line| line.split_once(':'));
    let found = figures.find(|(found, _)| *found == name);
    let parsed = found.and_then(|(_, figure)| figure.trim().parse().ok());
    parsed.ok_or_else(|| format!("INFO has no number {name}").into())
}

/// Returns a folder that goes when it is dropped.
pub fn new_folder() -> std::io::Result<TempDir> {
    let mut name = tempfile::Builder::new();
    name.prefix("eviction-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
}
