//! A look at the whole cluster, once a second.
//!
//! In: INFO and DBSIZE of the primaries. Out: the overview. Promise: what is not told in time is left as it was.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::error::parsed;
use super::options::Replication;
use super::overview::{Overview, lag_of, number_of};
use super::reply::NodeReply;
use super::routing::{Cluster, REFRESH_MAX};

/// Time without news after which the cluster is said to be silent.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Oldest version of Redis that has PEXPIRETIME and EVALSHA_RO.
const LEAST_MAJOR: u32 = 7;

impl Cluster {
    /// Returns what is known of the whole.
    #[must_use]
    pub fn overview(&self) -> Overview {
        *self.overview.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks that all primaries know the commands that they are sent.
    ///
    /// # Errors
    /// The primary that does not, and its version.
    pub(super) async fn check_versions(&self) -> Result<(), String> {
        let deadline = Instant::now() + self.options.timeout;
        // Primaries that cannot be reached now are as new as the others.
        let infos = self.ask_primaries_once(&[b"INFO", b"server"], deadline);
        for (node, info) in infos.await.unwrap_or_default() {
            let Ok(NodeReply::Bytes(info)) = parsed(&info) else {
                continue;
            };
            let info = String::from_utf8_lossy(info);
            // Valkey tells here the version of Redis that it is compatible with.
            let version = info
                .lines()
                .find_map(|line| line.strip_prefix("redis_version:"));
            let version = version.unwrap_or_default().trim();
            let major: u32 = version
                .split('.')
                .next()
                .unwrap_or_default()
                .parse()
                .unwrap_or(0);
            if major < LEAST_MAJOR {
                return Err(format!(
                    "--engine: {} is Redis {version}; {LEAST_MAJOR}.0 or newer is needed",
                    node.address
                ));
            }
        }
        Ok(())
    }

    /// Asks the primaries, and notes what they tell.
    pub(super) async fn survey(&self) {
        let mut seen = self.overview();
        let state = self.state();
        let owners = state.topology.primaries.iter().filter(|one| one.slots > 0);
        let least = self.options.replication.map_or(0, Replication::least) as usize;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        seen.slots = count(state.topology.owned_slots());
        (seen.primaries, seen.replicas, seen.replicas_failed) = (0, 0, 0);
        seen.primaries_exposed = 0;
        for primary in owners {
            let live = primary.live_replicas();
            seen.primaries += 1;
            seen.replicas += count(live);
            seen.replicas_failed += count(primary.replicas.len() - live);
            seen.primaries_exposed += u64::from(live < least);
        }
        let looked_at = *self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.is_silent = looked_at.elapsed() > SILENCE_MAX;
        let deadline = Instant::now() + REFRESH_MAX;
        let infos = self.ask_primaries_once(&[b"INFO", b"memory", b"replication"], deadline);
        let sizes = self.ask_primaries_once(&[b"DBSIZE"], deadline);
        let told = timeout(REFRESH_MAX, async { tokio::join!(infos, sizes) }).await;
        if let Ok((Ok(infos), Ok(sizes))) = told {
            (seen.keys, seen.memory_bytes, seen.lag_bytes) = (0, 0, 0);
            for (_, size) in sizes {
                if let Ok(NodeReply::Number(keys)) = parsed(&size) {
                    seen.keys += u64::try_from(keys).unwrap_or(0);
                }
            }
            for (_, info) in infos {
                if let Ok(NodeReply::Bytes(info)) = parsed(&info) {
                    let info = String::from_utf8_lossy(info);
                    seen.memory_bytes += number_of(&info, "used_memory:").unwrap_or(0);
                    seen.lag_bytes = seen.lag_bytes.max(lag_of(&info));
                }
            }
        }
        *self.overview.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}
