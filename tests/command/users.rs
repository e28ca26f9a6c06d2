//! Users: who may sign in, what each may do, and what stands in users.json.
//!
//! In: clients of one server, with different users. Out: nothing but the verdict.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use pykv::command::{ATTEMPTS_AT_ONCE_MAX, PASSWORD_BYTES_MAX, PASSWORDS_MAX};

use crate::support::server::{Stopped, TestClient, TestServer, wait_until};

/// A user who may read `shop:` and nothing else.
const SHOP: &str =
    "ACL SETUSER shop on >wool ~shop:* &shop:* +@read +@pubsub +@transaction +monitor +slowlog";

const NO_COMMAND: &str = "ERR DENIED this user has no permissions to run the ";
const NO_KEY: &str =
    "ERR DENIED this user has no permissions to access one of the keys used as arguments";
const NO_CHANNEL: &str =
    "ERR DENIED this user has no permissions to access one of the channels used as arguments";

fn shop() -> (TestServer, TestClient, TestClient) {
    let server = TestServer::start();
    let (mut admin, mut shop) = (server.client(), server.client());
    for line in [
        "PUT shop:1 a",
        "PUT shop:2 b",
        "PUT other:1 c",
        "PUT bank d",
    ] {
        assert_eq!(admin.ask(line), "OK");
    }
    assert_eq!(admin.ask(SHOP), "OK");
    assert_eq!(shop.ask("AUTH shop wool"), "OK");
    (server, admin, shop)
}

#[test]
fn a_user_does_what_it_may_and_nothing_else() {
    let (_server, mut admin, mut shop) = shop();
    assert_eq!(shop.ask("GET shop:1"), "VALUE \"a\"");
    assert_eq!(shop.ask("GET other:1"), NO_KEY);
    assert_eq!(
        shop.ask("PUT shop:1 x"),
        format!("{NO_COMMAND}'put' command")
    );
    assert_eq!(shop.ask("MGET shop:1 bank"), NO_KEY);
    assert_eq!(shop.ask("EXISTS bank"), NO_KEY);
    assert_eq!(shop.ask("CLEAR"), format!("{NO_COMMAND}'clear' command"));
    assert_eq!(
        shop.ask("CONFIG GET *"),
        format!("{NO_COMMAND}'config|get' command")
    );
    assert_eq!(shop.ask("STATS"), format!("{NO_COMMAND}'stats' command"));
    assert_eq!(shop.ask("SUBSCRIBE bank"), NO_CHANNEL);
    assert_eq!(shop.ask("PSUBSCRIBE *"), NO_CHANNEL);
    assert_eq!(shop.ask("PUBLISH bank x"), NO_CHANNEL);
    assert_eq!(shop.ask("PUBLISH shop:news x"), "COUNT 0");
    assert_eq!(admin.ask("GET shop:1"), "VALUE \"a\"");
}

#[test]
fn a_user_of_some_keys_lists_and_counts_these_only() {
    let (_server, mut admin, mut shop) = shop();
    assert_eq!(shop.ask("COUNT"), "COUNT 2");
    assert_eq!(shop.ask("DBSIZE"), "COUNT 2");
    assert_eq!(shop.ask("COUNT other:"), "COUNT 0");
    let mut rows = shop.ask_rows("ALL");
    rows.sort();
    assert_eq!(
        rows,
        ["END 2", "ITEM \"shop:1\" \"a\"", "ITEM \"shop:2\" \"b\""]
    );
    assert_eq!(shop.ask_rows("KEYS").len(), 3);
    assert_eq!(
        shop.ask_rows("NAMESPACES"),
        ["NAMESPACE \"shop:\" 2", "END 1"]
    );
    assert_eq!(shop.ask("SCAN 0 COUNT 100"), "ARRAY 2");
    assert_eq!(shop.reply(), "VALUE \"0\"");
    assert_eq!(shop.reply(), "ARRAY 2");
    for _ in 0..2 {
        assert!(shop.reply().starts_with("VALUE \"shop:"));
    }
    for _ in 0..20 {
        assert!(shop.ask("RANDOMKEY").starts_with("VALUE \"shop:"));
    }
    shop.send("PAGE 0 SEARCH bank");
    assert_eq!(shop.reply(), "ARRAY 3");
    assert_eq!(shop.reply(), "VALUE \"0\"");
    assert!(shop.reply().starts_with("COUNT "));
    assert_eq!(shop.reply(), "ARRAY 0");
    assert_eq!(admin.ask("COUNT"), "COUNT 4");
}

