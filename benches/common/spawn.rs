//! Servers to be compared, as processes.
//!
//! In: a command that may be prefixed already (taskset), a folder, how changes are kept. Out: the process, and its address.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::Failure;

/// A started server; its standard output is kept open, as one that writes to it must not fail.
pub type Spawned = (Child, SocketAddr, Option<BufReader<ChildStdout>>);

/// Starts PyKV on a free port, and waits until it accepts; it saves only when it is asked to.
pub fn pykv(command: &mut Command, folder: &Path, durability: &str) -> Result<Spawned, Failure> {
    command
        .args(["--listen", "127.0.0.1:0", "--http", "off"])
        .args(["--save-interval", "86400", "--durability", durability])
        .arg("--data")
        .arg(folder)
        .env("PYKV_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    let address = line
        .trim_end()
        .strip_prefix("pykv listening on ")
        .ok_or_else(|| format!("PyKV does not start; it said {line:?}"))?
        .parse()?;
    Ok((child, address, Some(stdout)))
}

/// Starts Redis on a free port; it may still be loading.
pub fn redis(command: &mut Command, folder: &Path, flags: &[&str]) -> Result<Spawned, Failure> {
    // It cannot be told to take a free port: one is found, and left to it.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    command
        .args(["--bind", "127.0.0.1", "--port"])
        .arg(address.port().to_string())
        .args(["--save", "", "--loglevel", "warning", "--dir"])
        .arg(folder)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Ok((command.spawn()?, address, None))
}
