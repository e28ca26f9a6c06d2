//! A real Redis on a free port, in a folder of its own, killed when dropped.
//!
//! In: its settings. Out: its address, once it answers. It keeps nothing, and has values of at most 64 MiB, as we have:
//! that is a setting of Redis, and not what is to be compared.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::server::wait_until;

pub struct Redis {
    child: Child,
    pub addr: SocketAddr,
    _dir: TempDir,
}

impl Redis {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with more settings.
    pub fn start_with(settings: &[&str]) -> Self {
        let dir = TempDir::new().expect("a folder for a test");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("its address");
        drop(listener);
        let child = Command::new("redis-server")
            .args(["--save", "", "--appendonly", "no"])
            .args(["--proto-max-bulk-len", "64mb", "--bind", "127.0.0.1"])
            .args(["--port", &addr.port().to_string(), "--dir"])
            .arg(dir.path())
            .args(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        wait_until("redis-server answers", || answers(addr));
        Self {
            child,
            addr,
            _dir: dir,
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(addr: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(addr) else {
        return false;
    };
    let mut reply = [0; 7];
    let pong = stream
        .write_all(b"PING\r\n")
        .and_then(|()| stream.read_exact(&mut reply));
    pong.is_ok() && reply == *b"+PONG\r\n"
}
