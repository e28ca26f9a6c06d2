//! A real etcd of one member.
//!
//! In: nothing. Out: its URL, until it is dropped. Promise: it listens on ports of its own, and its data is in a folder of its own.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::server::{is_skipped, wait_until};

/// A running etcd.
pub struct Etcd {
    child: Child,
    scheme: &'static str,
    port: u16,
    _folder: TempDir,
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl Etcd {
    /// Starts etcd, and waits until it answers; nothing, and tells so, where it is not installed.
    pub fn start() -> Option<Self> {
        Self::start_with("http", &[])
    }

    /// The same with flags for it, and the scheme of its URL.
    pub fn start_with(scheme: &'static str, flags: &[String]) -> Option<Self> {
        if is_skipped("etcd") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let (port, peer) = (free_port(), free_port());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let client_url = format!("{scheme}://127.0.0.1:{port}");
        let child = Command::new("etcd")
            .args(["--name", "one", "--data-dir"])
            .arg(folder.path())
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &url(peer)])
            .args(["--initial-advertise-peer-urls", &url(peer)])
            .args(["--initial-cluster", &format!("one={}", url(peer))])
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        wait_until("etcd listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self {
            child,
            scheme,
            port,
            _folder: folder,
        })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.place())
    }

    /// Its address and port.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends a signal to it.
    pub fn send_signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{signal}");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
