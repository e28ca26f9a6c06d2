//! Scenario: the leader is stopped for longer than its lease, and goes on without knowing that.
//!
//! In: how they are run. Out: figures, and whether everything is there.

use std::thread;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::probe::{Probe, Wrong, prepare};
use crate::servers::{LEASE, Servers};
use crate::setup::{Ending, IMPATIENT, Setup, look};

/// The leader is stopped within this time after a save has begun, in milliseconds.
const SAVE_MILLIS: u64 = 50;

/// Holds something for two and a half leases since then.
pub fn hold(since: Instant) {
    thread::sleep((LEASE * 5 / 2).saturating_sub(since.elapsed()));
}

/// The leader is stopped for two and a half leases under load, and woken.
pub fn leader_stopped(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let mut wrong = Wrong::default();
    let mut cycle = 0;
    let stop_and_wake = |servers: &mut Servers, progress: &crate::progress::Progress| {
        cycle += 1;
        prepare(servers, cycle);
        let leader = servers.wait_for_leader();
        // While it saves: it must not save what the log did not get.
        let mut saving = Connection::open(servers.addr(leader));
        let is_saving = saving.as_mut().map(|it| it.send("SAVE", IMPATIENT));
        assert_eq!(is_saving, Some(true), "SAVE");
        thread::sleep(Duration::from_millis(fastrand::u64(..SAVE_MILLIS)));
        servers.stop(leader);
        let stopped = Instant::now();
        progress.mark();
        let other = servers.wait_for_other_leader(leader);
        let gap = progress.next_success();
        let probe = Probe::send(servers, leader, other, cycle);
        hold(stopped);
        servers.wake(leader);
        probe.judge(servers, &mut wrong);
        servers.wait_until_up(leader);
        gap
    };
    let (written, gaps) = setup.hurt_with(IMPATIENT, &mut servers, stop_and_wake);
    look(&servers, &written)
        .and(&gaps.figures("next success"))
        .and(&wrong.figures())
        .must(
            wrong.is_none(),
            "the woken leader has said what is not true",
        )
        .ending()
}
