//! The scenarios: what is done to a cluster under load, and what must be true of it afterwards.
//!
//! In: which front is asked, and for how long. Out: the figures, or why the front failed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::at_work::at_work;
use crate::front::{Durability, Front, Kind};
use crate::link::{Link, Outcome};
use crate::redis_cluster::{NODE_TIMEOUT, RedisCluster, wait_for};
use crate::writers::{Load, Written, key_in};

/// Within this time the front answers, if only with an error.
pub const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where every request to a slot is to fail.
const SHORT_ENGINE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a front may take beyond the timeout of the engine until it says that a request has failed.
const FAILURE_SLACK: Duration = Duration::from_secs(1);
/// What may pass beyond the timeout of a node until writes succeed again: an election, and that the front learns of it.
const FAILOVER_SLACK: Duration = Duration::from_secs(3);
/// How long requests for other slots may take, 99 of 100.
const OTHERS_P99_MAX: Duration = Duration::from_secs(1);

/// Replicas of each primary: once one has taken over, there must be another that has what it acknowledges.
pub const REPLICAS: usize = 2;
/// Clients of each scenario.
pub const CLIENTS: usize = 8;
const SHORT_VALUE_BYTES: usize = 64;
const LONG_VALUE_BYTES: usize = 32 << 10;
/// How long values go to a primary whose replica is stalled.
const STALLED_LOAD: Duration = Duration::from_millis(1_500);

/// Slots that are moved, the counters in each, and how often each goes there and back.
const MOVED_SLOTS: usize = 4;
const COUNTERS_PER_SLOT: usize = 5;
const ROUND_TRIPS: usize = 5;
const LONG_ROUND_TRIPS: usize = 50;
/// Increments that are waited for in each step of a move, and for how long.
const STEP_INCREMENTS: usize = 10;
const STEP_MAX: Duration = Duration::from_millis(200);

/// How the scenarios are run.
#[derive(Clone, Copy)]
pub struct Setup {
    pub front: Kind,
    /// Longer loads, and more of what is repeated.
    pub is_long: bool,
}

impl Setup {
    /// How long a load lasts before something is done, and after it is over.
    pub fn load_time(self) -> Duration {
        Duration::from_secs(if self.is_long { 10 } else { 1 })
    }

    pub fn start(self, cluster: &RedisCluster, durability: Durability) -> Front {
        Front::start(self.front, cluster, durability, ENGINE_TIMEOUT)
    }
}

/// A primary is killed under load.
pub fn primary_killed(setup: Setup) -> Result<String, String> {
    let mut cluster = RedisCluster::start(3, REPLICAS);
    let front = setup.start(&cluster, Durability::Replicated);
    let load = short_writes(&front);
    let victim = cluster.primary_of_slot(0);
    let is_victims = slots_of(&cluster, victim);
    let (written, killed) = load.write_during(is_victims, |progress| {
        thread::sleep(setup.load_time());
        cluster.kill(victim);
        let killed = Instant::now();
        cluster.wait_for_failover(0, victim);
        let before = progress.load(Relaxed);
        wait_for("writes succeed again", || more_than(progress, before));
        thread::sleep(setup.load_time());
        killed
    });
    let lost = load.lost(&written);
    // It comes back with nothing, and takes what its successor has.
    cluster.restart(victim);
    cluster.wait_until_well();
    let lost_later = load.lost(&written);
    let gap = written
        .success_after(killed)
        .ok_or("no write succeeded after the kill")?;
    let figures = format!(
        "{}; {:.2} s to the next success; lost {lost}, after the old primary came back {lost_later}",
        counts(&written),
        gap.as_secs_f64()
    );
    let is_well = lost + lost_later == 0 && gap <= NODE_TIMEOUT + FAILOVER_SLACK;
    verdict(is_well, figures)
}

/// A replica is stalled, long values are written, the primary is killed, and the replica takes over.
pub fn replica_stalled(setup: Setup) -> Result<String, String> {
    let (written, lost) = stall_replica_and_kill_primary(setup, Durability::Replicated);
    verdict(lost == 0, format!("{}; lost {lost}", counts(&written)))
}

