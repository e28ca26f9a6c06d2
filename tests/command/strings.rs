//! Values as wholes, in parts, and as numbers, at the edges that protocol.md does not show.
//!
//! In: commands of Redis and of our own, on lines. Out: nothing but the verdict. What to expect is what Redis 7.0 answers, told in
//! the words of a line.

use crate::support::server::{TestClient, TestServer};

fn expect(client: &mut TestClient, cases: &[(&str, &str)]) {
    for (line, reply) in cases {
        assert_eq!(client.ask(line), *reply, "{line}");
    }
}

const SET: &str = "ERR ARGS SET does not take these arguments: SET <key> <value> [NX | XX | IFEQ <value> | IFNE <value> | IFDEQ <digest> | IFDNE <digest>] [GET] [EX <seconds> | PX <ms> | EXAT <unix seconds> | PXAT <unix ms> | KEEPTTL]";

#[test]
fn options_of_set_come_in_any_order_and_contradictions_change_nothing() {
    let server = TestServer::start();
    let mut client = server.client();
    expect(
        &mut client,
        &[
            ("SET k 1 get nx", "NOT_FOUND"),
            ("SET k 2 NX GET", "VALUE \"1\""),
            ("SET k 2 XX EXAT 4102444800 GET", "VALUE \"1\""),
            ("SET k 3 KEEPTTL IFEQ 1", "UNCHANGED"),
            ("SET k 3 KEEPTTL IFEQ 2", "OK"),
            ("EXPIRETIME k", "COUNT 4102444800"),
            ("SET nobody 3 XX", "UNCHANGED"),
            ("SET nobody 3 XX GET", "NOT_FOUND"),
            ("SET nobody 3 IFEQ \"\"", "UNCHANGED"),
            ("SET k 4 NX XX", SET),
            ("SET k 4 XX IFEQ 3", SET),
            ("SET k 4 KEEPTTL EX 5", SET),
            ("SET k 4 EX", SET),
            ("SET k 4 IFEQ", SET),
            ("SET k 4 5", SET),
            (
                "SET k 4 EX 0",
                "ERR ARGS invalid expire time in 'set' command",
            ),
            (
                "SET k 4 PX -1",
                "ERR ARGS invalid expire time in 'set' command",
            ),
            (
                "SET k 4 EX 1.5",
                "ERR ARGS value is not an integer or out of range",
            ),
            ("GET k", "VALUE \"3\""),
            ("EXPIRETIME k", "COUNT 4102444800"),
            ("EXISTS nobody", "COUNT 0"),
            // A value may look like an option.
            ("SET NX XX", "OK"),
            ("SET NX GET IFEQ XX", "OK"),
            ("GET NX", "VALUE \"GET\""),
        ],
    );
}

#[test]
fn a_lock_is_held_by_one_and_freed_by_its_holder_alone() {
    let server = TestServer::start();
    server.client().ask("PUT inside 0");
    std::thread::scope(|scope| {
        for name in ["ann", "bob", "eve"] {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.client();
                let mut times = 0;
                while times < 30 {
                    if client.ask(&format!("SET lock {name} NX EX 999")) != "OK" {
                        continue;
                    }
                    assert_eq!(client.ask("INCR inside"), "VALUE \"1\"");
                    assert_eq!(client.ask("DELIFEQ lock nobody"), "COUNT 0");
                    assert_eq!(client.ask("DECR inside"), "VALUE \"0\"");
                    assert_eq!(client.ask(&format!("DELIFEQ lock {name}")), "COUNT 1");
                    times += 1;
                }
            });
        }
    });
    assert_eq!(server.client().ask("EXISTS lock"), "COUNT 0");
}

#[test]
fn many_who_compare_and_set_lose_nothing() {
    let server = TestServer::start();
    server.client().ask("PUT sum 0");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                let mut added = 0;
                while added < 50 {
                    let value = client.ask("GET sum");
                    let value = value.trim_start_matches("VALUE \"").trim_end_matches('"');
                    let sum: u64 = value.parse().expect("a number");
                    let reply = client.ask(&format!("SET sum {} IFEQ {sum}", sum + 1));
                    assert!(reply == "OK" || reply == "UNCHANGED", "{reply}");
                    added += u64::from(reply == "OK");
                }
            });
        }
    });
    assert_eq!(server.client().ask("GET sum"), "VALUE \"200\"");
}

