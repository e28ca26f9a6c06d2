//! Histories: the leader is killed and stopped while clients read, put, increment, and compare and set few keys; the checker decides each key.
//!
//! In: how they are run. Out: the figures, or a history that is not linearizable. Servers without the fence must be found out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::askers::{Asker, Seen};
use crate::at_work::{Stop, at_work};
use crate::checker::{End, Operation, State, Verdict, check};
use crate::client::{Client, Habit};
use crate::progress::Progress;
use crate::register::Change;
use crate::servers::{Options, Servers};
use crate::setup::{BETWEEN, Ending, IMPATIENT, Setup};
use crate::stopped::hold;

const CLIENTS: usize = 8;
/// Those that stay at a server that does not answer, and how often they ask it then.
const STAYING: usize = 3;
const STAYING_PATIENCE: Duration = Duration::from_millis(300);
const KEYS: usize = 8;
/// Cycles in which a server without the fence must be found out.
const FINDING_CYCLES: usize = 6;
/// Operations that are shown before the call of one that is impossible, and before its answer.
const SHOWN: usize = 8;

/// What is done to the leader.
#[derive(Clone, Copy)]
enum Hurt {
    Kill,
    Stop,
}

/// What was found in one cycle.
struct Found {
    operations: usize,
    refused: usize,
    gap: Duration,
    /// What is wrong, if anything is.
    fault: Option<String>,
    undecided: usize,
}

/// The leader is killed and stopped alternately, and everything that the clients saw is linearizable.
pub fn histories(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let (mut operations, mut refused, mut undecided) = (0, 0, 0);
    let mut gaps = crate::setup::Gaps(Vec::new());
    for cycle in setup.cycles() {
        let hurt = [Hurt::Kill, Hurt::Stop][cycle % 2];
        let found = one_cycle(&mut servers, cycle, hurt);
        if let Some(fault) = found.fault {
            return Err(format!("cycle {cycle}: {fault}\n{}", servers.logs()));
        }
        operations += found.operations;
        refused += found.refused;
        undecided += found.undecided;
        gaps.0.push(found.gap);
    }
    let figures = format!(
        "{operations} operations, {refused} refused, {undecided} keys undecided; {}; {KEYS} keys in each cycle are linearizable",
        gaps.figures("next success")
    );
    if undecided > 0 || servers.has_panicked() {
        return Err(format!("{figures}\n{}", servers.logs()));
    }
    Ok(figures)
}

/// Servers without the fence: the checker must find a fault.
pub fn without_fence(setup: &Setup) -> Ending {
    let mut servers = setup.servers_with(Options {
        variables: vec![("PYKV_BREAK", "no-fence")],
        ..Options::default()
    });
    let mut operations = 0;
    for cycle in 0..FINDING_CYCLES {
        let found = one_cycle(&mut servers, cycle, Hurt::Stop);
        operations += found.operations;
        if let Some(fault) = found.fault {
            println!("{fault}");
            return Ok(format!(
                "found out in cycle {cycle}, by {operations} operations"
            ));
        }
    }
    Err(format!(
        "nothing was found in {operations} operations\n{}",
        servers.logs()
    ))
}

/// Hurts the leader once under load, and decides what the clients saw of keys that are of this cycle alone.
fn one_cycle(servers: &mut Servers, cycle: usize, hurt: Hurt) -> Found {
    let names: Vec<String> = (0..KEYS).map(|key| format!("h{cycle}-{key}")).collect();
    let (clock, progress) = (Instant::now(), Progress::new(0));
    let asker = |number: usize| {
        let (patience, habit) = if number < STAYING {
            (STAYING_PATIENCE, Habit::Stays)
        } else {
            (IMPATIENT, Habit::Leaves)
        };
        let client = Client::with_habit(servers.addresses(), patience, habit);
        Asker::new(client, number, CLIENTS + 1, clock, &names)
    };
    let askers: Vec<Asker> = (0..CLIENTS).map(asker).collect();
    let reader = asker(CLIENTS);
    let work = |asker: Asker, stop: &Stop| asker.load(stop, &progress);
    let (all, gap) = at_work(askers, work, || {
        progress.wait_for_more(BETWEEN * CLIENTS);
        let leader = servers.wait_for_leader();
        let since = Instant::now();
        match hurt {
            Hurt::Kill => servers.kill(leader),
            Hurt::Stop => servers.stop(leader),
        }
        progress.mark();
        servers.wait_for_other_leader(leader);
        let gap = progress.next_success();
        match hurt {
            Hurt::Kill => servers.restart(leader),
            Hurt::Stop => {
                hold(since);
                servers.wake(leader);
            }
        }
        servers.wait_until_up(leader);
        progress.wait_for_more(BETWEEN * CLIENTS);
        gap
    });
    let refused = all.iter().map(|(_, refused)| refused).sum();
    let mut seen: Vec<Seen> = all.into_iter().flat_map(|(seen, _)| seen).collect();
    seen.extend(reader.read_all());
    let mut found = Found {
        operations: seen.len(),
        refused,
        gap,
        fault: None,
        undecided: 0,
    };
    for (name, history) in names.iter().zip(by_key(seen)) {
        match check(&BTreeSet::from([None]), &history) {
            Verdict::Possible(_) => {}
            Verdict::Undecided => found.undecided += 1,
            Verdict::Impossible { index, states } => {
                found.fault = Some(excerpt(name, &history, index, &states));
            }
        }
    }
    found
}

/// The operations on each key in the order of their calls.
fn by_key(seen: Vec<Seen>) -> Vec<Vec<Operation<Change>>> {
    let mut histories = vec![Vec::new(); KEYS];
    for (key, operation) in seen {
        histories[key].push(operation);
    }
    for history in &mut histories {
        history.sort_by_key(|operation| operation.called);
    }
    histories
}

/// What is shown of a history that is not linearizable: what made the states that were possible, and what went on before the call and before
/// the answer that nothing explains.
fn excerpt(
    name: &str,
    history: &[Operation<Change>],
    failed: usize,
    states: &BTreeSet<State>,
) -> String {
    let answered_at = |operation: &Operation<Change>| match operation.end {
        End::Answered(time) => time,
        End::InFlight | End::Doubtful => Duration::MAX,
    };
    let end = answered_at(&history[failed]);
    let last = history.partition_point(|operation| operation.called < end);
    let is_near = |index: usize| {
        (failed.saturating_sub(SHOWN)..=failed).contains(&index)
            || (last.saturating_sub(SHOWN)..last).contains(&index)
    };
    let is_origin = |operation: &Operation<Change>| {
        let made = operation.action.made();
        made.is_some() && states.contains(&made)
    };
    let mut text = format!("key {name} is not linearizable; possible at that answer: {states:?}");
    for (index, operation) in history.iter().enumerate() {
        if !is_near(index) && !is_origin(operation) {
            continue;
        }
        let mark = if index == failed {
            "  <== impossible"
        } else {
            ""
        };
        let _ = write!(
            text,
            "\n{:?} .. {:?}  client {}  {:?}{mark}",
            operation.called, operation.end, operation.client, operation.action
        );
    }
    text
}
