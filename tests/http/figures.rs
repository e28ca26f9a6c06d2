//! What is told of the server itself: `GET /metrics` for Prometheus, and the live feed.

use std::collections::{BTreeMap, BTreeSet};

use pykv::command::COMMANDS;
use pykv::command::figures::{FIGURES, FigureSpec};
use serde_json::Value;

use crate::support::http::Http;
use crate::support::resp::Resp;
use crate::support::server::{TestServer, wait_until};

/// The samples of a text in Prometheus's format, by name and labels; what is not in the format ends the test.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            match words[..] {
                ["HELP", _, _] => {}
                ["TYPE", name, kind] => {
                    let before = kinds.insert(name.to_owned(), kind.to_owned());
                    assert_eq!(before, None, "a family stands once: {name}");
                }
                _ => panic!("no comment of the format: {line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let family = name.split('{').next().expect("a name");
        let of_histogram = ["_bucket", "_sum", "_count"];
        let family = of_histogram
            .iter()
            .find_map(|end| {
                family
                    .strip_suffix(end)
                    .filter(|family| kinds.contains_key(*family))
            })
            .unwrap_or(family);
        let kind = kinds
            .get(family)
            .unwrap_or_else(|| panic!("a kind comes first: {line}"));
        assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("a number: {line}"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "{line}");
    }
    samples
}

fn metrics(http: &mut Http) -> BTreeMap<String, f64> {
    let answer = http.ask("GET /metrics");
    assert_eq!(answer.status, 200);
    let content_type = "content-type: text/plain; version=0.0.4";
    assert!(answer.head.contains(content_type), "{}", answer.head);
    samples(answer.text())
}

#[test]
#[allow(clippy::float_cmp, reason = "they are whole numbers")]
fn metrics_count_what_has_been_asked_for_and_tell_how_long_it_took() {
    let server = TestServer::start();
    let (mut http, mut client) = (Http::connect(&server), server.client());
    let before = metrics(&mut http);
    assert_eq!(before["pykv_keys"], 0.0);
    assert_eq!(before.get("pykv_requests_total{command=\"put\"}"), None);
    for number in 0..5 {
        assert_eq!(client.ask(&format!("PUT k{number} v")), "OK");
    }
    assert_eq!(client.ask("GET k0"), "VALUE \"v\"");
    assert_eq!(client.ask("GET nope"), "NOT_FOUND");
    assert_eq!(client.ask("EXPIRE k0 1000"), "COUNT 1");
    assert!(client.ask("GET").starts_with("ERR ARGS"));
    assert_eq!(client.ask("SAVE"), "OK");
    let now = metrics(&mut http);
    for (name, value) in [
        ("pykv_keys", 5.0),
        ("pykv_keys_expiring", 1.0),
        ("pykv_data_bytes", 15.0),
        ("pykv_connections", 1.0),
        ("pykv_loading", 0.0),
        ("pykv_disk_fault", 0.0),
        ("pykv_unsaved_changes", 0.0),
        ("pykv_last_save_success", 1.0),
        ("pykv_keyspace_hits_total", 1.0),
        ("pykv_keyspace_misses_total", 1.0),
        ("pykv_errors_total", 1.0),
        ("pykv_requests_total{command=\"put\"}", 5.0),
        ("pykv_requests_total{command=\"get\"}", 3.0),
        ("pykv_request_duration_seconds_count{command=\"put\"}", 5.0),
        (
            "pykv_request_duration_seconds_bucket{command=\"put\",le=\"+Inf\"}",
            5.0,
        ),
        (
            "pykv_request_duration_seconds_bucket{command=\"put\",le=\"8.388608\"}",
            5.0,
        ),
    ] {
        assert_eq!(now.get(name), Some(&value), "{name}");
    }
    let sum = now["pykv_request_duration_seconds_sum{command=\"put\"}"];
    assert!(sum > 0.0 && sum < 60.0, "{sum}");
    assert!(now["process_resident_memory_bytes"] > 1e6);
    assert!(now["process_start_time_seconds"] > 1.7e9);
    // The shim's requests are counted as well.
    assert_eq!(http.ask("POST /put?key=a&value=1").status, 200);
    assert_eq!(
        metrics(&mut http)["pykv_requests_total{command=\"put\"}"],
        6.0
    );
}

