//! Network namespaces that can be cut off from each other: one for each etcd and each server, with bridges between.
//!
//! In: nothing but the rights of root. Out: places; cuts, which drop packets without a word, and their healing. Servers have two interfaces: the
//! inner one leads to etcd, and the outer one to clients and other servers. All is removed when it is dropped.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use crate::etcd::ETCDS;
use crate::place::Place;

/// The tests' own address in both networks, and the first ones of etcd and of servers.
const OWN: u8 = 254;
const FIRST_ETCD: u8 = 1;
const FIRST_SERVER: u8 = 11;

/// One of the networks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// That of etcd.
    Inner,
    /// That of clients.
    Outer,
}

/// A process in a namespace.
#[derive(Clone, Copy)]
pub enum Who {
    Etcd(usize),
    Server(usize),
}

/// The namespaces and bridges.
pub struct Network {
    /// What the names of interfaces and namespaces begin with: no two runs have the same.
    tag: String,
    /// The two bytes of the addresses that are its own; the third is one more for the outer network.
    base: [u8; 2],
    servers: usize,
}

impl Network {
    /// Namespaces for etcd and so many servers, if that is permitted.
    pub fn try_new(servers: usize) -> Option<Self> {
        let network = Self {
            tag: format!("pk{:05}", fastrand::u32(..100_000)),
            base: [fastrand::u8(100..250), fastrand::u8(..125) * 2],
            servers,
        };
        // Whatever is missing shows here, or at the first bridge.
        let is_permitted = try_ip(&format!("netns add {}-probe", network.tag))
            && try_ip(&format!("netns del {}-probe", network.tag));
        if !is_permitted || !try_ip(&format!("link add {}m type bridge", network.tag)) {
            println!("skipped: network namespaces are not permitted");
            return None;
        }
        ip(&format!("link set {}m up", network.tag));
        for net in [Net::Inner, Net::Outer] {
            let (bridge, addr) = (network.bridge(net), network.addr(net, OWN));
            ip(&format!("link add {bridge} type bridge"));
            ip(&format!("addr add {addr}/24 dev {bridge}"));
            ip(&format!("link set {bridge} up"));
        }
        for who in network.all() {
            let space = network.space(who);
            ip(&format!("netns add {space}"));
            ip(&format!("-n {space} link set lo up"));
            network.connect(who, Net::Inner);
            if matches!(who, Who::Server(_)) {
                network.connect(who, Net::Outer);
            }
        }
        Some(network)
    }

    /// Where a process stands.
    pub fn place(&self, who: Who) -> Place {
        Place {
            space: Some(self.space(who)),
            inner: self.addr(Net::Inner, host(who)),
            outer: self.addr(Net::Outer, host(who)),
        }
    }

    /// Lets nothing through between a process and one of the networks.
    pub fn cut(&self, who: Who, net: Net) {
        ip(&format!("link set {} nomaster", self.interface(who, net)));
    }

    /// Puts a process in a part of the inner network that has no way to the rest.
    pub fn part(&self, who: Who) {
        let interface = self.interface(who, Net::Inner);
        ip(&format!("link set {interface} master {}m", self.tag));
    }

    /// Lets everything through again.
    pub fn heal(&self, who: Who, net: Net) {
        let (interface, bridge) = (self.interface(who, net), self.bridge(net));
        ip(&format!("link set {interface} master {bridge}"));
    }

    fn connect(&self, who: Who, net: Net) {
        let (space, interface) = (self.space(who), self.interface(who, net));
        let inside = ["inner", "outer"][usize::from(net == Net::Outer)];
        let addr = self.addr(net, host(who));
        ip(&format!(
            "link add {interface} type veth peer name {inside} netns {space}"
        ));
        ip(&format!("-n {space} addr add {addr}/24 dev {inside}"));
        ip(&format!("-n {space} link set {inside} up"));
        ip(&format!("link set {interface} up"));
        self.heal(who, net);
    }

    fn all(&self) -> impl Iterator<Item = Who> + use<> {
        let etcds = (0..ETCDS).map(Who::Etcd);
        etcds.chain((0..self.servers).map(Who::Server))
    }

    fn addr(&self, net: Net, host: u8) -> Ipv4Addr {
        let [first, second] = self.base;
        Ipv4Addr::new(10, first, second + u8::from(net == Net::Outer), host)
    }

    fn bridge(&self, net: Net) -> String {
        format!("{}{}", self.tag, letter(net))
    }

    fn interface(&self, who: Who, net: Net) -> String {
        format!("{}{}{}", self.tag, letter(net), name(who))
    }

    fn space(&self, who: Who) -> String {
        format!("{}-{}", self.tag, name(who))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for who in self.all() {
            // Its interfaces go with it, though perhaps later, when the last socket has.
            for net in [Net::Inner, Net::Outer] {
                try_ip(&format!("link del {}", self.interface(who, net)));
            }
            try_ip(&format!("netns del {}", self.space(who)));
        }
        for bridge in ["i", "o", "m"] {
            try_ip(&format!("link del {}{bridge}", self.tag));
        }
    }
}

fn letter(net: Net) -> char {
    match net {
        Net::Inner => 'i',
        Net::Outer => 'o',
    }
}

fn name(who: Who) -> String {
    match who {
        Who::Etcd(number) => format!("e{number}"),
        Who::Server(number) => format!("p{number}"),
    }
}

fn host(who: Who) -> u8 {
    let (first, number) = match who {
        Who::Etcd(number) => (FIRST_ETCD, number),
        Who::Server(number) => (FIRST_SERVER, number),
    };
    first + u8::try_from(number).expect("there are few")
}

fn ip(line: &str) {
    assert!(try_ip(line), "ip {line} fails");
}

fn try_ip(line: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(line.split(' ')).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
