//! Replicas: servers that copy another one and follow it, through breaks, restarts, kills and lost histories.
//!
//! In: a primary and its replicas, each the built server. Out: the pairs and the journals of both, and what the replicas refuse.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::http::Http;
use crate::support::server::{Stopped, TestClient, TestServer, is_skipped, wait_until};
use crate::support::tls::{Authority, TlsClient};

/// What a replica says when it begins to copy.
const COPYING: &str = "copying all pairs of";

fn url(addr: SocketAddr) -> String {
    format!("pykv://{addr}")
}

/// An empty folder for a replica of a server.
fn replica_folder(primary: SocketAddr) -> Stopped {
    Stopped::new(&["--replica-of", &url(primary)])
}

fn replica_of(primary: &TestServer) -> TestServer {
    replica_folder(primary.addr()).restart()
}

/// All pairs, in the order of the keys; or the refusal to show them.
fn pairs(server: &TestServer) -> Vec<String> {
    let mut rows = server.client().ask_rows("ALL");
    rows.sort_unstable();
    rows
}

fn is_equal(one: &TestServer, other: &TestServer) -> bool {
    let pairs_of_one = pairs(one);
    !pairs_of_one[0].starts_with("ERR") && pairs_of_one == pairs(other)
}

/// Waits until a replica has the newest change of its primary, which nobody changes meanwhile, and checks that all is equal then.
fn wait_until_level(replica: &TestServer, primary: &TestServer) {
    let last = format!("PUT last {}", fastrand::u64(..));
    let mut client = primary.client();
    assert_eq!(client.ask(&last), "OK");
    let expected = client.ask("GET last");
    wait_until("the newest change is there", || {
        replica.client().ask("GET last") == expected
    });
    assert_is_equal(replica, primary);
}

fn assert_is_equal(replica: &TestServer, primary: &TestServer) {
    // Between two looks a pair may expire, but not between all.
    let mut looks = (0..20).map(|_| (pairs(replica), pairs(primary)));
    let equal = looks.find(|(here, there)| here == there);
    let (here, there) = equal.unwrap_or_else(|| (pairs(replica), pairs(primary)));
    let differing = here.iter().zip(&there).find(|(one, other)| one != other);
    assert!(
        here == there,
        "{} rows, and {} of the primary; first: {differing:?}\n{}",
        here.len(),
        there.len(),
        replica.log()
    );
}

/// Sends lines at once, each of which is answered with one line; the replies.
fn ask_all(client: &mut TestClient, lines: &[String]) -> Vec<String> {
    let mut replies = Vec::new();
    for some in lines.chunks(1_000) {
        client.send(&some.join("\n"));
        replies.extend(some.iter().map(|_| client.reply()));
    }
    replies
}

/// Puts so many keys.
fn fill(server: &TestServer, name: &str, count: usize) {
    let lines: Vec<String> = (0..count)
        .map(|n| format!("PUT {name}:{n} \"value {n}\""))
        .collect();
    let replies = ask_all(&mut server.client(), &lines);
    assert!(replies.iter().all(|reply| reply == "OK"));
}

/// Puts many pairs by few requests.
fn fill_quickly(server: &TestServer, name: &str, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    let line_of = |some: &[usize]| {
        let pairs: String = some
            .iter()
            .map(|n| format!(" {name}:{n} value{n}"))
            .collect();
        format!("MSET{pairs}")
    };
    let lines: Vec<String> = numbers.chunks(500).map(line_of).collect();
    let replies = ask_all(&mut server.client(), &lines);
    assert!(replies.iter().all(|reply| reply == "OK"));
}

