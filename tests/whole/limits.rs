//! Both sides of every limit: what is just allowed works, one more is told so, and nobody else notices.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;

use crate::support::resp::Resp;
use crate::support::server::{TestClient, TestServer, is_skipped, wait_until};

const MIB: u64 = 1 << 20;

#[test]
fn a_key_may_have_65536_bytes_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    let longest = "é".repeat(32_768);
    assert_eq!(client.ask(&format!("PUT {longest} v")), "OK");
    assert_eq!(client.ask(&format!("GET \"{longest}\"")), "VALUE \"v\"");
    assert_eq!(
        client.ask_rows("KEYS é"),
        [format!("KEY \"{longest}\""), "END 1".to_owned()]
    );
    let refusal = "ERR TOO_LARGE the key has 65537 bytes, and may have 65536";
    for line in [
        format!("PUT {longest}x v"),
        format!("GET {longest}x"),
        format!("DEL a {longest}x"),
    ] {
        assert_eq!(client.ask(&line), refusal);
    }
    client.expect_nothing_more();
}

#[test]
fn a_value_may_have_64_mib_and_not_one_byte_more() {
    let server = TestServer::start();
    let mut client = server.client();
    let longest = "v".repeat(64 << 20);
    assert_eq!(client.ask(&format!("PUT raw {longest}")), "OK");
    assert_eq!(client.ask("GET raw"), format!("VALUE \"{longest}\""));
    assert_eq!(client.ask(&format!("PUT quoted \"{longest}\"")), "OK");
    assert_eq!(
        client.ask(&format!("PUT raw {longest}x")),
        "ERR TOO_LARGE the value has 67108865 bytes, and may have 67108864"
    );
    assert_eq!(
        client.ask(&format!("PUT quoted \"{longest}x\"")),
        "ERR TOO_LARGE the value has 67108865 bytes, and may have 67108864"
    );
    client.expect_nothing_more();
}

#[test]
fn a_value_of_64_mib_may_be_escaped_to_six_times_its_length() {
    let server = TestServer::start();
    let mut client = server.client();
    let escaped = "\\u0001".repeat(64 << 20);
    assert_eq!(client.ask(&format!("PUT k \"{escaped}\"")), "OK");
    assert!(
        client.ask("GET k") == format!("VALUE \"{escaped}\""),
        "the value has changed"
    );
}

#[test]
fn a_line_over_the_limit_is_refused_and_the_connection_closed() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes(b"PUT endless ");
    let mut sender = client.sender();
    // 64 MiB + 6 * 64 KiB + 1 KiB is the limit. No line feed ever comes.
    let writer = std::thread::spawn(move || {
        let chunk = vec![b'x'; 1 << 20];
        (0..80).try_for_each(|_| sender.write_all(&chunk))
    });
    let refusal =
        "ERR TOO_LARGE the line is longer than 67503104 bytes; this connection is closed\n";
    assert_eq!(client.rest(), refusal);
    let _ = writer.join().expect("the writer ends");
    assert_eq!(server.client().ask("COUNT"), "COUNT 0");
}

#[test]
fn a_request_may_name_1048576_keys_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    // The last one is told apart.
    let keys = format!("{}b", "a ".repeat((1 << 20) - 1));
    client.ask("MSET a 1 b 2");
    assert_eq!(client.ask(&format!("EXISTS {keys}")), "COUNT 1048576");
    let others: String = (0..1 << 20).map(|n| format!(" w{n}")).collect();
    assert_eq!(client.ask(&format!("WATCH{others}")), "OK");
    assert_eq!(
        client.ask("WATCH c"),
        "ERR ARGS more than 1048576 keys are watched; UNWATCH forgets them"
    );
    assert_eq!(client.ask(&format!("DEL {keys}")), "COUNT 2");
    assert_eq!(client.ask(&format!("MSET {keys}")), "OK");
    assert_eq!(client.ask("GET a"), "VALUE \"b\"");
    for verb in ["DEL", "EXISTS", "WATCH"] {
        let refusal = format!(
            "ERR ARGS {verb} takes 1 to 1048576 arguments, not 1048577: {verb} <key> [<key> ...]"
        );
        assert_eq!(client.ask(&format!("{verb} {keys} c")), refusal);
    }
    assert_eq!(
        client.ask(&format!("MSET {keys} c d")),
        "ERR ARGS MSET takes 2 to 1048576 arguments, a key and a value each, not 1048578: MSET <key> <value> [<key> <value> ...]"
    );
}

