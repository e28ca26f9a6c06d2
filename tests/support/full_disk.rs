//! A disk that takes no more, without a privilege.
//!
//! In: a running server, and the length from which on its files fail to grow. Out: what `/health` then says of it.

use std::process::Command;

use crate::support::server::TestServer;

/// The longest file that the server may write from now on.
pub fn limit_files(server: &TestServer, limit: &str) {
    let status = Command::new("prlimit")
        .args([
            "--pid",
            &server.pid().to_string(),
            &format!("--fsize={limit}:"),
        ])
        .status();
    assert!(
        status
            .expect("prlimit (of Debian's util-linux) runs")
            .success()
    );
}

/// What /health says: the status, and the body.
pub fn health(server: &TestServer) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut response = agent
        .get(format!("http://{}/health", server.http_addr()))
        .call()
        .expect("an answer");
    (
        response.status().as_u16(),
        response.body_mut().read_to_string().expect("a body"),
    )
}