/// The same where a change is acknowledged before the replicas have it: how much is lost is told, and is no failure.
pub fn replica_stalled_fast(setup: Setup) -> Result<String, String> {
    let (written, lost) = stall_replica_and_kill_primary(setup, Durability::Fast);
    Ok(format!("{}; lost {lost}, as may be", counts(&written)))
}

fn stall_replica_and_kill_primary(setup: Setup, durability: Durability) -> (Written, usize) {
    let mut cluster = RedisCluster::start(3, 1);
    let front = setup.start(&cluster, durability);
    let load = Load {
        value_bytes: LONG_VALUE_BYTES,
        ..short_writes(&front)
    };
    let victim = cluster.primary_of_slot(0);
    let replica = cluster.replicas_of(victim)[0];
    let is_victims = slots_of(&cluster, victim);
    let (written, ()) = load.write_during(is_victims, |progress| {
        wait_for("some writes are acknowledged", || more_than(progress, 100));
        cluster.stall(replica);
        thread::sleep(STALLED_LOAD);
        cluster.kill(victim);
        cluster.resume(replica);
        cluster.wait_for_failover(0, victim);
        // Nothing is replicated while the new primary is alone.
        cluster.restart(victim);
        let before = progress.load(Relaxed);
        wait_for("writes succeed again", || more_than(progress, before));
    });
    let lost = load.lost(&written);
    (written, lost)
}

/// Slots go from one primary to another and back while clients increment counters in them.
pub fn slots_moved(setup: Setup) -> Result<String, String> {
    let cluster = RedisCluster::start(3, 0);
    let front = setup.start(&cluster, Durability::Fast);
    let home = cluster.primary_of_slot(0);
    let away = 1 - home.min(1);
    let is_at_home = slots_of(&cluster, home);
    let tags = (0..MOVED_SLOTS).map(|slot| key_in(&format!("moved{slot}"), &is_at_home));
    let tags: Vec<String> = tags.collect();
    let counters = tags.iter().flat_map(|tag| {
        let name = move |number| format!("{tag}:{number}");
        (0..COUNTERS_PER_SLOT).map(name)
    });
    let counters: Vec<Counter> = counters.map(Counter::new).collect();
    let round_trips = if setup.is_long {
        LONG_ROUND_TRIPS
    } else {
        ROUND_TRIPS
    };
    let total = || {
        counters
            .iter()
            .map(|counter| counter.acknowledged.load(Relaxed))
            .sum()
    };
    let let_clients_work = || {
        let (started, before): (Instant, usize) = (Instant::now(), total());
        while total() < before + STEP_INCREMENTS && started.elapsed() < STEP_MAX {
            thread::yield_now();
        }
    };
    let ((), moves) = {
        let clients = (0..CLIENTS).map(|_| Link::new(front.addr())).collect();
        let (_, moves) = at_work(
            clients,
            |mut link: Link, stop| {
                while stop.goes_on() {
                    let counter = &counters[fastrand::usize(..counters.len())];
                    counter.increment(&mut link);
                }
            },
            || {
                let mut moves = 0;
                for _ in 0..round_trips {
                    for tag in &tags {
                        let slot = crate::redis_cluster::slot_of(tag);
                        cluster.move_slot(slot, home, away, let_clients_work);
                        let_clients_work();
                        cluster.move_slot(slot, away, home, let_clients_work);
                        moves += 2;
                    }
                }
                moves
            },
        );
        ((), moves)
    };
    let wrong = wrong_counters(&front, &counters)?;
    let sum = |number: fn(&Counter) -> &AtomicUsize| -> usize {
        counters
            .iter()
            .map(|counter| number(counter).load(Relaxed))
            .sum()
    };
    let figures = format!(
        "{moves} moves of slots; increments: {} sent, {} acknowledged, {} refused; wrong counters: {}",
        sum(|counter| &counter.sent),
        sum(|counter| &counter.acknowledged),
        sum(|counter| &counter.refused),
        if wrong.is_empty() {
            "none".to_owned()
        } else {
            wrong.join(", ")
        }
    );
    verdict(wrong.is_empty() && total() > 0, figures)
}

