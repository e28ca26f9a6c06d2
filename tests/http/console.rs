//! `GET /api/v1/console`: the line protocol over a WebSocket.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket, client};

use crate::support::http::Http;
use crate::support::server::{TestServer, wait_until};

type Console = WebSocket<TcpStream>;

fn open(server: &TestServer, origin: &str) -> Result<Console, String> {
    let stream = TcpStream::connect(server.http_addr()).expect("the server accepts");
    let patience = Some(Duration::from_secs(60));
    stream.set_read_timeout(patience).expect("a timeout");
    let url = format!("ws://{}/api/v1/console", server.http_addr());
    let mut request = url.into_client_request().expect("a request");
    let origin = origin.parse().expect("a header");
    request.headers_mut().insert("Origin", origin);
    match client(request, stream) {
        Ok((console, _)) => Ok(console),
        Err(error) => Err(error.to_string()),
    }
}

fn own(server: &TestServer) -> Console {
    let origin = format!("http://{}", server.http_addr());
    open(server, &origin).expect("a page of the server's own")
}

fn send(console: &mut Console, lines: &str) {
    console.send(Message::text(lines)).expect("it is open");
}

/// What comes next, up to so many lines.
fn lines(console: &mut Console, count: usize) -> Vec<String> {
    let mut text = Vec::new();
    while text.split(|byte| *byte == b'\n').count() <= count {
        match console.read().expect("an answer") {
            Message::Binary(bytes) => text.extend_from_slice(&bytes),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let text = String::from_utf8(text).expect("the protocol is text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_console_is_a_client_of_the_text_port() {
    let server = TestServer::start();
    let mut console = own(&server);
    send(&mut console, "PUT name Ada\nGET name\n");
    assert_eq!(lines(&mut console, 2), ["OK", "VALUE \"Ada\""]);
    send(&mut console, "MULTI\n");
    send(&mut console, "PUT a 1\n");
    assert_eq!(lines(&mut console, 2), ["OK", "QUEUED"]);
    send(&mut console, "DISCARD\n");
    assert_eq!(lines(&mut console, 1), ["OK"]);
    // What comes by itself comes here, too.
    send(&mut console, "FOLLOW name\n");
    assert!(lines(&mut console, 1)[0].starts_with("FOLLOWING "));
    assert_eq!(server.client().ask("PUT name Grace"), "OK");
    let change = lines(&mut console, 1);
    assert!(change[0].contains("Grace"), "{change:?}");
    let clients = server.client().ask("CLIENT LIST");
    assert!(clients.contains("127.0.0.1"), "{clients}");
}

#[test]
fn a_long_answer_comes_whole_and_a_line_of_a_mebibyte_goes_in_and_none_that_is_longer() {
    let server = TestServer::start();
    let mut console = own(&server);
    let opening = "PUT long ";
    let long = "v".repeat((1 << 20) - opening.len() - "\n".len());
    send(&mut console, &format!("{opening}{long}\n"));
    assert_eq!(lines(&mut console, 1), ["OK"]);
    send(&mut console, &"GET long\n".repeat(20));
    for line in lines(&mut console, 20) {
        assert_eq!(line.len(), long.len() + "VALUE \"\"".len());
    }
    let sent = console.send(Message::text(format!("{opening}w{long}\n")));
    assert!(sent.is_err() || console.read().is_err(), "it is taken");
    assert_eq!(
        server.client().ask("STRLEN long"),
        format!("COUNT {}", long.len())
    );
}

#[test]
fn quit_and_a_stop_end_it_and_who_goes_is_no_client_any_more() {
    let server = TestServer::start();
    let mut console = own(&server);
    send(&mut console, "QUIT\n");
    assert_eq!(lines(&mut console, 1), ["OK"]);
    assert!(matches!(console.read(), Ok(Message::Close(_))));
    let console = own(&server);
    let mut client = server.client();
    let connections = |client: &mut crate::support::server::TestClient| {
        let rows = client.ask_rows("STATS");
        rows.iter().any(|row| row == "STAT connections 1")
    };
    drop(console);
    wait_until("it has gone", || connections(&mut client));
    let mut console = own(&server);
    send(&mut console, "PING\n");
    assert_eq!(lines(&mut console, 1), ["PONG"]);
    server.stop();
    while console.read().is_ok() {}
}

#[test]
fn the_list_of_commands_says_what_each_destroys_and_which_receive() {
    let server = TestServer::start();
    let list = Http::connect(&server).ask("GET /api/v1/commands").json();
    let list = list.as_array().expect("a list");
    let named = |is_wanted: &dyn Fn(&Value) -> bool| -> Vec<&str> {
        let found = list.iter().filter(|row| is_wanted(row));
        found.filter_map(|row| row["name"].as_str()).collect()
    };
    for (what, names) in [
        ("all", &["CLEAR", "FLUSHDB", "FLUSHALL"][..]),
        ("prefix", &["DELPREFIX"]),
        ("keys", &["DEL", "UNLINK"]),
        ("server", &["SHUTDOWN"]),
    ] {
        assert_eq!(named(&|row| row["destroys"] == what), names, "{what}");
    }
    assert_eq!(named(&|row| !row["destroys"].is_null()).len(), 7);
    for (name, subcommand) in [("ACL", "DELUSER"), ("CLIENT", "KILL"), ("TOKEN", "DEL")] {
        let is_row = |row: &Value| {
            row["name"] == name && row["destructive_subcommands"] == serde_json::json!([subcommand])
        };
        assert_eq!(named(&is_row), [name]);
    }
    assert_eq!(
        named(&|row| row["receives"] == true),
        ["SUBSCRIBE", "PSUBSCRIBE", "FOLLOW", "MONITOR", "REPLICATE"]
    );
}

#[test]
fn a_page_of_another_site_cannot_open_one() {
    let server = TestServer::start();
    for origin in ["http://evil.example", "null"] {
        let refused = open(&server, origin).expect_err("it is another site");
        assert!(refused.contains("403"), "{refused}");
    }
    let answer = Http::connect(&server).ask("GET /api/v1/console");
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("open it as a WebSocket"),
        "{}",
        answer.text()
    );
}
