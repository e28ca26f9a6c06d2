//! House rules that no lint knows: layers, module docs, sizes, and documents that agree with the program and with each other.

mod circles; // no file names one that names it, by whatever way
mod laws; // no layer names one above it
mod uses; // the files of a crate, and which names which

use std::fs;
use std::path::{Path, PathBuf};

use pykv::command::{COMMANDS, Dialects};

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
fn unsafe_code_stays_on_its_island() {
    let mut seen = 0;
    for path in sources(&root().join("src"))
        .iter()
        .chain(&sources(&root().join("client")))
    {
        let text = read(path);
        let count = ["unsafe {", "unsafe impl ", "#[unsafe("]
            .map(|form| text.matches(form).count())
            .iter()
            .sum::<usize>();
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
fn the_readme_is_short() {
    let lines = read(&root().join("README.md")).lines().count();
    assert!(
        lines <= 120,
        "README.md has {lines} lines: move what is not for a first look to docs/"
    );
}

/// The documents, by their paths from the top.
const DOCUMENTS: [&str; 11] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "protocol.md",
    "docs/architecture.md",
    "docs/benchmarks.md",
    "docs/client.md",
    "docs/frameworks.md",
    "docs/http.md",
    "docs/operating.md",
    "docs/release.md",
];

/// The lines of a document outside its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    for heading in headings.map(|line| line.trim_start_matches('#').trim()) {
        let kept = heading.chars().filter(|character| {
            character.is_alphanumeric() || matches!(character, ' ' | '-' | '_')
        });
        let anchor: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let same = anchors
            .iter()
            .filter(|before| **before == anchor || before.starts_with(&format!("{anchor}-")))
            .filter(|before| {
                before[anchor.len()..]
                    .chars()
                    .skip(1)
                    .all(|c| c.is_ascii_digit())
            })
            .count();
        anchors.push(match same {
            0 => anchor,
            _ => format!("{anchor}-{same}"),
        });
    }
    anchors
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut seen = 0;
    for document in DOCUMENTS {
        let path = root().join(document);
        let text = read(&path);
        let joined = prose(&text).collect::<Vec<_>>().join(" ");
        let targets = joined.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split(')').next()) {
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let aim = match file {
                "" => path.clone(),
                _ => path.parent().expect("a folder").join(file),
            };
            assert!(aim.exists(), "{document}: {target} leads nowhere");
            assert!(
                anchor.is_empty() || anchors(&read(&aim)).contains(&anchor.to_owned()),
                "{document}: {target} has no such heading"
            );
            seen += 1;
        }
    }
    assert!(seen > 60, "only {seen} links were seen");
}

#[test]
fn operating_md_lists_every_setting_with_its_variable_and_default() {
    let text = read(&root().join("docs/operating.md"));
    let mut seen = 0;
    let command = pykv::config::Config::command();
    for argument in command.get_arguments() {
        let (Some(flag), Some(variable)) = (argument.get_long(), argument.get_env()) else {
            continue;
        };
        let defaults = argument.get_default_values().iter();
        let defaults: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
        let default = match defaults.join(" ") {
            none if none.is_empty() => none,
            default => format!("`{default}` "),
        };
        let row = format!(
            "| `--{flag}` | `{}` | {default}|",
            variable.to_string_lossy(),
        );
        assert!(text.contains(&row), "docs/operating.md has no row {row}");
        seen += 1;
    }
    assert!(seen > 4, "only {seen} settings were seen");
}

#[test]
fn every_rule_of_persistence_names_tests_that_are_there() {
    let rules = read(&root().join("src/persistence/mod.rs"));
    let files = sources(&root().join("tests"));
    let mut seen = 0;
    for word in rules
        .lines()
        .filter(|line| line.starts_with("//!"))
        .flat_map(str::split_whitespace)
    {
        let Some((module, test)) = word.split_once("::") else {
            continue;
        };
        // A module is a file of that name, or a folder.
        let is_there = files.iter().any(|path| {
            let is_of_module = path
                .with_extension("")
                .components()
                .any(|part| part.as_os_str() == module);
            is_of_module && read(path).contains(&format!("#[test]\nfn {test}()"))
        });
        assert!(is_there, "no test {word}");
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
        ".dockerignore",
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
    let of_lines = COMMANDS.iter();
    for command in of_lines.filter(|command| command.dialects != Dialects::Resp) {
        assert!(
            played.contains(&command.example),
            "{}: {:?} is not in protocol.md",
            command.name,
            command.example
        );
    }
}
