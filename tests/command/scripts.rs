//! Scripts: one step for everybody else, in a sandbox that they cannot leave, and no burden to others however long they take.
//!
//! In: scripts, right and wrong, beside other clients, and kills. Out: nothing but the verdict.

use std::time::{Duration, Instant};

use crate::support::server::{Stopped, TestClient, TestServer, wait_until};

fn eval(client: &mut TestClient, script: &str, rest: &str) -> String {
    let script = serde_json::to_string(script).expect("JSON");
    client.ask(&format!("EVAL {script} {rest}"))
}

#[test]
fn nobody_ever_sees_a_part_of_a_script() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("MSET a 0 b 0"), "OK");
    std::thread::scope(|scope| {
        let writers = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut client = server.client();
                for round in 0..300 {
                    // Half of them do not declare the second key.
                    let keys = if round % 2 == 0 { "2 a b" } else { "1 a" };
                    let script =
                        "local a = redis.call('INCR', 'a') return {a, redis.call('INCR', 'b')}";
                    assert_eq!(eval(&mut client, script, keys), "ARRAY 2");
                    assert_eq!(client.reply(), client.reply(), "another came in between");
                }
            })
        });
        let mut client = server.client();
        while !writers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            let seen = client.ask_array("MGET a b");
            assert_eq!(seen[0], seen[1]);
        }
    });
    assert_eq!(server.client().ask("GET a"), "VALUE \"600\"");
    let stopped = server.kill();
    let back = stopped.restart();
    let seen = back.client().ask_array("MGET a b");
    assert_eq!(seen[0], seen[1], "a crash leaves all of a script or none");
}

#[test]
fn a_script_stays_in_its_sandbox() {
    let server = TestServer::start();
    let mut client = server.client();
    for (script, expected) in [
        ("return foo", "nonexistent global variable 'foo'"),
        ("foo = 1", "Attempt to modify a readonly table"),
        ("string.rep = 1", "Attempt to modify a readonly table"),
        (
            "rawset(redis, 'call', 1)",
            "Attempt to modify a readonly table",
        ),
        ("return os.time()", "nonexistent global variable 'os'"),
        ("return io", "nonexistent global variable 'io'"),
        (
            "return require('os')",
            "nonexistent global variable 'require'",
        ),
        ("return debug", "nonexistent global variable 'debug'"),
        (
            "return getmetatable('').__index",
            "attempt to index a boolean value",
        ),
        (
            "local t = {} while true do t[#t + 1] = #t .. ('x'):rep(100000) end",
            "not enough memory",
        ),
        ("return ('x'):rep(1e9)", "not enough memory"),
        ("return redis.call('MULTI')", "not allowed from script"),
        ("return redis.call('SHUTDOWN')", "not allowed from script"),
        (
            "return redis.call('EVAL', 'return 1', 0)",
            "not allowed from script",
        ),
        (
            "return redis.call('SUBSCRIBE', 'a')",
            "not allowed from script",
        ),
        (
            "return redis.call('NOSUCH')",
            "Unknown Redis command called from script",
        ),
        ("return redis.call('GET')", "Wrong number of args"),
    ] {
        let reply = eval(&mut client, script, "0");
        assert!(
            reply.starts_with("ERR SCRIPT ERR ") && reply.contains(expected),
            "{script}: {reply}"
        );
    }
    let compiled = eval(
        &mut client,
        "return loadstring(string.char(27) .. 'Lua')",
        "0",
    );
    assert_eq!(compiled, "NOT_FOUND");
    let left = eval(&mut client, "return {tostring(KEYS[1]), #ARGV}", "0");
    assert_eq!(left, "ARRAY 2");
    assert_eq!(
        (client.reply(), client.reply()),
        ("VALUE \"nil\"".to_owned(), "COUNT 0".to_owned())
    );
}

