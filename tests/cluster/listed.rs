//! Listings where nodes have more than pairs: pairs that have expired and are not deleted yet, values of other types, odd keys.
//!
//! In: how the scenario is run. Out: the figures, or a listing that has something else, or lacks a pair.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::redis_cluster::{RedisCluster, SLOTS, slot_of};
use crate::redis_node::NodeSetup;
use crate::server::TestClient;

/// Pairs that stay.
const LIVING: usize = 300;
/// Pairs that expire before each listing.
const EXPIRED: usize = 60;
/// Keys of each other type: together more than there are pairs, so that most random keys are theirs.
const OTHERS_PER_TYPE: usize = 400;
/// Time that a pair has until it expires.
const LIFE: Duration = Duration::from_millis(5);
/// Random keys that are asked for.
const RANDOM_KEYS: usize = 50;

/// Requests that make a value of another type of a key.
const OTHERS: [(&str, &[&str]); 3] = [
    ("LPUSH", &["one", "two"]),
    ("HSET", &["field", "value"]),
    ("SADD", &["member"]),
];

/// A listing of the keys that begin with a prefix.
type Listing = (&'static str, fn(&mut TestClient, &Pykv) -> BTreeSet<String>);

const LISTINGS: &[Listing] = &[
    ("ALL", |client, _| rows(client, "ALL")),
    ("KEYS", |client, _| rows(client, "KEYS")),
    ("KEYS *", |_, pykv| {
        let mut link = pykv.redis_connection();
        query(redis::cmd("KEYS").arg("*"), &mut link)
    }),
    ("SCAN", |_, pykv| scan(pykv, &[])),
    ("SCAN with TYPE string", |_, pykv| {
        scan(pykv, &["TYPE", "string"])
    }),
];

/// Listings have all pairs, and nothing else.
pub fn strings_alone(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server is asked".to_owned());
    }
    let nodes = NodeSetup {
        flags: ["--enable-debug-command", "yes"].map(str::to_owned).into(),
        ..NodeSetup::default()
    };
    let cluster = setup.cluster_of(nodes, 3, 0);
    for node in 0..3 {
        // What expires stays where it is until somebody asks for it.
        let debug = redis::cmd("DEBUG")
            .arg(&["SET-ACTIVE-EXPIRE", "0"])
            .to_owned();
        let () = query(&debug, &mut cluster.connection(node));
    }
    let pykv = Pykv::start(&cluster, &["--durability", "fast"]);
    let mut nodes = Nodes::new(&cluster);
    let mut client = pykv.line_connection();
    let mut failures = Vec::new();
    nodes.store_others();
    let others = nodes.keys();
    let mut expect = |what: &str, found: &str, expected: &str| {
        if found != expected {
            failures.push(format!("{what} is answered {found}, not {expected}"));
        }
    };
    // As long as there is no pair, nothing is found however many keys there are.
    nodes.expire("gone");
    expect("RANDOMKEY", &client.ask("RANDOMKEY"), "NOT_FOUND");
    nodes.expire("gone");
    expect("COUNT of all", &client.ask(r#"COUNT """#), "COUNT 0");
    let living: BTreeSet<String> = (0..LIVING)
        .map(|number| format!("living:{number}"))
        .collect();
    for key in &living {
        assert_eq!(client.ask(&format!("PUT {key} 1")), "OK", "PUT {key}");
    }
    nodes.expire("living:gone");
    let count = format!("COUNT {LIVING}");
    expect("COUNT of all", &client.ask(r#"COUNT """#), &count);
    nodes.expire("living:gone");
    expect("COUNT of a prefix", &client.ask("COUNT living:"), &count);
    nodes.expire("gone:gone");
    let namespaces = client.ask_rows("NAMESPACES");
    let expected = format!("NAMESPACE \"living:\" {LIVING}; END 1");
    expect("NAMESPACES", &namespaces.join("; "), &expected);
    nodes.expire("gone");
    expect(
        "SCAN of lists",
        &format!("{:?}", scan(&pykv, &["TYPE", "list"])),
        "{}",
    );
    for _ in 0..RANDOM_KEYS {
        let key = client.ask("RANDOMKEY");
        let key = key.split('"').nth(1).unwrap_or(&key);
        expect("RANDOMKEY", &living.contains(key).to_string(), "true");
    }
    for (name, list) in LISTINGS {
        nodes.expire("living:gone");
        let found = list(&mut client, &pykv);
        let more: Vec<&String> = found.difference(&living).take(3).collect();
        let missing: Vec<&String> = living.difference(&found).take(3).collect();
        if !more.is_empty() || !missing.is_empty() {
            failures.push(format!(
                "{name} has {} keys, also {more:?}, and lacks {missing:?}",
                found.len()
            ));
        }
    }
    // What is not listed is not deleted either.
    nodes.expire("living:gone");
    let deleted = client.ask("DELPREFIX living:");
    if deleted != count {
        failures.push(format!("DELPREFIX is answered {deleted}, not {count}"));
    }
    let left = nodes.keys();
    let figures = format!(
        "{LIVING} pairs, {EXPIRED} that had expired at each listing, {others} of other types, {left} of these left; {} failures {}",
        failures.len(),
        failures.join("; ")
    );
    let is_well = failures.is_empty() && others == left && !pykv.log().contains("panicked at");
    if is_well { Ok(figures) } else { Err(figures) }
}

/// Connections to all primaries.
struct Nodes {
    links: Vec<redis::Connection>,
    /// The node of each slot.
    owners: Vec<usize>,
    /// Number of the next pair that is to expire: none is there twice.
    next: usize,
}

impl Nodes {
    fn new(cluster: &RedisCluster) -> Self {
        let slots: Vec<_> = (0..3).map(|node| cluster.slots_of(node)).collect();
        let owner = |slot: u16| {
            let mut ranges = slots.iter();
            let owner = ranges.position(|own| own.iter().any(|range| range.contains(&slot)));
            owner.expect("each slot has a primary")
        };
        Self {
            links: (0..3).map(|node| cluster.connection(node)).collect(),
            owners: (0..SLOTS).map(owner).collect(),
            next: 0,
        }
    }

    fn of(&mut self, key: &str) -> &mut redis::Connection {
        &mut self.links[self.owners[usize::from(slot_of(key))]]
    }

    /// Stores values of other types, and strings whose keys are longer than PyKV takes.
    fn store_others(&mut self) {
        for number in 0..OTHERS_PER_TYPE {
            for (verb, words) in OTHERS {
                let key = format!("living:{verb}:{number}");
                let command = redis::cmd(verb).arg(&key).arg(words).to_owned();
                let _: usize = query(&command, self.of(&key));
            }
        }
        // The part in braces has the slot.
        let mut odd = format!("{{odd}}{}", "x".repeat(65_532)).into_bytes();
        let link = self.of("{odd}");
        let () = query(redis::cmd("SET").arg(&odd).arg(1), link);
        odd.push(b'x');
        let () = query(redis::cmd("SET").arg(&odd).arg(1), link);
    }

    /// Stores pairs that expire at once, and waits until they have; the nodes have them still.
    fn expire(&mut self, prefix: &str) {
        let before = self.keys();
        for _ in 0..EXPIRED {
            let key = format!("{prefix}:{}", self.next);
            self.next += 1;
            let set = redis::cmd("SET")
                .arg(&key)
                .arg("expired")
                .arg("PX")
                .arg(LIFE.as_millis().to_string())
                .to_owned();
            let () = query(&set, self.of(&key));
        }
        let end = SystemTime::now() + LIFE;
        while let Ok(rest) = end.duration_since(SystemTime::now()) {
            thread::sleep(rest + Duration::from_millis(1));
        }
        assert_eq!(
            self.keys(),
            before + EXPIRED,
            "the nodes have the pairs that have expired"
        );
    }

    /// Number of all keys that the nodes have.
    fn keys(&mut self) -> usize {
        let links = self.links.iter_mut();
        links
            .map(|link| query::<usize>(&redis::cmd("DBSIZE"), link))
            .sum()
    }
}

/// The keys of a listing in lines.
fn rows(client: &mut TestClient, request: &str) -> BTreeSet<String> {
    let mut rows = client.ask_rows(request);
    let last = rows.pop().unwrap_or_default();
    assert_eq!(last, format!("END {}", rows.len()), "{request}");
    let key = |row: String| row.split('"').nth(1).map(str::to_owned);
    rows.into_iter()
        .map(|row| key(row).expect("a row has a key"))
        .collect()
}

/// The keys of all pages of a walk.
fn scan(pykv: &Pykv, options: &[&str]) -> BTreeSet<String> {
    let mut link = pykv.redis_connection();
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let page = redis::cmd("SCAN")
            .arg(&cursor)
            .arg(&["COUNT", "100"])
            .arg(options)
            .to_owned();
        let (next, keys): (String, Vec<String>) = query(&page, &mut link);
        found.extend(keys);
        cursor = next;
        if cursor == "0" {
            return found;
        }
    }
}

fn query<T: redis::FromRedisValue>(command: &redis::Cmd, link: &mut redis::Connection) -> T {
    command.query(link).expect("a reply")
}
