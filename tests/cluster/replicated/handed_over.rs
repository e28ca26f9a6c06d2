//! Scenarios: the leader is told to go, and servers join. No change may fail, and there is hardly a gap.
//!
//! In: how they are run. Out: figures, and whether everything is there.

use std::time::{Duration, Instant};

use crate::servers::{SERVERS, Servers};
use crate::setup::{BETWEEN, Ending, Setup, look};

/// How long nothing may be acknowledged while the leader changes on purpose: less than a lease, as nobody waits for its end.
const HANDOVER_MAX: Duration = Duration::from_millis(1_500);

/// The leader is told to hand over, under load.
pub fn stepdown(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        let leader = servers.wait_for_leader();
        progress.mark();
        let reply = servers.ask(leader, "STEPDOWN");
        assert_eq!(reply.as_deref(), Some("OK"), "STEPDOWN");
        servers.wait_for_other_leader(leader);
        progress.mark_again();
        progress.next_success();
        progress.silence()
    });
    let members = members(&servers);
    look(&servers, &written)
        .and(&gaps.figures("longest silence"))
        .must(gaps.max() <= HANDOVER_MAX, "a handover took too long")
        .must(written.unknown == 0, "a change is in doubt")
        .must(
            written.refused_otherwise() == 0,
            "a change was refused for another reason than NOT_LEADER",
        )
        .must(members >= SERVERS, "MEMBERS does not name all servers")
        .ending()
}

/// Each server in turn is ended by SIGTERM under load, and started again.
pub fn rolling(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        let mut longest = Duration::ZERO;
        for server in 0..SERVERS {
            progress.mark();
            servers.end(server);
            servers.wait_for_leader();
            progress.mark_again();
            progress.next_success();
            servers.restart(server);
            servers.wait_until_up(server);
            progress.wait_for_more(BETWEEN / 2);
            longest = longest.max(progress.silence());
        }
        longest
    });
    look(&servers, &written)
        .and(&gaps.figures("longest silence"))
        .must(gaps.max() <= HANDOVER_MAX, "a handover took too long")
        .must(
            written.refused_otherwise() == 0,
            "a change was refused for another reason than NOT_LEADER",
        )
        .ending()
}

/// A server with an empty folder joins under load, and gets everything: it can take over from all others.
pub fn new_member(setup: &Setup) -> Ending {
    let mut servers = setup.servers();
    let newest = SERVERS;
    let mut joined = None;
    let (written, gaps) = setup.hurt(&mut servers, |servers, progress| {
        if joined.is_some() {
            servers.leave(newest);
        }
        progress.mark();
        joined = Some(Instant::now());
        servers.join(newest);
        servers.wait_until_up(newest);
        progress.wait_for_more(BETWEEN);
        progress.silence()
    });
    let bytes = servers.wait_until_equal();
    let alike = joined.expect("it has joined").elapsed().as_secs_f64();
    let members = members(&servers);
    for server in 0..SERVERS {
        servers.kill(server);
    }
    let leader = servers.wait_for_leader();
    look(&servers, &written)
        .and(&gaps.figures("longest silence"))
        .and(&format!(
            "{members} members, all alike at {bytes} bytes, at most {alike:.1} s after the last one joined; it leads alone"
        ))
        .must(leader == newest, "another leads")
        .must(members > SERVERS, "MEMBERS does not name the new one")
        .must(
            written.unknown == 0,
            "a change is in doubt, though the leader was left alone",
        )
        .ending()
}

/// How many servers the leader names as members.
fn members(servers: &Servers) -> usize {
    let leader = servers.wait_for_leader();
    let rows = servers.ask_rows(leader, "MEMBERS");
    let addresses = servers.addresses().into_iter();
    let named = addresses.filter(|addr| rows.contains(&addr.to_string()));
    named.count()
}
