//! Nodes that speak TLS alone and want a password, and nodes that are to be reached by their hostnames.
//!
//! In: how the scenario is run. Out: the figures, or what does not work, or an error that does not say what to do.

use std::path::Path;
use std::process::Command;

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::redis_cluster::{RedisCluster, SLOTS, slot_of};
use crate::redis_node::NodeSetup;
use crate::server::TestClient;
use crate::tls::Authority;
use crate::wait::wait_for;
use crate::writers::key_in;

const PAIRS: usize = 500;
const PASSWORD: &str = "secret-of-nodes";
/// Seconds within which a server that finds no node gives up.
const GIVE_UP: &str = "1";
/// Values that are longer than what a socket holds, and bytes of each.
const LONG_VALUES: usize = 2;
const LONG_BYTES: usize = 16 << 20;
/// Messages that are sent and received.
const MESSAGES: usize = 10;

/// Over nodes that speak TLS alone and want a password, everything works; who must not sign in is told why.
pub fn tls(setup: &Setup) -> Result<String, String> {
    if let Some(skipped) = skipped(setup) {
        return skipped;
    }
    let authority = Authority::new();
    let (trusted, own) = (shown(&authority.file()), authority.issue("node"));
    let nodes = NodeSetup {
        tls: Some((authority, own)),
        password: Some(PASSWORD),
        ..NodeSetup::default()
    };
    let cluster = setup.cluster_of(nodes, 3, 1);
    let variables = [("SSL_CERT_FILE", &*trusted)];
    let pykv = Pykv::start_at(&cluster.url(), &["--durability", "replicated"], &variables);
    let mut failures = Vec::new();
    use_all(&pykv, &cluster, &mut failures);
    let refused = refusals(&cluster, &trusted, &mut failures);
    verdict(
        &pykv,
        &failures,
        format!("{PAIRS} pairs over TLS, {refused} starts that are refused"),
    )
}

/// Nodes that prefer their hostname are reached by it: there is no other name in their certificate.
pub fn hostnames(setup: &Setup) -> Result<String, String> {
    if let Some(skipped) = skipped(setup) {
        return skipped;
    }
    let authority = Authority::new();
    let trusted = shown(&authority.file());
    let own = authority.issue_unnamed("localhost");
    let mut failures = Vec::new();
    let mut figures = Vec::new();
    for tls in [None, Some((authority, own))] {
        let is_encrypted = tls.is_some();
        let flags = [
            "--cluster-announce-hostname",
            "localhost",
            "--cluster-preferred-endpoint-type",
            "hostname",
        ];
        let nodes = NodeSetup {
            flags: flags.map(str::to_owned).into(),
            tls,
            ..NodeSetup::default()
        };
        // Without replicas: the more nodes, the longer it takes until all have heard of all hostnames.
        let cluster = setup.cluster_of(nodes, 3, 0);
        wait_for("all nodes know all hostnames", || named_by_all(&cluster));
        let first = format!("localhost:{}", cluster.addresses()[0].port());
        let variables = [("SSL_CERT_FILE", &*trusted)];
        let flags = ["--durability", "fast"];
        let pykv = Pykv::start_at(&cluster.setup().url(&first), &flags, &variables);
        use_all(&pykv, &cluster, &mut failures);
        move_under_way(&pykv, &cluster, &mut failures);
        let done = format!("{PAIRS} pairs and a moved slot, TLS: {is_encrypted}");
        figures.push(verdict(&pykv, &failures, done)?);
    }
    Ok(figures.join("; "))
}

/// Whether each node names all others by their hostname.
fn named_by_all(cluster: &RedisCluster) -> Result<(), String> {
    let ports = cluster.addresses();
    for node in 0..ports.len() {
        let command = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
        let slots: redis::Value = query(&command, &mut cluster.connection(node));
        let text = format!("{slots:?}");
        let named = text.matches("\"localhost\"").count();
        if named < ports.len() {
            return Err(format!("node {node} tells {text}"));
        }
    }
    Ok(())
}

