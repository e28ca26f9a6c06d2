//! protocol.md is the law, and this holds the server to it: every example is played, both clients are run, and every
//! limit, error, figure and command must stand there.
//!
//! In: the text of protocol.md. Out: nothing but the verdict. What a command does beyond its examples is tested elsewhere.

use std::process::{Command, Output};

use pykv::command::{
    ALL_LOCKED_TIME_MAX, CHANNEL_BYTES_MAX, COMMAND_NAMES_MAX, COMMANDS, Clustered, Dialects,
    KEYS_PER_REQUEST_MAX, KILL_FILTERS_MAX, LOADED_BYTES_MAX, LOCKED_PAIRS_MAX, LONG_RUNS_MAX,
    NAMESPACE_NAMES_BYTES_MAX, NAMESPACES_MAX, PATTERN_BYTES_MAX, QUEUED_BYTES_MAX,
    QUEUED_REQUESTS_MAX, REPLY_BYTES_MAX, SCAN_COUNT_MAX, SEARCH_BYTES_MAX, SUBSCRIBED_BYTES_MAX,
    Scope, TRACKED_PREFIXES_BYTES_MAX, TRACKED_PREFIXES_MAX,
};
use pykv::lua::MEMORY_BYTES_MAX;
use pykv::model::{EXPIRES_AT_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use pykv::persistence::RECORD_BYTES_MAX;
use pykv::protocol::ErrorCode;
use pykv::protocol::line::{LINE_BYTES_MAX, QUOTED_LINE_BYTES_MAX, WORDS_MAX};
use pykv::server::CONNECTIONS_MAX;

use crate::support::server::{Stopped, TestClient, TestServer, is_skipped};

const LAW: &str = include_str!("../../protocol.md");

/// The blocks of one language, without their fences.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    LAW.split(&*fence)
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap_or(rest))
        .collect()
}

/// The commands that lines have.
fn commands() -> impl Iterator<Item = &'static pykv::command::Command> {
    let all = COMMANDS.iter().copied();
    all.filter(|command| command.dialects != Dialects::Resp)
}

/// The rows of the tables of one chapter, each as its cells.
fn rows_of(chapter: &str) -> Vec<Vec<&'static str>> {
    let after = LAW.split(chapter).nth(1);
    let text = after.unwrap_or_else(|| panic!("protocol.md has no chapter {chapter:?}"));
    let body = text.split("\n#").next().unwrap_or(text);
    let rows = body.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| {
        row[1..]
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect()
    })
    .collect()
}

#[test]
fn every_example_in_protocol_md_is_true() {
    let server = TestServer::start();
    let mut shown = String::new();
    let examples = blocks("pykv");
    assert!(examples.len() > commands().count(), "examples were found");
    for example in examples {
        assert_eq!(server.client().ask("CLEAR"), "OK");
        // Backups go beside the data.
        let beside = server.data().with_file_name("backup");
        play(
            server.client(),
            &example.replace("/var/backups/", &format!("{}-", beside.display())),
        );
        shown.push_str(example);
        shown.push('\n');
    }
    for command in commands() {
        let (request, name) = (format!("C: {}", command.name), command.name);
        assert!(
            shown
                .lines()
                .any(|line| line == request || line.starts_with(&format!("{request} "))),
            "no example of {name}"
        );
    }
}

/// Plays one example, and demands that nothing is left: no further reply, nor an open connection where it must be closed.
fn play(mut client: TestClient, example: &str) {
    let mut lines = example.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(request) = line.strip_prefix("C: ") {
            client.send(request);
        } else if line == "S: ..." {
            match lines.peek().and_then(|line| line.strip_prefix("S: ")) {
                None => drop(client.rows()),
                Some(expected) => {
                    skip_to(&mut client, expected, example);
                    lines.next();
                }
            }
        } else if let Some(expected) = line.strip_prefix("S: ") {
            let reply = client.reply();
            let is_shown = match expected.strip_suffix("...") {
                Some(beginning) => reply.starts_with(beginning),
                None => reply == expected,
            };
            assert!(is_shown, "{reply:?} came, not {expected:?}, in\n{example}");
        } else {
            panic!("{line:?} begins with neither `C: ` nor `S: `");
        }
    }
    if example.contains("C: QUIT") || example.contains("S: ERR DENIED") {
        assert_eq!(client.rest(), "", "after\n{example}");
    } else {
        client.expect_nothing_more();
    }
}

