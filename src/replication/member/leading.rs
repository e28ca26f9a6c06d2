//! What a member does that leads: it appends to the log what clients change.
//!
//! In: a lead that was won, records that have been appended here. Out: entries of the log, in order; the end of the lead. Promises:
//! - changes are taken once all of the log is here, and no more once the lead is known to be lost;
//! - an entry is appended once, under the fence, or never; what is not known is asked again until it is;
//! - data is shown until the lease ends at the earliest, counted from when its renewal was sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Member;
use super::etcd::{Etcd, EtcdError, Lead, Moment, RETRY_PAUSE, is_fence_off};
use super::following::Elected;
use super::log_entry::{ENTRY_BYTES_MAX, Header, divide, encode};
use super::origin::Origin;
use crate::engine::{Engine, Progress, Timeline};
use crate::error::error_chain;
use crate::persistence::{BootTime, LoggedLines};
use crate::replication::membership::{MemberState, Membership};
use crate::replication::status::Replication;

/// Renewals in the time of a lease.
const RENEWALS_PER_LEASE: u32 = 6;
/// How much earlier than the lease its end is assumed: clocks of two machines do not run at quite the same rate.
const LEASE_MARGIN: Duration = Duration::from_millis(100);
/// Pause of who looks for records to append, where nobody waits for them.
const SHIP_INTERVAL: Duration = Duration::from_millis(10);
/// The part of the time of a transaction for which others are waited for before the next one, and the longest such time.
const GATHER_PART: u32 = 8;
const GATHER_MAX: Duration = Duration::from_millis(2);
/// Interval of trims, at most.
const TRIM_INTERVAL: Duration = Duration::from_millis(200);
/// Interval in which etcd is told to forget what was replaced, while nothing is trimmed.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of entries that stay in the log, for members that are away for a moment.
const KEPT_BYTES: usize = 1 << 20;
/// Bytes of entries from which on members that lag are not waited for, but for one; and from which on changes wait.
const LAG_BYTES_MAX: usize = 4 << 20;
const LOG_BYTES_MAX: usize = 8 << 20;
/// Time within which another member takes over, in leases.
const HAND_OVER_LEASES: u32 = 3;

/// The lead is lost: another member has it, or nobody.
struct Lost;

/// Why appending has ended.
enum LeadEnd {
    Lost,
    /// The server stops.
    Stopping,
    /// It was demanded.
    StepDown(oneshot::Sender<Result<(), String>>),
}

impl Member {
    /// Leads until the lead is lost or handed over.
    pub(super) async fn lead(&mut self, elected: Elected, shutdown: &CancellationToken) {
        let Elected { lead, asked_at } = elected;
        let lost = CancellationToken::new();
        let keeper = Keeper {
            etcd: Etcd::new(&self.options, 2),
            engine: Arc::clone(&self.engine),
            status: Arc::clone(&self.status),
            lead,
            duration: self.options.lease,
            lost: lost.clone(),
        };
        let keeping = tokio::spawn(keeper.keep(asked_at));
        let ended = tokio::select! {
            ended = self.lead_with(lead, asked_at, shutdown) => ended,
            () = lost.cancelled() => LeadEnd::Lost,
        };
        // From here on no change is taken.
        self.status.set_leading(false);
        let handed_over = match ended {
            LeadEnd::Lost => None,
            LeadEnd::Stopping => {
                self.hand_over(lead).await;
                None
            }
            LeadEnd::StepDown(done) => {
                self.hand_over(lead).await;
                Some(done)
            }
        };
        keeping.abort();
        // It must not take changes again.
        let _ = keeping.await;
        self.status.set_leading(false);
        self.follow_again().await;
        if let Some(done) = handed_over {
            let _ = done.send(self.wait_for_another().await);
        }
    }