#[test]
fn a_transaction_may_have_1048576_requests_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    let requests = 1 << 20;
    for more in [0, 1] {
        assert_eq!(client.ask("MULTI"), "OK");
        let mut sender = client.sender();
        let lines = "INCR n\n".repeat(requests + more) + "EXEC\n";
        let writer = std::thread::spawn(move || sender.write_all(lines.as_bytes()));
        for _ in 0..requests {
            assert_eq!(client.reply(), "QUEUED");
        }
        if more == 0 {
            assert_eq!(client.reply(), "ARRAY 1048576");
            for n in 1..=requests {
                assert_eq!(client.reply(), format!("VALUE \"{n}\""));
            }
        } else {
            assert_eq!(
                client.reply(),
                "ERR TOO_LARGE a transaction may have 1048576 requests, and 403047424 bytes of them"
            );
        }
        let written = writer.join().expect("the writer ends");
        written.expect("the server reads");
    }
    let refused = "ERR ARGS Transaction discarded because of previous errors.";
    assert_eq!(client.reply(), refused);
    assert_eq!(client.ask("GET n"), "VALUE \"1048576\"");
}

#[test]
fn a_transaction_may_have_403047424_bytes_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MULTI"), "OK");
    let long = "x".repeat(64 << 20);
    for _ in 0..6 {
        assert_eq!(client.ask(&format!("ECHO {long}")), "QUEUED");
    }
    // An argument counts 16 bytes more than it has.
    let left = 403_047_424 - 6 * ((64 << 20) + 16) - 16;
    assert_eq!(client.ask(&format!("ECHO {}", &long[..left])), "QUEUED");
    assert_eq!(client.ask("PING"), "QUEUED");
    assert_eq!(
        client.ask("ECHO \"\""),
        "ERR TOO_LARGE a transaction may have 1048576 requests, and 403047424 bytes of them"
    );
    assert_eq!(client.ask("DISCARD"), "OK");
}

#[test]
fn changes_that_are_too_long_as_one_record_are_refused_and_none_is_made() {
    let server = TestServer::start();
    let mut client = server.client();
    // Each byte takes two in the journal: 192 MiB and 31 MiB stay under 470,221,824, and with 33 MiB they do not.
    let long = "\\".repeat(64 << 20);
    for (mib, is_taken) in [(33, false), (31, true)] {
        assert_eq!(client.ask("MULTI"), "OK");
        for key in ["a1", "a2", "a3"] {
            assert_eq!(client.ask(&format!("PUT {key} {long}")), "QUEUED");
        }
        assert_eq!(
            client.ask(&format!("PUT b {}", &long[..mib << 20])),
            "QUEUED"
        );
        let reply = client.ask("EXEC");
        if is_taken {
            assert_eq!(reply, "ARRAY 4");
            for _ in 0..4 {
                assert_eq!(client.reply(), "OK");
            }
        } else {
            assert!(
                reply.starts_with("ERR TOO_LARGE these changes together take ")
                    && reply.ends_with("; nothing was changed"),
                "{reply}"
            );
            assert_eq!(client.ask("DBSIZE"), "COUNT 0");
        }
    }
    let server = server.kill().restart();
    assert_eq!(server.client().ask("STRLEN b"), "COUNT 32505856");
}

