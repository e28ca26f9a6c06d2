//! Keyspace notifications: which event of which key is published, and when.
//!
//! In: requests in RESP, to ours and to a real Redis. Out: nothing but the verdict. What to expect is what Redis publishes, or what
//! protocol.md says where Redis has nothing like it.

use std::net::SocketAddr;

use crate::support::redis::Redis;
use crate::support::resp::Resp;
use crate::support::server::{TestServer, is_skipped, wait_until};

/// A server whose events are followed.
struct Followed {
    client: Resp,
    follower: Resp,
    /// Ends what is caused by one request, also while a transaction is queued.
    ender: Resp,
}

impl Followed {
    fn start(addr: SocketAddr, classes: &str) -> Self {
        let mut client = Resp::connect(addr);
        let set = client.ask(&format!("CONFIG SET notify-keyspace-events {classes}"));
        assert_eq!(set, "OK");
        let mut follower = Resp::connect(addr);
        follower.ask("PSUBSCRIBE __key*__:* end");
        follower.reply();
        Self {
            client,
            follower,
            ender: Resp::connect(addr),
        }
    }

    /// Asks, and returns the reply and the messages that it has caused.
    fn ask(&mut self, line: &str) -> (String, Vec<String>) {
        let reply = self.client.ask(line);
        self.ender.ask("PUBLISH end end");
        let mut messages = Vec::new();
        loop {
            let message = self.follower.reply();
            if message == "pmessage end end end" {
                return (reply, messages);
            }
            messages.push(message.replace("pmessage __key*__:* ", ""));
        }
    }
}

/// Requests that change pairs, or read those that are not there, in every way.
const REQUESTS: &str = "SET a 1\nSET a 2\nSET a 3 EX 100\nSET a 4 KEEPTTL\nSET a 5 NX\nSET a 6 XX GET\nSETNX a 7\nSETNX b 1\nSETEX c 100 1\n\
    PSETEX c 100000 2\nGETSET a 8\nGETSET new 1\nGETDEL new\nGETDEL nobody\nGETEX c\nGETEX c EX 50\nGETEX c PERSIST\nGETEX c PERSIST\n\
    GETEX c EXAT 1\nMSET a 1 d 2 a 3\nMSETNX a 1 z 2\nMSETNX y 1 z 2\nAPPEND a xyz\nAPPEND fresh xyz\nSETRANGE a 1 __\nSETRANGE a 1 \n\
    SETBIT a 1 1\nSETBIT a 1 1\nSETBIT a 2 0\nSETBIT a 2 1\nSETBIT bits 9 0\nGETBIT nobody 1\nBITCOUNT nobody\nBITPOS nobody 1\n\
    BITOP AND to a nobody\nBITOP AND to nobody no\nBITOP AND to nobody no\nBITOP NOT bits bits\nBITFIELD nobody\nBITFIELD nobody GET u8 0\n\
    BITFIELD_RO nobody GET u8 0\nBITFIELD bits SET u8 0 7\nBITFIELD bits SET u8 0 7\nBITFIELD bits OVERFLOW FAIL SET u8 0 300\n\
    BITFIELD longer INCRBY u8 9 0\nLCS a nobody\nDEL bits longer\n\
    INCR n\nDECR n\nINCRBY n 5\nDECRBY n 2\nINCRBYFLOAT n 1.5\nINCR a\nGET a\nGET nobody\nMGET a nobody b\nSTRLEN nobody\nGETRANGE nobody 0 1\n\
    EXISTS nobody a\nTYPE nobody\nTTL nobody\nOBJECT ENCODING nobody\nTOUCH nobody\nEXPIRE a 100\nEXPIRE nobody 100\nEXPIRE a 100 NX\n\
    PEXPIRE a 100000\nEXPIREAT a 9999999999\nPERSIST a\nPERSIST a\nEXPIRE y -1\nDEL a nobody b\nUNLINK d\nSET a 1\nRENAME a b\nRENAME b b\n\
    RENAMENX b z\nRENAMENX b a\nSET t 1 EX 100\nRENAME t a\nCOPY a b\nCOPY a b\nCOPY a b REPLACE\nMOVE a 1\nMOVE a 2\nSELECT 1\nSET a 1\nDEL a\n\
    GET a\nCOPY a k DB 3\nSELECT 0\nMULTI\nSET a 1\nINCR b\nGET nobody\nDEL a\nEXEC\nMULTI\nSET a 1\nDISCARD\n\
    EVAL redis.call('SET',KEYS[1],1)return(redis.call('INCR',KEYS[1])) 1 a\nEVAL redis.call('SET',KEYS[1],1)error('x') 1 script\n\
    MULTI\nPUBLISH __keyfoo__:x own\nSET a 1\nEXEC\nFLUSHDB\nSET a 1\nFLUSHALL";

