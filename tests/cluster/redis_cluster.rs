//! A Redis Cluster of real servers on free ports, each in a folder of its own, killed when dropped.
//!
//! In: how many primaries, and replicas of each. Out: a cluster that takes requests for every slot and whose replicas follow, and
//! the ways to hurt it: kill a node, stall it, let it come back, move a slot. A node is named by its number: the primaries first, then
//! the replicas. What is waited for has an end, after which the test fails with what was seen last.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::redis_node::{Condition, NodeSetup, RedisNode, start_nodes};
use crate::topology::{Member, members};
use crate::wait::wait_for;

/// Number of slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// How often a start is tried: another program may take a port that was free.
const STARTS_MAX: usize = 5;
/// Time within which a primary must take the keys that move to it.
const MOVE_MAX: Duration = Duration::from_secs(5);
/// Keys that are moved at once with a slot.
const MOVED_KEYS: usize = 3;

/// The cluster.
pub struct RedisCluster {
    setup: Rc<NodeSetup>,
    nodes: Vec<RedisNode>,
}

impl RedisCluster {
    /// A cluster of a program, `redis-server` or another one that takes the same settings, such as `valkey-server`.
    pub fn start(
        program: &Path,
        setup: NodeSetup,
        primaries: usize,
        replicas_per_primary: usize,
    ) -> Self {
        let count = primaries * (1 + replicas_per_primary);
        let setup = Rc::new(setup);
        let started = (0..STARTS_MAX).find_map(|_| start_nodes(program, &setup, count));
        let mut cluster = Self {
            setup,
            nodes: started.unwrap_or_else(|| panic!("{} does not start", program.display())),
        };
        cluster.join(primaries);
        cluster.wait_until_well();
        // What the scenarios reckon is what the nodes do.
        for key in ["123456789", "{w1}:2", "{}3", "}{4}{5}"] {
            let slot = cluster.nodes[0].ask(&["CLUSTER", "KEYSLOT", key]);
            assert_eq!(slot, Ok(slot_of(key).to_string()), "the slot of {key}");
        }
        cluster
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(RedisNode::addr).collect()
    }

    /// What `--engine` takes: all nodes.
    pub fn url(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(SocketAddr::to_string).collect();
        self.setup.url(&addresses.join(","))
    }

    /// How its nodes are set up.
    pub fn setup(&self) -> &NodeSetup {
        &self.setup
    }

    /// The primary of a slot, as far as the running nodes know: the claim with the greatest epoch holds.
    pub fn primary_of_slot(&self, slot: u16) -> usize {
        let members = self.running().flat_map(|node| self.members(node));
        let owners = members.filter(|member| member.has_slot(slot));
        let owner = owners.max_by_key(|member| member.config_epoch);
        let owner = owner.unwrap_or_else(|| panic!("no node has slot {slot}"));
        self.node_with_id(&owner.id)
    }

    /// The slots of a primary, as it sees them itself.
    pub fn slots_of(&self, node: usize) -> Vec<RangeInclusive<u16>> {
        let members = self.members(node).into_iter();
        let mut own = members.filter(|member| member.is_myself);
        own.next().expect("a node shows itself").slots
    }

    /// The replicas of a node, as far as the running nodes know.
    pub fn replicas_of(&self, node: usize) -> Vec<usize> {
        let id = &self.nodes[node].id;
        let asked = self.running().next().expect("a node is running");
        let members = self.members(asked).into_iter();
        members
            .filter(|member| member.primary.as_ref() == Some(id))
            .map(|member| self.node_with_id(&member.id))
            .collect()
    }

    /// Kills a node as `kill -9` does.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Lets a node do nothing; its connections stay.
    pub fn stall(&mut self, node: usize) {
        self.nodes[node].stall();
    }

    /// Lets a stalled node go on.
    pub fn resume(&mut self, node: usize) {
        self.nodes[node].resume();
    }

    /// Starts a killed node again, on the same port and in the same folder, and waits until it answers.
    pub fn restart(&mut self, node: usize) {
        self.nodes[node].restart();
    }

