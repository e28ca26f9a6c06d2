//! The topology of a cluster: which primary owns which slot, and which replicas it has, as its nodes tell.
//!
//! In: the replies of CLUSTER NODES of one or more nodes; that of CLUSTER SLOTS, where nodes have hostnames. Out: the owner of each slot.
//! Promise: where nodes differ, the owner with the highest configuration epoch is believed, as the nodes themselves do.
//! Sources: <https://redis.io/docs/latest/commands/cluster-nodes/>, <https://redis.io/docs/latest/commands/cluster-slots/>.

use std::collections::BTreeSet;

use super::open::socket_address;
use super::reply::NodeReply;
use super::slot::SLOTS;

/// Value of an owner for a slot that nobody owns.
const NOBODY: u16 = u16::MAX;

/// What nodes are reached by. It is up to them: a certificate may be for their hostnames alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// Their IP addresses.
    Addresses,
    /// Their hostnames, for those that have one.
    Hostnames,
}

/// A node, as others reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Identity, 40 hexadecimal digits.
    pub id: String,
    /// `HOST:PORT`.
    pub address: String,
    /// True if the cluster takes it for failed.
    pub has_failed: bool,
}

/// A primary, and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// The primary itself.
    pub node: Node,
    /// Configuration epoch: the higher of two claims to a slot is valid.
    pub epoch: u64,
    /// Its replicas.
    pub replicas: Vec<Node>,
    /// Number of its slots: 0 for one that has failed, or has just come.
    pub slots: u16,
    /// Slots of which a part has moved to another node, as far as it has told itself, and the identity of that node.
    pub leaving: Vec<(u16, String)>,
}

impl Primary {
    /// Returns the number of replicas that have not failed.
    #[must_use]
    pub fn live_replicas(&self) -> usize {
        self.replicas.iter().filter(|one| !one.has_failed).count()
    }
}

/// The owners of all slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    owners: Vec<u16>,
    /// The primaries, in the order of their addresses.
    pub primaries: Vec<Primary>,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            owners: vec![NOBODY; usize::from(SLOTS)],
            primaries: Vec::new(),
        }
    }
}

/// A line of CLUSTER NODES.
struct Line<'a> {
    node: Node,
    primary_id: Option<&'a str>,
    epoch: u64,
    slots: Vec<(u16, u16)>,
    leaving: Vec<(u16, String)>,
}

impl Topology {
    /// Makes the topology of what nodes have told: each the address that it was asked at, and its reply.
    #[must_use]
    pub fn of(views: &[(String, String)], endpoints: Endpoints) -> Self {
        let mut primaries: Vec<Primary> = Vec::new();
        // The epoch of each claim, and the place of the primary that has it.
        let mut claims: Vec<Option<(u64, usize)>> = vec![None; usize::from(SLOTS)];
        for (asked, view) in views {
            let lines: Vec<Line<'_>> = view
                .lines()
                .filter_map(|line| parse_line(line, asked, endpoints))
                .collect();
            for line in lines.iter().filter(|line| line.primary_id.is_none()) {
                let replicas = lines.iter();
                let replicas = replicas.filter(|one| one.primary_id == Some(&line.node.id));
                let primary = Primary {
                    node: line.node.clone(),
                    epoch: line.epoch,
                    replicas: replicas.map(|one| one.node.clone()).collect(),
                    slots: 0,
                    leaving: Vec::new(),
                };
                let mut known = primaries.iter();
                let place = known.position(|known| known.node.id == primary.node.id);
                let place = place.unwrap_or_else(|| {
                    primaries.push(primary.clone());
                    primaries.len() - 1
                });
                let known = &mut primaries[place];
                if primary.epoch > known.epoch {
                    known.clone_from(&primary);
                }
                known.leaving.extend(line.leaving.iter().cloned());
                let claimed = line.slots.iter().flat_map(|(first, last)| *first..=*last);
                for slot in claimed {
                    let claim = &mut claims[usize::from(slot)];
                    if claim.as_ref().is_none_or(|(epoch, _)| line.epoch > *epoch) {
                        *claim = Some((line.epoch, place));
                    }
                }
            }
        }
        let mut in_order: Vec<(usize, Primary)> = primaries.into_iter().enumerate().collect();
        in_order.sort_by(|(_, a), (_, b)| a.node.address.cmp(&b.node.address));
        let mut places = vec![0; in_order.len()];
        for (place, (before, _)) in in_order.iter().enumerate() {
            places[*before] = place;
        }
        let mut topology = Self {
            primaries: in_order.into_iter().map(|(_, primary)| primary).collect(),
            ..Self::default()
        };
        for (slot, claim) in claims.iter().enumerate() {
            let Some((_, before)) = claim else { continue };
            let owner = places[*before];
            topology.owners[slot] = u16::try_from(owner).expect("there are fewer primaries");
            topology.primaries[owner].slots += 1;
        }
        topology
    }

