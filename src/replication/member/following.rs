//! What a member does that does not lead: it follows the log, and stands for election when nobody leads.
//!
//! In: entries of the log. Out: their records in the engine; a lead that was won. Promises: a record is applied once it is whole in the log; who
//! does not have all that the log continues does not stand.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::etcd::{ENTRIES_PER_LOOK, EtcdError, Lead, LeaderEntry, Look, Moment, RETRY_PAUSE};
use super::log_entry::ENTRY_RECORDS_MAX;
use super::{LOOK_INTERVAL, Member};
use crate::engine::ApplyError;
use crate::error::error_chain;
use crate::model::{UnixMs, now_ms};
use crate::persistence::BootTime;
use crate::replication::copying::{adopt, receive};
use crate::replication::link::{Heartbeat, Link};
use crate::replication::membership::{MEMBER_USER, MemberInfo, MemberState};
use crate::replication::options::ReplicaOptions;

/// Time for a leader to renew its lease after etcd was away.
const RENEWAL_GRACE: Duration = Duration::from_millis(300);

/// A lead that was won, and when it was asked for.
pub struct Elected {
    /// The lead.
    pub lead: Lead,
    /// A time at which the lease had not begun.
    pub asked_at: BootTime,
}

/// The value of the key of the leader.
#[derive(serde::Serialize, serde::Deserialize)]
struct Claim {
    member: MemberInfo,
    since: UnixMs,
}

/// The log has not been followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowLogError {
    /// etcd does not answer, or refuses.
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    /// Records are missing here that are not in the log any more.
    #[error("the log begins after revision {0}")]
    Gap(u64),
    /// A record cannot be applied.
    #[error("a record of the log cannot be applied: {0}")]
    Apply(String),
}

