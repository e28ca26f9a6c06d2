//! `pykv-cli bench`: it asks what it says, of PyKV and of Redis, counts what it is answered, and ends when it should.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{Ended, client, end, nobody, run, server_that_says};
use crate::support::full_disk::limit_files;
use crate::support::redis::Redis;
use crate::support::server::{TestServer, is_skipped, wait_until};

const DIALECTS: [&str; 2] = ["line", "resp"];

/// Runs `bench` with these words, after which all is well.
fn figures(addr: SocketAddr, words: &str) -> Value {
    let ended = bench(addr, words);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{words}");
    document(&ended)
}

fn bench(addr: SocketAddr, words: &str) -> Ended {
    end(client(addr)
        .args(["--json", "bench"])
        .args(words.split(' ')))
}

fn document(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("no document in {ended:?}"))
}

fn number(of: &Value) -> u64 {
    of.as_u64().unwrap_or_else(|| panic!("{of} is no number"))
}

fn seconds(figures: &Value) -> f64 {
    figures["seconds"].as_f64().expect("a number")
}

/// That it was called wrongly, or could not talk to the server, and says why.
fn assert_fails(ended: &Ended, reason: &str) {
    assert_eq!((ended.status, ended.out.as_str()), (2, ""), "{ended:?}");
    assert!(ended.err.contains(reason), "{ended:?}");
}

#[test]
fn each_dialect_stores_every_key_and_then_reads_and_writes_as_often_as_it_says() {
    for dialect in DIALECTS {
        let server = TestServer::start();
        let words = "--fill --keys 2000 -n 10001 --clients 3 --threads 2 -P 8 --reads 70 -d 32";
        let figures = figures(server.addr(), &format!("--dialect {dialect} {words}"));
        let mut wire = server.client();
        assert_eq!(wire.ask("COUNT"), "COUNT 2000", "{dialect}");
        for key in ["bench:0000000000", "bench:0000001999"] {
            assert_eq!(wire.ask(&format!("STRLEN {key}")), "COUNT 32", "{dialect}");
        }
        let names: Vec<&str> = figures
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        let expected = "address dialect clients threads pipeline keys key_bytes value_bytes \
                        reads_percent rate seconds misses errors first_error reads writes all";
        assert_eq!(names.join(" "), expected);
        for (name, expected) in [
            ("address", json!(server.addr().to_string())),
            ("dialect", json!(dialect)),
            ("clients", json!(3)),
            ("threads", json!(2)),
            ("pipeline", json!(8)),
            ("keys", json!(2000)),
            ("key_bytes", json!(16)),
            ("value_bytes", json!(32)),
            ("reads_percent", json!(70)),
            ("rate", json!(null)),
            ("misses", json!(0)),
            ("errors", json!(0)),
            ("first_error", json!(null)),
        ] {
            assert_eq!(figures[name], expected, "{name}");
        }
        let requests = ["reads", "writes", "all"].map(|row| number(&figures[row]["requests"]));
        assert_eq!((requests[0] + requests[1], requests[2]), (10_001, 10_001));
        // 70 of 100, give or take ten times the deviation of so many throws.
        assert!((6_500..=7_500).contains(&requests[0]), "{requests:?}");
        for row in ["reads", "writes", "all"] {
            let latency = figures[row]["latency_us"].as_object().expect("an object");
            let names: Vec<&str> = latency.keys().map(String::as_str).collect();
            assert_eq!(names, ["p50", "p90", "p99", "p99.9", "p99.99", "max"]);
            let latencies = latency.values().map(Value::as_f64);
            assert!(latencies.is_sorted(), "{latency:?}");
            assert!(latency["p50"].as_f64() > Some(0.0), "{latency:?}");
            assert!(number(&figures[row]["per_second"]) > 0, "{figures}");
        }
    }
}

#[test]
fn people_are_shown_a_table() {
    let server = TestServer::start();
    let words = "bench --fill --keys 100 -n 2000 --clients 2 --reads 100";
    let words: Vec<&str> = words.split(' ').collect();
    let ended = run(server.addr(), &words);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""), "{ended:?}");
    let lines: Vec<&str> = ended.out.lines().collect();
    let heading = format!(
        "{}, dialect line: 2 clients on 1 thread, each 1 request at a time",
        server.addr()
    );
    assert_eq!(lines[0], heading);
    assert_eq!(
        lines[1],
        "100 keys of 16 bytes, values of 64 bytes, 100 of 100 requests read"
    );
    let heads: Vec<&str> = lines[3].split_whitespace().collect();
    let expected = "requests per second p50 p90 p99 p99.9 p99.99 max (ms)";
    assert_eq!(heads.join(" "), expected);
    // There were no writes, and no row of them.
    let rows = ["reads", "all"].iter().zip(&lines[4..]);
    for (name, row) in rows {
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!((cells[0], cells[1], cells.len()), (*name, "2,000", 9));
    }
    assert!(lines[7].starts_with("2,000 requests in "), "{lines:?}");
    assert_eq!(lines.len(), 8, "{lines:?}");
}

