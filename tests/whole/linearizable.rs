//! What the checker of `histories/` says of histories that were written by hand, good and bad.
//!
//! Goal: a violation that happens is found, and nothing else is taken for one. Method: each test is a drawing in numbers:
//! client, time of the call, time of the answer, what was done and answered.

#[path = "histories/checker.rs"]
mod checker;

use std::collections::BTreeSet;
use std::time::Duration;

use checker::Action::{Delete, Exists, Get, Put};
use checker::{Action, End, Operation, State, Verdict, check};

/// One that was answered.
fn seen(client: usize, called: u64, answered: u64, action: Action) -> Operation {
    Operation {
        client,
        called: Duration::from_millis(called),
        end: End::Answered(Duration::from_millis(answered)),
        action,
    }
}

/// One that was not, and so ended.
fn open(client: usize, called: u64, end: End, action: Action) -> Operation {
    Operation {
        end,
        ..seen(client, called, called, action)
    }
}

/// Stretch after stretch of a key that is not there at first; what is possible in the end, if anything is.
fn decide(stretches: &[&[Operation]]) -> Option<Vec<State>> {
    let mut states = BTreeSet::from([None]);
    for stretch in stretches {
        match check(&states, stretch) {
            Verdict::Possible(after) => states = after,
            Verdict::Impossible { .. } => return None,
            Verdict::Undecided => panic!("a history by hand is decided"),
        }
    }
    Some(states.into_iter().collect())
}

#[test]
fn one_after_the_other_is_linearizable() {
    let history = [
        seen(0, 0, 1, Get(None)),
        seen(0, 2, 3, Put(1)),
        seen(1, 4, 5, Get(Some(1))),
        seen(1, 6, 7, Exists(true)),
        seen(0, 8, 9, Delete(Some(true))),
        seen(1, 10, 11, Delete(Some(false))),
        seen(1, 12, 13, Exists(false)),
        seen(0, 14, 15, Put(2)),
        seen(0, 16, 17, Delete(None)),
    ];
    assert_eq!(decide(&[&history]), Some(vec![None]));
}

#[test]
fn writes_that_overlap_take_effect_in_any_order() {
    for last in [1, 2] {
        let history = [
            seen(0, 0, 10, Put(1)),
            seen(1, 0, 10, Put(2)),
            seen(2, 11, 12, Get(Some(last))),
        ];
        assert_eq!(decide(&[&history]), Some(vec![Some(last)]));
    }
    // The reads want the reverse of the order of the calls.
    let history = [
        seen(0, 0, 20, Put(1)),
        seen(1, 1, 20, Put(2)),
        seen(2, 2, 20, Put(3)),
        seen(3, 4, 5, Get(Some(3))),
        seen(3, 6, 7, Get(Some(2))),
        seen(3, 8, 9, Get(Some(1))),
    ];
    assert_eq!(decide(&[&history]), Some(vec![Some(1)]));
}

#[test]
fn a_lost_write_is_found() {
    let history = [
        seen(0, 0, 1, Put(1)),
        seen(0, 2, 3, Put(2)),
        seen(1, 4, 5, Get(Some(1))),
    ];
    assert_eq!(decide(&[&history]), None);
    // The same over a kill.
    assert_eq!(decide(&[&history[..2], &history[2..]]), None);
    assert_eq!(decide(&[&history[..2], &[seen(1, 4, 5, Get(None))]]), None);
}

#[test]
fn a_stale_read_is_found() {
    let history = [
        seen(0, 0, 10, Put(1)),
        seen(1, 2, 3, Get(Some(1))),
        seen(2, 4, 5, Get(None)),
    ];
    assert_eq!(decide(&[&history]), None);
    let overlapping = [
        seen(0, 0, 10, Put(1)),
        seen(1, 2, 5, Get(Some(1))),
        seen(2, 4, 6, Get(None)),
    ];
    assert_eq!(decide(&[&overlapping]), Some(vec![Some(1)]));
}

#[test]
fn a_resurrected_delete_is_found() {
    let history = [
        seen(0, 0, 1, Put(1)),
        seen(0, 2, 3, Delete(Some(true))),
        seen(1, 4, 5, Get(Some(1))),
    ];
    assert_eq!(decide(&[&history]), None);
    assert_eq!(decide(&[&history[..2], &history[2..]]), None);
    assert_eq!(
        decide(&[&history[..2], &[seen(1, 4, 5, Exists(true))]]),
        None
    );
}

#[test]
fn a_write_out_of_nowhere_is_found() {
    assert_eq!(decide(&[&[seen(0, 0, 1, Get(Some(7)))]]), None);
    // Before it was called is nowhere, too.
    let history = [seen(0, 0, 1, Get(Some(1))), seen(1, 2, 3, Put(1))];
    assert_eq!(decide(&[&history]), None);
}

