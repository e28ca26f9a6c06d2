//! A front that is no more than a client: what the scenarios are tried on, and what they must find out.
//!
//! In: requests as lines, of the few kinds that the scenarios send, each answered before the next is read. Out: the replies of the
//! cluster in the same dialect. It follows redirections, repeats what a node has refused, and acknowledges a change once the
//! primary has it, or if it waits for replicas, one of them. What it lets others read may be lost, in contrast to PyKV.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, RedisError, RedisResult, Value};

use crate::redis_cluster::slot_of;

/// Pause before a refused request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Time within which a node takes a connection.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// The front. Its threads end with their clients, and the one that takes clients with the program.
pub struct Naive {
    addr: SocketAddr,
}

impl Naive {
    /// A front for the cluster of these nodes.
    pub fn start(nodes: Vec<SocketAddr>, is_replicated: bool, timeout: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let session = Session {
                    nodes: nodes.clone(),
                    next: 0,
                    links: HashMap::new(),
                    owners: HashMap::new(),
                    is_replicated,
                    timeout,
                };
                let stream = stream.expect("a client");
                thread::spawn(move || session.serve(&stream));
            }
        });
        Self { addr }
    }

    /// Where it speaks lines.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// One client, with connections of its own to the nodes.
struct Session {
    nodes: Vec<SocketAddr>,
    /// The node that is tried next for a slot whose owner is not known.
    next: usize,
    links: HashMap<SocketAddr, Connection>,
    owners: HashMap<u16, SocketAddr>,
    is_replicated: bool,
    timeout: Duration,
}

/// Where a request goes after it was not executed.
enum Retry {
    To(SocketAddr),
    Later,
}

impl Session {
    fn serve(mut self, stream: &TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut writer = stream;
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let words: Vec<&str> = line.split(' ').collect();
            let reply = match words[..] {
                ["PUT", key, value] => self.execute(key, redis::cmd("SET").arg(&[key, value])),
                ["GET" | "EXISTS" | "DEL" | "INCR", key] => {
                    self.execute(key, redis::cmd(words[0]).arg(key))
                }
                _ => Err(format!("ERR UNKNOWN {line:.20}")),
            };
            let text = match reply {
                Ok(Value::Okay) => "OK".to_owned(),
                Ok(Value::Nil) => "NOT_FOUND".to_owned(),
                Ok(Value::BulkString(bytes)) => {
                    format!("VALUE \"{}\"", String::from_utf8_lossy(&bytes))
                }
                Ok(Value::Int(number)) if words[0] == "INCR" => format!("VALUE \"{number}\""),
                Ok(Value::Int(number)) => format!("COUNT {number}"),
                Ok(other) => format!("ERR INTERNAL {other:?}"),
                Err(text) => text,
            };
            if writer.write_all(format!("{text}\n").as_bytes()).is_err() {
                return;
            }
        }
    }

    /// The reply of the node that has the key, or a line that begins with `ERR `.
    fn execute(&mut self, key: &str, command: &Cmd) -> Result<Value, String> {
        let deadline = Instant::now() + self.timeout;
        let slot = slot_of(key);
        let name = command.args_iter().next();
        let is_read = matches!(name, Some(redis::Arg::Simple(b"GET" | b"EXISTS")));
        let mut asked = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("ERR BUSY slot {slot} has no primary"));
            }
            let is_asked = asked.is_some();
            let addr = asked.take().unwrap_or_else(|| self.owner(slot));
            let error = match self.ask(addr, command, is_asked, is_read, left) {
                Ok(value) => return Ok(value),
                Err(Failure::InDoubt(text)) => return Err(format!("ERR IN_DOUBT {text}")),
                Err(Failure::Unsent(_)) => None,
                Err(Failure::Answered(error)) => Some(error),
            };
            match error.as_ref().map_or(Ok(Retry::Later), retry) {
                Ok(Retry::To(owner)) if error.is_some_and(|error| error.code() == Some("ASK")) => {
                    asked = Some(owner);
                }
                Ok(Retry::To(owner)) => {
                    self.owners.insert(slot, owner);
                }
                Ok(Retry::Later) => {
                    self.owners.remove(&slot);
                    thread::sleep(RETRY_PAUSE);
                }
                Err(text) => return Err(format!("ERR ARGS {text}")),
            }
        }
    }

    fn owner(&mut self, slot: u16) -> SocketAddr {
        if let Some(owner) = self.owners.get(&slot) {
            return *owner;
        }
        self.next = (self.next + 1) % self.nodes.len();
        self.nodes[self.next]
    }

    fn ask(
        &mut self,
        addr: SocketAddr,
        command: &Cmd,
        is_asked: bool,
        is_read: bool,
        left: Duration,
    ) -> Result<Value, Failure> {
        let mut link = match self.links.remove(&addr) {
            Some(link) => link,
            None => connect(addr).map_err(Failure::Unsent)?,
        };
        // A node that may be stalled is asked once more for what only reads.
        let patience = if is_read { left.min(CONNECT_MAX) } else { left };
        let patience = patience.max(Duration::from_millis(1));
        link.set_read_timeout(Some(patience))
            .map_err(Failure::Unsent)?;
        if is_asked {
            let () = redis::cmd("ASKING")
                .query(&mut link)
                .map_err(Failure::Unsent)?;
        }
        let reply = command.query(&mut link);
        match reply {
            Err(error) if error.code().is_some() => {
                self.links.insert(addr, link);
                return Err(Failure::Answered(error));
            }
            Err(error) if is_read => return Err(Failure::Unsent(error)),
            Err(error) => return Err(Failure::InDoubt(error.to_string())),
            Ok(_) => {}
        }
        if self.is_replicated && !is_read {
            let wait = redis::cmd("WAIT")
                .arg(1)
                .arg(patience.as_millis().to_string())
                .query(&mut link);
            match wait {
                Ok(1..) => {}
                Ok(replicas @ ..1) => {
                    return Err(Failure::InDoubt(format!("{replicas} replicas have it")));
                }
                Err(error) => return Err(Failure::InDoubt(error.to_string())),
            }
        }
        self.links.insert(addr, link);
        reply.map_err(Failure::Answered)
    }
}

/// Why a node has not done what it was asked.
enum Failure {
    /// It was not asked, or only to read.
    Unsent(#[allow(dead_code, reason = "for whoever looks for it")] RedisError),
    /// Its reply is an error.
    Answered(RedisError),
    /// It may have done it.
    InDoubt(String),
}

fn connect(addr: SocketAddr) -> RedisResult<Connection> {
    redis::Client::open(format!("redis://{addr}"))?.get_connection_with_timeout(CONNECT_MAX)
}

/// Where to go after an error of a node, or its text if it is about the request.
fn retry(error: &RedisError) -> Result<Retry, String> {
    match error.code() {
        Some("MOVED" | "ASK") => {
            let (addr, _) = error.redirect_node().ok_or("a redirection to nowhere")?;
            Ok(Retry::To(addr.parse().map_err(|_| addr.to_owned())?))
        }
        Some("CLUSTERDOWN" | "TRYAGAIN" | "LOADING" | "READONLY" | "MASTERDOWN" | "UNBLOCKED") => {
            Ok(Retry::Later)
        }
        _ => Err(error.to_string()),
    }
}