#[test]
fn changes_that_are_too_long_are_refused_before_all_of_them_are_made() {
    let server = TestServer::start();
    let mut client = server.client();
    let bytes = 60 << 20;
    assert_eq!(client.ask(&format!("PUT a {}", "x".repeat(bytes))), "OK");
    // Seven times 60 MiB stay under 470,221,824 bytes; a hundred times they would fill the memory.
    for (times, is_taken) in [(100, false), (7, true)] {
        assert_eq!(client.ask("MULTI"), "OK");
        for _ in 0..times {
            assert_eq!(client.ask("APPEND a x"), "QUEUED");
        }
        let reply = client.ask("EXEC");
        if is_taken {
            assert_eq!(reply, "ARRAY 7");
            for n in 1..=7 {
                assert_eq!(client.reply(), format!("COUNT {}", bytes + n));
            }
        } else {
            assert!(
                reply.starts_with("ERR TOO_LARGE these changes together take "),
                "{reply}"
            );
            assert_eq!(client.ask("STRLEN a"), format!("COUNT {bytes}"));
        }
    }
}

#[test]
fn an_answer_to_exec_may_have_403047424_bytes_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    // ARRAY 7 and a line feed, then VALUE, a blank, two quotes and a line feed around each value.
    let last = 403_047_424 - 8 - 7 * 9 - 6 * (64 << 20);
    assert_eq!(client.ask(&format!("PUT a {}", "x".repeat(64 << 20))), "OK");
    for (more, is_taken) in [(1, false), (0, true)] {
        assert_eq!(
            client.ask(&format!("PUT b {}", "x".repeat(last + more))),
            "OK"
        );
        assert_eq!(client.ask("MULTI"), "OK");
        for line in ["GET b"].into_iter().chain(["GET a"; 6]) {
            assert_eq!(client.ask(line), "QUEUED");
        }
        let reply = client.ask("EXEC");
        if is_taken {
            assert_eq!(reply, "ARRAY 7");
            for bytes in [last].into_iter().chain([64 << 20; 6]) {
                assert_eq!(client.reply().len(), bytes + 8);
            }
        } else {
            assert_eq!(
                reply,
                "ERR TOO_LARGE the answer to a transaction may have 403047424 bytes; nothing was changed"
            );
        }
    }
}

#[test]
fn a_pattern_may_have_1024_bytes_and_the_name_of_a_channel_65536() {
    let server = TestServer::start();
    let mut client = server.client();
    let long = |bytes: usize| "x".repeat(bytes);
    assert_eq!(
        client.ask_array(&format!("SCAN 0 MATCH {}", long(1024))),
        ["VALUE \"0\"", "ARRAY 0"]
    );
    let refused = "ERR TOO_LARGE the pattern has 1025 bytes, and may have 1024";
    for verb in [
        "SCAN 0 MATCH",
        "PSUBSCRIBE",
        "PUBSUB CHANNELS",
        "CONFIG GET",
        "COMMAND LIST FILTERBY PATTERN",
    ] {
        assert_eq!(client.ask(&format!("{verb} {}", long(1025))), refused);
    }
    let name = long(65_536);
    assert_eq!(client.ask(&format!("PUBLISH {name} hello")), "COUNT 0");
    let refused = "ERR TOO_LARGE the channel's name has 65537 bytes, and may have 65536";
    for line in [
        format!("PUBLISH {name}x hello"),
        format!("SUBSCRIBE {name}x"),
    ] {
        assert_eq!(client.ask(&line), refused);
    }
    let begun = format!("SUBSCRIBED \"{name}\" 1");
    assert_eq!(client.ask(&format!("SUBSCRIBE {name}")), begun);
}