#[test]
fn one_key_cannot_be_deleted_twice() {
    let history = [
        seen(0, 0, 1, Put(1)),
        seen(1, 2, 5, Delete(Some(true))),
        seen(2, 2, 5, Delete(Some(true))),
    ];
    assert_eq!(decide(&[&history]), None);
}

#[test]
fn what_was_in_flight_at_a_kill_took_effect_or_never() {
    let before = [
        seen(0, 0, 1, Put(1)),
        open(1, 2, End::InFlight, Put(2)),
        open(2, 2, End::InFlight, Delete(None)),
    ];
    assert_eq!(decide(&[&before]), Some(vec![None, Some(1), Some(2)]));
    for state in [None, Some(1), Some(2)] {
        let reads = [seen(0, 9, 10, Get(state)), seen(0, 11, 12, Get(state))];
        assert_eq!(decide(&[&before, &reads]), Some(vec![state]));
    }
}

#[test]
fn what_was_in_flight_cannot_be_seen_and_then_be_gone() {
    let before = [
        seen(0, 0, 1, Put(1)),
        open(1, 2, End::InFlight, Put(2)),
        seen(0, 3, 4, Get(Some(2))),
    ];
    assert_eq!(decide(&[&before]), Some(vec![Some(2)]));
    assert_eq!(
        decide(&[&before, &[seen(0, 9, 10, Get(Some(1)))]]),
        None,
        "seen before the kill"
    );
    let reads = [seen(0, 9, 10, Get(Some(2))), seen(0, 11, 12, Get(Some(1)))];
    assert_eq!(decide(&[&before[..2], &reads]), None, "seen after the kill");
    let late = [seen(0, 9, 10, Get(Some(1))), seen(0, 11, 12, Get(Some(2)))];
    assert_eq!(decide(&[&before[..2], &late]), None, "after it was not");
}

#[test]
fn the_requests_of_one_client_take_effect_in_their_order() {
    let batch = [seen(0, 0, 10, Put(1)), seen(0, 0, 10, Put(2))];
    assert_eq!(decide(&[&batch]), Some(vec![Some(2)]));
    // Killed after the first: the second alone is impossible, and so is the third without the second.
    let batch = [
        seen(0, 0, 5, Put(1)),
        open(0, 0, End::InFlight, Put(2)),
        open(0, 0, End::InFlight, Delete(None)),
    ];
    assert_eq!(decide(&[&batch]), Some(vec![None, Some(1), Some(2)]));
    let swapped = [
        seen(0, 0, 10, Put(1)),
        seen(0, 0, 10, Put(2)),
        seen(1, 5, 6, Get(Some(2))),
        seen(1, 7, 8, Get(Some(1))),
    ];
    assert_eq!(decide(&[&swapped]), None);
}

#[test]
fn what_the_disk_refused_may_be_seen_and_taken_back_by_a_start_but_not_before() {
    let refused = [
        seen(0, 0, 1, Put(1)),
        open(0, 2, End::Doubtful, Put(2)),
        seen(1, 5, 6, Get(Some(1))),
        seen(1, 7, 8, Get(Some(2))),
    ];
    for state in [Some(1), Some(2)] {
        assert_eq!(
            decide(&[&refused, &[seen(0, 9, 10, Get(state))]]),
            Some(vec![state])
        );
    }
    let back = [
        refused[0],
        refused[1],
        refused[3],
        seen(1, 9, 10, Get(Some(1))),
    ];
    assert_eq!(decide(&[&back]), None);
}

#[test]
fn a_search_that_is_too_long_is_undecided() {
    let puts: Vec<Operation> = (0..40)
        .map(|client| seen(client, 0, 1_000, Put(client as u64)))
        .collect();
    assert_eq!(check(&BTreeSet::from([None]), &puts), Verdict::Undecided);
    let many: Vec<Operation> = (0..65)
        .map(|client| seen(client, 0, 1_000, Get(None)))
        .collect();
    assert_eq!(check(&BTreeSet::from([None]), &many), Verdict::Undecided);
}

#[test]
fn the_answer_that_nothing_explains_is_named_with_what_was_possible() {
    let history = [
        seen(0, 0, 1, Put(1)),
        open(1, 2, End::InFlight, Put(2)),
        seen(2, 3, 4, Get(Some(3))),
        seen(2, 5, 6, Get(Some(1))),
    ];
    assert_eq!(
        check(&BTreeSet::from([None]), &history),
        Verdict::Impossible {
            index: 2,
            states: BTreeSet::from([Some(1), Some(2)])
        }
    );
}
