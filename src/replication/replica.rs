//! The work of a replica: it copies all pairs of its primary once, and then follows the records.
//!
//! In: a primary, the engine. Out: the engine has what the primary has. Promises: a break is waited out, and then it goes on where it
//! was; what it has is not shown while it is another history's; a folder with data of its own is never replaced.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::copying::{adopt, receive, remove_copy};
use super::link::{Heartbeat, Link};
use super::options::ReplicaOptions;
use super::status::{LinkState, Replication};
use crate::engine::{ApplyError, Engine, Timeline};
use crate::error::error_chain;

/// Pause after a connection that has failed: at first, and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Records after which others have their turn.
const RECORDS_PER_TURN: usize = 64;

/// A folder cannot be that of a replica.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It has data that is not the primary's.
    #[error(
        "data folder {path} has data of its own: a replica would replace it. Give --replica-of with an empty folder (--data), or start \
         without --replica-of"
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// It was promoted.
    #[error(
        "the replica in data folder {path} was promoted: it has changes of its own, which a copy of the primary would replace. Start without \
         --replica-of, or with an empty folder (--data)"
    )]
    Promoted {
        /// The folder.
        path: PathBuf,
    },
}

/// Checks that a folder is empty, or a copy of a primary's. An empty one is not shown to clients.
///
/// # Errors
/// [`StartError`].
pub fn check_folder(engine: &Engine, status: &Replication, path: &Path) -> Result<(), StartError> {
    let path = path.to_owned();
    match engine.timelines().last() {
        Some(timeline) if !timeline.is_own => Ok(()),
        Some(_) => Err(StartError::Promoted { path }),
        None if engine.keys() > 0 => Err(StartError::Occupied { path }),
        None => {
            status.set_closed(true);
            Ok(())
        }
    }
}

