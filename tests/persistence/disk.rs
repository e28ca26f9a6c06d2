//! A disk that takes no more: changes are refused, reads go on, nothing acknowledged is lost, and it mends by itself. And when
//! the server writes to it of its own accord, and when not.
//!
//! The disk is made to fail by the system's own limit on the length of a file (`ulimit -f`), which needs no privilege and
//! is set and lifted from outside while the server runs: a write over it fails as one to a full disk does, after a part.

use std::time::Duration;

use crate::support::by_hand::held;
use crate::support::full_disk::{health, limit_files};
use crate::support::server::{Stopped, TestServer, is_skipped, wait_until};

#[test]
fn a_disk_that_takes_no_more_refuses_changes_until_it_does() {
    if is_skipped("prlimit") {
        return;
    }
    for durability in ["everysec", "always"] {
        let server = TestServer::start_with(&["--durability", durability]);
        let mut client = server.client();
        let value = "v".repeat(1_000);
        assert_eq!(client.ask(&format!("PUT first {value}")), "OK");
        assert_eq!(health(&server).0, 200);
        limit_files(&server, "20000");
        let mut acknowledged = 0;
        let refusal = loop {
            match client.ask(&format!("PUT k{acknowledged} {value}")) {
                reply if reply == "OK" => acknowledged += 1,
                reply => break reply,
            }
            assert!(acknowledged < 100, "the disk is never full");
        };
        assert!(
            refusal.starts_with("ERR DISK cannot write ") && refusal.contains("journal-1.jsonl: "),
            "{refusal}"
        );
        for line in ["PUT late 1", "DEL first", "CLEAR", "SAVE"] {
            let reply = client.ask(line);
            assert!(reply.starts_with("ERR DISK "), "{line} is answered {reply}");
        }
        // Reads go on, and tell the truth, in one packet with a change that is refused as well.
        client.send_bytes(b"EXISTS first\nPUT late 2\nGET late\nPING\n");
        assert_eq!(client.reply(), "COUNT 1");
        assert!(client.reply().starts_with("ERR DISK "));
        assert_eq!(client.reply(), "NOT_FOUND");
        assert_eq!(client.reply(), "PONG");
        let (status, body) = health(&server);
        assert_eq!(status, 503, "{body}");
        assert!(
            body.contains("\"status\":\"failing\"")
                && body.contains("changes are refused: cannot write"),
            "{body}"
        );
        let figures = client.ask_rows("STATS");
        assert!(
            figures
                .iter()
                .any(|row| row.starts_with("STAT disk \"cannot write ")),
            "{figures:#?}"
        );
        // Whoever looks at the files now finds whole records only.
        let server = server.kill().restart();
        assert!(!server.log().contains("are not whole"), "{}", server.log());
        let mut client = server.client();
        assert_eq!(
            client.ask("COUNT k"),
            format!("COUNT {acknowledged}"),
            "{durability}"
        );
        // The same again, and this time there is room again while the server runs.
        limit_files(&server, "30000");
        let mut more = acknowledged;
        while client.ask(&format!("PUT k{more} {value}")) == "OK" {
            more += 1;
            assert!(more < 200, "the disk is never full");
        }
        limit_files(&server, "unlimited");
        wait_until("changes are taken again", || {
            client.ask("PUT again 1") == "OK"
        });
        assert_eq!(client.ask("SAVE"), "OK");
        wait_until("health is well again", || health(&server).0 == 200);
        let server = server.kill().restart();
        let mut client = server.client();
        assert_eq!(client.ask("GET again"), "VALUE \"1\"");
        for n in 0..more {
            assert_eq!(
                client.ask(&format!("GET k{n}")),
                format!("VALUE \"{value}\""),
                "{durability}: k{n}"
            );
        }
    }
}

#[test]
fn a_journal_that_has_outgrown_the_store_is_a_reason_to_save() {
    let server = TestServer::start_with(&["--save-interval", "86400"]);
    let mut client = server.client();
    let value = "v".repeat(1 << 20);
    for n in 0..70 {
        assert_eq!(client.ask(&format!("PUT k{} {value}", n % 3)), "OK");
    }
    assert_eq!(client.ask("PUT last 1"), "OK");
    wait_until("it is saved", || server.stat("journal_bytes") < 1 << 20);
    let server = server.kill().restart();
    assert_eq!(server.client().ask("COUNT"), "COUNT 4");
    assert!(server.stat("journal_bytes") < 1 << 20);
}

#[test]
fn an_idle_server_does_not_touch_its_folder() {
    let server = Stopped::new(&["--save-interval", "1"]).restart();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let path = server.data().join("store.json");
    wait_until("it is saved", || path.exists());
    wait_until("the save has ended", || {
        let stats = server.client().ask_rows("STATS");
        stats.contains(&"STAT last_save_result \"ok\"".to_owned())
    });
    let before = held(&server.data());
    // Nothing can be waited for: three times the interval must go by without a sign.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(held(&server.data()), before);
}
