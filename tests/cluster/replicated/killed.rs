//! Scenarios: processes are killed, and started again.
//!
//! In: how they are run. Out: figures, and whether everything is there.

use std::time::{Duration, Instant};

use crate::etcd::ETCDS;
use crate::servers::SERVERS;
use crate::setup::{Ending, Setup, look};

/// What is written while a follower is away, in short and in long runs.
const AWAY: [usize; 2] = [1_000, 20_000];
/// How long etcd is stopped, and then runs, and how often in a cycle.
const ETCD_STOP: Duration = Duration::from_millis(300);
const ETCD_STOPS: usize = 5;

/// The leader is killed under load, and started again once another leads.
pub fn leader_killed(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        let leader = servers.wait_for_leader();
        servers.kill(leader);
        progress.mark();
        let gap = progress.next_success();
        servers.restart(leader);
        servers.wait_until_up(leader);
        gap
    });
    let finding = look(&servers, &written);
    finding.and(&gaps.figures("next success")).ending()
}

/// The leader of etcd is killed under load, and started again.
pub fn etcd_leader_killed(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        let leader = servers.etcd.wait_for_other_leader(ETCDS);
        servers.etcd.kill(leader);
        progress.mark();
        servers.etcd.wait_for_other_leader(leader);
        let gap = progress.next_success();
        servers.etcd.restart(leader);
        servers.etcd.wait_until_well();
        gap
    });
    let finding = look(&servers, &written);
    finding.and(&gaps.figures("next success")).ending()
}

/// All etcd, or one of them, do nothing for a while again and again.
pub fn etcd_slow(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        progress.mark();
        for stop in 0..ETCD_STOPS {
            let all: Vec<usize> = (0..ETCDS).collect();
            let stopped = if stop % 2 == 0 {
                &all[..]
            } else {
                &all[stop % ETCDS..=stop % ETCDS]
            };
            servers.etcd.stop(stopped);
            std::thread::sleep(ETCD_STOP);
            servers.etcd.wake();
            std::thread::sleep(ETCD_STOP);
        }
        progress.next_success();
        progress.silence()
    });
    let finding = look(&servers, &written);
    finding.and(&gaps.figures("longest silence")).ending()
}

/// All servers are killed at the same time, and started again.
pub fn all_killed(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        for server in 0..SERVERS {
            servers.kill(server);
        }
        progress.mark();
        for server in 0..SERVERS {
            servers.restart(server);
        }
        for server in 0..SERVERS {
            servers.wait_until_up(server);
        }
        progress.next_success()
    });
    let finding = look(&servers, &written);
    finding.and(&gaps.figures("next success")).ending()
}

/// A follower is killed, much is written, and it comes back and catches up. It must not be noticed.
pub fn away(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let mut back = Instant::now();
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        let follower = servers.follower();
        progress.mark();
        servers.kill(follower);
        progress.wait_for_more(AWAY[usize::from(setup.is_long)]);
        servers.restart(follower);
        back = Instant::now();
        servers.wait_until_up(follower);
        progress.silence()
    });
    let finding = look(&servers, &written);
    let caught_up = back.elapsed().as_secs_f64();
    finding
        .and(&gaps.figures("longest silence"))
        .and(&format!(
            "all alike at most {caught_up:.1} s after it came back"
        ))
        .must(
            written.unknown == 0,
            "a change is in doubt, though the leader was left alone",
        )
        .must(
            written.refused_otherwise() == 0,
            "a change was refused, though the leader was left alone",
        )
        .ending()
}