    /// Returns the place among the primaries of the owner of a slot.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<usize> {
        let owner = self.owners[usize::from(slot)];
        (owner != NOBODY).then(|| usize::from(owner))
    }

    /// Returns the number of slots that have an owner which has not failed.
    #[must_use]
    pub fn owned_slots(&self) -> usize {
        let primaries = self.primaries.iter();
        let alive = primaries.filter(|primary| !primary.node.has_failed);
        alive.map(|primary| usize::from(primary.slots)).sum()
    }

    /// Gives a slot to the primary at an address, if that is known.
    #[must_use]
    pub fn with_moved(&self, slot: u16, address: &str) -> Option<Self> {
        let to = self
            .primaries
            .iter()
            .position(|one| one.node.address == address)?;
        let mut moved = self.clone();
        if let Some(from) = moved.owner(slot) {
            moved.primaries[from].slots -= 1;
        }
        moved.primaries[to].slots += 1;
        moved.owners[usize::from(slot)] = u16::try_from(to).ok()?;
        Some(moved)
    }

    /// Returns the addresses of all nodes.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let nodes = self
            .primaries
            .iter()
            .flat_map(|primary| std::iter::once(&primary.node).chain(&primary.replicas));
        nodes.map(|node| &*node.address)
    }
}

/// Returns the hostnames of a view.
#[must_use]
pub fn hostnames(view: &str) -> BTreeSet<&str> {
    let places = view.lines().filter_map(|line| line.split(' ').nth(1));
    places.filter_map(hostname_of).collect()
}

/// Returns true if a reply to CLUSTER SLOTS names nodes by some of these hostnames.
#[must_use]
pub fn names_hosts(reply: &NodeReply<'_>, hostnames: &BTreeSet<&str>) -> bool {
    let NodeReply::Array(ranges) = reply else {
        return false;
    };
    // First and last slot of a range, and its nodes: endpoint, port, identity and more of each.
    let parts = ranges.iter().flat_map(|range| match range {
        NodeReply::Array(parts) => &parts[..],
        _ => &[],
    });
    let mut endpoints = parts.filter_map(|part| match part {
        NodeReply::Array(node) => node.first(),
        _ => None,
    });
    endpoints.any(|endpoint| {
        let NodeReply::Bytes(endpoint) = endpoint else {
            return false;
        };
        std::str::from_utf8(endpoint).is_ok_and(|endpoint| hostnames.contains(endpoint))
    })
}

/// Returns the hostname in `ip:port@bus-port,hostname,...`.
fn hostname_of(place: &str) -> Option<&str> {
    let hostname = place.split(',').nth(1)?;
    (!hostname.is_empty() && !hostname.contains('=')).then_some(hostname)
}

