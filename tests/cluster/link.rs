//! One client that speaks lines, and comes again after its connection was lost.
//!
//! In: requests. Out: whether each was done, not done, or nobody knows.

use std::net::SocketAddr;

use crate::server::TestClient;

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done: the reply.
    Done(String),
    /// It was not, and never will be: the error.
    NotDone(String),
    /// It may have been done, or be done still.
    Unknown,
}

/// The client.
pub struct Link {
    addr: SocketAddr,
    open: Option<TestClient>,
}

impl Link {
    /// A client that connects when it asks.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, open: None }
    }

    /// Sends a line; what came of it.
    pub fn ask(&mut self, line: &str) -> Outcome {
        let mut client = match self.open.take() {
            Some(client) => client,
            None => TestClient::connect(self.addr),
        };
        let sent = client.try_send(format!("{line}\n").as_bytes());
        let Some(reply) = sent.and_then(|()| client.try_reply()) else {
            return Outcome::Unknown;
        };
        self.open = Some(client);
        outcome(reply)
    }
}

/// What a reply says of its request.
pub fn outcome(reply: String) -> Outcome {
    if reply.starts_with("ERR IN_DOUBT ") {
        return Outcome::Unknown;
    }
    if reply.starts_with("ERR ") {
        return Outcome::NotDone(reply);
    }
    Outcome::Done(reply)
}
