//! What one writer knows of its keys, and whether the cluster agrees.
//!
//! In: keys, numbers of values, and what came of each change. Out: the value that a key may have: the last that was acknowledged, or the one of
//! which nobody knows. A key with such a value is not written again, as that may come late: so it is always known exactly what may be there.

use crate::client::Client;

/// A value that was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its number: its writer's values are counted.
    pub number: u64,
    /// Its length.
    pub bytes: usize,
}

/// A key of one writer.
pub struct Key {
    pub name: String,
    /// The last value that was acknowledged.
    pub acknowledged: Option<Sent>,
    /// The value of which nobody knows.
    pub unknown: Option<Sent>,
    /// Whether a server has acknowledged it after its client had given up.
    pub is_late: bool,
}

/// What keys had that they must not have.
#[derive(Default)]
pub struct Faults {
    /// Keys whose last acknowledged value is not there.
    pub lost: usize,
    /// Of them, those which a server had acknowledged late.
    pub late_lost: usize,
    /// Keys with a value that was refused.
    pub refused_done: usize,
    /// Some of them, in words.
    pub examples: Vec<String>,
}

impl Key {
    /// A key that was never written.
    pub fn new(name: String) -> Self {
        Self {
            name,
            acknowledged: None,
            unknown: None,
            is_late: false,
        }
    }

    /// A value as it is stored: the key and the number, filled up.
    pub fn value(&self, sent: Sent) -> String {
        let bytes = sent.bytes;
        format!("{:.<bytes$}", format!("{}:{}:", self.name, sent.number))
    }

    /// The number of a stored value, if it is one of this key.
    fn number(&self, value: &str) -> Option<u64> {
        let rest = value.strip_prefix(&self.name)?.strip_prefix(':')?;
        rest.split(':').next()?.parse().ok()
    }
}

impl Faults {
    /// Reads keys, and notes those that have what they must not have.
    pub fn look(&mut self, keys: &[Key], client: &mut Client) {
        for key in keys {
            let reply = client.ask_until_done(&format!("GET {}", key.name));
            let value = reply
                .strip_prefix("VALUE \"")
                .and_then(|it| it.strip_suffix('"'));
            let may_be = [key.acknowledged, key.unknown];
            let is_well = match value {
                None => reply == "NOT_FOUND" && key.acknowledged.is_none(),
                Some(value) => {
                    let mut known = may_be.iter().flatten();
                    known.any(|sent| key.value(*sent) == value)
                }
            };
            if is_well {
                continue;
            }
            let newest = key.acknowledged.map_or(0, |sent| sent.number);
            if value.and_then(|value| key.number(value)) > Some(newest) {
                self.refused_done += 1;
            } else {
                self.lost += 1;
                self.late_lost += usize::from(key.is_late);
            }
            let number = |sent: Option<Sent>| sent.map(|sent| sent.number);
            self.examples.push(format!(
                "{} is {reply:.40}, acknowledged was {:?}, unknown {:?}",
                key.name,
                number(key.acknowledged),
                number(key.unknown)
            ));
            self.examples.truncate(5);
        }
    }

    /// How many keys.
    pub fn count(&self) -> usize {
        self.lost + self.refused_done
    }
}