fn skip_to(client: &mut TestClient, expected: &str, example: &str) {
    loop {
        let reply = client.reply();
        if reply == expected {
            return;
        }
        let is_last = reply.starts_with("END ") || reply.starts_with("ERR ");
        assert!(
            !is_last,
            "{reply:?} came, and {expected:?} did not, in\n{example}"
        );
    }
}

#[test]
fn the_execution_of_each_command_over_a_cluster_is_documented() {
    let verdict = |command: &pykv::command::Command| match (command.clustered, command.scope) {
        (Clustered::Native { .. }, _) => "native",
        (Clustered::Emulated, _) | (_, Scope::Queued) => "emulated",
        (Clustered::Refused(..), _) => "refused",
        (Clustered::Whole, _) => "whole",
        (Clustered::Here, _) => "here",
    };
    for row in rows_of("\n## Over a cluster\n") {
        let (name, listed) = (row[0].split(':').next().unwrap_or_default(), row[1]);
        if name == "execution" {
            continue;
        }
        let mut named: Vec<&str> = Vec::new();
        for command in COMMANDS.iter().filter(|command| verdict(command) == name) {
            if !named.contains(&command.name) {
                named.push(command.name);
            }
        }
        let named = named.iter().map(|name| format!("`{name}`"));
        assert_eq!(listed, named.collect::<Vec<_>>().join(" "), "{name}");
    }
}