/// A server whose every figure has a value: it has saved, one of its keys has an expiry, and one request was an error.
fn busy_server() -> TestServer {
    let server = TestServer::start();
    let mut client = server.client();
    for request in ["PUT a 1", "PUT b 2", "EXPIRE a 1000", "GET a", "SAVE"] {
        assert!(!client.ask(request).starts_with("ERR"), "{request}");
    }
    assert!(client.ask("GET").starts_with("ERR"));
    Resp::connect(server.addr()).ask("LPUSH list 1");
    server
}

/// The names of the rows that have one; a row for each command has one for each of them.
fn names_of(name: impl Fn(&FigureSpec) -> Option<&str>) -> Vec<String> {
    let mut names = Vec::new();
    for name in FIGURES.iter().filter_map(name) {
        if name.starts_with("unknown_command_") {
            // What the busy server was asked for.
            names.push(name.replace('*', "lpush"));
        } else if name.contains('*') {
            let of_commands = COMMANDS
                .iter()
                .map(|command| name.replace('*', &command.name.to_lowercase()));
            names.extend(of_commands);
        } else {
            names.push(name.to_owned());
        }
    }
    // A word that means one thing on a line and another to Redis is counted as one.
    names.dedup();
    names
}

#[test]
fn every_figure_has_a_name_of_its_own_a_meaning_and_a_place() {
    let mut names = BTreeSet::new();
    for spec in FIGURES {
        assert!(names.insert(spec.name), "{} stands twice", spec.name);
        assert!(spec.help.ends_with('.'), "{}: {}", spec.name, spec.help);
        assert!(
            spec.in_stats || spec.info.is_some() || spec.metric.is_some() || spec.live.is_some(),
            "{} shows nowhere",
            spec.name
        );
    }
}

#[test]
fn stats_shows_the_figures_of_the_table_in_its_order() {
    let server = busy_server();
    let rows = server.client().ask_rows("STATS");
    let shown: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.strip_prefix("STAT ")?.split(' ').next())
        .collect();
    assert_eq!(shown, names_of(|spec| spec.in_stats.then_some(spec.name)));
}

#[test]
fn info_shows_the_figures_of_the_table_by_section() {
    let server = busy_server();
    let answer = server.client().ask("INFO everything");
    let text: String = serde_json::from_str(answer.strip_prefix("VALUE ").expect("a text"))
        .expect("a JSON string");
    let (mut section, mut shown) = ("", BTreeSet::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(name) => section = name,
            None => {
                let (name, _) = line.split_once(':').expect("a name and a value");
                let place = (section.to_owned(), name.to_owned());
                assert!(shown.insert(place), "{name} stands twice");
            }
        }
    }
    let used = ["put", "expire", "get", "save", "info"];
    let mut expected = BTreeSet::new();
    // A primary without replicas has no fields of these.
    let is_of_replica = |name: &str| {
        let of_master = [
            "host",
            "port",
            "link_status",
            "last_io_seconds_ago",
            "sync_in_progress",
        ];
        let field = name.strip_prefix("master_");
        name.starts_with("slave") || field.is_some_and(|field| of_master.contains(&field))
    };
    let places = FIGURES.iter().filter_map(|spec| spec.info);
    for (section, name) in
        places.filter(|(section, name)| *section != "Replication" || !is_of_replica(name))
    {
        if (section, name) == ("Keyspace", "db*") {
            // No key belongs to a numbered database.
            continue;
        }
        if section == "Errorstats" {
            expected.insert((section.to_owned(), name.replace('*', "ERR")));
        } else if name.contains('*') {
            expected.extend(used.map(|used| (section.to_owned(), name.replace('*', used))));
        } else {
            expected.insert((section.to_owned(), name.to_owned()));
        }
    }
    assert_eq!(shown, expected);
}

