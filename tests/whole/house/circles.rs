//! No file names one that names it, directly or through others: each can be read after those that it names.

use std::collections::{BTreeMap, BTreeSet};

use super::uses::Crate;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the files that can be reached from one by what they name.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut left = vec![from];
    while let Some(file) = left.pop() {
        for named in &graph[file] {
            if reached.insert(named.clone()) {
                left.push(named);
            }
        }
    }
    reached
}

/// Returns the files of each circle.
fn circles(graph: &Graph) -> BTreeSet<Vec<String>> {
    let reached: Graph = graph
        .keys()
        .map(|file| (file.clone(), reached(graph, file)))
        .collect();
    let in_circles = graph.keys().filter(|file| reached[*file].contains(*file));
    let circle = |file: &String| {
        let others = reached[file].iter();
        others
            .filter(|other| reached[*other].contains(file))
            .cloned()
            .collect()
    };
    in_circles.map(circle).collect()
}

fn check(folder: &str, files_min: usize, uses_min: usize) {
    let graph = Crate::of(folder).graph(false);
    let uses: usize = graph.values().map(BTreeSet::len).sum();
    assert!(
        graph.len() >= files_min && uses >= uses_min,
        "only {} files and {uses} uses were seen",
        graph.len()
    );
    let circles = circles(&graph);
    assert!(
        circles.is_empty(),
        "files of {folder} in circles: {circles:#?}"
    );
}

#[test]
fn no_files_of_the_server_name_each_other_in_a_circle() {
    check("src", 100, 500);
}

#[test]
fn no_files_of_the_client_name_each_other_in_a_circle() {
    check("client", 40, 150);
}
