//! Three etcd, which keep the log and the lease.
//!
//! In: where they stand, and how much each may store. Out: three that answer, their URLs, and which one leads. Each can be hurt.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::http;
use crate::place::Place;
use crate::process::{Condition, Process};
use crate::wait::wait_for;

/// How many there are: one may fail.
pub const ETCDS: usize = 3;

/// The three.
pub struct Etcd {
    nodes: Vec<Node>,
    quota_bytes: Option<u64>,
    dir: TempDir,
}

/// One of them.
struct Node {
    process: Process,
    place: Place,
    client: SocketAddr,
    peer: SocketAddr,
}

impl Etcd {
    /// Starts them, and waits until one leads.
    pub fn start(places: &[Place], quota_bytes: Option<u64>) -> Self {
        let dir = TempDir::new().expect("a folder for etcd");
        let addresses: Vec<(SocketAddr, SocketAddr)> = places
            .iter()
            .map(|place| {
                let [client, peer] = place.ports();
                ((place.inner, client).into(), (place.inner, peer).into())
            })
            .collect();
        let peers = addresses.iter().enumerate();
        let peers: Vec<String> = peers
            .map(|(number, (_, peer))| format!("e{number}=http://{peer}"))
            .collect();
        std::fs::write(dir.path().join("peers"), peers.join(",")).expect("a file");
        let nodes = places.iter().zip(addresses).enumerate();
        let nodes = nodes.map(|(number, (place, (client, peer)))| Node {
            process: spawn(dir.path(), number, place, (client, peer), quota_bytes),
            place: place.clone(),
            client,
            peer,
        });
        let etcd = Self {
            nodes: nodes.collect(),
            quota_bytes,
            dir,
        };
        etcd.wait_until_well();
        etcd
    }

    /// The URLs, separated by commas.
    pub fn urls(&self) -> String {
        let urls = self
            .nodes
            .iter()
            .map(|node| format!("http://{}", node.client));
        urls.collect::<Vec<_>>().join(",")
    }

    /// The one that leads, as it says itself.
    pub fn leader(&self) -> Option<usize> {
        (0..self.nodes.len()).find(|&node| self.leads(node).unwrap_or(false))
    }

    /// Waits until one leads and all answer.
    pub fn wait_until_well(&self) {
        wait_for("one etcd leads and all are well", || {
            self.leader().ok_or("none leads")?;
            let is_well = |node: &Node| {
                let reply = http::ask(node.client, "GET", "/health", "");
                reply.is_some_and(|(_, body)| body.contains("\"true\""))
            };
            let sick = self.nodes.iter().position(|node| !is_well(node));
            sick.map_or(Ok(()), |node| {
                let log = self.nodes[node].process.log_end();
                Err(format!("etcd {node} is not well:\n{log}"))
            })
        });
    }

    /// Waits until one leads that is not this.
    pub fn wait_for_other_leader(&self, than: usize) -> usize {
        let mut leader = None;
        wait_for("another etcd leads", || {
            leader = self.leader().filter(|&leader| leader != than);
            leader.map(drop).ok_or_else(|| "none does".to_owned())
        });
        leader.expect("it was waited for")
    }

    /// Kills one.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].process.kill();
    }

    /// Starts one again.
    pub fn restart(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let addresses = (node.client, node.peer);
        node.process = spawn(
            self.dir.path(),
            number,
            &node.place,
            addresses,
            self.quota_bytes,
        );
    }

    /// Stops these.
    pub fn stop(&mut self, nodes: &[usize]) {
        for &node in nodes {
            self.nodes[node].process.stop();
        }
    }

    /// Wakes those that are stopped.
    pub fn wake(&mut self) {
        let processes = self.nodes.iter_mut().map(|node| &mut node.process);
        for process in processes.filter(|one| one.condition() == Condition::Stopped) {
            process.wake();
        }
    }

    /// The bytes that the one which has most has in its store.
    pub fn stored_bytes(&self) -> u64 {
        let bytes = self.nodes.iter().filter_map(|node| {
            let status = status(node.client)?;
            status["dbSize"].as_str()?.parse().ok()
        });
        bytes.max().unwrap_or_default()
    }

    fn leads(&self, node: usize) -> Option<bool> {
        let status = status(self.nodes[node].client)?;
        let own = status["header"]["member_id"].as_str()?;
        Some(status["leader"].as_str()? == own)
    }
}

fn status(addr: SocketAddr) -> Option<serde_json::Value> {
    let (_, body) = http::ask(addr, "POST", "/v3/maintenance/status", "{}")?;
    serde_json::from_str(&body).ok()
}

fn spawn(
    dir: &Path,
    number: usize,
    place: &Place,
    (client, peer): (SocketAddr, SocketAddr),
    quota_bytes: Option<u64>,
) -> Process {
    let peers = std::fs::read_to_string(dir.join("peers")).expect("it was written");
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    let mut command = place.command(Path::new("etcd"));
    command
        .args(["--name", &format!("e{number}"), "--data-dir"])
        .arg(dir.join(format!("e{number}")))
        .args(["--listen-client-urls", &client])
        .args(["--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer])
        .args(["--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &peers])
        .args(["--initial-cluster-token", "pykv-test"])
        .args(["--initial-cluster-state", "new"])
        .args(["--log-level", "warn"]);
    if let Some(bytes) = quota_bytes {
        command.args(["--quota-backend-bytes", &bytes.to_string()]);
    }
    Process::start(command, &dir.join(format!("e{number}.log")))
}
