//! Servers of one cluster over three etcd.
//!
//! In: how they are set up. Out: servers of which one leads, each on addresses that it keeps. Each can be killed, stopped, woken, ended, and
//! started again on its folder.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::connection::{Connection, Waited};
use crate::etcd::{ETCDS, Etcd};
use crate::http;
use crate::network::{Network, Who};
use crate::place::Place;
use crate::process::{Condition, Process};
use crate::wait::wait_for;

/// The lease of the leader.
pub const LEASE: Duration = Duration::from_secs(2);
/// Servers of a cluster.
pub const SERVERS: usize = 3;
/// Servers for which there is a place: one may join.
pub const PLACES: usize = SERVERS + 1;

/// A request that is to be answered at once is given up after this time.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The same for SAVE, which writes all to the disk.
const SAVE_MAX: Duration = Duration::from_secs(20);

/// How the servers and etcd are set up.
#[derive(Default)]
pub struct Options {
    /// The most that each etcd stores.
    pub quota_bytes: Option<u64>,
    /// Flags of each etcd, besides those that it needs.
    pub etcd_flags: Vec<String>,
    /// Variables of the servers.
    pub variables: Vec<(&'static str, &'static str)>,
    /// Where all stand in namespaces.
    pub network: Option<Network>,
}

/// The servers, their etcd, and their network: they end in this order.
pub struct Servers {
    all: Vec<Option<Server>>,
    pub etcd: Etcd,
    program: PathBuf,
    flags: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
    dir: TempDir,
    pub network: Option<Network>,
}

/// One of them.
struct Server {
    process: Process,
    place: Place,
    /// The text port, and that of HTTP.
    addr: SocketAddr,
    http: SocketAddr,
}

impl Servers {
    /// Starts etcd and the servers, and waits until one leads.
    pub fn start(program: &Path, flags: &[String], options: Options) -> Self {
        let place = |who| match &options.network {
            Some(network) => network.place(who),
            None => Place::here(),
        };
        let places: Vec<Place> = (0..ETCDS).map(|etcd| place(Who::Etcd(etcd))).collect();
        let etcd = Etcd::start(&places, options.quota_bytes, &options.etcd_flags);
        let mut servers = Self {
            all: (0..PLACES).map(|_| None).collect(),
            etcd,
            program: program.to_owned(),
            flags: flags.to_vec(),
            variables: options.variables,
            dir: TempDir::new().expect("a folder for servers"),
            network: options.network,
        };
        for server in 0..SERVERS {
            servers.join(server);
        }
        for server in 0..SERVERS {
            servers.wait_until_up(server);
        }
        servers.wait_for_leader();
        servers
    }

    /// Starts a server that has never been there, with an empty folder.
    pub fn join(&mut self, server: usize) {
        let who = Who::Server(server);
        let network = self.network.as_ref();
        let place = network.map_or_else(Place::here, |network| network.place(who));
        let [text, http] = place.ports();
        let addresses = [text, http].map(|port| SocketAddr::from((place.outer, port)));
        self.all[server] = Some(Server {
            process: self.spawn(server, &place, addresses),
            place,
            addr: addresses[0],
            http: addresses[1],
        });
    }

    /// Ends a server and forgets it, its folder too.
    pub fn leave(&mut self, server: usize) {
        self.end(server);
        self.all[server] = None;
        std::fs::remove_dir_all(self.data(server)).expect("its folder");
    }

    /// Starts a server again after its end.
    pub fn restart(&mut self, server: usize) {
        let one = self.one(server);
        let (place, addresses) = (one.place.clone(), [one.addr, one.http]);
        let process = self.spawn(server, &place, addresses);
        self.one_mut(server).process = process;
    }

    /// Waits until a server answers.
    pub fn wait_until_up(&mut self, server: usize) {
        wait_for("a server answers", || {
            let one = self.one_mut(server);
            if let Some(status) = one.process.has_ended() {
                panic!(
                    "server {server} ends with {status}:\n{}",
                    one.process.log_end()
                );
            }
            let pong = Connection::ask_once(one.addr, "PING", ANSWER_MAX);
            match pong.as_deref() {
                Some("PONG") => Ok(()),
                other => Err(format!(
                    "server {server} says {other:?}:\n{}",
                    one.process.log_end()
                )),
            }
        });
    }