    async fn lead_with(
        &mut self,
        lead: Lead,
        asked_at: BootTime,
        shutdown: &CancellationToken,
    ) -> LeadEnd {
        let began = self.begin(lead, asked_at).await;
        let Ok(mut log) = began else {
            return LeadEnd::Lost;
        };
        let gate = Arc::clone(self.engine.gate());
        loop {
            // Under load there is always something to append.
            if shutdown.is_cancelled() {
                return LeadEnd::Stopping;
            }
            if let Ok(done) = self.demands.try_recv() {
                return LeadEnd::StepDown(done);
            }
            if gate.asked() > gate.confirmed() {
                let asked = gate.asked();
                match self.etcd.leads(lead.fence).await {
                    Ok(true) => gate.confirm(asked),
                    Ok(false) => return LeadEnd::Lost,
                    Err(error) => self.note_reason(Some(error.to_string())),
                }
            }
            let lines = self.engine.take_for_log();
            if !lines.bytes.is_empty() {
                let records = lines.last_seq + 1 - lines.first_seq;
                let started = Instant::now();
                if self.append_all(lead, lines, &mut log).await.is_err() {
                    return LeadEnd::Lost;
                }
                self.gather(records, started.elapsed()).await;
                continue;
            }
            if log.is_due() && self.trim(lead, &mut log).await.is_err() {
                return LeadEnd::Lost;
            }
            if log.forgot_at.elapsed() >= FORGET_INTERVAL {
                log.forgot_at = Instant::now();
                // A failure is made up for by the next one.
                let _ = self.etcd.forget().await;
            }
            tokio::select! {
                () = gate.wait_for_demand() => {}
                () = sleep(SHIP_INTERVAL) => {}
                () = gate.wait_for_asking() => {}
                Some(done) = self.demands.recv() => return LeadEnd::StepDown(done),
                () = shutdown.cancelled() => return LeadEnd::Stopping,
            }
        }
    }

    /// Waits for the next records of those who have just been answered, so that they share a transaction: as many as before, or for a part
    /// of the time that it takes.
    async fn gather(&self, records: u64, took: Duration) {
        let gate = self.engine.gate();
        let wanted = gate.logged() + records;
        let gathering = async {
            while self.engine.revision() < wanted {
                gate.wait_for_demand().await;
            }
        };
        let _ = timeout((took / GATHER_PART).min(GATHER_MAX), gathering).await;
    }

    /// Applies all of the log, to which nobody else can append any more, and takes changes.
    async fn begin(&mut self, lead: Lead, asked_at: BootTime) -> Result<Log, Lost> {
        if self.origin.is_none() {
            self.adopt_stored_origin().await;
        }
        let mut has_looked = false;
        loop {
            match self.step(Moment::Now).await {
                Ok(true) => {}
                // Once more: the look before may have been older than the lead.
                Ok(false) if has_looked => break,
                Ok(false) => has_looked = true,
                Err(error) => {
                    tracing::warn!("cannot lead: {error}");
                    self.stands_after = BootTime::now().after(self.options.lease);
                    let _ = self.etcd.revoke(lead.lease).await;
                    return Err(Lost);
                }
            }
            if self.must_copy {
                // Only who is away has what is missing here.
                self.stands_after = BootTime::now().after(self.options.lease);
                let _ = self.etcd.revoke(lead.lease).await;
                return Err(Lost);
            }
        }
        self.assembly.clear();
        let next_seq = self.engine.revision() + 1;
        self.place = Some((next_seq, 0));
        loop {
            let removed = self.etcd.remove(lead.fence, next_seq, None).await;
            if self.is_known(lead, removed).await? {
                break;
            }
        }
        if self.origin.is_none() {
            self.begin_cluster(lead, next_seq).await?;
        }
        let gate = self.engine.gate();
        let until = asked_at.after(self.options.lease.saturating_sub(LEASE_MARGIN));
        gate.extend(if is_fence_off() {
            BootTime::NEVER
        } else {
            until
        });
        if self.options.confirms_reads {
            gate.confirm_each();
        }
        gate.begin_term(true);
        self.set_state(MemberState::Leading);
        self.status.set_leading(true);
        tracing::info!("leading from revision {}", next_seq - 1);
        Ok(Log::default())
    }