/// A slot moves, and its counter is incremented at each step: MOVED and ASK name hosts.
fn move_under_way(pykv: &Pykv, cluster: &RedisCluster, failures: &mut Vec<String>) {
    let (from, to) = (
        cluster.primary_of_slot(0),
        cluster.primary_of_slot(SLOTS - 1),
    );
    let own = cluster.slots_of(from);
    let key = key_in("moved", |slot| {
        own.iter().any(|range| range.contains(&slot))
    });
    let mut client = pykv.line_connection();
    let mut count = 0;
    let mut increment = || {
        for number in 0..5 {
            // Those that are made anew are the target's at once: ASK.
            let made = client.ask(&format!("PUT {{{key}}}:{count}:{number} 1"));
            if made != "OK" {
                failures.push(format!("PUT into a slot that moves is answered {made}"));
            }
        }
        count += 1;
        let reply = client.ask(&format!("INCR {key}"));
        if reply != format!("VALUE \"{count}\"") {
            failures.push(format!("INCR number {count} is answered {reply}"));
        }
        count < 5
    };
    increment();
    let mut goes_on = true;
    cluster.move_slot(slot_of(&key), from, to, || {
        // Each step makes more keys: from some step on none comes.
        if goes_on {
            goes_on = increment();
        }
    });
    increment();
}

/// Writes, reads, listings, a transaction, a script and messages.
fn use_all(pykv: &Pykv, cluster: &RedisCluster, failures: &mut Vec<String>) {
    let mut client = pykv.line_connection();
    let mut expect = |client: &mut TestClient, request: &str, expected: &str| {
        let actual = client.ask(request);
        if actual != expected {
            failures.push(format!("{request} is answered {actual}, not {expected}"));
        }
    };
    let packet: String = (0..PAIRS)
        .map(|number| format!("PUT pair:{number} {number}\n"))
        .collect();
    client.send_bytes(packet.as_bytes());
    for _ in 0..PAIRS {
        assert_eq!(client.reply(), "OK", "PUT");
    }
    // What has been answered is on the replicas.
    let replicas = 3..cluster.addresses().len();
    if !replicas.is_empty() {
        let keys = |node| query::<usize>(&redis::cmd("DBSIZE"), &mut cluster.connection(node));
        let sum: usize = replicas.clone().map(keys).sum();
        assert_eq!(sum, PAIRS, "keys of replicas");
    }
    for number in [0, 7, PAIRS - 1] {
        let expected = format!("VALUE \"{number}\"");
        expect(&mut client, &format!("GET pair:{number}"), &expected);
    }
    expect(&mut client, "COUNT pair:", &format!("COUNT {PAIRS}"));
    expect(&mut client, "DBSIZE", &format!("COUNT {PAIRS}"));
    for request in ["KEYS", "ALL"] {
        let end = client.ask_rows(request).pop().unwrap_or_default();
        assert_eq!(end, format!("END {PAIRS}"), "{request}");
    }
    let transaction = [
        ("WATCH {a}1", "OK"),
        ("MULTI", "OK"),
        ("PUT {a}1 1", "QUEUED"),
        ("INCRBYFLOAT {a}2 0.5", "QUEUED"),
        ("EXEC", "ARRAY 2"),
    ];
    for (request, expected) in transaction {
        expect(&mut client, request, expected);
    }
    assert_eq!([client.reply(), client.reply()], ["OK", "VALUE \"0.5\""]);
    expect(&mut client, "DELIFEQ {a}1 1", "COUNT 1");
    expect(&mut client, "DEL {a}2", "COUNT 1");
    let mut link = pykv.redis_connection();
    for number in 0..LONG_VALUES {
        let value = vec![b'0' + number.to_le_bytes()[0]; LONG_BYTES + number];
        let set = redis::cmd("SET").arg("long").arg(&value).to_owned();
        let stored: Result<(), _> = set.query(&mut link);
        stored.unwrap_or_else(|error| panic!("SET of a long value: {error}"));
        let found: Vec<u8> = query(redis::cmd("GET").arg("long"), &mut link);
        assert!(found == value, "GET of a long value");
    }
    let () = query(redis::cmd("DEL").arg("long"), &mut link);
    let mut listener = pykv.redis_connection();
    let mut channel = listener.as_pubsub();
    channel.subscribe("news").expect("it is subscribed to");
    for number in 0..MESSAGES {
        let publish = redis::cmd("PUBLISH").arg("news").arg(number).to_owned();
        let receivers: usize = query(&publish, &mut link);
        let heard = channel.get_message().expect("a message");
        let heard: usize = heard.get_payload().expect("a number");
        assert_eq!((receivers, heard), (1, number), "PUBLISH");
    }
    let stats = client.ask_rows("STATS");
    for (name, number) in [("primaries", 3), ("replicas", replicas.len())] {
        let expected = format!("STAT cluster_{name} {number}");
        if !stats.contains(&expected) {
            failures.push(format!("STATS has no {expected}: {stats:?}"));
        }
    }
}

