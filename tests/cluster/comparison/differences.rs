//! Which replies may differ over a cluster, and why.
//!
//! In: a request, what its client has queued and watches, and two replies. Out: whether they are the same, as far as they can be, or the
//! row that explains them.

use pykv::cluster::slot_of;
use pykv::command::{COMMANDS, Command, Dialects};

use super::reply::Reply;
use super::requests::Words;
use super::wire::Wire;

/// A request, what belongs to it, and its replies.
pub struct Case<'a> {
    pub wire: Wire,
    pub words: &'a [Vec<u8>],
    /// The requests of the transaction that it ends.
    pub queued: &'a [Words],
    /// The WATCH requests before it.
    pub watched: &'a [Words],
    pub local: &'a Reply,
    pub cluster: &'a Reply,
    /// Whether a pair has expired lately.
    pub has_expired: bool,
    /// By how much times may differ, in milliseconds.
    pub slack_ms: u64,
}

/// Replies that differ.
pub struct Difference {
    /// Names of commands; none for all.
    commands: &'static [&'static str],
    is_it: fn(&Case<'_>) -> bool,
    /// Whether the servers have different pairs, or transactions, from here on.
    pub parts: bool,
    pub reason: &'static str,
}

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        commands: &[],
        is_it: |case| {
            case.cluster.is_error_of("CROSS_SLOT", "CROSSSLOT") && case.is_of_several_slots()
        },
        parts: true,
        reason: "keys of several slots",
    },
    Difference {
        commands: &[
            "CLEAR",
            "FLUSHDB",
            "FLUSHALL",
            "DBSIZE",
            "KEYS",
            "SCAN",
            "RANDOMKEY",
        ],
        is_it: |case| {
            let head = String::from_utf8_lossy(&case.cluster.head);
            case.local.is_queued() && head.ends_with("where a cluster has the data")
        },
        parts: true,
        reason: "commands on all keys are not allowed in a transaction",
    },
    Difference {
        commands: &["EXEC"],
        is_it: |case| {
            let is_unmet = [&b"UNCHANGED"[..], b"*-1", b"_"].contains(&&*case.local.head);
            !case.watched.is_empty() && is_unmet && !case.cluster.is_error_at_all()
        },
        parts: true,
        reason: "a watched pair that is the same again has not changed",
    },
    Difference {
        commands: &["MEMORY"],
        is_it: |case| number(case.local).is_some() && number(case.cluster).is_some(),
        parts: false,
        reason: "a node tells what its own memory is",
    },
    Difference {
        commands: WITH_EXPIRED,
        // Of a prefix they are counted one by one.
        is_it: |case| {
            let is_of_all = case.verb() != b"COUNT" || case.words.len() == 1;
            is_of_all && case.has_expired && !case.cluster.is_error_at_all()
        },
        parts: false,
        reason: "a node counts pairs that have expired until it deletes them",
    },
    Difference {
        commands: &[],
        is_it: |case| {
            let head = String::from_utf8_lossy(&case.cluster.head);
            let is_of_key = head.contains("the key has 65537 bytes");
            case.local.is_error_at_all() && case.cluster.is_error_at_all() && is_of_key
        },
        parts: false,
        reason: "keys are looked at before all other arguments",
    },
];

/// Commands that tell of pairs which have expired, as long as their node has not deleted them.
const WITH_EXPIRED: &[&str] = &["COUNT", "DBSIZE", "MEMORY"];

/// The row of a request.
pub fn command_of(words: &[Vec<u8>], wire: Wire) -> Option<&'static Command> {
    let other = if wire == Wire::Line {
        Dialects::Resp
    } else {
        Dialects::Line
    };
    COMMANDS.iter().copied().find(|command| {
        let verb = words[0].to_ascii_uppercase();
        command.dialects != other && command.name.as_bytes() == verb
    })
}