    async fn stored_origin(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.etcd.origin().await {
                Ok(origin) => return origin,
                Err(error) => self.note_reason(Some(error.to_string())),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Learns what the log continues, if the cluster has begun since the start.
    async fn adopt_stored_origin(&mut self) {
        let origin = self.stored_origin().await;
        if let Err(error) = self.adopt_origin(origin.as_deref()) {
            tracing::error!("{error}");
            // It must not lead with data that is not the cluster's.
            self.must_copy = true;
        }
    }

    /// Lets the cluster begin with the data that is here.
    async fn begin_cluster(&mut self, lead: Lead, next_seq: u64) -> Result<(), Lost> {
        let origin = Origin {
            timeline: Timeline::random_id(),
            from: next_seq,
        };
        let value = serde_json::to_vec(&origin).expect("plain fields are always JSON");
        loop {
            let founded = self.etcd.found(lead.fence, &value).await;
            if self.is_known(lead, founded).await? {
                break;
            }
        }
        // Whether it was this try or one before: what stands there counts.
        let stands = self.stored_origin().await;
        if stands.as_deref() != Some(&*value) {
            return Err(Lost);
        }
        let taken = self.engine.copy_timeline(origin.timeline());
        if let Err(fault) = taken {
            tracing::error!("cannot lead: {fault}");
            return Err(Lost);
        }
        self.origin = Some(origin);
        Ok(())
    }

    /// Returns whether a transaction under the fence has an answer, or has to be repeated.
    async fn is_known(
        &mut self,
        lead: Lead,
        answered: Result<bool, EtcdError>,
    ) -> Result<bool, Lost> {
        let error = match answered {
            Ok(true) => return Ok(true),
            Ok(false) => match self.etcd.leads(lead.fence).await {
                Ok(true) => return Ok(true),
                Ok(false) => return Err(Lost),
                Err(error) => error,
            },
            Err(error) => error,
        };
        self.note_reason(Some(error.to_string()));
        sleep(RETRY_PAUSE).await;
        Ok(false)
    }

    /// Appends records to the log.
    async fn append_all(
        &mut self,
        lead: Lead,
        lines: LoggedLines,
        log: &mut Log,
    ) -> Result<(), Lost> {
        let mut first_seq = lines.first_seq;
        for (range, records) in divide(&lines.bytes) {
            while log.bytes >= LOG_BYTES_MAX && log.entries.len() > 1 {
                // What is on the disks of members makes room.
                let before = log.bytes;
                self.trim(lead, log).await?;
                if log.bytes == before {
                    sleep(SHIP_INTERVAL).await;
                }
            }
            let bytes = &lines.bytes[range];
            let parts: Vec<&[u8]> = bytes.chunks(ENTRY_BYTES_MAX).collect();
            for (part, chunk) in (0_u32..).zip(&parts) {
                let header = Header {
                    fence: lead.fence,
                    last: part as usize + 1 == parts.len(),
                };
                let value = encode(&header, chunk);
                self.append(lead, (first_seq, part), &value).await?;
            }
            let last_seq = first_seq + records as u64 - 1;
            let logged = LoggedLines {
                first_seq,
                last_seq,
                bytes: bytes.to_vec(),
            };
            self.engine.note_logged(&logged);
            log.push(first_seq, bytes.len());
            self.membership().update(|view| {
                view.log_bytes = log.bytes as u64;
                view.log_from = log.entries.front().map_or(0, |(seq, _)| *seq);
            });
            first_seq = last_seq + 1;
            if log.is_due() {
                self.trim(lead, log).await?;
            }
        }
        Ok(())
    }

    /// Appends a part of an entry. Asks until it is known whether the log has it.
    async fn append(&mut self, lead: Lead, place: (u64, u32), value: &[u8]) -> Result<(), Lost> {
        let gate = Arc::clone(self.engine.gate());
        loop {
            match self.etcd.append(lead.fence, place, value).await {
                Ok(true) => break,
                Ok(false) => match self.etcd.entry(place).await {
                    Ok((Some(there), _)) if there == value => break,
                    // It is not there, and cannot come any more.
                    Ok((_, leader)) if leader != Some(lead.fence) => return Err(Lost),
                    Ok((Some(_), _)) => return Err(Lost),
                    Ok((None, _)) => {}
                    Err(error) => self.note_reason(Some(error.to_string())),
                },
                Err(error) => {
                    if let EtcdError::Refused(reason) = &error {
                        gate.refuse(Some(format!("etcd takes no changes: {reason}")));
                    }
                    self.note_reason(Some(error.to_string()));
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
        gate.refuse(None);
        self.note_reason(None);
        Ok(())
    }

    /// Removes entries from the log that are on the disks of members.
    async fn trim(&mut self, lead: Lead, log: &mut Log) -> Result<(), Lost> {
        log.trimmed_at = Instant::now();
        let view = self.membership().view();
        let own = self.engine.synced();
        let others = view.members.iter();
        let others = others.filter(|member| member.address != self.info.address);
        let mut synced: Vec<u64> = others.map(|member| member.synced).collect();
        synced.sort_unstable();
        let on_all = synced.first().copied().unwrap_or(own).min(own);
        let on_two = synced.last().copied().unwrap_or(own).min(own);
        let is_long = log.bytes > LAG_BYTES_MAX;
        let Some(from) = log.cut(if is_long { on_two } else { on_all }) else {
            return Ok(());
        };
        match self.etcd.remove(lead.fence, 0, Some(from)).await {
            Ok(true) => {
                log.remove_before(from);
                log.forgot_at = Instant::now();
            }
            Ok(false) => return Err(Lost),
            Err(error) => self.note_reason(Some(error.to_string())),
        }
        Ok(())
    }

    /// Ends the lead once the log has all that was changed here; not after a lease, when it has ended by itself.
    async fn hand_over(&mut self, lead: Lead) {
        let lease = self.options.lease;
        let handing = async {
            // What was admitted before.
            let (engine, gate) = (Arc::clone(&self.engine), Arc::clone(self.engine.gate()));
            tokio::task::block_in_place(|| engine.stop_changes());
            let mut log = Log::default();
            loop {
                let lines = engine.take_for_log();
                if lines.bytes.is_empty() {
                    break;
                }
                if self.append_all(lead, lines, &mut log).await.is_err() {
                    return;
                }
            }
            // Those who have waited are answered while this server leads.
            while gate.has_waiters() {
                let asked = gate.asked();
                if let Ok(true) = self.etcd.leads(lead.fence).await {
                    gate.confirm(asked);
                }
                sleep(Duration::from_millis(1)).await;
            }
            gate.extend(BootTime::now());
            let _ = self.etcd.revoke(lead.lease).await;
        };
        let _ = timeout(lease, handing).await;
        self.stands_after = BootTime::now().after(lease * HAND_OVER_LEASES);
    }

    /// Waits until another member leads.
    async fn wait_for_another(&mut self) -> Result<(), String> {
        let until = Instant::now() + self.options.lease * HAND_OVER_LEASES;
        while Instant::now() < until {
            let _ = self.step(Moment::Now).await;
            let leader = self.membership().leader();
            if leader.is_some_and(|leader| leader.address != self.info.address) {
                return Ok(());
            }
            sleep(RETRY_PAUSE).await;
        }
        self.stands_after = BootTime::now();
        Err("no other member has taken over; this one stands for election again".to_owned())
    }

    /// Takes back what the log did not get, and follows it.
    async fn follow_again(&mut self) {
        self.set_state(MemberState::Joining);
        // Not this server any more; who else, the next look tells.
        self.membership().note_leader(None);
        let gate = self.engine.gate();
        gate.refuse(None);
        gate.extend(if self.membership().serves_stale {
            BootTime::NEVER
        } else {
            BootTime::now()
        });
        let engine = Arc::clone(&self.engine);
        let has_more = tokio::task::block_in_place(|| engine.follow_log());
        self.place = None;
        self.assembly.clear();
        // Who has demanded it a moment too late is told so.
        while self.demands.try_recv().is_ok() {}
        if !has_more {
            tracing::warn!("another member may lead: following");
            return;
        }
        tracing::warn!("another member may lead: taking back what the log did not get");
        self.status.set_closed(true);
        let reloading = tokio::task::spawn_blocking(move || engine.reload(&Progress::new()));
        match reloading.await {
            Ok(Ok(())) => self.status.set_closed(false),
            Ok(Err(error)) => {
                tracing::error!("cannot load the pairs anew: {}", error_chain(&error));
                self.must_copy = true;
            }
            Err(_) => {}
        }
    }
}

/// The entries of the log, as far as this leader has appended them.
struct Log {
    /// First record and length in bytes of each.
    entries: VecDeque<(u64, usize)>,
    bytes: usize,
    trimmed_at: Instant,
    forgot_at: Instant,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            trimmed_at: Instant::now(),
            forgot_at: Instant::now(),
        }
    }
}

impl Log {
    fn push(&mut self, seq: u64, bytes: usize) {
        self.entries.push_back((seq, bytes));
        self.bytes += bytes;
    }

    /// Returns true if the log is long enough to be trimmed.
    fn is_due(&self) -> bool {
        self.bytes > KEPT_BYTES && self.trimmed_at.elapsed() >= TRIM_INTERVAL
    }

    /// Returns the first record that stays, if all up to a record are on disks; `None` if all stays. The last entry does.
    fn cut(&self, synced: u64) -> Option<u64> {
        let mut left = self.bytes;
        let mut from = None;
        for ((_, bytes), (next, _)) in self.entries.iter().zip(self.entries.iter().skip(1)) {
            left -= bytes;
            if left < KEPT_BYTES || *next > synced + 1 {
                break;
            }
            from = Some(*next);
        }
        from
    }

    fn remove_before(&mut self, from: u64) {
        while let Some((seq, bytes)) = self.entries.front()
            && *seq < from
        {
            self.bytes -= bytes;
            self.entries.pop_front();
        }
    }
}

/// Keeps the lease.
struct Keeper {
    etcd: Etcd,
    engine: Arc<Engine>,
    status: Arc<Replication>,
    lead: Lead,
    duration: Duration,
    lost: CancellationToken,
}

impl Keeper {
    async fn keep(mut self, asked_at: BootTime) {
        let usable = self.duration.saturating_sub(LEASE_MARGIN);
        let mut until = asked_at.after(usable);
        loop {
            let sent = BootTime::now();
            // While nobody answers, the end of the lease must be seen.
            let suspending = suspend_after(Arc::clone(&self.status), until);
            let renewed = tokio::select! {
                renewed = self.etcd.renew(self.lead) => renewed,
                never = suspending => match never {},
            };
            match renewed {
                Ok(true) => {
                    until = sent.after(usable);
                    self.resume(until);
                    sleep(self.duration / RENEWALS_PER_LEASE).await;
                }
                Ok(false) if is_fence_off() => sleep(RETRY_PAUSE).await,
                Ok(false) => break,
                Err(_) => sleep(RETRY_PAUSE).await,
            }
        }
        self.lost.cancel();
    }

    fn membership(&self) -> &Membership {
        let membership = self.status.membership.as_ref();
        membership.expect("a member has a membership")
    }

    fn resume(&self, until: BootTime) {
        let state = self.membership().view().state;
        if matches!(state, MemberState::Leading | MemberState::Waiting) && !is_fence_off() {
            self.engine.gate().extend(until);
            if state == MemberState::Waiting {
                tracing::warn!("the lease is renewed: taking changes again");
                self.membership()
                    .update(|view| view.state = MemberState::Leading);
                self.status.set_leading(true);
            }
        }
    }
}

/// Takes no changes once the lease is over: whether another member leads is not known then.
async fn suspend_after(status: Arc<Replication>, until: BootTime) -> Infallible {
    sleep(until.remaining()).await;
    if let Some(membership) = &status.membership
        && membership.leads()
        && !is_fence_off()
    {
        tracing::warn!("the lease has not been renewed in time: no changes are taken");
        membership.update(|view| view.state = MemberState::Waiting);
        status.set_leading(false);
    }
    // Until the renewal has an answer.
    pending().await
}
