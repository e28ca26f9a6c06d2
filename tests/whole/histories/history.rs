//! One history: a folder, clients, and kills one after the other.
//!
//! In: a folder for a server, a random number generator, a time to end at. Out: what was done, in the totals; or the
//! first failure, with the folder as it was then. After each kill the server starts on what the one before it left, every key
//! is read, and the checker decides before the load goes on.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::Totals;
use crate::checker::{Operation, State, Verdict, check};
use crate::excerpt::excerpt;
use crate::load::{Client, Seen, key_name};
use crate::server::{Stopped, TestServer};

const CLIENTS: usize = 8;

/// How many kills a history spans.
const KILLS: std::ops::RangeInclusive<usize> = 6..=14;

/// The calls of the system at which the server is killed, and the latest call at which.
const CALLS: &[(&str, u32)] = &[("fsync", 8), ("fdatasync", 4), ("rename", 4), ("unlink", 3)];

/// How long a call to be killed at is waited for: past the next sync of `everysec`.
const CALL_PATIENCE: Duration = Duration::from_millis(1_200);

/// A kill under load comes after this at the latest, and one during the start.
const LOAD_MS_MAX: u64 = 250;
const START_MICROS_MAX: u64 = 15_000;

/// What went wrong, and the folder of the server.
pub struct Failure {
    pub kind: Kind,
    pub text: String,
    pub stopped: Box<Stopped>,
}

/// What can go wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A history is not linearizable.
    Violation,
    /// The search was too long.
    Undecided,
    /// The server did what no history can show: it ended by itself, did not start, or answered what it should not.
    Server,
}

/// When the server is killed.
enum Kill {
    Moment(Duration),
    Call(&'static str, u32),
    Start(Duration),
}

/// One key: the values that it may have, and all that was done with it before.
struct Key {
    states: BTreeSet<State>,
    past: Vec<Operation>,
}

/// What the clients saw, why the load ended, and the folder and exit status after it.
type Life = (
    Result<Vec<Seen>, String>,
    RecvTimeoutError,
    (Stopped, Option<i32>),
);

/// A history that is being made.
struct History<'a> {
    random: fastrand::Rng,
    clock: Instant,
    keys: Vec<Key>,
    clients: Vec<Client>,
    reader: Client,
    /// When the server was killed, and how.
    kills: Vec<(Duration, String)>,
    can_trace: bool,
    totals: &'a mut Totals,
}

/// Makes a history and checks it, until it has had its kills or the time is over.
pub fn run(
    mut stopped: Stopped,
    mut random: fastrand::Rng,
    end: Instant,
    can_trace: bool,
    totals: &mut Totals,
) -> Result<(), Failure> {
    let count = random.usize(10..=50);
    let kills = random.usize(KILLS);
    let clock = Instant::now();
    let mut client = |number| Client::new(number, count, random.fork(), clock);
    let mut history = History {
        clients: (0..CLIENTS).map(&mut client).collect(),
        reader: client(CLIENTS),
        keys: (0..count).map(|_| Key::new()).collect(),
        kills: Vec::new(),
        random,
        clock,
        can_trace,
        totals,
    };
    for _ in 0..kills {
        if Instant::now() >= end {
            break;
        }
        stopped = history.live_and_die(stopped)?;
    }
    let server = stopped.with_fault("").try_restart();
    let server = server.map_err(does_not_start)?;
    history.read_all(server)?;
    history.totals.histories += count;
    history.totals.folders += 1;
    Ok(())
}

impl Key {
    fn new() -> Self {
        Self {
            states: BTreeSet::from([None]),
            past: Vec::new(),
        }
    }
}

impl Kill {
    fn at_random(random: &mut fastrand::Rng, can_trace: bool) -> Self {
        match random.u8(..if can_trace { 10 } else { 6 }) {
            0..4 => Self::Moment(Duration::from_millis(random.u64(1..=LOAD_MS_MAX))),
            4..6 => Self::Start(Duration::from_micros(random.u64(..START_MICROS_MAX))),
            _ => {
                let (call, latest) = CALLS[random.usize(..CALLS.len())];
                Self::Call(call, random.u32(1..=latest))
            }
        }
    }

    /// What strace is told.
    fn fault(&self) -> String {
        match self {
            Self::Call(call, when) => format!("{call}:signal=KILL:when={when}"),
            Self::Moment(_) | Self::Start(_) => String::new(),
        }
    }

    /// How long the load goes on, unless the server ends before.
    fn patience(&self) -> Duration {
        match self {
            Self::Moment(time) => *time,
            Self::Call(..) | Self::Start(_) => CALL_PATIENCE,
        }
    }
}

