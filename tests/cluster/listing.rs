//! Listings while slots move and a primary dies: what stays is listed exactly once.
//!
//! In: how the scenario is run. Out: the figures, or a listing that has a pair twice or not at all. A listing that is refused or aborted
//! with an error says so: it is counted, and is a failure only while slots move.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::at_work::{Stop, at_work};
use crate::faults::Setup;
use crate::front::{Durability, Front, Kind};
use crate::link::{Link, Outcome};
use crate::redis_cluster::{RedisCluster, SLOTS, slot_of};
use crate::server::TestClient;
use crate::wait::wait_for;
use crate::writers::key_in;

/// Pairs that stay, and of these the ones in each slot that moves.
const STAYING: usize = 3_000;
const STAYING_PER_TAG: usize = 30;
/// Keys that come and go, for each client and all slots, and as many for each slot that moves.
const COMING: usize = 60;
const MOVED_SLOTS: usize = 4;
const ROUND_TRIPS: usize = 1;
const LONG_ROUND_TRIPS: usize = 20;
/// Listings that are shown with a failure.
const WRONG_SHOWN: usize = 10;
/// Clients that let pairs come and go.
const CHANGERS: usize = 3;
/// Pause before each step of a move.
const STEP_PAUSE: Duration = Duration::from_millis(20);

/// A way to list the keys that begin with `stay:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Listing {
    All,
    Keys,
    Scan,
    Count,
}

const LISTINGS: [Listing; 4] = [Listing::All, Listing::Keys, Listing::Scan, Listing::Count];

/// Who is at work.
enum Client {
    /// Puts and deletes other keys.
    Changer(usize),
    Lister(Listing),
}

/// What a client has seen.
#[derive(Default)]
struct Seen {
    wrong: Vec<String>,
    changes: usize,
}

/// Pairs are listed while slots go to and fro, and while a primary is killed.
pub fn while_moving(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server is asked".to_owned());
    }
    let mut cluster = setup.cluster(3, 1);
    let front = setup.start(&cluster, Durability::Replicated);
    let (home, away) = (
        cluster.primary_of_slot(0),
        cluster.primary_of_slot(SLOTS - 1),
    );
    let own = cluster.slots_of(home);
    let is_at_home = |slot| own.iter().any(|range| range.contains(&slot));
    let tags: Vec<String> = (0..MOVED_SLOTS)
        .map(|number| key_in(&format!("moved{number}"), is_at_home))
        .collect();
    let staying = staying(&tags);
    store(&front, &staying);
    let round_trips = if setup.is_long {
        LONG_ROUND_TRIPS
    } else {
        ROUND_TRIPS
    };
    let progress = Progress::default();
    let listers = LISTINGS.into_iter().map(Client::Lister);
    let clients = listers.chain((0..CHANGERS).map(Client::Changer)).collect();
    let work = |client: Client, stop: &Stop| match client {
        Client::Changer(number) => change(&front, number, &tags, stop),
        Client::Lister(listing) => list(&front, listing, &staying, &progress, stop),
    };
    let (all, (moving, refused_moving)) = at_work(clients, work, || {
        progress.wait_for_all("all are listed");
        let before: usize = progress.complete().iter().sum();
        for tag in tags.iter().cycle().take(round_trips * tags.len()) {
            let slot = slot_of(tag);
            let step = || thread::sleep(STEP_PAUSE);
            cluster.move_slot(slot, home, away, step);
            cluster.move_slot(slot, away, home, step);
        }
        progress.wait_for_all("all are listed after the moves");
        let moving = progress.complete().iter().sum::<usize>() - before;
        let refused_moving = progress.refused.load(Relaxed);
        kill(&mut cluster, &front, home, &progress);
        (moving, refused_moving)
    });
    let changes: usize = all.iter().map(|seen| seen.changes).sum();
    let mut wrong: Vec<String> = all.into_iter().flat_map(|seen| seen.wrong).collect();
    let (count, complete) = (wrong.len(), progress.complete());
    wrong.truncate(WRONG_SHOWN);
    let figures = format!(
        "{} moves of slots; complete listings by {LISTINGS:?} {complete:?}, {moving} of them during the moves; {refused_moving} refused then, {} in all; {changes} changes of other pairs; {count} wrong {}",
        2 * round_trips * tags.len(),
        progress.refused.load(Relaxed),
        wrong.join("; ")
    );
    let is_well = count + refused_moving == 0 && changes > 0;
    front.verdict(is_well, figures)
}

/// How far the listers have come.
#[derive(Default)]
struct Progress {
    /// Complete listings of each way.
    complete: [AtomicUsize; LISTINGS.len()],
    /// Listings, or pages of them, that were refused or aborted.
    refused: AtomicUsize,
}

impl Progress {
    fn complete(&self) -> Vec<usize> {
        let counts = self.complete.iter();
        counts.map(|count| count.load(Relaxed)).collect()
    }

    /// Waits until there is one more listing of each way.
    fn wait_for_all(&self, what: &str) {
        let before = self.complete();
        wait_for(what, || {
            let now = self.complete();
            if now.iter().zip(&before).all(|(now, before)| now > before) {
                Ok(())
            } else {
                Err(format!("{now:?} after {before:?}"))
            }
        });
    }
}

