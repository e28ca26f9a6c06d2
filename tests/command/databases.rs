//! Numbered databases: prefixes of keys, which each client sees as its own or all together.
//!
//! In: clients that select databases, alone and in transactions, scripts and pipelines. Out: nothing but the verdict.

use crate::support::server::{Stopped, TestClient, TestServer, wait_until};

/// A client of this database.
fn in_database(server: &TestServer, number: usize) -> TestClient {
    let mut client = server.client();
    assert_eq!(client.ask(&format!("SELECT {number}")), "OK");
    client
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

#[test]
fn a_database_is_the_keys_with_its_prefix() {
    let server = TestServer::start();
    let (mut all, mut one, mut two) = (
        server.client(),
        in_database(&server, 1),
        in_database(&server, 2),
    );
    for (client, line) in [
        (&mut all, "PUT a zero"),
        (&mut one, "MSET a one b:x 1 b:y 2"),
        (&mut two, "PUT a two"),
    ] {
        assert_eq!(client.ask(line), "OK");
    }
    assert_eq!(one.ask("GET a"), "VALUE \"one\"");
    assert_eq!(all.ask("GET db1:a"), "VALUE \"one\"");
    assert_eq!(
        sorted(one.ask_rows("ALL")),
        [
            "END 3",
            "ITEM \"a\" \"one\"",
            "ITEM \"b:x\" \"1\"",
            "ITEM \"b:y\" \"2\""
        ]
    );
    assert_eq!(
        sorted(one.ask_rows("KEYS b:")),
        ["END 2", "KEY \"b:x\"", "KEY \"b:y\""]
    );
    assert_eq!(one.ask_rows("NAMESPACES"), ["NAMESPACE \"b:\" 2", "END 1"]);
    assert_eq!(
        all.ask_rows("NAMESPACES db1:"),
        ["NAMESPACE \"db1:b:\" 2", "END 1"]
    );
    assert_eq!(
        ["COUNT", "DBSIZE", "COUNT b:"].map(|line| one.ask(line)),
        ["COUNT 3", "COUNT 3", "COUNT 2"]
    );
    assert_eq!(
        ["COUNT", "DBSIZE"].map(|line| all.ask(line)),
        ["COUNT 5"; 2]
    );
    assert_eq!(two.ask("RANDOMKEY"), "VALUE \"a\"");
    let scanned = one.ask("SCAN 0 MATCH b:* COUNT 1000");
    assert_eq!(scanned, "ARRAY 2");
    assert_eq!(one.reply(), "VALUE \"0\"");
    assert_eq!(one.reply(), "ARRAY 2");
    assert_eq!(
        sorted(vec![one.reply(), one.reply()]),
        ["VALUE \"b:x\"", "VALUE \"b:y\""]
    );
    assert_eq!(one.ask("DELPREFIX b:"), "COUNT 2");
    assert_eq!(all.ask("COUNT db1:"), "COUNT 1");
    assert_eq!(all.ask("SELECT 16"), "ERR ARGS DB index is out of range");
    assert_eq!(all.ask("SELECT -1"), "ERR ARGS DB index is out of range");
    assert_eq!(
        all.ask("SELECT x"),
        "ERR ARGS value is not an integer or out of range"
    );
    assert_eq!(
        all.ask("DBSIZE"),
        "COUNT 3",
        "a refused SELECT changes nothing"
    );
    assert_eq!(one.ask("RESET"), "VALUE \"RESET\"");
    assert_eq!(one.ask("GET a"), "VALUE \"zero\"");
}

#[test]
fn pairs_go_from_one_database_to_another() {
    let server = TestServer::start();
    let (mut one, mut two) = (in_database(&server, 1), in_database(&server, 2));
    assert_eq!(one.ask("SET a text EX 1000"), "OK");
    assert_eq!(one.ask("COPY a b DB 2"), "COUNT 1");
    assert_eq!(one.ask("COPY a b DB 2"), "COUNT 0");
    assert_eq!(two.ask("TTL b"), one.ask("TTL a"));
    assert_eq!(one.ask("MOVE a 2"), "COUNT 1");
    assert_eq!(one.ask("MOVE a 2"), "COUNT 0");
    assert_eq!(two.ask("PUT c 2"), "OK");
    assert_eq!(one.ask("PUT c 1"), "OK");
    assert_eq!(one.ask("MOVE c 2"), "COUNT 0", "it is there, too");
    let same = "ERR ARGS source and destination objects are the same";
    assert_eq!(one.ask("MOVE c 1"), same);
    assert_eq!(one.ask("COPY c c DB 1"), same);
    assert_eq!(one.ask("MOVE c 16"), "ERR ARGS DB index is out of range");
    assert_eq!(one.ask("MULTI"), "OK");
    for line in ["MOVE c 3", "COPY d e DB 4"] {
        assert_eq!(one.ask(line), "QUEUED");
    }
    assert_eq!(one.ask_array("EXEC"), ["COUNT 1", "COUNT 0"]);
    let script = "EVAL \"return redis.call('MOVE', KEYS[1], 5)\" 1 c";
    assert_eq!(in_database(&server, 3).ask(script), "COUNT 1");
    assert_eq!(server.client().ask("GET db5:c"), "VALUE \"1\"");
    assert_eq!(
        sorted(two.ask_rows("KEYS")),
        ["END 3", "KEY \"a\"", "KEY \"b\"", "KEY \"c\""]
    );
}

#[test]
fn a_flush_leaves_other_databases_alone() {
    let server = TestServer::start();
    let (mut all, mut one) = (server.client(), in_database(&server, 1));
    let fill = || {
        for number in 0..1200 {
            assert_eq!(
                server.client().ask(&format!(
                    "MSET a{number} 0 db1:a{number} 1 db2:a{number} 2 db1 x"
                )),
                "OK"
            );
        }
    };
    fill();
    assert_eq!(one.ask("FLUSHDB"), "OK");
    assert_eq!(
        (one.ask("DBSIZE"), all.ask("DBSIZE")),
        ("COUNT 0".into(), "COUNT 2401".into())
    );
    assert_eq!(all.ask("FLUSHDB ASYNC"), "OK");
    assert_eq!(all.ask("DBSIZE"), "COUNT 1200");
    assert_eq!(all.ask("COUNT db2:"), "COUNT 1200");
    assert_eq!(in_database(&server, 2).ask("CLEAR"), "OK");
    assert_eq!(all.ask("DBSIZE"), "COUNT 0");
    fill();
    for line in ["MULTI", "FLUSHDB", "DBSIZE", "PUT z 1"] {
        let expected = if line == "MULTI" { "OK" } else { "QUEUED" };
        assert_eq!(one.ask(line), expected);
    }
    assert_eq!(one.ask_array("EXEC"), ["OK", "COUNT 0", "OK"]);
    assert_eq!(one.ask("DBSIZE"), "COUNT 1");
    assert_eq!(one.ask("FLUSHALL"), "OK");
    assert_eq!(all.ask("DBSIZE"), "COUNT 0");
    assert_eq!(
        one.ask("FLUSHDB NOW"),
        "ERR ARGS FLUSHDB does not take these arguments: FLUSHDB [ASYNC | SYNC]"
    );
}

/// Goal: a request names keys of the database that is selected when it is executed, not when it arrives.
/// Method: whole sessions in one packet, also across transactions that select, and are dropped.
#[test]
fn a_select_counts_from_its_place_on() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut session = |lines: &str, replies: usize| -> Vec<String> {
        client.send(lines);
        (0..replies).map(|_| client.reply()).collect()
    };
    assert_eq!(
        session(
            "PUT k 0\nSELECT 1\nPUT k 1\nGET k\nSELECT 2\nGET k\nSELECT 0\nGET k",
            8
        ),
        [
            "OK",
            "OK",
            "OK",
            "VALUE \"1\"",
            "OK",
            "NOT_FOUND",
            "OK",
            "VALUE \"0\""
        ]
    );
    let exec = "MULTI\nGET k\nSELECT 1\nGET k\nSELECT 99\nPUT m 1\nEXEC\nGET m\nGET k\nSELECT 0";
    assert_eq!(
        session(exec, 15),
        [
            "OK",
            "QUEUED",
            "QUEUED",
            "QUEUED",
            "QUEUED",
            "QUEUED",
            "ARRAY 5",
            "VALUE \"0\"",
            "OK",
            "VALUE \"1\"",
            "ERR ARGS DB index is out of range",
            "OK",
            "VALUE \"1\"",
            "VALUE \"1\"",
            "OK"
        ]
    );
    assert_eq!(
        session("MULTI\nSELECT 1\nPUT k x\nDISCARD\nGET k", 5),
        ["OK", "QUEUED", "QUEUED", "OK", "VALUE \"0\""]
    );
    assert_eq!(
        session("MULTI\nSELECT 1\nPUT k x\nRESET\nGET k", 5),
        ["OK", "QUEUED", "QUEUED", "VALUE \"RESET\"", "VALUE \"0\""]
    );
    let script = "SELECT 3\nEVAL \"redis.call('SET', KEYS[1], KEYS[1]) redis.call('SET', 'o', 1) redis.call('SELECT', 4) return redis.call('DBSIZE')\" 1 n\nDBSIZE\nGET n\nGET o";
    assert_eq!(
        session(script, 5),
        ["OK", "COUNT 0", "COUNT 2", "VALUE \"n\"", "VALUE \"1\""]
    );
    let watching = "SELECT 5\nWATCH w\nSELECT 0\nPUT db5:w 1\nMULTI\nPING\nEXEC";
    assert_eq!(
        session(watching, 7),
        ["OK", "OK", "OK", "OK", "OK", "QUEUED", "UNCHANGED"]
    );
}

