//! The pairs, wherever they are: in the engine of this process, or in a cluster.
//!
//! In: positions, keys. Out: entries. Promise: every pair that exists from the start of a walk to its end is seen exactly once.

use std::sync::Arc;

use crate::cluster::{Cluster, WalkPart, position_of};
use crate::command::service::Service;
use crate::engine::{Barrier, Cursor, Engine, Scan};
use crate::model::Key;
use crate::model::entry::Entry;
use crate::protocol::ErrorReply;

/// Keys of a cluster that are listed together.
const LISTED_KEYS: usize = 1000;

/// Where the pairs are.
pub(in crate::command) enum Pairs<'a> {
    Engine(&'a Arc<Engine>),
    Cluster(&'a Arc<Cluster>),
}

impl<'a> Pairs<'a> {
    /// Returns where the pairs of a service are.
    ///
    /// # Errors
    /// `BUSY` while they are being loaded.
    pub fn of(service: &'a Service) -> Result<Self, ErrorReply> {
        match service.cluster() {
            Some(cluster) => Ok(Self::Cluster(cluster)),
            None => Ok(Self::Engine(service.engine()?)),
        }
    }

    /// Returns at least so many entries from a position on, if there are as many, and the next position. Of a cluster, only those with the
    /// prefix are returned, and only their keys are read unless the values are asked for.
    ///
    /// # Errors
    /// `BUSY`, if a part of a cluster cannot be listed.
    pub async fn page(
        &self,
        from: Cursor,
        least: usize,
        (prefix, part): (&[u8], WalkPart),
        barrier: &mut Barrier,
    ) -> Result<(Vec<Entry>, Option<Cursor>), ErrorReply> {
        match self {
            Self::Engine(engine) => Ok(engine.page(from, least, barrier)),
            Self::Cluster(cluster) => Ok(cluster.page(from, least, prefix, part).await?),
        }
    }

    /// Returns the entry of a key.
    ///
    /// # Errors
    /// `BUSY`, if the cluster does not tell it.
    pub async fn get(
        &self,
        key: Key<'_>,
        barrier: &mut Barrier,
    ) -> Result<Option<Entry>, ErrorReply> {
        match self {
            Self::Engine(engine) => {
                let mut transaction = engine.begin(&[key]);
                barrier.raise(transaction.seen());
                Ok(transaction.get(key))
            }
            Self::Cluster(cluster) => {
                let found = cluster.entries_of(&[key.as_bytes()]).await?;
                Ok(found.into_iter().next())
            }
        }
    }

    /// Returns the position of an entry.
    pub fn position_of(&self, entry: &Entry) -> Cursor {
        match self {
            Self::Engine(engine) => engine.cursor_of(entry),
            Self::Cluster(_) => position_of(entry.key_bytes()),
        }
    }

    /// Begins a walk over the pairs with a prefix.
    pub fn walk(&self, prefix: Key<'_>, part: WalkPart) -> Walk {
        match self {
            Self::Engine(engine) => Walk::Engine(engine.scan(prefix)),
            Self::Cluster(cluster) => Walk::Cluster(ClusterWalk {
                cluster: Arc::clone(cluster),
                prefix: prefix.as_bytes().into(),
                next: Some(0),
                part,
            }),
        }
    }
}

/// A walk over pairs.
pub(in crate::command) enum Walk {
    Engine(Scan),
    Cluster(ClusterWalk),
}

/// A walk over the pairs of a cluster.
pub(in crate::command) struct ClusterWalk {
    cluster: Arc<Cluster>,
    prefix: Box<[u8]>,
    next: Option<Cursor>,
    part: WalkPart,
}

impl Walk {
    /// Returns some more entries, which may be none; `None` after the last.
    ///
    /// # Errors
    /// `BUSY`, if a part of a cluster cannot be listed.
    pub async fn next(&mut self, barrier: &mut Barrier) -> Result<Option<Vec<Entry>>, ErrorReply> {
        match self {
            Self::Engine(scan) => {
                let entries = scan.next();
                barrier.raise(scan.seen());
                tokio::task::yield_now().await;
                Ok(entries)
            }
            Self::Cluster(walk) => {
                let Some(from) = walk.next else {
                    return Ok(None);
                };
                let page = walk
                    .cluster
                    .page(from, LISTED_KEYS, &walk.prefix, walk.part);
                let (entries, next) = page.await?;
                walk.next = next;
                Ok(Some(entries))
            }
        }
    }
}