impl History<'_> {
    /// One life of the server: start, reads, load, kill.
    fn live_and_die(&mut self, stopped: Stopped) -> Result<Stopped, Failure> {
        let kill = Kill::at_random(&mut self.random, self.can_trace);
        let stopped = stopped.with_fault(&kill.fault());
        if let Kill::Start(time) = kill {
            stopped.start_killed_after(time);
            self.note_kill("during start");
            return Ok(stopped);
        }
        let server = match stopped.try_restart() {
            Ok(server) => server,
            // Killed at a call that the start makes, too. Had it ended by itself, the next start would as well.
            Err(stopped) if matches!(kill, Kill::Call(..)) => {
                self.note_kill("during start");
                return Ok(*stopped);
            }
            Err(stopped) => return Err(does_not_start(stopped)),
        };
        let server = self.read_all(server)?;
        self.load(server, &kill)
    }

    /// Reads every key, and has the checker decide.
    fn read_all(&mut self, server: TestServer) -> Result<TestServer, Failure> {
        let decided = match self.reader.read_all(server.addr()) {
            Ok(seen) => self.decide(seen),
            Err(text) => Err((Kind::Server, text)),
        };
        match decided {
            Ok(()) => Ok(server),
            Err((kind, text)) => Err(Failure {
                kind,
                text,
                stopped: Box::new(server.kill()),
            }),
        }
    }

    /// All clients at work until the server is killed, and what the checker says of it.
    fn load(&mut self, server: TestServer, kill: &Kill) -> Result<Stopped, Failure> {
        let (seen, waited, (stopped, code)) = self.work_until_killed(server, kill.patience());
        let decided = match (kill, waited) {
            _ if code.is_some() => Err(format!("the server ended by itself: {code:?}")),
            _ if stopped.log().contains("panicked at") => Err("the server panicked".to_owned()),
            (Kill::Call(call, _), RecvTimeoutError::Disconnected) => Ok(format!("at {call}")),
            (_, RecvTimeoutError::Disconnected) => Err("the server cut all connections".to_owned()),
            (_, RecvTimeoutError::Timeout) => Ok("at a moment".to_owned()),
        };
        let decided = decided
            .and_then(|how| Ok((how, seen?)))
            .map_err(|text| (Kind::Server, text));
        let decided = decided.and_then(|(how, seen)| {
            let decided = self.decide(seen);
            self.note_kill(&how);
            decided
        });
        match decided {
            Ok(()) => Ok(stopped),
            Err((kind, text)) => Err(Failure {
                kind,
                text,
                stopped: Box::new(stopped),
            }),
        }
    }

    /// What the clients saw, whether they ended first or the time, and the end of the server.
    fn work_until_killed(&mut self, server: TestServer, patience: Duration) -> Life {
        let addr = server.addr();
        let (at_work, all_gone) = channel::<()>();
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for client in &mut self.clients {
                let at_work = at_work.clone();
                threads.push(scope.spawn(move || {
                    let seen = client.load(addr);
                    drop(at_work);
                    seen
                }));
            }
            drop(at_work);
            // The clients end with the server: nobody has to look whether it is still there.
            let waited = all_gone.recv_timeout(patience);
            let ended = server.signal("KILL");
            let seen: Result<Vec<Vec<Seen>>, String> = threads
                .into_iter()
                .map(|thread| thread.join().expect("a client does not panic"))
                .collect();
            let seen = seen.map(|seen| seen.into_iter().flatten().collect());
            (seen, waited.expect_err("nothing is sent"), ended)
        })
    }

    /// Has the checker decide a stretch, key by key.
    fn decide(&mut self, seen: Vec<Seen>) -> Result<(), (Kind, String)> {
        let mut stretches = vec![Vec::new(); self.keys.len()];
        self.totals.operations += seen.len();
        for (key, operation) in seen {
            stretches[key].push(operation);
        }
        for (number, (key, mut stretch)) in self.keys.iter_mut().zip(stretches).enumerate() {
            // A stable sort: what one client sends in one packet keeps its order.
            stretch.sort_by_key(|operation| operation.called);
            let before = key.past.len();
            let verdict = check(&key.states, &stretch);
            key.past.append(&mut stretch);
            match verdict {
                Verdict::Possible(states) => key.states = states,
                Verdict::Undecided => {
                    self.totals.undecided += 1;
                    return Err((
                        Kind::Undecided,
                        format!("{} is undecided", key_name(number)),
                    ));
                }
                Verdict::Impossible { index, states } => {
                    self.totals.violations += 1;
                    let name = key_name(number);
                    let text = excerpt(&name, &key.past, before + index, &states, &self.kills);
                    return Err((Kind::Violation, text));
                }
            }
        }
        Ok(())
    }

    fn note_kill(&mut self, how: &str) {
        *self.totals.kills.entry(how.to_owned()).or_default() += 1;
        self.kills.push((self.clock.elapsed(), how.to_owned()));
    }
}

fn does_not_start(stopped: Box<Stopped>) -> Failure {
    Failure {
        kind: Kind::Server,
        text: "the server does not start".to_owned(),
        stopped,
    }
}
