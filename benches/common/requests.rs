//! Requests, made and executed in this process, as a connection does it, but for the sockets.
//!
//! In: which request, for which key. Out: batches of them, executed on a service of its own.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pykv::command::{COMMANDS, Dispatcher, Identity, Replies as _, Service, Session, Users};
use pykv::config::{BoundEndpoints, Config, Setup};
use pykv::engine::{Barrier, Engine, Eviction, MemoryCap};
use pykv::metrics::counters::Tally;
use pykv::model::Database;
use pykv::persistence::{Durability, Options, Progress, SYNC_INTERVAL};
use pykv::server::output::Output;
use pykv::server::pipeline::Pipeline;
use pykv::server::request_buffer::RequestBuffer;
use tokio_util::sync::CancellationToken;

/// As many as one batch takes.
pub const PIPELINE: usize = 64;

/// Makes the request for the key with this number.
pub type Request = fn(usize) -> String;

/// A key of 16 bytes.
pub fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// A value of 64 bytes.
pub fn value() -> String {
    "v".repeat(64)
}

pub fn resp_get(number: usize) -> String {
    format!("*2\r\n$3\r\nGET\r\n$16\r\n{}\r\n", key(number))
}

pub fn resp_set(number: usize) -> String {
    format!(
        "*3\r\n$3\r\nSET\r\n$16\r\n{}\r\n$64\r\n{}\r\n",
        key(number),
        value()
    )
}

/// A batch of requests for these keys.
pub fn batch(request: Request, numbers: impl Iterator<Item = usize>) -> String {
    numbers.map(request).collect()
}

/// What has come in, unread.
pub fn input_of(sent: &str) -> RequestBuffer {
    let mut input = RequestBuffer::default();
    let mut rest = sent.as_bytes();
    while !rest.is_empty() {
        let filled = input.fill(|room| Ok(room.put(rest)));
        rest = &rest[filled.expect("memory does not fail")..];
    }
    input
}

/// A client, as its connection keeps it.
pub struct Caller {
    service: Arc<Service>,
    session: Session,
    output: Output,
}

impl Caller {
    pub fn new(service: &Arc<Service>) -> Self {
        let account = service.client_memory.account();
        Self {
            service: Arc::clone(service),
            session: Session::new(&account, Identity::anonymous(&service.users, true)),
            output: Output::new(&account),
        }
    }

    /// Takes requests as a connection does, up to the reply, which nobody is sent; what that would have to wait for.
    pub fn execute(&mut self, sent: &str) -> Barrier {
        let mut input = input_of(sent);
        let arrived = input.batch(Database::default(), false);
        let mut barrier = Barrier::default();
        let stopped = Pipeline {
            dispatcher: Dispatcher {
                service: &self.service,
                session: &mut self.session,
                tally: &mut Tally::default(),
                barrier: &mut barrier,
            },
            output: &mut self.output,
        }
        .run(&arrived.requests, &arrived.batch);
        let least_bytes = arrived.requests.len() * 3;
        assert!(stopped.is_none() && self.output.bytes() >= least_bytes);
        arrived.release();
        black_box(&self.output);
        self.output.release_memory();
        barrier
    }
}

/// A service on an empty folder, with room for all keys under a cap, if a policy of eviction is given.
pub fn served(folder: &Path, durability: Durability, eviction: Option<Eviction>) -> Arc<Service> {
    const CAP_BYTES: u64 = 1 << 30;
    let cap = eviction.map(|eviction| MemoryCap::new(CAP_BYTES, eviction, 0, 0));
    let cap = Arc::new(cap.unwrap_or_default());
    let options = Options {
        data: folder.to_owned(),
        durability,
        save_interval: Duration::from_secs(86_400),
        sync_interval: SYNC_INTERVAL,
        is_copy: false,
        order: None,
    };
    let progress = Arc::new(Progress::new());
    let engine = Engine::open(&options, Arc::clone(&cap), &progress).expect("an empty folder");
    let config = Config::try_parse_from(["pykv-server"]).expect("no flag is no mistake");
    let text = BoundEndpoints::default();
    let mut setup = Setup::new(config, text, false, None, 1, CancellationToken::new());
    setup.memory_cap = cap;
    let users = Users::open(&COMMANDS, folder, None).expect("an empty folder");
    let service = Service::new(&COMMANDS, users, progress, setup);
    service.begin(engine);
    Arc::new(service)
}
