//! The table of settings, and what renders it: flags, variables, `--help`, docs/operating.md, CONFIG.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use pykv::config::{
    Config, HostNames, SETTINGS, Shown, Values, WITHOUT_EFFECT, flags as with_flags,
};

use crate::support::server::TestServer;

#[test]
fn every_default_is_allowed_and_every_variable_is_named_after_its_flag() {
    let config = Config::try_parse_from(["pykv-server"]).expect("all defaults are allowed");
    assert!(config.action.is_none());
    for setting in SETTINGS {
        if let Values::Number(limits) = &setting.values {
            let default = setting.default.parse().expect("a number");
            assert!(limits.contains(&default), "{}", setting.name);
        }
        for (name, shown) in setting.config {
            let is_number = matches!(setting.values, Values::Number(_));
            assert!(is_number || !matches!(shown, Shown::Settable(_)), "{name}");
        }
        let named = format!("PYKV_{}", setting.name.to_uppercase().replace('-', "_"));
        assert!(
            setting
                .flag
                .as_ref()
                .is_none_or(|flag| flag.variable == named),
            "{named}"
        );
    }
}

#[test]
fn both_sides_of_each_limit_of_a_flag() {
    for (setting, _) in with_flags() {
        let Values::Number(limits) = &setting.values else {
            continue;
        };
        let (least, most) = (*limits.start(), *limits.end());
        for (value, is_allowed) in [
            (least, true),
            (most, true),
            (least - 1, false),
            (most + 1, false),
        ] {
            let words = [
                "pykv-server".to_owned(),
                format!("--{}={value}", setting.name),
            ];
            assert_eq!(Config::try_parse_from(words).is_ok(), is_allowed, "{value}");
        }
        // The help is all that says so.
        let said = format!("{least} to {most} ");
        assert!(setting.help.contains(&said), "{}: {said}", setting.name);
    }
}

#[test]
fn help_names_every_flag_with_its_variable_and_default_and_no_other() {
    let mut help = Command::new(env!("CARGO_BIN_EXE_pykv-server"));
    for (_, flag) in with_flags() {
        help.env_remove(flag.variable);
    }
    let help = help.arg("--help").output().expect("it is built");
    let help = String::from_utf8(help.stdout).expect("text");
    assert!(help.contains("\nA key-value server for people who want to see their data\n"));
    let mut named: Vec<&str> = help
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .filter_map(|line| line.split([' ', '[']).next())
        .collect();
    named.retain(|name| *name != "help" && *name != "version");
    let flags: Vec<&str> = with_flags().map(|(setting, _)| setting.name).collect();
    assert_eq!(named, flags);
    for (setting, flag) in with_flags() {
        let default = match setting.default {
            "" => String::new(),
            default => format!("[default: {default}]\n"),
        };
        for shown in [
            match setting.values {
                Values::Switch => format!("--{}[=<{}>]\n", setting.name, flag.value_name),
                _ => format!("--{} <{}>\n", setting.name, flag.value_name),
            },
            format!("          {}\n", setting.help),
            format!("[env: {}=]\n", flag.variable),
            default,
        ] {
            assert!(help.contains(&shown), "{shown} is not in\n{help}");
        }
    }
}

#[test]
fn operating_md_lists_every_setting_with_its_limits_and_its_names_in_config() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let text = fs::read_to_string(path).expect("a document");
    let rows_of = |head: &str| -> Vec<Vec<String>> {
        let rows = text.lines().skip_while(|line| *line != head).skip(2);
        rows.take_while(|row| row.starts_with('|'))
            .map(|row| {
                let cells = row.split('|').skip(1);
                cells.map(|cell| cell.trim().replace(',', "")).collect()
            })
            .collect()
    };
    let flags = rows_of("| flag | variable | default | values | CONFIG |");
    let settable = rows_of("| name | default | values |");
    for setting in SETTINGS {
        let mut names = setting.config.iter().map(|(name, _)| format!("`{name}`"));
        if let Some(flag) = &setting.flag {
            let row = flags
                .iter()
                .find(|row| row[0] == format!("`--{}`", setting.name));
            let row = row.unwrap_or_else(|| panic!("no row of --{}", setting.name));
            assert_eq!(row[1], format!("`{}`", flag.variable));
            let default = match setting.default {
                "" => String::new(),
                default => format!("`{default}`"),
            };
            assert_eq!(row[2], default);
            if let Values::Number(limits) = &setting.values {
                let limits = format!("{} to {}", limits.start(), limits.end());
                assert!(row[3].starts_with(&limits), "{row:?}");
            }
            assert_eq!(row[4], names.collect::<Vec<_>>().join(" "));
        } else if matches!(setting.values, Values::Number(_)) {
            let row = settable
                .iter()
                .find(|row| row[0] == format!("`{}`", setting.name));
            let row = row.unwrap_or_else(|| panic!("no row of {}", setting.name));
            assert_eq!(row[1], setting.default);
        } else {
            assert!(names.all(|name| text.contains(&name)), "{}", setting.name);
        }
    }
    // PYKV_LOG and PYKV_PASSWORD have no flags.
    assert_eq!(flags.len(), with_flags().count() + 2);
}