#[test]
fn the_commands_of_the_table_have_a_chapter_in_order() {
    let chapters: Vec<String> = LAW
        .lines()
        .filter_map(|line| line.strip_prefix("#### `")?.strip_suffix('`'))
        .map(str::to_owned)
        .collect();
    let table: Vec<String> = commands().map(pykv::command::Command::synopsis).collect();
    assert_eq!(chapters, table);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn the_limits_in_protocol_md_are_those_of_the_server() {
    let limits = [
        (
            "key (after decoding)",
            "65,536 bytes",
            KEY_BYTES_MAX,
            65_536,
        ),
        (
            "value (after decoding)",
            "67,108,864 bytes (64 MiB)",
            VALUE_BYTES_MAX,
            67_108_864,
        ),
        ("line", "67,503,104 bytes", LINE_BYTES_MAX, 67_503_104),
        (
            "line of a `PUT` whose value is a JSON string",
            "403,047,424 bytes",
            QUOTED_LINE_BYTES_MAX,
            403_047_424,
        ),
        (
            "keys in one request",
            "1,048,576 keys",
            KEYS_PER_REQUEST_MAX,
            1_048_576,
        ),
        (
            "keys that one connection watches",
            "1,048,576 keys",
            KEYS_PER_REQUEST_MAX,
            1_048_576,
        ),
        (
            "requests in one transaction",
            "1,048,576 requests",
            QUEUED_REQUESTS_MAX,
            1_048_576,
        ),
        (
            "arguments of all requests in one transaction",
            "403,047,424 bytes",
            QUEUED_BYTES_MAX,
            403_047_424,
        ),
        (
            "answer to one transaction",
            "403,047,424 bytes",
            REPLY_BYTES_MAX,
            403_047_424,
        ),
        (
            "changes of one request or transaction, as one record",
            "470,221,824 bytes",
            RECORD_BYTES_MAX,
            470_221_824,
        ),
        (
            "keys that one `SCAN` looks at",
            "10,000 keys",
            SCAN_COUNT_MAX,
            10_000,
        ),
        (
            "arguments on one line",
            "2,097,152 arguments",
            WORDS_MAX,
            2_097_152,
        ),
        ("pattern", "1,024 bytes", PATTERN_BYTES_MAX, 1024),
        (
            "name of a channel",
            "65,536 bytes",
            CHANNEL_BYTES_MAX,
            65_536,
        ),
        (
            "names of all subscriptions of one connection",
            "1,048,576 bytes",
            SUBSCRIBED_BYTES_MAX,
            1_048_576,
        ),
        (
            "prefixes that one connection tracks",
            "1,000 prefixes",
            TRACKED_PREFIXES_MAX,
            1_000,
        ),
        (
            "these prefixes together",
            "1,048,576 bytes",
            TRACKED_PREFIXES_BYTES_MAX,
            1_048_576,
        ),
        (
            "text that `PAGE` searches for",
            "65,536 bytes",
            SEARCH_BYTES_MAX,
            65_536,
        ),
        (
            "names in one `COMMAND INFO` or `COMMAND DOCS`",
            "1,000 names",
            COMMAND_NAMES_MAX,
            1_000,
        ),
        (
            "filters in one `CLIENT KILL`",
            "16 filters",
            KILL_FILTERS_MAX,
            16,
        ),
        (
            "namespaces in one answer",
            "100,000 namespaces",
            NAMESPACES_MAX,
            100_000,
        ),
        (
            "their names together",
            "16,777,216 bytes",
            NAMESPACE_NAMES_BYTES_MAX,
            16 << 20,
        ),
        (
            "expiry, since 1970",
            "253,402,207,200,000 ms",
            usize::try_from(EXPIRES_AT_MAX).expect("64 bits"),
            253_402_207_200_000,
        ),
        (
            "connections at a time",
            "10,000 connections",
            CONNECTIONS_MAX,
            10_000,
        ),
        (
            "memory of a script",
            "67,108,864 bytes",
            MEMORY_BYTES_MAX,
            64 << 20,
        ),
        (
            "time of a script in a transaction, or on all keys",
            "500 ms",
            usize::try_from(ALL_LOCKED_TIME_MAX.as_millis()).expect("it is short"),
            500,
        ),
        (
            "scripts at a time that take longer than 5 ms",
            "8 scripts",
            LONG_RUNS_MAX,
            8,
        ),
        (
            "pairs that a transaction or script looks through",
            "1,000,000 pairs",
            usize::try_from(LOCKED_PAIRS_MAX).expect("it is a number of pairs"),
            1_000_000,
        ),
        (
            "loaded scripts together",
            "33,554,432 bytes",
            LOADED_BYTES_MAX,
            32 << 20,
        ),
    ];
    let rows = rows_of("\n## Limits\n");
    // The first row has the names of the columns.
    assert_eq!(rows.len(), 1 + limits.len());
    for (row, (what, written, limit, number)) in rows[1..].iter().zip(limits) {
        assert_eq!(row[..2], [what, written]);
        assert_eq!(limit, number, "{what}");
    }
}

#[test]
fn every_error_code_and_figure_is_documented() {
    let codes = [
        ErrorCode::Syntax,
        ErrorCode::Unknown,
        ErrorCode::Args,
        ErrorCode::TooLarge,
        ErrorCode::Text,
        ErrorCode::Denied,
        ErrorCode::CrossSlot,
        ErrorCode::NoFeed,
        ErrorCode::Busy,
        ErrorCode::Disk,
        ErrorCode::InDoubt,
        ErrorCode::ReadOnly,
        ErrorCode::NotLeader,
        ErrorCode::NoAuth,
        ErrorCode::Full,
        ErrorCode::Script,
        ErrorCode::Internal,
    ];
    for code in codes {
        // A new code stops the compiler here: it belongs above, and in protocol.md.
        match code {
            ErrorCode::Syntax
            | ErrorCode::Unknown
            | ErrorCode::Args
            | ErrorCode::TooLarge
            | ErrorCode::Text
            | ErrorCode::Denied
            | ErrorCode::CrossSlot
            | ErrorCode::NoFeed
            | ErrorCode::Busy
            | ErrorCode::Disk
            | ErrorCode::InDoubt
            | ErrorCode::ReadOnly
            | ErrorCode::NotLeader
            | ErrorCode::NoAuth
            | ErrorCode::Full
            | ErrorCode::Script
            | ErrorCode::Internal => {}
        }
    }
    let listed: Vec<&str> = rows_of("\n## Errors\n")
        .iter()
        .map(|row| row[0])
        .filter(|cell| *cell != "code")
        .collect();
    assert_eq!(
        listed,
        codes.map(|code| format!("`{}`", code.as_str())),
        "the errors of protocol.md, by who is at fault"
    );

    let shown: Vec<String> = TestServer::start()
        .client()
        .ask_rows("STATS")
        .iter()
        .filter_map(|row| Some(row.strip_prefix("STAT ")?.split(' ').next()?.to_owned()))
        .collect();
    let (counts, mut shown): (Vec<String>, Vec<String>) = shown
        .into_iter()
        .partition(|name| name.starts_with("command_"));
    let mut names: Vec<String> = COMMANDS
        .iter()
        .map(|command| format!("command_{}", command.name.to_lowercase()))
        .collect();
    // A word that means one thing on a line and another to Redis is counted as one.
    names.dedup();
    assert_eq!(counts, names);
    // There is none of the latter before a client asks for a command that is not here.
    shown.extend(["command_*", "unknown_command_*"].map(str::to_owned));
    let mut listed: Vec<String> = rows_of("\n#### `STATS`\n")
        .iter()
        .filter(|row| row.len() == 4)
        .flat_map(|row| row[0].split(", "))
        .filter_map(|name| Some(name.strip_prefix('`')?.strip_suffix('`')?.to_owned()))
        .collect();
    assert!(!shown.is_empty(), "STATS shows figures");
    shown.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, shown);
}

