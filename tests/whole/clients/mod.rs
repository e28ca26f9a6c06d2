//! Real Redis clients, unchanged: what they are used for works on this port.
//!
//! In: redis-py, ioredis and node-redis (the scripts beside this file, installed by `tests/run`), redis-rs, redis-cli and
//! redis-benchmark. Out: nothing but the verdict. What the scripts expect is what Redis does: they hold against it, too.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use futures_util::StreamExt as _;
use redis::{
    AsyncTypedCommands as _, Connection, ErrorKind, ExistenceCheck, InfoDict, IntegerReplyOrNoOp,
    RedisError, RedisResult, ServerErrorKind, SetExpiry, SetOptions, TlsCertificates,
    TypedCommands as _,
};

use crate::support::server::{Stopped, TestServer, is_skipped, wait_until};
use crate::support::tls::Authority;

/// Where `tests/run` installs clients.
fn installed() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/whole/clients")
        .join(name)
}

/// Runs a client; whenever it says `restart`, the server is killed, and started again on the same port.
fn run(mut command: Command) {
    let server = TestServer::start();
    let addr = server.addr();
    let mut server = Some(server);
    let command = command.arg(addr.port().to_string());
    run_on(command, || {
        let stopped = server.take().map(TestServer::kill);
        server = stopped.map(|stopped| stopped.on(addr).restart());
    });
}

fn run_on(command: &mut Command, mut restart: impl FnMut()) {
    let mut client = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    let mut input = client.stdin.take().expect("a pipe");
    let mut said = Vec::new();
    for line in BufReader::new(client.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        if line == "restart" {
            restart();
            writeln!(input, "go on").expect("it waits");
        }
        said.push(line);
    }
    let status = client.wait().expect("it has ended");
    let mut errors = String::new();
    let mut stderr = client.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut errors).expect("text");
    assert!(status.success(), "{command:?}: {said:?}\n{errors}");
    assert!(
        said.iter().any(|line| line == "restart"),
        "{command:?} has not come to the restart: {said:?}"
    );
}

fn redis_py(protocol: &str) {
    if is_skipped("clients") {
        return;
    }
    let mut python = Command::new(installed().join("python/bin/python"));
    python.arg(script("redis_py.py")).arg(protocol);
    run(python);
}

#[test]
fn redis_py_works_in_resp2_with_and_without_asyncio() {
    redis_py("2");
}

#[test]
fn redis_py_works_in_resp3_with_and_without_asyncio() {
    redis_py("3");
}

fn node(client: &str, protocol: &str) {
    if is_skipped("clients") {
        return;
    }
    let mut node = Command::new(installed().join("python/bin/node"));
    node.arg(script("clients.mjs")).arg(installed());
    node.args([client, protocol]);
    run(node);
}

#[test]
fn ioredis_works_in_resp2() {
    node("ioredis", "2");
}

#[test]
fn ioredis_works_in_resp3() {
    node("ioredis", "3");
}

#[test]
fn node_redis_works_in_resp2() {
    node("node-redis", "2");
}

#[test]
fn node_redis_works_in_resp3() {
    node("node-redis", "3");
}

fn url(addr: SocketAddr, protocol: &str) -> String {
    format!("redis://{addr}/?protocol={protocol}")
}

#[test]
fn redis_rs_works_in_both_protocols() -> RedisResult<()> {
    for protocol in ["resp2", "resp3"] {
        let server = TestServer::start();
        let client = redis::Client::open(url(server.addr(), protocol))?;
        let mut db = client.get_connection()?;
        redis_rs_keeps_values(&mut db)?;
        redis_rs_sends_many(&mut db, &mut client.get_connection()?)?;
        redis_rs_hears_messages(&mut db, &mut client.get_connection()?)?;
        redis_rs_tells_errors_and_the_server(&mut db)?;
    }
    Ok(())
}

