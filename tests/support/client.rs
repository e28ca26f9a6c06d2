//! The built client: run with words, fed by a pipe, or at its prompt in a pseudo-terminal.
//!
//! In: the address of a server, words, input. Out: its exit status and what it says. Beside it are the servers that a client may
//! meet: one that says one thing, and none.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::server::wait_until;

/// How the client ended, and what it said.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// The client, for the server at this address.
pub fn client(addr: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pykv-cli"));
    command
        .env("PYKV_URL", format!("pykv://{addr}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn end(command: &mut Command) -> Ended {
    let output = command.output().expect("the client starts");
    Ended {
        status: output.status.code().expect("the client was not killed"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

pub fn run(addr: SocketAddr, words: &[&str]) -> Ended {
    end(client(addr).args(words))
}

/// Runs the client with this on its standard input.
pub fn pipe(command: &mut Command, input: impl Into<Vec<u8>>) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let input = input.into();
    // The client may end before it has read everything.
    let writing = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("the client ends");
    writing.join().expect("the writer does not panic");
    Ended {
        status: output.status.code().expect("the client was not killed"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// What was done without fault.
pub fn done(out: &str) -> Ended {
    Ended {
        status: 0,
        out: out.to_owned(),
        err: String::new(),
    }
}

pub fn failed(status: i32, err: &str) -> Ended {
    Ended {
        status,
        out: String::new(),
        err: err.to_owned(),
    }
}

/// A server that says this to each connection as soon as it is asked something, and closes.
pub fn server_that_says(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut request = String::new();
            let _ = BufReader::new(&stream).read_line(&mut request);
            let _ = stream.write_all(text.as_bytes());
            // What was not read would make closing a reset, which can overtake the text.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    addr
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// The client at its prompt, in a pseudo-terminal that `script` (util-linux) makes.
pub struct Prompt {
    pub child: Child,
    shown: Arc<Mutex<String>>,
    /// What is on the screen.
    pub screen: Arc<Mutex<vt100::Parser>>,
}

impl Prompt {
    pub fn open(addr: SocketAddr, state: &Path) -> Self {
        Self::open_with(addr, state, "", &[("NO_COLOR", "1")])
    }

    /// The client, once it shows its prompt.
    pub fn ready(addr: SocketAddr, state: &Path) -> Self {
        let prompt = Self::open(addr, state);
        prompt.wait_for(&format!("{addr}> "));
        prompt
    }

    /// The client with such arguments and such an environment.
    pub fn open_with(
        addr: SocketAddr,
        state: &Path,
        arguments: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        // A window of a usual size: `script` takes that of standard input, which is none here.
        let line = format!(
            "stty rows 24 columns 80; tty > {}; exec {} {arguments}",
            state.join("tty").display(),
            env!("CARGO_BIN_EXE_pykv-cli")
        );
        let mut child = Command::new("script")
            .args([
                "--quiet",
                "--flush",
                "--return",
                "--command",
                &line,
                "/dev/null",
            ])
            .env("PYKV_URL", format!("pykv://{addr}"))
            .env("XDG_STATE_HOME", state)
            .env("TERM", "xterm")
            .env_remove("PAGER")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script of util-linux is installed");
        let mut out = child.stdout.take().expect("it is piped");
        let shown = Arc::new(Mutex::new(String::new()));
        let copy = Arc::clone(&shown);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let on_screen = Arc::clone(&screen);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut piece) {
                on_screen
                    .lock()
                    .expect("no panic before")
                    .process(&piece[..count]);
                copy.lock()
                    .expect("no panic before")
                    .push_str(&String::from_utf8_lossy(&piece[..count]));
            }
        });
        Self {
            child,
            shown,
            screen,
        }
    }

    /// Types, and waits until this is shown; what was shown up to it is forgotten.
    pub fn type_until(&mut self, keys: &str, expected: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(keys.as_bytes()).expect("the client reads");
        self.wait_for(expected);
    }

    /// Types, and waits until this is on the screen.
    pub fn type_and_see(&mut self, keys: &str, expected: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(keys.as_bytes()).expect("the client reads");
        wait_until(&format!("{expected:?} is on the screen"), || {
            let screen = self.screen.lock().expect("no panic before");
            screen.screen().contents().contains(expected)
        });
    }

    /// Whether this has been shown since what was last waited for.
    pub fn has_shown(&self, text: &str) -> bool {
        self.shown.lock().expect("no panic before").contains(text)
    }

    pub fn wait_for(&self, expected: &str) {
        wait_until(&format!("the terminal shows {expected:?}"), || {
            let mut shown = self.shown.lock().expect("no panic before");
            let Some(at) = shown.find(expected) else {
                return false;
            };
            shown.drain(..at + expected.len());
            true
        });
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
