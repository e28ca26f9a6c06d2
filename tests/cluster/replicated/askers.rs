//! The clients of the histories: what they ask of few keys, and what they saw.
//!
//! In: servers, a clock, random numbers. Out: the operations on each key, with the times of call and answer. Some clients stay at the server that
//! they know, though it does not answer: they are there when it is woken.

use std::time::{Duration, Instant};

use crate::at_work::Stop;
use crate::checker::{End, Operation, State, Value};
use crate::client::{Client, Outcome, outcome};
use crate::connection::{Connection, Waited};
use crate::progress::Progress;
use crate::register::Change;

/// A value is its client, a number, and how often it was incremented.
const CLIENT_SHIFT: u32 = 40;
const NUMBER_SHIFT: u32 = 16;
/// How long all late replies are waited for after the load.
const LATE_MAX: Duration = Duration::from_secs(1);

/// An operation and the number of its key.
pub type Seen = (usize, Operation<Change>);

/// One client.
pub struct Asker {
    client: Client,
    /// Its number at present, and by how much the next one is greater.
    number: usize,
    step: usize,
    clock: Instant,
    /// The names of the keys, and what it saw last of each.
    keys: Vec<(String, State)>,
    last_value: Value,
    seen: Vec<Seen>,
    late: Vec<Late>,
    refused: usize,
}

/// An operation whose reply may still come.
struct Late {
    connection: Connection,
    key: usize,
    operation: Operation<Change>,
}

impl Asker {
    /// One of so many clients of these keys.
    pub fn new(
        client: Client,
        number: usize,
        clients: usize,
        clock: Instant,
        names: &[String],
    ) -> Self {
        Self {
            client,
            number,
            step: clients,
            clock,
            keys: names.iter().map(|name| (name.clone(), None)).collect(),
            last_value: (number as Value + 1) << CLIENT_SHIFT,
            seen: Vec::new(),
            late: Vec::new(),
            refused: 0,
        }
    }

    /// Asks at random until it is told to stop; what it saw, and how much was refused.
    pub fn load(mut self, stop: &Stop, progress: &Progress) -> (Vec<Seen>, usize) {
        while stop.goes_on() {
            let key = fastrand::usize(..self.keys.len());
            let change = self.change(key);
            let asked = Instant::now();
            if self.ask(key, change) {
                progress.note(asked);
            }
        }
        self.await_late();
        (self.seen, self.refused)
    }

    /// Reads every key until that is answered; what it saw.
    pub fn read_all(mut self) -> Vec<Seen> {
        for key in 0..self.keys.len() {
            crate::wait::wait_for("a key can be read", || {
                let is_read = self.ask(key, Change::Get(None));
                is_read
                    .then_some(())
                    .ok_or_else(|| "it is refused".to_owned())
            });
        }
        self.seen
    }

    fn change(&mut self, key: usize) -> Change {
        match (fastrand::u8(..10), self.keys[key].1) {
            (0..5, _) => Change::Get(None),
            (5 | 6, _) => Change::Increment(None),
            (7 | 8, Some(old)) => Change::CompareAndSet(old, self.new_value(), None),
            _ => Change::Put(self.new_value()),
        }
    }

    fn new_value(&mut self) -> Value {
        self.last_value += 1 << NUMBER_SHIFT;
        self.last_value
    }

    /// Asks, and notes what came of it; whether it was answered.
    fn ask(&mut self, key: usize, change: Change) -> bool {
        let line = change.line(&self.keys[key].0);
        let called = self.clock.elapsed();
        let outcome = self.client.ask(&line);
        let mut operation = Operation {
            client: self.number,
            called,
            end: End::InFlight,
            action: change,
        };
        match outcome {
            Outcome::Done(reply) => {
                operation.end = End::Answered(self.clock.elapsed());
                operation.action = answered(change, &reply);
                self.note_state(key, operation.action);
                self.seen.push((key, operation));
                return true;
            }
            Outcome::Refused(_) => self.refused += 1,
            Outcome::Unknown(connection) => {
                // What it asks next does not wait for this.
                self.number += self.step;
                match connection {
                    Some(connection) => self.late.push(Late {
                        connection,
                        key,
                        operation,
                    }),
                    None => self.note_open(key, operation),
                }
            }
        }
        false
    }

    fn note_state(&mut self, key: usize, action: Change) {
        match action {
            Change::Get(state) => self.keys[key].1 = state,
            _ => self.keys[key].1 = action.made().or(self.keys[key].1),
        }
    }

    /// Notes what may have been done; a read that is not answered says nothing.
    fn note_open(&mut self, key: usize, operation: Operation<Change>) {
        if !matches!(operation.action, Change::Get(_)) {
            self.seen.push((key, operation));
        }
    }

    /// Takes the replies that did not come in time, where they have come since.
    fn await_late(&mut self) {
        let until = Instant::now() + LATE_MAX;
        for mut late in std::mem::take(&mut self.late) {
            let left = until.saturating_duration_since(Instant::now());
            let mut operation = late.operation;
            match late.connection.wait(left.max(Duration::from_millis(1))) {
                Waited::Reply(reply) => match outcome(reply) {
                    Outcome::Done(reply) => {
                        operation.end = End::Answered(self.clock.elapsed());
                        operation.action = answered(operation.action, &reply);
                        self.seen.push((late.key, operation));
                    }
                    Outcome::Refused(_) => self.refused += 1,
                    Outcome::Unknown(_) => self.note_open(late.key, operation),
                },
                Waited::NotYet | Waited::Ended => self.note_open(late.key, operation),
            }
        }
    }
}

fn answered(change: Change, reply: &str) -> Change {
    let seen = change.answered(reply);
    seen.unwrap_or_else(|| panic!("{change:?} was answered {reply:.60}"))
}
