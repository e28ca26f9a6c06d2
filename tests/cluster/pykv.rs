//! The built server over a cluster.
//!
//! In: a cluster, and flags. Out: a running `pykv-server --engine`, killed when dropped, and connections to it.

use std::net::SocketAddr;

use crate::redis_cluster::RedisCluster;
use crate::server::{TestClient, TestServer};

/// The server.
pub struct Pykv {
    server: TestServer,
}

impl Pykv {
    /// A server over all nodes of a cluster, with these flags besides.
    pub fn start(cluster: &RedisCluster, flags: &[&str]) -> Self {
        let url = cluster.url();
        let flags = [&["--engine", &url], flags].concat();
        Self {
            server: TestServer::start_with(&flags),
        }
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
