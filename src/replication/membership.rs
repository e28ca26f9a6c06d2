//! What a server knows of its cluster: servers that share a log, of which one leads.
//!
//! In: what the task of the member learns. Out: who leads, who is there, how far they are. Promise: a request asks for none of it unless it is
//! refused or asks for the members.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::model::UnixMs;

/// The user as which members sign in to each other.
pub const MEMBER_USER: &str = "pykv-member";

/// What a member tells the others of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// The address of its text port, `HOST:PORT`, which is its name.
    pub address: String,
    /// True if that speaks TLS.
    #[serde(default)]
    pub is_tls: bool,
    /// The URL of its HTTP port, if it has one.
    #[serde(default)]
    pub http: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Its state; see [`MemberState::as_str`].
    #[serde(default)]
    pub state: String,
    /// The last record that it has.
    #[serde(default)]
    pub revision: u64,
    /// The last record that is on its disk.
    #[serde(default)]
    pub synced: u64,
}

/// The state of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It has not learned where the log ends.
    Joining,
    /// It copies all pairs of the leader.
    Copying,
    /// It follows the log.
    Following,
    /// It takes changes.
    Leading,
    /// It has led, and its lease is over; whether another one leads is not known.
    Waiting,
}

impl MemberState {
    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Copying => "copying",
            Self::Following => "following",
            Self::Leading => "leading",
            Self::Waiting => "waiting",
        }
    }
}

/// The cluster as a member sees it.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// The name of the cluster.
    pub name: String,
    /// The state of this member.
    pub state: MemberState,
    /// Why etcd or the leader cannot be asked, if so.
    pub reason: Option<String>,
    /// The leader, if there is one.
    pub leader: Option<MemberInfo>,
    /// All members that are there.
    pub members: Vec<MemberInfo>,
    /// The first record of the log, and its length in bytes, as far as that is known.
    pub log_from: u64,
    /// The length of the log in bytes: what has been appended and not trimmed.
    pub log_bytes: u64,
    /// The time at which the leader began to lead.
    pub leading_since: UnixMs,
    /// The duration of the lease.
    pub lease: Duration,
    /// Changes of the leader that this server has seen.
    pub failovers: u64,
}

/// A demand that the leader hands over; answered once it has.
pub type StepDown = oneshot::Sender<Result<(), String>>;

/// The membership of a server.
#[derive(Debug)]
pub struct Membership {
    view: Mutex<ClusterView>,
    /// True if reads are answered by members that do not lead.
    pub serves_stale: bool,
    /// The password with which members sign in to each other, once it is known.
    secret: OnceLock<String>,
    demands: mpsc::Sender<StepDown>,
    receiver: Mutex<Option<mpsc::Receiver<StepDown>>>,
    /// The time of the last warning of a reason that is not over.
    warned_at: Mutex<Option<Instant>>,
}

/// Least time between two warnings of one outage whose reason changes.
const WARNING_INTERVAL: Duration = Duration::from_secs(5);

impl Membership {
    /// Makes the membership of a server that has learned nothing yet.
    #[must_use]
    pub fn new(name: &str, lease: Duration, serves_stale: bool) -> Self {
        let (demands, receiver) = mpsc::channel(1);
        Self {
            view: Mutex::new(ClusterView {
                name: name.to_owned(),
                state: MemberState::Joining,
                reason: None,
                leader: None,
                members: Vec::new(),
                log_from: 0,
                log_bytes: 0,
                leading_since: 0,
                lease,
                failovers: 0,
            }),
            serves_stale,
            secret: OnceLock::new(),
            demands,
            receiver: Mutex::new(Some(receiver)),
            warned_at: Mutex::default(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, ClusterView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the cluster as it is seen now.
    #[must_use]
    pub fn view(&self) -> ClusterView {
        self.locked().clone()
    }

    /// Returns true if these are the user and the password of another member. The time that it takes does not depend on the password.
    #[must_use]
    pub fn is_member(&self, user: &str, password: &[u8]) -> bool {
        let secret = self.secret.get();
        let hashes = secret.map(|secret| (blake3::hash(secret.as_bytes()), blake3::hash(password)));
        user == MEMBER_USER && hashes.is_some_and(|(right, given)| right == given)
    }

    /// Notes the password with which members sign in to each other.
    pub(super) fn set_secret(&self, secret: &str) {
        self.secret.get_or_init(|| secret.to_owned());
    }

    /// Returns the password with which members sign in to each other, once it is known.
    pub(super) fn secret(&self) -> Option<String> {
        self.secret.get().cloned()
    }

    /// Notes why etcd or the leader cannot be asked, or that it can. A reason is logged once, and one after the other not too often.
    pub(super) fn note_reason(&self, reason: Option<String>) {
        let mut view = self.locked();
        if reason == view.reason {
            return;
        }
        let mut warned_at = self
            .warned_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &reason {
            Some(reason) => {
                if warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
                    *warned_at = Some(Instant::now());
                    tracing::warn!("{reason}; trying again");
                }
            }
            None => {
                *warned_at = None;
                tracing::info!("etcd answers");
            }
        }
        view.reason = reason;
    }

    /// Returns true if this server leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.locked().state == MemberState::Leading
    }

    /// Returns the leader that others are to ask, if one is known: another server.
    #[must_use]
    pub fn leader_elsewhere(&self) -> Option<MemberInfo> {
        let view = self.locked();
        let is_here = matches!(view.state, MemberState::Leading | MemberState::Waiting);
        view.leader.clone().filter(|_| !is_here)
    }

    /// Returns the leader, if one is known.
    #[must_use]
    pub fn leader(&self) -> Option<MemberInfo> {
        self.locked().leader.clone()
    }

    /// Changes the view.
    pub(super) fn update(&self, change: impl FnOnce(&mut ClusterView)) {
        change(&mut self.locked());
    }

    /// Notes who leads, and since when. Returns true if that is new.
    pub(super) fn note_leader(&self, leader: Option<(MemberInfo, UnixMs)>) -> bool {
        let mut view = self.locked();
        let address = |info: &Option<MemberInfo>| info.as_ref().map(|info| info.address.clone());
        let (leader, since) = leader.unzip();
        let is_new = address(&view.leader) != address(&leader)
            || since.is_some_and(|since| since != view.leading_since);
        view.leader = leader;
        if let Some(since) = since {
            if since != view.leading_since && view.leading_since != 0 {
                view.failovers += 1;
            }
            view.leading_since = since;
        }
        is_new
    }

    /// Demands that this server hands the lead over. Returns once it has.
    ///
    /// # Errors
    /// A sentence: it does not lead, or nobody took over.
    pub async fn step_down(&self) -> Result<(), String> {
        let (done, wait) = oneshot::channel();
        let sent = self.demands.try_send(done);
        sent.map_err(|_| "the lead is being handed over already".to_owned())?;
        let ended = wait.await;
        ended.unwrap_or_else(|_| Err("this server does not lead".to_owned()))
    }

    /// Takes the receiver of the demands, for the task of the member.
    pub(super) fn take_demands(&self) -> mpsc::Receiver<StepDown> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.take().expect("there is one task of the member")
    }
}