    /// Moves a slot and its keys from one primary to another in small steps; this is done before each step and after the last.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize, mut while_moving: impl FnMut()) {
        let (mut source, mut target) = (self.connection(from), self.connection(to));
        let (source_id, target_id) = (&self.nodes[from].id, &self.nodes[to].id);
        set_slot(&mut target, slot, &["IMPORTING", source_id]);
        set_slot(&mut source, slot, &["MIGRATING", target_id]);
        loop {
            while_moving();
            let keys: Vec<Vec<u8>> = redis::cmd("CLUSTER")
                .arg("GETKEYSINSLOT")
                .arg(slot)
                .arg(MOVED_KEYS)
                .query(&mut source)
                .expect("the keys of a slot");
            if keys.is_empty() {
                break;
            }
            let () = redis::cmd("MIGRATE")
                .arg("127.0.0.1")
                .arg(self.nodes[to].port)
                .arg("")
                .arg(0)
                .arg(MOVE_MAX.as_secs() * 1_000)
                .arg("KEYS")
                .arg(keys)
                .query(&mut source)
                .expect("the keys move");
        }
        // The target first: the slot has an owner at every moment.
        set_slot(&mut target, slot, &["NODE", target_id]);
        set_slot(&mut source, slot, &["NODE", target_id]);
        for node in self.running().filter(|node| ![from, to].contains(node)) {
            if self.is_primary(node) {
                set_slot(&mut self.connection(node), slot, &["NODE", target_id]);
            }
        }
        // A node that has not heard of the new epoch would take the same one at the next move.
        wait_for("all nodes know the new owner", || {
            let own = self.claim(to, slot);
            let differs = self.running().find(|node| self.claim(*node, slot) != own);
            differs.map_or(Ok(()), |node| {
                Err(format!(
                    "node {node} has heard of another owner of slot {slot}"
                ))
            })
        });
    }

    /// A connection to a node, not to the cluster.
    pub fn connection(&self, node: usize) -> redis::Connection {
        let link = self.nodes[node].connect();
        link.unwrap_or_else(|error| panic!("node {node} takes no connection: {error}"))
    }

    /// A section of a node's `INFO`.
    pub fn info(&self, node: usize, section: &str) -> String {
        let info = self.nodes[node].ask(&["INFO", section]);
        info.unwrap_or_else(|error| panic!("node {node} does not answer INFO: {error}"))
    }

    /// Whether a node is a replica and has all that its primary had when it joined it.
    ///
    /// # Errors
    /// What it says of itself.
    pub fn follows(&self, node: usize) -> Result<(), String> {
        let info = self.info(node, "replication");
        if info.contains("role:slave") && info.contains("master_link_status:up") {
            return Ok(());
        }
        Err(format!("node {node} does not follow: {info}"))
    }

    /// Waits until another node than this is the primary of a slot; how long it took.
    pub fn wait_for_failover(&self, slot: u16, old: usize) -> Duration {
        let started = Instant::now();
        wait_for("a replica takes over", || {
            if self.primary_of_slot(slot) == old {
                return Err(format!("the primary of slot {slot} is node {old} still"));
            }
            Ok(())
        });
        started.elapsed()
    }

    /// Waits until all running nodes find the cluster well, know all nodes, and follow their primaries where they are replicas.
    pub fn wait_until_well(&self) {
        for node in self.running() {
            wait_for("the cluster is well", || self.is_well(node));
        }
    }

    /// Joins nodes that do not know each other. Greetings go between all pairs: gossip alone takes seconds.
    fn join(&mut self, primaries: usize) {
        for node in 0..self.nodes.len() {
            let id = self.nodes[node].ask(&["CLUSTER", "MYID"]);
            self.nodes[node].id = id.expect("a node knows its name");
            let epoch = (node + 1).to_string();
            self.must(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
        }
        for node in 0..primaries {
            let bound = |node: usize| usize::from(SLOTS) * node / primaries;
            let (first, last) = (bound(node), bound(node + 1) - 1);
            let range = [first.to_string(), last.to_string()];
            self.must(node, &["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
        }
        for (number, node) in self.nodes.iter().enumerate() {
            let (port, bus_port) = (node.port.to_string(), node.bus_port.to_string());
            for earlier in 0..number {
                let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port];
                self.must(earlier, &meet);
            }
        }
        for (number, node) in self.nodes.iter().enumerate().skip(primaries) {
            let primary = &self.nodes[number % primaries].id;
            wait_for("the replica knows its primary", || {
                let told = node.ask(&["CLUSTER", "REPLICATE", primary]);
                told.map(drop).map_err(|error| error.to_string())
            });
        }
    }

    fn must(&self, node: usize, words: &[&str]) {
        let reply = self.nodes[node].ask(words);
        reply.unwrap_or_else(|error| panic!("{words:?} of node {node}: {error}"));
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        let nodes = self.nodes.iter().enumerate();
        let running = nodes.filter(|(_, node)| node.condition() == Condition::Running);
        running.map(|(number, _)| number)
    }

    fn node_with_id(&self, id: &str) -> usize {
        let node = self.nodes.iter().position(|node| node.id == id);
        node.unwrap_or_else(|| panic!("{id} is none of these nodes"))
    }

    fn members(&self, node: usize) -> Vec<Member> {
        let table = self.nodes[node].ask(&["CLUSTER", "NODES"]);
        members(&table.unwrap_or_else(|error| panic!("node {node} shows no nodes: {error}")))
    }

    /// Who owns a slot, and since which epoch, as a node sees it.
    fn claim(&self, node: usize, slot: u16) -> Option<(String, u64)> {
        let members = self.members(node).into_iter();
        let mut owners = members.filter(|member| member.has_slot(slot));
        owners.next().map(|owner| (owner.id, owner.config_epoch))
    }

    fn is_primary(&self, node: usize) -> bool {
        let members = self.members(node);
        let own = members.iter().find(|member| member.is_myself);
        own.expect("a node shows itself").primary.is_none()
    }

    fn is_well(&self, node: usize) -> Result<(), String> {
        let asked = &self.nodes[node];
        let info = asked
            .ask(&["CLUSTER", "INFO"])
            .map_err(|error| error.to_string())?;
        if !info.contains("cluster_state:ok") {
            return Err(format!("node {node} says {info}"));
        }
        let running: Vec<usize> = self.running().collect();
        let members = self.members(node);
        let known = |number: &&usize| {
            let mut members = members.iter();
            members.any(|member| member.id == self.nodes[**number].id && member.is_linked)
        };
        if let Some(number) = running.iter().find(|number| !known(number)) {
            return Err(format!("node {node} is not linked to node {number}"));
        }
        if !self.is_primary(node) {
            self.follows(node)?;
        }
        // Who was told to follow may not have told it to all.
        let replicas = |members: &[Member]| {
            let mut ids: Vec<String> = members
                .iter()
                .filter(|member| member.primary.is_some())
                .map(|member| member.id.clone())
                .collect();
            ids.sort_unstable();
            ids
        };
        let own_view = replicas(&members);
        for other in running {
            if replicas(&self.members(other)) != own_view {
                return Err(format!("nodes {node} and {other} know other replicas"));
            }
        }
        Ok(())
    }
}

fn set_slot(link: &mut redis::Connection, slot: u16, words: &[&str]) {
    let command = redis::cmd("CLUSTER")
        .arg("SETSLOT")
        .arg(slot)
        .arg(words)
        .to_owned();
    let () = command
        .query(link)
        .unwrap_or_else(|error| panic!("SETSLOT {slot} {words:?}: {error}"));
}

/// The slot of a key: of what stands in its first braces, if there is something, else of all of it.
pub fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| {
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    });
    // CRC-16 of XMODEM.
    let crc = tag.unwrap_or(key).bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            let carry = if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            (crc << 1) ^ carry
        })
    });
    crc % SLOTS
}