#[test]
fn parts_of_a_value_are_counted_in_bytes_from_either_end() {
    let server = TestServer::start();
    let mut client = server.client();
    expect(
        &mut client,
        &[
            ("PUT k abcdef", "OK"),
            ("GETRANGE k 0 0", "VALUE \"a\""),
            ("GETRANGE k 0 -1", "VALUE \"abcdef\""),
            ("GETRANGE k -3 -2", "VALUE \"de\""),
            ("GETRANGE k -100 2", "VALUE \"abc\""),
            ("GETRANGE k 3 100", "VALUE \"def\""),
            ("GETRANGE k 4 2", "VALUE \"\""),
            ("GETRANGE k -1 -3", "VALUE \"\""),
            ("GETRANGE k 6 9", "VALUE \"\""),
            (
                "GETRANGE k 9223372036854775807 -9223372036854775808",
                "VALUE \"\"",
            ),
            (
                "GETRANGE k first last",
                "ERR ARGS value is not an integer or out of range",
            ),
            ("GETRANGE nobody 0 -1", "VALUE \"\""),
            ("PUT accent é", "OK"),
            ("GETRANGE accent 0 0", "BASE64 \"ww==\""),
            ("SETRANGE k 8 hi", "COUNT 10"),
            ("GET k", "VALUE \"abcdef\\u0000\\u0000hi\""),
            ("SETRANGE k 1 \"\"", "COUNT 10"),
            ("SETRANGE nobody 5 \"\"", "COUNT 0"),
            ("EXISTS nobody", "COUNT 0"),
            ("SETRANGE new 2 x", "COUNT 3"),
            ("GET new", "VALUE \"\\u0000\\u0000x\""),
            ("APPEND nobody \"\"", "COUNT 0"),
            ("EXISTS nobody", "COUNT 1"),
        ],
    );
}

#[test]
fn a_value_that_grows_stops_at_its_limit_and_stays_as_it_was() {
    let server = TestServer::start();
    let mut client = server.client();
    let refused = "ERR TOO_LARGE the value has 67108865 bytes, and may have 67108864";
    expect(
        &mut client,
        &[
            ("SETRANGE k 67108863 x", "COUNT 67108864"),
            ("SETRANGE k 67108863 xy", refused),
            ("APPEND k x", refused),
            ("SETRANGE new 67108864 x", refused),
            ("STRLEN k", "COUNT 67108864"),
            ("EXISTS new", "COUNT 0"),
        ],
    );
    let huge = client.ask("SETRANGE k 9223372036854775807 x");
    assert!(huge.starts_with("ERR TOO_LARGE "), "{huge}");
}

#[test]
fn decimals_are_added_as_they_are_written() {
    let server = TestServer::start();
    let mut client = server.client();
    for (before, added, sum) in [
        ("0.1", "0.2", "0.3"),
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("1", "-1", "0"),
        ("-0.5", "0.5", "0"),
        ("3", "1.00", "4"),
        ("9007199254740993", "1", "9007199254740994"),
        ("1e20", "1", "100000000000000000001"),
        ("0", "1e-17", "0.00000000000000001"),
        ("0", "1e-18", "0"),
        ("0.1", "-1e-17", "0.09999999999999999"),
    ] {
        client.ask(&format!("PUT k {before}"));
        assert_eq!(
            client.ask(&format!("INCRBYFLOAT k {added}")),
            format!("VALUE \"{sum}\""),
            "{before} {added}"
        );
        assert_eq!(client.ask("GET k"), format!("VALUE \"{sum}\""));
    }
    for (before, added) in [
        ("1", "nan"),
        ("1", "1_0"),
        ("1", "\"\""),
        ("1", "\" 1\""),
        ("1", "0x10"),
        ("one", "1"),
        ("1", "1e999999999999999999"),
        ("1e999999999999999999", "1"),
    ] {
        client.ask(&format!("PUT k {before}"));
        assert_eq!(
            client.ask(&format!("INCRBYFLOAT k {added}")),
            "ERR ARGS value is not a valid float",
            "{before} {added}"
        );
        assert_eq!(client.ask("GET k"), format!("VALUE \"{before}\""));
    }
}

