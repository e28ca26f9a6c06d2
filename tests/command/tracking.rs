//! Client-side caching: who is told that a copy is not to be used any more, and when.
//!
//! In: requests in RESP, to ours and to a real Redis. Out: nothing but the verdict.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::support::redis::Redis;
use crate::support::resp::Resp;
use crate::support::server::{TestServer, is_skipped};

/// A client of RESP3, of which the invalidations are known that it has been sent.
fn caching(addr: SocketAddr, tracking: &str) -> Resp {
    let mut client = Resp::connect(addr);
    client.ask("HELLO 3");
    assert_eq!(client.ask(&format!("CLIENT TRACKING ON{tracking}")), "OK");
    client
}

/// What a client is sent before the reply to PING.
fn told(client: &mut Resp) -> Vec<String> {
    let mut told = Vec::new();
    let mut reply = client.ask("PING");
    while reply != "PONG" {
        told.push(reply);
        reply = client.reply();
    }
    told
}

/// Requests of a caching client (`c`) and of another one (`o`), and what the first is told then.
const SESSIONS: &[(&str, &str)] = &[
    (
        "",
        "c GET a\no SET a 1\no SET a 2\nc GET a\nc GET a\no DEL a\nc MGET a b\no MSET b 1 c 2\nc GET b\nc SET b 2\nc EXISTS b\n\
         o EXPIRE b 100\nc TTL b\no PERSIST b\nc GET b\no RENAME b d\nc GET d\no FLUSHALL\nc GET a\nc GET b\no SET a 1\n\
         o SET b 1\nc GET a\no SET a 2\nc EVAL return(redis.call('GET',KEYS[1])) 1 a\no SET a 3\n\
         c MULTI\nc GET a\nc EXEC\no SET a 4\nc GET a\no MULTI\no SET a 5\no INCR a\no EXEC\nc GET a\n\
         o EVAL redis.call('SET',KEYS[1],1) 1 a\nc CLIENT TRACKING OFF\nc GET a\no SET a 1",
    ),
    (
        " NOLOOP",
        "c GET a\nc SET a 1\nc GET a\no SET a 2\nc GET a\nc INCR a\nc MULTI\nc SET a 1\nc EXEC\no FLUSHDB",
    ),
    (
        " OPTIN",
        "c GET a\no SET a 1\nc CLIENT CACHING YES\nc GET a\no SET a 2\nc CLIENT CACHING YES\nc PING\nc GET a\no SET a 3\n\
         c CLIENT CACHING YES\nc MULTI\nc GET a\nc GET b\nc EXEC\no SET a 1\no SET b 1\nc GET b\no SET b 2",
    ),
    (
        " OPTOUT",
        "c GET a\no SET a 1\nc CLIENT CACHING NO\nc GET a\no SET a 2\nc GET a\no SET a 3",
    ),
    (
        " BCAST",
        "o SET a 1\nc SET b 1\no DEL a\no EXPIRE b 100\no FLUSHALL",
    ),
    (
        " BCAST PREFIX user: PREFIX shop: NOLOOP",
        "o SET user:1 1\no SET users 1\no SET shop:1 1\nc SET user:1 1\no DEL user:1\no SET shop: 1",
    ),
];

#[test]
fn a_client_is_told_what_redis_tells_it() {
    if is_skipped("redis-server") {
        return;
    }
    let (redis, ours) = (Redis::start(), TestServer::start());
    let servers = [redis.addr, ours.addr()];
    for (tracking, session) in SESSIONS {
        let mut clients = servers.map(|addr| caching(addr, tracking));
        let mut others = servers.map(Resp::connect);
        let (mut invalidations, mut is_queueing) = (0, false);
        for line in session.lines() {
            let (who, request) = line.split_once(' ').expect("who, and what");
            let all = match who {
                "c" => &mut clients,
                _ => &mut others,
            };
            for client in all {
                client.ask(request);
            }
            is_queueing = (is_queueing || line == "c MULTI") && line != "c EXEC";
            // PING would be queued, or be the next request.
            if is_queueing || line.starts_with("c CLIENT CACHING") {
                continue;
            }
            // Replies may come behind what was told meanwhile.
            let [mut of_redis, mut of_ours] = clients.each_mut().map(told);
            for told in [&mut of_redis, &mut of_ours] {
                told.retain(|one| one.starts_with("invalidate"));
                // Redis tells broadcasts together.
                *told = told
                    .join(" ")
                    .replace("invalidate ", "")
                    .split(' ')
                    .map(str::to_owned)
                    .collect();
                told.sort();
            }
            assert_eq!(of_ours, of_redis, "{request} after TRACKING ON{tracking}");
            invalidations += of_redis.iter().filter(|one| !one.is_empty()).count();
        }
        assert!(invalidations > 1, "{tracking}");
    }
}