const PYTHON_DRIVER: &str = r#"
import sys
db = PyKV(sys.argv[1], int(sys.argv[2]))
assert db.get("photo") == b"\xff\x00", "a value that is not text"
assert db.all() == {"photo": b"\xff\x00"}
texts = ["", " padded ", "two\nlines\r\n", 'say "hi" \\', "\ttab", "caf\u00e9 \U0001f600 \u2028\u0085\0", "BASE64 \"eA==\""]
for text in texts:
    db.put("k" + text, text)
    assert db.get("k" + text) == text, text
assert db.all("k") == {"k" + text: text for text in texts}
db.put("long", "\"\\\n" * 500_000)
assert db.get("long") == "\"\\\n" * 500_000
assert db.get("nobody") is None
assert db.delete("k", "k padded ", "nobody") == 2
assert db.get_all("nobody", "photo", "k\ttab") == {"nobody": None, "photo": b"\xff\x00", "k\ttab": "\ttab"}
assert db.ask("MULTI") == "OK"
for request in [("MGET", "photo", "nobody"), ("INCR", "photo"), ("INCR", "n")]:
    assert db.ask(*request) == "QUEUED"
fault = "ERR ARGS value is not an integer or out of range"
assert db.ask("EXEC") == [['BASE64 "/wA="', "NOT_FOUND"], fault, 'VALUE "1"']
assert list(db.rows("NAMESPACES")) == []
assert sorted(db.rows("KEYS", "k")) == sorted("KEY " + json.dumps("k" + text, ensure_ascii=False) for text in texts[2:])
for request in [("FROB", "x"), ("GET",), ("GET", "\ud800")]:
    try:
        db.ask(*request)
        raise AssertionError(request)
    except PyKVError as error:
        print(str(error).split()[0])
assert db.ask("PING") == "PONG"
assert db.ask("QUIT") == "OK"
try:
    db.ask("PING")
    raise AssertionError("the connection was closed")
