//! Three etcd, which keep the log and the lease.
//!
//! In: where they stand, and how much each may store. Out: three that answer, their URLs, and which one leads. Each can be hurt.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use tempfile::TempDir;

use crate::http;
use crate::place::Place;
use crate::process::{Condition, Process};
use crate::wait::wait_for;

/// How many there are: one may fail.
pub const ETCDS: usize = 3;

/// What the keys of others begin with, and what comes after all of these; and the length of their values, as Base64.
const OTHERS: &str = "other-";
const AFTER_OTHERS: &str = "other.";
const OTHER_VALUE_BYTES: usize = 1 << 20;

/// The three.
pub struct Etcd {
    nodes: Vec<Node>,
    quota_bytes: Option<u64>,
    flags: Vec<String>,
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
    pub fn start(places: &[Place], quota_bytes: Option<u64>, flags: &[String]) -> Self {
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
            process: spawn(
                dir.path(),
                number,
                place,
                (client, peer),
                (quota_bytes, flags),
            ),
            place: place.clone(),
            client,
            peer,
        });
        let etcd = Self {
            nodes: nodes.collect(),
            quota_bytes,
            flags: flags.to_vec(),
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

    /// Waits until one of the others than this takes a change.
    pub fn wait_until_written(&self, than: usize) {
        let body = format!(r#"{{"key":"{0}","value":"{0}"}}"#, BASE64.encode("alone"));
        wait_for("etcd takes a change", || {
            let mut others = (0..self.nodes.len()).filter(|node| *node != than);
            let taken = others.find_map(|node| {
                let reply = http::ask(self.nodes[node].client, "POST", "/v3/kv/put", &body);
                is_done(reply).ok()
            });
            taken.map(drop).ok_or_else(|| "none does".to_owned())
        });
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
            (self.quota_bytes, &self.flags),
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

    /// Puts values of others there until it takes no more.
    pub fn fill(&self) {
        // In JSON keys and values are Base64.
        let value = "A".repeat(OTHER_VALUE_BYTES);
        let mut number = 0;
        wait_for("etcd is full", || {
            let key = BASE64.encode(format!("{OTHERS}{number}"));
            let body = format!(r#"{{"key":"{key}","value":"{value}"}}"#);
            number += 1;
            match self.ask("/v3/kv/put", &body) {
                Some((_, said)) if said.contains("space exceeded") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// Removes what [`Self::fill`] has put there, as somebody would who looks after etcd.
    pub fn make_room(&self) {
        let (from, to) = (BASE64.encode(OTHERS), BASE64.encode(AFTER_OTHERS));
        let range = format!(r#"{{"key":"{from}","range_end":"{to}"}}"#);
        let removed = self.ask_until_done("/v3/kv/deleterange", &range);
        let removed: serde_json::Value = serde_json::from_str(&removed).expect("JSON");
        let revision = removed["header"]["revision"].as_str().expect("a number");
        let compaction = format!(r#"{{"revision":"{revision}","physical":true}}"#);
        // Whoever leads may have compacted more.
        let _ = self.ask("/v3/kv/compaction", &compaction);
        for node in &self.nodes {
            wait_for("etcd gives back what is free", || {
                let reply = http::ask(node.client, "POST", "/v3/maintenance/defragment", "{}");
                is_done(reply).map(drop)
            });
        }
        let raised = self.ask_until_done("/v3/maintenance/alarm", r#"{"action":"GET"}"#);
        let raised: serde_json::Value = serde_json::from_str(&raised).expect("JSON");
        for alarm in raised["alarms"].as_array().into_iter().flatten() {
            let member = alarm["memberID"].as_str().expect("a number");
            let disarm =
                format!(r#"{{"action":"DEACTIVATE","memberID":"{member}","alarm":"NOSPACE"}}"#);
            self.ask_until_done("/v3/maintenance/alarm", &disarm);
        }
    }

    fn ask_until_done(&self, path: &str, body: &str) -> String {
        let mut done = String::new();
        wait_for(path, || {
            done = is_done(self.ask(path, body))?;
            Ok(())
        });
        done
    }

    fn ask(&self, path: &str, body: &str) -> Option<(u16, String)> {
        let leader = self.leader()?;
        http::ask(self.nodes[leader].client, "POST", path, body)
    }

    fn leads(&self, node: usize) -> Option<bool> {
        let status = status(self.nodes[node].client)?;
        let own = status["header"]["member_id"].as_str()?;
        Some(status["leader"].as_str()? == own)
    }
}

fn is_done(reply: Option<(u16, String)>) -> Result<String, String> {
    match reply {
        Some((200, body)) => Ok(body),
        other => Err(format!("{other:?}")),
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
    (quota_bytes, flags): (Option<u64>, &[String]),
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
        // Where a value is long, the default of 100,000 makes a restart read gigabytes.
        .args(["--snapshot-count", "5000"])
        .args(["--log-level", "warn"])
        .args(flags);
    if let Some(bytes) = quota_bytes {
        command.args(["--quota-backend-bytes", &bytes.to_string()]);
    }
    Process::start(command, &dir.join(format!("e{number}.log")))
}