#[test]
fn a_read_of_a_key_that_is_not_there_is_counted_and_told() {
    let server = TestServer::start();
    for dialect in DIALECTS {
        let words = format!("--dialect {dialect} -n 1000 --reads 100 -P 4");
        let figures = figures(server.addr(), &words);
        assert_eq!(figures["misses"], 1000, "{dialect}");
        assert_eq!(figures["writes"]["requests"], 0, "{dialect}");
    }
    let ended = run(server.addr(), &["bench", "-n", "1000", "--reads", "100"]);
    let told = "\n1,000 reads found nothing: --fill stores every key before\n";
    assert!(ended.out.ends_with(told), "{ended:?}");
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
}

#[test]
fn a_redis_server_is_asked_as_well() {
    if is_skipped("redis-server") {
        return;
    }
    let redis = Redis::start();
    let words = "--fill --keys 500 -n 5000 --clients 3 -P 8";
    let figures = figures(redis.addr, &format!("--dialect resp {words}"));
    assert_eq!(
        (&figures["misses"], &figures["errors"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(figures["all"]["requests"], 5000);
    let ended = bench(redis.addr, "--dialect line -n 100");
    assert_fails(&ended, "does not answer as a PyKV server does");
}

#[test]
fn a_refusal_of_redis_is_counted_as_one() {
    if is_skipped("redis-server") {
        return;
    }
    let redis = Redis::start_with(&["--maxmemory", "1"]);
    let ended = bench(redis.addr, "--dialect resp -n 1000 -P 10 --reads 50");
    let figures = document(&ended);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!(figures["errors"], figures["writes"]["requests"]);
    assert_eq!(figures["misses"], figures["reads"]["requests"]);
    let first = figures["first_error"].as_str().expect("a text");
    assert!(first.starts_with("OOM "), "{first}");
}

#[test]
fn a_refusal_of_a_full_disk_is_counted_as_one() {
    if is_skipped("prlimit") {
        return;
    }
    let server = TestServer::start();
    // No file has room for one value.
    limit_files(&server, "500");
    let ended = bench(server.addr(), "-n 1000 -P 10 --reads 50 -d 1000");
    let figures = document(&ended);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert_eq!(figures["errors"], figures["writes"]["requests"]);
    assert_eq!(figures["misses"], figures["reads"]["requests"]);
    let first = figures["first_error"].as_str().expect("a text");
    assert!(first.starts_with("DISK cannot write "), "{first}");
    let words = ["bench", "-n", "200", "--reads", "0", "-d", "1000"];
    let ended = run(server.addr(), &words);
    let told = "\n200 requests refused, the first with: DISK cannot write ";
    assert!(ended.status == 1 && ended.out.contains(told), "{ended:?}");
    // Nothing is measured of a store that is not filled.
    let ended = bench(server.addr(), "--fill --keys 100 -d 1000");
    assert_eq!((ended.status, ended.out.as_str()), (1, ""), "{ended:?}");
    assert!(
        ended.err.starts_with("Error: DISK cannot write "),
        "{ended:?}"
    );
}

#[test]
fn a_server_that_takes_no_more_clients_is_told_in_its_own_words() {
    // Of a hundred open files, a server has so many for its clients.
    let server = TestServer::start_with_files(100);
    figures(server.addr(), "--clients 75 -n 1000");
    wait_until("those clients are gone", || server.stat("connections") == 1);
    // The one too many is the last of them, and the others have work for an hour.
    let words = ["bench", "--clients", "76", "--seconds", "3600"];
    let ended = run(server.addr(), &words);
    assert_eq!((ended.status, ended.out.as_str()), (1, ""), "{ended:?}");
    let told = "Error: BUSY there are 75 connections already; try again later\n";
    assert_eq!(ended.err, told);
    // It may say so to a request, and close only after that.
    let addr = server_that_says("ERR BUSY too many connections\n");
    let ended = run(addr, &["bench", "--clients", "3"]);
    assert_eq!((ended.status, ended.out.as_str()), (1, ""), "{ended:?}");
    assert_eq!(ended.err, "Error: BUSY too many connections\n");
}

#[test]
fn a_rate_is_kept_and_a_run_ends_in_time() {
    let server = TestServer::start();
    let paced = figures(server.addr(), "--rate 2000 --seconds 1 --clients 4");
    assert_eq!(paced["rate"], 2000);
    let requests = number(&paced["all"]["requests"]);
    assert!((1_000..=2_600).contains(&requests), "{paced}");
    assert!((1.0..3.0).contains(&seconds(&paced)), "{paced}");
    // The second client would be due only when the time is up, and the last fifty seconds later.
    let slow = figures(server.addr(), "--rate 1 --seconds 1 --clients 50");
    assert_eq!(slow["all"]["requests"], 1, "{slow}");
    assert!((1.0..3.0).contains(&seconds(&slow)), "{slow}");
    let fast = figures(server.addr(), "--seconds 1 --clients 4");
    assert!(number(&fast["all"]["requests"]) > 100, "{fast}");
    assert!((1.0..3.0).contains(&seconds(&fast)), "{fast}");
}

/// Goal: a server that stalls cannot hide it by holding up the requests that would have come next.
/// Method: of fifty requests, one each 10 ms, the first is answered after 300 ms: some thirty were due by then.
#[test]
fn at_a_rate_a_latency_counts_from_when_the_request_was_due() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        for (number, request) in reader.lines().enumerate() {
            assert!(request.expect("text").starts_with("PUT bench:"));
            if number == 0 {
                thread::sleep(Duration::from_millis(300));
            }
            stream.write_all(b"OK\n").expect("the client reads");
        }
    });
    let figures = figures(addr, "--rate 100 --clients 1 -n 50 --reads 0");
    server.join().expect("all was well formed");
    let latency = |name: &str| figures["all"]["latency_us"][name].as_f64();
    assert!(latency("max") >= Some(290_000.0), "{figures}");
    assert!(latency("p50") >= Some(30_000.0), "{figures}");
}

