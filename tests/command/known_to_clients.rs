//! What Redis clients ask in passing, and their test suites: waits for the disk, errors on demand, parts of Redis that are not here.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::support::resp::{self, Resp};
use crate::support::server::{TestServer, wait_until};

#[test]
fn parts_of_redis_that_are_not_here_are_listed_as_empty() {
    let server = TestServer::start();
    let mut resp = Resp::connect(server.addr());
    for (request, reply) in [
        ("FUNCTION LIST", ""),
        ("FUNCTION LIST LIBRARYNAME x", ""),
        (
            "FUNCTION STATS",
            "running_script -1 engines LUA libraries_count 0 functions_count 0",
        ),
        (
            "FUNCTION LOAD x",
            "ERR unknown subcommand 'LOAD'. Try FUNCTION HELP.",
        ),
        (
            "FUNCTION NOSUCH",
            "ERR unknown subcommand 'NOSUCH'. Try FUNCTION HELP.",
        ),
        ("MODULE LIST", ""),
        (
            "MODULE LOAD x",
            "ERR unknown subcommand 'LOAD'. Try MODULE HELP.",
        ),
        ("SCRIPT DEBUG NO", "OK"),
        (
            "SCRIPT DEBUG YES",
            "ERR there is no debugger for scripts here",
        ),
        ("SCRIPT DEBUG X", "ERR Use SCRIPT DEBUG YES/SYNC/NO"),
        ("MEMORY PURGE", "OK"),
        ("DEBUG JMAP", "OK"),
        ("DEBUG RELOAD", "OK"),
        ("DEBUG ERROR CODE", "CODE"),
        ("DEBUG STRINGMATCH-LEN 3 a*a", "1"),
        ("DEBUG STRINGMATCH-LEN 3 a*b", "0"),
        ("DEBUG STRINGMATCH-LEN 65537 a", "ERR value is out of range"),
        ("DEBUG OBJECT a", "ERR no such key"),
        (
            "DEBUG NOSUCH",
            "ERR unknown subcommand 'NOSUCH'. Try DEBUG HELP.",
        ),
        (
            "BGREWRITEAOF",
            "Background append only file rewriting started",
        ),
    ] {
        assert_eq!(resp.ask(request), reply, "{request}");
    }
    assert!(resp.ask("LOLWUT VERSION 5").starts_with("PyKV "));
    assert!(resp.ask("MEMORY MALLOC-STATS").contains("resident: "));
    assert_eq!(resp.ask("SET a 12"), "OK");
    let described = resp.ask("DEBUG OBJECT a");
    assert!(described.contains(" encoding:int "), "{described}");
}

#[test]
fn numbers_with_a_fraction_are_doubles_in_resp3_alone() {
    let server = TestServer::start();
    let requests = [
        "EVAL return{double=1.5} 0",
        "AUTH nobody wrong",
        "ACL LOG",
        "MEMORY STATS",
    ];
    let said = |hello: &str| -> String {
        let mut stream = TcpStream::connect(server.addr()).expect("the server accepts");
        stream.write_all(hello.as_bytes()).expect("it is sent");
        for request in requests {
            let words: Vec<&str> = request.split(' ').collect();
            let bytes = resp::request(&words);
            stream.write_all(&bytes).expect("it is sent");
        }
        stream.shutdown(Shutdown::Write).expect("it is open");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("replies");
        said
    };
    let (resp2, resp3) = (said(""), said("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"));
    let before = |text: &str, name: &str| -> String {
        let at = text.find(name).expect("the field") + name.len();
        text[at..].chars().take(3).collect()
    };
    assert!(resp2.starts_with("$3\r\n1.5\r\n"), "{resp2}");
    assert!(resp3.contains("\r\n,1.5\r\n"), "{resp3}");
    for name in ["age-seconds", "dataset.percentage", "rss-overhead.ratio"] {
        assert_eq!(before(&resp2, name), "\r\n$", "{name}");
        assert_eq!(before(&resp3, name), "\r\n,", "{name}");
    }
    for name in ["replication.backlog", "lua.caches", "allocator.active"] {
        assert_eq!(before(&resp3, name), "\r\n:", "{name}");
    }
}

#[test]
fn names_of_commands_are_found_by_a_pattern_in_any_case() {
    let server = TestServer::start();
    let mut resp = Resp::connect(server.addr());
    for pattern in ["*SETNX", "*setnx"] {
        let found = resp.ask(&format!("COMMAND LIST FILTERBY PATTERN {pattern}"));
        assert_eq!(found, "setnx msetnx");
    }
}

