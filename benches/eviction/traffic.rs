//! Cache-aside traffic: a key is asked for, and stored if it is missing, by the same program at several servers in step.
//!
//! In: batches of look-ups, servers. Out: how many were hits. Promises: each server gets all requests in the same order; what
//! a batch missed is stored before the next batch is looked up, in one message with it. Any other reply ends the run.

use std::time::{Duration, Instant};

use redis::{Value, cmd};

use crate::Failure;
use crate::peers::Peer;

/// A key that is wanted, and the bytes of its value.
#[derive(Clone, Copy)]
pub struct LookUp<'a> {
    pub key: &'a str,
    pub value_bytes: usize,
}

/// The program before one server.
pub struct Caller {
    pub peer: Peer,
    pub hits: u64,
    /// Requests to be sent: first those that store what was missing.
    output: Vec<u8>,
    /// How many of them store.
    stores: usize,
}

impl Caller {
    pub fn new(peer: Peer) -> Self {
        Self {
            peer,
            hits: 0,
            output: Vec::new(),
            stores: 0,
        }
    }

    /// Queues the storing of a value.
    pub fn store(&mut self, wanted: LookUp) {
        let mut command = cmd("SET");
        command
            .arg(wanted.key)
            .arg(&*"v".repeat(wanted.value_bytes));
        command.write_packed_command(&mut self.output);
        self.stores += 1;
    }

    /// Stores what is queued, as much as a server should take at once.
    ///
    /// # Errors
    /// If the server does not.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.send(&[])?;
        self.receive(&[]).map(drop)
    }

    fn send(&mut self, batch: &[LookUp]) -> Result<(), Failure> {
        for wanted in batch {
            let mut command = cmd("GET");
            command.arg(wanted.key);
            command.write_packed_command(&mut self.output);
        }
        if !self.output.is_empty() {
            self.peer.connection.send_packed_command(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }

    /// Takes the replies, and queues what is missing; of each look-up, whether it was a hit.
    fn receive(&mut self, batch: &[LookUp]) -> Result<Vec<bool>, Failure> {
        for _ in 0..std::mem::take(&mut self.stores) {
            match self.peer.connection.recv_response()? {
                Value::Okay => {}
                other => return Err(self.unexpected("SET", &other)),
            }
        }
        let mut found = Vec::with_capacity(batch.len());
        for wanted in batch {
            match self.peer.connection.recv_response()? {
                Value::BulkString(value) if value.len() == wanted.value_bytes => {
                    self.hits += 1;
                    found.push(true);
                }
                Value::Nil => {
                    self.store(*wanted);
                    found.push(false);
                }
                other => return Err(self.unexpected(wanted.key, &other)),
            }
        }
        Ok(found)
    }

    fn unexpected(&self, to: &str, reply: &Value) -> Failure {
        format!("{} answers {to} by {reply:?}", self.peer.kind.name()).into()
    }
}

/// Looks a batch up at each server; of each server, which look-ups were hits.
///
/// # Errors
/// If a server does not answer as it should.
pub fn look_up(callers: &mut [Caller], batch: &[LookUp]) -> Result<Vec<Vec<bool>>, Failure> {
    for caller in &mut *callers {
        caller.send(batch)?;
    }
    callers
        .iter_mut()
        .map(|caller| caller.receive(batch))
        .collect()
}

/// Keeps traffic from being faster than a rate.
pub struct Pace {
    started: Instant,
    per_second: f64,
}

impl Pace {
    /// Begins now; a rate of 0 is none.
    pub fn new(per_second: f64) -> Self {
        Self {
            started: Instant::now(),
            per_second,
        }
    }

    /// Waits until it is time for the request with this number.
    pub fn wait(&self, number: usize) {
        if self.per_second > 0.0 {
            let due = Duration::from_secs_f64(number as f64 / self.per_second);
            std::thread::sleep(due.saturating_sub(self.started.elapsed()));
        }
    }

    /// Returns the time since it began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