except ConnectionError:
    pass
"#;

#[test]
fn the_python_client_in_protocol_md_works() {
    let Some(output) = run_client("python", "python3", &["python3"], PYTHON_DRIVER) else {
        return;
    };
    assert_eq!(output, "UNKNOWN\nARGS\nTEXT\n");
}

const BASH_DRIVER: &str = r#"
set -u
is() { [[ $1 == "$2" ]] || { printf 'FAIL: <%s> is not <%s>\n' "$1" "$2"; exit 1; }; }
pykv_open "$1" "$2"
is "$(pykv_get photo | base64)" /wA=
for text in '' ' padded ' $'two\nlines\r\n' 'say "hi" \ %s $x' $'\ttab' 'café 😀' '-n' 'BASE64 "eA=="'; do
  pykv_put "k$text" "$text" || exit
  got=$(pykv_get "k$text" && echo .)
  is "${got%.}" "$text"
done
pykv_get nobody; is $? 1
is "$(pykv_del k 'k padded ' nobody)" 2
is "$(pykv_rows KEYS kc)" 'KEY "kcafé 😀"'
is "$(pykv_rows ALL ph)" 'ITEM "photo" BASE64 "/wA="'
is "$(pykv_rows KEYS zz)" ''
pykv_ask MULTI; pykv_ask MGET photo nobody; pykv_ask INCR photo; pykv_ask INCR n
is "$(pykv_array EXEC 2>/dev/null)" $'ARRAY 3\nARRAY 2\nBASE64 "/wA="\nNOT_FOUND\nERR ARGS value is not an integer or out of range\nVALUE "1"'
is "$(pykv_array SCAN 0 MATCH zz COUNT 1000)" $'ARRAY 2\nVALUE "0"\nARRAY 0'
pykv_ask FROB 2>/dev/null; is $? 2
pykv_rows GET 2>/dev/null; is $? 2
pykv_ask PING; is "$REPLY" PONG
pykv_ask QUIT; is "$REPLY" OK
pykv_ask PING 2>/dev/null; is $? 3
echo done
"#;

#[test]
fn the_bash_client_in_protocol_md_works() {
    let Some(output) = run_client("bash", "bash", &["bash", "jq", "base64"], BASH_DRIVER) else {
        return;
    };
    assert_eq!(output, "done\n");
}

/// Runs the client of one language and a driver after it, with host and port as arguments, against a server whose store
/// holds one value that is not text; what it prints. `None` if a tool could not be installed here.
fn run_client(language: &str, program: &str, tools: &[&str], driver: &str) -> Option<String> {
    if tools.iter().any(|tool| is_skipped(tool)) {
        return None;
    }
    for tool in tools {
        demand(tool);
    }
    let [client] = blocks(language)[..] else {
        panic!("protocol.md has one block of {language}");
    };
    let lines = client.lines().count();
    assert!(lines <= 35, "the {language} client has {lines} lines");

    let folder = Stopped::new(&[]);
    folder.write("store.json", r#"{"photo": {"$base64": "/wA="}}"#);
    let server = folder.restart();
    let script = tempfile::NamedTempFile::new().expect("a file for the client");
    std::fs::write(script.path(), format!("{client}\n{driver}")).expect("room for the client");
    let (host, port) = (server.addr().ip(), server.addr().port());
    let output = Command::new(program)
        .arg(script.path())
        .args([host.to_string(), port.to_string()])
        .output()
        .expect("it is installed");
    Some(said(&output))
}

/// What a program printed; it must have ended well.
fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{errors}");
    text.into_owned()
}

/// Fails, with what to do, if a tool is not there.
fn demand(tool: &str) {
    let found = Command::new(tool).arg("--version").output();
    assert!(
        found.is_ok_and(|output| output.status.success()),
        "install {tool} (on Debian: apt-get install {}), or name it in PYKV_TESTS_SKIP",
        if tool == "base64" { "coreutils" } else { tool }
    );
}