#[test]
fn several_keys_are_stored_as_one_and_the_last_of_a_name_holds() {
    let server = TestServer::start();
    let mut client = server.client();
    expect(
        &mut client,
        &[
            ("MSET a 1 a 2", "OK"),
            ("GET a", "VALUE \"2\""),
            ("MSETNX b 1 b 2", "COUNT 1"),
            ("GET b", "VALUE \"2\""),
            ("MSETNX c 1 a 1 d 1", "COUNT 0"),
            ("EXISTS c d", "COUNT 0"),
            ("GET a", "VALUE \"2\""),
        ],
    );
    // One of them is over its limit: none is stored.
    let long = "k".repeat(65_537);
    assert_eq!(
        client.ask(&format!("MSET c 1 {long} 2")),
        "ERR TOO_LARGE the key has 65537 bytes, and may have 65536"
    );
    assert_eq!(client.ask("EXISTS c"), "COUNT 0");
    let server = server.kill().restart();
    let values = server.client().ask_array("MGET a b");
    assert_eq!(values, ["VALUE \"2\"", "VALUE \"2\""]);
}

#[test]
fn values_read_together_come_whole_however_long_they_are() {
    let server = TestServer::start();
    let mut client = server.client();
    let long = "é".repeat(1 << 20);
    assert_eq!(client.ask(&format!("MSET long {long} short s")), "OK");
    let values = client.ask_array("MGET short long nobody long");
    let long = format!("VALUE \"{long}\"");
    assert!(
        values == ["VALUE \"s\"", &long, "NOT_FOUND", &long],
        "they are not what was stored"
    );
}

#[test]
fn a_pair_is_renamed_or_copied_onto_itself_and_others_as_in_redis() {
    let server = TestServer::start();
    let mut client = server.client();
    expect(
        &mut client,
        &[
            ("PUT a 1", "OK"),
            ("RENAME a a", "OK"),
            ("RENAMENX a a", "COUNT 0"),
            ("RENAME nobody nobody", "ERR ARGS no such key"),
            ("RENAMENX nobody a", "ERR ARGS no such key"),
            ("COPY nobody b", "COUNT 0"),
            ("COPY a b DB 0", "COUNT 1"),
            ("COPY a b DB 1", "COUNT 1"),
            ("COPY a b DB 16", "ERR ARGS DB index is out of range"),
            (
                "COPY a b DB first",
                "ERR ARGS value is not an integer or out of range",
            ),
            (
                "COPY a b ANYWAY",
                "ERR ARGS COPY does not take these arguments: COPY <key> <new key> [DB <number>] [REPLACE]",
            ),
            ("DBSIZE", "COUNT 3"),
            ("RENAME a b", "OK"),
            ("DBSIZE", "COUNT 2"),
            (
                "FLUSHALL NOW",
                "ERR ARGS FLUSHALL does not take these arguments: FLUSHALL [ASYNC | SYNC]",
            ),
            ("flushall sync", "OK"),
            ("DBSIZE", "COUNT 0"),
        ],
    );
}

