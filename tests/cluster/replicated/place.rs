//! Where a process stands: on this machine as it is, or in a network namespace of its own.
//!
//! In: an address, and perhaps a namespace. Out: commands that start there, and ports that are free there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

/// Ports below those that the system gives to clients: none of these can take the port of a server that is being started again.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
/// The first port in a namespace, where nobody else has any.
const FIRST_PORT: u16 = 7_000;

/// A place.
#[derive(Clone)]
pub struct Place {
    /// The namespace; none for that of the tests.
    pub space: Option<String>,
    /// Where etcd is reached, or is reached from.
    pub inner: Ipv4Addr,
    /// Where clients come from.
    pub outer: Ipv4Addr,
}

impl Place {
    /// This machine as it is.
    pub fn here() -> Self {
        Self {
            space: None,
            inner: Ipv4Addr::LOCALHOST,
            outer: Ipv4Addr::LOCALHOST,
        }
    }

    /// A program that starts there.
    pub fn command(&self, program: &Path) -> Command {
        let Some(space) = &self.space else {
            return Command::new(program);
        };
        // It becomes the program: the process id is the program's.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", space]).arg(program);
        command
    }

    /// Two ports that nobody listens on.
    pub fn ports(&self) -> [u16; 2] {
        if self.space.is_some() {
            return [FIRST_PORT, FIRST_PORT + 1];
        }
        let mut held: Vec<TcpListener> = Vec::new();
        while held.len() < 2 {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
            held.extend(TcpListener::bind(addr));
        }
        let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
        [port(&held[0]), port(&held[1])]
    }
}
