//! The way of a request to the node of its slot, and of its reply back.
//!
//! In: requests, each for one slot; the topology, as nodes tell it. Out: replies, or why there are none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::error::ClusterError;
use super::link::{Answer, Link, Lost, Sent};
use super::node::Node;
use super::open::{Access, remedy, socket_address};
use super::options::{ClusterOptions, Replication};
use super::overview::Overview;
use super::publications::Publications;
use super::reply::NodeReply;
use super::request::{Requests, request_of};
use super::scripts::Script;
use super::topology::{Endpoints, Topology, hostnames, names_hosts};
use super::unanswered::{Unanswered, UnansweredChanges};
use crate::tls::client_connector;

/// Interval of looks at the topology.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// Least interval of looks at the topology while requests are refused.
const REFRESH_PAUSE: Duration = Duration::from_millis(50);
/// Time within which a node must tell the topology.
pub(super) const REFRESH_MAX: Duration = Duration::from_millis(500);
/// Number of nodes that are asked for the topology at once.
const ASKED_NODES: usize = 6;
/// Number of redirections of a request that are followed at once.
const REDIRECTIONS_AT_ONCE: usize = 4;
/// Time within which a node takes a script.
const LOAD_MAX: Duration = Duration::from_secs(5);
/// Pause before a refused request is sent again.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Reply of a node, or why there is none.
pub type NodeResult = Result<Bytes, ClusterError>;

/// Topology, and the nodes of its primaries.
pub(super) struct State {
    pub(super) topology: Topology,
    /// In the order of the primaries.
    pub(super) nodes: Vec<Arc<Node>>,
}

/// A cluster.
pub struct Cluster {
    pub(super) options: ClusterOptions,
    pub(super) access: Arc<Access>,
    state: RwLock<Arc<State>>,
    /// All nodes to which something was sent, by address.
    nodes: Mutex<BTreeMap<String, Arc<Node>>>,
    /// Connections for looks at the topology, by address.
    watches: Mutex<BTreeMap<String, Arc<Link>>>,
    /// True once a node has named nodes by their hostnames. It stays so: a node that goes by two names would be taken for another one.
    prefers_hostnames: AtomicBool,
    /// Asks for a look at the topology.
    pub(super) doubt: Notify,
    /// Tells of a look at the topology.
    looked: Notify,
    /// Time of the last look that has succeeded.
    pub(super) looked_at: Mutex<Instant>,
    /// The changes that have been sent and not yet answered.
    unanswered: UnansweredChanges,
    pub(super) overview: Mutex<Overview>,
    pub(super) messages: Publications,
}

/// A request that has no reply yet.
struct Due {
    place: usize,
    /// Address of the node that an ASK has named.
    asked: Option<String>,
}

/// Reason to send a request again, which was refused without being done.
enum Refusal {
    Moved(u16, String),
    Ask(String),
    /// The node does not have the script yet.
    NoScript,
    /// The node is not ready for it.
    NotReady(String),
}