/// A key that is incremented, and how often.
struct Counter {
    key: String,
    sent: AtomicUsize,
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
}

impl Counter {
    fn new(key: String) -> Self {
        Self {
            key,
            sent: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    fn increment(&self, link: &mut Link) {
        self.sent.fetch_add(1, Relaxed);
        let counted = match link.ask(&format!("INCR {}", self.key)) {
            Outcome::Done(_) => &self.acknowledged,
            Outcome::NotDone(_) => &self.refused,
            Outcome::Unknown => return,
        };
        counted.fetch_add(1, Relaxed);
    }

    /// Whether it can have this value: what was refused was not done, and of the rest all that was acknowledged.
    fn can_be(&self, value: usize) -> bool {
        let [sent, acknowledged, refused] =
            [&self.sent, &self.acknowledged, &self.refused].map(|number| number.load(Relaxed));
        (acknowledged..=sent - refused).contains(&value)
    }
}

/// The counters that have a value that they cannot have, in any dialect.
fn wrong_counters(front: &Front, counters: &[Counter]) -> Result<Vec<String>, String> {
    let mut link = front.line_connection();
    let mut redis = front.redis_connection();
    let mut wrong = Vec::new();
    for counter in counters {
        let reply = link.ask(&format!("GET {}", counter.key));
        let value = reply
            .strip_prefix("VALUE \"")
            .and_then(|rest| rest.strip_suffix('"'));
        let value = value.map_or(0, |digits| digits.parse().unwrap_or(usize::MAX));
        let other = match &mut redis {
            Some(link) => {
                let other: Option<usize> = redis::cmd("GET")
                    .arg(&counter.key)
                    .query(link)
                    .map_err(|error| error.to_string())?;
                other.unwrap_or(0)
            }
            None => value,
        };
        if !counter.can_be(value) || other != value {
            let acknowledged = counter.acknowledged.load(Relaxed);
            let key = &counter.key;
            wrong.push(format!(
                "{key} is {reply}, in RESP {other}, {acknowledged} acknowledged"
            ));
        }
    }
    Ok(wrong)
}

/// A primary is stalled until a replica has taken over, and then goes on.
pub fn partition(setup: Setup) -> Result<String, String> {
    let mut cluster = RedisCluster::start(3, REPLICAS);
    let front = setup.start(&cluster, Durability::Replicated);
    let load = short_writes(&front);
    let victim = cluster.primary_of_slot(0);
    let is_victims = slots_of(&cluster, victim);
    let (written, (stalled, stalled_time)) = load.write_during(is_victims, |progress| {
        thread::sleep(setup.load_time());
        cluster.stall(victim);
        let stalled = Instant::now();
        cluster.wait_for_failover(0, victim);
        let before = progress.load(Relaxed);
        wait_for("writes succeed again", || more_than(progress, before));
        let stalled_time = stalled.elapsed();
        cluster.resume(victim);
        wait_for("the old primary follows the new one", || {
            let info = cluster.info(victim, "replication");
            let follows = info.contains("role:slave") && info.contains("master_link_status:up");
            if follows { Ok(()) } else { Err(info) }
        });
        thread::sleep(setup.load_time());
        (stalled, stalled_time)
    });
    let lost = load.lost(&written);
    let gap = written
        .success_after(stalled)
        .ok_or("no write succeeded after the stall")?;
    let figures = format!(
        "{}; stalled for {:.2} s; {:.2} s to the next success; lost {lost}",
        counts(&written),
        stalled_time.as_secs_f64(),
        gap.as_secs_f64()
    );
    verdict(lost == 0 && stalled_time > NODE_TIMEOUT, figures)
}

/// All nodes of a slot are killed: its requests fail soon, and those of other slots do not notice.
pub fn slot_down(setup: Setup) -> Result<String, String> {
    let mut cluster = RedisCluster::start(3, 1);
    let durability = Durability::Replicated;
    let front = Front::start(setup.front, &cluster, durability, SHORT_ENGINE_TIMEOUT);
    let victim = cluster.primary_of_slot(0);
    let is_victims = slots_of(&cluster, victim);
    // Half of the clients ask for slots that are there.
    let key = |client: usize| {
        key_in(&format!("c{client}"), |slot| {
            is_victims(slot) == client.is_multiple_of(2)
        })
    };
    let clients = (0..CLIENTS).map(|client| (key(client), Link::new(front.addr())));
    let clients: Vec<(String, Link)> = clients.collect();
    let mut replicas = cluster.replicas_of(victim);
    replicas.push(victim);
    for node in replicas {
        cluster.kill(node);
    }
    let failed = AtomicUsize::new(0);
    let (all, ()) = at_work(
        clients,
        |(key, mut link), stop| {
            let is_down = is_victims(crate::redis_cluster::slot_of(&key));
            let mut seen = Vec::new();
            for number in 0.. {
                if !stop.goes_on() {
                    break;
                }
                let asked = Instant::now();
                let line = [format!("PUT {key} 1"), format!("GET {key}")];
                let outcome = link.ask(&line[number % 2]);
                let is_done = matches!(outcome, Outcome::Done(_));
                failed.fetch_add(usize::from(is_down), Relaxed);
                seen.push((is_down, is_done, asked.elapsed()));
            }
            seen
        },
        || {
            let expected = CLIENTS / 2 * if setup.is_long { 10 } else { 2 };
            wait_for("requests for the slot fail", || {
                more_than(&failed, expected)
            });
        },
    );
    let seen: Vec<(bool, bool, Duration)> = all.into_iter().flatten().collect();
    let times = |is_meant: fn(bool, bool) -> bool| {
        let meant = seen
            .iter()
            .filter(|(is_down, is_done, _)| is_meant(*is_down, *is_done));
        let mut times: Vec<Duration> = meant.map(|(_, _, time)| *time).collect();
        times.sort_unstable();
        times
    };
    let failures = times(|is_down, is_done| is_down && !is_done);
    let others = times(|is_down, is_done| !is_down && is_done);
    let strange = seen.len() - failures.len() - others.len();
    let slowest = failures.last().copied().unwrap_or(Duration::MAX);
    let others_p99 = others
        .get(others.len() * 99 / 100)
        .copied()
        .unwrap_or(Duration::MAX);
    let figures = format!(
        "{} failures, the slowest after {slowest:.2?}; {} requests for other slots, p99 {others_p99:.2?}; {strange} that went otherwise",
        failures.len(),
        others.len(),
    );
    let is_well = strange == 0
        && slowest <= SHORT_ENGINE_TIMEOUT + FAILURE_SLACK
        && others_p99 <= OTHERS_P99_MAX;
    verdict(is_well, figures)
}

fn short_writes(front: &Front) -> Load {
    Load {
        addr: front.addr(),
        writers: CLIENTS,
        value_bytes: SHORT_VALUE_BYTES,
    }
}

/// Whether a slot is at a primary now.
fn slots_of(cluster: &RedisCluster, node: usize) -> impl Fn(u16) -> bool + Sync + use<> {
    let slots = cluster.slots_of(node);
    move |slot| slots.iter().any(|range| range.contains(&slot))
}

fn more_than(progress: &AtomicUsize, before: usize) -> Result<(), String> {
    let now = progress.load(Relaxed);
    if now > before {
        Ok(())
    } else {
        Err(format!("only {now} so far"))
    }
}

fn counts(written: &Written) -> String {
    format!(
        "{} acknowledged, {} refused, {} in doubt",
        written.acknowledged.len(),
        written.refused,
        written.unknown
    )
}

/// The figures, as a success or a failure.
pub fn verdict(is_well: bool, figures: String) -> Result<String, String> {
    if is_well { Ok(figures) } else { Err(figures) }
}