#[test]
fn a_prefix_is_deleted_by_those_who_may_write_all_of_it() {
    let (server, mut admin, _) = shop();
    let mut clerk = server.client();
    let made = admin.ask("ACL SETUSER clerk on >pen ~shop:* %R~bank +@all");
    assert_eq!(made, "OK");
    assert_eq!(clerk.ask("AUTH clerk pen"), "OK");
    assert_eq!(clerk.ask("DELPREFIX sho"), NO_KEY);
    assert_eq!(clerk.ask("DELPREFIX bank"), NO_KEY);
    assert_eq!(clerk.ask("CLEAR"), NO_KEY);
    assert_eq!(clerk.ask("GET bank"), "VALUE \"d\"");
    assert_eq!(clerk.ask("PUT bank x"), NO_KEY);
    assert_eq!(clerk.ask("RENAME bank shop:3"), NO_KEY);
    assert_eq!(clerk.ask("COPY bank shop:3"), "COUNT 1");
    assert_eq!(clerk.ask("DELPREFIX shop:"), "COUNT 3");
    assert_eq!(admin.ask("COUNT"), "COUNT 2");
}

#[test]
fn set_with_get_needs_permission_to_read() {
    let (server, mut admin, _) = shop();
    let made = admin.ask("ACL SETUSER drop on >box %W~box +set +get");
    assert_eq!(made, "OK");
    let mut drop = server.client();
    assert_eq!(drop.ask("AUTH drop box"), "OK");
    assert_eq!(drop.ask("SET box 1"), "OK");
    assert_eq!(drop.ask("SET box 2 GET"), NO_KEY);
    assert_eq!(drop.ask("GET box"), NO_KEY);
    assert_eq!(admin.ask("GET box"), "VALUE \"1\"");
}

#[test]
fn selectors_hold_apart() {
    let (server, mut admin, _) = shop();
    let made = admin.ask("ACL SETUSER two on >2 %R~a* +get ( ~b* +set +get )");
    assert_eq!(made, "OK");
    let mut two = server.client();
    assert_eq!(two.ask("AUTH two 2"), "OK");
    assert_eq!(two.ask("SET b 1"), "OK");
    assert_eq!(two.ask("GET b"), "VALUE \"1\"");
    assert_eq!(two.ask("SET a 1"), NO_KEY);
    assert_eq!(two.ask("GET a"), "NOT_FOUND");
    assert_eq!(
        admin.ask("ACL DRYRUN two SET a 1"),
        "VALUE \"This user has no permissions to access the 'a' key\""
    );
}

#[test]
fn a_transaction_with_a_forbidden_request_is_not_executed() {
    let (_server, mut admin, mut shop) = shop();
    assert_eq!(shop.ask("MULTI"), "OK");
    assert_eq!(shop.ask("GET shop:1"), "QUEUED");
    assert_eq!(shop.ask("GET bank"), NO_KEY);
    assert!(
        shop.ask("EXEC")
            .starts_with("ERR ARGS Transaction discarded")
    );
    // Permissions are those of the moment of EXEC.
    assert_eq!(shop.ask("MULTI"), "OK");
    assert_eq!(shop.ask("GET shop:1"), "QUEUED");
    assert_eq!(admin.ask("ACL SETUSER shop -get"), "OK");
    assert_eq!(shop.ask("EXEC"), "ARRAY 1");
    assert_eq!(shop.reply(), format!("{NO_COMMAND}'get' command"));
}

#[test]
fn changes_of_other_keys_are_not_followed() {
    let (_server, mut admin, mut shop) = shop();
    assert!(shop.ask("FOLLOW \"\"").starts_with("FOLLOWING \"\" "));
    assert_eq!(admin.ask("PUT bank secret"), "OK");
    assert_eq!(admin.ask("PUT shop:9 wool"), "OK");
    assert_eq!(admin.ask("DEL bank"), "COUNT 1");
    assert_eq!(admin.ask("DEL shop:9"), "COUNT 1");
    let first = shop.reply();
    assert!(first.ends_with("PUT \"shop:9\" \"wool\""), "{first}");
    let second = shop.reply();
    assert!(second.ends_with("DEL \"shop:9\""), "{second}");
}