#[test]
fn the_subscriptions_of_one_connection_may_have_1048576_bytes() {
    let server = TestServer::start();
    let mut client = server.client();
    let long = |bytes: usize, number: usize| format!("{number:02}{}", "x".repeat(bytes - 2));
    for number in 0..16 {
        let name = long(65_536, number);
        let begun = client.ask(&format!("SUBSCRIBE {name}"));
        assert_eq!(begun, format!("SUBSCRIBED \"{name}\" {}", number + 1));
    }
    let refused = "ERR TOO_LARGE the subscriptions of one client may have 1048576 bytes; subscribe to shorter names";
    assert_eq!(client.ask("SUBSCRIBE x"), refused);
    assert_eq!(client.ask("PSUBSCRIBE x"), refused);
    // What is given up makes room, once.
    let first = long(65_536, 0);
    for _ in 0..2 {
        assert!(
            client
                .ask(&format!("UNSUBSCRIBE {first}"))
                .starts_with("UNSUBSCRIBED")
        );
    }
    assert!(
        client
            .ask(&format!("PSUBSCRIBE {}", long(1024, 0)))
            .starts_with("PSUBSCRIBED")
    );
    assert_eq!(client.ask(&format!("SUBSCRIBE {first}")), refused);
    let shorter = long(65_536 - 1024, 0);
    assert!(
        client
            .ask(&format!("SUBSCRIBE {shorter}"))
            .starts_with("SUBSCRIBED")
    );
    assert_eq!(client.ask("SUBSCRIBE x"), refused);
}

#[test]
fn page_searches_for_65536_bytes_and_finds_them_across_parts_of_a_value() {
    let server = TestServer::start();
    let mut client = server.client();
    let text = "Ab".repeat(32_768);
    let value = format!(
        "{}{text}{}",
        "-".repeat((1 << 20) - 100),
        "-".repeat(1 << 20)
    );
    assert_eq!(client.ask(&format!("PUT long {value}")), "OK");
    assert_eq!(client.ask(&format!("PAGE 0 SEARCH {text}")), "ARRAY 3");
    let rows: Vec<String> = (0..5).map(|_| client.reply()).collect();
    let expected = [
        "VALUE \"0\"",
        "COUNT 3",
        "ARRAY 1",
        "ARRAY 5",
        "VALUE \"long\"",
    ];
    assert_eq!(rows, expected);
    // What is shown of the value.
    (0..4).for_each(|_| drop(client.reply()));
    assert_eq!(
        client.ask(&format!("PAGE 0 SEARCH {text}x")),
        "ERR TOO_LARGE the text to search for has 65537 bytes, and may have 65536"
    );
}

#[test]
fn command_describes_1000_names_and_client_kill_takes_16_filters() {
    let server = TestServer::start();
    let mut client = server.client();
    for word in ["INFO", "DOCS"] {
        assert_eq!(
            client.ask(&format!("COMMAND {word}{}", " get".repeat(1001))),
            "ERR TOO_LARGE COMMAND describes 1000 commands at a time, not 1001; without names it describes all"
        );
    }
    assert_eq!(
        client.ask(&format!("COMMAND INFO{}", " none".repeat(1000))),
        "ARRAY 1000"
    );
    for _ in 0..1000 {
        assert_eq!(client.reply(), "NOT_FOUND");
    }
    let filters = |count: usize| " TYPE pubsub".repeat(count);
    assert_eq!(
        client.ask(&format!("CLIENT KILL{}", filters(16))),
        "COUNT 0"
    );
    assert_eq!(
        client.ask(&format!("CLIENT KILL{}", filters(17))),
        "ERR TOO_LARGE CLIENT KILL takes 16 filters, a name and a value each"
    );
}

#[test]
fn a_client_tracks_1000_prefixes_of_a_mebibyte_together() {
    let server = TestServer::start();
    let mut client = Resp::connect(server.addr());
    client.ask("HELLO 3");
    let refusal = "ERR a client may track 1000 prefixes of 1048576 bytes";
    let named = |numbers: Range<u32>| -> String {
        let numbers = numbers.map(|number| format!(" PREFIX p{number}:"));
        format!("CLIENT TRACKING ON BCAST{}", numbers.collect::<String>())
    };
    assert_eq!(client.ask(&named(0..1001)), refusal);
    assert_eq!(client.ask(&named(0..999)), "OK");
    assert_eq!(client.ask(&named(999..1001)), refusal);
    assert_eq!(client.ask(&named(999..1000)), "OK");
    assert_eq!(client.ask(&named(1000..1001)), refusal);
    // It tracks those of before.
    server.client().ask("PUT p1000:x 1");
    server.client().ask("PUT p999:x 1");
    assert_eq!(client.ask("PING"), "invalidate p999:x");
    assert_eq!(client.reply(), "PONG");
    assert_eq!(client.ask("CLIENT TRACKING OFF"), "OK");
    let long = |bytes: usize| {
        let letters = ('a'..='p').map(|letter| format!(" PREFIX {letter}{}", "x".repeat(65_535)));
        let all: String = letters.collect();
        format!("CLIENT TRACKING ON BCAST{all}{}", "y".repeat(bytes))
    };
    assert_eq!(client.ask(&long(1)), refusal);
    assert_eq!(client.ask(&long(0)), "OK");
}