#[test]
fn values_are_converted_as_in_redis() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("PUT a 5"), "OK");
    for (script, expected) in [
        ("return 3.99", "COUNT 3"),
        ("return true", "COUNT 1"),
        ("return false", "NOT_FOUND"),
        ("return redis.call('GET', 'nobody')", "NOT_FOUND"),
        (
            "return type(redis.call('GET', 'nobody'))",
            "VALUE \"boolean\"",
        ),
        ("return redis.call('SET', 'a', '6')", "VALUE \"OK\""),
        ("return redis.call('SET', 'a', '7').ok", "VALUE \"OK\""),
        (
            "return redis.call('INCRBY', 'a', 10000000000) + 0",
            "COUNT 10000000007",
        ),
        (
            "redis.call('SET', 'f', 0.1) return redis.call('GET', 'f')",
            "VALUE \"0.10000000000000001\"",
        ),
        ("return redis.status_reply('FINE')", "VALUE \"FINE\""),
        (
            "return redis.error_reply('MINE not so')",
            "ERR SCRIPT MINE not so",
        ),
        ("return {err='OWN one'}", "ERR SCRIPT OWN one"),
        (
            "return redis.sha1hex('')",
            "VALUE \"da39a3ee5e6b4b0d3255bfef95601890afd80709\"",
        ),
        (
            "return cjson.encode({1, 'a/b', {x = cjson.null}})",
            "VALUE \"[1,\\\"a\\\\/b\\\",{\\\"x\\\":null}]\"",
        ),
        (
            "return cjson.decode('[1,[2.5,\"x\"]]')[2][2]",
            "VALUE \"x\"",
        ),
        (
            "return cmsgpack.unpack(cmsgpack.pack({1, -70000, 'x'}))[2]",
            "COUNT -70000",
        ),
        (
            "return bit.tohex(bit.bxor(0xff, 0x0f))",
            "VALUE \"000000f0\"",
        ),
        (
            "return select(2, struct.unpack('>hI4', struct.pack('>hI4', -2, 77)))",
            "COUNT 77",
        ),
        (
            "local ok, e = pcall(redis.call, 'INCR', 'f') return e.err",
            "VALUE \"ERR value is not an integer or out of range\"",
        ),
        (
            "return redis.pcall('INCR', 'f').err",
            "VALUE \"ERR value is not an integer or out of range\"",
        ),
    ] {
        assert_eq!(eval(&mut client, script, "0"), expected, "{script}");
    }
}

#[test]
fn an_error_names_its_script_and_line_and_leaves_what_was_done_before() {
    let server = TestServer::start();
    let mut client = server.client();
    let reply = eval(
        &mut client,
        "redis.call('SET', 'a', '1')\nerror('boom')",
        "1 a",
    );
    assert!(
        reply.starts_with("ERR SCRIPT ERR user_script:2: boom script: "),
        "{reply}"
    );
    assert!(reply.ends_with(", on @user_script:2."), "{reply}");
    assert_eq!(client.ask("GET a"), "VALUE \"1\"");
    let wrong = eval(&mut client, "return (", "0");
    assert!(
        wrong.starts_with("ERR ARGS Error compiling script (new function): user_script:1:"),
        "{wrong}"
    );
    let refused = client.ask("EVAL_RO \"return redis.call('DEL', KEYS[1])\" 1 a");
    assert!(
        refused.contains("Write commands are not allowed from read-only scripts."),
        "{refused}"
    );
    assert_eq!(client.ask("EXISTS a"), "COUNT 1");
    assert_eq!(
        eval(&mut client, "return 1", "2 a"),
        "ERR ARGS Number of keys can't be greater than number of args"
    );
    assert_eq!(
        eval(&mut client, "return 1", "-1"),
        "ERR ARGS Number of keys can't be negative"
    );
}

#[test]
fn a_script_in_a_transaction_is_a_part_of_it() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MULTI"), "OK");
    assert_eq!(
        eval(
            &mut client,
            "redis.call('SET', KEYS[1], 1) return redis.call('INCR', 'other')",
            "1 a"
        ),
        "QUEUED"
    );
    assert_eq!(client.ask("GET a"), "QUEUED");
    assert_eq!(client.ask_array("EXEC"), ["COUNT 1", "VALUE \"1\""]);
    assert_eq!(client.ask("GET other"), "VALUE \"1\"");
}

#[test]
fn a_message_of_a_script_is_sent_once_at_its_end() {
    let server = TestServer::start();
    let mut receiver = server.client();
    receiver.send("SUBSCRIBE news");
    receiver.reply();
    let mut client = server.client();
    // Its second key makes it begin again where its lock is held, and the time without locks does.
    let script = "redis.call('PUBLISH', 'news', 'hi') redis.call('SET', 'b', 1) local n = 0 for i = 1, 3e6 do n = n + i end return redis.call('PUBLISH', 'news', 'end')";
    assert_eq!(eval(&mut client, script, "1 a"), "COUNT 1");
    assert_eq!(receiver.reply(), "MESSAGE \"news\" \"hi\"");
    assert_eq!(receiver.reply(), "MESSAGE \"news\" \"end\"");
    receiver.expect_nothing_more();
}

