//! No layer names one that stands above it in the law of its crate, and every file belongs to a layer.
//!
//! The law of a crate is the `text` block in the `//!` of its top file. A line of it is a layer: the names of its modules, two or more
//! blanks, and what it does. The modules of one line may name each other, as far as no circle comes of it.

use super::uses::Crate;
use super::{read, root};

/// Returns the layers that the top file of a crate lists, the highest first, each as the names of its modules.
fn law(top: &str) -> Vec<Vec<String>> {
    let text = read(&root().join(top));
    let block = text
        .lines()
        .skip_while(|line| *line != "//! ```text")
        .skip(1);
    let lines = block.take_while(|line| *line != "//! ```");
    let lines = lines.map(|line| line.strip_prefix("//! ").expect("a line of the comment"));
    let names = lines.map(|line| line.split("  ").next().unwrap_or_default());
    names
        .map(|names| names.split(' ').map(str::to_owned).collect())
        .collect()
}

/// Returns the module of the law that a file belongs to: its folder, or its own name at the top.
fn module(file: &str) -> &str {
    file.split('/')
        .next()
        .unwrap_or(file)
        .trim_end_matches(".rs")
}

/// Checks a crate; returns how many of its files were seen, and how many uses of one layer in another.
fn check(folder: &str, top: &str) -> (usize, usize) {
    let layers = law(top);
    let height = |module: &str| {
        layers
            .iter()
            .position(|layer| layer.iter().any(|it| it == module))
    };
    let graph = Crate::of(folder).graph(true);
    let mut seen = 0;
    // The top of a library declares its modules, and no module names it.
    for (file, named) in graph.iter().filter(|(file, _)| *file != "lib.rs") {
        let own = height(module(file))
            .unwrap_or_else(|| panic!("{folder}/{file} belongs to no layer of {top}"));
        for named in named {
            let other = height(module(named)).unwrap_or_else(|| {
                panic!("{folder}/{file} names {named}, which is in no layer of {top}")
            });
            assert!(
                own <= other,
                "{folder}/{file} names {named}, which stands above it in {top}"
            );
            seen += usize::from(own != other);
        }
    }
    for name in layers.iter().flatten() {
        let is_there = graph.keys().any(|file| module(file) == name);
        assert!(
            is_there,
            "{top} lists {name}, which no file of {folder} belongs to"
        );
    }
    (graph.len(), seen)
}

#[test]
fn no_layer_of_the_server_names_one_above_it() {
    let (files, uses) = check("src", "src/lib.rs");
    assert!(
        files > 100 && uses > 150,
        "only {files} files and {uses} uses were seen"
    );
}

#[test]
fn no_layer_of_the_client_names_one_above_it() {
    let (files, uses) = check("client", "client/main.rs");
    assert!(
        files > 40 && uses > 100,
        "only {files} files and {uses} uses were seen"
    );
}
