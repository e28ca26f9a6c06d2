//! Pairs that `pykv-cli` moves from a local server to a cluster, and back to another one.
//!
//! In: how the scenario is run. Out: the figures, or what is not as it was.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::server::TestServer;

const PAIRS: usize = 5_000;
const LONG_PAIRS: usize = 50_000;
/// Pairs that are written or read in one packet.
const BATCH_PAIRS: usize = 500;
/// The earliest expiry of a pair from now on, in milliseconds: no pair expires meanwhile.
const LIFE_MS: i64 = 3_600_000;

/// A pair, and its expiry in milliseconds since 1970, or -1.
type Pair = (String, Vec<u8>, i64);

/// Pairs are the same after each step of their way.
pub fn both_ways(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server is asked".to_owned());
    }
    let cluster = setup.cluster(3, 0);
    let pykv = Pykv::start(&cluster, &["--durability", "fast"]);
    let (first, second) = (TestServer::start(), TestServer::start());
    let pairs = pairs(if setup.is_long { LONG_PAIRS } else { PAIRS });
    store(first.addr(), &pairs);
    check("the first server", first.addr(), &pairs)?;
    let folder = TempDir::new().map_err(|error| error.to_string())?;
    let formats: &[&str] = if setup.is_long {
        &["json", "jsonl", "csv"]
    } else {
        &["jsonl"]
    };
    let mut times = Vec::new();
    for format in formats {
        for addr in [pykv.addr(), second.addr()] {
            let mut link = connection(addr);
            let () = query(&mut redis::cmd("FLUSHALL"), &mut link);
        }
        let there = folder.path().join(format!("there.{format}"));
        let back = folder.path().join(format!("back.{format}"));
        let started = Instant::now();
        run("export", first.addr(), &there)?;
        run("import", pykv.addr(), &there)?;
        check("the cluster", pykv.addr(), &pairs)?;
        run("export", pykv.addr(), &back)?;
        run("import", second.addr(), &back)?;
        check("the second server", second.addr(), &pairs)?;
        times.push(format!("{format} {:.1} s", started.elapsed().as_secs_f64()));
    }
    Ok(format!(
        "{} pairs there and back; {}",
        pairs.len(),
        times.join(", ")
    ))
}

/// Pairs of all kinds: a third with an expiry, some binary, some empty, keys of several scripts.
fn pairs(count: usize) -> Vec<Pair> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_millis();
    let now = i64::try_from(now).expect("a time of this age");
    let pair = |number: usize| {
        let key = match number % 7 {
            0 => format!("user:{number}"),
            1 => format!("ключ {number} \u{1f600}"),
            2 => format!("{{tag{}}}:{number}", number % 50),
            3 => format!("\"quoted\"\n\\{number}\r\t,;"),
            4 => format!("=1+{number}"),
            _ => format!("key:{number}"),
        };
        let value = match number % 11 {
            0 => Vec::new(),
            1 => vec![0xff, 0, 0xfe, number.to_le_bytes()[0]],
            2 => format!("значение\r\n\"{number}\", \\ ").into_bytes(),
            3 => format!("{number:.<5000}").into_bytes(),
            4 => br#"{"$base64": "AAA="}"#.to_vec(),
            _ => number.to_string().into_bytes(),
        };
        let odd = i64::try_from(number).expect("a small number");
        let expiry = if number.is_multiple_of(3) {
            now + LIFE_MS + 1_001 * odd
        } else {
            -1
        };
        (key, value, expiry)
    };
    // The empty key is one, too.
    let empty = (String::new(), b"of the empty key".to_vec(), -1);
    (1..count).map(pair).chain([empty]).collect()
}

fn store(addr: SocketAddr, pairs: &[Pair]) {
    let mut link = connection(addr);
    for pairs in pairs.chunks(BATCH_PAIRS) {
        let mut pipe = redis::pipe();
        for (key, value, expiry) in pairs {
            let command = pipe.cmd("SET").arg(key).arg(&value[..]);
            if *expiry >= 0 {
                command.arg("PXAT").arg(*expiry);
            }
        }
        let replies: redis::RedisResult<Vec<String>> = pipe.query(&mut link);
        let replies = replies.expect("pairs are stored");
        assert!(replies.iter().all(|reply| reply == "OK"));
    }
}

/// Looks whether a server has these pairs and no others.
fn check(place: &str, addr: SocketAddr, pairs: &[Pair]) -> Result<(), String> {
    let mut link = connection(addr);
    let size: usize = query(&mut redis::cmd("DBSIZE"), &mut link);
    let mut wrong = Vec::new();
    for pairs in pairs.chunks(BATCH_PAIRS) {
        let mut pipe = redis::pipe();
        for (key, _, _) in pairs {
            pipe.cmd("GET").arg(key).cmd("PEXPIRETIME").arg(key);
        }
        let replies: redis::RedisResult<Vec<redis::Value>> = pipe.query(&mut link);
        let replies = replies.map_err(|error| format!("{place}: {error}"))?;
        for (pair, found) in pairs.iter().zip(replies.chunks(2)) {
            let (key, value, expiry) = pair;
            let expected = [
                redis::Value::BulkString(value.clone()),
                redis::Value::Int(*expiry),
            ];
            if found != expected {
                wrong.push(format!("{key:?} is {found:?}, not {expected:?}"));
            }
        }
    }
    if wrong.is_empty() && size == pairs.len() {
        return Ok(());
    }
    let count = wrong.len();
    wrong.truncate(5);
    Err(format!(
        "{place} has {size} pairs, not {}, and {count} that are wrong: {}",
        pairs.len(),
        wrong.join("; ")
    ))
}

/// Runs the client; what it says if it fails.
fn run(what: &str, addr: SocketAddr, file: &Path) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_pykv-cli"))
        .args([what, "--url", &format!("pykv://{addr}")])
        .arg(file)
        .output()
        .map_err(|error| format!("pykv-cli: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "pykv-cli {what} of {addr}: {}: {said}",
        output.status
    ))
}

fn connection(addr: SocketAddr) -> redis::Connection {
    let client = redis::Client::open(format!("redis://{addr}")).expect("an address");
    client.get_connection().expect("the server takes a client")
}

fn query<T: redis::FromRedisValue>(command: &mut redis::Cmd, link: &mut redis::Connection) -> T {
    command.query(link).expect("a reply")
}