#[test]
fn every_command_has_the_events_that_redis_has() {
    if is_skipped("redis-server") {
        return;
    }
    let (redis, ours) = (Redis::start(), TestServer::start());
    for classes in ["KEA", "K$", "Eg", "Kgn", "AKEmn", "Km"] {
        let mut all = [redis.addr, ours.addr()].map(|addr| Followed::start(addr, classes));
        let mut told = 0;
        for request in REQUESTS.lines() {
            let [(_, mut of_redis), (_, mut of_ours)] = all.each_mut().map(|one| one.ask(request));
            // A new key is told before all else there, also before the one that it is renamed from.
            if classes.contains('n') {
                of_redis.sort();
                of_ours.sort();
            }
            assert_eq!(of_ours, of_redis, "{request} with {classes}");
            told += of_redis.len();
        }
        assert!(told > 3, "only {told} events with {classes}");
    }
}

#[test]
fn what_has_expired_or_is_evicted_is_told_as_in_redis() {
    if is_skipped("redis-server") {
        return;
    }
    let (redis, ours) = (Redis::start(), TestServer::start());
    for addr in [redis.addr, ours.addr()] {
        let mut followed = Followed::start(addr, "Exe");
        followed.client.ask("SET soon 1 PX 5");
        followed.client.ask("SELECT 2");
        followed.client.ask("SET soon:too 1 PX 5");
        let mut told = [(); 2].map(|()| followed.follower.reply());
        told.sort();
        assert_eq!(
            told,
            [
                "pmessage __key*__:* __keyevent@0__:expired soon",
                "pmessage __key*__:* __keyevent@2__:expired soon:too"
            ]
        );
    }
    let capped = TestServer::start_with(&["--max-memory", "20mb", "--eviction", "allkeys-lru"]);
    let mut followed = Followed::start(capped.addr(), "Ee");
    let value = "x".repeat(100_000);
    let mut evicted = Vec::new();
    for number in 0..1_000 {
        let (reply, told) = followed.ask(&format!("SET key:{number} {value}"));
        assert_eq!(reply, "OK");
        evicted.extend(told);
    }
    assert_eq!(evicted.len() as u64, capped.stat("evicted"));
    assert!(evicted.len() > 100, "{} were evicted", evicted.len());
    for event in evicted {
        let key = event.strip_prefix("__keyevent@0__:evicted key:");
        assert!(
            key.is_some_and(|number| number.parse::<u32>().is_ok()),
            "{event}"
        );
    }
}

