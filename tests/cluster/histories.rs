//! Histories: a primary is killed or stalled once while clients put, delete and read few keys; the checker decides each key.
//!
//! In: how the scenario is run. Out: the figures, or a history that is not linearizable, or that could not be decided.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use crate::at_work::at_work;
use crate::checker::{End, Operation, Verdict, check};
use crate::excerpt::excerpt;
use crate::faults::{CLIENTS, REPLICAS, Setup};
use crate::front::Durability;
use crate::load::{Client, Seen, key_name};
use crate::redis_cluster::{RedisCluster, slot_of};

const KEYS: usize = 20;

/// A primary is killed once, and everything that the clients saw is linearizable.
pub fn killed(setup: &Setup) -> Result<String, String> {
    hurt(setup, "a primary", RedisCluster::kill, |_, _| {})
}

/// The same for a primary that is stalled until another has taken over: it does not know that when it goes on.
pub fn stalled(setup: &Setup) -> Result<String, String> {
    let (stall, resume) = (RedisCluster::stall, RedisCluster::resume);
    hurt(setup, "a primary, until it was resumed", stall, resume)
}

/// Does something to a primary under load, and something else once another has taken over.
fn hurt(
    setup: &Setup,
    how: &str,
    hurt: fn(&mut RedisCluster, usize),
    heal: fn(&mut RedisCluster, usize),
) -> Result<String, String> {
    let mut cluster = setup.cluster(3, REPLICAS);
    let front = setup.start(&cluster, Durability::Replicated);
    let (clock, addr) = (Instant::now(), front.addr());
    let mut random = fastrand::Rng::new();
    let mut client = |number| Client::new(number, CLIENTS + 1, KEYS, random.fork(), (clock, addr));
    let clients: Vec<Client> = (0..CLIENTS).map(&mut client).collect();
    let reader = client(CLIENTS);
    let slot = slot_of(&key_name(0));
    let (all, (hurt_at, taken_over)) = at_work(clients, Client::load, || {
        thread::sleep(setup.load_time());
        let victim = cluster.primary_of_slot(slot);
        hurt(&mut cluster, victim);
        let hurt_at = clock.elapsed();
        cluster.wait_for_failover(slot, victim);
        heal(&mut cluster, victim);
        let taken_over = clock.elapsed();
        thread::sleep(setup.load_time());
        (hurt_at, taken_over)
    });
    let refused: usize = all.iter().map(|(_, refused)| refused).sum();
    let mut seen: Vec<Seen> = all.into_iter().flat_map(|(seen, _)| seen).collect();
    seen.extend(reader.read_all());
    let count = |is_meant: &dyn Fn(usize, &Operation) -> bool| {
        let meant = seen.iter().filter(|(key, one)| is_meant(*key, one));
        meant.count()
    };
    let in_doubt = count(&|_, one| one.end == End::InFlight);
    let later = count(&|key, one| slot_of(&key_name(key)) == slot && one.called > taken_over);
    let figures = format!(
        "{} operations, {refused} refused, {in_doubt} in doubt, {later} on {} after the failover",
        seen.len(),
        key_name(0)
    );
    let kills = [(hurt_at, how.to_owned())];
    for (key, history) in by_key(seen).iter().enumerate() {
        let name = key_name(key);
        match check(&BTreeSet::from([None]), history) {
            Verdict::Possible(_) => {}
            Verdict::Undecided => {
                return front.verdict(false, format!("{figures}; {name} is undecided"));
            }
            Verdict::Impossible { index, states } => {
                let shown = excerpt(&name, history, index, &states, &kills);
                return front.verdict(false, format!("{figures}\n{shown}"));
            }
        }
    }
    front.verdict(
        later > 0,
        format!("{figures}; {KEYS} keys are linearizable"),
    )
}

/// The operations on each key in the order of their calls.
fn by_key(seen: Vec<Seen>) -> Vec<Vec<Operation>> {
    let mut histories = vec![Vec::new(); KEYS];
    for (key, operation) in seen {
        histories[key].push(operation);
    }
    for history in &mut histories {
        history.sort_by_key(|operation| operation.called);
    }
    histories
}