    /// The text ports of those that there are.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.all.iter().flatten().map(|one| one.addr).collect()
    }

    /// The text port of one.
    pub fn addr(&self, server: usize) -> SocketAddr {
        self.one(server).addr
    }

    /// Those that run.
    pub fn running(&self) -> Vec<usize> {
        let runs = |&server: &usize| {
            let one = self.all[server].as_ref();
            one.is_some_and(|one| one.process.condition() == Condition::Running)
        };
        (0..self.all.len()).filter(runs).collect()
    }

    /// Whether a server says that it leads.
    pub fn leads(&self, server: usize) -> bool {
        let reply = http::ask(self.one(server).http, "GET", "/health/ready", "");
        reply.is_some_and(|(status, _)| status == 200)
    }

    /// Waits until one leads.
    pub fn wait_for_leader(&self) -> usize {
        self.wait_for_leader_among(&self.running())
    }

    /// Waits until one leads that is not this.
    pub fn wait_for_other_leader(&self, than: usize) -> usize {
        let mut others = self.running();
        others.retain(|&server| server != than);
        self.wait_for_leader_among(&others)
    }

    /// Waits until one of these leads.
    fn wait_for_leader_among(&self, servers: &[usize]) -> usize {
        let mut leader = None;
        wait_for("one of the servers leads", || {
            leader = servers.iter().copied().find(|&server| self.leads(server));
            leader.map(drop).ok_or_else(|| self.logs())
        });
        leader.expect("it was waited for")
    }

    /// One that runs and does not lead.
    pub fn follower(&self) -> usize {
        let leader = self.wait_for_leader();
        let mut running = self.running();
        running.retain(|&server| server != leader);
        running[fastrand::usize(..running.len())]
    }

    /// Kills one as `kill -9` does.
    pub fn kill(&mut self, server: usize) {
        self.one_mut(server).process.kill();
    }

    /// Lets one do nothing.
    pub fn stop(&mut self, server: usize) {
        self.one_mut(server).process.stop();
    }

    /// Lets one go on.
    pub fn wake(&mut self, server: usize) {
        self.one_mut(server).process.wake();
    }

    /// Ends one by SIGTERM.
    pub fn end(&mut self, server: usize) {
        self.one_mut(server).process.end();
    }

    /// Asks one, on a connection of its own.
    pub fn ask(&self, server: usize, line: &str) -> Option<String> {
        Connection::ask_once(self.one(server).addr, line, ANSWER_MAX)
    }

    /// Asks one for rows; all that comes up to the last of them.
    pub fn ask_rows(&self, server: usize, line: &str) -> String {
        let mut rows = String::new();
        let Some(mut connection) = Connection::open(self.addr(server)) else {
            return rows;
        };
        connection.send(line, ANSWER_MAX);
        while let Waited::Reply(row) = connection.wait(ANSWER_MAX) {
            let is_last = row.starts_with("END") || row.starts_with("ERR ");
            rows = rows + &row + "\n";
            if is_last {
                break;
            }
        }
        rows
    }

    /// Waits until all that run have the same `store.json`, byte for byte, when nobody changes anything; its length in bytes.
    pub fn wait_until_equal(&self) -> usize {
        let running = self.running();
        let mut bytes = 0;
        wait_for("all have the same store.json", || {
            let stores = running.iter().map(|&server| self.saved(server));
            let stores: Vec<Vec<u8>> = stores.collect::<Result<_, String>>()?;
            bytes = stores[0].len();
            let other = stores.iter().position(|store| *store != stores[0]);
            other.map_or(Ok(()), |other| {
                let lengths: Vec<usize> = stores.iter().map(Vec::len).collect();
                Err(format!(
                    "{} and {} differ, of {lengths:?} bytes: {}",
                    running[0],
                    running[other],
                    differing(&stores[0], &stores[other])
                ))
            })
        });
        bytes
    }

    /// The last lines of all logs, and whatever panicked.
    pub fn logs(&self) -> String {
        let logs = self.all.iter().flatten().enumerate();
        logs.map(|(server, one)| format!("-- server {server}:\n{}\n", one.process.log_end()))
            .collect()
    }

    /// Whether any has panicked.
    pub fn has_panicked(&self) -> bool {
        let mut servers = self.all.iter().flatten();
        servers.any(|one| one.process.log().contains("panicked at"))
    }

    /// The `store.json` of one, after SAVE.
    fn saved(&self, server: usize) -> Result<Vec<u8>, String> {
        let reply = Connection::ask_once(self.one(server).addr, "SAVE", SAVE_MAX);
        if reply.as_deref() != Some("OK") {
            return Err(format!("SAVE on server {server} is answered {reply:?}"));
        }
        let path = self.data(server).join("store.json");
        std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    fn data(&self, server: usize) -> PathBuf {
        self.dir.path().join(format!("p{server}"))
    }

    fn spawn(&self, server: usize, place: &Place, [addr, http]: [SocketAddr; 2]) -> Process {
        let mut command = place.command(&self.program);
        command
            .args(["--listen", &addr.to_string(), "--http", &http.to_string()])
            .arg("--data")
            .arg(self.data(server))
            .args(["--durability", "replicated", "--cluster", "test"])
            .args(["--etcd", &self.etcd.urls()])
            .args(["--lease", &LEASE.as_secs().to_string()])
            .args(["--advertise", &addr.to_string()])
            // The addresses of namespaces are not those of this machine alone.
            .arg("--allow-anonymous")
            .args(&self.flags)
            .envs(self.variables.iter().copied());
        let log = self.dir.path().join(format!("p{server}.log"));
        Process::start(command, &log)
    }

    fn one(&self, server: usize) -> &Server {
        self.all[server].as_ref().expect("it was started")
    }

    fn one_mut(&mut self, server: usize) -> &mut Server {
        self.all[server].as_mut().expect("it was started")
    }
}

/// The keys in which two files differ, with the lengths of their values.
fn differing(one: &[u8], other: &[u8]) -> String {
    let parse = |bytes: &[u8]| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_slice(bytes).unwrap_or_default()
    };
    let (one, other) = (parse(one), parse(other));
    let length = |value: Option<&serde_json::Value>| value.map(|value| value.to_string().len());
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let keys = keys
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name));
    let named = keys.map(|name| {
        let lengths = [&one, &other].map(|pairs| length(pairs.get(name)));
        format!("{name} {lengths:?}")
    });
    named.collect::<Vec<_>>().join(", ")
}

impl Drop for Servers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.logs());
        }
    }
}
