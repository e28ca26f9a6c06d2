//! Writers at work while something is done to the cluster, each on keys of its own.
//!
//! In: how many clients, and how patient they are. Out: what they did and what came of it, in figures; later, whether the cluster has what it
//! acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::at_work::{Stop, at_work};
use crate::client::{Client, Outcome, outcome};
use crate::connection::{Connection, Waited};
use crate::ledger::{Faults, Key, Sent};
use crate::progress::Progress;

/// Writers of each scenario.
const WRITERS: usize = 8;
/// Keys that a writer overwrites.
const KEYS: usize = 20;
/// How long a reply is waited for after the load that did not come in time; a server that was woken answers before.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Who writes, and where.
pub struct Load {
    pub addresses: Vec<SocketAddr>,
    /// How long a client waits for a reply.
    pub reply_max: Duration,
}

/// What all writers did.
#[derive(Default)]
pub struct Written {
    keys: Vec<Key>,
    pub acknowledged: usize,
    /// Changes that were acknowledged after the client had given up.
    pub late: usize,
    /// Changes of which nobody knows whether they were done.
    pub unknown: usize,
    /// Changes that were refused, by the codes of the errors.
    pub refused: BTreeMap<String, usize>,
}

/// One writer.
struct Writer {
    name: String,
    client: Client,
    keys: Vec<Key>,
    /// Keys that are not written any more.
    left: Vec<Key>,
    /// Replies that may still come, and which of the left keys they are of.
    late: Vec<(Connection, usize)>,
    number: u64,
    written: Written,
}

impl Load {
    /// Writes while something is done.
    pub fn during<R>(&self, progress: &Progress, meanwhile: impl FnOnce() -> R) -> (Written, R) {
        let writers = (0..WRITERS).map(|number| {
            let client = Client::new(self.addresses.clone(), self.reply_max);
            Writer::new(format!("w{number}"), client)
        });
        let work = |writer: Writer, stop: &Stop| writer.write(stop, progress);
        let (all, done) = at_work(writers.collect(), work, meanwhile);
        let mut total = Written::default();
        for one in all {
            total.keys.extend(one.keys);
            total.acknowledged += one.acknowledged;
            total.late += one.late;
            total.unknown += one.unknown;
            for (code, count) in one.refused {
                *total.refused.entry(code).or_default() += count;
            }
        }
        (total, done)
    }
}

impl Written {
    /// Reads all keys where the leader is; those that have what they must not have.
    pub fn faults(&self, addresses: Vec<SocketAddr>) -> Faults {
        let mut client = Client::new(addresses, Duration::from_secs(5));
        let mut faults = Faults::default();
        faults.look(&self.keys, &mut client);
        faults
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// How many changes were refused for another reason than that another server leads, or none, or that nobody could be asked.
    pub fn refused_otherwise(&self) -> usize {
        let is_other = |code: &str| code != "NOT_LEADER" && code != "no connection";
        let others = self.refused.iter().filter(|(code, _)| is_other(code));
        others.map(|(_, count)| count).sum()
    }
}

impl Writer {
    fn new(name: String, client: Client) -> Self {
        let keys = (0..KEYS).map(|number| Key::new(format!("{name}-{number}")));
        Self {
            client,
            keys: keys.collect(),
            left: Vec::new(),
            late: Vec::new(),
            number: 0,
            written: Written::default(),
            name,
        }
    }

    /// Writes until it is told to stop.
    fn write(mut self, stop: &Stop, progress: &Progress) -> Written {
        while stop.goes_on() {
            self.write_one(progress);
        }
        self.await_late();
        self.written.keys = self.left;
        self.written.keys.extend(self.keys);
        let open = self.written.keys.iter();
        self.written.unknown = open.filter(|key| key.unknown.is_some()).count();
        self.written
    }

    fn write_one(&mut self, progress: &Progress) {
        let at = fastrand::usize(..self.keys.len());
        let key = &mut self.keys[at];
        self.number += 1;
        let sent = Sent {
            number: self.number,
            bytes: progress.value_bytes(),
        };
        let asked = Instant::now();
        let request = format!("PUT {} {}", key.name, key.value(sent));
        match self.client.ask(&request) {
            Outcome::Done(reply) => {
                assert_eq!(reply, "OK", "PUT {}", key.name);
                key.acknowledged = Some(sent);
                self.written.acknowledged += 1;
                progress.note(asked);
            }
            Outcome::Refused(code) => *self.written.refused.entry(code).or_default() += 1,
            Outcome::Unknown(connection) => {
                key.unknown = Some(sent);
                let fresh = Key::new(format!("{}-u{}", self.name, self.number));
                self.left.push(std::mem::replace(key, fresh));
                let place = self.left.len() - 1;
                self.late.extend(connection.map(|it| (it, place)));
            }
        }
    }

    /// Takes the replies that did not come in time, where they have come since.
    fn await_late(&mut self) {
        let until = Instant::now() + LATE_MAX;
        for (mut connection, place) in self.late.drain(..) {
            let left = until.saturating_duration_since(Instant::now());
            let Waited::Reply(reply) = connection.wait(left.max(Duration::from_millis(1))) else {
                continue;
            };
            let key = &mut self.left[place];
            match outcome(reply) {
                Outcome::Done(_) => {
                    key.acknowledged = key.unknown.take();
                    key.is_late = true;
                    self.written.late += 1;
                }
                Outcome::Refused(_) => key.unknown = None,
                Outcome::Unknown(_) => {}
            }
        }
    }
}
