//! What a Redis client sees on the same port, byte for byte.
//!
//! In: requests in RESP2, as clients send them. Out: nothing but the verdict. Replies are those of Redis 7.0, written down here.

use crate::support::server::{Stopped, TestServer};

/// A request, as every client writes it.
fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Sends requests of blank-separated words in one go, and compares all that comes until the connection is closed.
fn session(server: &TestServer, requests: &[&str], replies: &str) {
    let mut bytes = Vec::new();
    for line in requests {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        bytes.extend(request(&words));
    }
    bytes.extend(request(&[b"QUIT"]));
    let expected = format!("{replies}+OK\r\n");
    assert_eq!(said(server, &bytes), expected, "{requests:?}");
}

/// All that the server says to these bytes, until it closes.
fn said(server: &TestServer, bytes: &[u8]) -> String {
    let mut client = server.client();
    client.send_bytes(bytes);
    client.rest()
}

#[test]
fn a_redis_client_puts_reads_and_deletes() {
    let server = TestServer::start();
    session(
        &server,
        &[
            "SET name Ada",
            "get name",
            "GET nobody",
            "EXISTS name nobody name",
            "DBSIZE",
            "DEL name nobody",
            "PING",
            "PING hello",
            "ECHO hello",
            "SAVE",
        ],
        "+OK\r\n$3\r\nAda\r\n$-1\r\n:2\r\n:1\r\n:1\r\n+PONG\r\n$5\r\nhello\r\n$5\r\nhello\r\n+OK\r\n",
    );
}

#[test]
fn both_dialects_are_spoken_in_turn_on_one_connection() {
    let server = TestServer::start();
    let mut bytes = b"PUT name Ada\n".to_vec();
    bytes.extend(request(&[b"GET", b"name"]));
    bytes.extend_from_slice(b"GET name\r\n");
    bytes.extend(request(&[b"SET", b"name", b"a\r\nb"]));
    bytes.extend_from_slice(b"GET name\nQUIT\n");
    assert_eq!(
        said(&server, &bytes),
        "OK\n$3\r\nAda\r\nVALUE \"Ada\"\n+OK\r\nVALUE \"a\\r\\nb\"\nOK\n"
    );
}

#[test]
fn mistakes_are_told_in_the_words_of_redis_and_cost_one_reply() {
    let server = TestServer::start();
    session(
        &server,
        &["FETCH a b", "GET", "SET a", "PING"],
        "-ERR unknown command 'FETCH', with args beginning with: 'a' 'b' \r\n\
         -ERR wrong number of arguments for 'get' command\r\n\
         -ERR wrong number of arguments for 'set' command\r\n+PONG\r\n",
    );
}

#[test]
fn a_broken_frame_is_answered_and_ends_the_connection() {
    let server = TestServer::start();
    for (bytes, reason) in [
        (&b"*1\r\nPING\r\n"[..], "expected '$', got 'P'"),
        (b"*x\r\n", "invalid multibulk length"),
        (b"*2\r\n$3\r\nGET\r\n$67108865\r\n", "invalid bulk length"),
    ] {
        let mut bytes = bytes.to_vec();
        bytes.extend(request(&[b"SET", b"smuggled", b"in"]));
        assert_eq!(
            said(&server, &bytes),
            format!("-ERR Protocol error: {reason}\r\n")
        );
    }
    assert_eq!(server.client().ask("EXISTS smuggled"), "COUNT 0");
}

