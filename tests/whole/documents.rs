//! The documents are true: what they show on a terminal is typed there, and what no test holds stands in the list for a release.
//!
//! In: README.md and docs/. Out: nothing but the verdict. protocol.md has a test of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::http::Http;
use crate::support::server::{Stopped, TestServer, is_skipped};

const README: &str = include_str!("../../README.md");
const CLIENT: &str = include_str!("../../docs/client.md");
const HTTP: &str = include_str!("../../docs/http.md");
const OPERATING: &str = include_str!("../../docs/operating.md");
const BENCHMARKS: &str = include_str!("../../docs/benchmarks.md");
const RELEASE: &str = include_str!("../../docs/release.md");

/// Programs that the documents use.
const PROGRAMS: [&str; 4] = ["nc", "jq", "redis-cli", "curl"];

/// A folder in which somebody follows a document, and the server of which it speaks.
struct Reader {
    folder: TempDir,
    server: TestServer,
}

impl Reader {
    /// Starts the server; `data` in the folder is its data.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = TestServer::start();
        std::os::unix::fs::symlink(server.data(), folder.path().join("data")).expect("a link");
        Self { folder, server }
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.folder.path().join(name), content).expect("a file");
    }

    /// Types a line, and this input, into a shell in the folder; returns its status and standard output. The default ports stand
    /// for those of the server.
    fn types(&self, line: &str, input: &str) -> (Option<i32>, String) {
        let (port, http) = (self.server.addr().port(), self.server.http_addr());
        let line = line
            .replace("7878", &port.to_string())
            .replace("127.0.0.1:8000", &http.to_string())
            // What it prints on a terminal.
            .replace("redis-cli", "redis-cli --no-raw");
        let client = Path::new(env!("CARGO_BIN_EXE_pykv-cli"));
        let path = client.parent().expect("a folder").display();
        let path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("timeout")
            .args(["60", "sh", "-c", &line])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("PYKV_URL", format!("pykv://127.0.0.1:{port}"))
            .env("HOME", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut typed = shell.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut typed, input.as_bytes()).expect("it reads");
        drop(typed);
        let output = shell.wait_with_output().expect("it ends");
        let said = String::from_utf8(output.stdout).expect("text");
        (output.status.code(), said)
    }
}

