//! What the scenarios ask: something that speaks lines and keeps its data in a cluster.
//!
//! In: a cluster, and how safe a change must be before it is acknowledged. Out: an address. It is PyKV, or the naive front that shows
//! that the scenarios find what they look for.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;

use crate::naive::Naive;
use crate::pykv::Pykv;
use crate::redis_cluster::RedisCluster;
use crate::server::TestClient;

/// Which front is asked.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The built server.
    Pykv,
    /// Acknowledges what the primary and one replica have, and lets everything be read.
    Naive,
    /// Acknowledges what the primary has: it must be found out.
    Hasty,
}

/// What must have a change before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The primary.
    Fast,
    /// The replicas, too.
    Replicated,
}

/// A front that runs. What it has logged is shown if the scenario panics.
pub enum Front {
    Pykv(Box<Pykv>),
    Naive(Naive),
}

impl Front {
    /// Starts one over a cluster. Within `timeout`, given in whole seconds, it answers every request.
    pub fn start(
        kind: Kind,
        cluster: &RedisCluster,
        durability: Durability,
        timeout: Duration,
    ) -> Self {
        let is_replicated = durability == Durability::Replicated;
        match kind {
            Kind::Naive | Kind::Hasty => {
                let waits = is_replicated && kind == Kind::Naive;
                Self::Naive(Naive::start(cluster.addresses(), waits, timeout))
            }
            Kind::Pykv => {
                let durability = if is_replicated { "replicated" } else { "fast" };
                let timeout = timeout.as_secs().to_string();
                let flags = ["--durability", durability, "--engine-timeout", &timeout];
                Self::Pykv(Box::new(Pykv::start(cluster, &flags)))
            }
        }
    }

    /// Where it speaks lines.
    pub fn addr(&self) -> SocketAddr {
        match self {
            Self::Pykv(pykv) => pykv.addr(),
            Self::Naive(naive) => naive.addr(),
        }
    }

    /// A connection that speaks lines.
    pub fn line_connection(&self) -> TestClient {
        match self {
            Self::Pykv(pykv) => pykv.line_connection(),
            Self::Naive(naive) => TestClient::connect(naive.addr()),
        }
    }

    /// A connection of a stock Redis client, if it takes any.
    pub fn redis_connection(&self) -> Option<redis::Connection> {
        match self {
            Self::Pykv(pykv) => Some(pykv.redis_connection()),
            Self::Naive(_) => None,
        }
    }

    /// The figures of a scenario, as a success or a failure. It is no success if the front has panicked.
    pub fn verdict(&self, is_well: bool, figures: String) -> Result<String, String> {
        let log = self.log();
        if is_well && !log.contains("panicked at") {
            return Ok(figures);
        }
        Err(format!("{figures}\n{log}"))
    }

    fn log(&self) -> String {
        match self {
            Self::Pykv(pykv) => pykv.log(),
            Self::Naive(_) => String::new(),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.log());
        }
    }
}
