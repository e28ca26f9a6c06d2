//! Listings while slots move and pairs come and go.
//!
//! In: pairs that stay. Out: how many listings there were. Promise: each of them has every pair that stays, once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::at_work::{Stop, at_work};
use crate::faults::Setup;
use crate::front::Durability;
use crate::redis_cluster::{SLOTS, slot_of};
use crate::server::TestClient;
use crate::wait::wait_for;

const STAYING: usize = 2000;
/// Slots that move there and back, and how often all do.
const MOVED: usize = 12;
const LONG_ROUNDS: usize = 20;

/// Lists while slots move.
pub fn listed_while_moving(setup: &Setup) -> Result<String, String> {
    let cluster = setup.cluster(3, 0);
    let front = setup.start(&cluster, Durability::Fast);
    let mut client = front.line_connection();
    for number in 0..STAYING {
        assert_eq!(client.ask(&format!("PUT stay:{number} {number}")), "OK");
    }
    let (home, away) = (
        cluster.primary_of_slot(0),
        cluster.primary_of_slot(SLOTS - 1),
    );
    let at_home = cluster.slots_of(home);
    let keys = (0..STAYING).map(|number| format!("stay:{number}"));
    let slots = keys.map(|key| slot_of(&key));
    let slots = slots.filter(|slot| at_home.iter().any(|range| range.contains(slot)));
    let slots: Vec<u16> = slots.take(MOVED).collect();
    let (listings, wrong) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = |(place, mut client): (usize, TestClient), stop: &Stop| {
        let mut turn = 0;
        while stop.goes_on() {
            turn += 1;
            if place == 0 {
                // Others, which may be listed or not.
                client.ask(&format!("PUT other:{} 1", turn % 300));
                client.ask(&format!("DEL other:{}", (turn + 150) % 300));
                continue;
            }
            let problem = listing(&mut client, turn);
            listings.fetch_add(1, Relaxed);
            wrong
                .lock()
                .expect("no client panics with it")
                .extend(problem);
        }
    };
    let clients = (0..3).map(|place| (place, front.line_connection()));
    let rounds = if setup.is_long { LONG_ROUNDS } else { 1 };
    at_work(clients.collect(), work, || {
        for slot in slots.iter().cycle().take(rounds * slots.len()) {
            let before = listings.load(Relaxed);
            let one_more = || {
                if listings.load(Relaxed) > before {
                    Ok(())
                } else {
                    Err("no listing has ended".to_owned())
                }
            };
            cluster.move_slot(*slot, home, away, || ());
            wait_for("a listing ends", one_more);
            cluster.move_slot(*slot, away, home, || ());
        }
    });
    let wrong = wrong.into_inner().expect("no client panics with it");
    let figures = format!(
        "{} moves of slots; {} listings of {STAYING} pairs that stay; {} wrong {}",
        2 * rounds * slots.len(),
        listings.load(Relaxed),
        wrong.len(),
        wrong.first().map_or("", |first: &String| first)
    );
    front.verdict(wrong.is_empty() && listings.load(Relaxed) > 0, figures)
}

/// Lists the pairs that stay, in one of several ways. Returns what is wrong with it.
fn listing(client: &mut TestClient, turn: usize) -> Option<String> {
    let (command, beginning) = match turn % 3 {
        0 => ("KEYS stay:", "KEY \"stay:"),
        1 => ("ALL stay:", "ITEM \"stay:"),
        _ => {
            let counted = client.ask("COUNT stay:");
            let is_right = counted == format!("COUNT {STAYING}");
            return (!is_right).then(|| format!("COUNT stay: {counted}"));
        }
    };
    let mut rows = client.ask_rows(command);
    let count = rows.iter().filter(|row| row.starts_with(beginning)).count();
    rows.sort();
    rows.dedup();
    let once = rows.iter().filter(|row| row.starts_with(beginning)).count();
    (count != STAYING || once != STAYING)
        .then(|| format!("{command}: {count} rows, {once} of them different"))
}
