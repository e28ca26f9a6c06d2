//! The scenarios: what is done to a cluster under load, and what must be true of it afterwards.
//!
//! In: which front is asked, and for how long. Out: the figures, or why the front failed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::at_work::{Stop, at_work};
use crate::counters::Counters;
use crate::front::{Durability, Front, Kind};
use crate::link::{Link, Outcome};
use crate::redis_cluster::{RedisCluster, SLOTS, slot_of};
use crate::redis_node::{NODE_TIMEOUT, NodeSetup};
use crate::wait::wait_for;
use crate::writers::{Load, Written, key_in};

/// Within this time the front answers, if only with an error.
pub const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where every request to a slot is to fail.
const SHORT_ENGINE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a front may take beyond the timeout of the engine until it says that a request has failed.
const FAILURE_SLACK: Duration = Duration::from_secs(1);
/// What may pass beyond the timeout of a node until writes succeed again: an election, and that the front learns of it.
const FAILOVER_SLACK: Duration = Duration::from_secs(3);
/// The same beyond an election that took longer than that: votes may be split, and then the next one is seconds later.
const LEARN_MAX: Duration = Duration::from_secs(1);
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

/// Slots that are moved, and how often each goes there and back.
const MOVED_SLOTS: usize = 4;
const ROUND_TRIPS: usize = 5;
const LONG_ROUND_TRIPS: usize = 50;

/// How the scenarios are run.
pub struct Setup {
    pub front: Kind,
    /// The server of the clusters, if it is not `redis-server`.
    pub program: Option<PathBuf>,
    /// Longer loads, and more of what is repeated.
    pub is_long: bool,
}

impl Setup {
    /// A cluster.
    pub fn cluster(&self, primaries: usize, replicas_per_primary: usize) -> RedisCluster {
        self.cluster_of(NodeSetup::default(), primaries, replicas_per_primary)
    }

    /// A cluster of nodes that are set up so.
    pub fn cluster_of(
        &self,
        nodes: NodeSetup,
        primaries: usize,
        replicas_per_primary: usize,
    ) -> RedisCluster {
        RedisCluster::start(self.program(), nodes, primaries, replicas_per_primary)
    }

    /// The server of the clusters.
    pub fn program(&self) -> &Path {
        self.program
            .as_deref()
            .unwrap_or_else(|| Path::new("redis-server"))
    }

    /// How long a load lasts before something is done, and after it is over.
    pub fn load_time(&self) -> Duration {
        Duration::from_secs(if self.is_long { 10 } else { 1 })
    }

    /// The front over a cluster.
    pub fn start(&self, cluster: &RedisCluster, durability: Durability) -> Front {
        Front::start(self.front, cluster, durability, ENGINE_TIMEOUT)
    }
}