/// Parses a line; `None` for a node that has no address, is about to leave, or has not joined.
fn parse_line<'a>(line: &'a str, asked: &str, endpoints: Endpoints) -> Option<Line<'a>> {
    let mut words = line.split(' ');
    let id = words.next()?;
    let place = words.next()?;
    let flags = words.next()?;
    let primary_id = words.next()?;
    let epoch = words.nth(2)?.parse().ok()?;
    let _link_state = words.next()?;
    let is = |name: &str| flags.split(',').any(|flag| flag == name);
    if is("noaddr") || is("handshake") {
        return None;
    }
    // A node that does not know its own address leaves it out.
    let address = place.split(['@', ',']).next()?;
    let (host, port) = address.rsplit_once(':')?;
    let hostname = hostname_of(place).filter(|_| endpoints == Endpoints::Hostnames);
    let host = hostname.unwrap_or(host);
    let address = if host.is_empty() {
        let (asked_host, _) = asked.rsplit_once(':')?;
        format!("{asked_host}:{port}")
    } else {
        socket_address(host, port)
    };
    let mut slots = Vec::new();
    let mut leaving = Vec::new();
    for word in words {
        if let Some(moving) = word.strip_prefix('[') {
            if let Some((slot, target)) = moving.split_once("->-") {
                leaving.push((slot.parse().ok()?, target.trim_end_matches(']').to_owned()));
            }
            continue;
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        if last < SLOTS {
            slots.push((first, last));
        }
    }
    Some(Line {
        node: Node {
            id: id.to_owned(),
            address,
            has_failed: is("fail"),
        },
        primary_id: (primary_id != "-").then_some(primary_id),
        epoch,
        slots,
        leaving,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = "\
aa 127.0.0.1:7001@17001,,tls-port=0,shard-id=1 myself,master - 0 0 1 connected 0-5460 [77->-bb]
bb 127.0.0.1:7002@17002 master - 0 1700000000000 2 connected 5461-10922 16000
cc 127.0.0.1:7003@17003,host-c master,fail - 0 1700000000000 3 disconnected 10923-15999
dd 127.0.0.1:7004@17004 slave aa 0 1700000000000 1 connected
ee 127.0.0.1:7005@17005 slave,fail aa 0 1700000000000 1 connected
ff :0@0 master,noaddr - 0 0 0 disconnected
";

    fn view(asked: &str, text: &str) -> (String, String) {
        (asked.to_owned(), text.to_owned())
    }

    #[test]
    fn a_slot_belongs_to_the_primary_that_a_node_names() {
        let topology = Topology::of(&[view("127.0.0.1:7001", VIEW)], Endpoints::Addresses);
        let owner_of = |slot| {
            let owner = topology.owner(slot);
            owner.map(|owner| &*topology.primaries[owner].node.address)
        };
        assert_eq!(owner_of(0), Some("127.0.0.1:7001"));
        assert_eq!(owner_of(5461), Some("127.0.0.1:7002"));
        assert_eq!(owner_of(16_000), Some("127.0.0.1:7002"));
        assert_eq!(owner_of(15_999), Some("127.0.0.1:7003"));
        assert_eq!(owner_of(16_383), None);
        assert_eq!(topology.owned_slots(), 16_001 - 5077, "without those of cc");
        let first = &topology.primaries[0];
        assert_eq!((first.slots, first.replicas.len()), (5461, 2));
        assert_eq!(first.live_replicas(), 1);
        assert_eq!(first.leaving, [(77, "bb".to_owned())]);
    }

    #[test]
    fn of_two_claims_the_later_one_is_valid() {
        let stale = "aa 127.0.0.1:7001@1 master - 0 0 1 connected 0-16383\n\
                     dd 127.0.0.1:7004@1 slave aa 0 0 1 connected\n";
        let fresh = "aa 127.0.0.1:7001@1 master,fail - 0 0 1 connected\n\
                     dd 127.0.0.1:7004@1 master - 0 0 4 connected 0-16383\n";
        for views in [
            [view("127.0.0.1:7001", stale), view("127.0.0.1:7004", fresh)],
            [view("127.0.0.1:7004", fresh), view("127.0.0.1:7001", stale)],
        ] {
            let topology = Topology::of(&views, Endpoints::Addresses);
            let owner = topology.owner(7).map(|owner| &topology.primaries[owner]);
            assert_eq!(owner.map(|one| &*one.node.address), Some("127.0.0.1:7004"));
        }
    }

    #[test]
    fn a_node_that_does_not_know_its_address_has_that_at_which_it_was_asked() {
        let alone = "aa :7001@17001 myself,master - 0 0 1 connected 0-16383\n";
        let topology = Topology::of(&[view("10.0.0.7:7001", alone)], Endpoints::Addresses);
        assert_eq!(topology.primaries[0].node.address, "10.0.0.7:7001");
    }

    #[test]
    fn a_node_is_reached_by_its_hostname_if_the_nodes_prefer_it_and_it_has_one() {
        let topology = Topology::of(&[view("127.0.0.1:7001", VIEW)], Endpoints::Hostnames);
        let addresses: Vec<&str> = topology.addresses().collect();
        assert!(addresses.contains(&"host-c:7003"), "{addresses:?}");
        assert!(addresses.contains(&"127.0.0.1:7001"), "{addresses:?}");
        assert_eq!(hostnames(VIEW).into_iter().collect::<Vec<_>>(), ["host-c"]);
    }

    #[test]
    fn nodes_prefer_hostnames_if_they_name_one_by_it() {
        let named = |endpoint: &'static [u8]| {
            let endpoint = NodeReply::Bytes(endpoint);
            let node = NodeReply::Array(vec![endpoint, NodeReply::Number(7003)]);
            let bounds = [NodeReply::Number(0), NodeReply::Number(7)];
            let range = NodeReply::Array(bounds.into_iter().chain([node]).collect());
            names_hosts(&NodeReply::Array(vec![range]), &hostnames(VIEW))
        };
        assert!(named(b"host-c"));
        assert!(!named(b"127.0.0.1"));
        assert!(!named(b"?"));
    }
}
