//! What a leader does that was stopped, or cut off, and does not know yet that another leads.
//!
//! In: one that led and one that leads. Out: how often the former has answered what is not true any more: a value that had been overwritten before
//! it was asked, or OK to a change that is not there.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::connection::{Connection, Waited};
use crate::servers::Servers;

/// Changes that are sent to the former leader.
const CHANGES: usize = 20;
/// How long its replies are waited for.
const REPLIES_MAX: Duration = Duration::from_secs(5);
/// How long one that leads is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the former leader was asked, and does not answer yet.
pub struct Probe {
    cycle: usize,
    connection: Option<Connection>,
}

/// What it has answered.
#[derive(Default)]
pub struct Wrong {
    /// Reads that were answered with a value that had been overwritten before.
    pub stale: usize,
    /// Changes that were acknowledged and are not there.
    pub acknowledged: usize,
    /// Requests that were answered otherwise, most of them with errors.
    pub others: usize,
    /// Requests that were not answered.
    pub unanswered: usize,
}

impl Wrong {
    /// The figures.
    pub fn figures(&self) -> String {
        format!(
            "of the former leader: {} stale reads, {} wrongly acknowledged, {} right replies, {} requests without any",
            self.stale, self.acknowledged, self.others, self.unanswered
        )
    }

    /// Whether it has said nothing that is not true.
    pub fn is_none(&self) -> bool {
        self.stale + self.acknowledged == 0
    }
}

/// Writes what the leader of now shall not show when it is none any more.
pub fn prepare(servers: &Servers, cycle: usize) {
    let mut client = Client::new(servers.addresses(), PATIENCE);
    client.ask_until_done(&format!("PUT probe before-{cycle}"));
}

impl Probe {
    /// Overwrites that elsewhere, and then asks the former leader for reads and changes.
    pub fn send(servers: &Servers, former: usize, leader: usize, cycle: usize) -> Self {
        let mut client = Client::new(vec![servers.addr(leader)], PATIENCE);
        client.ask_until_done(&format!("PUT probe after-{cycle}"));
        let mut connection = Connection::open(servers.addr(former));
        if let Some(connection) = &mut connection {
            let changes = (0..CHANGES).map(|number| format!("PUT probe-{cycle}-{number} x\n"));
            let changes: String = changes.collect();
            connection.send(&format!("GET probe\n{changes}GET probe"), PATIENCE);
        }
        Self { cycle, connection }
    }

    /// Takes the replies, and adds what is wrong with them.
    pub fn judge(self, servers: &Servers, wrong: &mut Wrong) {
        let until = Instant::now() + REPLIES_MAX;
        let mut connection = self.connection;
        let mut replies = Vec::new();
        for _ in 0..CHANGES + 2 {
            let left = until.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            match connection.as_mut().map(|it| it.wait(left)) {
                Some(Waited::Reply(reply)) => replies.push(reply),
                _ => break,
            }
        }
        wrong.unanswered += CHANGES + 2 - replies.len();
        let mut client = Client::new(servers.addresses(), PATIENCE);
        let stale = format!("VALUE \"before-{}\"", self.cycle);
        for (place, reply) in replies.iter().enumerate() {
            let is_read = place == 0 || place == CHANGES + 1;
            if is_read && *reply == stale {
                wrong.stale += 1;
                continue;
            }
            if !is_read && reply == "OK" {
                let number = place - 1;
                let key = format!("probe-{}-{number}", self.cycle);
                if client.ask_until_done(&format!("GET {key}")) != "VALUE \"x\"" {
                    wrong.acknowledged += 1;
                    continue;
                }
            }
            wrong.others += 1;
        }
    }
}
