//! The client's live tools: rows of figures, changes as they are made, and a server on one screen.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::support::client::{Prompt, client, nobody, run};
use crate::support::server::{TestServer, is_skipped, wait_until};

#[test]
fn stat_and_latency_tell_as_many_rows_as_were_asked_for() {
    let server = TestServer::start();
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let ended = run(server.addr(), &["-i", "0.1", "stat", "-n", "3"]);
    assert_eq!((ended.status, ended.err.as_str()), (0, ""));
    let rows: Vec<Vec<&str>> = ended
        .out
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0][..3], ["keys", "memory", "clients"]);
    assert_eq!(rows[1][0], "1");
    let ended = run(server.addr(), &["-i", "0.1", "latency", "-n", "2"]);
    let rows: Vec<Vec<&str>> = ended
        .out
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!((ended.status, rows.len()), (0, 3), "{ended:?}");
    for row in &rows[1..] {
        let numbers: Vec<f64> = row
            .iter()
            .map(|cell| cell.parse().expect("a number"))
            .collect();
        assert!(numbers[0] >= 1.0 && numbers[1..].is_sorted(), "{row:?}");
    }
    for tool in ["stat", "latency", "watch", "monitor"] {
        assert_eq!(run(nobody(), &[tool]).status, 2, "{tool}");
    }
}