/// The block of a document that follows a line, without its fences or its indentation.
fn block_after(document: &'static str, line: &str) -> Vec<&'static str> {
    let lines = document.lines().skip_while(|it| !it.contains(line)).skip(1);
    let is_code = |line: &&str| line.starts_with("    ") || line.starts_with("```");
    let lines = lines.skip_while(|line| !is_code(line));
    let block = lines.take_while(|line| !line.is_empty() && *line != "```");
    let block = block.filter(|line| !line.starts_with("```"));
    let block: Vec<_> = block
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect();
    assert!(!block.is_empty(), "no example after {line:?}");
    block
}

fn is_any_skipped() -> bool {
    PROGRAMS.into_iter().any(is_skipped)
}

#[test]
fn the_session_of_the_readme_is_true() {
    if is_any_skipped() {
        return;
    }
    let reader = Reader::new();
    let session = README.split("```console\n").nth(1).expect("a session");
    let session = session.split("```").next().expect("its end");
    let mut played = 0;
    for step in session.split("$ ").skip(1) {
        let (command, shown) = step.split_once('\n').expect("a line");
        // What netcat is given begins with a command; all else is what is answered.
        let is_typed = |line: &&str| {
            let word = line.split(' ').next().unwrap_or_default();
            command.starts_with("nc ") && pykv::command::COMMANDS.iter().any(|it| it.name == word)
        };
        let typed: Vec<_> = shown.lines().filter(is_typed).collect();
        let answered: Vec<_> = shown.lines().filter(|line| !is_typed(line)).collect();
        let (status, said) = reader.types(command, &format!("{}\n", typed.join("\n")));
        assert_eq!(status, Some(0), "{command}: {said}");
        assert_eq!(said.lines().collect::<Vec<_>>(), answered, "{command}");
        played += 1;
    }
    assert_eq!(played, 5);
}

/// Leaves of a line what does not depend on the time and the port.
fn fixed(line: &str) -> String {
    let line = line.trim_start_matches(|it: char| !it.is_whitespace() && !line.starts_with('p'));
    line.replace(|it: char| it.is_ascii_digit(), "")
        .trim()
        .to_owned()
}

#[test]
fn a_start_prints_what_the_readme_shows() {
    let shown = block_after(README, "prints its log and where it listens:");
    let server = TestServer::start();
    let log = server.log();
    let said = log
        .lines()
        .chain(server.announced().iter().map(String::as_str));
    let shown: Vec<_> = shown.into_iter().map(fixed).collect();
    assert_eq!(said.map(fixed).collect::<Vec<_>>(), shown);
}

#[test]
fn the_readme_asks_for_the_compiler_that_the_package_asks_for() {
    let version = format!(
        "[Rust](https://rustup.rs) {} or newer",
        env!("CARGO_PKG_RUST_VERSION")
    );
    assert!(README.contains(&version), "{version}");
    let version = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    let contributing = include_str!("../../CONTRIBUTING.md");
    assert!(contributing.contains(&version), "{version}");
}

/// Goal: the first table of client.md is true. Method: each line is typed, with the files that it names; those that need a terminal or
/// another machine are changed so that they do not, or have tests of their own.
#[test]
fn the_client_does_what_its_document_shows_first() {
    let reader = Reader::new();
    reader.write("index.html", "<p>\n");
    reader.write("commands.txt", "PUT user:1 Ann\nGET user:1\n");
    reader.write("commands.resp", "*3\r\n$3\r\nPUT\r\n$1\r\na\r\n$1\r\n1\r\n");
    reader.write("old-store.json", r#"{"old": "1"}"#);
    assert_eq!(reader.server.client().ask("PUT name apple"), "OK");
    let mut played = 0;
    for line in block_after(CLIENT, "`pykv-cli` has three forms") {
        let command = line.split("  ").next().expect("a word");
        let (command, expected) = match command {
            // A prompt and a screen have tests of their own.
            // A cluster with etcd, too.
            "pykv-cli" | "pykv-cli top" | "pykv-cli -u pykv://a,b,c cluster" => continue,
            "pykv-cli GET name" => (command, Some("apple\n")),
            "pykv-cli -r 5 -i 0.5 INCR n" => (command, Some("1\n2\n3\n4\n5\n")),
            "pykv-cli --raw GET page > page" => {
                ("pykv-cli --raw GET page | tee page", Some("<p>\n"))
            }
            "pykv-cli --json ALL user:" => (command, Some("{}\n")),
            "pykv-cli < commands.txt" => (command, Some("OK\nAnn\n")),
            "pykv-cli health" => (command, Some("ok\n")),
            "pykv-cli diff backup.json.gz" => (command, Some("")),
            "pykv-cli import redis://host:6379 or of a Redis or PyKV server" => {
                ("pykv-cli import --missing redis://127.0.0.1:7878", None)
            }
            "pykv-cli bench --fill" => ("pykv-cli bench --fill --keys 100 --seconds 1", None),
            other => (other, None),
        };
        let (status, said) = reader.types(command, "");
        assert_eq!(status, Some(0), "{command}: {said}");
        if let Some(expected) = expected {
            assert_eq!(said, expected, "{command}");
        }
        played += 1;
    }
    assert_eq!(played, 14);
}

#[test]
fn the_client_ends_with_the_status_that_its_document_says() {
    let reader = Reader::new();
    reader.write("broken.json", r#"{"a": "#);
    reader.write("other.json", r#"{"b": "1"}"#);
    assert_eq!(reader.server.client().ask("PUT a x"), "OK");
    for (line, status) in [
        ("pykv-cli GET nope", 0),
        ("pykv-cli INCR a", 1),
        ("pykv-cli import broken.json", 1),
        ("pykv-cli diff other.json", 1),
        ("pykv-cli -u pykv://127.0.0.1:1 GET a", 2),
        ("pykv-cli --nope", 2),
        ("printf 'PUT b 1' | pykv-cli", 2),
        ("printf 'GET a' | pykv-cli", 0),
        ("pykv-cli --raw GET nope", 3),
        ("pykv-cli CLEAR", 2),
        ("pykv-cli --force CLEAR", 0),
    ] {
        let (code, said) = reader.types(line, "");
        assert_eq!(code, Some(status), "{line}: {said}");
    }
}

#[test]
fn the_requests_that_the_document_of_http_shows_are_accepted() {
    if is_any_skipped() {
        return;
    }
    let reader = Reader::new();
    reader.write("pairs.csv", "key,value\nuser:1,Ann\n");
    let mut played = 0;
    for line in block_after(HTTP, "the API of the older PyKV, to which")
        .into_iter()
        .chain(block_after(
            HTTP,
            "refuses changes while it stores has stored some of the pairs.",
        ))
    {
        // Its answer has no end.
        let line = line.replace("/api/v1/live", "/api/v1/live | head -n 1");
        let (status, said) = reader.types(&line.replace("curl ", "curl -sS --fail-with-body "), "");
        assert_eq!(status, Some(0), "{line}: {said}");
        played += 1;
    }
    assert_eq!(played, 6);
    assert_eq!(reader.server.client().ask("GET user:1"), "VALUE \"Ann\"");
    assert_eq!(reader.server.client().ask("GET session:7"), "VALUE \"Ada\"");
}

#[test]
fn the_document_of_http_names_every_endpoint() {
    let server = TestServer::start();
    let document = Http::connect(&server).ask("GET /openapi.json").json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 25, "{}", paths.len());
    for path in paths.keys() {
        assert!(
            HTTP.contains(path.as_str()),
            "docs/http.md does not name {path}"
        );
    }
}

/// Goal: the numbers of README.md are those of docs/benchmarks.md.
#[test]
fn the_numbers_of_the_readme_are_those_of_the_benchmarks() {
    let rows = README
        .lines()
        .skip_while(|line| *line != "| | PyKV | Redis |");
    let rows = rows.skip(2).take_while(|line| line.starts_with("| "));
    let known = BENCHMARKS.split(|it: char| !it.is_ascii_digit() && it != '.');
    let known: Vec<_> = known.collect();
    let mut numbers = 0;
    for row in rows {
        for cell in row
            .split('|')
            .skip(2)
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
        {
            let number = cell.split(' ').next().unwrap_or_default();
            assert!(known.contains(&number), "{number} of {row}");
            numbers += 1;
        }
    }
    assert_eq!(numbers, 12);
}

#[test]
fn an_open_address_is_refused_as_the_documents_show() {
    let shown = block_after(OPERATING, "the two ways out are a password and");
    let refused = Stopped::new(&["--listen", "0.0.0.0:7878"]).start_fails();
    assert_eq!(refused.trim_end(), shown[1]);
}

/// Goal: each sentence of the list for a release names a test that there is, or says how to look.
#[test]
fn the_list_for_a_release_names_tests_that_there_are() {
    let mut sources = String::new();
    collect(&PathBuf::from(env!("CARGO_MANIFEST_DIR")), &mut sources);
    let rows = RELEASE.lines().filter(|line| line.starts_with("| "));
    let mut tests = 0;
    for row in rows.skip(1) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        assert!(!cells[2].is_empty(), "{row}");
        let names = cells[2].split('`').skip(1).step_by(2);
        for name in names.filter(|name| name.matches('_').count() > 2) {
            assert!(sources.contains(&format!("fn {name}()")), "no test {name}");
            tests += 1;
        }
    }
    assert!(tests > 20, "{tests}");
}

/// Appends all Rust below a folder.
fn collect(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !["target", ".git", "node_modules"].contains(&&*name) {
            collect(&path, sources);
        } else if path.extension().is_some_and(|it| it == "rs") {
            sources.push_str(&fs::read_to_string(&path).expect("text"));
        }
    }
}
