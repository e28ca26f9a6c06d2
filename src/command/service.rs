//! State that all sessions share.
//!
//! In: the engine, once the data is loaded. Out: the engine, counters, clients, channels, settings. Promise: until the data is
//! loaded, every request for it is refused with the progress of the load.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::acl::Users;
use super::channels::{Channels, Space};
use super::client_memory::ClientMemory;
use super::clients::Clients;
use super::counts::Counts;
use super::long_work::Turns;
use super::lookup::CommandList;
use super::notices::Notices;
use super::pause::Pause;
use super::scripts::Scripts;
use super::slow_requests::Slowlog;
use crate::cluster::Cluster;
use crate::config::{ByteCount, Setup};
use crate::engine::{Barrier, Engine, MemoryCap, Progress};
use crate::metrics::counters::Stats;
use crate::metrics::recent_requests::RecentRequests;
use crate::model::now_ms;
use crate::protocol::{ErrorCode, ErrorReply};
use crate::replication::{Membership, Replication};

/// State that all sessions share.
#[derive(Debug)]
pub struct Service {
    /// All commands.
    pub commands: &'static CommandList,
    /// The engine; empty until the data is loaded.
    engine: OnceLock<Arc<Engine>>,
    /// The cluster that has the data in place of the engine, if there is one, once it is connected.
    cluster: OnceLock<Arc<Cluster>>,
    progress: Arc<Progress>,
    /// The role of this server.
    pub replication: Arc<Replication>,
    /// Tasks that serve clients: a shutdown waits for them.
    pub connections: TaskTracker,
    /// Counters.
    pub stats: Stats,
    /// Counters at the last CONFIG RESETSTAT.
    counted_from: Mutex<Option<Counts>>,
    /// Number of this run of the server: random, in hexadecimal.
    pub run_id: String,
    /// Users, their permissions and tokens.
    pub users: Users,
    /// Memory that is held for clients.
    pub client_memory: Arc<ClientMemory>,
    /// Turns of long requests.
    pub long_turns: Turns,
    /// Connected clients.
    pub clients: Clients,
    /// Pause of all clients.
    pub pause: Pause,
    /// Channels and their subscribers.
    pub channels: Arc<Channels>,
    /// What others are told of changes.
    pub(super) notices: Arc<Notices>,
    /// Scripts.
    pub scripts: Scripts,
    /// Recent requests, for the live feed.
    pub recent_requests: Arc<RecentRequests>,
    /// Slow requests.
    pub(super) slowlog: Slowlog,
    /// Settings in force.
    pub setup: Setup,
    /// Time at which the save began that BGSAVE has begun; 0 while none runs.
    pub(super) saving_since_ms: Arc<AtomicU64>,
    /// True while a backup is made.
    pub(super) backing_up: Arc<AtomicBool>,
}

impl Service {
    /// Makes a service whose data is being loaded, with this progress; its counters are zero.
    #[must_use]
    pub fn new(
        commands: &'static CommandList,
        users: Users,
        progress: Arc<Progress>,
        setup: Setup,
    ) -> Self {
        let primary = setup.config.primary();
        let primary = primary.and_then(|primary| primary.primaries.first().cloned());
        let membership = setup.config.membership();
        let client_memory = setup.config.get::<ByteCount>("client-memory").0;
        let client_memory = Arc::new(ClientMemory::new(client_memory));
        let channels = Arc::new(Channels::default());
        let notices = Notices::new(&setup, &channels, &client_memory);
        Self {
            commands,
            engine: OnceLock::new(),
            cluster: OnceLock::new(),
            progress,
            replication: Arc::new(Replication::new(primary.as_deref(), membership)),
            users,
            connections: TaskTracker::new(),
            stats: Stats::new(commands.id_count()),
            counted_from: Mutex::default(),
            pause: Pause::default(),
            run_id: (0..5)
                .map(|_| format!("{:08x}", fastrand::u32(..)))
                .collect(),
            client_memory,
            long_turns: Turns::default(),
            clients: Clients::default(),
            channels,
            notices: Arc::new(notices),
            scripts: Scripts::default(),
            recent_requests: Arc::default(),
            slowlog: Slowlog::default(),
            setup,
            saving_since_ms: Arc::default(),
            backing_up: Arc::default(),
        }
    }

