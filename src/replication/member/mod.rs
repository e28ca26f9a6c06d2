//! The work of a member of a cluster: servers that share a log in etcd, of which one leads.
//!
//! In: etcd, the engine. Out: the engine has what the log has, and takes changes while this server leads. Promises: two servers never both add to
//! the log; a change that the log did not get is taken back; a folder with data of its own is never replaced.
//!
//! `log_entry` is what stands in etcd; `etcd` its client; `origin` what all share; `joining` the start; `following` what a member does that does not lead, `leading` what
//! it does that leads; `telling` is what all tell each other.

mod etcd;
mod following;
mod joining;
mod leading;
mod log_entry;
mod origin;
mod telling;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::copying::remove_copy;
use super::membership::{MemberInfo, MemberState, Membership, StepDown};
use super::options::MemberOptions;
use super::status::Replication;
use crate::engine::Engine;
use crate::persistence::BootTime;
use etcd::{Etcd, EtcdError, RETRY_PAUSE};

use log_entry::Assembly;

use origin::Origin;
pub use origin::{JoinError, share_secret};

/// Pause between two looks at a log that has nothing new.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A member of a cluster.
pub struct Member {
    engine: Arc<Engine>,
    status: Arc<Replication>,
    options: MemberOptions,
    info: MemberInfo,
    folder: PathBuf,
    etcd: Etcd,
    origin: Option<Origin>,
    assembly: Assembly,
    /// The part of an entry from which on the log is looked at next; `None` if that is not known.
    place: Option<(u64, u32)>,
    /// True if the pairs are not those of the log, and have to be copied.
    must_copy: bool,
    demands: mpsc::Receiver<StepDown>,
    /// The revision of the leader's last renewal, and when it was seen here first.
    renewed: Option<(i64, BootTime)>,
    /// Until then others stand for election first.
    stands_after: BootTime,
}

impl Member {
    /// Waits for etcd, and checks the folder.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn join(
        engine: Arc<Engine>,
        status: Arc<Replication>,
        options: MemberOptions,
        info: MemberInfo,
        folder: PathBuf,
    ) -> Result<Self, JoinError> {
        let membership = status.membership.as_ref();
        let demands = membership
            .expect("a member has a membership")
            .take_demands();
        let mut member = Self {
            etcd: Etcd::new(&options, 0),
            engine,
            status,
            options,
            info,
            folder,
            origin: None,
            assembly: Assembly::default(),
            place: None,
            must_copy: false,
            demands,
            renewed: None,
            stands_after: BootTime::now(),
        };
        let origin = loop {
            match member.etcd.origin().await {
                Ok(origin) => break origin,
                Err(EtcdError::Refused(reason)) => return Err(JoinError::Refused(reason)),
                Err(error) => member.note_reason(Some(error.to_string())),
            }
            sleep(RETRY_PAUSE).await;
        };
        member.note_reason(None);
        if member.membership().serves_stale {
            member.engine.gate().extend(BootTime::NEVER);
        }
        member.adopt_origin(origin.as_deref())?;
        Ok(member)
    }

    /// Follows the log, or leads, until the server stops.
    pub async fn run(mut self, shutdown: CancellationToken) {
        remove_copy(&self.folder);
        let telling = telling::tell_always(
            Etcd::new(&self.options, 1),
            Arc::clone(&self.engine),
            Arc::clone(&self.status),
            self.info.clone(),
        );
        let telling = tokio::spawn(telling);
        while !shutdown.is_cancelled() {
            let elected = tokio::select! {
                elected = self.follow() => elected,
                () = shutdown.cancelled() => break,
            };
            self.lead(elected, &shutdown).await;
        }
        telling.abort();
    }

    fn membership(&self) -> &Membership {
        let membership = self.status.membership.as_ref();
        membership.expect("a member has a membership")
    }

    fn set_state(&self, state: MemberState) {
        self.membership().update(|view| view.state = state);
    }

    fn note_reason(&self, reason: Option<String>) {
        self.membership().note_reason(reason);
    }
}