#[test]
fn any_bytes_are_stored_read_back_and_kept_over_a_restart() {
    let server = TestServer::start();
    let every_byte: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = every_byte.repeat(1024);
    let mut bytes = request(&[b"SET", b"short", &every_byte]);
    bytes.extend(request(&[b"SET", b"long", &long]));
    bytes.extend(request(&[b"QUIT"]));
    assert_eq!(said(&server, &bytes), "+OK\r\n+OK\r\n+OK\r\n");
    let mut expected = b"$256\r\n".to_vec();
    expected.extend_from_slice(&every_byte);
    expected.extend_from_slice(b"\r\n$262144\r\n");
    expected.extend_from_slice(&long);
    expected.extend_from_slice(b"\r\n+OK\r\n");
    let come_back = |server: &TestServer| {
        let mut client = server.client();
        for words in [&[&b"GET"[..], b"short"][..], &[b"GET", b"long"], &[b"QUIT"]] {
            client.send_bytes(&request(words));
        }
        client.rest_bytes() == expected
    };
    assert!(come_back(&server), "before the restart");
    assert!(come_back(&server.kill().restart()), "after it");
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered_once_it_is_whole() {
    let server = TestServer::start();
    let mut client = server.client();
    for byte in request(&[b"SET", b"slow", b"drip"]) {
        client.send_bytes(&[byte]);
    }
    client.send_bytes(&request(&[b"GET", b"slow"]));
    client.send_bytes(&request(&[b"QUIT"]));
    assert_eq!(client.rest(), "+OK\r\n$4\r\ndrip\r\n+OK\r\n");
}

#[test]
fn counters_and_changes_of_a_value_answer_as_in_redis() {
    let server = TestServer::start();
    session(
        &server,
        &[
            "INCR n",
            "INCRBY n 41",
            "DECRBY n 50",
            "DECR n",
            "GET n",
            "SET n 01",
            "INCR n",
            "DECRBY n -9223372036854775808",
            "SET n 9223372036854775807",
            "INCR n",
            "APPEND n !",
            "STRLEN n",
            "SETNX n 1",
            "SETNX m 1",
            "GETSET m 2",
            "GETDEL m",
            "GETDEL m",
        ],
        ":1\r\n:42\r\n:-8\r\n:-9\r\n$2\r\n-9\r\n+OK\r\n\
         -ERR value is not an integer or out of range\r\n-ERR decrement would overflow\r\n+OK\r\n\
         -ERR increment or decrement would overflow\r\n:20\r\n:20\r\n:0\r\n:1\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n",
    );
}

#[test]
fn a_counter_that_many_add_to_loses_nothing() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..500 {
                    client.send("INCR visits");
                }
                for _ in 0..500 {
                    let reply = client.reply();
                    assert!(reply.starts_with("VALUE \""), "{reply}");
                }
            });
        }
    });
    assert_eq!(server.client().ask("GET visits"), "VALUE \"4000\"");
    let server = server.kill().restart();
    assert_eq!(server.client().ask("INCR visits"), "VALUE \"4001\"");
}

#[test]
fn a_change_of_a_value_keeps_its_expiry_and_a_new_value_does_not() {
    let stopped = Stopped::new(&[]);
    stopped.write(
        "store.json",
        r#"{"n": {"$text": "1", "$expires_at": "2999-01-01T00:00:00Z"},
            "s": {"$text": "a", "$expires_at": "2999-01-01T00:00:00Z"}}"#,
    );
    let server = stopped.restart();
    let mut client = server.client();
    assert_eq!(client.ask("INCR n"), "VALUE \"2\"");
    assert_eq!(client.ask("GETSET s b"), "VALUE \"a\"");
    let stopped = server.stop();
    let store = stopped.read("store.json");
    let n = store.lines().find(|line| line.contains("\"n\""));
    assert!(n.is_some_and(|n| n.contains("2999-01-01")), "{store}");
    let s = store.lines().find(|line| line.contains("\"s\""));
    assert!(s.is_some_and(|s| s.contains("\"s\": \"b\"")), "{store}");
}

#[test]
fn the_keys_of_a_request_are_listed_with_what_happens_to_them() {
    let server = TestServer::start();
    session(
        &server,
        &[
            "COMMAND GETKEYSANDFLAGS RENAME a b",
            "COMMAND GETKEYSANDFLAGS MSET a 1 b 2",
            "COMMAND GETKEYSANDFLAGS MEMORY USAGE a",
            "COMMAND GETKEYSANDFLAGS PING a",
            "COMMAND GETKEYSANDFLAGS COUNT user:",
            "COMMAND GETKEYSANDFLAGS FROB a",
            "COMMAND GETKEYSANDFLAGS GET a b",
            "COMMAND GETKEYSANDFLAGS GET",
        ],
        "*2\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+delete\r\n*2\r\n$1\r\nb\r\n*2\r\n+OW\r\n+update\r\n\
         *2\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n*2\r\n$1\r\nb\r\n*2\r\n+OW\r\n+update\r\n\
         *1\r\n*2\r\n$1\r\na\r\n*1\r\n+RO\r\n\
         -ERR The command has no key arguments\r\n\
         -ERR The command has no key arguments\r\n\
         -ERR Invalid command specified\r\n\
         -ERR Invalid number of arguments specified for command\r\n\
         -ERR wrong number of arguments for 'command|getkeysandflags' command\r\n",
    );
}

#[test]
fn a_command_is_described_in_the_form_of_redis_7() {
    let server = TestServer::start();
    session(
        &server,
        &["COMMAND INFO COPY frob shutdown"],
        "*3\r\n*10\r\n$4\r\ncopy\r\n:-3\r\n*2\r\n+write\r\n+denyoom\r\n:1\r\n:2\r\n:1\r\n\
         *3\r\n+@keyspace\r\n+@write\r\n+@slow\r\n*0\r\n\
         *2\r\n\
         *6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n\
         $12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n\
         $9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n\
         *6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n\
         *6\r\n$5\r\nflags\r\n*2\r\n+OW\r\n+update\r\n\
         $12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n\
         $9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n\
         *6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n\
         *0\r\n\
         $-1\r\n\
         *10\r\n$8\r\nshutdown\r\n:-1\r\n*3\r\n+admin\r\n+loading\r\n+no_multi\r\n:0\r\n:0\r\n:0\r\n\
         *3\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n*0\r\n*0\r\n*0\r\n",
    );
}