#[test]
fn wrong_options_are_refused_and_right_ones_described_as_in_redis() {
    if is_skipped("redis-server") {
        return;
    }
    let (redis, ours) = (Redis::start(), TestServer::start());
    for requests in [
        "CLIENT GETREDIR\nCLIENT TRACKINGINFO\nCLIENT TRACKING\nCLIENT TRACKING maybe\nCLIENT TRACKING ON FOO\nCLIENT TRACKING ON PREFIX\n\
         CLIENT TRACKING ON PREFIX a\nCLIENT TRACKING ON BCAST OPTIN\nCLIENT TRACKING ON OPTIN OPTOUT\nCLIENT TRACKING ON REDIRECT 9999\n\
         CLIENT TRACKING ON REDIRECT x\nCLIENT CACHING YES\nCLIENT CACHING MAYBE\n\
         CLIENT TRACKING ON BCAST PREFIX foo PREFIX foobar\nCLIENT TRACKINGINFO",
        "CLIENT TRACKING ON\nCLIENT TRACKINGINFO\nCLIENT GETREDIR\nCLIENT CACHING YES\nCLIENT CACHING NO\nCLIENT TRACKING ON BCAST\n\
         CLIENT TRACKING ON OPTIN\nCLIENT TRACKING ON NOLOOP\nCLIENT TRACKINGINFO\nCLIENT TRACKING OFF\nCLIENT TRACKINGINFO",
        "CLIENT TRACKING ON OPTIN\nCLIENT TRACKINGINFO\nCLIENT CACHING NO\nCLIENT CACHING YES\nCLIENT TRACKINGINFO\nGET a\nCLIENT TRACKINGINFO\n\
         CLIENT TRACKING ON OPTOUT\nCLIENT TRACKING ON",
        "CLIENT TRACKING ON OPTOUT NOLOOP\nCLIENT TRACKINGINFO\nCLIENT CACHING YES\nCLIENT CACHING NO\nCLIENT TRACKINGINFO",
        "CLIENT TRACKING ON BCAST\nCLIENT TRACKINGINFO\nCLIENT TRACKING ON BCAST PREFIX a\nCLIENT TRACKING ON\nCLIENT CACHING YES",
        "CLIENT TRACKING ON BCAST PREFIX foo\nCLIENT TRACKING ON BCAST PREFIX foobar\nCLIENT TRACKING ON BCAST PREFIX bar\nCLIENT TRACKINGINFO",
    ] {
        for hello in ["HELLO 2", "HELLO 3"] {
            let mut clients = [redis.addr, ours.addr()].map(Resp::connect);
            for client in &mut clients {
                client.ask(hello);
            }
            for request in requests.lines() {
                let [of_redis, of_ours] = clients.each_mut().map(|client| {
                    let mut words: Vec<String> =
                        client.ask(request).split(' ').map(str::to_owned).collect();
                    if request.ends_with("INFO") {
                        // Flags and prefixes are in no order.
                        words.sort();
                    }
                    words
                });
                assert_eq!(of_ours, of_redis, "{request} after {hello}");
            }
        }
    }
}

#[test]
fn another_client_is_told_in_its_place() {
    if is_skipped("redis-server") {
        return;
    }
    let (redis, ours) = (Redis::start(), TestServer::start());
    for addr in [redis.addr, ours.addr()] {
        let (mut reader, mut listener) = (Resp::connect(addr), Resp::connect(addr));
        let id = listener.ask("CLIENT ID");
        listener.ask("SUBSCRIBE __redis__:invalidate");
        let on = format!("CLIENT TRACKING ON REDIRECT {id}");
        assert_eq!(reader.ask(&on), "OK");
        assert_eq!(reader.ask("CLIENT GETREDIR"), id);
        assert!(reader.ask("CLIENT INFO").contains(&format!("redir={id} ")));
        let mut other = Resp::connect(addr);
        reader.ask("GET a");
        other.ask("SET a 1");
        assert_eq!(listener.reply(), "message __redis__:invalidate a");
        other.ask("FLUSHALL");
        assert_eq!(listener.reply(), "message __redis__:invalidate -1");
        reader.ask("HELLO 3");
        reader.ask("GET a");
        drop(listener);
        crate::support::server::wait_until("the client is gone", || {
            !other.ask("CLIENT LIST").contains(&format!("id={id} "))
        });
        other.ask("SET a 2");
        assert_eq!(reader.reply(), format!("tracking-redir-broken {id}"));
        assert!(
            reader
                .ask("CLIENT TRACKINGINFO")
                .contains("broken_redirect")
        );
    }
}

