//! Both sides of every limit: what is just allowed works, one more is told so, and nobody else notices.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::server::{TestClient, TestServer, is_skipped, wait_until};

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
fn a_request_may_name_10000_keys_and_not_one_more() {
    let server = TestServer::start();
    let mut client = server.client();
    let keys: Vec<String> = (0..10_001).map(|n| format!("k{n}")).collect();
    client.ask("PUT k9999 v");
    assert_eq!(
        client.ask(&format!("EXISTS {}", keys[..10_000].join(" "))),
        "COUNT 1"
    );
    assert_eq!(
        client.ask(&format!("DEL {}", keys[..10_000].join(" "))),
        "COUNT 1"
    );
    for verb in ["DEL", "EXISTS"] {
        let refusal = format!(
            "ERR ARGS {verb} takes 1 to 10000 arguments, not 10001: {verb} <key> [<key> ...]"
        );
        assert_eq!(client.ask(&format!("{verb} {}", keys.join(" "))), refusal);
    }
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
