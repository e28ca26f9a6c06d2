//! The clients: what they ask, and what they saw.
//!
//! In: a server, and a random number generator for each client. Out: the operations on each key, with the times of call and
//! answer on one clock. A client goes on until its connection ends; what it had asked by then is in flight. A reply that
//! the protocol does not have is an error at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::checker::{Action, End, Operation, State, Value};
use crate::server::TestClient;

/// The greatest number of requests in one packet.
const BATCH_MAX: usize = 6;

/// Every value of which the number is divisible by this is long, so that a kill cuts lines of the journal, too.
const LONG_EVERY: Value = 50;

/// The length that is added to a long value, once to seven times.
const LONG_STEP: usize = 8 << 10;

/// A server that is loading for so long will not have loaded later either.
const LOADING_MAX: Duration = Duration::from_secs(60);

/// The number of a value that is its client's own; above it stands the client.
const NUMBER_BITS: u32 = 32;

/// An operation and the number of its key.
pub type Seen = (usize, Operation);

/// One client, who comes again after each kill.
pub struct Client {
    number: usize,
    /// How many keys there are.
    keys: usize,
    /// How often it sends several requests in one packet: some clients seldom, some mostly.
    batch_percent: u8,
    random: fastrand::Rng,
    clock: Instant,
    last_value: Value,
    seen: Vec<Seen>,
}

/// What is asked, of keys by their numbers.
enum Request {
    Put(usize, Value),
    Get(usize),
    Delete(Vec<usize>),
    Exists(usize),
    Clear,
    Save,
}

/// The name of a key.
pub fn key_name(key: usize) -> String {
    format!("k{key}")
}

/// The name of a value: its client and number.
pub fn value_name(value: Value) -> String {
    let number = value & ((1 << NUMBER_BITS) - 1);
    format!("c{}-{number}", value >> NUMBER_BITS)
}

/// A value as it is stored.
fn value_text(value: Value) -> String {
    let mut text = value_name(value);
    if value.is_multiple_of(LONG_EVERY) {
        let steps = 1 + usize::try_from(value / LONG_EVERY % 7).expect("less than seven");
        text.push_str(&".".repeat(steps * LONG_STEP));
    }
    text
}

/// The value of a stored text, if a client can have stored it.
fn value_of(text: &str) -> Option<Value> {
    let (client, number) = text
        .trim_end_matches('.')
        .strip_prefix('c')?
        .split_once('-')?;
    let client: Value = client.parse().ok()?;
    let number: Value = number.parse().ok()?;
    let value = client.checked_shl(NUMBER_BITS)? | number;
    (value_text(value) == text).then_some(value)
}

impl Client {
    /// A client that has done nothing yet.
    pub fn new(number: usize, keys: usize, mut random: fastrand::Rng, clock: Instant) -> Self {
        Self {
            number,
            keys,
            batch_percent: [15, 80][random.usize(..2)],
            random,
            clock,
            last_value: (number as Value) << NUMBER_BITS,
            seen: Vec::new(),
        }
    }

    /// Asks at random until the connection ends; what it saw.
    pub fn load(&mut self, addr: SocketAddr) -> Result<Vec<Seen>, String> {
        if let Some(mut link) = TestClient::try_connect(addr) {
            while self.ask_some(&mut link)? {}
        }
        Ok(std::mem::take(&mut self.seen))
    }

    /// Reads every key, again while the server says that it is loading; what it saw.
    pub fn read_all(&mut self, addr: SocketAddr) -> Result<Vec<Seen>, String> {
        let mut unread: Vec<usize> = (0..self.keys).collect();
        if let Some(mut link) = TestClient::try_connect(addr) {
            let started = Instant::now();
            while !unread.is_empty() {
                if started.elapsed() > LOADING_MAX {
                    return Err("the server does not come to an end of loading".to_owned());
                }
                let requests = unread.iter().map(|&key| Request::Get(key)).collect();
                if !self.ask(&mut link, requests)? {
                    break;
                }
                unread.retain(|key| !self.seen.iter().any(|(seen, _)| seen == key));
            }
        }
        Ok(std::mem::take(&mut self.seen))
    }

    /// One request, or several in one packet. Whether the connection goes on.
    fn ask_some(&mut self, link: &mut TestClient) -> Result<bool, String> {
        let count = if self.random.u8(..100) < self.batch_percent {
            self.random.usize(2..=BATCH_MAX)
        } else {
            1
        };
        let requests = (0..count).map(|_| self.request()).collect();
        self.ask(link, requests)
    }

