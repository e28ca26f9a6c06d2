//! Histories: a primary is killed once while clients put, delete and read few keys; the checker decides each key.
//!
//! In: how the scenario is run. Out: the figures, or a history that is not linearizable, or that could not be decided.

use std::collections::BTreeSet;
use std::thread;
use std::time::Instant;

use crate::at_work::at_work;
use crate::checker::{Operation, Verdict, check};
use crate::excerpt::excerpt;
use crate::faults::{CLIENTS, REPLICAS, Setup};
use crate::front::Durability;
use crate::load::{Client, Seen, key_name};
use crate::redis_cluster::{RedisCluster, slot_of};

const KEYS: usize = 20;

/// A primary is killed once, and everything that the clients saw is linearizable.
pub fn histories(setup: Setup) -> Result<String, String> {
    let mut cluster = RedisCluster::start(3, REPLICAS);
    let front = setup.start(&cluster, Durability::Replicated);
    let (clock, addr) = (Instant::now(), front.addr());
    let mut random = fastrand::Rng::new();
    let mut client = |number| Client::new(number, CLIENTS + 1, KEYS, random.fork(), (clock, addr));
    let clients: Vec<Client> = (0..CLIENTS).map(&mut client).collect();
    let reader = client(CLIENTS);
    let slot = slot_of(&key_name(0));
    let (all, killed) = at_work(clients, Client::load, || {
        thread::sleep(setup.load_time());
        let victim = cluster.primary_of_slot(slot);
        cluster.kill(victim);
        let killed = clock.elapsed();
        cluster.wait_for_failover(slot, victim);
        thread::sleep(setup.load_time());
        killed
    });
    let refused: usize = all.iter().map(|(_, refused)| refused).sum();
    let mut seen: Vec<Seen> = all.into_iter().flat_map(|(seen, _)| seen).collect();
    seen.extend(reader.read_all());
    let is_in_doubt = |(_, one): &&Seen| one.end == crate::checker::End::InFlight;
    let in_doubt = seen.iter().filter(is_in_doubt).count();
    let figures = format!(
        "{} operations, {refused} refused, {in_doubt} in doubt",
        seen.len()
    );
    let kills = [(killed, "a primary".to_owned())];
    for (key, history) in by_key(seen).iter().enumerate() {
        let name = key_name(key);
        match check(&BTreeSet::from([None]), history) {
            Verdict::Possible(_) => {}
            Verdict::Undecided => return Err(format!("{figures}; {name} is undecided")),
            Verdict::Impossible { index, states } => {
                let shown = excerpt(&name, history, index, &states, &kills);
                return Err(format!("{figures}\n{shown}"));
            }
        }
    }
    Ok(format!("{figures}; {KEYS} keys are linearizable"))
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