#[test]
fn ctrl_c_ends_a_run_with_what_was_measured() {
    // At a rate of ten, most of a hundred clients are still waiting for their turn.
    for words in ["--clients 4 -P 4", "--rate 10 --clients 100"] {
        let server = TestServer::start();
        let child = client(server.addr())
            .args(["--json", "bench", "--seconds", "600", "--reads", "0"])
            .args(words.split(' '))
            .spawn()
            .expect("the client starts");
        wait_until("something was stored", || server.stat("keys") > 0);
        let kill = format!("kill -INT {}", child.id());
        let killed = Command::new("sh").args(["-c", &kill]).status();
        assert!(killed.expect("sh runs").success());
        let output = child.wait_with_output().expect("the client ends");
        let figures: Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..])
        );
        assert!(number(&figures["all"]["requests"]) > 0, "{figures}");
        assert!(seconds(&figures) < 60.0, "{figures}");
    }
}

#[test]
fn keys_are_as_long_as_their_numbers_need_and_as_a_key_may_be() {
    let server = TestServer::start();
    for words in [
        "--keys 1 --key-bytes 7",
        "--keys 10 --key-bytes 7",
        "--keys 100 --key-bytes 8",
        "--keys 101 --key-bytes 9",
        "--keys 10 --key-bytes 65536",
    ] {
        assert_eq!(server.client().ask("CLEAR"), "OK");
        let figures = figures(server.addr(), &format!("{words} --fill -n 50 -d 1"));
        assert_eq!(figures["misses"], 0, "{words}");
        assert_eq!(number(&figures["keys"]), server.stat("keys"), "{words}");
    }
    for (words, reason) in [
        (
            "--keys 11 --key-bytes 7",
            "11 different keys take at least --key-bytes 8",
        ),
        (
            "--keys 101 --key-bytes 8",
            "101 different keys take at least --key-bytes 9",
        ),
        ("--key-bytes 6", "6 is not in 7..=65536"),
        ("--key-bytes 65537", "65537 is not in 7..=65536"),
        ("--keys 0", "0 is not in 1.."),
        ("--clients 10001", "10001 is not in 1..=10000"),
        ("--reads 101", "101 is not in 0..=100"),
        ("--seconds 1 -n 5", "cannot be used with"),
    ] {
        assert_fails(&bench(server.addr(), words), reason);
    }
}

#[test]
fn requests_that_are_made_at_once_have_a_limit() {
    let server = TestServer::start();
    // Ten thousand times 64 bytes, a key of 16 and the value are 4,294,960,000 bytes, and may be 4,294,967,296.
    let most = "-P 10000 --clients 1 -n 1 -d 429416";
    assert_eq!(figures(server.addr(), most)["all"]["requests"], 1);
    let more = "-P 10000 --clients 1 -n 1 -d 429417";
    assert_fails(
        &bench(server.addr(), more),
        "make 4294970000 bytes of requests at once, and may make 4294967296",
    );
}

#[test]
fn more_clients_than_a_shell_allows_files_are_connected() {
    let server = TestServer::start();
    let mut command = Command::new("sh");
    let ended = end(command
        .args(["-c", "ulimit -Sn 128; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_pykv-cli"))
        .args(["--json", "--url", &format!("pykv://{}", server.addr())])
        .args(["bench", "--clients", "200", "-n", "1000"]));
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    assert_eq!(document(&ended)["all"]["requests"], 1000);
}

#[test]
fn what_is_no_server_of_either_kind_is_told_at_once() {
    assert_fails(&bench(nobody(), "-n 10"), "cannot connect to 127.0.0.1:");
    let server = TestServer::start();
    for dialect in DIALECTS {
        let words = format!("--dialect {dialect} -n 10");
        let ended = bench(server.http_addr(), &words);
        assert_fails(&ended, "does not answer as a PyKV server does");
        let ended = bench(server_that_says(""), &words);
        assert_fails(&ended, "was lost before the answer was complete");
    }
}