#[test]
fn config_shows_every_name_of_the_table_and_sets_what_can_be_set() {
    let server = TestServer::start_with(&["--save-interval", "7", "--durability", "off"]);
    let mut redis = redis::Client::open(format!("redis://{}", server.addr()))
        .and_then(|client| client.get_connection())
        .expect("it listens");
    let mut config = |words: &[&str]| redis::cmd("CONFIG").arg(words).query(&mut redis);
    let shown: BTreeMap<String, String> = config(&["GET", "*"]).expect("all settings");
    let names = SETTINGS.iter().flat_map(|setting| setting.config);
    let mut expected: Vec<&str> = names.map(|(name, _)| *name).collect();
    expected.extend(WITHOUT_EFFECT.iter().map(|row| row.name));
    expected.sort_unstable();
    assert_eq!(shown.keys().collect::<Vec<_>>(), expected);
    for (name, value) in [
        ("appendfsync", "no"),
        ("appendonly", "no"),
        ("bind", "127.0.0.1"),
        ("databases", "16"),
        ("dir", &server.data().display().to_string()),
        ("maxmemory", "0"),
        ("port", &server.addr().port().to_string()),
        ("save", "7 1"),
        ("slowlog-log-slower-than", "10000"),
        ("slowlog-max-len", "128"),
        ("timeout", "0"),
    ] {
        assert_eq!(shown.get(name).map(String::as_str), Some(value), "{name}");
    }
    let all = shown;
    for setting in SETTINGS {
        for (name, shown) in setting.config {
            let mut set = |value: &str| -> redis::RedisResult<String> {
                redis::cmd("CONFIG")
                    .arg(&["SET", name, value])
                    .query(&mut redis)
            };
            match (shown, &setting.values) {
                (Shown::Settable(_), Values::Number(limits)) => {
                    for value in [limits.start(), limits.end()] {
                        assert_eq!(set(&value.to_string()).as_deref(), Ok("OK"), "{name}");
                    }
                    for value in [limits.start() - 1, limits.end() + 1] {
                        assert!(set(&value.to_string()).is_err(), "{name} {value}");
                    }
                }
                (Shown::Written { .. }, _) => {
                    let is = all.get(*name).expect("it is shown");
                    assert_eq!(set(is).as_deref(), Ok("OK"), "{name}");
                    assert!(set("no such value").is_err(), "{name}");
                }
                (Shown::Ignored(_), _) => {
                    for value in ["", "900 1 300 10"] {
                        assert_eq!(set(value).as_deref(), Ok("OK"), "{name}");
                    }
                    assert!(set("900").is_err(), "{name}");
                }
                _ => {
                    let is = all.get(*name).expect("it is shown");
                    assert_eq!(set(is).as_deref(), Ok("OK"), "{name}");
                    let refused = set("no such value").expect_err(name).to_string();
                    assert!(
                        refused.contains("can't set immutable config; "),
                        "{refused}"
                    );
                }
            }
        }
    }
}

