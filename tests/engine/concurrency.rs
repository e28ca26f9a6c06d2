//! Many clients, one truth: what one connection does while others do the same, list, save and clear.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::server::TestServer;

#[test]
fn eight_writers_of_their_own_keys_lose_nothing_while_the_server_saves() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let mut client = server.client();
            scope.spawn(move || {
                for n in 0..2_000 {
                    assert_eq!(client.ask(&format!("PUT {writer}:{} {n}", n % 500)), "OK");
                }
            });
        }
        let mut client = server.client();
        for _ in 0..10 {
            assert_eq!(client.ask("SAVE"), "OK");
        }
    });
    let server = server.kill().restart();
    let mut client = server.client();
    assert_eq!(client.ask("COUNT"), "COUNT 4000");
    for writer in 0..8 {
        for key in 0..500 {
            assert_eq!(
                client.ask(&format!("GET {writer}:{key}")),
                format!("VALUE \"{}\"", 1_500 + key)
            );
        }
    }
}

#[test]
fn two_racing_puts_of_one_key_are_replayed_in_the_order_of_memory() {
    let mut server = TestServer::start();
    for round in 0..5 {
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let mut client = server.client();
                scope.spawn(move || {
                    let lines: String = (0..500)
                        .map(|n| format!("PUT k{} {round}-{writer}-{n}\n", n % 10))
                        .collect();
                    client.send_bytes(lines.as_bytes());
                    for _ in 0..500 {
                        assert_eq!(client.reply(), "OK");
                    }
                });
            }
        });
        let pairs = |server: &TestServer| {
            let mut rows = server.client().ask_rows("ALL");
            rows.sort_unstable();
            rows
        };
        let before = pairs(&server);
        server = server.kill().restart();
        assert_eq!(pairs(&server), before, "round {round}");
    }
}

#[test]
fn a_listing_shows_every_key_that_stays_exactly_once_while_others_come_and_go() {
    let server = TestServer::start();
    let mut client = server.client();
    let lines: String = (0..20_000).map(|n| format!("PUT stays:{n} v\n")).collect();
    let mut sender = client.sender();
    let writer = std::thread::spawn(move || sender.write_all(lines.as_bytes()));
    for _ in 0..20_000 {
        assert_eq!(client.reply(), "OK");
    }
    writer
        .join()
        .expect("the writer ends")
        .expect("the server reads");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (mut client, over) = (server.client(), &over);
            scope.spawn(move || {
                // Enough new keys to make the shards grow while they are walked.
                for n in 0.. {
                    client.ask(&format!("PUT comes:{writer}:{n} v"));
                    if n % 3 == 0 {
                        client.ask(&format!("DEL comes:{writer}:{}", n / 2));
                    }
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for _ in 0..10 {
            let rows = client.ask_rows("KEYS");
            let mut stays: Vec<&String> = rows
                .iter()
                .filter(|row| row.starts_with("KEY \"stays:"))
                .collect();
            assert_eq!(stays.len(), 20_000);
            stays.sort_unstable();
            stays.dedup();
            assert_eq!(stays.len(), 20_000);
            assert_eq!(client.ask("COUNT stays:"), "COUNT 20000");
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_clear_among_puts_leaves_in_memory_what_a_restart_gives_back() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                for n in 0..500 {
                    client.ask(&format!("PUT {writer}:{n} v"));
                    if n % 100 == 50 + writer {
                        assert_eq!(client.ask("CLEAR"), "OK");
                    }
                }
            });
        }
    });
    let keys = |server: &TestServer| {
        let mut rows = server.client().ask_rows("KEYS");
        rows.sort_unstable();
        rows
    };
    let before = keys(&server);
    assert_eq!(
        server.client().ask("COUNT"),
        format!("COUNT {}", before.len() - 1)
    );
    assert_eq!(keys(&server.kill().restart()), before);
}

#[test]
fn a_save_that_is_asked_for_while_another_runs_holds_what_was_put_before_it() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for saver in 0..4 {
            let (mut client, server) = (server.client(), &server);
            scope.spawn(move || {
                for n in 0..5 {
                    assert_eq!(client.ask(&format!("PUT {saver}:{n} v")), "OK");
                    assert_eq!(client.ask("SAVE"), "OK");
                    let saved = std::fs::read_to_string(server.data().join("store.json"))
                        .expect("store.json");
                    assert!(
                        saved.contains(&format!("\"{saver}:{n}\"")),
                        "{saver}:{n} is not in store.json"
                    );
                }
            });
        }
    });
}