#[test]
fn others_see_which_database_a_client_has() {
    let server = TestServer::start();
    let (mut all, mut one) = (server.client(), in_database(&server, 1));
    let mut monitor = server.client();
    assert_eq!(monitor.ask("MONITOR"), "OK");
    assert_eq!(one.ask("MSET a 1 b 2"), "OK");
    assert_eq!(one.ask_rows("ALL a").len(), 2);
    for shown in ["\"MSET\" \"a\" \"1\" \"b\" \"2\"", "\"ALL\" \"a\""] {
        let line = monitor.reply().replace("\\\"", "\"");
        assert!(
            line.contains("[1 127.0.0.1:") && line.contains(shown),
            "{line}"
        );
    }
    let clients = all.ask("CLIENT LIST");
    assert_eq!(clients.matches(" db=1 ").count(), 1, "{clients}");
    assert_eq!(all.ask("SET db2:c 1 PX 1"), "OK");
    assert_eq!(all.ask("SET db3:c 1 EX 1000"), "OK");
    let expected = "# Keyspace\\r\\ndb0:keys=3,expires=1,avg_ttl=0\\r\\ndb1:keys=2,expires=0,avg_ttl=0\\r\\ndb3:keys=1,expires=1,avg_ttl=0\\r\\n";
    wait_until("what has expired is deleted, too", || {
        all.ask("INFO keyspace") == format!("VALUE \"{expected}\"")
    });
}

