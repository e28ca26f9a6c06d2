//! What a value costs on disk: at most two bytes for each of its bytes, in the journal and in the snapshot, whatever it holds.

use crate::support::server::TestServer;

/// Bytes of a record, and of a line of the snapshot, besides the value.
const AROUND: u64 = 256;

fn length(server: &TestServer, name: &str) -> u64 {
    std::fs::metadata(server.data().join(name))
        .expect("the file")
        .len()
}

#[test]
fn a_byte_of_a_value_takes_at_most_two_on_disk_and_reads_back_as_it_was() {
    let size = 1 << 20;
    for (what, unit) in [
        ("zeros", r"\u0000"),
        ("control characters", r"\u0001\u001f\u007f\u000b"),
        ("a binary mix", r"\u0000a\u0002bc\u0003d\u0004"),
        ("characters between zeros", r"\u0000é\u0000😀"),
        ("quotes and lines", r#"\"\\\n\t\r\b\f\""#),
    ] {
        let server = TestServer::start();
        let mut client = server.client();
        let unit_bytes = serde_json::from_str::<String>(&format!("\"{unit}\""))
            .expect("JSON")
            .len();
        let count = size / unit_bytes;
        let bytes = (count * unit_bytes) as u64;
        let text = unit.repeat(count);
        assert_eq!(client.ask(&format!("PUT k \"{text}\"")), "OK");
        assert_eq!(client.ask("EXPIRE k 100000"), "COUNT 1");
        let version = client.ask("VERSION k");
        let value = client.ask("GET k");
        assert!(value.starts_with("VALUE \""), "{what}");
        let journal = length(&server, "journal-1.jsonl");
        assert!(journal <= 2 * (2 * bytes + AROUND), "{what}: {journal}");
        let server = server.kill().restart();
        let mut client = server.client();
        assert_eq!(client.ask("GET k"), value, "{what}, from the journal");
        assert_eq!(client.ask("VERSION k"), version, "{what}");
        assert_eq!(client.ask("SAVE"), "OK");
        let store = length(&server, "store.json");
        assert!(store <= 2 * bytes + AROUND, "{what}: {store}");
        let server = server.kill().restart();
        assert_eq!(
            server.client().ask("GET k"),
            value,
            "{what}, from the snapshot"
        );
        assert_eq!(server.client().ask("VERSION k"), version, "{what}");
    }
}

#[test]
fn a_gap_of_zeros_that_a_short_request_makes_takes_its_length_and_a_third_on_disk() {
    let server = TestServer::start();
    let bytes = 4 << 20;
    let reply = server.client().ask(&format!("SETRANGE k {} x", bytes - 1));
    assert_eq!(reply, format!("COUNT {bytes}"));
    let journal = length(&server, "journal-1.jsonl");
    assert!(journal <= bytes / 3 * 4 + AROUND, "{journal}");
    assert_eq!(server.client().ask("SAVE"), "OK");
    let store = length(&server, "store.json");
    assert!(store <= bytes / 3 * 4 + AROUND, "{store}");
    let server = server.kill().restart();
    assert_eq!(
        server.client().ask("GETRANGE k -2 -1"),
        "VALUE \"\\u0000x\""
    );
}
