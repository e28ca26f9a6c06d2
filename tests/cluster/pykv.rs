//! The built server over a cluster.
//!
//! In: a cluster, and flags. Out: a running `pykv-server --engine`, killed when dropped, and connections to it.

use std::net::SocketAddr;

use crate::redis_cluster::RedisCluster;
use crate::server::{Stopped, TestClient, TestServer};

/// The server.
pub struct Pykv {
    server: TestServer,
}

impl Pykv {
    /// A server over all nodes of a cluster, with these flags besides.
    pub fn start(cluster: &RedisCluster, flags: &[&str]) -> Self {
        Self::start_at(&cluster.url(), flags, &[])
    }

    /// A server over the nodes of an URL, with these flags and variables besides.
    pub fn start_at(url: &str, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        Self {
            server: stopped(url, flags, variables).restart(),
        }
    }

    /// What is said by a server over the nodes of an URL that must not start.
    pub fn start_fails(url: &str, flags: &[&str], variables: &[(&str, &str)]) -> String {
        stopped(url, flags, variables).start_fails()
    }

    /// The address of the text port.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// What it has said on standard error.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// A connection that speaks lines.
    pub fn line_connection(&self) -> TestClient {
        self.server.client()
    }

    /// A connection of a stock Redis client.
    pub fn redis_connection(&self) -> redis::Connection {
        let client = redis::Client::open(format!("redis://{}", self.addr()));
        let client = client.expect("an address");
        client.get_connection().expect("the server takes a client")
    }
}

fn stopped(url: &str, flags: &[&str], variables: &[(&str, &str)]) -> Stopped {
    let flags = [&["--engine", url], flags].concat();
    let stopped = Stopped::new(&flags);
    let variables = variables.iter();
    variables.fold(stopped, |stopped, (name, value)| {
        stopped.with_env(name, value)
    })
}