/// Goal: what programs set at the start is accepted: what is the case already, and what has no meaning here. Nothing else changes.
#[test]
fn config_set_accepts_what_is_so_already_and_what_has_no_meaning_here() {
    let server = TestServer::start();
    let mut client = server.client();
    for words in [
        "appendonly yes",
        "APPENDONLY YES",
        "appendfsync everysec",
        "timeout 0",
        "save \"\"",
        "save \"3600 1 300 100\"",
        "maxmemory 0mb",
        "proto-max-bulk-len 64mb",
        "maxmemory-policy noeviction",
        "notify-keyspace-events \"\"",
        "loglevel debug",
        "latency-monitor-threshold 100",
        "client-output-buffer-limit \"normal 0 0 0 pubsub 32mb 8mb 60\"",
        "hz 100 activedefrag no slowlog-max-len 64",
    ] {
        assert_eq!(client.ask(&format!("CONFIG SET {words}")), "OK", "{words}");
    }
    for (name, value) in [
        ("loglevel", "debug"),
        ("latency-monitor-threshold", "100"),
        ("hz", "100"),
        ("slowlog-max-len", "64"),
        // What is in force.
        ("save", "60 1"),
    ] {
        let shown = [
            "MAP 1".to_owned(),
            format!("VALUE \"{name}\""),
            format!("VALUE \"{value}\""),
        ];
        assert_eq!(
            [
                client.ask(&format!("CONFIG GET {name}")),
                client.reply(),
                client.reply()
            ],
            shown
        );
    }
    for (words, reason) in [
        (
            "appendonly no",
            "can't set immutable config; --durability sets it when the server starts",
        ),
        (
            "timeout 10",
            "can't set immutable config; here it is always '0'",
        ),
        (
            "loglevel loud",
            "argument(s) must be one of the following: debug, verbose, notice, warning",
        ),
        ("activedefrag maybe", "argument must be 'yes' or 'no'"),
        ("hz fast", "argument couldn't be parsed into an integer"),
        (
            "client-output-buffer-limit \"normal 0 0\"",
            "Wrong number of arguments in buffer limit configuration.",
        ),
    ] {
        let name = words.split(' ').next().expect("a name");
        let expected = format!(
            "ERR ARGS CONFIG SET failed (possibly related to argument '{name}') - {reason}"
        );
        assert_eq!(client.ask(&format!("CONFIG SET {words}")), expected);
    }
    // All or none.
    assert!(
        client
            .ask("CONFIG SET slowlog-max-len 1 timeout 10")
            .starts_with("ERR ARGS ")
    );
    assert_eq!(client.ask("CONFIG GET slowlog-max-len"), "MAP 1");
    assert_eq!(
        (client.reply(), client.reply()),
        ("VALUE \"slowlog-max-len\"".into(), "VALUE \"64\"".into())
    );
}

#[test]
fn the_names_of_http_are_host_names_without_scheme_and_port() {
    let names = |text: &str| {
        let words = ["pykv-server".to_owned(), format!("--allowed-hosts={text}")];
        let config = Config::try_parse_from(words).ok()?;
        Some(config.get::<HostNames>("allowed-hosts").0)
    };
    assert_eq!(names(""), Some(Vec::new()));
    let several = ["pykv", "kv.example.com", "my_kv-1"].map(str::to_owned);
    assert_eq!(
        names("PyKV, kv.example.com.,my_kv-1"),
        Some(several.to_vec())
    );
    for text in [
        ",",
        "a,",
        "pykv:8000",
        "http://pykv",
        "*.example.com",
        "a b",
        "a..b",
        ".",
        "[::1]",
    ] {
        assert_eq!(names(text), None, "{text:?}");
    }
}

/// A configuration file.
fn file_of(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, text).expect("it is written");
    file
}