/// A primary is killed under load.
pub fn primary_killed(setup: &Setup) -> Result<String, String> {
    let mut cluster = setup.cluster(3, REPLICAS);
    let front = setup.start(&cluster, Durability::Replicated);
    let load = short_writes(&front);
    let victim = cluster.primary_of_slot(0);
    let is_victims = slots_of(&cluster, victim);
    let (written, (killed, election)) = load.write_during(is_victims, |progress| {
        thread::sleep(setup.load_time());
        cluster.kill(victim);
        let killed = Instant::now();
        let election = cluster.wait_for_failover(0, victim);
        let before = progress.load(Relaxed);
        wait_for("writes succeed again", || more_than(progress, before));
        thread::sleep(setup.load_time());
        (killed, election)
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
        "{}; {:.2} s to a new primary, {:.2} s to the next success; lost {lost}, after the old primary came back {lost_later}",
        counts(&written),
        election.as_secs_f64(),
        gap.as_secs_f64()
    );
    let gap_max = (NODE_TIMEOUT + FAILOVER_SLACK).max(election + LEARN_MAX);
    let is_well = lost + lost_later == 0 && gap <= gap_max;
    front.verdict(is_well, figures)
}

/// A replica is stalled, long values are written, the primary is killed, and the replica takes over.
pub fn replica_stalled(setup: &Setup) -> Result<String, String> {
    let (front, written, lost) = stall_replica_and_kill_primary(setup, Durability::Replicated);
    front.verdict(lost == 0, format!("{}; lost {lost}", counts(&written)))
}

/// The same where a change is acknowledged before the replicas have it: how much is lost is told, and is no failure.
pub fn replica_stalled_fast(setup: &Setup) -> Result<String, String> {
    let (front, written, lost) = stall_replica_and_kill_primary(setup, Durability::Fast);
    front.verdict(
        true,
        format!("{}; lost {lost}, as may be", counts(&written)),
    )
}

fn stall_replica_and_kill_primary(
    setup: &Setup,
    durability: Durability,
) -> (Front, Written, usize) {
    let mut cluster = setup.cluster(3, 1);
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
    (front, written, lost)
}

/// Slots go from one primary to another and back while clients increment counters in them.
pub fn slots_moved(setup: &Setup) -> Result<String, String> {
    let cluster = setup.cluster(3, 0);
    let front = setup.start(&cluster, Durability::Fast);
    let (home, away) = (
        cluster.primary_of_slot(0),
        cluster.primary_of_slot(SLOTS - 1),
    );
    let is_at_home = slots_of(&cluster, home);
    let tags = (0..MOVED_SLOTS).map(|number| key_in(&format!("moved{number}"), &is_at_home));
    let tags: Vec<String> = tags.collect();
    let counters = Counters::new(&tags);
    let clients = (0..CLIENTS).map(|_| Link::new(front.addr())).collect();
    let work = |mut link: Link, stop: &Stop| {
        while stop.goes_on() {
            counters.increment(&mut link);
        }
    };
    let round_trips = if setup.is_long {
        LONG_ROUND_TRIPS
    } else {
        ROUND_TRIPS
    };
    at_work(clients, work, || {
        for tag in tags.iter().cycle().take(round_trips * tags.len()) {
            let slot = slot_of(tag);
            cluster.move_slot(slot, home, away, || counters.wait_for_some());
            cluster.move_slot(slot, away, home, || counters.wait_for_some());
        }
    });
    let wrong = counters.wrong(&front)?;
    let figures = format!(
        "{} moves of slots; {}; {} wrong counters {}",
        2 * round_trips * tags.len(),
        counters.figures(),
        wrong.len(),
        wrong.join(", ")
    );
    front.verdict(wrong.is_empty() && counters.acknowledged() > 0, figures)
}

/// A primary is stalled until a replica has taken over, and then goes on: it does what was sent to it before it learns that.
pub fn partition(setup: &Setup) -> Result<String, String> {
    let mut cluster = setup.cluster(3, REPLICAS);
    let front = setup.start(&cluster, Durability::Replicated);
    let load = short_writes(&front);
    let victim = cluster.primary_of_slot(0);
    let is_victims = slots_of(&cluster, victim);
    let (written, (stalled, stalled_time)) = load.write_during(is_victims, |progress| {
        thread::sleep(setup.load_time());
        cluster.stall(victim);
        let stalled = Instant::now();
        cluster.wait_for_failover(0, victim);
        cluster.resume(victim);
        let stalled_time = stalled.elapsed();
        wait_for("the old primary follows the new one", || {
            cluster.follows(victim)
        });
        let before = progress.load(Relaxed);
        wait_for("writes succeed again", || more_than(progress, before));
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
    front.verdict(lost == 0 && stalled_time > NODE_TIMEOUT, figures)
}

/// All nodes of a slot are killed: its requests fail soon, and those of other slots do not notice.
pub fn slot_down(setup: &Setup) -> Result<String, String> {
    let mut cluster = setup.cluster(3, 1);
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
            let is_down = is_victims(slot_of(&key));
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
    front.verdict(is_well, figures)
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