#[test]
fn a_bit_is_in_the_first_64_mib() {
    let server = TestServer::start();
    let mut client = server.client();
    let refusal = "ERR ARGS bit offset is not an integer or out of range";
    for (line, reply) in [
        ("SETBIT bits 536870912 1", refusal),
        ("GETBIT bits 536870912", refusal),
        ("BITFIELD bits SET u8 #67108864 1", refusal),
        ("BITFIELD bits SET u8 536870905 1", refusal),
        ("BITFIELD bits INCRBY i64 536870849 1", refusal),
        ("EXISTS bits", "COUNT 0"),
        ("SETBIT bits 536870911 1", "COUNT 0"),
        ("GETBIT bits 536870911", "COUNT 1"),
        ("STRLEN bits", "COUNT 67108864"),
        ("BITFIELD bits SET u8 #67108863 2", "ARRAY 1"),
    ] {
        assert_eq!(client.ask(line), reply, "{line}");
    }
    assert_eq!(client.reply(), "COUNT 1");
    assert_eq!(client.ask("BITOP NOT inverse bits"), "COUNT 67108864");
    assert_eq!(client.ask("BITPOS inverse 0"), "COUNT 536870910");
}

#[test]
fn lcs_compares_values_whose_lengths_multiplied_are_16_mebibytes() {
    let server = TestServer::start();
    let mut client = server.client();
    client.ask(&format!("PUT a {}", "a".repeat(4095)));
    client.ask(&format!("PUT b {}", "a".repeat(4095)));
    client.ask(&format!("PUT longer {}", "a".repeat(4096)));
    assert_eq!(client.ask("LCS a b LEN"), "COUNT 4095");
    for line in ["LCS a longer LEN", "LCS longer b"] {
        assert_eq!(
            client.ask(line),
            "ERR ARGS Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
        );
    }
}

#[test]
fn a_line_may_have_2097152_arguments_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    let words = " a".repeat(2_097_152);
    assert_eq!(
        client.ask(&format!("DEL{words}")),
        "ERR ARGS DEL takes 1 to 1048576 arguments, not 2097152: DEL <key> [<key> ...]"
    );
    assert_eq!(
        client.ask(&format!("DEL{words} a")),
        "ERR TOO_LARGE the line has more than 2097152 arguments"
    );
}

#[test]
fn a_page_of_a_scan_looks_at_10000_keys_and_no_more() {
    let server = TestServer::start();
    let mut client = server.client();
    let pairs: String = (0..10_001).map(|n| format!(" k{n} v")).collect();
    assert_eq!(client.ask(&format!("MSET{pairs}")), "OK");
    for count in ["10000", "1000000", "9223372036854775807"] {
        assert_eq!(client.ask(&format!("SCAN 0 COUNT {count}")), "ARRAY 2");
        assert_ne!(client.reply(), "VALUE \"0\"", "{count}");
        assert_eq!(client.reply(), "ARRAY 10000", "{count}");
        for _ in 0..10_000 {
            client.reply();
        }
    }
}