/// Kills a primary, waits until all is listed again, and lets it come back.
fn kill(cluster: &mut RedisCluster, front: &Front, victim: usize, progress: &Progress) {
    // A change that the replica has comes after all that was moved.
    let mut link = Link::new(front.addr());
    let own = cluster.slots_of(victim);
    let key = key_in("last", |slot| own.iter().any(|range| range.contains(&slot)));
    wait_for("the replica has everything", || {
        match link.ask(&format!("PUT {key} 1")) {
            Outcome::Done(_) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let slot = *own[0].start();
    cluster.kill(victim);
    cluster.wait_for_failover(slot, victim);
    progress.wait_for_all("all are listed after the failover");
    cluster.restart(victim);
    cluster.wait_until_well();
    progress.wait_for_all("all are listed after the old primary has come back");
}

/// The keys that stay: some in each slot that moves, the others anywhere.
fn staying(tags: &[String]) -> Vec<String> {
    let moving = tags
        .iter()
        .flat_map(|tag| (0..STAYING_PER_TAG).map(move |number| format!("stay:{tag}:{number}")));
    let mut keys: Vec<String> = moving.collect();
    let rest = (0..STAYING - keys.len()).map(|number| format!("stay:{number}"));
    keys.extend(rest);
    keys.sort();
    keys
}

fn store(front: &Front, keys: &[String]) {
    let mut client = front.line_connection();
    let packet: String = keys
        .iter()
        .map(|key| format!("PUT {key} {key}\n"))
        .collect();
    client.send_bytes(packet.as_bytes());
    for key in keys {
        assert_eq!(client.reply(), "OK", "PUT {key}");
    }
}

/// Puts and deletes keys, in the slots that move and elsewhere.
fn change(front: &Front, client: usize, tags: &[String], stop: &Stop) -> Seen {
    let mut link = Link::new(front.addr());
    let mut seen = Seen::default();
    while stop.goes_on() {
        let number = fastrand::usize(..COMING);
        let key = match fastrand::usize(..2 * tags.len()) {
            place if place < tags.len() => format!("come:{}:{client}:{number}", tags[place]),
            _ => format!("come:{client}:{number}"),
        };
        let request = if fastrand::bool() {
            format!("PUT {key} {number}")
        } else {
            format!("DEL {key}")
        };
        if let Outcome::Done(_) = link.ask(&request) {
            seen.changes += 1;
        }
    }
    seen
}

/// Lists what stays again and again.
fn list(
    front: &Front,
    listing: Listing,
    staying: &[String],
    progress: &Progress,
    stop: &Stop,
) -> Seen {
    let mut client = front.line_connection();
    let mut seen = Seen::default();
    while stop.goes_on() {
        let found = match listing {
            Listing::All => rows(&mut client, "ALL stay:"),
            Listing::Keys => rows(&mut client, "KEYS stay:"),
            Listing::Scan => walk(&mut client, progress, stop),
            Listing::Count => count(&mut client, staying, &mut seen.wrong),
        };
        let Ok(mut found) = found else {
            progress.refused.fetch_add(1, Relaxed);
            continue;
        };
        progress.complete[listing as usize].fetch_add(1, Relaxed);
        if listing == Listing::Count {
            continue;
        }
        found.sort();
        if found != staying {
            seen.wrong.push(wrong(listing, &found, staying));
        }
    }
    seen
}

/// The keys of a listing, or the error that has ended it.
fn rows(client: &mut TestClient, request: &str) -> Result<Vec<String>, String> {
    let mut rows = client.ask_rows(request);
    let last = rows.pop().unwrap_or_default();
    if !last.starts_with("END ") {
        return Err(last);
    }
    let key = |row: String| {
        let key = row.split('"').nth(1);
        key.expect("a row has a key").to_owned()
    };
    Ok(rows.into_iter().map(key).collect())
}

/// The keys of a walk by SCAN. A page that is refused is asked for again.
fn walk(client: &mut TestClient, progress: &Progress, stop: &Stop) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let opening = client.ask(&format!("SCAN {cursor} MATCH stay:* COUNT 200"));
        if opening.starts_with("ERR ") {
            if stop.goes_on() {
                progress.refused.fetch_add(1, Relaxed);
                continue;
            }
            return Err(opening);
        }
        assert_eq!(opening, "ARRAY 2", "SCAN");
        let word = |line: String| line.split('"').nth(1).expect("a value").to_owned();
        cursor = word(client.reply());
        let count = client.reply();
        let count = count.strip_prefix("ARRAY ").expect("an array of keys");
        let count: usize = count.parse().expect("a number");
        found.extend((0..count).map(|_| word(client.reply())));
        if cursor == "0" {
            return Ok(found);
        }
    }
}

/// Nothing, if the number is told; it must be right.
fn count(
    client: &mut TestClient,
    staying: &[String],
    wrong: &mut Vec<String>,
) -> Result<Vec<String>, String> {
    let reply = client.ask("COUNT stay:");
    if reply.starts_with("ERR ") {
        return Err(reply);
    }
    if reply != format!("COUNT {}", staying.len()) {
        wrong.push(format!("COUNT is answered {reply}"));
    }
    Ok(Vec::new())
}

fn wrong(listing: Listing, found: &[String], staying: &[String]) -> String {
    let twice: Vec<&String> = found
        .windows(2)
        .filter(|two| two[0] == two[1])
        .map(|two| &two[0])
        .collect();
    let missing = staying
        .iter()
        .filter(|key| found.binary_search(key).is_err());
    let missing: Vec<&String> = missing.collect();
    let (twice_count, missing_count) = (twice.len(), missing.len());
    let first = |keys: &[&String]| format!("{:?}", &keys[..keys.len().min(3)]);
    format!(
        "{listing:?}: {} keys, {twice_count} twice {}, {missing_count} missing {}",
        found.len(),
        first(&twice),
        first(&missing)
    )
}
