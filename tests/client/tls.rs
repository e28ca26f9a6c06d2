//! `pykvs://`: the client and its tools over TLS, and what they say where either side is not trusted.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::client::{Ended, Prompt, client, done, end, pipe};
use crate::support::server::{TestServer, is_skipped};
use crate::support::tls::{Authority, Identity};

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn server(identity: &Identity, more: &[&str]) -> TestServer {
    let flags = identity.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let tls = ["--allow-anonymous", "--listen", "tls://0.0.0.0:0"];
    TestServer::start_with(&[&tls, &*flags, more].concat())
}

/// The client for the encrypted address of a server.
fn encrypted(server: &TestServer, ca: &Path) -> Command {
    let mut command = client(server.addr());
    let port = server.addr_of("on tls://").port();
    command.env("PYKV_URL", format!("pykvs://localhost:{port}"));
    command.arg("--cacert").arg(ca);
    command
}

#[test]
fn commands_pipes_and_tools_work_over_tls() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    let ca = authority.file();
    let run = |words: &[&str]| end(encrypted(&server, &ca).args(words));
    assert_eq!(run(&["PUT", "a", "1"]), done("OK\n"));
    assert_eq!(run(&["GET", "a"]), done("1\n"));
    let lines = "INCR n\n".repeat(20_000);
    let piped = pipe(&mut encrypted(&server, &ca), lines.clone());
    assert_eq!(
        (piped.status, piped.out.lines().count()),
        (0, 20_000),
        "{}",
        piped.err
    );
    let bulk = pipe(encrypted(&server, &ca).arg("--pipe"), lines);
    assert_eq!((bulk.status, &*bulk.err), (0, "20,000 answers; 0 errors\n"));
    let value = "v".repeat(3 << 20);
    assert_eq!(
        pipe(
            encrypted(&server, &ca).args(["PUT", "long", "-"]),
            value.clone()
        ),
        done("OK\n")
    );
    assert_eq!(run(&["--raw", "GET", "long"]), done(&value));
    let exported = run(&["export"]);
    assert_eq!(exported.status, 0, "{}", exported.err);
    let imported = pipe(encrypted(&server, &ca).args(["import", "-"]), exported.out);
    assert_eq!(imported.status, 0, "{imported:?}");
    // A server that an argument names is connected to with the same options.
    let url = format!("pykvs://127.0.0.1:{}", server.addr_of("on tls://").port());
    let compared = run(&["diff", &url]);
    assert_eq!(compared.status, 0, "{compared:?}");
    for (words, shown) in [
        (&["scan"][..], "long"),
        (&["bigkeys"], "long"),
        (&["health"], "ok"),
        (&["stat", "-n", "1"], ""),
        (&["latency", "-n", "1"], ""),
    ] {
        let ended = run(words);
        assert!(
            ended.status == 0 && ended.out.contains(shown),
            "{words:?}: {ended:?}"
        );
    }
    for dialect in ["line", "resp"] {
        let bench = run(&[
            "--json",
            "bench",
            "--fill",
            "-n",
            "5000",
            "-P",
            "16",
            "--keys",
            "100",
            "--dialect",
            dialect,
        ]);
        assert_eq!(bench.status, 0, "{bench:?}");
        assert!(
            bench.out.contains("\"misses\": 0") || bench.out.contains("\"misses\":0"),
            "{bench:?}"
        );
    }
}