/// Starts with something wrong: each says which node it is about, and what to do. Returns their number.
fn refusals(cluster: &RedisCluster, trusted: &str, failures: &mut Vec<String>) -> usize {
    let addresses: Vec<String> = cluster
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let nodes = addresses.join(",");
    let stranger = Authority::new();
    let (stranger, missing) = (shown(&stranger.file()), "/nowhere/ca.pem");
    let right = cluster.url();
    let refuse = |url: &str, authority: &str, expected: &[&str], failures: &mut Vec<String>| {
        let flags = ["--engine-timeout", GIVE_UP];
        let said = Pykv::start_fails(url, &flags, &[("SSL_CERT_FILE", authority)]);
        let is_about_none = authority == missing;
        let names_node = addresses.iter().any(|address| said.contains(address));
        let lacks = expected.iter().find(|text| !said.contains(**text));
        if lacks.is_some() || !(names_node || is_about_none) || said.contains(PASSWORD) {
            failures.push(format!("{expected:?} is not what is said: {said}"));
        }
    };
    let wrong = format!("rediss://default:no-{GIVE_UP}@{nodes}");
    let unsigned = format!("rediss://{nodes}");
    let plain = right.replacen("rediss://", "redis://", 1);
    let cases: [(&str, &str, &[&str]); 5] = [
        (
            &right,
            &stranger,
            &["invalid peer certificate", "SSL_CERT_FILE"],
        ),
        (&right, missing, &[missing, "SSL_CERT_FILE"]),
        (&wrong, trusted, &["WRONGPASS", "redis://USER:PASSWORD@"]),
        (&unsigned, trusted, &["NOAUTH", "redis://USER:PASSWORD@"]),
        (&plain, trusted, &["give rediss://"]),
    ];
    for (url, authority, expected) in cases {
        refuse(url, authority, expected, failures);
    }
    for node in 0..addresses.len() {
        let command = redis::cmd("CONFIG")
            .arg(&["SET", "tls-auth-clients", "yes"])
            .to_owned();
        let () = query(&command, &mut cluster.connection(node));
    }
    refuse(&right, trusted, &["tls-auth-clients no"], failures);
    cases.len() + 1
}

/// Whether TLS cannot be tried: what is said of it.
fn skipped(setup: &Setup) -> Option<Result<String, String>> {
    if setup.front != Kind::Pykv {
        return Some(Ok("only the server is asked".to_owned()));
    }
    // A setting that is not known is cited before one that is wrong.
    let output = Command::new(setup.program())
        .args(["--tls-cluster", "no", "--port", "none"])
        .output()
        .expect("the program starts");
    let said = [output.stdout, output.stderr].concat();
    if !String::from_utf8_lossy(&said).contains("'tls-cluster") {
        return None;
    }
    let skipped = format!("skipped: {} has no TLS", setup.program().display());
    let is_in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    Some(if is_in_ci { Err(skipped) } else { Ok(skipped) })
}

fn verdict(pykv: &Pykv, failures: &[String], figures: String) -> Result<String, String> {
    if failures.is_empty() && !pykv.log().contains("panicked at") {
        return Ok(figures);
    }
    Err(format!(
        "{figures}\n{}\n{}",
        failures.join("\n"),
        pykv.log()
    ))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn query<T: redis::FromRedisValue>(command: &redis::Cmd, link: &mut redis::Connection) -> T {
    command.query(link).expect("a reply")
}