/// Runs `pykv-server config` with these flags and no variables but this one. Returns the status, and what it has printed.
fn printed(flags: &[&str], variable: Option<(&str, &str)>) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pykv-server"));
    for (_, flag) in with_flags() {
        command.env_remove(flag.variable);
    }
    command.arg("config").args(flags).envs(variable);
    let output = command.output().expect("it is built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn a_flag_takes_precedence_over_a_variable_a_variable_over_the_file_and_the_file_over_the_default()
{
    let file = file_of(
        "# as a person writes it\nsave-interval = 5\ndata = \"from \\\"file\\\"\"\ndurability = \"always\"\nhttp = \"off\"\n",
    );
    let path = file.path().display().to_string();
    let flags = ["--config", &path, "--durability", "off"];
    let (status, text) = printed(&flags, Some(("PYKV_HTTP", "127.0.0.1:0")));
    assert_eq!(status, Some(0), "{text}");
    let expected = [
        ("listen = \"127.0.0.1:7878\"", "default".to_owned()),
        ("http = \"127.0.0.1:0\"", "variable PYKV_HTTP".to_owned()),
        ("data = 'from \"file\"'", format!("file {path}")),
        ("durability = \"off\"", "flag --durability".to_owned()),
        ("save-interval = 5", format!("file {path}")),
    ];
    for (setting, source) in expected {
        let line = text.lines().find(|line| line.starts_with(setting));
        let line = line.unwrap_or_else(|| panic!("no line {setting} in\n{text}"));
        assert!(line.ends_with(&format!("# {source}")), "{line}");
    }
    // What is printed is a configuration file, and gives the same.
    let again = file_of(&text);
    let again_path = again.path().display().to_string();
    let (status, second) = printed(&["--config", &again_path], None);
    assert_eq!(status, Some(0), "{second}");
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(" # "));
        lines.map(|(value, _)| value.trim().to_owned()).collect()
    };
    assert_eq!(values(&second), values(&text));
}

#[test]
fn a_server_uses_the_settings_of_its_file() {
    let file = file_of("save-interval = 7\ndurability = \"always\"\n");
    let path = file.path().display().to_string();
    let server = TestServer::start_with(&["--config", &path]);
    let mut redis = redis::Client::open(format!("redis://{}", server.addr()))
        .and_then(|client| client.get_connection())
        .expect("it listens");
    for (name, value) in [("save", "7 1"), ("appendfsync", "always")] {
        let shown: Vec<String> = redis::cmd("CONFIG")
            .arg(&["GET", name])
            .query(&mut redis)
            .expect("it is shown");
        assert_eq!(shown, [name, value]);
    }
    let refused = server.client().ask("CONFIG REWRITE");
    assert!(
        refused.contains(&format!("does not write {path}: edit it")),
        "{refused}"
    );
}

#[test]
fn a_wrong_configuration_file_stops_the_start_with_its_name_and_the_remedy() {
    for (text, reason) in [
        (
            "save-intervall = 5",
            "unknown setting save-intervall, did you mean save-interval?",
        ),
        (
            "save_interval = 5",
            "unknown setting save_interval, did you mean save-interval?",
        ),
        (
            "port = 6379",
            "unknown setting port; `pykv-server --help` lists all",
        ),
        ("config = \"other.toml\"", "unknown setting config"),
        ("save-interval = 0", "0 is not in 1..=86400"),
        (
            "save-interval = \"soon\"",
            "invalid value 'soon' for '--save-interval <SECONDS>'",
        ),
        (
            "save-interval = true",
            "invalid value 'true' for '--save-interval <SECONDS>'",
        ),
        (
            "save-interval = [1]",
            "save-interval is no string, number, true or false",
        ),
        ("[server]\ndata = \"x\"", "unknown setting server"),
        ("data = ", "it is no TOML: "),
        ("data = \"a\"\ndata = \"b\"", "it is no TOML: "),
    ] {
        let file = file_of(text);
        let path = file.path().display().to_string();
        let (status, said) = printed(&["--config", &path], None);
        assert_eq!(status, Some(2), "{text}: {said}");
        let named = format!("configuration file {path}: ");
        assert!(
            said.contains(&named) && said.contains(reason),
            "{text}: {said}"
        );
    }
    let (status, said) = printed(&["--config", "/nowhere/pykv.toml"], None);
    assert_eq!(status, Some(2), "{said}");
    let reason = "configuration file /nowhere/pykv.toml: cannot read it: No such file or directory";
    assert!(said.contains(reason), "{said}");
}

#[test]
fn under_log_format_json_each_line_of_the_log_is_an_object() {
    let server = TestServer::start_with(&["--log-format", "json"]);
    let stopped = server.stop();
    let log = stopped.log();
    let mut messages = Vec::new();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert_eq!(line["level"], "INFO", "{line}");
        let timestamp = line["timestamp"].as_str().expect("a time");
        assert!(timestamp.ends_with('Z'), "{timestamp}");
        messages.push(line["message"].as_str().expect("a text").to_owned());
    }
    let last = messages.last().expect("a line");
    assert_eq!(last, "stopped", "{messages:?}");
}