fn redis_rs_keeps_values(db: &mut Connection) -> RedisResult<()> {
    db.set("name", "Ada")?;
    assert_eq!(db.get("name")?.as_deref(), Some("Ada"));
    let only_new = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .with_expiration(SetExpiry::EX(100));
    assert_eq!(db.set_options("name", "Bob", only_new)?, None);
    let bytes: Vec<u8> = (0..=255).collect();
    db.set("bytes", &bytes[..])?;
    assert_eq!(redis::Commands::get::<_, Vec<u8>>(db, "bytes")?, bytes);
    assert_eq!(db.incr("count", 41)?, 41);
    assert!(db.expire("name", 100)?);
    assert!(matches!(
        db.ttl("name")?,
        IntegerReplyOrNoOp::IntegerReply(99..=100)
    ));
    assert!(db.persist("name")?);
    assert_eq!(db.ttl("name")?, IntegerReplyOrNoOp::ExistsButNotRelevant);
    assert!(db.pexpire("name", 20)?);
    wait_until("it has expired", || {
        db.get("name").is_ok_and(|it| it.is_none())
    });
    Ok(())
}

fn redis_rs_sends_many(db: &mut Connection, other: &mut Connection) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    for n in 0..3000 {
        pipe.set(format!("n:{n}"), n).ignore();
    }
    pipe.query::<()>(db)?;
    let found: RedisResult<HashSet<String>> = db.scan_match("n:*")?.collect();
    assert_eq!(found?.len(), 3000);
    let both: (i64, String) = redis::pipe()
        .atomic()
        .incr("count", 1)
        .get("count")
        .query(db)?;
    assert_eq!(both, (42, "42".to_owned()));
    redis::cmd("WATCH").arg("count").exec(other)?;
    db.set("count", 1)?;
    let conflict: Option<(i64,)> = redis::pipe().atomic().incr("count", 1).query(other)?;
    assert_eq!(conflict, None);
    Ok(())
}

fn redis_rs_hears_messages(db: &mut Connection, other: &mut Connection) -> RedisResult<()> {
    let mut listener = other.as_pubsub();
    listener.subscribe("news")?;
    listener.psubscribe("w*")?;
    for (channel, pattern) in [("news", None), ("weather", Some("w*"))] {
        assert_eq!(db.publish(channel, "hello")?, 1);
        let message = listener.get_message()?;
        assert_eq!(message.get_channel_name(), channel);
        assert_eq!(message.get_pattern::<Option<String>>()?.as_deref(), pattern);
        assert_eq!(message.get_payload::<String>()?, "hello");
    }
    listener.unsubscribe("news")?;
    assert_eq!(db.publish("news", "nobody hears it")?, 0);
    Ok(())
}

fn redis_rs_tells_errors_and_the_server(db: &mut Connection) -> RedisResult<()> {
    let said = |refused: RedisResult<()>| {
        let error: RedisError = refused.expect_err("it is refused");
        let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
        assert_eq!(error.kind(), kind, "{error}");
        error.detail().unwrap_or_default().to_owned()
    };
    db.set("word", "x")?;
    assert_eq!(
        said(db.incr("word", 1).map(|_| ())),
        "value is not an integer or out of range"
    );
    assert_eq!(
        said(redis::cmd("GET").exec(db)),
        "wrong number of arguments for 'get' command"
    );
    assert!(said(redis::cmd("NOSUCH").exec(db)).starts_with("unknown command 'NOSUCH'"));
    let info: InfoDict = redis::cmd("INFO").query(db)?;
    assert_eq!(info.get::<String>("role").as_deref(), Some("master"));
    db.client_setname("tester")?;
    assert_eq!(db.client_getname()?.as_deref(), Some("tester"));
    let clients: String = redis::cmd("CLIENT").arg("LIST").query(db)?;
    assert!(clients.contains(" name=tester "), "{clients}");
    Ok(())
}

