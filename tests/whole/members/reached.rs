//! How members reach etcd, and how clients reach the one that leads.
//!
//! In: an etcd that wants certificates and passwords; HAProxy as the documents set it up. Out: who is let in, and what others are told.

use std::fs;
use std::process::{Child, Command, Stdio};

use super::{Etcd, leads, member_at, members};
use crate::support::server::{TestClient, TestServer, is_skipped, wait_until};
use crate::support::tls::{Authority, Identity};

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets etcd ask for passwords; the user `shop` has the prefix of `PyKV` alone.
fn ask_for_passwords(etcd: &Etcd, authority: &Authority, identity: &Identity) {
    let lines = [
        "role add pykv",
        "role grant-permission pykv --prefix=true readwrite /pykv/",
        "user add shop:secret",
        "user grant-role shop pykv",
        "user add root:other",
        "user grant-role root root",
        "auth enable",
    ];
    for line in lines {
        let run = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &etcd.url()])
            .arg("--cacert")
            .arg(authority.file())
            .arg("--cert")
            .arg(&identity.certificate)
            .arg("--key")
            .arg(&identity.key)
            .args(line.split(' '))
            .output();
        let run = run.expect("etcdctl starts");
        assert!(run.status.success(), "{line}: {run:?}");
    }
}

#[test]
fn etcd_is_reached_by_tls_with_a_certificate_and_a_password() {
    if is_skipped("etcdctl") {
        return;
    }
    let authority = Authority::new();
    let (server, client) = (authority.issue("server"), authority.issue("client"));
    let text = |path: &std::path::Path| path.display().to_string();
    let flags = [
        "--cert-file".to_owned(),
        text(&server.certificate),
        "--key-file".to_owned(),
        text(&server.key),
        "--trusted-ca-file".to_owned(),
        text(&authority.file()),
        "--client-cert-auth".to_owned(),
    ];
    let Some(etcd) = Etcd::start_with("https", &flags) else {
        return;
    };
    ask_for_passwords(&etcd, &authority, &client);
    let place = etcd.place();
    let (certificate, key) = (text(&client.certificate), text(&client.key));
    let identified = ["--etcd-cert", &certificate, "--etcd-key", &key];
    let trusting = |user: &str, flags: &[&str]| {
        let url = format!("https://{user}{place}");
        member_at(&url, flags).with_env("SSL_CERT_FILE", &text(&authority.file()))
    };
    let member = trusting("shop:secret@", &identified).restart();
    wait_until("it leads", || leads(&member));
    assert_eq!(member.client().ask("PUT name Ada"), "OK");

    let refused = trusting("shop:wrong@", &identified).start_fails();
    assert!(
        refused.contains("authentication failed") && refused.contains("--etcd"),
        "{refused}"
    );
    let refused = trusting("", &identified).start_fails();
    assert!(refused.contains("permission denied"), "{refused}");
    // Without a certificate, with one of another authority: it tells so, and waits.
    let other = Authority::new();
    let (url, wrong) = (format!("https://shop:secret@{place}"), text(&other.file()));
    for (waiting, reason) in [
        (trusting("shop:secret@", &[]), "ertificate"),
        (
            member_at(&url, &identified).with_env("SSL_CERT_FILE", &wrong),
            "invalid peer certificate",
        ),
    ] {
        let waiting = waiting.start_loading();
        wait_until("it tells why", || waiting.log().contains(reason));
    }
}

/// The section of the documents on `HAProxy`, with these members in place of those there.
fn proxy_settings(port: u16, servers: &[TestServer]) -> String {
    let text = fs::read_to_string("docs/operating.md").expect("the document");
    let start = text.find("backend pykv\n").expect("the section on HAProxy");
    let section = &text[start..];
    let section = &section[..section.find("```").expect("its end")];
    let settings = section
        .lines()
        .filter(|line| !line.trim().starts_with("server "));
    let mut settings: Vec<String> = settings
        .map(|line| line.replace(" port 8000", ""))
        .collect();
    for (number, server) in servers.iter().enumerate() {
        let (addr, port) = (server.addr(), server.http_addr().port());
        settings.push(format!("    server s{number} {addr} port {port}"));
    }
    let rest = format!(
        "defaults\n    timeout connect 2s\n    timeout client 1m\n    timeout server 1m\n\
         frontend front\n    mode tcp\n    bind 127.0.0.1:{port}\n    default_backend pykv\n"
    );
    format!("{rest}{}\n", settings.join("\n"))
}

#[test]
fn haproxy_leads_clients_to_the_member_that_leads() {
    if is_skipped("haproxy") {
        return;
    }
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let servers = members(&etcd, 2);
    let folder = tempfile::tempdir().expect("a folder");
    let port = super::etcd::free_port();
    let settings = folder.path().join("haproxy.cfg");
    fs::write(&settings, proxy_settings(port, &servers)).expect("a file");
    let proxy = Command::new("haproxy")
        .arg("-f")
        .arg(&settings)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _proxy = Running(proxy.expect("haproxy starts"));
    let addr = ([127, 0, 0, 1], port).into();
    let ask = |line: &str| TestClient::try_connect(addr)?.try_ask(line);
    wait_until("the first one takes changes", || {
        ask("PUT name 1").as_deref() == Some("OK")
    });
    assert!(leads(&servers[0]));
    assert_eq!(servers[0].client().ask("STEPDOWN"), "OK");
    wait_until("the second one takes changes", || {
        ask("PUT name 2").as_deref() == Some("OK")
    });
    assert!(leads(&servers[1]));
    // Until the next look at the first one, some connections go there.
    wait_until("clients are led to the second one alone", || {
        (0..10).all(|_| ask("GET name").as_deref() == Some("VALUE \"2\""))
    });
}
