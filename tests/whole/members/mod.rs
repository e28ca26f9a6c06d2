//! Members of a cluster whose log etcd keeps: who leads, what is kept when it fails, and what the others answer.
//!
//! In: a real etcd, and two or three servers. Out: their replies, their folders, and what was acknowledged while one was killed or stopped.

mod etcd;
mod load;
mod reached;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::support::http::Http;
use crate::support::server::{Stopped, TestClient, TestServer, wait_until};
use etcd::Etcd;
use load::{acknowledge, leader, write_during};

/// The server, with what it needs to be a member.
fn member(etcd: &Etcd, flags: &[&str]) -> Stopped {
    member_at(&etcd.url(), flags)
}

/// The same with the URL of etcd.
fn member_at(url: &str, flags: &[&str]) -> Stopped {
    let common = [
        "--durability",
        "replicated",
        "--etcd",
        url,
        "--cluster",
        "shop",
    ];
    Stopped::new(&[&common, flags].concat())
}

/// Starts so many members, of which the first one leads.
fn members(etcd: &Etcd, count: usize) -> Vec<TestServer> {
    let first = member(etcd, &[]).restart();
    wait_until("one leads", || leads(&first));
    let mut all = vec![first];
    for _ in 1..count {
        all.push(member(etcd, &[]).restart());
    }
    all
}

fn leads(server: &TestServer) -> bool {
    server.client().ask("GET any") == "NOT_FOUND"
}

fn addresses(servers: &[TestServer]) -> Vec<SocketAddr> {
    servers.iter().map(TestServer::addr).collect()
}

/// Waits until a member has the newest change of the leader.
fn wait_until_level(follower: &TestServer, leader: &TestServer) {
    let expected = revision(&mut leader.client());
    wait_until("it has the newest change", || {
        revision(&mut follower.client()) == expected
    });
}

/// The newest revision of a server; nothing while it replaces all of its pairs.
fn revision(client: &mut TestClient) -> Option<String> {
    let rows = client.ask_rows("STATS");
    rows.into_iter()
        .find(|row| row.starts_with("STAT revision "))
}

#[test]
fn a_member_that_does_not_lead_names_the_one_that_does() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let servers = members(&etcd, 2);
    let [leading, following] = &*servers else {
        unreachable!("there are two");
    };
    let address = leading.addr();
    assert_eq!(leading.client().ask("PUT name Ada"), "OK");
    let refusal = format!("ERR NOT_LEADER {address} leads; ask it");
    wait_until("the leader is known", || {
        following.client().ask("GET name") == refusal
    });
    let mut client = following.client();
    for line in ["PUT name Bob", "ALL", "DEL name", "INCR n"] {
        assert_eq!(client.ask(line), refusal, "{line}");
    }
    client.send_bytes(b"*2\r\n$3\r\nGET\r\n$4\r\nname\r\n");
    let refusal = format!("-NOT_LEADER {address} leads; ask it");
    assert_eq!(client.reply().trim_end(), refusal);

    let mut http = Http::connect(following);
    let moved = http.ask("GET /api/v1/keys/name");
    let url = format!("http://{}/api/v1/keys/name", leading.http_addr());
    assert_eq!((moved.status, moved.header("location")), (307, Some(&*url)));
    assert_eq!(moved.json()["type"], "urn:pykv:not-leader");
    assert_eq!(http.ask("GET /health/ready").status, 503);
    assert_eq!(http.ask("GET /health").status, 200);
    assert_eq!(Http::connect(leading).ask("GET /health/ready").status, 200);

    wait_until("all members are listed", || {
        following.client().ask_rows("MEMBERS").len() == 4
    });
    wait_until_level(following, leading);
    // Revisions are the same, so that a feed goes on at another member.
    let mut feed = following.client();
    assert_eq!(feed.ask("FOLLOW \"\" FROM 0"), "FOLLOWING \"\" 0");
    assert!(feed.reply().ends_with("\"name\" \"Ada\""));
}

