//! Clients that write to whoever leads, and remember what was acknowledged.
//!
//! In: the addresses of the members. Out: for each key the last acknowledged number, and those that may have followed. Promise: a change
//! that was refused is not taken for one that may have been made.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Clients that write at one time, and keys of each.
const CLIENTS: usize = 8;
const KEYS: usize = 20;
/// The longest that a client waits for a leader.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(30);

/// The longest that it takes to have a change acknowledged, with tries that are not.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);

/// What is known of a key: the acknowledged number, and the last one that was sent.
#[derive(Clone, Copy, Default)]
struct Known {
    acknowledged: usize,
    sent: usize,
}

/// What the clients have seen.
pub struct Outcome {
    keys: BTreeMap<String, Known>,
    /// Number of acknowledged changes.
    pub acknowledged: usize,
    /// Number of changes of which it is not known whether they were made.
    pub unknown: usize,
    /// The longest time between two acknowledged changes.
    pub longest_gap: Duration,
}

/// The longest that a client waits for a reply: a stopped server does not answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A client that does not wait for long.
pub struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    fn try_ask(&mut self, line: &str) -> Option<String> {
        let sent = self.0.get_mut().write_all(format!("{line}\n").as_bytes());
        sent.ok()?;
        let mut reply = String::new();
        self.0.read_line(&mut reply).ok()?;
        reply.strip_suffix('\n').map(str::to_owned)
    }

    /// Sends a line; the reply to it.
    pub fn ask(&mut self, line: &str) -> String {
        self.try_ask(line).expect("a reply in time")
    }
}

/// Connects to the member that leads.
pub fn leader(members: &[SocketAddr]) -> Client {
    let until = Instant::now() + LEADER_WAIT_MAX;
    while Instant::now() < until {
        for member in members {
            let client = Client::connect(*member);
            if let Some(mut client) = client
                && let Some(reply) = client.try_ask("COUNT")
                && !reply.starts_with("ERR")
            {
                return client;
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nobody leads");
}

/// Sends a change to whoever leads until it is acknowledged: a long one, beside others, may take longer than a client waits.
pub fn acknowledge(members: &[SocketAddr], line: &str) {
    let until = Instant::now() + ACKNOWLEDGED_WITHIN;
    while Instant::now() < until {
        let mut client = leader(members);
        let stream = client.0.get_ref();
        stream
            .set_read_timeout(Some(ACKNOWLEDGED_WITHIN))
            .expect("a timeout");
        if client.try_ask(line).as_deref() == Some("OK") {
            return;
        }
    }
    panic!("not acknowledged: {line:.40}");
}

/// Number of loads so far: each has keys of its own, as what one has written says nothing of the next.
static LOADS: AtomicUsize = AtomicUsize::new(0);

/// Ends the load, also where the test fails before its end: the clients would go on until etcd is full.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes values of some bytes while `hurt` is executed, and a while longer; each value is a number and what fills it up.
pub fn write_during(members: &[SocketAddr], bytes: usize, hurt: impl FnOnce()) -> Outcome {
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = LOADS.fetch_add(1, Ordering::Relaxed);
    let outcomes = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (stop, acknowledged) = (&stop, &acknowledged);
                let name = format!("key:{load}:{client}");
                scope.spawn(move || write(members, &name, bytes, stop, acknowledged))
            })
            .collect();
        let wait_for_more = || {
            let enough = acknowledged.load(Ordering::Relaxed) + 20 * CLIENTS;
            let until = Instant::now() + LEADER_WAIT_MAX;
            while acknowledged.load(Ordering::Relaxed) < enough {
                assert!(Instant::now() < until, "nothing is acknowledged");
                thread::sleep(Duration::from_millis(5));
            }
        };
        let stopping = StopAtEnd(&stop);
        wait_for_more();
        hurt();
        wait_for_more();
        drop(stopping);
        let joined = clients.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|one| one.expect("a client")).collect::<Vec<_>>()
    });
    let mut times: Vec<Instant> = Vec::new();
    let (mut keys, mut unknown) = (BTreeMap::new(), 0);
    for (known, seen, in_doubt) in outcomes {
        keys.extend(known);
        times.extend(seen);
        unknown += in_doubt;
    }
    times.sort_unstable();
    let gaps = times.windows(2).map(|two| two[1] - two[0]);
    Outcome {
        keys,
        acknowledged: times.len(),
        unknown,
        longest_gap: gaps.max().unwrap_or_default(),
    }
}

type Seen = (BTreeMap<String, Known>, Vec<Instant>, usize);

fn write(
    members: &[SocketAddr],
    name: &str,
    bytes: usize,
    stop: &AtomicBool,
    count: &AtomicUsize,
) -> Seen {
    let mut keys: BTreeMap<String, Known> = BTreeMap::new();
    let (mut times, mut unknown) = (Vec::new(), 0);
    let mut connection = leader(members);
    let filling = "x".repeat(bytes);
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{name}:{}", number % KEYS);
        let known = keys.entry(key.clone()).or_default();
        let before = known.sent;
        known.sent = number;
        let reply = connection.try_ask(&format!("PUT {key} {number}{filling}"));
        match reply.as_deref() {
            Some("OK") => {
                known.acknowledged = number;
                times.push(Instant::now());
                count.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Some(refusal) if refusal.starts_with("ERR NOT_LEADER ") => known.sent = before,
            _ => unknown += 1,
        }
        connection = leader(members);
    }
    (keys, times, unknown)
}

impl Outcome {
    /// The keys whose value is older than what was acknowledged.
    pub fn lost(&self, members: &[SocketAddr]) -> Vec<String> {
        let mut client = leader(members);
        let mut lost = Vec::new();
        for (key, known) in &self.keys {
            let reply = client.ask(&format!("GET {key}"));
            let digits = reply.trim_start_matches("VALUE \"").split('x').next();
            let number = digits.and_then(|digits| digits.trim_end_matches('"').parse().ok());
            let number = number.unwrap_or(0_usize);
            if number < known.acknowledged || number > known.sent {
                lost.push(format!(
                    "{key}: {number}, acknowledged {}",
                    known.acknowledged
                ));
            }
        }
        lost
    }
}
