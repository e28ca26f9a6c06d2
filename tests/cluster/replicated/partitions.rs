//! Scenarios: packets are lost, by network namespaces between which a way is cut.
//!
//! In: how they are run. Out: figures, and whether everything is there; or that namespaces are not permitted here.

use std::time::{Duration, Instant};

use crate::etcd::{ETCDS, Etcd};
use crate::network::{Net, Network, Who};
use crate::place::Place;
use crate::probe::{Probe, Wrong, prepare};
use crate::progress::Progress;
use crate::servers::{Options, PLACES, Servers};
use crate::setup::{Ending, Gaps, IMPATIENT, Setup, look};
use crate::stopped::hold;

/// A cut: what is done to the network, with the leader.
type Cut = fn(&Servers, usize);

/// The leader is cut off from etcd, and its clients are not.
pub fn leader_etcd(setup: &Setup) -> Ending {
    let cut = |servers: &Servers, leader| network(servers).cut(Who::Server(leader), Net::Inner);
    cut_off(setup, cut)
}

/// The leader is cut off with one etcd, the one that leads etcd: the other two go on.
pub fn etcd_2_1(setup: &Setup) -> Ending {
    let cut = |servers: &Servers, leader| {
        let etcd = servers.etcd.wait_for_other_leader(ETCDS);
        network(servers).part(Who::Etcd(etcd));
        network(servers).part(Who::Server(leader));
    };
    cut_off(setup, cut)
}

/// The leader of etcd is cut off, without any server of ours and without load: how long etcd itself takes no changes.
pub fn etcd_alone(setup: &Setup) -> Ending {
    let Some(network) = Network::try_new(1) else {
        return Ok("skipped".to_owned());
    };
    let places: Vec<Place> = (0..ETCDS)
        .map(|etcd| network.place(Who::Etcd(etcd)))
        .collect();
    let etcd = Etcd::start(&places, None, &setup.etcd_flags);
    let mut gaps = Vec::new();
    for _ in setup.cycles() {
        let leader = etcd.wait_for_other_leader(ETCDS);
        network.cut(Who::Etcd(leader), Net::Inner);
        let since = Instant::now();
        etcd.wait_until_written(leader);
        gaps.push(since.elapsed());
        network.heal(Who::Etcd(leader), Net::Inner);
        etcd.wait_until_well();
    }
    Ok(Gaps(gaps).figures("next change that etcd takes"))
}

/// The leader is cut off from its clients, and keeps its lease: they wait until they can reach it.
pub fn leader_clients(setup: &Setup) -> Ending {
    let Some(mut servers) = start(setup) else {
        return Ok("skipped".to_owned());
    };
    let mut kept = 0;
    let cut_and_heal = |servers: &mut Servers, progress: &Progress| {
        let leader = servers.wait_for_leader();
        network(servers).cut(Who::Server(leader), Net::Outer);
        hold(Instant::now());
        network(servers).heal(Who::Server(leader), Net::Outer);
        progress.mark();
        let gap = progress.next_success();
        kept += usize::from(servers.wait_for_leader() == leader);
        gap
    };
    let (written, gaps) = setup.hurt_with(IMPATIENT, &mut servers, cut_and_heal);
    look(&servers, &written)
        .and(&gaps.figures("next success after the end of it"))
        .and(&format!("{kept} times the leader was the same"))
        .ending()
}

/// The leader is cut off from most of etcd until another leads, and for longer than its lease.
fn cut_off(setup: &Setup, cut: Cut) -> Ending {
    let Some(mut servers) = start(setup) else {
        return Ok("skipped".to_owned());
    };
    let mut wrong = Wrong::default();
    let mut cycle = 0;
    let cut_and_heal = |servers: &mut Servers, progress: &Progress| -> Duration {
        cycle += 1;
        prepare(servers, cycle);
        let leader = servers.wait_for_leader();
        cut(servers, leader);
        let since = Instant::now();
        progress.mark();
        let other = servers.wait_for_other_leader(leader);
        let gap = progress.next_success();
        // It runs, and can answer at once.
        Probe::send(servers, leader, other, cycle).judge(servers, &mut wrong);
        hold(since);
        for etcd in 0..ETCDS {
            network(servers).heal(Who::Etcd(etcd), Net::Inner);
        }
        network(servers).heal(Who::Server(leader), Net::Inner);
        servers.etcd.wait_until_well();
        servers.wait_until_up(leader);
        gap
    };
    let (written, gaps) = setup.hurt_with(IMPATIENT, &mut servers, cut_and_heal);
    look(&servers, &written)
        .and(&gaps.figures("next success"))
        .and(&wrong.figures())
        .must(
            wrong.is_none(),
            "the leader that was cut off has said what is not true",
        )
        .ending()
}

/// Servers in namespaces, if that is permitted.
fn start(setup: &Setup) -> Option<Servers> {
    let network = Network::try_new(PLACES)?;
    Some(setup.servers_with(Options {
        network: Some(network),
        ..Options::default()
    }))
}

fn network(servers: &Servers) -> &Network {
    servers.network.as_ref().expect("it was started with one")
}