#[test]
fn the_names_of_namespaces_in_an_answer_have_16777216_bytes_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    // Each name ends with a colon, and may be a key of 65,535 bytes with one more.
    for n in 0..256 {
        let name = format!("{n:065534}");
        assert_eq!(client.ask(&format!("PUT {name}:k v")), "OK");
    }
    // 256 names of 65,535 bytes, and one of the 256 bytes that are left.
    let rest = "r".repeat(255);
    assert_eq!(client.ask(&format!("PUT {rest}: v")), "OK");
    assert_eq!(client.ask_rows("NAMESPACES").len(), 258);
    assert_eq!(client.ask("PUT : v"), "OK");
    assert_eq!(
        client.ask("NAMESPACES"),
        "ERR TOO_LARGE the names of the namespaces below '' have more than 16777216 bytes; SCAN lists the keys"
    );
}

#[test]
fn an_answer_has_100000_namespaces_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    let pairs: String = (0..100_000).map(|n| format!(" n{n}: v")).collect();
    assert_eq!(client.ask(&format!("MSET{pairs}")), "OK");
    let rows = client.ask_rows("NAMESPACES");
    assert_eq!(rows.len(), 100_001);
    assert_eq!(rows[100_000], "END 100000");
    assert_eq!(client.ask("PUT n100000: v"), "OK");
    assert_eq!(
        client.ask("NAMESPACES"),
        "ERR TOO_LARGE there are more than 100000 namespaces below ''; SCAN lists the keys"
    );
    assert_eq!(client.ask_rows("NAMESPACES n1000").len(), 13);
}

#[test]
fn a_pair_may_expire_until_the_end_of_9999_and_not_a_millisecond_later() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("PUT k v"), "OK");
    for (line, reply) in [
        ("PEXPIREAT k 253402207200001", "pexpireat"),
        ("EXPIREAT k 253402207201", "expireat"),
        ("EXPIREAT k 9223372036854775807", "expireat"),
        ("PEXPIREAT k 9223372036854775807", "pexpireat"),
        ("EXPIRE k 253402207200", "expire"),
        ("SET k v PXAT 253402207200001", "set"),
        ("SETEX k 253402207200 v", "setex"),
        ("GETEX k EXAT 253402207201", "getex"),
    ] {
        let refusal = format!("ERR ARGS invalid expire time in '{reply}' command");
        assert_eq!(client.ask(line), refusal, "{line}");
    }
    assert_eq!(client.ask("TTL k"), "COUNT -1");
    assert_eq!(client.ask("PEXPIREAT k 253402207200000"), "COUNT 1");
    assert_eq!(client.ask("SET j v EXAT 253402207200"), "OK");
    // From the journal, and from the store.
    let server = server.kill().restart();
    assert_eq!(
        server.client().ask("PEXPIRETIME k"),
        "COUNT 253402207200000"
    );
    let server = server.stop().restart();
    assert_eq!(
        server.client().ask("PEXPIRETIME j"),
        "COUNT 253402207200000"
    );
}

#[test]
fn ten_thousand_clients_are_served_and_the_next_is_told_so() {
    if is_skipped("ulimit") {
        return;
    }
    let wanted = 10_000 + 500;
    let limit = rlimit::increase_nofile_limit(wanted).expect("the limit on open files can be read");
    assert!(
        limit >= wanted,
        "this test needs {wanted} open files, and the system allows {limit}: raise `ulimit -Hn`"
    );
    let server = TestServer::start();
    let mut clients: Vec<TcpStream> = Vec::new();
    for n in 0..10_000 {
        clients.push(
            TcpStream::connect(server.addr()).unwrap_or_else(|error| panic!("client {n}: {error}")),
        );
    }
    // The last has been let in once it is answered; so have all before it.
    let last = clients.last_mut().expect("there are ten thousand");
    last.write_all(b"PUT k v\n").expect("it is connected");
    let mut ok = [0; 3];
    last.read_exact(&mut ok).expect("it is served");
    assert_eq!(&ok, b"OK\n");
    let mut refused = TestClient::connect(server.addr());
    assert_eq!(
        refused.rest(),
        "ERR BUSY there are 10000 connections already; try again later\n"
    );
    // Idle clients cost no buffers: 16 KiB for each would be 156 MiB.
    let first = &mut clients[0];
    first.write_all(b"STATS\n").expect("it is connected");
    let mut stats = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&stats).contains("\nEND ") {
        let count = first.read(&mut chunk).expect("a reply");
        stats.extend_from_slice(&chunk[..count]);
    }
    let stats = String::from_utf8(stats).expect("text");
    assert!(stats.contains("STAT connections 10000\n"), "{stats}");
    let memory = stats
        .lines()
        .find_map(|row| row.strip_prefix("STAT memory_bytes "))
        .expect("a figure");
    let memory: u64 = memory.parse().expect("a number");
    assert!(
        memory < 120 * MIB,
        "{memory} bytes for ten thousand idle clients"
    );
    drop(clients.split_off(9_000));
    wait_until("there is room again", || {
        let mut client = TestClient::connect(server.addr());
        client.sender().write_all(b"GET k\n").is_ok() && client.reply_or_end() == "VALUE \"v\""
    });
}

