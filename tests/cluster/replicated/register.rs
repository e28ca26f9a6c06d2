//! What the histories do with one key: a number that is put, read, incremented, and compared and set.
//!
//! In: a change and what came of it. Out: for the checker, what it does to the state; for people, a line.

use crate::checker::{State, Step, Value};

/// What is done with one key, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Put(Value),
    Get(State),
    /// What it was answered with, if it was.
    Increment(Option<Value>),
    /// Sets the second value if the key has the first; whether it did, if that is known.
    CompareAndSet(Value, Value, Option<bool>),
}

impl Step for Change {
    fn apply(self, state: State) -> Option<State> {
        match self {
            Self::Put(value) => Some(Some(value)),
            Self::Get(seen) => (seen == state).then_some(state),
            Self::Increment(answer) => {
                let after = state.unwrap_or_default() + 1;
                answer
                    .is_none_or(|answer| answer == after)
                    .then_some(Some(after))
            }
            Self::CompareAndSet(old, new, was_done) => {
                let fits = state == Some(old);
                let after = if fits { Some(new) } else { state };
                was_done.is_none_or(|was| was == fits).then_some(after)
            }
        }
    }

    fn is_passive(self) -> bool {
        matches!(self, Self::Get(_) | Self::CompareAndSet(_, _, Some(false)))
    }

    fn put(self) -> Option<Value> {
        match self {
            Self::Put(value) => Some(value),
            _ => None,
        }
    }
}

impl Change {
    /// The request, on a key of this name.
    pub fn line(self, name: &str) -> String {
        match self {
            Self::Put(value) => format!("PUT {name} {value}"),
            Self::Get(_) => format!("GET {name}"),
            Self::Increment(_) => format!("INCR {name}"),
            Self::CompareAndSet(old, new, _) => format!("SET {name} {new} IFEQ {old}"),
        }
    }

    /// The value that the key had after it, if that is known and is its work.
    pub fn made(self) -> State {
        match self {
            Self::Put(value)
            | Self::Increment(Some(value))
            | Self::CompareAndSet(_, value, Some(true)) => Some(value),
            Self::Get(_) | Self::Increment(None) | Self::CompareAndSet(..) => None,
        }
    }

    /// What was done, if the reply is one to this request.
    pub fn answered(self, reply: &str) -> Option<Self> {
        let value = || {
            reply
                .strip_prefix("VALUE \"")?
                .strip_suffix('"')?
                .parse()
                .ok()
        };
        match self {
            Self::Put(_) => (reply == "OK").then_some(self),
            Self::Get(_) if reply == "NOT_FOUND" => Some(Self::Get(None)),
            Self::Get(_) => Some(Self::Get(Some(value()?))),
            Self::Increment(_) => Some(Self::Increment(Some(value()?))),
            Self::CompareAndSet(old, new, _) => match reply {
                "OK" => Some(Self::CompareAndSet(old, new, Some(true))),
                "UNCHANGED" => Some(Self::CompareAndSet(old, new, Some(false))),
                _ => None,
            },
        }
    }
}
