//! One server of a cluster on two free ports, in a folder of its own, killed when dropped.
//!
//! In: the program, and how nodes are set up. Out: a node that answers and knows no other. It can be killed, stalled, resumed, and started
//! again as it was.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;

use crate::tls::{Authority, Identity};
use crate::wait::wait_for;

/// Time after which a node is taken for failed.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time within which a node that is neither killed nor stalled answers.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How the nodes of a cluster are set up, besides what is the same for all.
#[derive(Default)]
pub struct NodeSetup {
    /// Settings, as flags.
    pub flags: Vec<String>,
    /// Where the nodes speak TLS alone, to clients and to each other: their certificate, which is for `localhost` at least, and who has
    /// signed it.
    pub tls: Option<(Authority, Identity)>,
    /// What clients and nodes must sign in with.
    pub password: Option<&'static str>,
}

impl NodeSetup {
    /// All flags that a node is started with.
    fn flags(&self, port: u16) -> Vec<String> {
        let port = port.to_string();
        let mut flags = self.flags.clone();
        let mut add = |words: &[&str]| flags.extend(words.iter().map(|word| (*word).to_owned()));
        match &self.tls {
            None => add(&["--port", &port]),
            Some((authority, identity)) => {
                let path = |path: &Path| path.display().to_string();
                add(&["--port", "0", "--tls-port", &port]);
                add(&["--tls-cluster", "yes", "--tls-replication", "yes"]);
                add(&["--tls-auth-clients", "no"]);
                add(&["--tls-ca-cert-file", &path(&authority.file())]);
                add(&["--tls-cert-file", &path(&identity.certificate)]);
                add(&["--tls-key-file", &path(&identity.key)]);
            }
        }
        if let Some(password) = self.password {
            add(&["--requirepass", password, "--masterauth", password]);
        }
        flags
    }

    /// The URL of nodes: scheme, password, and these addresses.
    pub fn url(&self, addresses: &str) -> String {
        let scheme = if self.tls.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let password = self.password.map(|password| format!(":{password}@"));
        format!("{scheme}://{}{addresses}", password.unwrap_or_default())
    }
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Running,
    Stalled,
    Killed,
}

/// The server.
pub struct RedisNode {
    child: Child,
    condition: Condition,
    program: PathBuf,
    setup: Rc<NodeSetup>,
    pub port: u16,
    pub bus_port: u16,
    dir: TempDir,
    /// Its name in the cluster, once it was asked for it.
    pub id: String,
    /// A connection for questions.
    link: RefCell<Option<redis::Connection>>,
}

impl RedisNode {
    /// Where it takes clients.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// A new connection.
    pub fn connect(&self) -> redis::RedisResult<redis::Connection> {
        let host = self.setup.tls.as_ref().map_or("127.0.0.1", |_| "localhost");
        let url = self.setup.url(&format!("{host}:{}", self.port));
        let client = match &self.setup.tls {
            None => redis::Client::open(url)?,
            Some((authority, _)) => {
                let certificates = redis::TlsCertificates {
                    client_tls: None,
                    root_cert: Some(std::fs::read(authority.file())?),
                };
                redis::Client::build_with_tls(url, certificates)?
            }
        };
        let link = client.get_connection_with_timeout(ANSWER_MAX)?;
        link.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(link)
    }

    /// Asks on a connection that is kept for that.
    pub fn ask(&self, words: &[&str]) -> redis::RedisResult<String> {
        let kept = self.link.take();
        let mut link = kept.map_or_else(|| self.connect(), Ok)?;
        let reply = redis::cmd(words[0]).arg(&words[1..]).query(&mut link);
        // What comes late after a connection has failed would be taken for the next reply.
        if reply
            .as_ref()
            .err()
            .is_none_or(|error: &redis::RedisError| error.code().is_some())
        {
            self.link.replace(Some(link));
        }
        reply
    }

    /// What it does.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("a node can be killed");
        self.child.wait().expect("the node has ended");
        self.link.take();
        self.condition = Condition::Killed;
    }

    /// Lets it do nothing; its connections stay.
    pub fn stall(&mut self) {
        self.signal("STOP");
        self.condition = Condition::Stalled;
    }

    /// Lets it go on after a stall.
    pub fn resume(&mut self) {
        self.signal("CONT");
        self.condition = Condition::Running;
    }

    /// Starts it again after a kill, and waits until it answers.
    pub fn restart(&mut self) {
        assert!(self.condition == Condition::Killed, "it was not killed");
        self.child = spawn(
            &self.program,
            &self.setup,
            (self.port, self.bus_port),
            self.dir.path(),
        );
        self.condition = Condition::Running;
        wait_for("the node answers again", || self.answers());
    }

    /// Whether it is this process that answers on the port.
    fn answers(&self) -> Result<(), String> {
        let info = self
            .ask(&["INFO", "server"])
            .map_err(|error| error.to_string())?;
        let expected = format!("process_id:{}\r\n", self.child.id());
        if info.contains(&expected) {
            return Ok(());
        }
        Err(format!("another server has port {}", self.port))
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "{kill} fails");
    }
}

impl Drop for RedisNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts so many nodes, unless one of them cannot have its ports.
pub fn start_nodes(program: &Path, setup: &Rc<NodeSetup>, count: usize) -> Option<Vec<RedisNode>> {
    let ports = free_ports(count * 2);
    let mut nodes: Vec<RedisNode> = ports
        .chunks_exact(2)
        .map(|ports| {
            let dir = TempDir::new().expect("a folder for a node");
            RedisNode {
                child: spawn(program, setup, (ports[0], ports[1]), dir.path()),
                condition: Condition::Running,
                program: program.to_owned(),
                setup: Rc::clone(setup),
                port: ports[0],
                bus_port: ports[1],
                dir,
                id: String::new(),
                link: RefCell::new(None),
            }
        })
        .collect();
    let mut all_answer = true;
    for node in &mut nodes {
        wait_for("a node answers", || {
            let ended = node.child.try_wait().expect("a child of this process");
            if ended.is_some() {
                all_answer = false;
                return Ok(());
            }
            node.answers()
        });
    }
    all_answer.then_some(nodes)
}

/// Ports that nobody listens on, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}

fn spawn(program: &Path, setup: &NodeSetup, (port, bus_port): (u16, u16), dir: &Path) -> Child {
    Command::new(program)
        .args(["--bind", "127.0.0.1"])
        .args(setup.flags(port))
        .args([
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus_port.to_string(),
        ])
        .args([
            "--cluster-node-timeout",
            &NODE_TIMEOUT.as_millis().to_string(),
        ])
        .args(["--cluster-replica-validity-factor", "0"])
        .args(["--cluster-require-full-coverage", "no"])
        .args(["--repl-diskless-sync-delay", "0"])
        .args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
            "--dir",
        ])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()))
}