#[test]
fn a_value_is_stored_or_deleted_by_what_it_is_or_is_not_or_by_its_digest() {
    let server = TestServer::start();
    let mut client = server.client();
    // Of the reference implementation of XXH3.
    let ada = "96ca223b3d5dcf80";
    for (line, reply) in [
        ("SET name Ada IFEQ Ada", "UNCHANGED"),
        ("SET name x IFDEQ 96ca223b3d5dcf80", "UNCHANGED"),
        ("SET name Ada IFNE Ada", "OK"),
        ("SET name Grace IFNE Ada", "UNCHANGED"),
        ("SET name Bob IFDNE 96CA223B3D5DCF80", "UNCHANGED"),
        ("SET name Ada IFDEQ 96ca223b3d5dcf80", "OK"),
        ("SET other 1 IFDNE 96ca223b3d5dcf80", "OK"),
        ("SET name Eve IFNE Bob GET", "VALUE \"Ada\""),
        ("SET name x IFNE", SET),
        ("SET name x NX IFNE y", SET),
        (
            "SET name x IFDEQ 12",
            "ERR ARGS must be exactly 16 hexadecimal characters",
        ),
        ("PUT name Ada", "OK"),
        ("DELEX name IFDNE 96ca223b3d5dcf80", "COUNT 0"),
        ("DELEX name IFNE Ada", "COUNT 0"),
        (
            "DELEX name IFDEQ g6ca223b3d5dcf80",
            "ERR ARGS must be exactly 16 hexadecimal characters",
        ),
        ("DELEX name IFDEQ 96ca223b3d5dcf80", "COUNT 1"),
        ("DIGEST name", "NOT_FOUND"),
        ("PUT name Ada", "OK"),
        ("PUT empty \"\"", "OK"),
        ("DIGEST empty", "VALUE \"2d06800538d394c2\""),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
    assert_eq!(client.ask("DIGEST name"), format!("VALUE \"{ada}\""));
}

const MSETEX: &str = "ERR ARGS MSETEX does not take these arguments: MSETEX <number> <key> <value> [<key> <value> ...] [NX | XX] [EX <seconds> | PX <ms> | EXAT <unix seconds> | PXAT <unix ms> | KEEPTTL]";

#[test]
fn several_pairs_are_stored_with_one_expiry_or_none_is() {
    let server = TestServer::start();
    let mut client = server.client();
    for (line, reply) in [
        ("MSETEX 2 a 1 b 2 EX 100 NX", "COUNT 1"),
        ("TTL a", "COUNT 100"),
        ("TTL b", "COUNT 100"),
        ("MSETEX 2 b 3 c 3 NX", "COUNT 0"),
        ("MSETEX 2 b 3 c 3 XX", "COUNT 0"),
        ("EXISTS c", "COUNT 0"),
        ("MSETEX 2 b 3 d 3 KEEPTTL", "COUNT 1"),
        ("TTL b", "COUNT 100"),
        ("TTL d", "COUNT -1"),
        ("MSETEX 1 a 1", "COUNT 1"),
        ("TTL a", "COUNT -1"),
        ("MSETEX 0 a 1", "ERR ARGS invalid numkeys value"),
        ("MSETEX x a 1", "ERR ARGS invalid numkeys value"),
        (
            "MSETEX 2 a 1 EX",
            "ERR ARGS wrong number of key-value pairs",
        ),
        (
            "MSETEX 1 a 1 EX 0",
            "ERR ARGS invalid expire time in 'msetex' command",
        ),
        ("MSETEX 1 a 1 EX 1 PX 1", MSETEX),
        ("MSETEX 1 a 1 FOO", MSETEX),
        ("GET a", "VALUE \"1\""),
        ("GET b", "VALUE \"3\""),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
}

#[test]
fn the_newer_operations_on_bits_compare_one_value_with_the_others() {
    let server = TestServer::start();
    let mut client = server.client();
    // 0111 0001, and 0011 0010 0111 1010, and 0100 0100.
    assert_eq!(client.ask("MSET x q y 2z z D"), "OK");
    for (operation, first, second) in [
        ("DIFF", 0b0000_0001, 0),
        ("DIFF1", 0b0000_0110, 0b0111_1010),
        ("ANDOR", 0b0111_0000, 0),
        ("ONE", 0b0000_0111, 0b0111_1010),
    ] {
        let line = format!("BITOP {operation} to x y z");
        assert_eq!(client.ask(&line), "COUNT 2", "{line}");
        let read = client.ask_array("BITFIELD_RO to GET u8 0 GET u8 8");
        assert_eq!(
            read,
            [format!("COUNT {first}"), format!("COUNT {second}")],
            "{line}"
        );
    }
    assert_eq!(client.ask("BITOP one to z"), "COUNT 1");
    assert_eq!(client.ask("GET to"), "VALUE \"D\"");
    for operation in ["DIFF", "DIFF1", "ANDOR"] {
        assert_eq!(
            client.ask(&format!("BITOP {operation} to x")),
            format!("ERR ARGS BITOP {operation} must be called with at least two source keys.")
        );
    }
}