#[test]
fn the_client_asks_the_member_that_leads() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let servers = members(&etcd, 2);
    // The one that does not lead stands first.
    let url = format!("pykv://{},{}", servers[1].addr(), servers[0].addr());
    let client = |words: &[&str]| {
        let program = env!("CARGO_BIN_EXE_pykv-cli");
        let ran = Command::new(program)
            .args(["-u", &url])
            .args(words)
            .output();
        let ran = ran.expect("the client runs");
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    };
    assert_eq!(client(&["PUT", "name", "Ada"]), "OK\n");
    assert_eq!(client(&["GET", "name"]), "Ada\n");
    wait_until("both are listed", || {
        client(&["cluster"]).lines().count() == 4
    });
    let shown = client(&["cluster"]);
    let leader = servers[0].addr();
    assert!(
        shown.starts_with(&format!("cluster shop: {leader} leads; lease 2 s")),
        "{shown}"
    );
    let row = shown
        .lines()
        .find(|line| line.starts_with(&leader.to_string()));
    assert!(row.is_some_and(|row| row.contains(" leading ")), "{shown}");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_leader_is_killed_or_stopped() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let mut servers = members(&etcd, 3);
    let all = addresses(&servers);
    for (signal, bytes) in [
        ("KILL", 64),
        ("STOP", 64),
        ("KILL", 32 << 10),
        ("STOP", 32 << 10),
    ] {
        let place = servers.iter().position(leads).expect("one leads");
        let hurt = servers.remove(place);
        let outcome = write_during(&all, bytes, || hurt.send_signal(signal));
        let lost = outcome.lost(&all);
        assert!(lost.is_empty(), "{signal}: {lost:?}");
        let back = if signal == "STOP" {
            hurt.send_signal("CONT");
            wait_until("it follows", || {
                hurt.client()
                    .ask("GET any")
                    .starts_with("ERR NOT_LEADER 127")
            });
            hurt
        } else {
            let address = hurt.addr();
            hurt.kill().on(address).restart()
        };
        let lost = outcome.lost(&all);
        assert!(lost.is_empty(), "{signal}, and back: {lost:?}");
        let (count, unknown, gap) = (outcome.acknowledged, outcome.unknown, outcome.longest_gap);
        println!(
            "{signal}, {bytes} bytes: {count} acknowledged, {unknown} unknown, {gap:?} without"
        );
        servers.push(back);
    }
    assert_same_files(&servers);
}

/// Saves on each, and compares the files.
fn assert_same_files(servers: &[TestServer]) {
    let place = servers.iter().position(leads).expect("one leads");
    for server in servers {
        wait_until_level(server, &servers[place]);
        assert_eq!(server.client().ask("SAVE"), "OK");
    }
    let mut files = servers
        .iter()
        .map(|server| std::fs::read(server.data().join("store.json")).expect("a file"));
    let first = files.next().expect("there is one");
    assert!(files.all(|file| file == first));
}

#[test]
fn a_leader_without_its_fence_is_found_out() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let unfenced = || {
        member(&etcd, &[])
            .with_env("PYKV_BREAK", "no-fence")
            .restart()
    };
    let servers = [unfenced(), unfenced()];
    let all = addresses(&servers);
    drop(leader(&all));
    let place = servers.iter().position(leads).expect("one leads");
    let (old, new) = (&servers[place], &servers[1 - place]);
    assert_eq!(old.client().ask("PUT name 1"), "OK");
    let mut client = old.client();
    old.send_signal("STOP");
    wait_until("the other leads", || new.client().ask("PUT name 2") == "OK");
    client.send("GET name");
    old.send_signal("CONT");
    // What the one with the fence never does: it shows what another has replaced.
    assert_eq!(client.reply(), "VALUE \"1\"");
}

#[test]
fn a_leader_steps_down_without_a_change_in_doubt() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let servers = members(&etcd, 2);
    let all = addresses(&servers);
    let outcome = write_during(&all, 64, || {
        assert_eq!(servers[0].client().ask("STEPDOWN"), "OK");
    });
    assert!(outcome.lost(&all).is_empty());
    assert_eq!(outcome.unknown, 0);
    assert!(
        outcome.longest_gap < Duration::from_secs(2),
        "{:?}\n{}\n{}",
        outcome.longest_gap,
        servers[0].log(),
        servers[1].log()
    );
    assert!(leads(&servers[1]));
    let mut client = servers[0].client();
    let refusal = format!("ERR NOT_LEADER {} leads; ask it", servers[1].addr());
    assert_eq!(client.ask("STEPDOWN"), refusal);
}

#[test]
fn a_new_member_copies_what_the_log_has_no_more() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let mut servers = members(&etcd, 2);
    let all = addresses(&servers);
    // More than the log keeps, and a value of several entries.
    let outcome = write_during(&all, 32 << 10, || {
        let long = "y".repeat(5 << 20);
        for number in 0..4 {
            acknowledge(&all, &format!("PUT long:{number} {long}"));
        }
    });
    assert!(outcome.lost(&all).is_empty());
    servers.push(member(&etcd, &[]).restart());
    let new = servers.last().expect("it is there");
    wait_until("it follows", || {
        let said = new.client().ask_rows("STATS");
        said.contains(&"STAT member_state \"following\"".to_owned())
    });
    assert_same_files(&servers);
    let length = leader(&all).ask("STRLEN long:3");
    assert_eq!(length, format!("COUNT {}", 5 << 20));
}

