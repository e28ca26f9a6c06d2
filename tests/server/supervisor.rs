//! What the server tells a supervisor that speaks sd_notify, and when.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::server::{Stopped, TestServer, is_skipped, wait_until};

/// A supervisor, as far as the server sees it.
struct Supervisor {
    socket: UnixDatagram,
    dir: TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let dir = TempDir::new().expect("a folder for a socket");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        let patience = Some(Duration::from_secs(60));
        socket.set_read_timeout(patience).expect("a timeout");
        Self { socket, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("notify")
    }

    /// The folder with a server that is given this socket.
    fn over(&self, stopped: Stopped) -> Stopped {
        let path = self.path();
        stopped.with_env("NOTIFY_SOCKET", path.to_str().expect("a path that is text"))
    }

    /// The next message.
    fn next(&self) -> String {
        let mut message = [0; 4096];
        let count = self.socket.recv(&mut message).expect("a message in time");
        String::from_utf8(message[..count].to_vec()).expect("text")
    }

    /// Drops the messages that have come, and returns the last of them.
    fn last(&self) -> Option<String> {
        self.socket.set_nonblocking(true).expect("a socket option");
        let mut last = None;
        let mut message = [0; 4096];
        while let Ok(count) = self.socket.recv(&mut message) {
            last = Some(String::from_utf8_lossy(&message[..count]).into_owned());
        }
        self.socket.set_nonblocking(false).expect("a socket option");
        last
    }
}

#[test]
fn a_supervisor_is_told_of_the_load_the_start_and_the_stop() {
    if is_skipped("strace") {
        return;
    }
    let supervisor = Supervisor::new();
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", "{\"a\": \"1\"}\n");
    let mut server = supervisor
        .over(stopped)
        .held_at("store.json")
        .start_loading();
    let loading = "STATUS=loading: 0% of 11 bytes\nEXTEND_TIMEOUT_USEC=60000000\nWATCHDOG=1";
    // The first message may come before the length of the files is known.
    wait_until("it is told of the load", || supervisor.next() == loading);
    assert_eq!(supervisor.next(), loading);
    server.let_go();
    server.wait_until_loaded();
    let mut told = supervisor.next();
    while told == loading {
        told = supervisor.next();
    }
    assert_eq!(told, "READY=1\nSTATUS=serving");
    assert_eq!(server.client().ask("PUT b 2"), "OK");
    server.stop();
    assert_eq!(supervisor.next(), "STOPPING=1\nSTATUS=stopping");
    assert_eq!(
        supervisor.next(),
        "STATUS=saving\nEXTEND_TIMEOUT_USEC=60000000\nWATCHDOG=1"
    );
}

/// The most open files that a process may have.
fn limit_open_files(server: &TestServer, most: &str) {
    let limit = format!("--nofile={most}:");
    let pid = server.pid().to_string();
    let status = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status();
    assert!(status.expect("prlimit runs").success());
}

#[test]
fn the_server_is_called_alive_while_clients_are_answered_and_no_longer() {
    if is_skipped("prlimit") {
        return;
    }
    let supervisor = Supervisor::new();
    let stopped = supervisor.over(Stopped::new(&[]).with_env("WATCHDOG_USEC", "300000"));
    let server = stopped.restart();
    wait_until("it is ready", || supervisor.next().starts_with("READY=1"));
    assert_eq!(supervisor.next(), "WATCHDOG=1");
    assert_eq!(supervisor.next(), "WATCHDOG=1");
    // Without a free descriptor nobody can connect, while everything else goes on.
    limit_open_files(&server, "5");
    wait_until("it is noticed", || {
        server.log().contains("no client can reach 127.0.0.1:")
    });
    supervisor.last();
    let noticed = server.log().matches("no client can reach").count();
    wait_until("it is noticed again", || {
        server.log().matches("no client can reach").count() > noticed + 2
    });
    assert_eq!(supervisor.last(), None);
    limit_open_files(&server, "1000");
    assert_eq!(supervisor.next(), "WATCHDOG=1");
}

#[test]
fn a_watchdog_of_another_process_is_not_served() {
    let supervisor = Supervisor::new();
    let stopped = Stopped::new(&[]).with_env("WATCHDOG_USEC", "3000");
    let server = supervisor
        .over(stopped.with_env("WATCHDOG_PID", "1"))
        .restart();
    wait_until("it is ready", || supervisor.next().starts_with("READY=1"));
    server.stop();
    assert_eq!(supervisor.next(), "STOPPING=1\nSTATUS=stopping");
}

#[test]
fn a_socket_of_no_supervisor_is_told_of_and_does_not_stop_the_server() {
    let stopped = Stopped::new(&[]).with_env("NOTIFY_SOCKET", "/nowhere/notify");
    let server = stopped.restart();
    assert_eq!(server.client().ask("PING"), "PONG");
    let log = server.log();
    assert!(log.contains("cannot tell the supervisor"), "{log}");
}

#[test]
fn health_says_by_its_exit_status_whether_the_server_answers() {
    let server = TestServer::start();
    let address = server.addr().to_string();
    let health = || {
        let program = Command::new(env!("CARGO_BIN_EXE_pykv-server"))
            .args(["health", "--listen", &address])
            .output();
        let output = program.expect("it is built");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        (output.status.code(), said)
    };
    let answers = format!("the server at {address} answers\n");
    assert_eq!(health(), (Some(0), answers));
    server.stop();
    let (status, said) = health();
    assert_eq!(status, Some(1));
    let silent = format!("pykv-server: the server at {address} does not answer: ");
    assert!(said.starts_with(&silent), "{said}");
}