#[test]
fn where_the_system_allows_few_files_fewer_clients_are_served_and_the_next_is_told_so() {
    let server = TestServer::start_with_files(100);
    assert!(
        server
            .log()
            .contains("the system allows 100 open files, so 75 clients"),
        "{}",
        server.log()
    );
    let mut clients: Vec<TestClient> = (0..75).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("PING"), "PONG");
    }
    assert_eq!(
        server.client().rest(),
        "ERR BUSY there are 75 connections already; try again later\n"
    );
    assert_eq!(clients[0].ask("SAVE"), "OK");
    drop(clients.pop());
    wait_until("there is room again", || {
        let mut client = server.client();
        client.sender().write_all(b"PING\n").is_ok() && client.reply_or_end() == "PONG"
    });
}

#[test]
fn a_client_that_does_not_read_is_throttled_and_not_buffered_for() {
    let server = TestServer::start();
    let mut client = server.client();
    let value = "v".repeat(1 << 20);
    for n in 0..64 {
        assert_eq!(client.ask(&format!("PUT k{n} {value}")), "OK");
    }
    let before = server.memory_bytes();
    // Each asks for some gigabytes in all, and reads nothing of it.
    let deaf: Vec<TestClient> = (0..8)
        .map(|n| {
            let mut client = server.client();
            let request = if n % 2 == 0 {
                "ALL\n"
            } else {
                "GET k1\nGET k2\n"
            };
            client.send_bytes(request.repeat(100).as_bytes());
            client
        })
        .collect();
    for _ in 0..200 {
        assert_eq!(client.ask("PING"), "PONG");
        assert_eq!(client.ask("PUT k1 short"), "OK");
        assert_eq!(client.ask(&format!("PUT k1 {value}")), "OK");
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 48 * MIB, "{grown} bytes for eight deaf clients");
    drop(deaf);
}

#[test]
fn half_a_request_costs_what_has_arrived_and_holds_up_nobody() {
    let server = TestServer::start();
    let before = server.memory_bytes();
    let halves: Vec<TestClient> = (0..500)
        .map(|n| {
            let mut client = server.client();
            client.send_bytes(format!("PUT half{n} \"{}", "x".repeat(1_000)).as_bytes());
            client
        })
        .collect();
    let mut client = server.client();
    for n in 0..1_000 {
        assert_eq!(client.ask(&format!("PUT k{n} v")), "OK");
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(
        grown < 32 * MIB,
        "{grown} bytes for 500 halves of a request"
    );
    assert_eq!(client.ask("COUNT half"), "COUNT 0");
    drop(halves);
}

#[test]
fn a_long_request_leaves_no_memory_behind() {
    let server = TestServer::start();
    let mut client = server.client();
    let long = "v".repeat(32 << 20);
    assert_eq!(client.ask(&format!("PUT k {long}")), "OK");
    assert_eq!(client.ask("GET k").len(), long.len() + 8);
    assert_eq!(client.ask("DEL k"), "COUNT 1");
    wait_until("the memory is given back", || {
        server.memory_bytes() < 64 * MIB
    });
}
