//! Who asks over HTTP: users, passwords, tokens, and the session of the page.

use serde_json::json;

use crate::support::http::{Answer, Http};
use crate::support::server::{Stopped, TestServer};

/// `shop:wool` and `shop:cotton` in base64.
const RIGHT: &str = "Authorization: Basic c2hvcDp3b29s";
const WRONG: &str = "Authorization: Basic c2hvcDpjb3R0b24=";

fn server() -> TestServer {
    let server = Stopped::new(&[])
        .with_env("PYKV_PASSWORD", "master")
        .restart();
    let mut admin = server.client();
    assert_eq!(admin.ask("AUTH master"), "OK");
    for line in [
        "ACL SETUSER shop on >wool ~shop:* +@read",
        "PUT shop:1 a",
        "PUT bank d",
    ] {
        assert_eq!(admin.ask(line), "OK");
    }
    server
}

fn ask(http: &mut Http, request: &str, header: &str) -> Answer {
    http.send(request, &[header], b"");
    http.answer()
}

const ENDPOINTS: [&str; 15] = [
    "GET /get/shop:1",
    "GET /all",
    "GET /stats",
    "DELETE /clear",
    "GET /metrics",
    "GET /api/v1/keys",
    "GET /api/v1/keys/shop:1",
    "GET /api/v1/namespaces",
    "GET /api/v1/export",
    "GET /api/v1/stats",
    "GET /api/v1/commands",
    "GET /api/v1/live",
    "GET /api/v1/operations",
    "GET /api/v1/console",
    "POST /api/v1/import",
];

#[test]
fn without_signing_in_only_the_page_and_the_health_are_served() {
    let server = server();
    let mut http = Http::connect(&server);
    for request in ENDPOINTS {
        let answer = http.ask(request);
        assert_eq!(answer.status, 401, "{request}");
        let challenge = answer.header("www-authenticate");
        assert!(
            challenge.is_some_and(|it| it.contains("realm=\"pykv\"")),
            "{request}"
        );
    }
    for path in [
        "/",
        "/dashboard/main.js",
        "/health",
        "/health/live",
        "/docs",
        "/api/v1/session",
    ] {
        assert_eq!(http.ask(&format!("GET {path}")).status, 200, "{path}");
    }
}

#[test]
fn a_user_sees_over_http_what_it_may() {
    let server = server();
    let mut http = Http::connect(&server);
    assert_eq!(ask(&mut http, "GET /get/shop:1", RIGHT).status, 200);
    assert_eq!(ask(&mut http, "GET /get/bank", RIGHT).status, 403);
    assert_eq!(ask(&mut http, "DELETE /clear", RIGHT).status, 403);
    assert_eq!(ask(&mut http, "GET /metrics", RIGHT).status, 403);
    assert_eq!(ask(&mut http, "GET /api/v1/live", RIGHT).status, 403);
    assert_eq!(ask(&mut http, "GET /api/v1/operations", RIGHT).status, 403);
    assert_eq!(
        ask(&mut http, "GET /all", RIGHT).json(),
        json!({"shop:1": "a"})
    );
    assert_eq!(
        ask(&mut http, "GET /api/v1/export", RIGHT).json(),
        json!({"shop:1": "a"})
    );
    let namespaces = ask(&mut http, "GET /api/v1/namespaces", RIGHT).json();
    assert_eq!(
        (&namespaces["keys"], &namespaces["others"]),
        (&json!(1), &json!(0))
    );
    // What a user of all keys has counted is not shown to others.
    let master = "Authorization: Basic ZGVmYXVsdDptYXN0ZXI=";
    assert_eq!(
        ask(&mut http, "GET /api/v1/namespaces", master).json()["keys"],
        2
    );
    assert_eq!(
        ask(&mut http, "GET /api/v1/namespaces", RIGHT).json()["keys"],
        1
    );
    assert_eq!(ask(&mut http, "GET /metrics", master).status, 200);
}

#[test]
fn a_wrong_password_and_an_unreadable_header_are_told_apart() {
    let server = server();
    let mut http = Http::connect(&server);
    assert_eq!(ask(&mut http, "GET /get/shop:1", WRONG).status, 401);
    assert_eq!(ask(&mut http, "GET /", WRONG).status, 401);
    assert_eq!(
        ask(&mut http, "GET /get/shop:1", "Authorization: Basic !").status,
        401
    );
    assert_eq!(
        ask(&mut http, "GET /get/shop:1", "Authorization: Digest x").status,
        401
    );
    assert_eq!(
        ask(&mut http, "GET /get/shop:1", "Authorization: Bearer pykv_x").status,
        401
    );
    let (stopped, _) = server.signal("TERM");
    assert!(
        stopped
            .log()
            .contains("sign-in refused: wrong user or password")
    );
    assert!(!stopped.log().contains("cotton"), "{}", stopped.log());
}