    /// Reads all counters since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let engine = self.engine.get();
        let gone = engine.map_or((0, 0), |engine| (engine.expired(), engine.evicted()));
        let traffic = self.clients.traffic();
        Counts::of(&self.stats, self.commands, gone, traffic)
    }

    /// Reads all counters since the start, or since the last CONFIG RESETSTAT.
    #[must_use]
    pub fn counts_since_reset(&self) -> Counts {
        let counts = self.counts();
        let from = self.counted_from.lock();
        let from = from.unwrap_or_else(PoisonError::into_inner);
        match &*from {
            Some(from) => counts.since(from),
            None => counts,
        }
    }

    /// Lets [`Service::counts_since_reset`] begin at 0.
    pub(super) fn reset_counts(&self) {
        self.stats.unknown.clear();
        let counts = self.counts();
        let from = self.counted_from.lock();
        *from.unwrap_or_else(PoisonError::into_inner) = Some(counts);
    }

    /// Samples the counters whose rates are shown. To be called once a second.
    pub fn sample_rates(&self) {
        self.stats.sample(self.clients.traffic());
    }

    /// Returns true while a save runs that BGSAVE has begun.
    pub(super) fn is_saving(&self) -> bool {
        self.saving_since_ms.load(Acquire) > 0
    }

    /// Returns the seconds since that save began.
    pub(super) fn saving_seconds(&self) -> Option<u64> {
        let since = self.saving_since_ms.load(Acquire);
        (since > 0).then(|| now_ms().saturating_sub(since) / 1000)
    }

    /// Returns the time of the last successful save, or else of the start, in seconds since 1970.
    pub(super) fn last_save_seconds(&self) -> u64 {
        let engine = self.engine.get();
        let save = engine.and_then(|engine| engine.disk().last_save);
        let save = save.filter(|save| save.result == "ok");
        save.map_or_else(
            || (now_ms() / 1000).saturating_sub(self.stats.uptime_seconds()),
            |save| save.ended_at / 1000,
        )
    }

    /// Sets the engine, once the data is loaded: from now on requests for data are executed.
    pub fn begin(&self, engine: Arc<Engine>) {
        engine.listen(Arc::<Notices>::clone(&self.notices));
        self.engine.set(engine).expect("the data is loaded once");
    }

    /// Sets the cluster that has the data in place of the engine: from now on requests for data are executed.
    pub fn begin_on_cluster(self: &Arc<Self>, cluster: Arc<Cluster>) {
        let service = Arc::downgrade(self);
        cluster.receive_messages(Box::new(move |channel, payload| {
            let service = service.upgrade();
            Box::pin(async move {
                match service {
                    Some(service) => service.deliver(&channel, &payload).await,
                    None => 0,
                }
            })
        }));
        let first = self.cluster.set(cluster);
        first.expect("the server connects to one cluster");
    }

    /// Sends a message to its subscribers here. Returns their number.
    async fn deliver(&self, channel: &[u8], payload: &[u8]) -> u64 {
        let mut delivery =
            self.channels
                .publish(&self.client_memory, Space::Channels, channel, payload);
        while delivery.proceed(&self.channels) {
            tokio::task::yield_now().await;
        }
        delivery.receivers
    }

    /// Returns the cluster that has the data in place of the engine, if there is one.
    #[must_use]
    #[inline(always)]
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }

    /// Returns the time from which on a script may be killed, and others wait no longer for it.
    #[must_use]
    pub fn script_time(&self) -> Duration {
        Duration::from_millis(self.setup.script_time_ms.load(Relaxed))
    }

    /// Checks that the data can be accessed.
    ///
    /// # Errors
    /// `BUSY`, with the progress, while it is being loaded.
    #[inline(always)]
    pub fn check_ready(&self) -> Result<(), ErrorReply> {
        if (self.engine.get().is_some() || self.cluster.get().is_some())
            && !self.replication.is_closed()
        {
            return Ok(());
        }
        self.engine().map(drop)
    }

    /// Returns the engine.
    ///
    /// # Errors
    /// `BUSY`, with the progress, while the data is being loaded; `DENIED` where a cluster has it.
    #[inline(always)]
    pub fn engine(&self) -> Result<&Arc<Engine>, ErrorReply> {
        let engine = self.engine.get().filter(|_| !self.replication.is_closed());
        engine.ok_or_else(|| {
            if self.replication.is_closed() {
                if let Some(membership) = &self.replication.membership {
                    return not_leader(membership);
                }
                let primary = self.replication.primary();
                return ErrorReply::new(
                    ErrorCode::Busy,
                    format!("this replica has not copied all pairs of {primary} yet; try again in a moment"),
                );
            }
            if self.cluster.get().is_some() {
                let message = "this is not to be had where a cluster has the data (--engine)";
                return ErrorReply::new(ErrorCode::Denied, message).with_prefix("ERR");
            }
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

    /// Returns the newest revision of the engine, also while its pairs are being replaced; 0 until it is loaded.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.engine.get().map_or(0, |engine| engine.revision())
    }

    /// Checks that a change of a client can be taken.
    ///
    /// # Errors
    /// `READONLY` on a replica.
    #[inline(always)]
    pub fn check_writable(&self) -> Result<(), ErrorReply> {
        if self.replication.is_replica() {
            return Err(self.read_only());
        }
        Ok(())
    }

    /// Checks that a read of a client is answered here.
    ///
    /// # Errors
    /// `NOT_LEADER` on a member of a cluster that another one leads.
    #[inline(always)]
    pub fn check_readable(&self) -> Result<(), ErrorReply> {
        if self.replication.refuses_reads() {
            return Err(self.read_only());
        }
        Ok(())
    }

    /// Returns true if a reply that shows data must be replaced where it turns out to be old, as one that reports a change: on a member of a
    /// cluster whose log etcd keeps.
    #[must_use]
    #[inline(always)]
    pub fn marks_reads(&self) -> bool {
        self.replication.membership.is_some()
    }

    /// Returns the barrier of a batch of requests that begins now.
    #[must_use]
    #[inline(always)]
    pub fn barrier(&self) -> Barrier {
        let engine = self.engine.get();
        Barrier::in_term(engine.map_or(0, |engine| engine.term()))
    }

    #[cold]
    fn read_only(&self) -> ErrorReply {
        if let Some(membership) = &self.replication.membership {
            return not_leader(membership);
        }
        let primary = self.replication.primary();
        ErrorReply::new(
            ErrorCode::ReadOnly,
            format!("this is a replica; {primary} takes changes"),
        )
    }

    /// Returns the cap on the memory of the data.
    #[must_use]
    #[inline(always)]
    pub fn memory_cap(&self) -> &MemoryCap {
        &self.setup.memory_cap
    }

    /// Makes room for requests that are executed together and store so many bytes. Returns whether there is: if not, each of them asks
    /// for its own.
    #[must_use]
    #[cold]
    pub fn make_room(&self, bytes: u64) -> bool {
        let engine = self.engine.get();
        engine.is_none_or(|engine| engine.make_room(bytes).is_ok())
    }

    /// Returns true if anybody who reaches the server from another machine may use it without signing in.
    #[must_use]
    pub fn is_open_to_all(&self) -> bool {
        self.setup.is_reachable && self.setup.config.get("allow-anonymous") && self.users.is_open()
    }

    /// Applies a change of the users to the connected clients: those whose user is gone are disconnected, and each looks at what it
    /// receives again.
    pub(super) fn apply_users(&self) {
        self.clients
            .kill_users(|name| self.users.get(name).is_none());
        self.clients.renew_permissions();
    }

    /// Takes over the users of `users.json`, if it has been edited. Slow if so.
    pub fn watch_users(&self) {
        if self.users.reload_if_changed() {
            self.apply_users();
        }
    }

    /// Prefetches the pairs of these keys, which are about to be looked up.
    pub fn prefetch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        if let Some(engine) = self.engine.get() {
            engine.prefetch(keys);
        }
    }

    /// Prefetches what the look-up of a key begins with: it is executed soon.
    #[inline(always)]
    pub fn prefetch_shard_of(&self, key: &[u8]) {
        if let Some(engine) = self.engine.get() {
            engine.prefetch_shard_of(key);
        }
    }

    /// Returns true if the changes on which a batch of replies depends are durable already.
    #[must_use]
    #[inline(always)]
    pub fn is_durable(&self, barrier: Barrier) -> bool {
        let engine = self.engine.get();
        engine.is_none_or(|engine| engine.is_durable(barrier))
    }

    /// Waits until the changes on which a batch of replies depends are durable; see [`Engine::wait_until_durable`]. While the data
    /// is being loaded there are none.
    ///
    /// # Errors
    /// `DISK` if they cannot be made durable.
    pub async fn commit(&self, barrier: Barrier) -> Result<(), ErrorReply> {
        match self.engine.get() {
            Some(engine) => Ok(engine.wait_until_durable(barrier).await?),
            None => Ok(()),
        }
    }

    /// Saves all pairs, and waits for the end of the save; see [`Engine::save`].
    ///
    /// # Errors
    /// `DISK` if the save fails, `BUSY` while the data is being loaded.
    pub async fn save(&self) -> Result<(), ErrorReply> {
        Ok(self.engine()?.save().await?)
    }
}

/// Returns the refusal of a member that does not lead, with the address of the one that does.
fn not_leader(membership: &Membership) -> ErrorReply {
    let leader = membership.leader_elsewhere();
    let message = leader.map_or_else(
        || "- nobody leads at the moment; try again soon".to_owned(),
        |leader| format!("{} leads; ask it", leader.address),
    );
    ErrorReply::new(ErrorCode::NotLeader, message)
}
