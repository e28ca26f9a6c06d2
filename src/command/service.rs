//! What commands work on: the same for every connection, of every dialect.
//!
//! In: the data, once it is loaded. Out: the engine, the counters. Promise: until then every request for data is told how far
//! the load is.

use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::sync::{Arc, OnceLock};

use super::channels::Channels;
use super::clients::Clients;
use super::lookup::CommandList;
use super::slow_requests::Slowlog;
use crate::config::Setup;
use crate::engine::{Barrier, Engine, Progress};
use crate::metrics::counters::Stats;
use crate::metrics::histogram::LatencyCounts;
use crate::metrics::recent_requests::RecentRequests;
use crate::model::now_ms;
use crate::protocol::{ErrorCode, ErrorReply};

/// What commands work on: the same for every connection, of every dialect.
#[derive(Debug)]
pub struct Service {
    /// All commands.
    pub commands: &'static CommandList,
    /// The data, once it is loaded.
    engine: OnceLock<Arc<Engine>>,
    progress: Arc<Progress>,
    /// The counters.
    pub stats: Stats,
    /// Who is connected.
    pub clients: Clients,
    /// Who listens to what.
    pub channels: Channels,
    /// What people watch.
    pub recent_requests: Arc<RecentRequests>,
    /// What took long.
    pub(super) slowlog: Slowlog,
    /// Settings in force.
    pub setup: Setup,
    /// Whether a save that BGSAVE has begun is going on.
    pub(super) saving: Arc<AtomicBool>,
}

/// Requests of one command since the start.
#[derive(Debug)]
pub struct Usage {
    /// Name of the command.
    pub name: &'static str,
    /// Number of requests.
    pub requests: u64,
    /// Execution times; of requests that still run there is none yet.
    pub latencies: LatencyCounts,
}

impl Service {
    /// A service whose data is still being loaded, and how far that is; its counters are at nought.
    #[must_use]
    pub fn new(commands: &'static CommandList, progress: Arc<Progress>, setup: Setup) -> Self {
        Self {
            commands,
            engine: OnceLock::new(),
            progress,
            stats: Stats::new(commands.len()),
            clients: Clients::default(),
            channels: Channels::default(),
            recent_requests: Arc::default(),
            slowlog: Slowlog::default(),
            setup,
            saving: Arc::default(),
        }
    }

    /// Whether a save that BGSAVE has begun is going on.
    pub(super) fn is_saving(&self) -> bool {
        self.saving.load(Acquire)
    }

    /// When store.json was last written, or the server was started, in seconds since 1970.
    pub(super) fn last_save_seconds(&self) -> u64 {
        let engine = self.engine.get();
        let save = engine.and_then(|engine| engine.disk().last_save);
        let save = save.filter(|save| save.result == "ok");
        save.map_or_else(
            || (now_ms() / 1000).saturating_sub(self.stats.uptime_seconds()),
            |save| save.ended_at / 1000,
        )
    }

    /// Takes the data, once it is loaded: from now on every request is served.
    pub fn begin(&self, engine: Arc<Engine>) {
        self.engine.set(engine).expect("the data is loaded once");
    }

    /// The data.
    ///
    /// # Errors
    /// `BUSY`, while it is being loaded, with how far that is.
    pub fn engine(&self) -> Result<&Arc<Engine>, ErrorReply> {
        self.engine.get().ok_or_else(|| {
            let percent = self.progress.percent();
            ErrorReply::new(
                ErrorCode::Busy,
                format!(
                    "loading the data: {percent}% of store.json and the journals has been read; \
                     try again in a moment"
                ),
            )
        })
    }

    /// Returns the requests of every command, in the order of the table.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        let mut usage: Vec<Usage> = Vec::with_capacity(self.commands.len());
        for (place, command) in self.commands.iter().enumerate() {
            let requests = self.stats.of_command(place);
            let latencies = self.stats.latencies_of(place);
            // A word that means one thing on a line and another to Redis is counted as one; its two rows are neighbours.
            match usage.last_mut().filter(|usage| usage.name == command.name) {
                Some(of_name) => {
                    of_name.requests += requests;
                    of_name.latencies.add(&latencies);
                }
                None => usage.push(Usage {
                    name: command.name,
                    requests,
                    latencies,
                }),
            }
        }
        usage
    }

    /// Has the pairs of these keys fetched from memory, all at once: they are about to be looked up.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        if let Some(engine) = self.engine.get() {
            engine.prefetch(keys);
        }
    }

    /// Waits until what a batch has made or seen is as safe as promised; see [`Engine::wait_until_durable`]. While the data is being loaded,
    /// nothing has been.
    ///
    /// # Errors
    /// `DISK`.
    pub async fn commit(&self, barrier: Barrier) -> Result<(), ErrorReply> {
        match self.engine.get() {
            Some(engine) => Ok(engine.wait_until_durable(barrier).await?),
            None => Ok(()),
        }
    }

    /// Saves all pairs, and waits for it; see [`Engine::save`].
    ///
    /// # Errors
    /// `DISK`, or `BUSY` while the data is being loaded.
    pub async fn save(&self) -> Result<(), ErrorReply> {
        Ok(self.engine()?.save().await?)
    }
}