#[test]
fn a_token_signs_a_program_in_until_it_is_deleted() {
    let server = server();
    let mut admin = server.client();
    assert_eq!(admin.ask("AUTH master"), "OK");
    let token = admin.ask("TOKEN NEW scraper USER shop EX 1000");
    let token = token
        .trim_start_matches("VALUE ")
        .trim_matches('"')
        .to_owned();
    let header = format!("Authorization: Bearer {token}");
    let mut http = Http::connect(&server);
    assert_eq!(ask(&mut http, "GET /get/shop:1", &header).status, 200);
    assert_eq!(ask(&mut http, "GET /get/bank", &header).status, 403);
    assert_eq!(
        admin.ask("TOKEN NEW scraper USER shop"),
        "ERR ARGS there is a token 'scraper' already; delete it first, or choose another name"
    );
    let (stopped, _) = server.signal("TERM");
    assert!(!stopped.read("users.json").contains(&token));
    let server = stopped.restart();
    let mut http = Http::connect(&server);
    assert_eq!(ask(&mut http, "GET /get/shop:1", &header).status, 200);
    let mut admin = server.client();
    assert_eq!(admin.ask("AUTH master"), "OK");
    assert_eq!(admin.ask("TOKEN DEL scraper"), "COUNT 1");
    assert_eq!(ask(&mut http, "GET /get/shop:1", &header).status, 401);
}

#[test]
fn the_page_signs_in_and_out() {
    let server = server();
    let mut http = Http::connect(&server);
    let none = http.ask("GET /api/v1/session").json();
    assert_eq!(none["user"], json!(null));
    http.send(
        "POST /api/v1/session",
        &[],
        br#"{"user":"shop","password":"cotton"}"#,
    );
    let refused = http.answer();
    assert_eq!((refused.status, refused.header("set-cookie")), (401, None));
    http.send(
        "POST /api/v1/session",
        &[],
        br#"{"user":"shop","password":"wool"}"#,
    );
    let answer = http.answer();
    assert_eq!(answer.status, 200);
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    for part in [
        "; httponly",
        "; samesite=strict",
        "; path=/",
        "; max-age=43200",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("secure"), "{cookie}");
    let cookie = format!("Cookie: other=1; {}", answer.cookie());
    assert_eq!(ask(&mut http, "GET /get/shop:1", &cookie).status, 200);
    assert_eq!(ask(&mut http, "GET /get/bank", &cookie).status, 403);
    assert_eq!(
        ask(&mut http, "GET /api/v1/session", &cookie).json()["user"],
        "shop"
    );
    assert_eq!(
        ask(&mut http, "DELETE /api/v1/session", &cookie).status,
        204
    );
    assert_eq!(ask(&mut http, "GET /get/shop:1", &cookie).status, 401);
}

#[test]
fn a_session_ends_with_the_password() {
    let server = server();
    let mut http = Http::connect(&server);
    http.send(
        "POST /api/v1/session",
        &["X-Forwarded-Proto: https"],
        br#"{"user":"shop","password":"wool"}"#,
    );
    let answer = http.answer();
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.ends_with("; secure"), "{cookie}");
    let cookie = format!("Cookie: {}", answer.cookie());
    let mut admin = server.client();
    assert_eq!(admin.ask("AUTH master"), "OK");
    assert_eq!(admin.ask("ACL SETUSER shop +@all"), "OK");
    assert_eq!(ask(&mut http, "GET /metrics", &cookie).status, 200);
    assert_eq!(admin.ask("ACL SETUSER shop resetpass >silk"), "OK");
    assert_eq!(ask(&mut http, "GET /metrics", &cookie).status, 401);
}

#[test]
fn the_body_of_a_sign_in_is_short() {
    let server = server();
    let mut http = Http::connect(&server);
    let long = format!(
        "{{\"user\":\"shop\",\"password\":\"{}\"}}",
        "x".repeat(16 << 10)
    );
    http.send("POST /api/v1/session", &[], long.as_bytes());
    assert_eq!(http.answer().status, 413);
}
