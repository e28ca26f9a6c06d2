//! The harness itself: the checker, etcd, and the network, without any server.
//!
//! In: nothing. Out: that each does what the scenarios rely on.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::checker::{End, Operation, Verdict, check};
use crate::etcd::{ETCDS, Etcd};
use crate::network::{Net, Network, Who};
use crate::place::Place;
use crate::register::Change::{self, CompareAndSet, Get, Increment, Put};
use crate::setup::{Ending, Setup};

/// What one client did one after the other, and whether it is linearizable.
const HISTORIES: &[(&[Change], bool)] = &[
    (
        &[Put(7), Get(Some(7)), Increment(Some(8)), Get(Some(8))],
        true,
    ),
    (&[Get(None), Increment(Some(1)), Increment(Some(2))], true),
    (
        &[Put(7), CompareAndSet(7, 9, Some(true)), Get(Some(9))],
        true,
    ),
    (
        &[Put(7), CompareAndSet(8, 9, Some(false)), Get(Some(7))],
        true,
    ),
    // A read that is stale, increments that are lost or done twice, and swaps that cannot have been.
    (&[Put(7), Put(8), Get(Some(7))], false),
    (&[Put(7), Increment(Some(8)), Increment(Some(8))], false),
    (&[Put(7), Increment(Some(9))], false),
    (&[Put(7), CompareAndSet(8, 9, Some(true))], false),
    (&[Put(7), CompareAndSet(7, 9, Some(false))], false),
];

/// The checker tells histories that can be from those that cannot.
pub fn checker(_: &Setup) -> Ending {
    for (changes, is_right) in HISTORIES {
        let history: Vec<_> = (0..)
            .zip(*changes)
            .map(|(at, change)| answered(at, *change))
            .collect();
        let verdict = check(&BTreeSet::from([None]), &history);
        if matches!(verdict, Verdict::Possible(_)) != *is_right {
            return Err(format!("{changes:?}: {verdict:?}"));
        }
    }
    // One in doubt may be done late, and once.
    let mut late = vec![
        answered(0, Put(7)),
        Operation {
            client: 1,
            called: millis(11),
            end: End::InFlight,
            action: Increment(None),
        },
        answered(2, Get(Some(7))),
        answered(3, Get(Some(8))),
    ];
    let is_possible = |history: &[Operation<Change>]| {
        let verdict = check(&BTreeSet::from([None]), history);
        matches!(verdict, Verdict::Possible(_))
    };
    let once = is_possible(&late);
    late.push(answered(4, Get(Some(9))));
    if once && !is_possible(&late) {
        return Ok(format!("{} histories are told apart", HISTORIES.len() + 2));
    }
    Err("a change in doubt is not decided right".to_owned())
}

/// Etcd goes on without one of its three, which comes back.
pub fn etcd(_: &Setup) -> Ending {
    let places: Vec<Place> = (0..ETCDS).map(|_| Place::here()).collect();
    let mut etcd = Etcd::start(&places, Some(16 << 20), &[]);
    let leader = etcd.wait_for_other_leader(ETCDS);
    etcd.kill(leader);
    let other = etcd.wait_for_other_leader(leader);
    etcd.restart(leader);
    etcd.wait_until_well();
    etcd.stop(&[other]);
    let third = etcd.wait_for_other_leader(other);
    etcd.wake();
    etcd.wait_until_well();
    Ok(format!(
        "etcd {leader} led, then {other}, then {third}; {} bytes are stored",
        etcd.stored_bytes()
    ))
}

/// An etcd that is cut off leads no more, and comes back.
pub fn network(_: &Setup) -> Ending {
    let Some(network) = Network::try_new(1) else {
        return Ok("skipped".to_owned());
    };
    let places: Vec<Place> = (0..ETCDS)
        .map(|etcd| network.place(Who::Etcd(etcd)))
        .collect();
    let etcd = Etcd::start(&places, None, &[]);
    let leader = etcd.wait_for_other_leader(ETCDS);
    network.cut(Who::Etcd(leader), Net::Inner);
    let other = etcd.wait_for_other_leader(leader);
    network.heal(Who::Etcd(leader), Net::Inner);
    etcd.wait_until_well();
    network.part(Who::Etcd(other));
    let third = etcd.wait_for_other_leader(other);
    network.heal(Who::Etcd(other), Net::Inner);
    etcd.wait_until_well();
    Ok(format!(
        "etcd {leader} led until it was cut off, then {other}, then {third}"
    ))
}

fn answered(at: u64, action: Change) -> Operation<Change> {
    Operation {
        client: 0,
        called: millis(at * 10),
        end: End::Answered(millis(at * 10 + 5)),
        action,
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