#[test]
fn redis_rs_works_over_tls_with_a_user_and_a_password() -> RedisResult<()> {
    let authority = Authority::new();
    let identity = authority.issue("server").flags();
    let mut flags = vec!["--listen", "rediss://127.0.0.1:0"];
    flags.extend(identity.iter().map(String::as_str));
    let stopped = Stopped::new(&flags);
    stopped.write(
        "users.json",
        r#"{"users": {"shop": {"rules": "on >secret allkeys allchannels allcommands"}}}"#,
    );
    let server = stopped.restart();
    let port = server.addr_of("rediss://").port();
    let connect = |password: &str| {
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: std::fs::read(authority.file()).ok(),
        };
        let url = format!("rediss://shop:{password}@localhost:{port}/?protocol=resp3");
        redis::Client::build_with_tls(url, certificates)?.get_connection()
    };
    let mut db = connect("secret")?;
    let user: String = redis::cmd("ACL").arg("WHOAMI").query(&mut db)?;
    assert_eq!(user, "shop");
    redis_rs_keeps_values(&mut db)?;
    redis_rs_sends_many(&mut db, &mut connect("secret")?)?;
    redis_rs_hears_messages(&mut db, &mut connect("secret")?)?;
    let refused = connect("wrong").err().map(|error| error.to_string());
    assert!(
        refused
            .as_ref()
            .is_some_and(|error| error.contains("WRONGPASS")),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn redis_rs_works_with_tokio_and_after_a_restart() -> RedisResult<()> {
    let server = TestServer::start();
    let addr = server.addr();
    let client = redis::Client::open(url(addr, "resp3"))?;
    let mut db = client.get_multiplexed_async_connection().await?;
    db.set("kept", "for ever").await?;
    let mut both = redis::pipe();
    both.atomic().incr("count", 1).get("kept");
    let replies: (i64, String) = both.query_async(&mut db).await?;
    assert_eq!(replies, (1, "for ever".to_owned()));
    let mut listener = client.get_async_pubsub().await?;
    listener.psubscribe("n*").await?;
    assert_eq!(db.publish("news", "hello").await?, 1);
    let heard = listener.on_message().next().await.expect("a message");
    assert_eq!(heard.get_payload::<String>()?, "hello");
    let server = server.kill().on(addr).restart();
    let mut db = client.get_multiplexed_async_connection().await?;
    assert_eq!(db.get("kept").await?.as_deref(), Some("for ever"));
    drop(server);
    Ok(())
}

/// A redis-cli with these words. It says each line at once, and is ended if it is much too slow.
fn start_redis_cli(server: &TestServer, words: &[&str]) -> Child {
    let port = server.addr().port().to_string();
    Command::new("timeout")
        .args(["60", "stdbuf", "-oL", "redis-cli", "-p", &port])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/run installs it")
}

/// What redis-cli says, given these words and this input.
fn redis_cli(server: &TestServer, words: &[&str], input: &[u8]) -> String {
    let mut cli = start_redis_cli(server, words);
    // It may have ended before it has read all.
    let _ = cli.stdin.take().expect("a pipe").write_all(input);
    let output = cli.wait_with_output().expect("it has ended");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A redis-cli that goes on until it is told to end.
struct EndlessCli {
    cli: Child,
    said: BufReader<ChildStdout>,
}

impl EndlessCli {
    fn start(server: &TestServer, words: &[&str]) -> Self {
        let mut cli = start_redis_cli(server, words);
        let said = BufReader::new(cli.stdout.take().expect("a pipe"));
        Self { cli, said }
    }

    /// The next lines that it says.
    fn lines(&mut self, count: usize) -> Vec<String> {
        let lines = self.said.by_ref().lines().take(count);
        let lines: Vec<String> = lines.map(|line| line.expect("text")).collect();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }
}

impl Drop for EndlessCli {
    fn drop(&mut self) {
        // Not SIGKILL: what runs it passes this one on.
        let kill = format!("kill {}", self.cli.id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
        let _ = self.cli.wait();
    }
}

#[test]
fn redis_cli_works_with_single_commands_and_sessions() {
    if is_skipped("redis-cli") {
        return;
    }
    let server = TestServer::start();
    assert_eq!(redis_cli(&server, &["SET", "name", "Ada"], b""), "OK\n");
    assert_eq!(redis_cli(&server, &["-3", "GET", "name"], b""), "Ada\n");
    assert_eq!(
        redis_cli(
            &server,
            &["-3", "--json", "CONFIG", "GET", "maxmemory"],
            b""
        ),
        "{\"maxmemory\":\"0\"}\n"
    );
    assert_eq!(
        redis_cli(&server, &["-x", "SET", "bytes"], b"\0\xff"),
        "OK\n"
    );
    assert_eq!(
        redis_cli(&server, &["--no-raw", "GET", "bytes"], b""),
        "\"\\x00\\xff\"\n"
    );
    assert_eq!(
        redis_cli(&server, &["-r", "3", "INCR", "times"], b""),
        "1\n2\n3\n"
    );
    assert_eq!(
        redis_cli(
            &server,
            &[],
            b"MULTI\nSET a 1\nINCR a\nEXEC\nGET a\nGET\nINCR name\nNOSUCH l 1\n"
        ),
        "OK\nQUEUED\nQUEUED\nOK\n2\n2\n\
         ERR wrong number of arguments for 'get' command\n\n\
         ERR value is not an integer or out of range\n\n\
         ERR unknown command 'NOSUCH', with args beginning with: 'l' '1' \n\n"
    );
}

#[test]
fn redis_cli_works_as_a_tool_for_many_keys() {
    if is_skipped("redis-cli") {
        return;
    }
    let server = TestServer::start();
    let mut many = Vec::new();
    for n in 0..1000 {
        let key = format!("key:{n:04}");
        many.extend(format!("*3\r\n$3\r\nSET\r\n$8\r\n{key}\r\n$4\r\nsome\r\n").bytes());
    }
    let piped = redis_cli(&server, &["--pipe"], &many);
    assert!(piped.contains("errors: 0, replies: 1000"), "{piped}");
    redis_cli(&server, &["SET", "longest", "longer than others"], b"");
    let scanned = redis_cli(&server, &["--scan", "--pattern", "key:*"], b"");
    let scanned: HashSet<&str> = scanned.lines().collect();
    assert_eq!(scanned.len(), 1000);
    let biggest = redis_cli(&server, &["--bigkeys"], b"");
    assert!(biggest.contains("Sampled 1001 keys"), "{biggest}");
    let longest = "Biggest string found '\"longest\"' has 18 bytes";
    assert!(biggest.contains(longest), "{biggest}");
    let memory = redis_cli(&server, &["--memkeys"], b"");
    assert!(memory.contains("Sampled 1001 keys"), "{memory}");
    let latency = redis_cli(&server, &["--raw", "--latency", "-i", "1"], b"");
    let latency: Vec<f64> = latency.split_whitespace().flat_map(str::parse).collect();
    let [min, max, mean, samples] = latency[..] else {
        panic!("not four numbers: {latency:?}");
    };
    assert!(min <= mean && mean <= max && samples > 1.0, "{latency:?}");

    let mut figures = EndlessCli::start(&server, &["--stat", "-i", "0.01"]);
    let [_, titles, first, second] = &figures.lines(4)[..] else {
        unreachable!("four were asked for");
    };
    assert!(titles.starts_with("keys "), "{titles}");
    assert!(first.starts_with("1001 "), "{first}");
    assert!(second.contains(" (+1) "), "{second}");
}

/// Goal: the help of redis-cli, which it makes of COMMAND DOCS, knows every command in its group.
#[test]
fn redis_cli_explains_commands_by_group_and_by_name() {
    if is_skipped("redis-cli") {
        return;
    }
    let server = TestServer::start();
    for (group, names) in [
        (
            "@string",
            &[
                "SET key value [NX|XX|IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]",
                "DELIFEQ key value",
            ][..],
        ),
        (
            "@generic",
            &["DEL key [key ...]", "SCAN cursor [MATCH pattern]"],
        ),
        (
            "@server",
            &[
                "CONFIG GET pattern [pattern ...]",
                "LATENCY HISTOGRAM [command [command ...]]",
            ],
        ),
        (
            "@connection",
            &[
                "CLIENT LIST [TYPE type|ID id [id ...]]",
                "CLIENT NO-EVICT ON|OFF",
            ],
        ),
        (
            "@pubsub",
            &[
                "SUBSCRIBE channel [channel ...]",
                "PUBSUB NUMSUB [channel [channel ...]]",
            ],
        ),
        ("@transactions", &["MULTI ", "WATCH key [key ...]"]),
        ("@cluster", &["READONLY "]),
    ] {
        let said = without_colours(&redis_cli(&server, &["help", group], b""));
        for name in names {
            assert!(
                said.contains(&format!("  {name}")),
                "{name} is not in {said}"
            );
        }
        assert!(!said.contains("(null)"), "{said}");
        assert_eq!(
            said.matches("summary: ").count(),
            said.matches("since: 0.1.0").count(),
            "{said}"
        );
    }
    let set = without_colours(&redis_cli(&server, &["-3", "help", "set"], b""));
    assert!(set.contains("group: string"), "{set}");
    let config = without_colours(&redis_cli(&server, &["help", "config"], b""));
    for name in [
        "CONFIG GET",
        "CONFIG SET",
        "CONFIG RESETSTAT",
        "CONFIG HELP",
    ] {
        assert!(
            config.contains(&format!("  {name} ")),
            "{name} is not in {config}"
        );
    }
}

/// Text without the escape sequences of a terminal.
fn without_colours(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

/// Goal: tools that want the data as a replica end with words, and do not hang.
#[test]
fn redis_cli_as_a_replica_ends_with_words() {
    if is_skipped("redis-cli") {
        return;
    }
    let server = TestServer::start();
    for words in [&["--rdb", "/dev/null"][..], &["--replica"]] {
        let said = redis_cli(&server, words, b"");
        assert!(
            said.contains("SYNC with master failed: -ERR this port does not speak "),
            "{said}"
        );
    }
    for (words, reply) in [
        (&["ROLE"][..], "master\n0"),
        (&["REPLICAOF", "NO", "ONE"], "OK"),
        (&["REPLCONF", "listening-port", "7000"], "OK"),
        (
            &["CLUSTER", "INFO"],
            "ERR This instance has cluster support disabled",
        ),
        (
            &["READONLY"],
            "ERR This instance has cluster support disabled",
        ),
        (&["FAILOVER"], "ERR FAILOVER requires connected replicas."),
    ] {
        assert_eq!(
            redis_cli(&server, words, b"").trim_end(),
            reply,
            "{words:?}"
        );
    }
    let refused = redis_cli(&server, &["REPLICAOF", "127.0.0.1", "1"], b"");
    assert!(
        refused.starts_with("ERR this server cannot be a replica"),
        "{refused}"
    );
}

#[test]
fn redis_cli_listens() {
    if is_skipped("redis-cli") {
        return;
    }
    let server = TestServer::start();
    let mut listener = EndlessCli::start(&server, &["SUBSCRIBE", "news"]);
    assert_eq!(listener.lines(3), ["subscribe", "news", "1"]);
    assert_eq!(
        redis_cli(&server, &["PUBLISH", "news", "hello"], b""),
        "1\n"
    );
    assert_eq!(listener.lines(3), ["message", "news", "hello"]);
    let mut listener = EndlessCli::start(&server, &["-3", "PSUBSCRIBE", "n*"]);
    assert_eq!(listener.lines(3), ["psubscribe", "n*", "1"]);
    redis_cli(&server, &["PUBLISH", "news", "hello"], b"");
    assert_eq!(listener.lines(4), ["pmessage", "n*", "news", "hello"]);
}

#[test]
fn redis_benchmark_finds_no_error() {
    if is_skipped("redis-benchmark") {
        return;
    }
    let server = TestServer::start();
    let port = server.addr().port().to_string();
    for pipelined in ["1", "16"] {
        let output = Command::new("redis-benchmark")
            .args([
                "-p", &port, "-n", "2000", "-P", pipelined, "-q", "-r", "1000",
            ])
            .args(["-t", "ping_mbulk,set,get,incr,mset"])
            .output()
            .expect("redis-benchmark is installed");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("requests per second").count(), 5, "{said}");
        assert!(
            output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert!(server.stat("command_set") >= 4000);
}