#[test]
fn watch_tells_each_change_of_a_prefix_until_it_is_interrupted() {
    let server = TestServer::start();
    let mut watching = client(server.addr())
        .args(["watch", "user:"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
    wait_until("it follows", || server.stat("command_follow") == 1);
    let mut line = server.client();
    for request in ["PUT user:1 Ada", "PUT other x", "DEL user:1", "CLEAR"] {
        assert!(!line.ask(request).starts_with("ERR"), "{request}");
    }
    for expected in [
        r#","PUT","user:1","Ada"]"#,
        r#","DEL","user:1"]"#,
        r#","CLEAR"]"#,
    ] {
        let told = lines.next().expect("a change").expect("text");
        assert!(told.ends_with(expected), "{told}");
    }
    let pid = watching.id().to_string();
    let killed = Command::new("kill").args(["-INT", &pid]).status();
    assert!(killed.expect("kill runs").success());
    assert!(watching.wait().expect("it ends").success());
}

#[test]
fn top_shows_a_server_on_one_screen_of_any_size_and_finds_it_again() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let addr = server.addr();
    let mut line = server.client();
    for number in 0..7 {
        assert_eq!(line.ask(&format!("PUT user:{number} x")), "OK");
    }
    let state = TempDir::new().expect("a folder for a test");
    let arguments = "-i 0.2 top";
    let mut top = Prompt::open_with(addr, state.path(), arguments, &[("NO_COLOR", "1")]);
    for expected in [
        "7 keys",
        "requests/s",
        "PING p50 p99 ms",
        "busiest commands",
        "PUT",
        "durability     everysec",
        "clients ",
    ] {
        top.type_and_see("", expected);
    }
    // Typed: a filter of commands, which leaves one.
    top.type_and_see("/", "Enter keeps it");
    top.type_and_see("stat\r", "busiest commands /stat");
    top.type_and_see("", "STATS");
    // The next table; the order of its rows.
    top.type_and_see("\t", "busiest keys, sampled /stat");
    top.type_and_see("s", "sort by number");
    top.type_and_see("k", "busiest keys: off, k looks");
    top.type_and_see("p", "paused");
    top.type_and_see("p", "7 keys");
    // Another size.
    resize(&top, &state, 40, 132);
    let screen = Arc::clone(&top.screen);
    wait_until("the screen is filled", || {
        let screen = screen.lock().expect("no panic before");
        let lines: Vec<String> = screen.screen().rows(0, 132).collect();
        lines.get(1).is_some_and(|line| line.chars().count() == 132)
            && lines[39].contains("q leave")
    });
    // The server goes, and comes again.
    let stopped = server.kill();
    top.type_and_see("", "not connected; trying again");
    let server = stopped.on(addr).restart();
    top.type_and_see("", "7 keys");
    top.type_until("q", "");
    assert!(top.child.wait().expect("script ends").success());
    drop(server);
    // Elsewhere than on a terminal it says what to use instead.
    let ended = run(addr, &["top"]);
    assert_eq!(ended.status, 2);
    assert!(
        ended.err.contains("stat tells the same row by row"),
        "{ended:?}"
    );
}

/// Changes the size of the window, as somebody who draws at its corner.
fn resize(top: &Prompt, state: &TempDir, rows: u16, columns: u16) {
    let tty = fs::read_to_string(state.path().join("tty")).expect("the name of the terminal");
    let mut screen = top.screen.lock().expect("no panic before");
    screen.screen_mut().set_size(rows, columns);
    drop(screen);
    let [rows, columns] = [rows, columns].map(|count| count.to_string());
    let resized = Command::new("stty")
        .args(["-F", tty.trim(), "rows", &rows, "columns", &columns])
        .status();
    assert!(resized.expect("stty runs").success());
}

#[test]
fn top_fits_every_window_or_says_what_size_it_needs() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let long = "k".repeat(300);
    assert_eq!(server.client().ask(&format!("PUT {long} 1")), "OK");
    let state = TempDir::new().expect("a folder for a test");
    let environment = [("NO_COLOR", "1")];
    let mut top = Prompt::open_with(server.addr(), state.path(), "-i 0.2 top", &environment);
    top.type_and_see("", "1 keys");
    let of_all = [
        "requests/s",
        "PING p50 p99 ms",
        "memory",
        "hits",
        "busiest commands",
        "busiest keys, sampled",
        "clients ",
        "age s",
        "persistence",
        "durability     everysec",
        "? keys",
    ];
    let of_one = [
        "requests/s",
        "PING p99 ms",
        "memory",
        "hits",
        "busiest commands",
        "total│",
        "persistence",
        "durability     everysec",
        "? keys",
    ];
    let see_all = |top: &mut Prompt, rows: u16, columns: u16, shown: &[&str]| {
        resize(top, &state, rows, columns);
        for text in shown {
            top.type_and_see("", text);
        }
    };
    see_all(&mut top, 24, 80, &of_all);
    see_all(&mut top, 24, 40, &of_one);
    top.type_and_see("\t", "about/s│");
    top.type_and_see("\t", "age s│");
    top.type_and_see("?", "Shift-Tab, left previous table");
    top.type_and_see("?", "age s│");
    top.type_and_see("\t", "total│");
    see_all(&mut top, 20, 40, &of_one);
    for (rows, columns) in [(19, 80), (24, 39), (5, 20)] {
        resize(&top, &state, rows, columns);
        wait_until("it says what it needs", || {
            let screen = top.screen.lock().expect("no panic before");
            let text = screen.screen().contents().replace('\n', " ");
            text.contains(&format!("has {columns} columns and {rows} rows"))
                && text.contains("top needs 40 columns and 20 rows")
        });
    }
    see_all(&mut top, 21, 200, &of_one);
    see_all(&mut top, 30, 120, &of_all);
    see_all(&mut top, 50, 200, &of_all);
    top.type_until("q", "");
    assert!(top.child.wait().expect("script ends").success());
}

#[test]
fn top_can_be_left_while_the_server_is_silent() {
    if is_skipped("script") {
        return;
    }
    let server = TestServer::start();
    let state = TempDir::new().expect("a folder for a test");
    let environment = [("NO_COLOR", "1")];
    let mut top = Prompt::open_with(server.addr(), state.path(), "-i 0.2 top", &environment);
    top.type_and_see("", "busiest commands");
    server.send_signal("STOP");
    top.type_and_see("", "not connected; trying again");
    top.type_until("q", "");
    assert!(top.child.wait().expect("script ends").success());
}
