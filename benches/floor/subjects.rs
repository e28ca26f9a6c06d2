//! The servers that are compared, as processes on core 0.
//!
//! In: which one. Out: the processor time that a load takes of it. Promise: a server is killed when it is dropped, and its folder goes
//! with it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::load::{Load, Operation, Protocol};
use crate::redis_flags::REDIS_EVERYSEC;
use crate::{Failure, processor, spawn};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bare,
    Minimal,
    Scripted,
    Pykv,
    PykvLine,
    PykvEverySecond,
    Redis,
    RedisEverySecond,
    Valkey,
    Memcached,
}

/// All, in the order in which they have their turn.
pub const KINDS: [Kind; 10] = [
    Kind::Bare,
    Kind::Minimal,
    Kind::Scripted,
    Kind::Pykv,
    Kind::PykvLine,
    Kind::PykvEverySecond,
    Kind::Redis,
    Kind::RedisEverySecond,
    Kind::Valkey,
    Kind::Memcached,
];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop",
            Self::Minimal => "minimal server",
            Self::Scripted => "bare loop with Lua",
            Self::Pykv => "PyKV",
            Self::PykvLine => "PyKV, line dialect",
            Self::PykvEverySecond => "PyKV, everysec",
            Self::Redis => "Redis",
            Self::RedisEverySecond => "Redis, everysec",
            Self::Valkey => "Valkey",
            Self::Memcached => "memcached",
        }
    }

    /// Returns true if it knows an operation.
    pub fn knows(self, operation: Operation) -> bool {
        match self {
            Self::Bare | Self::Pykv | Self::Redis | Self::Valkey => true,
            Self::Scripted => operation == Operation::Script,
            _ => operation != Operation::Script,
        }
    }

    fn protocol(self) -> Protocol {
        match self {
            Self::Bare => Protocol::Bare,
            Self::PykvLine => Protocol::Line,
            Self::Memcached => Protocol::Memcached,
            _ => Protocol::Resp,
        }
    }

    /// The program that has to be installed for it.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Redis | Self::RedisEverySecond => Some("redis-server"),
            Self::Valkey => Some("valkey-server"),
            Self::Memcached => Some("memcached"),
            _ => None,
        }
    }
}

/// A running server.
pub struct Subject {
    pub kind: Kind,
    address: SocketAddr,
    child: Child,
    /// Kept open: a server that writes to it must not fail.
    _stdout: Option<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl Subject {
    /// Starts a server; `None` if it is not installed.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(kind: Kind) -> Result<Option<Self>, Failure> {
        if let Some(program) = kind.program()
            && !Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        {
            return Ok(None);
        }
        let folder = tempfile::Builder::new()
            .prefix("floor-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        let (child, address, stdout) = match kind {
            Kind::Bare => floor(&mut command, "bare")?,
            Kind::Minimal => floor(&mut command, "minimal")?,
            Kind::Scripted => floor(&mut command, "scripted")?,
            Kind::Pykv | Kind::PykvLine | Kind::PykvEverySecond => {
                command.arg(env!("CARGO_BIN_EXE_pykv-server"));
                let durability = if kind == Kind::PykvEverySecond {
                    "everysec"
                } else {
                    "off"
                };
                spawn::pykv(&mut command, folder.path(), durability)?
            }
            Kind::Redis | Kind::Valkey => {
                command.args(kind.program());
                spawn::redis(&mut command, folder.path(), &["--appendonly", "no"])?
            }
            Kind::RedisEverySecond => {
                command.args(kind.program());
                spawn::redis(&mut command, folder.path(), REDIS_EVERYSEC)?
            }
            Kind::Memcached => memcached(&mut command)?,
        };
        wait_until_it_accepts(address)?;
        Ok(Some(Self {
            kind,
            address,
            child,
            _stdout: stdout,
            _folder: folder,
        }))
    }

    /// Sends a load from core 1. Returns the server's user and system time for each request, in microseconds.
    ///
    /// # Errors
    /// If the load fails.
    pub fn run(
        &self,
        operation: Operation,
        pipeline: usize,
        requests: u64,
    ) -> Result<(f64, f64), Failure> {
        let load = Load {
            address: self.address,
            protocol: self.kind.protocol(),
            operation,
            pipeline,
            requests,
        };
        let (user, system) = processor::seconds(self.child.id())?;
        let status = Command::new("taskset")
            .args(["-c", "1"])
            .arg(std::env::current_exe()?)
            .args(["--load", &load.to_argument()])
            .status()?;
        if !status.success() {
            return Err(format!("the load of {} failed", self.kind.name()).into());
        }
        let (user_now, system_now) = processor::seconds(self.child.id())?;
        let each = 1e6 / requests as f64;
        Ok(((user_now - user) * each, (system_now - system) * each))
    }
}

/// Starts this program as one of the floors.
fn floor(command: &mut Command, which: &str) -> Result<spawn::Spawned, Failure> {
    command
        .arg(std::env::current_exe()?)
        .args(["--serve", which]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
    let mut address = String::new();
    stdout.read_line(&mut address)?;
    Ok((child, address.trim_end().parse()?, Some(stdout)))
}

fn memcached(command: &mut Command) -> Result<spawn::Spawned, Failure> {
    // It cannot be told to take a free port: one is found, and left to it.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let port = address.port().to_string();
    command.args([
        "memcached",
        "-t",
        "1",
        "-m",
        "1024",
        "-l",
        "127.0.0.1",
        "-p",
        &port,
    ]);
    // Only as another user does it run where root has started it.
    command.args(["-u", "nobody"]);
    Ok((command.spawn()?, address, None))
}

fn wait_until_it_accepts(address: SocketAddr) -> Result<(), Failure> {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nothing answers at {address}").into())
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