#[test]
fn debug_fails_on_demand_in_a_transaction_and_takes_no_time_there() {
    let server = TestServer::start();
    let mut resp = Resp::connect(server.addr());
    for (request, reply) in [
        ("MULTI", "OK"),
        ("DEBUG ERROR LOADING", "QUEUED"),
        ("DEBUG SLEEP 1", "QUEUED"),
        ("SET a 1", "QUEUED"),
        (
            "EXEC",
            "LOADING ERR it takes time, and cannot be part of a transaction OK",
        ),
    ] {
        assert_eq!(resp.ask(request), reply, "{request}");
    }
}

#[test]
fn connections_are_closed_by_their_age() {
    let server = TestServer::start();
    let (mut admin, mut other) = (Resp::connect(server.addr()), Resp::connect(server.addr()));
    assert_eq!(other.ask("PING"), "PONG");
    assert_eq!(admin.ask("CLIENT KILL MAXAGE 3600"), "0");
    assert_eq!(admin.ask("CLIENT KILL MAXAGE 0"), "1");
    assert_eq!(
        admin.ask("CLIENT KILL MAXAGE x"),
        "ERR maxage is not an integer or out of range"
    );
}

#[test]
fn debug_sleep_holds_up_one_client_for_a_minute_at_most() {
    let server = TestServer::start();
    let (mut sleeper, mut other) = (Resp::connect(server.addr()), Resp::connect(server.addr()));
    let began = Instant::now();
    let slept = std::thread::spawn(move || sleeper.ask("DEBUG SLEEP 0.3"));
    assert_eq!(other.ask("PING"), "PONG");
    assert_eq!(slept.join().expect("a reply"), "OK");
    assert!(began.elapsed() >= Duration::from_millis(300));
    let refusal = "ERR seconds are 0 to 60, such as 0.5";
    for wrong in ["60.1", "-1", "x", "NaN"] {
        assert_eq!(other.ask(&format!("DEBUG SLEEP {wrong}")), refusal);
    }
}

#[test]
fn expired_keys_are_hidden_and_kept_while_their_deletion_is_off() {
    let server = TestServer::start();
    let mut resp = Resp::connect(server.addr());
    assert_eq!(resp.ask("DEBUG SET-ACTIVE-EXPIRE 0"), "OK");
    assert_eq!(resp.ask("SET brief v PX 1"), "OK");
    assert_eq!(resp.ask("SET kept v"), "OK");
    wait_until("it has expired", || resp.ask("GET brief") == "-1");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(server.stat("expired"), 0);
    assert_eq!(resp.ask("DEBUG SET-ACTIVE-EXPIRE 1"), "OK");
    wait_until("it is deleted", || server.stat("expired") == 1);
    assert_eq!(resp.ask("DEBUG SET-ACTIVE-EXPIRE 2"), "ERR it is 0 or 1");
}

#[test]
fn waitaof_waits_for_the_disk_and_for_replicas() {
    let server = TestServer::start_with(&["--durability", "everysec"]);
    let mut resp = Resp::connect(server.addr());
    assert_eq!(resp.ask("SET a 1"), "OK");
    assert_eq!(resp.ask("WAITAOF 1 0 10000"), "1 0");
    assert_eq!(resp.ask("WAITAOF 0 0 0"), "1 0");
    let began = Instant::now();
    assert_eq!(resp.ask("WAITAOF 1 1 50"), "1 0");
    assert!(began.elapsed() >= Duration::from_millis(50));
    for (request, reply) in [
        (
            "WAITAOF 2 0 0",
            "ERR value is out of range, value must between 0 and 1",
        ),
        (
            "WAITAOF 0 -1 0",
            "ERR value is out of range, must be positive",
        ),
        ("WAITAOF 0 0 -1", "ERR timeout is negative"),
        (
            "WAITAOF 0 0 x",
            "ERR timeout is not an integer or out of range",
        ),
    ] {
        assert_eq!(resp.ask(request), reply, "{request}");
    }
    let off = TestServer::start_with(&["--durability", "off"]);
    let mut resp = Resp::connect(off.addr());
    assert_eq!(
        resp.ask("WAITAOF 1 0 0"),
        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
    );
}
