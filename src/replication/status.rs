//! What a server knows of its role: a primary and its replicas, or a replica and its primary.
//!
//! In: what the task of a replica and the connections of replicas tell. Out: the role, the lag, who has which changes. Promise: a
//! request asks for the role at the cost of one load.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::membership::Membership;

/// Splits an address into host and port; port 0 where there is none.
#[must_use]
pub fn host_and_port(address: &str) -> (&str, &str) {
    address.rsplit_once(':').unwrap_or((address, "0"))
}

/// Time within which a primary says something if all is well: two of its heartbeats.
const SILENCE_USUAL: Duration = Duration::from_secs(2);

/// State of the connection of a replica to its primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// There is none.
    Connecting,
    /// All pairs are being copied.
    Copying,
    /// The changes arrive.
    Following,
}

impl LinkState {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Copying => "copying",
            Self::Following => "following",
        }
    }
}

/// What a replica has told of itself.
#[derive(Debug, Clone)]
pub struct ReplicaProgress {
    /// Its address.
    pub address: String,
    /// The last record that it has, as safe as its durability says.
    pub revision: u64,
    /// When it has told that.
    pub told_at: Instant,
}

/// A replica's primary.
#[derive(Debug)]
struct Primary {
    address: String,
    state: LinkState,
    /// Why there is no connection.
    reason: Option<String>,
    /// When anything has come from it.
    heard_at: Option<Instant>,
    /// Its newest record, as it has told.
    newest: u64,
    /// The last time at which all that it had told of was here.
    level_at: Instant,
    is_level: bool,
}

impl Primary {
    fn lag(&self) -> Duration {
        let silence = self.heard_at.map(|at| at.elapsed());
        let is_heard = silence.is_some_and(|silence| silence < SILENCE_USUAL);
        if self.is_level && is_heard {
            return Duration::ZERO;
        }
        self.level_at.elapsed()
    }
}

/// The role of a server at one time.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Address of the primary.
    pub primary: String,
    /// State of the connection to it.
    pub state: LinkState,
    /// Why there is no connection.
    pub reason: Option<String>,
    /// Time since anything has come from it.
    pub silence: Option<Duration>,
    /// Its newest record, as it has told.
    pub newest: u64,
    /// Time for which changes that the primary has told of have not been here, or nothing has been heard of it.
    pub lag: Duration,
}

/// The role of a server.
#[derive(Debug)]
pub struct Replication {
    is_replica: AtomicBool,
    /// True if this server is a member of a cluster that another one leads, and does not answer reads.
    refuses_reads: AtomicBool,
    /// True while the pairs are not those of the primary.
    is_closed: AtomicBool,
    primary: Mutex<Primary>,
    /// Its place in a cluster whose log etcd keeps, if it has one.
    pub membership: Option<Membership>,
    /// The replicas of this server, by the number of their connection.
    replicas: Mutex<BTreeMap<u64, ReplicaProgress>>,
    told: Notify,
    /// Times that all pairs were copied.
    copies: AtomicU64,
    /// Ends the task of a replica.
    pub promoted: CancellationToken,
    /// Cancelled once that task has ended.
    pub ended: CancellationToken,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replication {
    /// Begins as a replica of the server at an address, as a member of a cluster that does not lead, or as a primary.
    #[must_use]
    pub fn new(primary: Option<&str>, membership: Option<Membership>) -> Self {
        let serves_stale = membership.as_ref().map(|member| member.serves_stale);
        Self {
            is_replica: AtomicBool::new(primary.is_some() || membership.is_some()),
            refuses_reads: AtomicBool::new(serves_stale == Some(false)),
            membership,
            is_closed: AtomicBool::new(false),
            primary: Mutex::new(Primary {
                address: primary.unwrap_or_default().to_owned(),
                state: LinkState::Connecting,
                reason: None,
                heard_at: None,
                newest: 0,
                level_at: Instant::now(),
                is_level: false,
            }),
            replicas: Mutex::default(),
            told: Notify::new(),
            copies: AtomicU64::new(0),
            promoted: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Returns true if changes of clients are refused, as those of the primary are followed.
    #[must_use]
    #[inline(always)]
    pub fn is_replica(&self) -> bool {
        self.is_replica.load(Relaxed)
    }

    /// Returns true if reads are refused, as another member of the cluster answers them.
    #[must_use]
    #[inline(always)]
    pub fn refuses_reads(&self) -> bool {
        self.refuses_reads.load(Relaxed)
    }

    /// Takes changes and answers reads, or leaves that to the member that leads.
    #[cfg(feature = "etcd")]
    pub(super) fn set_leading(&self, leads: bool) {
        self.is_replica.store(!leads, Relaxed);
        let serves_stale = self
            .membership
            .as_ref()
            .is_some_and(|member| member.serves_stale);
        self.refuses_reads.store(!leads && !serves_stale, Relaxed);
    }

    /// Returns true while the pairs are not those of the primary, as they are being copied.
    #[must_use]
    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Relaxed)
    }

    /// Closes or opens the pairs.
    pub(super) fn set_closed(&self, is_closed: bool) {
        self.is_closed.store(is_closed, Relaxed);
    }

    /// Lets the server take changes of clients.
    pub fn set_primary(&self) {
        self.is_replica.store(false, Relaxed);
    }

    /// Returns the address of the primary.
    #[must_use]
    pub fn primary(&self) -> String {
        locked(&self.primary).address.clone()
    }

    /// Returns what is known of the primary; `None` on a primary.
    #[must_use]
    pub fn overview(&self) -> Option<Overview> {
        if !self.is_replica() || self.membership.is_some() {
            return None;
        }
        let primary = locked(&self.primary);
        Some(Overview {
            primary: primary.address.clone(),
            state: primary.state,
            reason: primary.reason.clone(),
            silence: primary.heard_at.map(|at| at.elapsed()),
            newest: primary.newest,
            lag: primary.lag(),
        })
    }

    /// Returns how often all pairs were copied since the start.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.copies.load(Relaxed)
    }