    fn request(&mut self) -> Request {
        let key = self.random.usize(..self.keys);
        match self.random.u16(..1_000) {
            0..400 => {
                self.last_value += 1;
                Request::Put(key, self.last_value)
            }
            400..700 => Request::Get(key),
            700..840 => Request::Delete(vec![key]),
            840..860 => {
                let others = (key..self.keys).step_by(3).take(4);
                Request::Delete(others.collect())
            }
            860..980 => Request::Exists(key),
            980..983 => Request::Clear,
            // One saves, so that snapshots come and go while the others write.
            _ if self.number == 0 => Request::Save,
            _ => Request::Get(key),
        }
    }

    /// Sends requests in one packet and notes what comes of them. Whether the connection goes on.
    fn ask(&mut self, link: &mut TestClient, requests: Vec<Request>) -> Result<bool, String> {
        let packet: String = requests.iter().map(Request::line).collect();
        let called = self.clock.elapsed();
        let mut is_open = link.try_send(packet.as_bytes()).is_some();
        for request in requests {
            let reply = if is_open { link.try_reply() } else { None };
            let answered = self.clock.elapsed();
            is_open = reply.is_some();
            let (end, actions) = request.outcome(reply.as_deref(), answered, self.keys)?;
            let client = self.number;
            self.seen.extend(actions.into_iter().map(|(key, action)| {
                let operation = Operation {
                    client,
                    called,
                    end,
                    action,
                };
                (key, operation)
            }));
        }
        Ok(is_open)
    }
}

impl Request {
    fn line(&self) -> String {
        match self {
            Self::Put(key, value) => format!("PUT {} {}\n", key_name(*key), value_text(*value)),
            Self::Get(key) => format!("GET {}\n", key_name(*key)),
            Self::Delete(keys) => {
                let names: Vec<String> = keys.iter().copied().map(key_name).collect();
                format!("DEL {}\n", names.join(" "))
            }
            Self::Exists(key) => format!("EXISTS {}\n", key_name(*key)),
            Self::Clear => "CLEAR\n".to_owned(),
            Self::Save => "SAVE\n".to_owned(),
        }
    }

    /// How it ended, and what was or may have been done to which key. An error is a reply that nothing asks for.
    fn outcome(
        &self,
        reply: Option<&str>,
        answered: Duration,
        keys: usize,
    ) -> Result<(End, Vec<(usize, Action)>), String> {
        match reply {
            None => Ok((End::InFlight, self.unanswered(keys))),
            // The server is loading still: nothing was done.
            Some(reply) if reply.starts_with("ERR BUSY ") => Ok((End::InFlight, Vec::new())),
            Some(reply) if reply.starts_with("ERR DISK ") => {
                Ok((End::Doubtful, self.unanswered(keys)))
            }
            Some(reply) => match self.answered(reply, keys) {
                Some(actions) => Ok((End::Answered(answered), actions)),
                None => Err(format!(
                    "{:.60} was answered {reply:.60}",
                    self.line().trim_end()
                )),
            },
        }
    }

    /// What may have been done to which key, where no reply says it. A read that is not answered says nothing.
    fn unanswered(&self, keys: usize) -> Vec<(usize, Action)> {
        match self {
            Self::Put(key, value) => vec![(*key, Action::Put(*value))],
            Self::Delete(keys) => keys
                .iter()
                .map(|&key| (key, Action::Delete(None)))
                .collect(),
            Self::Clear => (0..keys).map(|key| (key, Action::Delete(None))).collect(),
            Self::Get(_) | Self::Exists(_) | Self::Save => Vec::new(),
        }
    }

    /// What was done to which key, if the reply is one to this request.
    fn answered(&self, reply: &str, keys: usize) -> Option<Vec<(usize, Action)>> {
        let count = || reply.strip_prefix("COUNT ")?.parse::<usize>().ok();
        match self {
            Self::Put(..) | Self::Clear | Self::Save => {
                (reply == "OK").then(|| self.unanswered(keys))
            }
            Self::Get(key) => Some(vec![(*key, Action::Get(state_of(reply)?))]),
            Self::Exists(key) => {
                let count = count().filter(|&count| count <= 1)?;
                Some(vec![(*key, Action::Exists(count == 1))])
            }
            Self::Delete(keys) => {
                let count = count().filter(|&count| count <= keys.len())?;
                // Some of them: it is not known which.
                let is_known = count == 0 || count == keys.len();
                let was_there = is_known.then_some(count > 0);
                Some(
                    keys.iter()
                        .map(|&key| (key, Action::Delete(was_there)))
                        .collect(),
                )
            }
        }
    }
}

/// What a reply to GET shows, if it is one.
fn state_of(reply: &str) -> Option<State> {
    if reply == "NOT_FOUND" {
        return Some(None);
    }
    let text = reply.strip_prefix("VALUE \"")?.strip_suffix('"')?;
    value_of(text).map(Some)
}
