//! PyKV with a cap, ended and started again on one folder, and its memory.
//!
//! In: a folder, how changes are kept. Out: a connection, and the most memory that any of the processes held. Promise: a server is
//! killed when it is dropped.

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, ChildStdout, Command};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use redis::Connection;

use crate::peers::{Cap, connect};
use crate::{Failure, process_memory, spawn};

/// Bytes for clients, the least that PyKV takes.
pub const CLIENT_BYTES: u64 = 8 << 20;
/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// A running server.
pub struct Subject {
    pub connection: Connection,
    child: Child,
    /// Kept open: a server that writes to it must not fail.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Subject {
    /// Starts a server, and waits until it has loaded what is there; its memory is looked at from the first moment.
    pub fn start(
        folder: &Path,
        durability: &str,
        cap: Cap,
        watch: &Watch,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pykv-server"));
        command.args(["--max-memory", &cap.bytes.to_string()]);
        command.args(["--eviction", cap.policy]);
        command.args(["--client-memory", &CLIENT_BYTES.to_string()]);
        let (child, address, stdout) = spawn::pykv(&mut command, folder, durability)?;
        watch.process.store(child.id(), Relaxed);
        Ok(Self {
            connection: connect(address)?,
            child,
            _stdout: stdout,
        })
    }

    /// Ends the server by a signal, and waits for its end.
    pub fn end(mut self, signal: &str, watch: &Watch) -> Result<(), Failure> {
        watch.process.store(0, Relaxed);
        let process = self.child.id().to_string();
        Command::new("kill").args([signal, &process]).status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks at the memory of the server that runs.
#[derive(Default)]
pub struct Watch {
    /// 0 while none runs.
    process: AtomicU32,
    peak_bytes: AtomicU64,
    is_over: AtomicBool,
}

impl Watch {
    /// Returns what the server holds now.
    pub fn bytes(&self) -> u64 {
        // It may just have ended.
        process_memory::bytes(self.process.load(Relaxed), "VmRSS:").unwrap_or_default()
    }

    /// Looks again and again, until it is over.
    pub fn run(&self) {
        while !self.is_over.load(Relaxed) {
            self.peak_bytes.fetch_max(self.bytes(), Relaxed);
            std::thread::sleep(SAMPLE_INTERVAL);
        }
    }

    pub fn end(&self) {
        self.is_over.store(true, Relaxed);
    }

    /// Returns the most that was held since this was last asked.
    pub fn take_peak(&self) -> u64 {
        self.peak_bytes.swap(0, Relaxed)
    }
}