#[test]
fn a_member_that_was_away_goes_on_where_it_was() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let mut servers = members(&etcd, 2);
    let away = servers.pop().expect("there are two");
    let address = away.addr();
    let away = away.kill();
    let all = addresses(&servers);
    let outcome = write_during(&all, 32 << 10, || {});
    let back = away.on(address).restart();
    wait_until_level(&back, &servers[0]);
    assert!(!back.log().contains("copying all pairs"), "{}", back.log());
    servers.push(back);
    assert_same_files(&servers);
    // And leads, with all of it.
    servers.remove(0).kill();
    assert!(outcome.lost(&addresses(&servers)).is_empty());
}

#[test]
fn without_etcd_reads_go_on_for_a_lease_and_changes_are_in_doubt() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let servers = members(&etcd, 1);
    let mut client = servers[0].client();
    assert_eq!(client.ask("PUT name Ada"), "OK");
    etcd.send_signal("STOP");
    assert_eq!(client.ask("GET name"), "VALUE \"Ada\"");
    let mut changing = servers[0].client();
    changing.send("PUT name Bob");
    wait_until("the lease is over", || {
        client.ask("GET any").starts_with("ERR NOT_LEADER ")
    });
    assert!(client.ask("PUT any 1").starts_with("ERR NOT_LEADER "));
    assert!(changing.reply().starts_with("ERR IN_DOUBT "));
    etcd.send_signal("CONT");
    wait_until("it leads again", || {
        client.ask("GET name").starts_with("VALUE ")
    });
    assert_eq!(client.ask("PUT name Eve"), "OK");
    assert_eq!(client.ask("GET name"), "VALUE \"Eve\"");
}

#[test]
fn one_server_becomes_several_and_one_again() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let alone = TestServer::start();
    assert_eq!(alone.client().ask("PUT name Ada"), "OK");
    let url = etcd.url();
    let flags = [
        "--durability",
        "replicated",
        "--etcd",
        &*url,
        "--cluster",
        "shop",
    ];
    let first = alone.stop().with_flags(&flags).restart();
    wait_until("it leads", || leads(&first));
    let second = member(&etcd, &[]).restart();
    assert_eq!(first.client().ask("PUT other Bob"), "OK");
    wait_until_level(&second, &first);
    // Another one with data of its own is not let in.
    let foreign = TestServer::start();
    assert_eq!(foreign.client().ask("PUT mine 1"), "OK");
    let said = foreign.stop().with_flags(&flags).start_fails();
    assert!(
        said.contains("has data that is not of cluster shop"),
        "{said}"
    );

    first.kill();
    let mut client = leader(&[second.addr()]);
    assert_eq!(client.ask("GET name"), "VALUE \"Ada\"");
    let alone = second
        .stop()
        .with_flags(&["--durability", "everysec"])
        .restart();
    let mut rows = alone.client().ask_rows("ALL");
    rows.sort_unstable();
    assert_eq!(
        rows,
        ["END 2", "ITEM \"name\" \"Ada\"", "ITEM \"other\" \"Bob\""]
    );
}

#[test]
fn reads_of_others_and_reads_that_ask_etcd() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let first = member(&etcd, &["--linearizable-reads"]).restart();
    wait_until("one leads", || leads(&first));
    assert_eq!(first.client().ask("PUT name Ada"), "OK");
    assert_eq!(first.client().ask("GET name"), "VALUE \"Ada\"");
    let second = member(&etcd, &["--stale-reads"]).restart();
    wait_until("it has the change", || {
        second.client().ask("GET name") == "VALUE \"Ada\""
    });
    assert!(
        second
            .client()
            .ask("PUT name Bob")
            .starts_with("ERR NOT_LEADER 127")
    );
    etcd.send_signal("STOP");
    assert!(first.client().ask("GET name").starts_with("ERR "));
    assert_eq!(second.client().ask("GET name"), "VALUE \"Ada\"");
    etcd.send_signal("CONT");
}

#[test]
fn members_sign_in_to_each_other_where_clients_need_a_password() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let with_password = || {
        member(&etcd, &[])
            .with_env("PYKV_PASSWORD", "a long password")
            .restart()
    };
    let first = with_password();
    let mut client = first.client();
    assert_eq!(client.ask("AUTH \"a long password\""), "OK");
    wait_until("one leads", || client.ask("PUT name Ada") == "OK");
    assert_eq!(client.ask("SAVE"), "OK");
    let long = "y".repeat(5 << 20);
    for _ in 0..4 {
        assert_eq!(client.ask(&format!("PUT long {long}")), "OK");
    }
    let second = with_password();
    let mut other = second.client();
    assert_eq!(other.ask("AUTH \"a long password\""), "OK");
    let expected = revision(&mut client);
    wait_until("it has the newest change", || {
        revision(&mut other) == expected
    });
    assert!(
        first
            .client()
            .ask("AUTH pykv-member wrong")
            .starts_with("ERR NOAUTH")
    );
}