impl Cluster {
    /// Finds the nodes of a cluster.
    ///
    /// # Errors
    /// Why none of the nodes has told its topology.
    pub async fn open(options: ClusterOptions) -> Result<Arc<Self>, String> {
        let tls = options.is_encrypted.then(client_connector).transpose();
        let access = Access {
            tls: tls.map_err(|reason| format!("--engine: {reason}"))?,
            user: options.user.clone(),
            password: options.password.clone(),
            timeout: options.timeout,
        };
        let state = State {
            topology: Topology::default(),
            nodes: Vec::new(),
        };
        let cluster = Arc::new(Self {
            options,
            access: Arc::new(access),
            state: RwLock::new(Arc::new(state)),
            nodes: Mutex::default(),
            watches: Mutex::default(),
            prefers_hostnames: AtomicBool::new(false),
            doubt: Notify::new(),
            looked: Notify::new(),
            looked_at: Mutex::new(Instant::now()),
            unanswered: UnansweredChanges::default(),
            overview: Mutex::default(),
            messages: Publications::default(),
        });
        let deadline = Instant::now() + cluster.options.timeout;
        while let Err(reason) = cluster.look().await {
            if let Some(remedy) = remedy(&reason) {
                return Err(format!("--engine: {reason}; {remedy}"));
            }
            if Instant::now() >= deadline {
                let hint = if cluster.options.is_encrypted {
                    "rediss:// is for ports at which nodes speak TLS (tls-port)"
                } else {
                    "if nodes speak TLS at these ports, give rediss://"
                };
                return Err(format!("--engine: {reason}; {hint}"));
            }
            sleep(REFRESH_PAUSE).await;
        }
        cluster.check_versions().await?;
        cluster.survey().await;
        let surveying = Arc::downgrade(&cluster);
        tokio::spawn(async move {
            while let Some(cluster) = surveying.upgrade() {
                cluster.survey().await;
                drop(cluster);
                sleep(REFRESH_INTERVAL).await;
            }
        });
        let looking = Arc::downgrade(&cluster);
        tokio::spawn(async move {
            let mut next = Instant::now() + REFRESH_INTERVAL;
            while let Some(cluster) = looking.upgrade() {
                tokio::select! {
                    () = sleep_until(next) => {}
                    () = cluster.doubt.notified() => sleep(REFRESH_PAUSE).await,
                }
                // A request that waits for it fails by itself.
                let _ = cluster.look().await;
                next = Instant::now() + REFRESH_INTERVAL;
            }
        });
        Ok(cluster)
    }

    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the time by which a request that begins now is answered.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.options.timeout
    }

    /// Returns the owners of all slots.
    #[must_use]
    pub fn topology(&self) -> Topology {
        self.state().topology.clone()
    }

    /// Returns the node at an address.
    pub(super) fn node(&self, address: &str) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = nodes.entry(address.to_owned()).or_insert_with(|| {
            let least = self.options.replication.map(Replication::least);
            Arc::new(Node::new(address, &self.access, least))
        });
        Arc::clone(node)
    }

    /// Asks some nodes for the topology, and takes it over.
    async fn look(&self) -> Result<(), String> {
        let state = self.state();
        let mut addresses: Vec<String> = state.topology.addresses().map(str::to_owned).collect();
        fastrand::shuffle(&mut addresses);
        addresses.truncate(ASKED_NODES);
        if addresses.len() < ASKED_NODES {
            addresses.extend(self.options.nodes.iter().cloned());
        }
        addresses.sort();
        addresses.dedup();
        let deadline = Instant::now() + REFRESH_MAX;
        let request = request_of(&[b"CLUSTER", b"NODES"]);
        let asked = addresses.into_iter().map(|address| {
            let link = self.watch(&address);
            let sent = link.send(std::iter::once(&*request), 1, false, None);
            (address, sent)
        });
        let asked: Vec<(String, Sent)> = asked.collect();
        let count = asked.len();
        let mut views = Vec::new();
        let mut reason = "no node is named".to_owned();
        for (address, sent) in asked {
            match sent.answer(deadline).await {
                Ok(answer) => match NodeReply::parse(&answer.replies) {
                    Ok(NodeReply::Bytes(view)) => {
                        views.push((address, String::from_utf8_lossy(view).into_owned()));
                    }
                    Ok(NodeReply::Error(error)) => reason = format!("{address}: {error}"),
                    other => reason = format!("{address}: {other:?}"),
                },
                Err(lost) => {
                    // A node that is slow is asked anew, over another connection.
                    self.watch(&address).end(&lost.reason);
                    reason = lost.reason.to_string();
                }
            }
        }
        // A few nodes may be apart from the others, and know no better: once the cluster is known, half of those that are asked must agree.
        let is_known = !state.topology.primaries.is_empty();
        if views.is_empty() || is_known && views.len() * 2 < count {
            return Err(reason);
        }
        *self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let endpoints = self.endpoints_of(&views).await;
        self.take_over(Topology::of(&views, endpoints));
        self.looked.notify_waiters();
        Ok(())
    }

    /// Returns what nodes are reached by, as they want it.
    async fn endpoints_of(&self, views: &[(String, String)]) -> Endpoints {
        for (address, view) in views {
            let hostnames = hostnames(view);
            if hostnames.is_empty() || self.prefers_hostnames.load(Relaxed) {
                continue;
            }
            let request = request_of(&[b"CLUSTER", b"SLOTS"]);
            let link = self.watch(address);
            let sent = link.send(std::iter::once(&*request), 1, false, None);
            // Without an answer the next look asks again.
            if let Ok(answer) = sent.answer(Instant::now() + REFRESH_MAX).await
                && NodeReply::parse(&answer.replies)
                    .is_ok_and(|reply| names_hosts(&reply, &hostnames))
            {
                self.prefers_hostnames.store(true, Relaxed);
            }
            break;
        }
        if self.prefers_hostnames.load(Relaxed) {
            Endpoints::Hostnames
        } else {
            Endpoints::Addresses
        }
    }

    /// Returns the connection for looks at the topology by way of a node.
    fn watch(&self, address: &str) -> Arc<Link> {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let link = watches
            .entry(address.to_owned())
            .or_insert_with(|| Link::open(address, &self.access, None));
        if link.has_ended() {
            *link = Link::open(address, &self.access, None);
        }
        Arc::clone(link)
    }

    fn take_over(&self, topology: Topology) {
        let nodes: Vec<Arc<Node>> = topology
            .primaries
            .iter()
            .map(|primary| {
                let node = self.node(&primary.node.address);
                if primary.slots == 0 {
                    return node;
                }
                let live = u32::try_from(primary.live_replicas()).unwrap_or(u32::MAX);
                let required = match self.options.replication {
                    None => 0,
                    Some(Replication::All) => live.max(1),
                    Some(Replication::AtLeast(replicas)) => replicas,
                };
                node.required.live.store(live, Relaxed);
                node.required.replicas.store(required, Relaxed);
                node
            })
            .collect();
        let new = State { topology, nodes };
        let old = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *state, Arc::new(new))
        };
        let state = self.state();
        let owns = |state: &State, node: &Node| {
            let mut primaries = state.topology.primaries.iter();
            primaries.any(|primary| primary.slots > 0 && primary.node.address == node.address)
        };
        for node in old.nodes.iter().filter(|node| owns(&old, node)) {
            // What it has not answered it may never answer, if it has failed.
            if !owns(&state, node) {
                node.end("it owns no slots any longer");
            }
        }
    }

    /// Executes requests. Returns their replies, in the same order.
    pub async fn execute(&self, requests: &Requests) -> Vec<NodeResult> {
        self.execute_until(self.deadline(), requests).await
    }

    /// Executes requests, which are answered by a deadline. Returns their replies, in the same order.
    pub async fn execute_until(&self, deadline: Instant, requests: &Requests) -> Vec<NodeResult> {
        let mut results: Vec<Option<NodeResult>> = requests.all().iter().map(|_| None).collect();
        let mut due: Vec<Due> = (0..requests.len())
            .map(|place| Due { place, asked: None })
            .collect();
        let mut rounds = 0;
        loop {
            let refused = self.send(requests, due, &mut results, deadline).await;
            if refused.is_empty() {
                break;
            }
            rounds += 1;
            let is_redirected = refused
                .iter()
                .all(|(_, refusal)| !matches!(refusal, Refusal::NotReady(_)));
            let is_over = Instant::now() >= deadline;
            due = Vec::new();
            for (place, refusal) in refused {
                let request = &requests.all()[place];
                // A later request for its slot that was executed must not come before it, if one of both is a change.
                let mut later = requests.all().iter().zip(&results).skip(place + 1);
                let is_passed = later.any(|(other, result)| {
                    let is_ordered = request.is_write || other.is_write;
                    is_ordered && other.slot == request.slot && result.is_some()
                });
                if is_over || is_passed {
                    let reason = match refusal {
                        Refusal::NotReady(reason) => reason,
                        _ => format!("slot {} is moving", request.slot),
                    };
                    results[place] = Some(Err(ClusterError::Unavailable(reason)));
                    continue;
                }
                let asked = match refusal {
                    Refusal::Ask(address) => Some(address),
                    Refusal::Moved(slot, address) => {
                        self.note_moved(slot, &address);
                        None
                    }
                    Refusal::NotReady(_) | Refusal::NoScript => None,
                };
                due.push(Due { place, asked });
            }
            if due.is_empty() {
                break;
            }
            if !is_redirected || rounds > REDIRECTIONS_AT_ONCE {
                self.doubt.notify_one();
                let looked = self.looked.notified();
                // Whichever is first: a new look, or a pause, as a slot that moves is told of by no look.
                let _ = timeout_at(deadline.min(Instant::now() + RETRY_PAUSE), looked).await;
            }
        }
        let results = results.into_iter();
        results
            .map(|result| result.expect("each request has been answered"))
            .collect()
    }

    /// Sends requests, and waits for their replies. Returns those that were refused, in their order.
    async fn send(
        &self,
        requests: &Requests,
        due: Vec<Due>,
        results: &mut [Option<NodeResult>],
        deadline: Instant,
    ) -> Vec<(usize, Refusal)> {
        let state = self.state();
        let mut refused = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        for Due { place, asked } in due {
            let request = &requests.all()[place];
            let node = match &asked {
                Some(address) => self.node(address),
                None => match state.topology.owner(request.slot) {
                    Some(owner) => Arc::clone(&state.nodes[owner]),
                    None => {
                        let reason = format!("slot {} has no primary", request.slot);
                        refused.push((place, Refusal::NotReady(reason)));
                        continue;
                    }
                },
            };
            let found = parts.iter_mut().find(|part| Arc::ptr_eq(&part.node, &node));
            let part = match found {
                Some(part) => part,
                None => {
                    parts.push(Part::new(node));
                    parts.last_mut().expect("it was added")
                }
            };
            part.has_write |= request.is_write;
            part.requests.push((place, asked.is_some()));
        }
        let sent: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let link = part.node.link(part.has_write);
                let sent = part.send(requests, &link, self.note_changes(requests, &part));
                (part, link, sent)
            })
            .collect();
        for (part, link, sent) in sent {
            let answer = sent.answer(deadline).await;
            match answer {
                Err(lost) => {
                    self.doubt.notify_one();
                    part.lose(requests, &lost, results, &mut refused);
                }
                Ok(answer) => {
                    if !part.has_write && self.options.replication.is_some() {
                        let mut confirmed = Ok(());
                        if self.shows_unanswered(requests, &part) {
                            confirmed = part.node.wait_for_changes(deadline).await;
                        }
                        // Where the node has lost its slots meanwhile, it may have shown what nobody else has.
                        if let Err(lost) = confirmed.and_then(|()| link.check()) {
                            self.doubt.notify_one();
                            part.lose(requests, &lost, results, &mut refused);
                            continue;
                        }
                    }
                    part.take(requests, &answer, results, &mut refused);
                    if refused
                        .iter()
                        .any(|(_, refusal)| matches!(refusal, Refusal::NoScript))
                    {
                        load_scripts(&link);
                    }
                }
            }
        }
        refused.sort_by_key(|(place, _)| *place);
        refused
    }

    /// Counts the changes of a part as sent, until what is returned is dropped.
    fn note_changes(&self, requests: &Requests, part: &Part) -> Option<Unanswered> {
        let is_counted = self.options.replication.is_some() && part.has_write;
        is_counted.then(|| {
            let all = part
                .requests
                .iter()
                .map(|(place, _)| &requests.all()[*place]);
            let changes = all.filter(|request| request.is_write);
            self.unanswered.add(changes.map(|request| request.slot))
        })
    }

    /// Returns true if replies may show a change that the replicas may not have yet.
    fn shows_unanswered(&self, requests: &Requests, part: &Part) -> bool {
        let mut slots = part
            .requests
            .iter()
            .map(|(place, _)| requests.all()[*place].slot);
        slots.any(|slot| self.unanswered.has(slot))
    }

    fn note_moved(&self, slot: u16, address: &str) {
        self.doubt.notify_one();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(topology) = state.topology.with_moved(slot, address) {
            let nodes = state.nodes.clone();
            *state = Arc::new(State { topology, nodes });
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.options.nodes.join(","))
    }
}