/// Why a connection has ended.
enum Ended {
    /// It failed: the reason.
    Failed(String),
    /// All has to be copied anew: the reason.
    Diverged(String),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Follows a primary until the server stops or is promoted.
pub async fn run(
    engine: Arc<Engine>,
    status: Arc<Replication>,
    options: ReplicaOptions,
    folder: PathBuf,
    shutdown: CancellationToken,
) {
    let promoted = status.promoted.clone();
    remove_copy(&folder);
    let mut replica = Replica {
        must_copy: engine.timelines().is_empty(),
        engine,
        status,
        options,
        folder,
        adopting: None,
    };
    tokio::select! {
        () = replica.follow_always() => {}
        () = promoted.cancelled() => {}
        () = shutdown.cancelled() => {}
    }
    if let Some(adopting) = replica.adopting.take() {
        // It cannot be left half done.
        let _ = adopting.await;
    }
    replica.status.ended.cancel();
}

struct Replica {
    engine: Arc<Engine>,
    status: Arc<Replication>,
    options: ReplicaOptions,
    folder: PathBuf,
    must_copy: bool,
    /// Replaces all pairs by a copy. It outlives who waits for it.
    adopting: Option<JoinHandle<Result<(), String>>>,
}

impl Replica {
    async fn follow_always(&mut self) {
        let addresses = self.options.primaries.clone();
        let mut pause = PAUSE_FIRST;
        for address in addresses.iter().cycle() {
            let before = self.engine.revision();
            let Err(ended) = self.follow(address).await;
            let reason = match ended {
                Ended::Failed(reason) => reason,
                Ended::Diverged(reason) => {
                    self.must_copy = true;
                    tracing::warn!("{address}: {reason}; all pairs are copied anew");
                    reason
                }
            };
            let is_new =
                self.status
                    .set_state(address, LinkState::Connecting, Some(reason.clone()));
            if is_new {
                tracing::warn!("cannot follow {address}: {reason}; trying again");
            }
            if self.engine.revision() > before {
                pause = PAUSE_FIRST;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Follows the primary at an address as long as that goes.
    async fn follow(&mut self, address: &str) -> Result<Infallible, Ended> {
        let mut primary = Link::open(address, &self.options).await?;
        let timelines = self.engine.timelines();
        let request = match timelines.last().filter(|_| !self.must_copy) {
            Some(Timeline { id, .. }) => format!("REPLICATE {id} {}", self.engine.revision()),
            None => "REPLICATE".to_owned(),
        };
        let first = primary.begin_feed(&request).await.map_err(|reason| {
            if reason.starts_with("ERR ARGS") && !self.must_copy {
                Ended::Diverged(reason)
            } else {
                Ended::Failed(reason)
            }
        })?;
        if !first.files.is_empty() {
            self.status.set_state(address, LinkState::Copying, None);
            tracing::info!("copying all pairs of {address}");
            self.copy(&mut primary, &first.files).await?;
        }
        self.note(&first)?;
        self.must_copy = false;
        self.status.set_state(address, LinkState::Following, None);
        tracing::info!(
            "following {address} from revision {}",
            self.engine.revision()
        );
        let mut line = Vec::new();
        let mut told = None;
        let mut records = 0;
        loop {
            let here = self.engine.revision();
            if !primary.has_line() && told != Some(here) {
                self.status.note_heard(None, here);
                self.tell(&mut primary, here).await?;
                told = Some(here);
            }
            primary.line(&mut line).await?;
            if line.starts_with(Heartbeat::BEGINNING) {
                let heartbeat = serde_json::from_slice::<Heartbeat>(&line);
                self.note(&heartbeat.map_err(|error| Ended::Failed(error.to_string()))?)?;
                // The primary hears of this one as often.
                told = None;
            } else if line.starts_with(b"{") {
                self.engine.apply(&line).map_err(|error| match error {
                    ApplyError::Gap { .. } => Ended::Diverged(error_chain(&error)),
                    error => Ended::Failed(error_chain(&error)),
                })?;
                records += 1;
                if records % RECORDS_PER_TURN == 0 {
                    tokio::task::yield_now().await;
                }
            } else if line != b"OK" {
                let text = String::from_utf8_lossy(&line).into_owned();
                return Err(Ended::Failed(text));
            }
        }
    }

    /// Tells the primary which records are here, as safe as `--durability` says.
    async fn tell(&self, link: &mut Link, revision: u64) -> Result<(), Ended> {
        let barrier = self.engine.latest_change();
        let durable = self.engine.wait_until_durable(barrier).await;
        durable.map_err(|fault| Ended::Failed(fault.to_string()))?;
        link.send(&format!("REPLICATED {revision}")).await?;
        Ok(())
    }

    fn note(&self, heartbeat: &Heartbeat) -> Result<(), Ended> {
        let known = self.engine.timelines();
        let is_known = |(id, _): &(String, u64)| known.iter().any(|timeline| timeline.id == *id);
        let told = &heartbeat.timelines;
        let new = told.iter().rposition(is_known).map_or(0, |last| last + 1);
        let here = self.engine.revision();
        for (id, from) in &told[new..] {
            if *from <= here {
                return Err(Ended::Diverged(format!(
                    "its records from {from} on are not those that are here, up to {here}"
                )));
            }
            let timeline = Timeline {
                id: id.clone(),
                from: *from,
                is_own: false,
            };
            let taken = self.engine.copy_timeline(timeline);
            taken.map_err(|fault| Ended::Failed(fault.to_string()))?;
        }
        self.status
            .note_heard(Some(heartbeat.newest), self.engine.revision());
        Ok(())
    }

    /// Copies the files of the primary, and replaces all pairs by those in them.
    async fn copy(&mut self, link: &mut Link, files: &[(String, u64)]) -> Result<(), Ended> {
        let copy = receive(link, files, &self.folder, &self.status).await?;
        let adopted = adopt(Arc::clone(&self.engine), Arc::clone(&self.status), copy);
        let adopted = self.adopting.insert(tokio::spawn(adopted)).await;
        self.adopting = None;
        let adopted = adopted.map_err(|_| Ended::Failed("the server is stopping".to_owned()))?;
        adopted.map_err(Ended::Failed)
    }
}