#[test]
fn the_changes_of_a_database_can_be_followed() {
    let server = TestServer::start();
    let mut one = in_database(&server, 1);
    let following = one.ask("FOLLOW u:");
    assert!(following.starts_with("FOLLOWING \"u:\" "), "{following}");
    let followed = one.ask("FOLLOW u:");
    assert_eq!(
        followed,
        "ERR ARGS 'u:' is followed already; UNFOLLOW it first"
    );
    let mut all = server.client();
    assert_eq!(all.ask("MSET db1:u:a 1 u:a 0 db2:u:a 2"), "OK");
    assert_eq!(all.ask("DEL db1:u:a"), "COUNT 1");
    let (put, deleted) = (one.reply(), one.reply());
    assert!(
        put.contains("\"u:a\" \"1\"") && !put.contains("db1"),
        "{put}"
    );
    assert!(
        deleted.contains("\"u:a\"") && !deleted.contains("db1"),
        "{deleted}"
    );
    assert_eq!(one.ask("UNFOLLOW u:"), "UNFOLLOWED \"u:\"");
}

#[test]
fn permissions_are_about_the_stored_keys() {
    let server = TestServer::start();
    let (mut all, mut user) = (server.client(), server.client());
    assert_eq!(all.ask("MSET a 0 db1:a 1 db1:b 1 db2:a 2"), "OK");
    assert_eq!(all.ask("ACL SETUSER one on nopass ~db1:* +@all"), "OK");
    assert_eq!(user.ask("AUTH one any"), "OK");
    let no_key =
        "ERR DENIED this user has no permissions to access one of the keys used as arguments";
    assert_eq!(user.ask("GET a"), no_key);
    assert_eq!(user.ask("SELECT 2"), "OK");
    assert_eq!(user.ask("GET a"), no_key);
    assert_eq!(user.ask("SELECT 1"), "OK");
    assert_eq!(user.ask("GET a"), "VALUE \"1\"");
    assert_eq!(user.ask("MOVE a 2"), no_key);
    assert_eq!(user.ask("COPY a c DB 3"), no_key);
    assert_eq!(user.ask("DBSIZE"), "COUNT 2");
    assert_eq!(user.ask("MULTI"), "OK");
    assert_eq!(user.ask("SCAN 0"), "QUEUED");
    assert_eq!(user.ask("EXEC"), "ARRAY 1");
}