/// Requests for one node.
struct Part {
    node: Arc<Node>,
    has_write: bool,
    /// Their places, and whether they come after an ASK.
    requests: Vec<(usize, bool)>,
}

impl Part {
    fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            has_write: false,
            requests: Vec::new(),
        }
    }

    fn send(&self, requests: &Requests, link: &Arc<Link>, unanswered: Option<Unanswered>) -> Sent {
        const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";
        let pieces = self.requests.iter().flat_map(|(place, is_asking)| {
            let request = requests.bytes_of(&requests.all()[*place]);
            is_asking.then_some(ASKING).into_iter().chain([request])
        });
        let asking = self
            .requests
            .iter()
            .filter(|(_, is_asking)| *is_asking)
            .count();
        let count = self.requests.len() + asking;
        link.send(pieces, count, self.has_write, unanswered)
    }

    /// Takes the replies.
    fn take(
        &self,
        requests: &Requests,
        answer: &Answer,
        results: &mut [Option<NodeResult>],
        refused: &mut Vec<(usize, Refusal)>,
    ) {
        let mut each = answer.each();
        let mut next = || each.next().expect("each request has a reply");
        for (place, is_asking) in &self.requests {
            if *is_asking {
                next();
            }
            let reply = next();
            if reply.starts_with(b"-")
                && let Some(refusal) = refusal_of(&reply, &self.node.address)
            {
                refused.push((*place, refusal));
                continue;
            }
            let is_write = requests.all()[*place].is_write;
            results[*place] = Some(match answer.too_few {
                Some(few) if is_write && !reply.starts_with(b"-") => {
                    Err(ClusterError::InDoubt(format!(
                        "the change was made on {}, and {} of {} replicas have it: it is lost if they take over",
                        self.node.address, few.replicas, few.required
                    )))
                }
                _ => Ok(reply),
            });
        }
    }

    /// Handles the loss of the connection.
    fn lose(
        &self,
        requests: &Requests,
        lost: &Lost,
        results: &mut [Option<NodeResult>],
        refused: &mut Vec<(usize, Refusal)>,
    ) {
        for (place, _) in &self.requests {
            if lost.is_sent && requests.all()[*place].is_write {
                let reason = format!("the change may have been made, or not: {}", lost.reason);
                results[*place] = Some(Err(ClusterError::InDoubt(reason)));
            } else {
                refused.push((*place, Refusal::NotReady(lost.reason.to_string())));
            }
        }
    }
}