#[test]
fn a_monitor_and_the_slow_log_show_requests_on_permitted_keys_only() {
    let (_server, mut admin, mut shop) = shop();
    assert_eq!(admin.ask("CONFIG SET slowlog-log-slower-than 0"), "OK");
    assert_eq!(shop.ask("MONITOR"), "OK");
    for line in [
        "GET bank",
        "MGET bank other:1",
        "KEYS",
        "MGET shop:1 shop:2",
    ] {
        admin.send(line);
    }
    let shown = shop.reply();
    assert!(
        shown.contains(r#"\"MGET\" \"shop:1\" \"shop:2\""#),
        "{shown}"
    );
    assert_eq!(shop.ask("RESET"), "VALUE \"RESET\"");
    assert_eq!(shop.ask("AUTH shop wool"), "OK");
    shop.send("SLOWLOG GET -1");
    shop.send("ECHO end");
    let mut rows = Vec::new();
    // It may not use ECHO.
    while rows
        .last()
        .is_none_or(|row: &String| !row.starts_with("ERR DENIED "))
    {
        rows.push(shop.reply());
    }
    let is_shown = |word: &str| rows.contains(&format!("VALUE \"{word}\""));
    assert!(
        is_shown("shop:1") && !is_shown("bank") && !is_shown("KEYS"),
        "{rows:?}"
    );
    // A password is nowhere.
    assert!(
        is_shown("AUTH") && is_shown("(redacted)") && !is_shown("wool"),
        "{rows:?}"
    );
}

#[test]
fn a_subscriber_that_may_no_longer_receive_is_disconnected() {
    let (_server, mut admin, mut shop) = shop();
    assert_eq!(
        shop.ask("SUBSCRIBE shop:news"),
        "SUBSCRIBED \"shop:news\" 1"
    );
    assert_eq!(admin.ask("ACL SETUSER shop &shop:*"), "OK");
    assert_eq!(admin.ask("PUBLISH shop:news still"), "COUNT 1");
    assert_eq!(shop.reply(), "MESSAGE \"shop:news\" \"still\"");
    assert_eq!(admin.ask("ACL SETUSER shop resetchannels"), "OK");
    assert_eq!(shop.reply_or_end(), "");
    admin.send("CLIENT LIST");
    let list = admin.reply();
    assert!(!list.contains("user=shop"), "{list}");
}

#[test]
fn rules_that_change_nothing_are_not_kept() {
    let (_server, mut admin, _) = shop();
    let mut commands_of = |rules: &str| {
        assert_eq!(admin.ask(&format!("ACL SETUSER r reset {rules}")), "OK");
        let lines = admin.ask_array("ACL LIST");
        let line = lines.into_iter().find(|line| line.contains("user r "));
        let line = line.expect("the user is there");
        let at = line.find("@all").expect("it begins with all or none");
        line[at - 1..].trim_end_matches('"').to_owned()
    };
    assert_eq!(commands_of("+get -get"), "-@all");
    assert_eq!(commands_of("+@all +client|id"), "+@all");
    assert_eq!(commands_of("+@all -client|id"), "+@all -client|id");
    assert_eq!(
        commands_of("+config|get -config|set +config"),
        "-@all +config"
    );
    assert_eq!(commands_of("+@read -get +get"), "-@all +@read");
    assert_eq!(commands_of("+select|0"), "-@all +select|0");
}

#[test]
fn the_clients_of_a_deleted_user_are_disconnected() {
    let (_server, mut admin, mut shop) = shop();
    assert_eq!(admin.ask("ACL DELUSER shop nobody"), "COUNT 1");
    assert_eq!(shop.reply_or_end(), "");
    assert_eq!(
        admin.ask("ACL DELUSER default"),
        "ERR ARGS The 'default' user cannot be removed"
    );
}

#[test]
fn with_a_password_every_client_signs_in_first() {
    let server = Stopped::new(&[])
        .with_env("PYKV_PASSWORD", "open sesame")
        .restart();
    let mut client = server.client();
    let required = "ERR NOAUTH Authentication required.";
    for line in [
        "GET a",
        "PING",
        "STATS",
        "ALL",
        "CLIENT LIST",
        "MULTI",
        "EXEC",
        "MONITOR",
    ] {
        assert_eq!(client.ask(line), required, "{line}");
    }
    assert!(client.ask_rows("HELP GET")[0].starts_with("HELP \"GET"));
    assert_eq!(
        client.ask("AUTH sesame"),
        "ERR NOAUTH invalid username-password pair or user is disabled."
    );
    assert_eq!(client.ask("GET a"), required);
    assert_eq!(client.ask("AUTH \"open sesame\""), "OK");
    assert_eq!(client.ask("PUT a 1"), "OK");
    assert_eq!(client.ask("RESET"), "VALUE \"RESET\"");
    assert_eq!(client.ask("GET a"), required);
    let mut redis = server.client();
    redis.send_bytes(b"*1\r\n$4\r\nPING\r\n*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$7\r\ndefault\r\n$3\r\nbad\r\n");
    assert_eq!(redis.reply(), "-NOAUTH Authentication required.\r");
    assert_eq!(
        redis.reply(),
        "-WRONGPASS invalid username-password pair or user is disabled.\r"
    );
    let (stopped, _) = server.signal("TERM");
    for word in ["sesame", "bad"] {
        assert!(!stopped.log().contains(word), "{}", stopped.log());
    }
}

#[test]
fn a_client_that_has_not_signed_in_cannot_make_the_server_hold_much() {
    let server = Stopped::new(&[])
        .with_env("PYKV_PASSWORD", "secret")
        .restart();
    let mut client = server.client();
    let most = pykv::server::UNAUTHENTICATED_BYTES_MAX;
    client.send_bytes(format!("GET {}", "x".repeat(most / 2)).as_bytes());
    client.send_bytes(b"\n");
    assert_eq!(client.reply(), "ERR NOAUTH Authentication required.");
    client.send_bytes(format!("GET {}", "x".repeat(most + 1)).as_bytes());
    assert!(
        client
            .reply()
            .starts_with("ERR NOAUTH a client that has not signed in may send"),
    );
    assert_eq!(client.reply_or_end(), "");
}

#[test]
fn the_file_is_for_its_owner_and_has_no_password() {
    let (server, _, _) = shop();
    let (stopped, _) = server.signal("TERM");
    let text = stopped.read("users.json");
    assert!(
        text.contains("\"rules\": \"on ~shop:* resetchannels &shop:* -@all +@read"),
        "{text}"
    );
    assert!(
        text.contains("$argon2id$v=19$") && !text.contains("wool"),
        "{text}"
    );
    let file = stopped.data().join("users.json");
    let mode = std::fs::metadata(file)
        .expect("the file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let server = stopped.restart();
    let mut shop = server.client();
    assert_eq!(shop.ask("AUTH shop wool"), "OK");
    assert_eq!(shop.ask("GET bank"), NO_KEY);
}

#[test]
fn the_password_of_the_settings_is_not_in_the_file_and_leaves_nothing_there() {
    let server = Stopped::new(&[])
        .with_env("PYKV_PASSWORD", "master")
        .restart();
    let mut admin = server.client();
    assert_eq!(admin.ask("AUTH master"), "OK");
    assert_eq!(admin.ask("ACL SETUSER shop on >wool ~shop:* +@read"), "OK");
    let (stopped, _) = server.signal("TERM");
    let text = stopped.read("users.json");
    assert!(
        !text.contains("default") && !text.contains("master"),
        "{text}"
    );
}

#[test]
fn an_edited_file_is_in_force_and_a_broken_one_changes_nothing() {
    let server = TestServer::start();
    let file = server.data().join("users.json");
    let mut admin = server.client();
    assert_eq!(admin.ask("ACL SETUSER ann on >pin ~* +@all"), "OK");
    let text = r#"{"users": {"ann": {"rules": "on >typed ~a* +get"}}}"#;
    std::fs::write(&file, text).expect("the file");
    let mut ann = server.client();
    wait_until("the file is in force", || ann.ask("AUTH ann typed") == "OK");
    assert_eq!(ann.ask("GET b"), NO_KEY);
    wait_until("the password is hashed", || {
        let text = std::fs::read_to_string(&file).expect("the file");
        text.contains("$argon2id$") && !text.contains("typed")
    });
    std::fs::write(&file, r#"{"users": {"ann": {"rules": "on +nonsense"}}}"#).expect("the file");
    wait_until("the file is refused", || {
        server
            .log()
            .contains("user ann, rule '+nonsense': Unknown command or category name in ACL")
    });
    assert_eq!(ann.ask("GET a"), "NOT_FOUND");
    // What somebody has typed is not overwritten.
    let refused = server.client().ask("ACL SETUSER bob on");
    assert!(refused.contains("user ann, rule '+nonsense'"), "{refused}");
    let (stopped, _) = server.signal("TERM");
    assert!(
        stopped
            .start_fails()
            .contains("users.json: user ann, rule '+nonsense'")
    );
}

#[test]
fn an_address_off_this_machine_needs_a_password_or_a_word() {
    let refused = Stopped::new(&[]).on(([0, 0, 0, 0], 0).into()).start_fails();
    for part in [
        "no user has a password",
        "--password-file",
        "PYKV_PASSWORD",
        "--allow-anonymous",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let http = Stopped::new(&[]).http_on(([0, 0, 0, 0], 0).into());
    assert!(http.start_fails().contains("no user has a password"));
    assert!(!http.data().exists(), "a refused start changes nothing");

    let open = Stopped::new(&["--allow-anonymous"])
        .on(([0, 0, 0, 0], 0).into())
        .restart();
    assert!(open.log().contains("anybody who reaches"), "{}", open.log());
    assert_eq!(open.client().ask("PUT a 1"), "OK");

    let locked = Stopped::new(&[])
        .on(([0, 0, 0, 0], 0).into())
        .with_env("PYKV_PASSWORD", "x");
    assert_eq!(
        locked.restart().client().ask("PUT a 1"),
        "ERR NOAUTH Authentication required."
    );
}

#[test]
fn where_others_have_passwords_only_this_machine_needs_none() {
    let users = r#"{"users": {"ann": {"rules": "on >pin ~* &* +@all"}}}"#;
    let here = Stopped::new(&[]);
    here.write("users.json", users);
    let here = here.restart();
    assert_eq!(here.client().ask("PUT a 1"), "OK");
    let (here, _) = here.signal("TERM");
    let there = here.on(([0, 0, 0, 0], 0).into()).restart();
    let mut client = there.client();
    assert_eq!(client.ask("PUT a 1"), "ERR NOAUTH Authentication required.");
    assert!(
        client
            .ask("AUTH default any")
            .starts_with("ERR NOAUTH invalid")
    );
    assert_eq!(client.ask("AUTH ann pin"), "OK");
    assert_eq!(client.ask("PUT a 1"), "OK");
}

#[test]
fn wrong_passwords_wait_and_others_do_not() {
    let (server, mut admin, mut shop) = shop();
    let mut guessers: Vec<TestClient> = (0..3 * ATTEMPTS_AT_ONCE_MAX)
        .map(|_| server.client())
        .collect();
    for guesser in &mut guessers {
        guesser.send("AUTH shop cotton");
    }
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(shop.ask("GET shop:1"), "VALUE \"a\"");
        assert_eq!(server.client().ask("AUTH shop wool"), "OK");
    }
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    // A guesser that goes away does not make room for the next.
    guessers.truncate(1);
    assert!(guessers[0].reply().starts_with("ERR NOAUTH"));
    admin.send("ACL LOG 1");
    assert_eq!(admin.reply(), "ARRAY 1");
}

#[test]
fn passwords_have_limits() {
    let server = TestServer::start();
    let mut admin = server.client();
    let longest = "x".repeat(PASSWORD_BYTES_MAX);
    assert_eq!(admin.ask(&format!("ACL SETUSER a on >{longest}")), "OK");
    assert_eq!(
        admin.ask(&format!("ACL SETUSER a >{longest}x")),
        format!(
            "ERR ARGS Error in ACL SETUSER modifier '>': a password may have {PASSWORD_BYTES_MAX} bytes"
        )
    );
    assert_eq!(admin.ask(&format!("AUTH a {longest}")), "OK");
    let mut admin = server.client();
    for number in 1..PASSWORDS_MAX {
        assert_eq!(admin.ask(&format!("ACL SETUSER a #{number:064x}")), "OK");
    }
    assert_eq!(
        admin.ask(&format!("ACL SETUSER a #{:064x}", 0)),
        format!(
            "ERR ARGS Error in ACL SETUSER modifier '#{:064x}': a user may have {PASSWORDS_MAX} passwords",
            0
        )
    );
}

#[test]
fn a_generated_password_is_given_by_its_digest() {
    let server = TestServer::start();
    let mut admin = server.client();
    // The SHA-256 digest of `abc` (FIPS 180-4, appendix).
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        admin.ask(&format!("ACL SETUSER a on #{digest} +@all ~*")),
        "OK"
    );
    assert_eq!(server.client().ask("AUTH a abc"), "OK");
    assert_eq!(admin.ask(&format!("ACL SETUSER a !{digest}")), "OK");
    assert!(server.client().ask("AUTH a abc").starts_with("ERR NOAUTH"));
}
