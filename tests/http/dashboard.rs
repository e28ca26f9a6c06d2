//! The dashboard, as it is served: what it may load, and that all of it is inside the binary.

use std::collections::BTreeSet;

use crate::support::http::{Answer, Http};
use crate::support::server::TestServer;

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let found = answer.header(name);
    found.unwrap_or_else(|| panic!("no {name}: {}", answer.head))
}

/// The paths between quotes in a text that begin with one of these.
fn paths(text: &str, beginnings: &[&str]) -> BTreeSet<String> {
    let quoted = text.split('"').skip(1).step_by(2);
    let wanted = quoted.filter(|text| {
        beginnings
            .iter()
            .any(|beginning| text.starts_with(beginning))
    });
    wanted.map(str::to_owned).collect()
}

#[test]
fn the_page_and_all_that_it_names_come_from_this_server_alone() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    let page = http.ask("GET /");
    assert_eq!(page.status, 200);
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    let mut waiting = paths(page.text(), &["/dashboard/"]);
    let mut seen = BTreeSet::new();
    while let Some(path) = waiting.pop_first() {
        let file = http.ask(&format!("GET {path}"));
        assert_eq!(file.status, 200, "{path}");
        let content_type = header(&file, "content-type");
        let expected = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(content_type, expected, "{path}");
        // The name of a namespace of XML is no address that is asked.
        let text = file.text().replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("http:") && !text.contains("https:"),
            "{path}"
        );
        assert!(
            !text.contains("innerHTML") && !text.contains("insertAdjacentHTML"),
            "{path}"
        );
        let imported = paths(&text, &["./"]);
        let imported = imported
            .iter()
            .map(|name| name.replace("./", "/dashboard/"));
        waiting.extend(imported.filter(|path| !seen.contains(path)));
        seen.insert(path);
    }
    assert_eq!(seen.len(), 25, "{seen:?}");
    assert!(!page.text().contains("http:") && !page.text().contains("https:"));
}

#[test]
fn no_script_runs_in_it_but_its_own() {
    let server = TestServer::start();
    let mut http = Http::connect(&server);
    for path in ["/", "/dashboard/main.js"] {
        let answer = http.ask(&format!("GET {path}"));
        let policy = header(&answer, "content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; "),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    }
    // All of its scripts are files: none stands in the page.
    let page = http.ask("GET /");
    let scripts = page.text().matches("<script").count();
    assert_eq!(
        scripts,
        page.text().matches("<script type=\"module\" src=").count()
    );
    assert!(!page.text().contains(" style=") && !page.text().contains(" onclick="));
}

#[test]
fn a_file_that_it_does_not_have_is_not_found() {
    let server = TestServer::start();
    let answer = Http::connect(&server).ask("GET /dashboard/nope.js");
    assert_eq!(
        (answer.status, answer.text()),
        (404, r#"{"detail":"Not Found"}"#)
    );
}
