//! The files of a crate, and which names which.
//!
//! In: the folder of the crate. Out: for each file, those it names by paths, in `use` trees and elsewhere, that begin with
//! `crate`, `self`, `super` or a child module. A path names the file of the innermost module in it, so an item that a `mod.rs`
//! re-exports names that `mod.rs`. `mod` lines, `pub(in path)` and comments name nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{read, root, sources};

/// The path of a module from the top of its crate; empty for the top itself.
type Module = Vec<String>;

/// The files of one crate.
pub struct Crate {
    folder: PathBuf,
    files: BTreeMap<Module, PathBuf>,
}

impl Crate {
    /// Returns the crate whose top file stands in a folder of the project.
    pub fn of(folder: &str) -> Self {
        let folder = root().join(folder);
        let files = sources(&folder).into_iter();
        let files = files
            .map(|file| (module_of(&folder, &file), file))
            .collect();
        Self { folder, files }
    }

    /// Returns the path of a file from the folder, such as `http/mod.rs`.
    pub fn name(&self, file: &Path) -> String {
        let path = file.strip_prefix(&self.folder).expect("it is of the crate");
        path.display().to_string()
    }

    /// Returns, for each file, the others that it names; with or without what only its unit tests name.
    pub fn graph(&self, with_tests: bool) -> BTreeMap<String, BTreeSet<String>> {
        let graph = self.files.iter().map(|(module, file)| {
            let text = read(file);
            let (code, tests) = text
                .split_once("#[cfg(test)]\nmod tests {")
                .unwrap_or((&text, ""));
            let mut named: BTreeSet<String> = self.named(module, code);
            if with_tests {
                let inner = [module.as_slice(), &["tests".to_owned()]].concat();
                named.append(&mut self.named(&inner, tests));
            }
            let own = self.name(file);
            named.remove(&own);
            (own, named)
        });
        graph.collect()
    }

    /// Returns the files that the code of a module names.
    fn named(&self, module: &[String], code: &str) -> BTreeSet<String> {
        let paths = paths(code);
        let files = paths.iter().filter_map(|path| self.resolve(module, path));
        files.map(|file| self.name(file)).collect()
    }

    /// Returns the file that a path leads to; none if it leads out of the crate.
    fn resolve(&self, module: &[String], path: &str) -> Option<&PathBuf> {
        let mut segments: Vec<&str> = path.split("::").collect();
        let mut full: Module = module.to_vec();
        match segments[0] {
            "crate" => full.clear(),
            // The server's `main.rs` is a crate of its own, which names the library by this name.
            "pykv" if self.files.contains_key(&main_beside_a_library()) => full.clear(),
            "self" => {}
            "super" => {
                let ups = segments.iter().take_while(|it| **it == "super").count();
                full.truncate(module.len().checked_sub(ups)?);
                segments.drain(1..ups);
            }
            child => {
                full.push(child.to_owned());
                if !self.files.contains_key(&full) {
                    return None;
                }
            }
        }
        full.extend(segments[1..].iter().map(|&segment| segment.to_owned()));
        (0..=full.len())
            .rev()
            .find_map(|length| self.files.get(&full[..length]))
    }
}

/// The server's own file is no module of the library beside it.
fn main_beside_a_library() -> Module {
    vec!["<main>".to_owned()]
}

fn module_of(folder: &Path, file: &Path) -> Module {
    let path = file
        .strip_prefix(folder)
        .expect("it is below the folder")
        .with_extension("");
    let mut module: Module = path
        .iter()
        .map(|part| part.to_str().expect("a name in ASCII").to_owned())
        .collect();
    match module.last().map(String::as_str) {
        Some("main") if folder.join("lib.rs").exists() => return main_beside_a_library(),
        Some("mod" | "lib" | "main") => drop(module.pop()),
        _ => {}
    }
    module
}

/// Returns the paths in a text of code, in `use` trees and elsewhere. rustfmt has begun each `use` on a line of its own.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut tree: Option<String> = None;
    for line in code.lines().map(without_comment) {
        let line = without_restriction(line);
        match &mut tree {
            Some(tree) => tree.push_str(&line),
            None => match line
                .trim_start()
                .trim_start_matches("pub ")
                .strip_prefix("use ")
            {
                Some(begun) => tree = Some(begun.to_owned()),
                None => found.extend(inline_paths(&line)),
            },
        }
        if let Some(whole) = tree.take_if(|tree| tree.contains(';')) {
            let (whole, _) = whole.split_once(';').expect("it was seen");
            expand("", whole, &mut found);
        }
    }
    found
}

fn without_comment(line: &str) -> &str {
    match line.split_once("//") {
        Some((code, _)) if code.is_empty() || code.ends_with(' ') => code,
        _ => line,
    }
}

/// Returns a line with `pub` in place of `pub(crate)` or `pub(in path)`.
fn without_restriction(line: &str) -> String {
    match line
        .split_once("pub(")
        .map(|(before, rest)| (before, rest.split_once(')')))
    {
        Some((before, Some((_, after)))) => format!("{before}pub{after}"),
        _ => line.to_owned(),
    }
}

/// Returns what looks like a path in a line: words joined by `::`.
fn inline_paths(line: &str) -> impl Iterator<Item = String> {
    let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let paths = words.map(|word| word.trim_matches(':'));
    paths.filter(|path| path.contains("::")).map(str::to_owned)
}

/// Adds each path of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((beginning, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let path = path.trim_end_matches("::*").trim_end_matches("::self");
        if !path.is_empty() {
            found.push(format!("{before}{path}"));
        }
        return;
    };
    let before = format!("{before}{beginning}");
    let inner = rest.strip_suffix('}').expect("the tree is whole");
    let (mut depth, mut start) = (0, 0);
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, &inner[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand(&before, &inner[start..], found);
}
