//! The data folders of released versions, as a server of that version was killed over them: each loads, and holds what was stored.
//! A version that is released adds its folder to `tests/fixtures/`, and its pairs here; none is ever changed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::persistence::repair::run;
use crate::support::http::Http;
use crate::support::server::Stopped;

/// A server's folder with the files of this version.
fn folder(version: &str) -> Stopped {
    let stopped = Stopped::new(&[]);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(format!("data-{version}"));
    for entry in fs::read_dir(&fixture).expect("the folder of a version") {
        let path = entry.expect("a file").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let content = fs::read(&path).expect("a file");
        stopped.write(name.expect("a name that is text"), content);
    }
    stopped
}

/// All pairs, with their expiry.
fn pairs(stopped: Stopped) -> Value {
    let server = stopped.restart();
    let pairs = Http::connect(&server).ask("GET /api/v1/export").json();
    server.stop();
    pairs
}

#[test]
fn the_data_of_version_0_1_0_loads() {
    let stopped = folder("0.1.0");
    let data = stopped.data();
    let (said, status) = run(&["check", data.to_str().expect("a path that is text")]);
    let sound = format!(
        "{} is sound: 14 pairs; the journals hold 9 changes since the last save\n",
        data.display()
    );
    assert_eq!((&*said, status), (&*sound, Some(0)));
    let expected = json!({
        "text": {"$text": "Gr\u{fc}\u{df}e, \u{4e16}\u{754c}", "$expires_at": "2100-01-01T00:00:00.999Z"},
        "escapes": "tab\t quote\" backslash\\ line\n \u{1}",
        "key with \"quotes\" and spaces": "here",
        "changed": "after",
        "number": "42",
        "renamed": "x",
        "zeros": "\0\0\0\0\0\0\0\0",
        "bytes": {"$base64": "AP9QTkcNCg=="},
        "expires:text": {"$text": "until 2100", "$expires_at": "2100-01-01T00:00:00.000Z"},
        "expires:bytes": {"$base64": "/v8=", "$expires_at": "2100-01-01T00:00:00.123Z"},
        "group:a": "1",
        "group:b": "2 \u{e9}",
        "journal:bytes": {"$base64": "gAA="},
        "journal:expires": {"$text": "later", "$expires_at": "2100-01-01T00:00:00.000Z"},
    });
    assert_eq!(pairs(stopped), expected);
}