/// The lines of the journals that have a number: that, and the line.
fn records(data: &Path) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(data).expect("the data folder") {
        let path = file.expect("a file").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if !name.starts_with("journal-") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for line in text.lines() {
            let number = line
                .rsplit_once(",\"seq\":")
                .and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
            found.extend(number.map(|number| (number, line.to_owned())));
        }
    }
    found.sort_unstable();
    found
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("the folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

fn put_folder_back(aside: &Path, data: &Path) {
    std::fs::remove_dir_all(data).expect("the folder goes");
    copy_folder(aside, data);
}

/// The revision of which FOLLOW tells.
fn revision(server: &TestServer) -> u64 {
    let reply = server.client().ask("FOLLOW \"\"");
    let number = reply
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{reply} has no revision"))
}

#[test]
fn a_replica_copies_all_pairs_and_then_has_the_same_records() {
    let primary = TestServer::start();
    let mut client = primary.client();
    assert_eq!(client.ask("PUT text \"a \\\"b\\\"\\n\""), "OK");
    assert_eq!(client.ask("PUT bytes é"), "OK");
    assert_eq!(client.ask("SETRANGE bytes 1 x"), "COUNT 2");
    assert_eq!(client.ask("SET timed soon EX 1000"), "OK");
    fill(&primary, "before", 1_000);
    assert_eq!(client.ask("SAVE"), "OK");
    fill(&primary, "since", 1_000);
    let replica = replica_of(&primary);
    wait_until("all is copied", || is_equal(&replica, &primary));
    let copied = revision(&primary);
    for line in [
        "PUT text other",
        "DEL before:1 before:2",
        "INCR counter",
        "INCRBY counter 41",
        "SET short 1 PX 30",
        "PUT bytes:2 é",
        "SETRANGE bytes:2 0 x",
        "EXPIRE before:3 1000",
        "PERSIST timed",
    ] {
        let reply = client.ask(line);
        assert!(!reply.starts_with("ERR"), "{line}: {reply}");
    }
    for line in ["MULTI", "PUT both:1 x", "DEL before:4", "PUT both:2 y"] {
        client.ask(line);
    }
    assert_eq!(client.ask_array("EXEC").len(), 3);
    wait_until("it has expired on both", || {
        primary.client().ask("EXISTS short") == "COUNT 0"
            && replica.client().ask("EXISTS short") == "COUNT 0"
    });
    wait_until_level(&replica, &primary);
    for key in ["timed", "before:3", "text"] {
        let line = format!("PEXPIRETIME {key}");
        assert_eq!(replica.client().ask(&line), client.ask(&line), "{key}");
    }
    assert_eq!(replica.client().ask("GET bytes"), "BASE64 \"w3g=\"");
    assert_eq!(client.ask("CLEAR"), "OK");
    wait_until("all are gone", || {
        replica.client().ask("COUNT") == "COUNT 0"
    });
    assert_eq!(client.ask("PUT after clear"), "OK");
    wait_until_level(&replica, &primary);
    let newest = revision(&primary);
    let since = |server: &TestServer| {
        let mut records = records(&server.data());
        records.retain(|(seq, _)| *seq > copied);
        records
    };
    wait_until("all records are in both journals", || {
        [&primary, &replica]
            .iter()
            .all(|server| since(server).last().is_some_and(|(seq, _)| *seq == newest))
    });
    let (here, there) = (since(&replica), since(&primary));
    assert!(there.len() >= 12, "{there:#?}");
    assert_eq!(here, there);
}

#[test]
fn a_replica_refuses_changes_and_names_the_primary() {
    let primary = TestServer::start();
    assert_eq!(primary.client().ask("PUT a 1"), "OK");
    let replica = replica_of(&primary);
    wait_until("all is copied", || is_equal(&replica, &primary));
    let at = revision(&replica);
    let sentence = format!("this is a replica; {} takes changes", primary.addr());
    let mut client = replica.client();
    for line in [
        "PUT a 2",
        "DEL a",
        "CLEAR",
        "INCR n",
        "MSET a 2 b 3",
        "APPEND a x",
        "EXPIRE a 100",
        "RENAME a b",
        "FLUSHALL",
        "GETDEL a",
        "SET a 2 EX 1",
        "SETNX b 1",
    ] {
        assert_eq!(
            client.ask(line),
            format!("ERR READONLY {sentence}"),
            "{line}"
        );
    }
    assert_eq!(client.ask("MULTI"), "OK");
    assert_eq!(client.ask("PUT a 2"), format!("ERR READONLY {sentence}"));
    assert_eq!(
        client.ask("EXEC"),
        "ERR ARGS Transaction discarded because of previous errors."
    );
    // One that only reads is executed.
    assert_eq!(client.ask("MULTI"), "OK");
    assert_eq!(client.ask("EXISTS none"), "QUEUED");
    assert_eq!(client.ask("EXEC"), "ARRAY 1");
    assert_eq!(client.reply(), "COUNT 0");
    let mut resp = replica.client();
    resp.send_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n2\r\n");
    assert_eq!(resp.reply(), format!("-READONLY {sentence}\r"));
    let mut http = Http::connect(&replica);
    for (request, body) in [
        ("PUT /api/v1/keys/a", r#"{"value":"2"}"#),
        ("PATCH /api/v1/keys/a", r#"{"expires_at":null}"#),
        ("DELETE /api/v1/keys/a", ""),
        ("POST /api/v1/import", r#"{"a":"2"}"#),
        (
            "POST /api/v1/batch",
            r#"{"operations":[{"op":"put","key":"a","value":"2"}]}"#,
        ),
        ("POST /put", r#"{"key":"a","value":"2"}"#),
    ] {
        http.send(
            request,
            &["Content-Type: application/json"],
            body.as_bytes(),
        );
        let answer = http.answer();
        assert_eq!(answer.status, 403, "{request}: {}", answer.text());
        assert!(
            answer.text().contains(&sentence),
            "{request}: {}",
            answer.text()
        );
    }
    assert_eq!(client.ask("GET a"), "VALUE \"1\"");
    assert_eq!(client.ask("COUNT"), "COUNT 1");
    assert_eq!(revision(&replica), at);
}

#[test]
fn a_replica_goes_on_where_it_was_after_restarts_of_either() {
    let mut primary = TestServer::start();
    fill(&primary, "k", 500);
    let mut replica = replica_of(&primary);
    wait_until("all is copied", || is_equal(&replica, &primary));
    assert_eq!(replica.log().matches(COPYING).count(), 1);
    for is_killed in [true, false, true] {
        wait_until_level(&replica, &primary);
        let stopped = if is_killed {
            replica.kill()
        } else {
            replica.stop()
        };
        fill(
            &primary,
            &format!("missed {is_killed}").replace(' ', ":"),
            50,
        );
        replica = stopped.restart();
        wait_until_level(&replica, &primary);
        assert!(!replica.log().contains(COPYING), "{}", replica.log());
        let addr = primary.addr();
        let stopped = if is_killed {
            primary.kill()
        } else {
            primary.stop()
        };
        primary = stopped.on(addr).restart();
        wait_until_level(&replica, &primary);
        assert!(!replica.log().contains(COPYING), "{}", replica.log());
    }
    // Each restart of the primary began a timeline, and a restart of the replica knows them.
    let replica = replica.kill().restart();
    wait_until_level(&replica, &primary);
    assert!(!replica.log().contains(COPYING), "{}", replica.log());
}

/// Saves changes until no journal is kept in which a replica that is away would go on: one more than are kept, and the open one.
fn save_too_often(primary: &TestServer) {
    let mut client = primary.client();
    for round in 0..18 {
        assert_eq!(client.ask(&format!("PUT saved {round}")), "OK");
        assert_eq!(client.ask("SAVE"), "OK");
    }
}

#[test]
fn a_replica_goes_on_where_it_was_after_saves_of_the_primary() {
    let primary = TestServer::start();
    fill(&primary, "k", 100);
    let replica = replica_of(&primary);
    wait_until_level(&replica, &primary);
    let stopped = replica.stop();
    for round in 0..3 {
        fill(&primary, &format!("round{round}"), 100);
        assert_eq!(primary.client().ask("SAVE"), "OK");
    }
    let replica = stopped.restart();
    wait_until_level(&replica, &primary);
    assert!(!replica.log().contains(COPYING), "{}", replica.log());
}

#[test]
fn a_replica_starts_over_where_the_journal_no_longer_reaches() {
    let primary = TestServer::start();
    fill(&primary, "k", 100);
    let replica = replica_of(&primary);
    wait_until_level(&replica, &primary);
    let stopped = replica.stop();
    fill(&primary, "more", 500);
    assert_eq!(primary.client().ask("DEL k:1 k:2 k:3"), "COUNT 3");
    save_too_often(&primary);
    let replica = stopped.restart();
    wait_until_level(&replica, &primary);
    assert_eq!(
        replica.log().matches(COPYING).count(),
        1,
        "{}",
        replica.log()
    );
    // From then on it goes on as others do.
    let replica = replica.kill().restart();
    wait_until_level(&replica, &primary);
    assert!(!replica.log().contains(COPYING), "{}", replica.log());
}

#[test]
fn a_replica_that_has_what_the_primary_has_lost_starts_over() {
    for (more, is_running) in [(10, true), (1_000, true), (1_000, false)] {
        let primary = TestServer::start();
        let addr = primary.addr();
        fill(&primary, "k", 100);
        let mut replica = Some(replica_of(&primary));
        let of_replica = replica_of(replica.as_ref().expect("it runs"));
        wait_until_level(replica.as_ref().expect("it runs"), &primary);
        let stopped = primary.kill();
        let aside = tempfile::TempDir::new().expect("a folder");
        copy_folder(&stopped.data(), aside.path());
        let primary = stopped.on(addr).restart();
        fill(&primary, "lost", 200);
        wait_until_level(replica.as_ref().expect("it runs"), &primary);
        wait_until_level(&of_replica, &primary);
        let stopped_replica = (!is_running).then(|| replica.take().expect("it runs").kill());
        let stopped = primary.kill();
        put_folder_back(aside.path(), &stopped.data());
        let primary = stopped.restart();
        fill(&primary, "other", more);
        let replica = match (replica, stopped_replica) {
            (Some(replica), _) => replica,
            (None, stopped) => stopped.expect("it was stopped").restart(),
        };
        wait_until_level(&replica, &primary);
        assert!(replica.log().contains(COPYING), "{}", replica.log());
        assert_eq!(replica.client().ask("EXISTS lost:1"), "COUNT 0");
        if is_running {
            // Its own replica notices as well.
            wait_until_level(&of_replica, &primary);
            fill(&primary, "more", 100);
            wait_until_level(&of_replica, &primary);
        }
    }
}

#[test]
fn a_replica_does_not_follow_one_that_lags_behind_it() {
    let primary = TestServer::start();
    fill(&primary, "k", 100);
    let (ahead, behind) = (replica_of(&primary), replica_of(&primary));
    wait_until_level(&behind, &primary);
    let behind = behind.stop();
    fill(&primary, "more", 100);
    wait_until_level(&ahead, &primary);
    let (expected, ahead) = (pairs(&primary), ahead.stop());
    primary.kill();
    let behind = behind.restart();
    let ahead = ahead
        .with_flags(&["--replica-of", &url(behind.addr())])
        .restart();
    wait_until("it is told that the other lags", || {
        ahead.log().contains("is not here yet")
    });
    assert_eq!(pairs(&ahead), expected);
    assert!(!ahead.log().contains(COPYING), "{}", ahead.log());
}

#[test]
fn a_promoted_replica_takes_changes_and_is_no_replica_again() {
    let primary = TestServer::start();
    fill(&primary, "k", 100);
    let replica = replica_of(&primary);
    wait_until_level(&replica, &primary);
    let of_replica = replica_of(&replica);
    wait_until_level(&of_replica, &primary);
    assert_eq!(
        primary.client().ask("PROMOTE"),
        "ERR ARGS this server is no replica"
    );
    assert_eq!(replica.client().ask("PROMOTE"), "OK");
    assert_eq!(
        replica.client().ask("PROMOTE"),
        "ERR ARGS this server is no replica"
    );
    fill(&replica, "own", 100);
    assert_eq!(primary.client().ask("PUT too late"), "OK");
    // Its replicas go on with it.
    wait_until_level(&of_replica, &replica);
    assert_eq!(of_replica.log().matches(COPYING).count(), 1);
    assert_eq!(replica.client().ask("EXISTS too"), "COUNT 0");
    let stopped = replica.stop();
    let said = stopped.start_fails();
    assert!(said.contains("was promoted"), "{said}");
    let replica = stopped.with_flags(&[]).restart();
    assert_eq!(replica.client().ask("EXISTS own:1 k:1"), "COUNT 2");
    assert_eq!(replica.client().ask("PUT more 1"), "OK");
    // The old primary comes back as a replica of the new one, with an empty folder.
    let back = replica_of(&replica);
    wait_until_level(&back, &replica);
}

#[test]
fn a_folder_with_data_of_its_own_is_not_made_a_replicas() {
    let primary = TestServer::start();
    let own = TestServer::start();
    assert_eq!(own.client().ask("PUT mine 1"), "OK");
    let url = url(primary.addr());
    let flags = ["--replica-of", &*url];
    let stopped = own.stop().with_flags(&flags);
    let said = stopped.start_fails();
    assert!(said.contains("data of its own"), "{said}");
    // Nor is a primary that has replicas, or one whose pairs were all deleted.
    let server = stopped.with_flags(&[]).restart();
    assert_eq!(server.client().ask("GET mine"), "VALUE \"1\"");
    let replica = replica_of(&server);
    wait_until_level(&replica, &server);
    assert_eq!(server.client().ask("CLEAR"), "OK");
    let stopped = server.stop().with_flags(&flags);
    let said = stopped.start_fails();
    assert!(said.contains("--replica-of"), "{said}");
}

#[test]
fn a_replica_shows_nothing_before_it_has_copied_all() {
    // Nobody is there: the address was that of a server.
    let gone = TestServer::start().kill();
    let primary = gone.restart();
    let addr = primary.addr();
    let gone = primary.kill();
    let replica = replica_folder(addr).restart();
    for line in ["GET a", "ALL", "COUNT", "REPLICATE"] {
        let reply = replica.client().ask(line);
        assert!(
            reply.starts_with("ERR BUSY this replica has not copied"),
            "{line}: {reply}"
        );
    }
    let primary = gone.on(addr).restart();
    wait_until_level(&replica, &primary);
}

#[test]
fn wait_counts_the_replicas_that_have_all() {
    let primary = TestServer::start();
    let mut client = primary.client();
    assert_eq!(client.ask("PUT a 1"), "OK");
    assert_eq!(client.ask("WAIT 0 100"), "COUNT 0");
    assert_eq!(client.ask("WAIT 1 50"), "COUNT 0");
    let replica = replica_of(&primary);
    wait_until_level(&replica, &primary);
    for n in 0..20 {
        assert_eq!(client.ask(&format!("PUT a {n}")), "OK");
        assert_eq!(client.ask("WAIT 1 60000"), "COUNT 1");
        assert_eq!(replica.client().ask("GET a"), format!("VALUE \"{n}\""));
    }
    assert_eq!(client.ask("WAIT 2 100"), "COUNT 1");
    let stopped = replica.kill();
    wait_until("its connection has ended", || {
        primary.client().ask("WAIT 0 0") == "COUNT 0"
    });
    let _replica = stopped.restart();
    // It has all, whatever it has missed, and says so without any change.
    assert_eq!(client.ask("WAIT 1 60000"), "COUNT 1");
}

#[test]
fn a_replica_of_a_replica_follows_and_shows_the_same_revisions() {
    let primary = TestServer::start();
    fill(&primary, "k", 100);
    let middle = replica_of(&primary);
    wait_until_level(&middle, &primary);
    let last = replica_of(&middle);
    wait_until_level(&last, &primary);
    let servers = [&primary, &middle, &last];
    let mut clients: Vec<TestClient> = servers.iter().map(|server| server.client()).collect();
    let from = revision(&primary);
    for client in &mut clients {
        let reply = client.ask(&format!("FOLLOW \"\" FROM {from}"));
        assert!(reply.starts_with("FOLLOWING"), "{reply}");
    }
    let mut writer = primary.client();
    for line in [
        "PUT a 1",
        "DEL k:1 k:2",
        "INCR n",
        "SET t 1 EX 1000",
        "CLEAR",
        "PUT b \"é\"",
    ] {
        assert!(!writer.ask(line).starts_with("ERR"), "{line}");
        // A save of the primary is a revision, and none of a replica is.
        for server in servers {
            assert_eq!(server.client().ask("SAVE"), "OK");
        }
    }
    let shown: Vec<Vec<String>> = clients
        .iter_mut()
        .map(|client| (0..7).map(|_| client.reply()).collect())
        .collect();
    assert_eq!(shown[1], shown[0]);
    assert_eq!(shown[2], shown[0]);
    for server in servers {
        wait_until("all changes and saves of the primary are there", || {
            revision(server) == from + 12
        });
    }
}

/// Changes a server until told to stop, and counts the changes.
fn load(addr: SocketAddr, stop: &AtomicBool, made: &AtomicU64) {
    let mut client = TestClient::connect(addr);
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let key = fastrand::u32(..500);
        let lines: Vec<String> = (0..20)
            .map(|more| match (n + more) % 7 {
                0 => format!("DEL k:{key}"),
                1 => "INCR counter".to_owned(),
                2 => format!("SET t:{key} {n} PX 20"),
                _ => format!("PUT k:{} {n}", u64::from(key) + more),
            })
            .collect();
        let replies = ask_all(&mut client, &lines);
        assert!(
            replies.iter().all(|reply| !reply.starts_with("ERR")),
            "{replies:?}"
        );
        n += 20;
        made.store(n, Ordering::Relaxed);
    }
}

/// Runs this while a server is changed.
fn under_load<T>(primary: &TestServer, work: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let made = Arc::new(AtomicU64::new(0));
    let (addr, to_stop, count) = (primary.addr(), Arc::clone(&stop), Arc::clone(&made));
    let loading = std::thread::spawn(move || load(addr, &to_stop, &count));
    wait_until("there is load", || made.load(Ordering::Relaxed) > 100);
    let done = work();
    stop.store(true, Ordering::Relaxed);
    loading.join().expect("the load ends");
    done
}

#[test]
fn a_replica_that_is_killed_under_load_comes_back_and_is_equal_in_the_end() {
    let primary = TestServer::start();
    fill(&primary, "k", 500);
    let mut stopped = Some(replica_folder(primary.addr()));
    let replica = under_load(&primary, || {
        for _ in 0..20 {
            let folder = stopped.take().expect("it was put there");
            folder.start_killed_after(Duration::from_millis(fastrand::u64(0..400)));
            let replica = folder.restart();
            if fastrand::bool() {
                assert_eq!(primary.client().ask("SAVE"), "OK");
            }
            std::thread::sleep(Duration::from_millis(fastrand::u64(0..100)));
            stopped = Some(replica.kill());
        }
        stopped.take().expect("it was put there").restart()
    });
    wait_until_level(&replica, &primary);
    // Those that expired meanwhile are gone on both.
    wait_until("the last have expired", || is_equal(&replica, &primary));
    let replica = replica.kill().restart();
    wait_until_level(&replica, &primary);
}

#[test]
fn a_replica_that_is_killed_while_it_copies_comes_back_and_is_equal_in_the_end() {
    let primary = TestServer::start();
    fill_quickly(&primary, "k", 200_000);
    let stopped = replica_folder(primary.addr());
    let started = std::time::Instant::now();
    let replica = stopped.restart();
    wait_until("all is copied", || {
        replica.client().ask("COUNT") == "COUNT 200000"
    });
    let whole = started.elapsed();
    wait_until_level(&replica, &primary);
    let mut folder = replica_folder(primary.addr());
    for n in 1..=12_u32 {
        folder.start_killed_after(whole * n / 12);
        // Once it has copied, it begins anew.
        if n % 3 == 0 {
            folder = replica_folder(primary.addr());
        }
        folder.start_killed_after(whole * fastrand::u32(1..12) / 12);
    }
    let replica = folder.restart();
    wait_until("all is copied", || {
        replica.client().ask("COUNT") == "COUNT 200001"
    });
    wait_until_level(&replica, &primary);
    assert!(
        !replica.data().join("replica.copy").exists(),
        "the copy is left"
    );
}

/// The second copy of a replica has an older journal beside it at each of its steps.
#[test]
fn a_replica_that_is_killed_at_any_step_of_a_second_copy_is_equal_in_the_end() {
    if is_skipped("strace") {
        return;
    }
    for inject in [
        ("fdatasync,fsync", 1),
        ("fdatasync,fsync", 2),
        ("fdatasync,fsync", 3),
        ("fdatasync,fsync", 4),
        ("fdatasync,fsync", 5),
        ("rename,renameat,renameat2", 1),
        ("rename,renameat,renameat2", 2),
        ("unlink,unlinkat", 1),
        ("unlink,unlinkat", 2),
        ("unlink,unlinkat", 3),
        ("unlink,unlinkat", 4),
    ] {
        let (calls, when) = inject;
        let primary = TestServer::start();
        fill(&primary, "k", 50);
        let replica = replica_of(&primary);
        wait_until_level(&replica, &primary);
        fill(&primary, "old", 20);
        wait_until_level(&replica, &primary);
        let stopped = replica.kill();
        assert_eq!(primary.client().ask("DEL old:1 old:2 old:3"), "COUNT 3");
        fill(&primary, "new", 20);
        save_too_often(&primary);
        let killed = stopped.with_fault(&format!("{calls}:signal=KILL:when={when}"));
        let killed = match killed.try_restart() {
            Ok(server) => {
                let stat = format!("/proc/{}/stat", server.pid());
                wait_until("it is killed, or has copied all", || {
                    let stat = std::fs::read_to_string(&stat);
                    let client = TestClient::try_connect(server.addr());
                    let reply = client.and_then(|mut client| client.try_ask("EXISTS new:1"));
                    stat.is_ok_and(|stat| stat.contains(") Z "))
                        || reply.is_some_and(|reply| reply == "COUNT 1")
                });
                server.kill()
            }
            Err(stopped) => *stopped,
        };
        let replica = killed.with_fault("").restart();
        wait_until_level(&replica, &primary);
        let replica = replica.kill().restart();
        wait_until_level(&replica, &primary);
    }
}

#[test]
fn twenty_replicas_are_all_equal_in_the_end() {
    let primary = TestServer::start();
    fill(&primary, "k", 1_000);
    let replicas = under_load(&primary, || {
        let replicas: Vec<TestServer> = (0..20).map(|_| replica_of(&primary)).collect();
        for replica in &replicas {
            wait_until("it has copied all", || {
                !pairs(replica)[0].starts_with("ERR")
            });
        }
        replicas
    });
    assert_eq!(primary.client().ask("PUT done 1"), "OK");
    assert_eq!(primary.client().ask("WAIT 20 30000"), "COUNT 20");
    for replica in &replicas {
        wait_until_level(replica, &primary);
    }
}

#[test]
fn a_replica_follows_over_tls_with_a_user_and_a_password() {
    let authority = Authority::new();
    let identity = authority.issue("server").flags();
    let mut flags = vec!["--listen", "tls://127.0.0.1:0"];
    flags.extend(identity.iter().map(String::as_str));
    let stopped = Stopped::new(&flags);
    stopped.write(
        "users.json",
        r#"{"users": {"copier": {"rules": "on >secret ~* +@all"}, "default": {"rules": "on nopass ~* &* +@all"}}}"#,
    );
    let primary = stopped.restart();
    let addr = primary.addr_of("tls://");
    let mut client = TlsClient::connect(addr, &authority);
    assert_eq!(client.ask("PUT a 1"), "OK");
    let ca = authority.file().display().to_string();
    let replica_with = |password: &str| {
        let url = format!("pykvs://copier:{password}@localhost:{}", addr.port());
        let folder = Stopped::new(&["--replica-of", &url]);
        folder.with_env("SSL_CERT_FILE", &ca).restart()
    };
    let replica = replica_with("secret");
    wait_until("it has the pair", || {
        replica.client().ask("GET a") == "VALUE \"1\""
    });
    assert_eq!(client.ask("PUT a 2"), "OK");
    wait_until("it has the change", || {
        replica.client().ask("GET a") == "VALUE \"2\""
    });
    let refused = replica_with("wrong");
    wait_until("it tells why it does not follow", || {
        refused
            .log()
            .contains("NOAUTH invalid username-password pair")
    });
}

#[test]
fn a_replica_that_lags_by_more_than_the_limit_is_not_healthy() {
    let primary = TestServer::start();
    let replica = Stopped::new(&["--replica-of", &url(primary.addr()), "--max-lag", "1"]).restart();
    wait_until_level(&replica, &primary);
    let status = || Http::connect(&replica).ask("GET /health").status;
    assert_eq!(status(), 200);
    primary.send_signal("STOP");
    wait_until("the lag is over the limit", || status() == 503);
    let answer = Http::connect(&replica).ask("GET /health");
    let text = answer.text();
    assert!(text.contains("and --max-lag is 1 s"), "{text}");
    primary.send_signal("CONT");
    wait_until("it is level again", || status() == 200);
}
