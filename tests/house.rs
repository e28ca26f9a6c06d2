//! House rules that no lint knows: layers, module docs, sizes, and that README.md knows the table of commands.

use std::fs;
use std::path::{Path, PathBuf};

use pykv::command::COMMANDS;

/// What each layer may name. Data flows down and never up.
const MAY_USE: &[(&str, &[&str])] = &[
    ("src/error.rs", &[]),
    ("src/model", &[]),
    ("src/metrics", &["model"]),
    ("src/codec", &["model"]),
    ("src/persistence", &["error", "model", "codec"]),
    ("src/protocol", &["model", "codec"]),
    ("src/engine", &["model", "persistence", "protocol"]),
    (
        "src/command",
        &[
            "protocol",
            "engine",
            "model",
            "persistence",
            "metrics",
            "codec",
        ],
    ),
    ("src/check.rs", &["engine", "persistence"]),
    (
        "src/server",
        &[
            "error",
            "command",
            "config",
            "engine",
            "http",
            "codec",
            "model",
            "persistence",
            "protocol",
            "metrics",
        ],
    ),
    (
        "src/http",
        &[
            "command", "config", "engine", "codec", "metrics", "protocol", "model",
        ],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a folder, or the file itself.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .flat_map(|path| sources(&path))
        .collect();
    found.sort_unstable();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_file_begins_with_what_it_is() {
    let mut files: Vec<PathBuf> = ["src", "client", "tests", "benches"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
        .collect();
    // Not those that are built there.
    let fuzz = fs::read_dir(root().join("fuzz")).expect("the fuzzers");
    files.extend(
        fuzz.map(|entry| entry.expect("a file").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "rs")),
    );
    assert!(files.len() > 30, "only {} files were seen", files.len());
    for path in files {
        assert!(
            read(&path).starts_with("//! "),
            "{} does not begin with `//! `",
            path.display()
        );
    }
}

#[test]
fn no_layer_names_one_above_it() {
    let mut seen = 0;
    for (layer, may_use) in MAY_USE {
        let own = layer.trim_start_matches("src/").trim_end_matches(".rs");
        for path in sources(&root().join(layer)) {
            for line in read(&path)
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
            {
                for used in line.split("crate::").skip(1) {
                    let used = used
                        .split(|character: char| !character.is_alphanumeric() && character != '_')
                        .next();
                    let used = used.unwrap_or_default();
                    seen += 1;
                    assert!(
                        used == own || may_use.contains(&used),
                        "{} names crate::{used}",
                        path.display()
                    );
                }
            }
        }
    }
    assert!(seen > 40, "only {seen} uses were seen");
}

#[test]
fn unsafe_code_stays_on_its_island() {
    let mut seen = 0;
    for path in sources(&root().join("src"))
        .iter()
        .chain(&sources(&root().join("client")))
    {
        let text = read(path);
        let count = text.matches("unsafe {").count() + text.matches("unsafe impl ").count();
        seen += count;
        assert!(
            count == 0 || path.ends_with("src/model/entry.rs"),
            "{} has unsafe code",
            path.display()
        );
        assert_eq!(
            count,
            text.matches("// SAFETY: ").count(),
            "SAFETY in {}",
            path.display()
        );
    }
    assert!(seen > 0, "the island was not seen");
}

#[test]
fn the_readme_names_every_command_of_the_table_in_order_and_nothing_else() {
    let readme = read(&root().join("README.md"));
    let rows = readme
        .lines()
        .skip_while(|line| *line != "| family | commands | what they do |")
        .skip(2)
        .take_while(|line| line.starts_with("| "));
    let named: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(str::split_whitespace)
        .collect();
    let mut expected: Vec<String> = COMMANDS
        .iter()
        .map(|command| format!("`{}`", command.name))
        .collect();
    // A word that means one thing on a line and another to Redis is named once.
    expected.dedup();
    assert_eq!(named, expected);
}

#[test]
fn every_rule_of_persistence_names_tests_that_are_there() {
    let rules = read(&root().join("src/persistence/mod.rs"));
    let mut seen = 0;
    for word in rules
        .lines()
        .filter(|line| line.starts_with("//!"))
        .flat_map(str::split_whitespace)
    {
        let Some((module, test)) = word.split_once("::") else {
            continue;
        };
        let module = read(&root().join(format!("tests/{module}.rs")));
        assert!(
            module.contains(&format!("#[test]\nfn {test}()")),
            "no test {word}"
        );
        seen += 1;
    }
    assert!(seen > 20, "only {seen} tests were seen");
}

/// The last of the rules: who reads a promise must read what it does not hold.
#[test]
fn every_promise_is_written_where_people_read_it() {
    for (file, words) in [
        (
            "README.md",
            "somebody may have read what is then taken back",
        ),
        (
            "protocol.md",
            "a reader can see a value that a power cut then takes back",
        ),
        (
            "src/persistence/mod.rs",
            "A reader may see a value that such a power cut then takes back",
        ),
    ] {
        let text = read(&root().join(file))
            .replace("\n    ///", "")
            .replace('\n', " ");
        let text: Vec<&str> = text.split_whitespace().collect();
        assert!(
            text.join(" ").contains(words),
            "{file} does not say: {words}"
        );
    }
}

#[test]
fn the_project_holds_what_it_should_at_the_top_and_nothing_else() {
    let expected = [
        ".ci",
        ".git",
        ".gitignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "Dockerfile",
        "LICENSE",
        "README.md",
        "benches",
        "client",
        "data",
        "docs",
        "fuzz",
        "packaging",
        "protocol.md",
        "src",
        "target",
        "tests",
    ];
    let names: Vec<String> = fs::read_dir(root())
        .expect("the project")
        .map(|entry| {
            entry
                .expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        assert!(
            expected.contains(&name.as_str()),
            "{name} does not belong at the top"
        );
    }
}

#[test]
fn protocol_md_plays_the_example_of_every_command() {
    let protocol = read(&root().join("protocol.md"));
    let played: Vec<&str> = protocol
        .lines()
        .filter_map(|line| line.strip_prefix("C: "))
        .collect();
    for command in COMMANDS.iter() {
        assert!(
            played.contains(&command.example),
            "{}: {:?} is not in protocol.md",
            command.name,
            command.example
        );
    }
}