#[test]
fn metrics_show_the_figures_of_the_table_with_their_meaning() {
    let server = busy_server();
    let mut http = Http::connect(&server);
    let answer = http.ask("GET /metrics");
    let told = answer.text().lines();
    let told: Vec<&str> = told
        .filter_map(|line| line.strip_prefix("# HELP "))
        .collect();
    // Without a certificate, there is no end of it; and there is no cluster of either kind, and no primary to follow.
    let expected = FIGURES
        .iter()
        .filter_map(|spec| Some((spec.metric?, spec.help)))
        .filter(|(name, _)| *name != "pykv_tls_certificate_expires_in_days")
        .filter(|(name, _)| !name.starts_with("pykv_cluster_"))
        .filter(|(name, _)| !name.starts_with("pykv_replica_"))
        .filter(|(name, _)| !name.starts_with("pykv_member_"));
    let expected: Vec<String> = expected
        .map(|(name, help)| format!("{name} {help}"))
        .collect();
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(&expected) {
        // A unit or a form may follow.
        assert!(told.starts_with(expected.as_str()), "{told}: {expected}");
    }
}

#[test]
fn the_live_feed_shows_the_figures_of_the_table_and_the_documentation_names_them() {
    let server = busy_server();
    let figures = next(&mut watch(&server), "figures");
    let fields = |figures: &Value| -> BTreeSet<String> {
        let figures = figures.as_object().expect("an object");
        let fields = figures
            .iter()
            .flat_map(|(name, value)| match value.as_object() {
                Some(fields) if name == "disk" => {
                    fields.keys().map(|field| format!("disk.{field}")).collect()
                }
                _ => vec![name.clone()],
            });
        fields.collect()
    };
    let expected: BTreeSet<String> = names_of(|spec| spec.live).into_iter().collect();
    assert_eq!(fields(&figures), expected);
    let api = Http::connect(&server).ask("GET /openapi.json").json();
    let mut schema = api["components"]["schemas"]["Figures"]["properties"].clone();
    schema["disk"] = schema["disk"]["properties"].clone();
    assert_eq!(fields(&schema), expected);
}

/// Goal: the dashboard for Grafana shows nothing that is not told.
#[test]
fn the_grafana_dashboard_asks_for_metrics_that_there_are() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    assert_eq!(server.client().ask("PUT a 1"), "OK");
    let known = metrics(&mut http);
    let known: BTreeSet<&str> = known
        .keys()
        .filter_map(|name| name.split('{').next())
        .collect();
    let dashboard = http.ask("GET /docs/grafana.json").json();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let expression = target["expr"].as_str().expect("text");
            let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            let words = expression.split(|letter| !is_of_name(letter));
            asked.extend(
                words
                    .filter(|word| word.starts_with("pykv_") || word.starts_with("process_"))
                    .map(str::to_owned),
            );
        }
    }
    assert!(asked.len() > 15, "{asked:?}");
    let metrics = names_of(|spec| spec.metric);
    for name in asked {
        assert!(
            known.contains(name.as_str()),
            "{name} is not told: {known:?}"
        );
        let family = name.strip_suffix("_bucket").unwrap_or(&name);
        assert!(metrics.iter().any(|metric| metric == family), "{name}");
    }
}

/// The next event of this name.
fn next(http: &mut Http, name: &str) -> Value {
    loop {
        let (event, data) = http.event();
        if event == name {
            return data;
        }
    }
}

fn watch(server: &TestServer) -> Http {
    let mut http = Http::connect(server);
    http.send("GET /api/v1/live", &[], b"");
    let (status, head) = http.head();
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    http
}

