//! Counters that clients increment while their slots are moved.
//!
//! In: tags, each for a slot. Out: how many increments were sent, acknowledged and refused, and which counters have a value that they
//! cannot have.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::front::Front;
use crate::link::{Link, Outcome};

const COUNTERS_PER_TAG: usize = 5;
/// Increments that are waited for at each step of a move, and for how long.
const STEP_INCREMENTS: usize = 10;
const STEP_MAX: Duration = Duration::from_millis(200);

/// The counters.
pub struct Counters(Vec<Counter>);

/// A key that is incremented, and how often.
struct Counter {
    key: String,
    sent: AtomicUsize,
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
}

impl Counters {
    /// Some counters for each tag.
    pub fn new(tags: &[String]) -> Self {
        let names = tags.iter().flat_map(|tag| {
            let name = move |number| format!("{tag}:{number}");
            (0..COUNTERS_PER_TAG).map(name)
        });
        let counter = |key| Counter {
            key,
            sent: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        };
        Self(names.map(counter).collect())
    }

    /// Increments any of them.
    pub fn increment(&self, link: &mut Link) {
        let counter = &self.0[fastrand::usize(..self.0.len())];
        counter.sent.fetch_add(1, Relaxed);
        let number = match link.ask(&format!("INCR {}", counter.key)) {
            Outcome::Done(_) => &counter.acknowledged,
            Outcome::NotDone(_) => &counter.refused,
            Outcome::Unknown => return,
        };
        number.fetch_add(1, Relaxed);
    }

    /// Waits until some increments were acknowledged, though not for long: all may be refused just now.
    pub fn wait_for_some(&self) {
        let (started, before) = (Instant::now(), self.acknowledged());
        while self.acknowledged() < before + STEP_INCREMENTS && started.elapsed() < STEP_MAX {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many increments were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.sum(|counter| &counter.acknowledged)
    }

    /// The sums of all counters.
    pub fn figures(&self) -> String {
        format!(
            "{} increments, {} acknowledged, {} refused",
            self.sum(|counter| &counter.sent),
            self.acknowledged(),
            self.sum(|counter| &counter.refused)
        )
    }

    /// The counters that have a value that they cannot have, or another in each dialect.
    pub fn wrong(&self, front: &Front) -> Result<Vec<String>, String> {
        let mut link = front.line_connection();
        let mut redis = front.redis_connection();
        let mut wrong = Vec::new();
        for counter in &self.0 {
            let reply = link.ask(&format!("GET {}", counter.key));
            let digits = reply.strip_prefix("VALUE \"").unwrap_or_default();
            let value = match digits.trim_end_matches('"').parse() {
                Ok(value) => value,
                Err(_) if reply == "NOT_FOUND" => 0,
                Err(_) => return Err(format!("GET {} was answered {reply}", counter.key)),
            };
            let other = redis.as_mut().map_or(Ok(value), |link| {
                let other = redis::cmd("GET").arg(&counter.key).query(link);
                other.map(Option::unwrap_or_default)
            });
            let other: usize = other.map_err(|error| error.to_string())?;
            if !counter.can_be(value) || other != value {
                let acknowledged = counter.acknowledged.load(Relaxed);
                let key = &counter.key;
                wrong.push(format!(
                    "{key} is {value}, in RESP {other}, of {acknowledged} acknowledged"
                ));
            }
        }
        Ok(wrong)
    }

    fn sum(&self, number: fn(&Counter) -> &AtomicUsize) -> usize {
        let numbers = self.0.iter().map(|counter| number(counter).load(Relaxed));
        numbers.sum()
    }
}

impl Counter {
    /// Whether it can have this value: what was refused was not done, and of the rest at least what was acknowledged.
    fn can_be(&self, value: usize) -> bool {
        let [sent, acknowledged, refused] =
            [&self.sent, &self.acknowledged, &self.refused].map(|number| number.load(Relaxed));
        (acknowledged..=sent - refused).contains(&value)
    }
}