    /// Notes the state of the connection to the primary at an address. Returns true if the reason is another one than before.
    pub(super) fn set_state(
        &self,
        address: &str,
        state: LinkState,
        reason: Option<String>,
    ) -> bool {
        if state == LinkState::Copying {
            self.copies.fetch_add(1, Relaxed);
        }
        let mut primary = locked(&self.primary);
        address.clone_into(&mut primary.address);
        primary.state = state;
        let is_new = primary.reason != reason;
        primary.reason = reason;
        is_new
    }

    /// Notes what the primary has told: its newest record, if it has said that, and which is the last one here.
    pub(super) fn note_heard(&self, newest: Option<u64>, here: u64) {
        let now = Instant::now();
        let mut primary = locked(&self.primary);
        primary.heard_at = Some(now);
        primary.newest = newest.unwrap_or(primary.newest).max(here);
        primary.is_level = here >= primary.newest;
        if primary.is_level {
            primary.level_at = now;
        }
    }

    /// Notes that the primary sends, but no records.
    pub(super) fn note_alive(&self) {
        locked(&self.primary).heard_at = Some(Instant::now());
    }

    /// Adds a replica of this server.
    pub fn add_replica(&self, id: u64, address: String) {
        let replica = ReplicaProgress {
            address,
            revision: 0,
            told_at: Instant::now(),
        };
        locked(&self.replicas).insert(id, replica);
    }

    /// Removes a replica of this server.
    pub fn remove_replica(&self, id: u64) {
        locked(&self.replicas).remove(&id);
    }

    /// Notes that a replica has all records up to one. Returns false if there is no such replica.
    pub fn note_reached(&self, id: u64, revision: u64) -> bool {
        let mut replicas = locked(&self.replicas);
        let Some(replica) = replicas.get_mut(&id) else {
            return false;
        };
        replica.revision = revision;
        replica.told_at = Instant::now();
        drop(replicas);
        self.told.notify_waiters();
        true
    }

    /// Returns the replicas of this server.
    #[must_use]
    pub fn replicas(&self) -> Vec<ReplicaProgress> {
        locked(&self.replicas).values().cloned().collect()
    }

    /// Returns the number of replicas that have all records up to one.
    #[must_use]
    pub fn having(&self, revision: u64) -> u64 {
        let replicas = locked(&self.replicas);
        let having = replicas
            .values()
            .filter(|replica| replica.revision >= revision);
        having.count() as u64
    }

    /// Waits until so many replicas have all records up to one.
    pub async fn wait_for(&self, replicas: u64, revision: u64) {
        loop {
            let told = self.told.notified();
            if self.having(revision) >= replicas {
                return;
            }
            told.await;
        }
    }
}
