//! Clients of the histories: what they ask of few keys, and what they saw.
//!
//! In: an address, and a random number generator for each client. Out: the operations on each key, with the times of call and
//! answer on one clock. What was refused is left out, as it was not done; a change of which nobody knows stays open, and its client
//! goes on under another number, since what it asks next does not wait for it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::at_work::Stop;
use crate::checker::{Action, End, Operation, State, Value};
use crate::link::{Link, Outcome};
use crate::wait::wait_for;

/// The number of a value that is its client's own; above it stands the client.
const NUMBER_BITS: u32 = 32;

/// An operation and the number of its key.
pub type Seen = (usize, Operation);

/// One client.
pub struct Client {
    /// Its number at present, and by how much the next one is greater.
    number: usize,
    step: usize,
    keys: usize,
    random: fastrand::Rng,
    clock: Instant,
    last_value: Value,
    link: Link,
    seen: Vec<Seen>,
    refused: usize,
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

/// The value of a name.
fn value_of(name: &str) -> Option<Value> {
    let (client, number) = name.strip_prefix('c')?.split_once('-')?;
    let client: Value = client.parse().ok()?;
    Some((client << NUMBER_BITS) | number.parse::<Value>().ok()?)
}

impl Client {
    /// One of so many clients of so many keys.
    pub fn new(
        number: usize,
        clients: usize,
        keys: usize,
        random: fastrand::Rng,
        (clock, addr): (Instant, SocketAddr),
    ) -> Self {
        Self {
            number,
            step: clients,
            keys,
            random,
            clock,
            last_value: (number as Value) << NUMBER_BITS,
            link: Link::new(addr),
            seen: Vec::new(),
            refused: 0,
        }
    }

    /// Asks at random until it is told to stop; what it saw, and how much was refused.
    pub fn load(mut self, stop: &Stop) -> (Vec<Seen>, usize) {
        while stop.goes_on() {
            let key = self.random.usize(..self.keys);
            let action = match self.random.u8(..10) {
                0..4 => {
                    self.last_value += 1;
                    Action::Put(self.last_value)
                }
                4..8 => Action::Get(None),
                8 => Action::Delete(None),
                _ => Action::Exists(false),
            };
            if self.ask(key, action).is_err() {
                self.refused += 1;
            }
        }
        (self.seen, self.refused)
    }

    /// Reads every key, again while that is refused; what it saw.
    pub fn read_all(mut self) -> Vec<Seen> {
        for key in 0..self.keys {
            wait_for("a key can be read", || self.ask(key, Action::Get(None)));
        }
        self.seen
    }

    /// Asks for something, of which the answer is not known yet, and notes what came of it.
    ///
    /// # Errors
    /// It was refused: why.
    fn ask(&mut self, key: usize, action: Action) -> Result<(), String> {
        let name = key_name(key);
        let line = match action {
            Action::Put(value) => format!("PUT {name} {}", value_name(value)),
            Action::Delete(_) => format!("DEL {name}"),
            Action::Get(_) => format!("GET {name}"),
            Action::Exists(_) => format!("EXISTS {name}"),
        };
        let called = self.clock.elapsed();
        let outcome = self.link.ask(&line);
        let (end, action) = match outcome {
            Outcome::NotDone(error) => return Err(error),
            Outcome::Done(reply) => {
                let seen = answered(action, &reply);
                let seen = seen.unwrap_or_else(|| panic!("{line} was answered {reply:.60}"));
                (End::Answered(self.clock.elapsed()), seen)
            }
            // A read that is not answered says nothing.
            Outcome::Unknown if matches!(action, Action::Get(_) | Action::Exists(_)) => {
                return Err("the connection was lost".to_owned());
            }
            Outcome::Unknown => (End::InFlight, action),
        };
        let operation = Operation {
            client: self.number,
            called,
            end,
            action,
        };
        self.seen.push((key, operation));
        if end == End::InFlight {
            self.number += self.step;
        }
        Ok(())
    }
}

/// What was done, if the reply is one to this request.
fn answered(action: Action, reply: &str) -> Option<Action> {
    let was_there = || match reply {
        "COUNT 0" => Some(false),
        "COUNT 1" => Some(true),
        _ => None,
    };
    match action {
        Action::Put(_) => (reply == "OK").then_some(action),
        Action::Delete(_) => Some(Action::Delete(Some(was_there()?))),
        Action::Exists(_) => Some(Action::Exists(was_there()?)),
        Action::Get(_) => Some(Action::Get(state_of(reply)?)),
    }
}

/// What a reply to GET shows, if it is one.
fn state_of(reply: &str) -> Option<State> {
    if reply == "NOT_FOUND" {
        return Some(None);
    }
    let name = reply.strip_prefix("VALUE \"")?.strip_suffix('"')?;
    value_of(name).map(Some)
}
