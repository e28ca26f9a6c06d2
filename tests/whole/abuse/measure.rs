//! The measurement of one abuse.
//!
//! In: a row. Out: the longest wait of another client, the time to the end of the server, its peak memory.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::TestServer;

/// The clients that send the requests at the same time: more than there are cores.
const ABUSERS: usize = 4;
/// The threads that send half of requests at the same time.
const SENDERS: usize = 20;
/// What ends the replies of a round.
const MARK: &[u8] = b"$12\r\nend of round\r\n";
/// After this long with no reply, a round is over as well: the measurement has seen enough.
const PATIENCE: Duration = Duration::from_secs(30);

/// A kind of request that is made to be expensive.
pub struct Abuse {
    pub name: &'static str,
    /// What is sent, in words.
    pub sends: &'static str,
    /// The requests that are sent once, before: the data.
    pub prepare: fn(Size) -> Vec<u8>,
    /// The requests that each of the clients sends again and again.
    pub requests: fn(Size) -> Vec<u8>,
}

/// A kind of request that is not sent whole, by clients that then wait.
pub struct HalfSent {
    pub name: &'static str,
    /// True for the HTTP port.
    pub is_http: bool,
    /// What each of the clients sends, or as much of it as the server takes.
    pub sends: fn() -> Vec<u8>,
    /// The number of clients, at each size.
    pub clients: [usize; 2],
}

/// How much is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// One round, of few data.
    Short,
    /// Rounds for three seconds, of much.
    Full,
}

impl Size {
    /// So many, or a part of them.
    pub fn of(self, full: usize, short: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Short => short,
        }
    }
}

/// What others have noticed.
pub struct Measured {
    pub wait: Duration,
    pub stop: Duration,
    pub peak_bytes: u64,
    /// The rounds of all clients together.
    pub rounds: u64,
}

/// A request in RESP.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Measures one row on a server of its own.
pub fn measure(row: &Abuse, size: Size) -> Measured {
    let server = TestServer::start();
    let addr = server.addr();
    // Subscriptions last as long as the connection, which therefore stays, and is read from.
    let preparing = Peer::connect(addr);
    assert!(
        preparing.round(&(row.prepare)(size)),
        "{}: not prepared",
        row.name
    );
    let (stops, rounds) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let probing = Probing::begin(addr);
    let requests = Arc::new((row.requests)(size));
    let abusers: Vec<_> = (0..ABUSERS)
        .map(|_| {
            let (stops, rounds) = (Arc::clone(&stops), Arc::clone(&rounds));
            let requests = Arc::clone(&requests);
            thread::spawn(move || {
                let peer = Peer::connect(addr);
                // The requests go on while the server is told to end.
                while peer.round(&requests) {
                    rounds.fetch_add(1, Relaxed);
                    if stops.load(Relaxed) {
                        break;
                    }
                }
            })
        })
        .collect();
    let begun = Instant::now();
    let is_enough = || match size {
        Size::Short => rounds.load(Relaxed) >= 1 || begun.elapsed() > PATIENCE,
        Size::Full => begun.elapsed() > Duration::from_secs(3),
    };
    while !is_enough() {
        thread::sleep(Duration::from_millis(5));
    }
    stops.store(true, Relaxed);
    let measured = end(server, probing, row.name);
    for abuser in abusers {
        abuser.join().expect("an abuser does not panic");
    }
    Measured {
        rounds: rounds.load(Relaxed),
        ..measured
    }
}

/// Measures what clients hold with half-sent requests, on a server with this budget in bytes.
pub fn measure_half_sent(row: &HalfSent, size: Size, budget_bytes: u64) -> Measured {
    let server = TestServer::start_with(&["--client-memory", &budget_bytes.to_string()]);
    let addr = if row.is_http {
        server.http_addr()
    } else {
        server.addr()
    };
    let probing = Probing::begin(server.addr());
    let part = (row.sends)();
    let [full, short] = row.clients;
    let clients: Vec<TcpStream> = thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let part = &part;
                scope.spawn(move || {
                    let clients = sender..size.of(full, short);
                    let connected = clients.step_by(SENDERS).map(|_| half_send(addr, part));
                    connected.collect::<Vec<_>>()
                })
            })
            .collect();
        let connected = senders.into_iter().map(thread::ScopedJoinHandle::join);
        connected
            .flat_map(|clients| clients.expect("a sender does not panic"))
            .collect()
    });
    Measured {
        rounds: clients.len() as u64,
        ..end(server, probing, row.name)
    }
}

/// Ends the measurement and the server.
fn end(server: TestServer, probing: Probing, name: &str) -> Measured {
    let wait = probing.end();
    let peak_bytes = server.peak_memory_bytes();
    let told = Instant::now();
    let (stopped, status) = server.signal("TERM");
    let stop = told.elapsed();
    assert_eq!(status, Some(0), "{}: {}", name, stopped.log());
    Measured {
        wait,
        stop,
        peak_bytes,
        rounds: 0,
    }
}

fn half_send(addr: SocketAddr, part: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("the server listens");
    let patience = stream.set_write_timeout(Some(PATIENCE));
    patience.expect("it is not zero");
    // The server may end it.
    let _ = stream.write_all(part);
    stream
}

/// A client that asks for little, again and again.
struct Probing {
    stops: Arc<AtomicBool>,
    thread: thread::JoinHandle<Duration>,
}

impl Probing {
    fn begin(addr: SocketAddr) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stops = Arc::clone(&stops);
            move || probe(addr, &stops)
        });
        Self { stops, thread }
    }

    /// Ends it. The longest time that one reply has taken.
    fn end(self) -> Duration {
        self.stops.store(true, Relaxed);
        self.thread.join().expect("the prober does not panic")
    }
}

fn probe(addr: SocketAddr, stops: &AtomicBool) -> Duration {
    let mut stream = TcpStream::connect(addr).expect("the server listens");
    let request = [
        request(&[b"PING"]),
        request(&[b"SET", b"small", b"value"]),
        request(&[b"GET", b"nothing"]),
    ]
    .concat();
    let mut reply = [0; b"+PONG\r\n+OK\r\n$-1\r\n".len()];
    let mut longest = Duration::ZERO;
    while !stops.load(Relaxed) {
        let asked = Instant::now();
        stream.write_all(&request).expect("the server reads");
        stream.read_exact(&mut reply).expect("the server answers");
        longest = longest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    longest
}

/// A connection whose replies are read as they come.
struct Peer(TcpStream);

impl Peer {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        let timeout = stream.set_read_timeout(Some(2 * PATIENCE));
        timeout.expect("it is not zero");
        let mut peer = Self(stream);
        // In RESP2, who is subscribed may not ask for the mark. The reply is read in the first round.
        let greeted = peer.0.write_all(&request(&[b"HELLO", b"3"]));
        greeted.expect("the server reads");
        peer
    }

    /// Sends requests and reads all replies. Returns false if the server has closed the connection.
    fn round(&self, requests: &[u8]) -> bool {
        thread::scope(|scope| {
            scope.spawn(|| {
                let sent = (&self.0).write_all(requests);
                sent.and_then(|()| (&self.0).write_all(&request(&[b"ECHO", b"end of round"])))
            });
            let mut tail = Vec::new();
            let mut piece = vec![0; 64 << 10];
            while !tail.ends_with(MARK) {
                match (&self.0).read(&mut piece) {
                    Ok(read @ 1..) => tail.extend_from_slice(&piece[..read]),
                    _ => return false,
                }
                tail.drain(..tail.len().saturating_sub(MARK.len()));
            }
            true
        })
    }
}