#[test]
fn what_falls_out_of_the_table_is_told_and_nothing_is_left_of_who_is_gone() {
    let server = TestServer::start();
    let mut other = Resp::connect(server.addr());
    other.ask("CONFIG SET tracking-table-max-keys 10");
    let mut client = caching(server.addr(), "");
    for number in 0..100 {
        client.ask(&format!("GET key:{number}"));
        // What was told precedes later replies.
    }
    let figure = |other: &mut Resp, name: &str| {
        let info = other.ask("INFO");
        let row = info.lines().find_map(|line| line.strip_prefix(name));
        row.expect("a figure").trim_start_matches(':').to_owned()
    };
    assert_eq!(figure(&mut other, "tracking_total_keys"), "10");
    assert_eq!(figure(&mut other, "tracking_clients"), "1");
    drop(client);
    for name in [
        "tracking_clients",
        "tracking_total_keys",
        "tracking_total_items",
    ] {
        crate::support::server::wait_until(name, || figure(&mut other, name) == "0");
    }
}

#[test]
fn a_pair_that_expires_or_is_deleted_with_others_is_told() {
    let server = TestServer::start();
    let mut client = caching(server.addr(), "");
    let mut other = Resp::connect(server.addr());
    other.ask("SET soon 1 PX 20");
    client.ask("GET soon");
    assert_eq!(client.reply(), "invalidate soon");
    other.ask("MSET p:1 1 p:2 2");
    client.ask("MGET p:1 p:2");
    other.ask("DELPREFIX p:");
    let mut told = [(); 2].map(|()| client.reply());
    told.sort();
    assert_eq!(told, ["invalidate p:1", "invalidate p:2"]);
    // In another database the name is that which the client knows.
    client.ask("SELECT 1");
    client.ask("GET name");
    other.ask("SET db1:name 1");
    assert_eq!(client.reply(), "invalidate name");
}

/// Goal: once a change is acknowledged, and the reader has processed what it was sent before a later reply, it has no older copy. Method:
/// clients with caches read counters that others count up; each counter that a cache shows must be at least what had been acknowledged
/// before the reader's last round trip began.
#[test]
fn no_copy_is_older_than_what_was_acknowledged_before_the_last_round_trip() {
    const KEYS: usize = 8;
    let server = TestServer::start();
    let addr = server.addr();
    let acknowledged: Vec<std::sync::atomic::AtomicU64> = (0..KEYS)
        .map(|_| std::sync::atomic::AtomicU64::new(0))
        .collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (acknowledged, is_over) = (&acknowledged, &is_over);
            scope.spawn(move || {
                let mut client = Resp::connect(addr);
                let mut random = fastrand::Rng::with_seed(writer);
                for _ in 0..6_000 {
                    let key =
                        random.usize(..KEYS / 2) * 2 + usize::try_from(writer).expect("0 or 1");
                    let count = if random.bool() {
                        client.ask(&format!("INCR {key}"))
                    } else {
                        let next = acknowledged[key].load(Relaxed) + 1;
                        client.ask(&format!("SET {key} {next}"));
                        next.to_string()
                    };
                    acknowledged[key].store(count.parse().expect("a number"), Relaxed);
                }
                is_over.store(true, Relaxed);
            });
        }
        for reader in 0..3 {
            let (acknowledged, is_over) = (&acknowledged, &is_over);
            scope.spawn(move || {
                let mut client = caching(addr, if reader == 0 { " BCAST" } else { "" });
                let mut cache: HashMap<usize, u64> = HashMap::new();
                let mut random = fastrand::Rng::with_seed(reader);
                let mut hits = 0;
                while !is_over.load(Relaxed) {
                    let known: Vec<u64> =
                        acknowledged.iter().map(|one| one.load(Relaxed)).collect();
                    let read = random.usize(..KEYS);
                    let mut reply = client.ask(&format!("GET {read}"));
                    while let Some(key) = reply.strip_prefix("invalidate ") {
                        cache.remove(&key.parse().expect("a key"));
                        reply = client.reply();
                    }
                    for (key, copy) in &cache {
                        assert!(*copy >= known[*key], "{key}: {copy}, not {}", known[*key]);
                        hits += 1;
                    }
                    if reply != "-1" && reply != "nil" {
                        cache.insert(read, reply.parse().expect("a number"));
                    }
                }
                assert!(hits > 1_000, "only {hits} copies were looked at");
            });
        }
    });
}