#[test]
fn the_feed_tells_figures_and_operations_as_they_come() {
    let server = TestServer::start();
    let mut feed = watch(&server);
    assert_eq!(next(&mut feed, "figures")["keys"], 0);
    let mut client = server.client();
    assert_eq!(client.ask("PUT user:1 Ada"), "OK");
    assert_eq!(client.ask("GET nope"), "NOT_FOUND");
    assert!(client.ask("EXPIRE user:1 soon").starts_with("ERR ARGS"));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let told = next(&mut feed, "operations");
        assert_eq!(told["skipped"], 0);
        seen.extend(told["operations"].as_array().expect("a list").clone());
    }
    let shown: Vec<[&str; 3]> = seen
        .iter()
        .map(|seen| ["command", "key", "status"].map(|name| seen[name].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        shown,
        [
            ["PUT", "user:1", "OK"],
            ["GET", "nope", "NOT_FOUND"],
            ["EXPIRE", "user:1", "ARGS"]
        ]
    );
    assert!(
        seen[0]["microseconds"]
            .as_f64()
            .is_some_and(|took| took > 0.0 && took < 1e7)
    );
    let figures = loop {
        let figures = next(&mut feed, "figures");
        if figures["keys"] == 1 {
            break figures;
        }
    };
    assert_eq!(figures["disk"]["durability"], "everysec");
    assert_eq!(figures["disk"]["fault"], Value::Null);
}

#[test]
fn the_figures_of_a_second_are_those_of_that_second() {
    let server = TestServer::start();
    let mut feed = watch(&server);
    let first = next(&mut feed, "figures");
    let mut client = server.client();
    for _ in 0..50 {
        assert_eq!(client.ask("GET nope"), "NOT_FOUND");
    }
    let (mut requests, mut before) = (0.0, first["time_ms"].as_f64());
    let quiet = loop {
        let figures = next(&mut feed, "figures");
        let rate = figures["by_command"]["GET"].as_f64().unwrap_or(0.0);
        let now = figures["time_ms"].as_f64();
        let seconds = now.zip(before).map(|(now, before)| (now - before) / 1e3);
        before = now;
        if rate > 0.0 {
            assert_eq!(figures["hit_ratio"], 0.0);
            assert!(figures["p99_us"].as_f64() >= figures["p50_us"].as_f64());
            requests += rate * seconds.expect("both are told");
        } else if requests > 0.0 {
            break figures;
        }
    };
    // The times are told to the millisecond, a moment after they were taken.
    assert!((45.0..=55.0).contains(&requests), "{requests} of 50");
    assert_eq!(quiet["p50_us"], Value::Null);
    assert_eq!(quiet["hit_ratio"], Value::Null);
    assert_eq!(quiet["requests_per_second"], 0.0);
}

#[test]
fn more_operations_than_anybody_reads_are_counted_and_not_told() {
    let server = TestServer::start();
    let mut feed = watch(&server);
    next(&mut feed, "figures");
    let mut client = server.client();
    client.send_bytes("PUT key value\n".repeat(5000).as_bytes());
    let (mut told, mut skipped) = (0, 0);
    while told + skipped < 5000 {
        let some = next(&mut feed, "operations");
        told += some["operations"].as_array().expect("a list").len();
        skipped += usize::try_from(some["skipped"].as_u64().expect("a number")).expect("some");
    }
    assert_eq!(told + skipped, 5000);
    assert!(skipped > 0);
}

fn recent(http: &mut Http) -> Vec<[String; 3]> {
    let told = http.ask("GET /api/v1/operations").json();
    let operations = told["operations"].as_array().expect("a list").clone();
    let of = |operation: &Value| {
        ["command", "key", "status"].map(|name| operation[name].as_str().unwrap_or("-").to_owned())
    };
    operations.iter().map(of).collect()
}

