//! Scenarios: etcd has little space; with the log alone, and with what others put there.
//!
//! In: how they are run. Out: figures, and whether everything is there.

use std::thread;
use std::time::Duration;

use crate::servers::{Options, Servers};
use crate::setup::{Ending, Setup, look};
use crate::writers::Load;

/// What etcd may store, how long values are written to it, and how often it must have been filled to show something.
const QUOTA_BYTES: u64 = 16 << 20;
const QUOTA_LOAD: Duration = Duration::from_secs(30);
const QUOTA_TIMES: u64 = 3;
const LONG_VALUE_BYTES: usize = 32 << 10;
/// How long etcd stays full: longer than a change waits before it is in doubt, so that the next ones are refused.
const FULL: Duration = Duration::from_secs(6);

fn servers(setup: &Setup) -> Servers {
    setup.servers_with(Options {
        quota_bytes: Some(QUOTA_BYTES),
        ..Options::default()
    })
}

/// Long values are overwritten while etcd has little space: as the log is trimmed, no change is refused.
pub fn trimmed(setup: &Setup) -> Ending {
    let servers = servers(setup);
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

/// Others fill etcd, and remove later what they have put there: changes are refused meanwhile, and the same leader goes on then.
pub fn full(setup: &Setup) -> Ending {
    let mut servers = servers(setup);
    let mut kept = 0;
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        let leader = servers.wait_for_leader();
        servers.etcd.fill();
        thread::sleep(FULL);
        servers.etcd.make_room();
        progress.mark();
        let gap = progress.next_success();
        kept += usize::from(servers.wait_for_leader() == leader);
        gap
    });
    let refused = written.refused.get("DISK").copied().unwrap_or_default();
    look(&servers, &written)
        .and(&gaps.figures("next success after there was room"))
        .and(&format!("{kept} times the leader was the same"))
        .must(refused > 0, "no change was refused as on a full disk")
        .ending()
}