#[test]
fn a_command_is_documented_with_its_arguments() {
    let server = TestServer::start();
    session(
        &server,
        &["COMMAND DOCS GETDEL MSET DELEX frob MULTI"],
        "*8\r\n\
         $6\r\ngetdel\r\n*12\r\n$7\r\nsummary\r\n$32\r\nDelete a key; answers its value.\r\n\
         $5\r\nsince\r\n$5\r\n0.1.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n$10\r\ncomplexity\r\n$40\r\nO(N) where N is the length of the value.\r\n$6\r\nsyntax\r\n$12\r\nGETDEL <key>\r\n\
         $9\r\narguments\r\n*1\r\n\
         *6\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n\
         $4\r\nmset\r\n*12\r\n$7\r\nsummary\r\n$33\r\nStore several pairs, all or none.\r\n\
         $5\r\nsince\r\n$5\r\n0.1.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n$10\r\ncomplexity\r\n$35\r\nO(N) where N is the number of keys.\r\n$6\r\nsyntax\r\n$38\r\nMSET <key> <value> [<key> <value> ...]\r\n\
         $9\r\narguments\r\n*1\r\n\
         *8\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$5\r\nblock\r\n$5\r\nflags\r\n*1\r\n+multiple\r\n\
         $9\r\narguments\r\n*2\r\n\
         *6\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n\
         *4\r\n$4\r\nname\r\n$5\r\nvalue\r\n$4\r\ntype\r\n$6\r\nstring\r\n\
         $5\r\ndelex\r\n*12\r\n$7\r\nsummary\r\n$70\r\nDelete a key if a condition holds; answers the number of deleted keys.\r\n\
         $5\r\nsince\r\n$5\r\n0.1.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n$10\r\ncomplexity\r\n$40\r\nO(N) where N is the length of the value.\r\n$6\r\nsyntax\r\n$75\r\nDELEX <key> [IFEQ <value> | IFNE <value> | IFDEQ <digest> | IFDNE <digest>]\r\n\
         $9\r\narguments\r\n*2\r\n\
         *6\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n\
         *8\r\n$4\r\nname\r\n$6\r\noption\r\n$4\r\ntype\r\n$5\r\noneof\r\n$5\r\nflags\r\n*1\r\n+optional\r\n\
         $9\r\narguments\r\n*4\r\n\
         *6\r\n$4\r\nname\r\n$5\r\nvalue\r\n$4\r\ntype\r\n$6\r\nstring\r\n$5\r\ntoken\r\n$4\r\nIFEQ\r\n\
         *6\r\n$4\r\nname\r\n$5\r\nvalue\r\n$4\r\ntype\r\n$6\r\nstring\r\n$5\r\ntoken\r\n$4\r\nIFNE\r\n\
         *6\r\n$4\r\nname\r\n$6\r\ndigest\r\n$4\r\ntype\r\n$6\r\nstring\r\n$5\r\ntoken\r\n$5\r\nIFDEQ\r\n\
         *6\r\n$4\r\nname\r\n$6\r\ndigest\r\n$4\r\ntype\r\n$6\r\nstring\r\n$5\r\ntoken\r\n$5\r\nIFDNE\r\n\
         $5\r\nmulti\r\n*12\r\n$7\r\nsummary\r\n$68\r\nBegin a transaction: the requests that follow are queued until EXEC.\r\n\
         $5\r\nsince\r\n$5\r\n0.1.0\r\n$5\r\ngroup\r\n$12\r\ntransactions\r\n$10\r\ncomplexity\r\n$40\r\nO(N) where N is the length of the reply.\r\n$6\r\nsyntax\r\n$5\r\nMULTI\r\n\
         $9\r\narguments\r\n*0\r\n",
    );
}

#[test]
fn commands_are_listed_by_category_or_pattern() {
    let server = TestServer::start();
    session(
        &server,
        &[
            "COMMAND LIST FILTERBY ACLCAT transaction",
            "COMMAND LIST FILTERBY aclcat frob",
            "COMMAND LIST FILTERBY PATTERN *nx",
            "COMMAND LIST FILTERBY MODULE m",
        ],
        "*5\r\n$5\r\nmulti\r\n$4\r\nexec\r\n$7\r\ndiscard\r\n$5\r\nwatch\r\n$7\r\nunwatch\r\n\
         *0\r\n\
         *3\r\n$5\r\nsetnx\r\n$6\r\nmsetnx\r\n$8\r\nrenamenx\r\n\
         *0\r\n",
    );
}
