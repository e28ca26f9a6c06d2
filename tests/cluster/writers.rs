//! Clients that write keys of their own, and what became of the keys.
//!
//! In: an address, and the slots to write to. Out: which keys were acknowledged, and when; later, which of them are lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::at_work::at_work;
use crate::link::{Link, Outcome, outcome};
use crate::redis_cluster::slot_of;
use crate::server::TestClient;
use crate::wait::wait_for;

/// Keys that are read back in one packet.
const BATCH_KEYS: usize = 64;
/// A reply that a node has sent before it died has arrived after this time.
const LATE_REPLIES_MAX: Duration = Duration::from_millis(200);

/// Who writes what.
#[derive(Clone, Copy)]
pub struct Load {
    pub addr: SocketAddr,
    pub writers: usize,
    pub value_bytes: usize,
}

/// What the writers saw.
#[derive(Default)]
pub struct Written {
    /// The keys that were acknowledged, and when.
    pub acknowledged: Vec<(String, Instant)>,
    /// How many were not written, and of how many it is not known.
    pub refused: usize,
    pub unknown: usize,
}

/// A key of which this is the beginning, and whose slot this finds right.
pub fn key_in(beginning: &str, is_meant: impl Fn(u16) -> bool) -> String {
    let mut keys = (0..).map(|number| format!("{{{beginning}-{number}}}"));
    keys.find(|key| is_meant(slot_of(key)))
        .expect("an endless search")
}

impl Load {
    /// Writes keys in slots that are meant while something is done, which is told how many have been acknowledged so far.
    pub fn write_during<R>(
        self,
        is_meant: impl Fn(u16) -> bool,
        meanwhile: impl FnOnce(&AtomicUsize) -> R,
    ) -> (Written, R) {
        let progress = AtomicUsize::new(0);
        let beginnings = (0..self.writers).map(|writer| key_in(&format!("w{writer}"), &is_meant));
        let (all, done) = at_work(
            beginnings.collect(),
            |beginning: String, stop| {
                let mut written = Written::default();
                let mut link = Link::new(self.addr);
                let mut keys = (0..).map(|number| format!("{beginning}:{number}"));
                while stop.goes_on() {
                    let key = keys.next().expect("they do not end");
                    if self.write(&mut link, key, &mut written) {
                        progress.fetch_add(1, Relaxed);
                    }
                }
                written
            },
            || meanwhile(&progress),
        );
        let mut total = Written::default();
        for one in all {
            total.acknowledged.extend(one.acknowledged);
            total.refused += one.refused;
            total.unknown += one.unknown;
        }
        (total, done)
    }

    /// Writes one key; whether that was acknowledged.
    fn write(self, link: &mut Link, key: String, written: &mut Written) -> bool {
        let request = format!("PUT {key} {}", value_of(&key, self.value_bytes));
        match link.ask(&request) {
            Outcome::Done(reply) => {
                assert_eq!(reply, "OK", "PUT {key}");
                written.acknowledged.push((key, Instant::now()));
                return true;
            }
            Outcome::NotDone(_) => written.refused += 1,
            Outcome::Unknown => written.unknown += 1,
        }
        false
    }

    /// Reads all keys that were acknowledged; how many are not there, or are not what was written.
    pub fn lost(self, written: &Written) -> usize {
        let mut link = TestClient::connect(self.addr);
        let mut lost = 0;
        let mut unread: Vec<&str> = written.acknowledged.iter().map(|(key, _)| &**key).collect();
        wait_for("all keys can be read", || {
            let mut refused = Vec::new();
            let mut reason = String::new();
            for keys in unread.chunks(BATCH_KEYS) {
                let packet: String = keys.iter().map(|key| format!("GET {key}\n")).collect();
                link.send_bytes(packet.as_bytes());
                for key in keys {
                    match outcome(link.reply()) {
                        Outcome::Done(reply) => {
                            let value = value_of(key, self.value_bytes);
                            lost += usize::from(reply != format!("VALUE \"{value}\""));
                        }
                        Outcome::NotDone(error) => {
                            refused.push(*key);
                            reason = error;
                        }
                        Outcome::Unknown => panic!("a read is in doubt"),
                    }
                }
            }
            unread = refused;
            if unread.is_empty() {
                Ok(())
            } else {
                Err(reason)
            }
        });
        lost
    }
}

impl Written {
    /// The time from a kill to the next success. What the node had answered before it died is passed over: that arrives at once.
    pub fn success_after(&self, killed: Instant) -> Option<Duration> {
        let times = self.acknowledged.iter().map(|(_, time)| *time);
        let times = times.filter(|time| *time > killed + LATE_REPLIES_MAX);
        times.min().map(|time| time.duration_since(killed))
    }
}

/// The value of a key: the key itself, filled up.
fn value_of(key: &str, bytes: usize) -> String {
    format!("{key:.<bytes$}")
}
