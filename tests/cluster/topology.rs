//! What a node says of the nodes of its cluster.
//!
//! In: the reply to `CLUSTER NODES`. Out: a member for each line.

use std::ops::RangeInclusive;

/// A node, as one of them sees it.
pub struct Member {
    /// Its name.
    pub id: String,
    /// Whether it is the node that was asked.
    pub is_myself: bool,
    /// The name of its primary, for a replica.
    pub primary: Option<String>,
    /// The epoch in which it got its slots.
    pub config_epoch: u64,
    /// Whether the node that was asked is connected to it, and has not heard that it has failed.
    pub is_linked: bool,
    /// Its slots.
    pub slots: Vec<RangeInclusive<u16>>,
}

impl Member {
    /// Whether it has a slot.
    pub fn has_slot(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }
}

/// The members that a node shows. Those that are met just now are none yet.
pub fn members(table: &str) -> Vec<Member> {
    table.lines().filter_map(member).collect()
}

/// Name, address, flags, primary, ping, pong, epoch, link, ranges of slots, slots that come or go in brackets.
fn member(line: &str) -> Option<Member> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let flags: Vec<&str> = words.get(2)?.split(',').collect();
    if flags.contains(&"handshake") || flags.contains(&"noaddr") {
        return None;
    }
    let has_failed = flags.contains(&"fail") || flags.contains(&"fail?");
    let slots = words.iter().skip(8).filter_map(|word| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    Some(Member {
        id: words[0].to_owned(),
        is_myself: flags.contains(&"myself"),
        primary: Some(words[3]).filter(|id| *id != "-").map(str::to_owned),
        config_epoch: words.get(6)?.parse().ok()?,
        is_linked: *words.get(7)? == "connected" && !has_failed,
        slots: slots.collect(),
    })
}