#[test]
fn a_long_script_hinders_nobody_and_can_be_ended() {
    let server = Stopped::new(&["--script-time", "1"]).restart();
    let mut client = server.client();
    assert_eq!(client.ask("PUT kept old"), "OK");
    let mut caller = server.client();
    let script = "redis.call('SET', KEYS[1], 'new') while true do pcall(function() while true do end end) end";
    caller.send(&format!("EVAL \"{script}\" 1 kept"));
    let began = Instant::now();
    wait_until("its key is kept for it", || {
        assert_eq!(client.ask("GET other"), "NOT_FOUND");
        let reply = client.ask("GET kept");
        if reply == "VALUE \"old\"" {
            return false;
        }
        assert!(reply.starts_with("ERR BUSY "), "{reply}");
        true
    });
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "before that, others go on"
    );
    assert!(client.ask("PUT kept other").starts_with("ERR BUSY "));
    assert_eq!(client.ask("PUT other 1"), "OK");
    assert_eq!(client.ask("SCRIPT KILL"), "OK");
    let killed = caller.reply();
    assert!(
        killed.contains("Script killed by user with SCRIPT KILL."),
        "{killed}"
    );
    wait_until("nobody needs its key", || {
        client.ask("GET kept") == "VALUE \"old\""
    });
    assert!(
        client
            .ask("SCRIPT KILL")
            .starts_with("ERR ARGS No scripts in execution")
    );
}

#[test]
fn what_uses_all_keys_works_for_half_a_second() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MSET a 1 b 2"), "OK");
    let counted = "redis.call('SET', 'c', 3) return redis.call('DBSIZE')";
    assert_eq!(eval(&mut client, counted, "0"), "COUNT 3");
    let late = "while true do redis.call('DBSIZE') end";
    assert_eq!(
        eval(&mut client, late, "0"),
        "ERR ARGS a script that uses all keys may take 500 ms"
    );
    let long = "local n = 0 for i = 1, 3e6 do n = n + i end return redis.call('DBSIZE')";
    let reply = eval(&mut client, long, "0");
    assert!(
        [
            "COUNT 3",
            "ERR ARGS a script that uses all keys may take 500 ms"
        ]
        .contains(&&*reply),
        "{reply}"
    );
    assert_eq!(
        eval(&mut client, "return redis.call('FLUSHALL')", "0"),
        "VALUE \"OK\""
    );
    assert_eq!(client.ask("COUNT"), "COUNT 0");
    let in_transaction = "while true do end";
    assert_eq!(client.ask("MULTI"), "OK");
    assert_eq!(client.ask("PUT kept 1"), "QUEUED");
    assert_eq!(eval(&mut client, in_transaction, "0"), "QUEUED");
    assert_eq!(
        client.ask_array("EXEC"),
        ["OK", "ERR ARGS a script in a transaction may take 500 ms"]
    );
    assert_eq!(client.ask("GET kept"), "VALUE \"1\"");
}

#[test]
fn no_key_expires_while_a_script_or_a_transaction_is_executed() {
    let server = TestServer::start();
    let mut client = server.client();
    let wait = "local function now() local time = redis.call('TIME') return time[1] * 1000000 + time[2] end \
                local start = now() while now() < start + 20000 do end ";
    // Longer than the key lives; one runs under its locks, the other without them.
    for pause in [wait, "local n = 0 for i = 1, 2e6 do n = n + 1 end"] {
        let script = format!(
            "redis.call('SET', KEYS[1], 'v', 'PX', 3) {pause} return {{redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}}"
        );
        let script = serde_json::to_string(&script).expect("JSON");
        let request = format!("EVAL {script} 1 brief");
        assert_eq!(client.ask_array(&request), ["VALUE \"v\"", "COUNT 3"]);
    }
    assert_eq!(client.ask("MULTI"), "OK");
    assert_eq!(client.ask("SET brief v PX 3"), "QUEUED");
    assert_eq!(eval(&mut client, wait, "0"), "QUEUED");
    assert_eq!(client.ask("GET brief"), "QUEUED");
    assert_eq!(client.ask_array("EXEC"), ["OK", "NOT_FOUND", "VALUE \"v\""]);
    wait_until("the key has expired", || {
        client.ask("GET brief") == "NOT_FOUND"
    });
}

#[test]
fn a_long_script_sees_one_state_of_its_keys() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("MSET a 0 b 0"), "OK");
    std::thread::scope(|scope| {
        let long = scope.spawn(|| {
            let mut client = server.client();
            for _ in 0..5 {
                let script = "local a = redis.call('GET', 'a') local n = 0 for i = 1, 2e6 do n = n + 1 end redis.call('SET', 'b', a) return redis.call('INCR', 'a')";
                let reply = eval(&mut client, script, "2 a b");
                assert!(reply.starts_with("COUNT "), "{reply}");
            }
        });
        while !long.is_finished() {
            assert_eq!(client.ask("MULTI"), "OK");
            assert_eq!(client.ask("GET a"), "QUEUED");
            assert_eq!(client.ask("GET b"), "QUEUED");
            let seen = client.ask_array("EXEC");
            let number = |reply: &str| -> i64 {
                reply
                    .trim_start_matches("VALUE \"")
                    .trim_end_matches('"')
                    .parse()
                    .expect("a number")
            };
            let (a, b) = (number(&seen[0]), number(&seen[1]));
            assert!(a == b || a == b + 1, "{a} {b}");
        }
    });
    assert_eq!(client.ask("GET a"), "VALUE \"5\"");
}