#[test]
fn commands_of_our_own_have_the_events_of_what_they_do() {
    let server = TestServer::start();
    let mut followed = Followed::start(server.addr(), "EA");
    for (request, told) in [
        ("PUT a 1", &["set a"][..]),
        ("DELIFEQ a 2", &[]),
        ("DELIFEQ a 1", &["del a"]),
        ("MSET p:1 1 p:2 2 q 3", &["set p:1", "set p:2", "set q"]),
        ("DELEX q IFEQ 3", &["del q"]),
        ("CLEAR", &[]),
        ("PUT db1:a 1", &["set a"]),
    ] {
        let (_, messages) = followed.ask(request);
        let events = messages.iter().map(|message| {
            let (_, event) = message.split_once("__:").expect("a channel");
            event.to_owned()
        });
        assert_eq!(events.collect::<Vec<_>>(), told, "{request}");
    }
    followed.ask("MSET p:1 1 p:2 2");
    let (count, mut deleted) = followed.ask("DELPREFIX p:");
    deleted.sort();
    assert_eq!(count, "2");
    assert_eq!(
        deleted,
        ["__keyevent@0__:del p:1", "__keyevent@0__:del p:2"]
    );
}

#[test]
fn a_script_that_takes_long_tells_its_events_once() {
    let server = TestServer::start();
    let mut followed = Followed::start(server.addr(), "EA");
    let script = "for(i)=1,3000000(do)end;return(redis.call('INCR',KEYS[1]))";
    let script = script.replace("for(i)", "for\ti").replace("(do)", "\tdo\t");
    let (count, told) = followed.ask(&format!("EVAL {script} 1 count"));
    assert_eq!(
        (count.as_str(), &*told),
        ("1", &["__keyevent@0__:incrby count".to_owned()][..])
    );
}

#[test]
fn the_classes_of_events_are_a_setting() {
    let server = TestServer::start_with(&["--notify-keyspace-events", "ExK"]);
    let mut client = server.client();
    let mut resp = Resp::connect(server.addr());
    let ask = "CONFIG GET notify-keyspace-events";
    assert_eq!(resp.ask(ask), "notify-keyspace-events xKE");
    assert_eq!(
        client.ask("CONFIG SET notify-keyspace-events KEq"),
        "ERR ARGS CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. Use \
         'Ag$lshzxeKEtmdn'."
    );
    assert_eq!(resp.ask(ask), "notify-keyspace-events xKE");
    assert_eq!(client.ask("CONFIG SET notify-keyspace-events \"\""), "OK");
    assert_eq!(resp.ask(ask), "notify-keyspace-events ");
}

/// Goal: what a subscriber hears of a key last is what it has last. Method: several clients set and delete one key; the last event must
/// be that of the pair as it is then.
#[test]
fn the_events_of_a_key_come_in_the_order_of_its_changes() {
    let server = TestServer::start();
    let mut followed = Followed::start(server.addr(), "E$g");
    for _ in 0..50 {
        std::thread::scope(|scope| {
            for number in 0..4 {
                let mut client = server.client();
                scope.spawn(move || {
                    for _ in 0..20 {
                        let line = if number % 2 == 0 {
                            "PUT contested 1"
                        } else {
                            "DEL contested"
                        };
                        client.ask(line);
                    }
                });
            }
        });
        let (found, told) = followed.ask("EXISTS contested");
        let last = told.last().expect("there were changes");
        let expected = if found == "1" { "set" } else { "del" };
        assert_eq!(last, &format!("__keyevent@0__:{expected} contested"));
    }
}

#[test]
fn a_replica_tells_what_it_copies() {
    let primary = TestServer::start();
    let url = format!("pykv://{}", primary.addr());
    let replica = TestServer::start_with(&["--replica-of", &url, "--notify-keyspace-events", "EA"]);
    let mut follower = Resp::connect(replica.addr());
    follower.ask("PSUBSCRIBE __key*__:*");
    let mut client = primary.client();
    wait_until("the replica follows", || {
        client.ask("WAIT 1 100") == "COUNT 1"
    });
    client.ask("PUT a 1");
    client.ask("DEL a");
    let told = [(); 2].map(|()| follower.reply());
    assert_eq!(
        told,
        [
            "pmessage __key*__:* __keyevent@0__:set a",
            "pmessage __key*__:* __keyevent@0__:del a"
        ]
    );
}
