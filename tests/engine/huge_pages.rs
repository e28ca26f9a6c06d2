//! Huge pages: much data moves to them, and takes no more memory by it.

use crate::support::server::{TestServer, wait_until};

/// The memory of a server in huge pages, in bytes, as the system tells.
fn huge_bytes(server: &TestServer) -> u64 {
    server.figure_bytes("smaps_rollup", "AnonHugePages:")
}

/// Fills a server with so many pairs of a thousand bytes.
fn fill(server: &TestServer, pairs: usize) {
    let value = "v".repeat(990);
    let lines: String = (0..pairs)
        .map(|number| format!("PUT key:{number:06} {value}\n"))
        .collect();
    let mut client = server.client();
    let mut sender = client.sender();
    let sending = std::thread::spawn(move || {
        std::io::Write::write_all(&mut sender, lines.as_bytes()).expect("the server reads");
    });
    for _ in 0..pairs {
        assert_eq!(client.reply(), "OK");
    }
    sending.join().expect("all is sent");
}

#[test]
fn much_data_moves_to_huge_pages_and_takes_no_more_memory() {
    let thp = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let has_huge_pages = thp.is_ok_and(|modes| !modes.contains("[never]"));
    let little = TestServer::start_with(&["--durability", "off"]);
    fill(&little, 20_000);
    let server = TestServer::start_with(&["--durability", "off"]);
    fill(&server, 80_000);
    let memory = server.memory_bytes();
    if has_huge_pages {
        wait_until("half of the data is in huge pages", || {
            huge_bytes(&server) > 40 << 20
        });
    }
    let now = server.memory_bytes();
    assert!(now < memory + memory / 20, "{memory} has become {now}");
    let mut client = server.client();
    let value = format!("VALUE \"{}\"", "v".repeat(990));
    for number in (0..80_000).step_by(997) {
        assert_eq!(client.ask(&format!("GET key:{number:06}")), value);
    }
    // What is deleted is given back, huge page or not.
    assert_eq!(client.ask("CLEAR"), "OK");
    wait_until("the memory is given back", || {
        server.memory_bytes() < memory / 2
    });
    assert_eq!(
        huge_bytes(&little),
        0,
        "the processor finds little data anyway"
    );
}
