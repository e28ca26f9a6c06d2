//! What is installed with the server, held against the server: the configuration file, the unit, the alerts.

use std::fs;
use std::path::Path;

use pykv::config::{Config, flags};
use pykv::http::{HTTP_CONNECTIONS_MAX, RESERVED_CONNECTIONS};
use pykv::server::FILES_MAX;

use crate::support::http::Http;
use crate::support::server::TestServer;
use crate::support::tls::Authority;

fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_configuration_file_has_a_comment_for_every_setting_with_its_default_and_no_other() {
    let text = packaged("pykv.toml");
    let mut named = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = line.trim_start_matches("# ").split_once(" = ") else {
            continue;
        };
        named.push(name.to_owned());
        let (setting, _) = flags()
            .find(|(setting, _)| setting.name == name)
            .unwrap_or_else(|| panic!("there is no setting {name}"));
        if line.starts_with('#') {
            let shown = value.trim_matches('"');
            // Without a default it is an example.
            assert!(
                setting.default.is_empty() || shown == setting.default,
                "{name}"
            );
        } else {
            assert_eq!(line, "data = \"/var/lib/pykv\"");
        }
    }
    let mut expected: Vec<&str> = flags().map(|(setting, _)| setting.name).collect();
    // The file does not name itself.
    expected.retain(|name| *name != "config");
    named.sort_unstable();
    expected.sort_unstable();
    assert_eq!(named, expected);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/pykv.toml");
    let words = [
        "pykv-server",
        "--config",
        path.to_str().expect("a path that is text"),
    ];
    Config::try_parse_from(words).expect("it is valid as it is");
    // And with every default in force.
    let all = text
        .replace("\n# ", "\n")
        .replace("\ndata = ", "\n# data = ");
    let dir = tempfile::TempDir::new().expect("a folder");
    let file = dir.path().join("all.toml");
    // These exclude each other; those of a cluster with etcd go with one durability alone.
    let with_etcd = all.replace("durability = \"everysec\"", "durability = \"replicated\"");
    let forms: [(&str, &[&str]); 3] = [
        (&all, &["engine", "etcd", "cluster"]),
        (&all, &["replica-of", "etcd", "cluster"]),
        (&with_etcd, &["engine", "replica-of"]),
    ];
    let forms = forms
        .iter()
        .take(if cfg!(feature = "etcd") { 3 } else { 2 });
    for (text, left_out) in forms {
        let settings = text.lines().filter(|line| {
            line.split_once(" = ")
                .is_some_and(|(name, _)| !left_out.contains(&name) && expected.contains(&name))
        });
        fs::write(&file, settings.collect::<Vec<_>>().join("\n")).expect("a file");
        let words = ["pykv-server", "--config", file.to_str().expect("text")];
        Config::try_parse_from(words).expect("every default is valid");
    }
}

#[test]
fn the_unit_allows_the_files_of_all_clients() {
    let unit = packaged("systemd/pykv.service");
    let limit = unit
        .lines()
        .find_map(|line| line.strip_prefix("LimitNOFILE="));
    let limit: usize = limit.and_then(|limit| limit.parse().ok()).expect("a limit");
    assert!(limit > FILES_MAX + HTTP_CONNECTIONS_MAX + RESERVED_CONNECTIONS);
    for line in [
        "Type=notify",
        "User=pykv",
        "ExecStart=/usr/bin/pykv-server --config /etc/pykv/pykv.toml",
    ] {
        assert!(unit.lines().any(|it| it == line), "{line}");
    }
}

#[test]
fn every_metric_of_the_alerts_is_one_of_the_server() {
    let authority = Authority::new();
    let flags = authority.issue("server").flags();
    let flags = flags.iter().map(String::as_str);
    let flags: Vec<&str> = flags.chain(["--listen", "tls://127.0.0.1:0"]).collect();
    let server = TestServer::start_with(&flags);
    assert_eq!(server.client().ask("SAVE"), "OK");
    let metrics = Http::connect(&server).ask("GET /metrics");
    let metrics = metrics.text().to_owned();
    let alerts = packaged("prometheus/alerts.yml");
    let operating =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md"));
    let operating = operating.expect("a document");
    let mut seen = 0;
    for line in alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
    {
        let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
        for word in line.split(|character| !is_of_name(character)) {
            if !word.starts_with("pykv_") && !word.starts_with("process_") {
                continue;
            }
            let is_there = metrics.lines().any(|line| {
                line.strip_prefix(word)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            });
            assert!(is_there, "{word} is not in /metrics");
            seen += 1;
        }
    }
    assert!(seen > 8, "only {seen} metrics were seen");
    for name in alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(
            operating.contains(&format!("| `{name}` |")),
            "docs/operating.md has no row of {name}"
        );
    }
}
