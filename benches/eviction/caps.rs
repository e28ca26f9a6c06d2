//! The cap at which a given number of entries fits.
//!
//! In: a server and a policy, a number of entries, the bytes of each of their values. Out: the cap, and how many entries stayed under it.
//! Promise: those are as many as were asked for, but for half a percent, or the run ends.

use crate::Failure;
use crate::kind::Kind;
use crate::peers::{Cap, Peer};
use crate::traffic::{Caller, LookUp};

/// How often the cap is corrected before the best one found is taken.
const TRIES: usize = 16;
/// Bytes of values that are sent at once: so few that what a server holds for the request does not count.
const MESSAGE_BYTES: usize = 16 << 10;

/// A cap, and the number of entries that stayed under it when more were stored.
#[derive(Clone, Copy)]
pub struct Fitting {
    pub cap: Cap,
    pub entries: u64,
}

/// Finds a cap by filling a server.
///
/// # Errors
/// If there is none, or the server fails.
pub fn find(
    kind: Kind,
    policy: &'static str,
    entries: u64,
    value_bytes: usize,
) -> Result<Fitting, Failure> {
    let mut filler = Filler::new(Peer::start(kind, None)?, value_bytes);
    let empty = filler.peer().figure("used_memory")?;
    filler.fill(entries)?;
    let mut bytes = filler.peer().figure("used_memory")?;
    let entry_bytes = bytes.saturating_sub(empty) / entries;
    let mut best: Option<Fitting> = None;
    for _ in 0..TRIES {
        let cap = Cap { bytes, policy };
        filler.peer().set_cap(cap)?;
        // Also where the cap was raised, more come than fit.
        filler.fill(2 * entries)?;
        let stayed = filler.peer().keys()?;
        if best.is_none_or(|best| stayed.abs_diff(entries) < best.entries.abs_diff(entries)) {
            best = Some(Fitting {
                cap,
                entries: stayed,
            });
        }
        if stayed == entries {
            break;
        }
        // Half of the way where it is one entry: the whole would overshoot.
        let correction = (stayed.abs_diff(entries) * entry_bytes).max(entry_bytes / 2);
        bytes = if stayed < entries {
            bytes + correction
        } else {
            bytes.saturating_sub(correction)
        };
    }
    best.filter(|best| best.entries.abs_diff(entries) * 200 <= entries)
        .ok_or_else(|| {
            let found = best.map_or(0, |best| best.entries);
            let name = kind.name();
            format!("{name} keeps {found} entries by {policy} where {entries} should fit").into()
        })
}

/// Stores keys that were never stored before.
pub struct Filler {
    caller: Caller,
    value_bytes: usize,
    stored: usize,
}

impl Filler {
    /// Takes a server, and the bytes of each value.
    pub fn new(peer: Peer, value_bytes: usize) -> Self {
        Self {
            caller: Caller::new(peer),
            value_bytes,
            stored: 0,
        }
    }

    /// Returns the server.
    pub fn peer(&mut self) -> &mut Peer {
        &mut self.caller.peer
    }

    /// Stores so many keys.
    ///
    /// # Errors
    /// If the server does not.
    pub fn fill(&mut self, entries: u64) -> Result<(), Failure> {
        let mut queued = 0;
        for _ in 0..entries {
            // As long as the keys of most traces.
            let key = format!("{:05}", self.stored);
            self.caller.store(LookUp {
                key: &key,
                value_bytes: self.value_bytes,
            });
            self.stored += 1;
            queued += self.value_bytes;
            if queued > MESSAGE_BYTES {
                self.caller.flush()?;
                queued = 0;
            }
        }
        self.caller.flush()
    }
}
