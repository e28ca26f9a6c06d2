//! Scenarios: the leader is stopped for longer than its lease, and goes on without knowing that; and etcd has little space.
//!
//! In: how they are run. Out: figures, and whether everything is there.

use std::thread;
use std::time::{Duration, Instant};

use crate::probe::{Probe, Wrong, prepare};
use crate::servers::{LEASE, Options, Servers};
use crate::setup::{Ending, IMPATIENT, Setup, look};
use crate::writers::Load;

/// What etcd may store, how long values are written to it, and how often it must have been filled to show something.
const QUOTA_BYTES: u64 = 16 << 20;
const QUOTA_LOAD: Duration = Duration::from_secs(30);
const QUOTA_TIMES: u64 = 3;
const LONG_VALUE_BYTES: usize = 32 << 10;

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

/// Long values are overwritten while etcd has little space: as the log is trimmed, no change is refused.
pub fn quota(setup: &Setup) -> Ending {
    let servers = setup.servers_with(Options {
        quota_bytes: Some(QUOTA_BYTES),
        ..Options::default()
    });
    let progress = setup.progress();
    progress.set_value_bytes(LONG_VALUE_BYTES);
    let load = Load {
        addresses: servers.addresses(),
        reply_max: Duration::from_secs(10),
    };
    let (written, ()) = load.during(&progress, || {
        thread::sleep(setup.load_time(QUOTA_LOAD));
    });
    let bytes = (written.acknowledged * LONG_VALUE_BYTES) as u64;
    let stored = servers.etcd.stored_bytes();
    let figures = format!(
        "{} MiB written, {} MiB in etcd of {} MiB; longest silence {:.2} s",
        bytes >> 20,
        stored >> 20,
        QUOTA_BYTES >> 20,
        progress.silence().as_secs_f64()
    );
    // Where etcd is full, nobody may lead, and nothing can be read.
    if written.refused_otherwise() + written.unknown > 0 {
        return Err(format!(
            "{figures}; refused: {:?}, {} unknown\n{}",
            written.refused,
            written.unknown,
            servers.logs()
        ));
    }
    look(&servers, &written)
        .and(&figures)
        .must(
            bytes > QUOTA_TIMES * QUOTA_BYTES,
            "too little was written to show anything",
        )
        .ending()
}