/// Sends a node the scripts: before all requests that follow on the connection.
fn load_scripts(link: &Arc<Link>) {
    for script in Script::all() {
        let load = request_of(&[b"SCRIPT", b"LOAD", script.text.as_bytes()]);
        // Without them the next request is refused again.
        let load = link.send(std::iter::once(&*load), 1, false, None);
        tokio::spawn(load.answer(Instant::now() + LOAD_MAX));
    }
}

/// Returns how an error refuses a request, if it says that the request was not done and may be later, or elsewhere.
fn refusal_of(reply: &[u8], from: &str) -> Option<Refusal> {
    let text = std::str::from_utf8(&reply[1..]).ok()?.trim_end();
    let mut words = text.split(' ');
    match words.next()? {
        "MOVED" => Some(Refusal::Moved(
            words.next()?.parse().ok()?,
            named_address(words.next()?, from)?,
        )),
        "NOSCRIPT" => Some(Refusal::NoScript),
        "ASK" => Some(Refusal::Ask(named_address(words.nth(1)?, from)?)),
        "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "READONLY" | "MASTERDOWN" | "NOREPLICAS"
        | "BUSY" => Some(Refusal::NotReady(text.to_owned())),
        _ => None,
    }
}

/// Returns the address that a node names, which leaves out the host if that is its own.
fn named_address(address: &str, from: &str) -> Option<String> {
    let (host, port) = address.rsplit_once(':')?;
    if host.is_empty() || host == "?" {
        let (own, _) = from.rsplit_once(':')?;
        return Some(format!("{own}:{port}"));
    }
    Some(socket_address(host, port))
}