#[test]
fn a_restart_counts_the_databases_anew() {
    let server = Stopped::new(&["--databases", "200"]).restart();
    let mut client = in_database(&server, 199);
    assert_eq!(client.ask("MSET a 1 b 2"), "OK");
    assert_eq!(
        client.ask("SELECT 200"),
        "ERR ARGS DB index is out of range"
    );
    let server = server.kill().restart();
    let mut client = in_database(&server, 199);
    assert_eq!(client.ask("DEL a"), "COUNT 1");
    assert_eq!(client.ask("SAVE"), "OK");
    let server = server.kill().restart();
    assert_eq!(in_database(&server, 199).ask("DBSIZE"), "COUNT 1");
    let stored = std::fs::read_to_string(server.data().join("store.json")).expect("the pairs");
    assert!(stored.contains("\"db199:b\""), "{stored}");
}

/// Replies to KEYS twice, RANDOMKEY, SCAN and DBSIZE.
type Seen = (Vec<String>, Vec<String>, String, (u64, Vec<String>), u64);

#[test]
fn a_transaction_looks_at_all_keys_at_one_moment() {
    let server = TestServer::start();
    let mut client = in_database(&server, 1);
    assert_eq!(client.ask("MSET a 1 b 2"), "OK");
    assert_eq!(server.client().ask("PUT a 0"), "OK");
    let mut redis = redis::Client::open(format!("redis://{}/1", server.addr()))
        .and_then(|client| client.get_connection())
        .expect("it listens");
    let mut pipe = redis::pipe();
    let pipe = pipe
        .atomic()
        .cmd("KEYS")
        .arg("*")
        .set("c", 3)
        .ignore()
        .cmd("KEYS")
        .arg("c*")
        .cmd("RANDOMKEY")
        .cmd("SCAN")
        .arg(0)
        .cmd("DBSIZE");
    let (keys, narrowed, random, (cursor, page), count): Seen =
        pipe.query(&mut redis).expect("replies");
    assert_eq!(sorted(keys), ["a", "b"]);
    assert_eq!(narrowed, ["c"]);
    assert!(["a", "b", "c"].contains(&&*random));
    assert_eq!(
        (cursor, sorted(page), count),
        (0, vec!["a".into(), "b".into(), "c".into()], 3)
    );
    let script = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end return redis.call('DBSIZE')";
    let mut eval = redis::cmd("EVAL");
    let eval = eval.arg(script).arg(0).arg("[ab]");
    let left: u64 = eval.query(&mut redis).expect("a number");
    assert_eq!(left, 1);
    assert_eq!(server.client().ask("DBSIZE"), "COUNT 2");
}