#[test]
fn the_latest_operations_can_be_asked_for_now_and_then() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let mut client = server.client();
    assert_eq!(client.ask("PUT before 1"), "OK");
    // Nobody has asked yet: nothing is noted.
    assert!(recent(&mut http).is_empty());
    for round in 0..2 {
        for number in 0..60 {
            assert_eq!(client.ask(&format!("PUT k{round}-{number} 1")), "OK");
        }
        let last = format!("k{round}-59");
        wait_until("the last is told", || {
            recent(&mut http).last().is_some_and(|told| told[1] == last)
        });
    }
    let told = http.ask("GET /api/v1/operations").json();
    assert_eq!(told["operations"].as_array().map(Vec::len), Some(100));
    assert_eq!(told["operations"][0]["key"], "k0-20");
    assert_eq!(told["skipped"], 20);
}

#[test]
fn requests_of_http_are_among_the_operations() {
    let server = TestServer::start();
    let mut feed = watch(&server);
    next(&mut feed, "figures");
    let mut http = Http::connect(&server);
    for (request, headers, body, status) in [
        ("PUT /api/v1/keys/a", vec![], r#"{"value": "1"}"#, 201),
        ("GET /api/v1/keys/a", vec![], "", 200),
        ("GET /api/v1/keys/b", vec![], "", 404),
        (
            "PUT /api/v1/keys/a",
            vec!["If-None-Match: *"],
            r#"{"value": "2"}"#,
            412,
        ),
        ("POST /put?key=c&value=3", vec![], "", 200),
        (
            "POST /api/v1/batch",
            vec![],
            r#"{"operations": [{"op": "get", "key": "a"}, {"op": "delete", "key": "d"}]}"#,
            200,
        ),
        ("DELETE /api/v1/keys/a", vec![], "", 204),
    ] {
        http.send(request, &headers, body.as_bytes());
        assert_eq!(http.answer().status, status, "{request}");
    }
    let mut seen = Vec::new();
    while seen.len() < 8 {
        let told = next(&mut feed, "operations");
        seen.extend(told["operations"].as_array().expect("a list").clone());
    }
    let shown: Vec<String> = seen
        .iter()
        .map(|seen| {
            ["command", "key", "status"]
                .map(|name| seen[name].as_str().unwrap_or("-"))
                .join(" ")
        })
        .collect();
    assert_eq!(
        shown,
        [
            "SET a OK",
            "GET a OK",
            "GET b NOT_FOUND",
            "SET a UNMET",
            "PUT c OK",
            "GET a OK",
            "DEL d NOT_FOUND",
            "DEL a OK",
        ]
    );
}

#[test]
fn one_hundred_watch_and_no_more() {
    let server = TestServer::start();
    let mut watching: Vec<Http> = (0..100).map(|_| watch(&server)).collect();
    let mut http = Http::connect(&server);
    let refused = http.ask("GET /api/v1/live");
    assert_eq!(refused.status, 503);
    assert!(
        refused.text().contains("there are 100 who watch already"),
        "{}",
        refused.text()
    );
    next(watching.last_mut().expect("a hundred"), "figures");
    watching.pop();
    wait_until("there is room again", || {
        let mut http = Http::connect(&server);
        http.send("GET /api/v1/live", &[], b"");
        http.head().0 == 200
    });
}

#[test]
fn who_does_not_read_the_feed_holds_nobody_up() {
    let server = TestServer::start();
    // They are never read from.
    let _feeds: Vec<Http> = (0..10).map(|_| watch(&server)).collect();
    let mut client = server.client();
    for _ in 0..200 {
        client.send_bytes("GET nope\n".repeat(100).as_bytes());
        for _ in 0..100 {
            assert_eq!(client.reply(), "NOT_FOUND");
        }
    }
}

#[test]
fn a_stop_ends_the_feed() {
    let server = TestServer::start();
    let mut feed = watch(&server);
    next(&mut feed, "figures");
    let started = std::time::Instant::now();
    server.stop();
    assert!(
        started.elapsed().as_secs() < 5,
        "a watcher has held up the stop"
    );
}

#[test]
fn a_server_that_runs_is_live_whatever_it_cannot_do() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for path in ["/health", "/health/live", "/health/ready"] {
        let answer = http.ask(&format!("GET {path}"));
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.text(), r#"{"status":"ok","reasons":[]}"#, "{path}");
    }
}
