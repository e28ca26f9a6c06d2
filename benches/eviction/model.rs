//! What a server must hold: the pairs that were written, and a dump of those that are there.
//!
//! In: writes, replies, dumps taken through the protocol. Out: what is wrong, in words. Promises: a value that was
//! read is the last that was written, and is not read after its time; two dumps, before and after a restart, differ by what
//! has expired between them only.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{Connection, cmd, pipe};

use crate::Failure;

/// How much later than by the clock of this program a value may expire.
const TOLERANCE: Duration = Duration::from_millis(200);
/// Keys read at once.
const PAGE: usize = 1000;

/// The last write of each key.
pub struct Model {
    written: Vec<Option<Written>>,
    versions: u64,
}

#[derive(Clone)]
struct Written {
    version: u64,
    /// When it is gone at the latest, without [`TOLERANCE`].
    deadline: Option<Instant>,
}

impl Model {
    pub fn new(keys: usize) -> Self {
        Self {
            written: vec![None; keys],
            versions: 0,
        }
    }

    /// Returns the next value for a key, which is to be written now.
    pub fn write(&mut self, key: usize, lifetime: Option<Duration>) -> String {
        self.versions += 1;
        self.written[key] = Some(Written {
            version: self.versions,
            deadline: lifetime.map(|lifetime| Instant::now() + lifetime),
        });
        value(key, self.versions)
    }

    /// Takes the end of a batch of writes: until now, each may have waited before its time began.
    pub fn settle(&mut self, keys: &[usize], began: Instant) {
        let waited = began.elapsed();
        for key in keys {
            if let Some(Written {
                deadline: Some(deadline),
                ..
            }) = &mut self.written[*key]
            {
                *deadline += waited;
            }
        }
    }

    pub fn delete(&mut self, key: usize) {
        self.written[key] = None;
    }

    /// Checks what was read by a request that was sent at a time; what is wrong with it.
    pub fn check(&self, key: usize, read: &[u8], sent: Instant) -> Option<String> {
        let shown = String::from_utf8_lossy(&read[..read.len().min(24)]);
        match &self.written[key] {
            None => Some(format!("key {key} was deleted, and has {shown}")),
            Some(written) if read != value(key, written.version).as_bytes() => {
                let version = written.version;
                Some(format!(
                    "key {key} has {shown} in place of version {version}"
                ))
            }
            Some(written) => {
                let is_late = written
                    .deadline
                    .is_some_and(|deadline| sent > deadline + TOLERANCE);
                is_late.then(|| format!("key {key} is read after its time"))
            }
        }
    }
}

/// Returns the name of a key.
pub fn name(key: usize) -> String {
    format!("day:{key}")
}

/// Returns a value: its key, its version, and 50 to 4,000 bytes in all, the same for a key.
fn value(key: usize, version: u64) -> String {
    let bytes = 50 + key.wrapping_mul(2_654_435_761) % 3951;
    format!("{:v<bytes$}", format!("{key}:{version}:"))
}

/// All pairs of a server, and when each expires.
pub struct Dump {
    pub pairs: HashMap<String, (Vec<u8>, Option<Instant>)>,
}

impl Dump {
    /// Reads all pairs by SCAN, MGET and PTTL.
    pub fn take(connection: &mut Connection) -> Result<Self, Failure> {
        let mut pairs = HashMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(&cursor).arg("COUNT").arg(PAGE);
            let (next, keys): (String, Vec<String>) = scan.query(connection)?;
            if !keys.is_empty() {
                let mut read = pipe();
                read.cmd("MGET").arg(&keys);
                for key in &keys {
                    read.cmd("PTTL").arg(key);
                }
                let mut replies: Vec<redis::Value> = read.query(connection)?;
                let lifetimes = replies.split_off(1);
                let values: Vec<Option<Vec<u8>>> =
                    redis::from_redis_value(replies.pop().ok_or("no reply")?)?;
                let now = Instant::now();
                for ((key, value), lifetime) in keys.into_iter().zip(values).zip(lifetimes) {
                    let milliseconds: i64 = redis::from_redis_value(lifetime)?;
                    // One that has expired between the requests is no longer there: -2.
                    if let Some(value) = value.filter(|_| milliseconds != -2) {
                        let lifetime = u64::try_from(milliseconds).ok();
                        let deadline = lifetime.map(|left| now + Duration::from_millis(left));
                        pairs.insert(key, (value, deadline));
                    }
                }
            }
            if next == "0" {
                return Ok(Self { pairs });
            }
            cursor = next;
        }
    }

    /// Compares with a later one; what of this is neither there nor expired, and what differs.
    pub fn compare(&self, later: &Self) -> Difference {
        let now = Instant::now();
        let mut difference = Difference::default();
        for (key, (value, deadline)) in &self.pairs {
            match later.pairs.get(key) {
                Some((found, found_deadline)) => {
                    let same_time = match (deadline, found_deadline) {
                        (None, None) => true,
                        (Some(one), Some(other)) => {
                            one.max(other).duration_since(*one.min(other)) <= TOLERANCE
                        }
                        _ => false,
                    };
                    difference.changed += usize::from(value != found || !same_time);
                }
                None if deadline.is_some_and(|deadline| deadline <= now + TOLERANCE) => {
                    difference.expired += 1;
                }
                None => difference.missing += 1,
            }
        }
        let keys = later.pairs.keys();
        difference.added = keys.filter(|key| !self.pairs.contains_key(*key)).count();
        difference
    }
}

/// What two dumps differ by, in pairs.
#[derive(Default)]
pub struct Difference {
    /// Of other values or times.
    pub changed: usize,
    pub expired: usize,
    pub missing: usize,
    pub added: usize,
}