impl Member {
    /// Follows the log until this server is elected.
    pub(super) async fn follow(&mut self) -> Elected {
        loop {
            let stepped = if self.must_copy {
                let copied = self.copy().await;
                copied.map(|()| true).map_err(FollowLogError::Apply)
            } else {
                self.step(Moment::Recent).await
            };
            match stepped {
                Ok(true) => self.note_reason(None),
                Ok(false) => {
                    self.note_reason(None);
                    if let Some(elected) = self.stand().await {
                        return elected;
                    }
                    sleep(LOOK_INTERVAL).await;
                }
                Err(error) => {
                    if matches!(error, FollowLogError::Gap(_)) {
                        tracing::warn!("{error}: catching up with the leader");
                        self.catch_up().await;
                    } else {
                        self.note_reason(Some(error.to_string()));
                    }
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Looks at the log once, and applies what is new. Returns true if there may be more.
    pub(super) async fn step(&mut self, at: Moment) -> Result<bool, FollowLogError> {
        let expected = self.engine.revision() + 1;
        // The next record may stand in the middle of an entry at first.
        let first = (expected.saturating_sub(ENTRY_RECORDS_MAX as u64), 0);
        let looked = self.etcd.look(self.place.unwrap_or(first), at).await;
        if looked.is_err() {
            // Once etcd answers, a leader that has waited for it renews its lease first.
            let first = BootTime::now().after(RENEWAL_GRACE);
            self.stands_after = self.stands_after.max(first);
        }
        let Look {
            leader,
            renewed,
            entries,
        } = looked?;
        self.note_leader(leader.as_ref());
        if renewed != self.renewed.map(|(revision, _)| revision) {
            self.renewed = renewed.map(|revision| (revision, BootTime::now()));
        }
        let has_begun = leader.is_some() || !entries.is_empty();
        if self.origin.is_none() && has_begun {
            let origin = self.etcd.origin().await?;
            let adopted = self.adopt_origin(origin.as_deref());
            adopted.map_err(|error| FollowLogError::Apply(error_chain(&error)))?;
            // A leader has not begun the cluster yet, or this server is it.
            return Ok(self.origin.is_some());
        }
        // A part of an entry that a leader could not complete is removed by the next one.
        let fence = leader.map(|leader| leader.fence);
        if fence.is_some_and(|fence| self.assembly.is_of_another(fence)) {
            self.assembly.clear();
            self.place = Some((expected, 0));
            return Ok(true);
        }
        let is_new = !entries.is_empty();
        let has_more = entries.len() == ENTRIES_PER_LOOK as usize || (at == Moment::Now && is_new);
        for (seq, part, value) in entries {
            if seq > self.engine.revision() + 1 {
                self.assembly.clear();
                self.place = None;
                return Err(FollowLogError::Gap(seq - 1));
            }
            self.place = Some((seq, part + 1));
            let Some(lines) = self.assembly.take(seq, part, &value) else {
                continue;
            };
            let applied = tokio::task::block_in_place(|| self.engine.apply_logged(&lines));
            if applied.is_err() {
                // It is looked at again.
                self.place = None;
            }
            applied.map_err(|error| match error {
                ApplyError::Gap { seq, .. } => FollowLogError::Gap(seq - 1),
                error => FollowLogError::Apply(error_chain(&error)),
            })?;
        }
        if !is_new {
            let is_known = self.origin.as_ref();
            if is_known.is_some_and(|origin| origin.from > self.engine.revision() + 1) {
                self.must_copy = true;
                return Ok(true);
            }
        }
        if !has_more && !self.membership().leads() {
            self.set_state(MemberState::Following);
        }
        Ok(has_more)
    }

    /// Notes who leads.
    fn note_leader(&self, leader: Option<&LeaderEntry>) {
        let claim = leader.and_then(|leader| serde_json::from_slice::<Claim>(&leader.value).ok());
        let address = claim.as_ref().map(|claim| claim.member.address.clone());
        let noted = claim.map(|claim| (claim.member, claim.since));
        if self.membership().note_leader(noted) {
            match address {
                Some(address) => tracing::info!("{address} leads"),
                None => tracing::info!("nobody leads"),
            }
        }
    }

    /// Ends the lead of a leader that has not renewed its lease for the duration of it: all that it has sent before was seen here later than it
    /// was sent, so by its own count the lease is over. Where etcd has lost its own leader, its leases last longer. Returns whether nobody leads.
    async fn depose(&mut self) -> bool {
        let Some((revision, seen_at)) = self.renewed else {
            return false;
        };
        if seen_at.after(self.options.lease) > BootTime::now() {
            return false;
        }
        match self.etcd.depose(revision).await {
            Ok(true) => {
                tracing::warn!("the leader has not renewed its lease: standing for election");
                self.note_leader(None);
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.note_reason(Some(error.to_string()));
                false
            }
        }
    }

    /// Stands for election, if nobody leads.
    async fn stand(&mut self) -> Option<Elected> {
        if self.stands_after > BootTime::now() {
            return None;
        }
        let is_led = self.membership().leader().is_some();
        if is_led && !self.depose().await {
            return None;
        }
        let claim = Claim {
            member: self.info.clone(),
            since: now_ms(),
        };
        let value = serde_json::to_vec(&claim).expect("plain fields are always JSON");
        let asked_at = BootTime::now();
        match self.etcd.claim(&value).await {
            Ok(lead) => Some(Elected {
                lead: lead?,
                asked_at,
            }),
            Err(error) => {
                self.note_reason(Some(error.to_string()));
                None
            }
        }
    }

    /// Connects to the leader, if it is another server.
    async fn connect(&self) -> Result<(Link, MemberInfo), String> {
        let leader = self.membership().leader();
        let leader = leader.filter(|leader| leader.address != self.info.address);
        let Some(leader) = leader else {
            return Err("nobody leads from whom the pairs could be copied".to_owned());
        };
        let options = ReplicaOptions {
            primaries: Vec::new(),
            is_encrypted: leader.is_tls,
            user: Some(MEMBER_USER.to_owned()),
            password: self.membership().secret(),
        };
        let opened = Link::open(&leader.address, &options).await;
        let link = opened.map_err(|error| format!("{}: {error}", leader.address))?;
        Ok((link, leader))
    }

    /// Takes the records that the log has no more from the leader's journal; if that has them no more either, all pairs have to be copied.
    async fn catch_up(&mut self) {
        self.place = None;
        let caught_up = self.follow_leader().await;
        if let Err(reason) = caught_up {
            if reason.starts_with("ERR ARGS") {
                self.must_copy = true;
            }
            self.note_reason(Some(reason));
        }
    }

    async fn follow_leader(&mut self) -> Result<(), String> {
        let (mut feeding, _) = self.connect().await?;
        let Some(origin) = &self.origin else {
            return Err("the cluster has not begun".to_owned());
        };
        let here = self.engine.revision();
        let request = format!("REPLICATE {} {here}", origin.timeline);
        let first = feeding.begin_feed(&request).await?;
        let mut line = Vec::new();
        while self.engine.revision() < first.newest {
            let read = feeding.line(&mut line).await;
            read.map_err(|error| error.to_string())?;
            if line.starts_with(Heartbeat::BEGINNING) {
                continue;
            }
            if !line.starts_with(b"{") {
                return Err(String::from_utf8_lossy(&line).into_owned());
            }
            let applied = self.engine.apply_logged(&line);
            applied.map_err(|error| error_chain(&error))?;
        }
        Ok(())
    }

    /// Copies all pairs of the leader.
    async fn copy(&mut self) -> Result<(), String> {
        let look = self.etcd.look((0, 0), Moment::Now).await;
        let look = look.map_err(|error| error.to_string())?;
        self.note_leader(look.leader.as_ref());
        let (mut link, leader) = self.connect().await?;
        tracing::info!("copying all pairs of {}", leader.address);
        self.set_state(MemberState::Copying);
        let first = link.begin_feed("REPLICATE").await?;
        let copy = receive(&mut link, &first.files, &self.folder, &self.status).await;
        let copy = copy.map_err(|error| error.to_string())?;
        let (engine, status) = (Arc::clone(&self.engine), Arc::clone(&self.status));
        // It cannot be left half done, if this task is.
        let adopting = tokio::spawn(adopt(engine, status, copy)).await;
        adopting.map_err(|_| "the server is stopping".to_owned())??;
        self.must_copy = false;
        self.place = None;
        Ok(())
    }
}
