//! Keys that are not text, on disk: their form, and what the files of versions mean whose keys were all text.

use std::fs;

use crate::support::by_hand::{header_of, line, put};
use crate::support::resp::Resp;
use crate::support::server::{Stopped, TestServer};

/// A text key that looks as a key that is not text does on disk.
const DOUBTFUL: &str = "$base64:/w==";

/// Asks for the doubtful text key, and for the key of the byte 255.
fn values(server: &TestServer) -> [String; 2] {
    let mut client = server.client();
    [DOUBTFUL, "BASE64 \"/w==\""].map(|key| client.ask(&format!("GET {key}")))
}

#[test]
fn keys_of_all_kinds_survive_a_kill_and_a_save() {
    let server = TestServer::start_with(&["--durability", "always"]);
    let mut resp = Resp::connect(server.addr());
    for (key, value) in [
        (&b"\xff"[..], &b"bytes"[..]),
        (DOUBTFUL.as_bytes(), b"text"),
        (b"$base64:plain", b"plain"),
        (b"a:\xc3\x28", b"gone"),
        (b"b", b"gone, too"),
    ] {
        assert_eq!(resp.ask_words(&[b"SET", key, value]), b"OK");
    }
    assert_eq!(resp.ask_words(&[b"DEL", b"a:\xc3\x28", b"b"]), b"2");
    let stopped = server.kill();
    let journal = stopped.unmarked_journal();
    for record in [
        r#"{"put":"$base64:/w==","value":"bytes","keys":"base64","seq":1,"#,
        r#"{"put":"$base64:/w==","value":"text","seq":2,"#,
        r#"{"del":["$base64:YTrDKA==","b"],"keys":"base64","seq":6,"#,
    ] {
        assert!(journal.contains(record), "{journal}");
    }
    let expected = ["VALUE \"text\"", "VALUE \"bytes\""];
    let server = stopped.restart();
    assert_eq!(values(&server), expected);
    assert_eq!(server.client().ask("COUNT"), "COUNT 3");
    let stopped = server.stop();
    let store = stopped.read("store.json");
    for pair in [
        r#""$base64:/w==": "bytes""#,
        r#""$base64:JGJhc2U2NDovdz09": "text""#,
        r#""$base64:plain": "plain""#,
    ] {
        assert!(store.contains(pair), "{store}");
    }
    let server = stopped.restart();
    assert_eq!(values(&server), expected);
    // An editor may leave another layout.
    let stopped = server.stop();
    let compact: serde_json::Value = serde_json::from_str(&store).expect("JSON");
    stopped.write("store.json", compact.to_string());
    assert_eq!(values(&stopped.restart()), expected);
}

#[test]
fn a_store_json_alone_has_keys_in_the_present_form() {
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", r#"{"$base64:/w==": "bytes"}"#);
    let server = stopped.restart();
    assert_eq!(values(&server), ["NOT_FOUND", "VALUE \"bytes\""]);
}

#[test]
fn the_files_of_a_version_whose_keys_were_all_text_mean_what_they_meant() {
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", "{\n  \"$base64:/w==\": \"text\"\n}\n");
    stopped.write(
        "journal-3.jsonl",
        header_of(5, 3, 7) + &saved(7, &stopped) + &put(8, "$base64:/g==", "too"),
    );
    // Read twice before a save, and then from files of the present format.
    let mut server = stopped.restart();
    for _ in 0..2 {
        assert_eq!(values(&server), ["VALUE \"text\"", "NOT_FOUND"]);
        assert_eq!(server.client().ask("GET $base64:/g=="), "VALUE \"too\"");
        server = server.kill().restart();
    }
    let stopped = server.stop();
    let store = stopped.read("store.json");
    assert!(
        store.contains(r#""$base64:JGJhc2U2NDovdz09": "text""#),
        "{store}"
    );
    let server = stopped.restart();
    assert_eq!(values(&server), ["VALUE \"text\"", "NOT_FOUND"]);
    assert_eq!(server.client().ask("GET $base64:/g=="), "VALUE \"too\"");
}

/// A kill after store.json has its name, and before the journals that it replaces are removed.
#[test]
fn a_store_json_of_this_version_means_what_it_means_beside_older_journals() {
    let stopped = Stopped::new(&[]);
    stopped.write("store.json", "{\n  \"$base64:/w==\": \"bytes\"\n}\n");
    stopped.write("journal-1.jsonl", header_of(5, 1, 1) + &put(1, "a", "1"));
    stopped.write("journal-2.jsonl", header_of(6, 2, 2) + &saved(2, &stopped));
    let server = stopped.restart();
    assert_eq!(values(&server), ["NOT_FOUND", "VALUE \"bytes\""]);
}

/// The record that the store.json that is there was written.
fn saved(seq: u64, stopped: &Stopped) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let path = stopped.data().join("store.json");
    let content = fs::read(&path).expect("the file");
    let known = fs::metadata(&path).expect("the file");
    let modified = i128::from(known.mtime()) * 1_000_000_000 + i128::from(known.mtime_nsec());
    line(&format!(
        "{{\"saved\":{{\"bytes\":{},\"crc\":\"{:08x}\",\"modified\":\"{modified}\"}},\"seq\":{seq}",
        content.len(),
        crc32fast::hash(&content)
    ))
}