#[test]
fn the_commands_of_a_script_need_the_permissions_of_its_user() {
    let stopped = Stopped::new(&[]);
    stopped.write(
        "users.json",
        r#"{"users": {"shop": {"rules": "on >secret ~shop:* +eval +get +auth"}, "default": {"rules": "on nopass ~* &* +@all"}}}"#,
    );
    let server = stopped.restart();
    let mut client = server.client();
    assert_eq!(client.ask("PUT other 1"), "OK");
    assert_eq!(client.ask("AUTH shop secret"), "OK");
    assert_eq!(
        eval(&mut client, "return redis.call('GET', KEYS[1])", "1 shop:a"),
        "NOT_FOUND"
    );
    for (script, keys) in [
        ("return redis.call('GET', 'other')", "0"),
        ("return redis.call('SET', KEYS[1], 1)", "1 shop:a"),
    ] {
        let reply = eval(&mut client, script, keys);
        assert!(reply.contains("NOPERM"), "{reply}");
    }
    assert!(eval(&mut client, "return 1", "1 other").starts_with("ERR DENIED "));
    let said = eval(
        &mut client,
        "return {redis.acl_check_cmd('GET', 'shop:a'), redis.acl_check_cmd('GET', 'b') == false}",
        "0",
    );
    assert_eq!(said, "ARRAY 2");
}

#[test]
fn json_is_encoded_as_a_script_has_set_and_as_ever_in_the_next_one() {
    let server = TestServer::start();
    let mut client = server.client();
    let sparse = "{[1] = 1, [100] = 2}";
    for (script, reply) in [
        (
            "return cjson.encode(12345678901234567)",
            "VALUE \"1.2345678901235e+16\"",
        ),
        (
            "cjson.encode_number_precision(3) return cjson.encode(3.14159)",
            "VALUE \"3.14\"",
        ),
        ("return cjson.encode(3.14159)", "VALUE \"3.14159\""),
        (
            &format!("cjson.encode_sparse_array(true) return #cjson.encode({sparse})"),
            "COUNT 15",
        ),
        ("return {cjson.encode_sparse_array()}", "ARRAY 3"),
        (
            "cjson.encode_invalid_numbers('null') return cjson.encode(0/0)",
            "VALUE \"null\"",
        ),
        (
            "cjson.decode_max_depth(1) return type(cjson.decode('[1]'))",
            "VALUE \"table\"",
        ),
        ("return cjson.encode_max_depth()", "COUNT 1000"),
    ] {
        assert_eq!(eval(&mut client, script, "0"), reply, "{script}");
        if reply == "ARRAY 3" {
            // Nothing of the script before has been kept: false is nil.
            assert_eq!(client.reply(), "NOT_FOUND");
            assert_eq!([client.reply(), client.reply()], ["COUNT 2", "COUNT 10"]);
        }
    }
    for (script, part) in [
        (
            &*format!("return cjson.encode({sparse})"),
            "excessively sparse array",
        ),
        (
            "cjson.encode_max_depth(1) return cjson.encode({{}})",
            "excessive depth (2)",
        ),
        (
            "cjson.decode_max_depth(1) return cjson.decode('[[1]]')",
            "too many nested data structures (2)",
        ),
        (
            "return cjson.encode_number_precision(15)",
            "expected integer between 1 and 14",
        ),
        ("return cjson.encode(0/0)", "must not be NaN or Inf"),
    ] {
        let reply = eval(&mut client, script, "0");
        assert!(reply.contains(part), "{script}: {reply}");
    }
    let seeded = "math.randomseed(ARGV[1]) return {math.random(1000000), math.random(1000000)}";
    let mut numbers = |seed: &str| {
        let head = eval(&mut client, seeded, &format!("0 {seed}"));
        (head, client.reply(), client.reply())
    };
    assert_eq!(numbers("7"), numbers("7"));
    assert_ne!(numbers("7"), numbers("8"));
}

#[test]
fn a_monitor_sees_a_script_and_then_its_commands() {
    let server = TestServer::start();
    let (mut monitor, mut client) = (server.client(), server.client());
    assert_eq!(monitor.ask("MONITOR"), "OK");
    let script = "redis.call('set', 'foo', 'bar') return 1";
    assert_eq!(eval(&mut client, script, "0"), "COUNT 1");
    let (first, second) = (monitor.reply(), monitor.reply());
    assert!(first.contains("[0 127.0.0.1:"), "{first}");
    assert!(first.contains("\\\"EVAL\\\""), "{first}");
    assert!(
        second.contains("[0 lua] \\\"set\\\" \\\"foo\\\" \\\"bar\\\""),
        "{second}"
    );
    assert_eq!(
        eval(&mut client, "return {big_number = '123'}", "0"),
        "VALUE \"123\""
    );
}