impl Case<'_> {
    fn verb(&self) -> Vec<u8> {
        self.words[0].to_ascii_uppercase()
    }

    /// Whether the replies are the same: as sets where the order means nothing, and near where they tell a time.
    pub fn is_same(&self) -> bool {
        let (local, cluster) = (self.local, self.cluster);
        if local == cluster {
            return true;
        }
        match &*self.verb() {
            // They round.
            b"TTL" | b"EXPIRETIME" => is_near(local, cluster, 1 + self.slack_ms / 1000),
            b"PTTL" | b"PEXPIRETIME" => is_near(local, cluster, self.slack_ms),
            b"ALL" | b"KEYS" => local.head == cluster.head && sorted(local) == sorted(cluster),
            b"RANDOMKEY" => is_found(local) && is_found(cluster),
            b"EXEC" => {
                local.head == cluster.head
                    && local.items.len() == self.queued.len()
                    && local.items.len() == cluster.items.len()
                    && self.parts().all(|case| case.is_explained())
            }
            _ => false,
        }
    }

    /// The requests of a transaction with their replies.
    fn parts(&self) -> impl Iterator<Item = Case<'_>> {
        let replies = self.local.items.iter().zip(&self.cluster.items);
        self.queued
            .iter()
            .zip(replies)
            .map(|(words, (local, cluster))| Case {
                words,
                queued: &[],
                watched: &[],
                local,
                cluster,
                ..*self
            })
    }

    fn is_explained(&self) -> bool {
        self.is_same() || self.difference().is_some_and(|one| !one.parts)
    }

    /// The row that explains replies that are not the same.
    pub fn difference(&self) -> Option<&'static Difference> {
        let verb = self.verb();
        DIFFERENCES.iter().find(|difference| {
            let mut commands = difference.commands.iter();
            let is_meant =
                difference.commands.is_empty() || commands.any(|name| name.as_bytes() == verb);
            is_meant && (difference.is_it)(self)
        })
    }

    /// Whether the keys of a request, or those of its transaction, are of several slots.
    fn is_of_several_slots(&self) -> bool {
        let requests = [self.words];
        let more = self.queued.iter().chain(self.watched).map(|words| &**words);
        let keys = requests.into_iter().chain(more).flat_map(|words| {
            let command = command_of(words, self.wire);
            command
                .into_iter()
                .flat_map(|command| command.keys(&words[1..]))
        });
        let mut slots = keys.map(slot_of);
        slots
            .next()
            .is_some_and(|first| slots.any(|slot| slot != first))
    }
}

impl Reply {
    /// Whether it is an error with this code in lines, or with this one in RESP.
    fn is_error_of(&self, line: &str, resp: &str) -> bool {
        let head = String::from_utf8_lossy(&self.head);
        head.starts_with(&format!("ERR {line} ")) || head.starts_with(&format!("-{resp} "))
    }

    /// Whether it is an error, in any dialect.
    pub fn is_error_at_all(&self) -> bool {
        self.is_error() || self.head.starts_with(b"ERR ")
    }

    /// Whether it says that a request will be executed with its transaction.
    pub fn is_queued(&self) -> bool {
        [&b"QUEUED"[..], b"+QUEUED"].contains(&&*self.head)
    }
}

/// The number of a reply that is one.
fn number(reply: &Reply) -> Option<i64> {
    let digits = reply.head.strip_prefix(b"COUNT ");
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    digits.or_else(|| reply.number())
}

/// Whether two numbers are near to each other.
pub fn is_near(local: &Reply, cluster: &Reply, slack: u64) -> bool {
    match (number(local), number(cluster)) {
        (Some(local @ 0..), Some(cluster @ 0..)) => local.abs_diff(cluster) <= slack,
        _ => false,
    }
}

/// Whether it is the value of something.
fn is_found(reply: &Reply) -> bool {
    reply.body.is_some() || reply.head.starts_with(b"VALUE ")
}

/// The items of a listing in the order of their bytes.
fn sorted(reply: &Reply) -> Vec<Vec<u8>> {
    let mut items: Vec<Vec<u8>> = reply.items.iter().map(Reply::bytes).collect();
    items.sort();
    items
}
