//! A client of the cluster: it knows the servers, asks the one that leads, and comes again elsewhere.
//!
//! In: addresses, lines. Out: whether each was done, refused, or nobody knows; what is answered too late can be waited for still.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Waited};

/// The pause before another server is asked: while none leads, the clients shall not take all of the processor.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a server is not asked that has not answered in time, though others say that it leads.
const SHUNNED: Duration = Duration::from_secs(3);

/// What came of a request.
pub enum Outcome {
    /// It was done: the reply.
    Done(String),
    /// It was not, and never will be: the code of the error.
    Refused(String),
    /// It may have been done, or be done still. The connection, if the reply may still come.
    Unknown(Option<Connection>),
}

/// Where the client goes when it is not answered in time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// To another server.
    Leaves,
    /// To the same again: nothing but an error makes it leave.
    Stays,
}

/// The client.
pub struct Client {
    addresses: Vec<SocketAddr>,
    current: SocketAddr,
    next: usize,
    open: Option<Connection>,
    reply_max: Duration,
    habit: Habit,
    /// A server that has not answered in time, and since when.
    silent: Option<(SocketAddr, Instant)>,
}

impl Client {
    /// A client that gives up a reply after this time.
    pub fn new(addresses: Vec<SocketAddr>, reply_max: Duration) -> Self {
        Self::with_habit(addresses, reply_max, Habit::Leaves)
    }

    /// The same with another habit.
    pub fn with_habit(addresses: Vec<SocketAddr>, reply_max: Duration, habit: Habit) -> Self {
        let first = fastrand::usize(..addresses.len());
        Self {
            current: addresses[first],
            next: first,
            addresses,
            open: None,
            reply_max,
            habit,
            silent: None,
        }
    }

    /// Sends a line once; what came of it.
    pub fn ask(&mut self, line: &str) -> Outcome {
        let open = self.open.take().or_else(|| Connection::open(self.current));
        let Some(mut connection) = open else {
            self.go_on();
            return Outcome::Refused("no connection".to_owned());
        };
        if !connection.send(line, self.reply_max) {
            self.go_on();
            return Outcome::Unknown(None);
        }
        match connection.wait(self.reply_max) {
            Waited::Reply(reply) => {
                match reply.strip_prefix("ERR NOT_LEADER ") {
                    Some(rest) => self.follow(rest),
                    None if reply.starts_with("ERR ") => self.go_on(),
                    None => self.open = Some(connection),
                }
                outcome(reply)
            }
            Waited::NotYet => {
                if self.habit == Habit::Leaves {
                    self.silent = Some((self.current, Instant::now()));
                    self.go_on();
                }
                Outcome::Unknown(Some(connection))
            }
            Waited::Ended => {
                self.go_on();
                Outcome::Unknown(None)
            }
        }
    }

    /// Sends a line until it is done. It must be one that may be done more than once.
    pub fn ask_until_done(&mut self, line: &str) -> String {
        let mut reply = String::new();
        crate::wait::wait_for("a request is done", || match self.ask(line) {
            Outcome::Done(done) => {
                reply = done;
                Ok(())
            }
            Outcome::Refused(code) => Err(code),
            Outcome::Unknown(_) => Err("no reply".to_owned()),
        });
        reply
    }

    /// Goes where a server says that the leader is, if it says where.
    fn follow(&mut self, rest: &str) {
        let leader = rest.split(' ').next().and_then(|word| word.parse().ok());
        match leader.filter(|leader| *leader != self.current && !self.is_silent(*leader)) {
            Some(leader) => {
                thread::sleep(PAUSE);
                self.current = leader;
            }
            None => self.go_on(),
        }
    }

    fn go_on(&mut self) {
        thread::sleep(PAUSE);
        self.next = (self.next + 1) % self.addresses.len();
        if self.is_silent(self.addresses[self.next]) {
            self.next = (self.next + 1) % self.addresses.len();
        }
        self.current = self.addresses[self.next];
    }

    fn is_silent(&self, addr: SocketAddr) -> bool {
        let silent = self.silent.filter(|(_, since)| since.elapsed() < SHUNNED);
        silent.is_some_and(|(silent, _)| silent == addr)
    }
}

/// What a reply says of its request.
pub fn outcome(reply: String) -> Outcome {
    let Some(error) = reply.strip_prefix("ERR ") else {
        return Outcome::Done(reply);
    };
    match error.split(' ').next().unwrap_or_default() {
        "IN_DOUBT" => Outcome::Unknown(None),
        code => Outcome::Refused(code.to_owned()),
    }
}