#[test]
fn a_server_that_cannot_be_trusted_is_not_and_the_reason_says_what_to_do() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server_of = |identity: &Identity| server(identity, &[]);
    let server = server_of(&authority.issue("server"));
    let (tls, plain) = (server.addr_of("on tls://").port(), server.addr().port());
    let ca = text(&authority.file());
    let ask = |url: &str, flags: &[&str]| -> Ended {
        end(client(server.addr())
            .env("PYKV_URL", url)
            .args(flags)
            .arg("PING"))
    };
    let unknown = text(&other.file());
    for (url, flags, reason) in [
        (
            format!("pykvs://localhost:{tls}"),
            &["--cacert", &unknown][..],
            "give the authority's file with --cacert FILE",
        ),
        (
            format!("pykvs://127.0.0.2:{tls}"),
            &["--cacert", &ca],
            "the server's certificate is not for 127.0.0.2",
        ),
        (
            format!("pykvs://localhost:{plain}"),
            &["--cacert", &ca],
            "the server does not speak TLS there: use pykv:// in place of pykvs://",
        ),
        (
            format!("pykv://localhost:{tls}"),
            &[],
            "this port speaks TLS; connect with pykvs://",
        ),
        (
            format!("pykvs://localhost:{tls}"),
            &["--cacert", "/nowhere.pem"],
            "--cacert /nowhere.pem: ",
        ),
        (
            format!("pykvs://localhost:{tls}"),
            &["--cacert", &ca, "--cert", "/nowhere.pem"],
            "--cert and --key (PYKV_CERT and PYKV_KEY) belong together",
        ),
    ] {
        let ended = ask(&url, flags);
        assert!(
            ended.status != 0 && ended.out.is_empty() || ended.out.starts_with("ERR "),
            "{url}: {ended:?}"
        );
        let said = ended.err + &ended.out;
        assert!(said.contains(reason), "{url}: {said}");
    }
    let insecure = ask(&format!("pykvs://localhost:{tls}"), &["--insecure"]);
    assert_eq!((insecure.status, &*insecure.out), (0, "PONG\n"));
    assert!(
        insecure.err.starts_with("Warning: --insecure: "),
        "{}",
        insecure.err
    );
}

#[test]
fn a_client_shows_its_certificate_where_one_is_required() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ca = authority.file();
    let server = server(&authority.issue("server"), &["--tls-client-ca", &text(&ca)]);
    let (ann, eve) = (authority.issue("ann"), other.issue("eve"));
    let with = |identity: &Identity| {
        let mut command = encrypted(&server, &ca);
        command.arg("--cert").arg(&identity.certificate);
        command.arg("--key").arg(&identity.key);
        end(command.arg("PING"))
    };
    assert_eq!(with(&ann), done("PONG\n"));
    let mut by_variables = encrypted(&server, &ca);
    by_variables
        .env("PYKV_CERT", &ann.certificate)
        .env("PYKV_KEY", &ann.key);
    assert_eq!(end(by_variables.arg("PING")), done("PONG\n"));
    let nobody = end(encrypted(&server, &ca).arg("PING"));
    let reason = "the server requires a certificate of its clients: give yours with --cert FILE and --key FILE";
    assert!(
        nobody.status == 2 && nobody.err.contains(reason),
        "{nobody:?}"
    );
    let stranger = with(&eve);
    let reason = "the server does not trust the certificate of --cert";
    assert!(
        stranger.status == 2 && stranger.err.contains(reason),
        "{stranger:?}"
    );
}

#[test]
fn without_a_file_the_authorities_of_the_system_are_trusted() {
    let authority = Authority::new();
    let server = server(&authority.issue("server"), &[]);
    let url = format!("pykvs://localhost:{}", server.addr_of("on tls://").port());
    let mut trusting = client(server.addr());
    trusting.env("PYKV_URL", &url).arg("PING");
    assert_eq!(end(&mut trusting).status, 2);
    // By this variable OpenSSL and those that follow it are told where the system has them.
    trusting.env("SSL_CERT_FILE", authority.file());
    assert_eq!(end(&mut trusting), done("PONG\n"));
}

#[test]
fn the_prompt_finds_a_restarted_server_again_over_tls() {
    if is_skipped("script") {
        return;
    }
    let authority = Authority::new();
    let identity = authority.issue("server");
    let server = server(&identity, &[]);
    let address = format!("tls://0.0.0.0:{}", server.addr_of("on tls://").port());
    let url = address.replace("tls://0.0.0.0", "pykvs://localhost");
    let ca = text(&authority.file());
    let environment = [("NO_COLOR", "1"), ("PYKV_URL", &url), ("PYKV_CACERT", &ca)];
    let state = TempDir::new().expect("a folder for a test");
    let mut prompt = Prompt::open_with(server.addr(), state.path(), "", &environment);
    prompt.wait_for("> ");
    prompt.type_until("PUT name apple\r", "OK\r\n");
    let tls = identity.flags();
    let flags = ["--allow-anonymous", "--listen", &address];
    let flags = [&flags[..], &tls.each_ref().map(String::as_str)].concat();
    let server = server.kill().with_flags(&flags).restart();
    prompt.type_until("GET name\r", "Connected again to");
    prompt.wait_for("apple\r\n");
    drop(server);
}
