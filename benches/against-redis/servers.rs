//! The two servers: started on core 0, watched, asked what they hold.
//!
//! In: which one, and how it keeps changes. Out: its process, its memory, its answers. Promises: a server is killed
//! when it is dropped, and its folder goes with it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command};
use std::time::Duration;

use tempfile::TempDir;

use crate::kind::Kind;
use crate::redis_flags::REDIS_EVERYSEC;
use crate::{Failure, process_memory, spawn};

/// How often a server that loads is asked whether it has.
const ASK_INTERVAL: Duration = Duration::from_millis(20);

/// How changes are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In memory.
    Nowhere,
    /// On the disk within a second.
    EverySecond,
}

/// A running server.
pub struct Server {
    pub kind: Kind,
    kept: Kept,
    pub address: SocketAddr,
    child: Child,
    /// Kept open: a server that writes to it must not fail.
    stdout: Option<BufReader<ChildStdout>>,
    folder: TempDir,
}

impl Server {
    pub fn start(kind: Kind, kept: Kept) -> Result<Self, Failure> {
        Self::start_in(kind, kept, new_folder()?)
    }

    fn start_in(kind: Kind, kept: Kept, folder: TempDir) -> Result<Self, Failure> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        let (child, address, stdout) = match kind {
            Kind::Redis => {
                command.arg("redis-server");
                let flags: &[&str] = match kept {
                    Kept::Nowhere => &["--appendonly", "no", "--maxclients", "12000"],
                    Kept::EverySecond => REDIS_EVERYSEC,
                };
                spawn::redis(&mut command, folder.path(), flags)?
            }
            Kind::Pykv => {
                command.arg(env!("CARGO_BIN_EXE_pykv-server"));
                let durability = match kept {
                    Kept::Nowhere => "off",
                    Kept::EverySecond => "everysec",
                };
                spawn::pykv(&mut command, folder.path(), durability)?
            }
        };
        let server = Self {
            kind,
            kept,
            address,
            child,
            stdout,
            folder,
        };
        // It may still be loading.
        while !server
            .ask(&["DBSIZE"])
            .is_ok_and(|answer| answer.starts_with(':'))
        {
            std::thread::sleep(ASK_INTERVAL);
        }
        Ok(server)
    }

    /// Ends the server, Redis in order and PyKV as a crash does, and starts it again on what it has left.
    pub fn restart(mut self) -> Result<Self, Failure> {
        let signal = match self.kind {
            Kind::Redis => "-TERM",
            Kind::Pykv => "-KILL",
        };
        Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()?;
        self.child.wait()?;
        let (kind, kept) = (self.kind, self.kept);
        let folder = std::mem::replace(&mut self.folder, new_folder()?);
        drop(self.stdout.take());
        Self::start_in(kind, kept, folder)
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it holds, and the most that it ever did.
    pub fn memory(&self) -> Result<(u64, u64), Failure> {
        let figure = |line| process_memory::bytes(self.child.id(), line);
        Ok((figure("VmRSS:")?, figure("VmHWM:")?))
    }

    /// How many keys it holds.
    pub fn keys(&self) -> Result<u64, Failure> {
        let answer = self.ask(&["DBSIZE"])?;
        let keys = answer
            .strip_prefix(':')
            .and_then(|keys| keys.trim().parse().ok());
        keys.ok_or_else(|| format!("{} answers {answer}", self.kind.name()).into())
    }

    /// Fails unless it holds at least so many keys.
    pub fn expect_keys(&self, least: u64) -> Result<(), Failure> {
        let keys = self.keys()?;
        if keys < least {
            let name = self.kind.name();
            return Err(format!("{name} holds {keys} keys where {least} were stored").into());
        }
        Ok(())
    }

    /// Sends one request of Redis's; the first line of the reply, and the value behind it if it is one.
    pub fn ask(&self, words: &[&str]) -> Result<String, Failure> {
        let mut stream = BufReader::new(TcpStream::connect(self.address)?);
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if let Some(Ok(length)) = line
            .strip_prefix('$')
            .map(|length| length.trim().parse::<usize>())
        {
            let mut value = vec![0; length];
            stream.read_exact(&mut value)?;
            return Ok(String::from_utf8(value)?);
        }
        Ok(line.trim_end().to_owned())
    }
}

fn new_folder() -> std::io::Result<TempDir> {
    let mut name = tempfile::Builder::new();
    name.prefix("against-redis-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
