//! Plays the same requests to Redis and to another server, and compares all that they say.
//!
//! In: the addresses of both, and steps. Out: nothing, or the first step that is answered differently, and how. Promises:
//! - every play begins with empty stores and new connections, so that a failure can be played again with fewer steps;
//! - what a client has not asked for (the messages of its channels) is waited for and compared, too;
//! - times that are told as from now on may differ by `SLACK`, times that were given as such may not.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::differences::difference;
use super::reply::Reply;
use crate::support::resp::request;

/// The words of a request.
pub type Words = Vec<Vec<u8>>;

/// What happens next.
#[derive(Debug, Clone)]
pub enum Step {
    /// A client asks, and is answered.
    Ask(usize, Words),
    /// A client goes through all keys with SCAN and these options.
    Scan(usize, Words),
    /// So many milliseconds pass.
    Pass(u64),
}

/// Who answered.
const SIDES: [&str; 2] = ["redis", "ours "];

/// A reply that has not come after this long will not come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far apart the two servers may have been when they did the same.
const SLACK: Duration = Duration::from_secs(2);

/// For how long a failure is played again with fewer steps.
const SHRINKING: Duration = Duration::from_secs(20);

/// How many steps are shown at most before the one that was answered differently.
const STEPS_SHOWN: usize = 20;

/// Whether a word is this one, in whatever case.
pub fn is(word: Option<&Vec<u8>>, name: &str) -> bool {
    word.is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

fn is_any(word: &[u8], names: &[&str]) -> bool {
    names
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// Plays steps; what was answered differently, and the fewest steps that were found to show it.
pub fn compare(servers: [SocketAddr; 2], steps: &[Step]) -> Result<(), String> {
    let Err((last, mut difference)) = play(servers, steps) else {
        return Ok(());
    };
    let started = Instant::now();
    let (mut before, last) = (steps[..last].to_vec(), &steps[last]);
    let mut at_once = before.len();
    while at_once > 0 {
        let mut start = 0;
        while start < before.len() && started.elapsed() < SHRINKING {
            let mut fewer = before.clone();
            fewer.drain(start..(start + at_once).min(before.len()));
            fewer.push(last.clone());
            match play(servers, &fewer) {
                Err((place, same)) if place + 1 == fewer.len() => {
                    fewer.pop();
                    (before, difference) = (fewer, same);
                }
                _ => start += at_once,
            }
        }
        at_once /= 2;
    }
    let shown = before.iter().rev().take(STEPS_SHOWN).rev();
    let shown: String = shown
        .chain([last])
        .map(|step| format!("  {step}\n"))
        .collect();
    Err(shown + &difference)
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |words: &Words| {
            let words = words
                .iter()
                .map(|word| format!("\"{}\"", word.escape_ascii()));
            words.collect::<Vec<_>>().join(" ")
        };
        match self {
            Self::Ask(client, words) => write!(f, "client {client}: {}", shown(words)),
            Self::Scan(client, words) => write!(f, "client {client}: SCAN ... {}", shown(words)),
            Self::Pass(ms) => write!(f, "{ms} ms pass"),
        }
    }
}

/// Plays steps; the place of the first that was answered differently, and how.
fn play(servers: [SocketAddr; 2], steps: &[Step]) -> Result<(), (usize, String)> {
    let clients = steps.iter().map(|step| match step {
        Step::Ask(client, _) | Step::Scan(client, _) => client + 1,
        Step::Pass(_) => 0,
    });
    let clients = clients.max().unwrap_or(0);
    let mut play = Play {
        clients: (0..clients).map(|_| Client::new(servers)).collect(),
        times_are_given: !steps.iter().any(sets_time_from_now),
        have_parted: false,
        syncs: 0,
    };
    let played = play.all(steps);
    play.end();
    played
}

/// Whether a step sets a time that depends on when it is done.
fn sets_time_from_now(step: &Step) -> bool {
    const FROM_NOW: [&str; 6] = ["EXPIRE", "PEXPIRE", "SETEX", "PSETEX", "EX", "PX"];
    matches!(step, Step::Ask(_, words) if words.iter().any(|word| is_any(word, &FROM_NOW)))
}

struct Play {
    clients: Vec<Client>,
    /// Whether all times were given as such, so that both servers have the same.
    times_are_given: bool,
    /// Whether a known difference has left the servers in different states.
    have_parted: bool,
    /// How many times a client has been waited for.
    syncs: u64,
}

/// One client of each server.
struct Client {
    ends: [Connection; 2],
    is_in_transaction: bool,
    queued: Vec<Words>,
    listens: bool,
    /// Messages that have come in a transaction: between which replies depends on when.
    messages: [Vec<Reply>; 2],
}

impl Client {
    fn new(servers: [SocketAddr; 2]) -> Self {
        Self {
            ends: servers.map(Connection::new),
            is_in_transaction: false,
            queued: Vec::new(),
            listens: false,
            messages: [Vec::new(), Vec::new()],
        }
    }
}

impl Play {
    fn all(&mut self, steps: &[Step]) -> Result<(), (usize, String)> {
        if !self.clients.is_empty() {
            self.ask(0, &[b"FLUSHALL".to_vec()])
                .map_err(|difference| (0, difference))?;
        }
        for (place, step) in steps.iter().enumerate() {
            if self.have_parted {
                break;
            }
            let played = match step {
                Step::Ask(client, words) => self.ask(*client, words),
                Step::Scan(client, options) => self.scan(*client, options),
                // The clock of both servers is ours.
                Step::Pass(ms) => {
                    std::thread::sleep(Duration::from_millis(*ms + 1));
                    Ok(())
                }
            };
            played.map_err(|difference| (place, difference))?;
        }
        Ok(())
    }

    fn ask(&mut self, place: usize, words: &[Vec<u8>]) -> Result<(), String> {
        const SPEAKS_TO_OTHERS: [&str; 2] = ["PUBLISH", "EXEC"];
        const LISTENS: [&str; 4] = ["SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE"];
        let verb = words.first().map_or(&b""[..], Vec::as_slice);
        let [redis, ours] = self.exchange(place, &request(words))?;
        let client = &mut self.clients[place];
        let was_in_transaction = client.is_in_transaction;
        client.is_in_transaction = match () {
            () if is_any(verb, &["MULTI"]) => was_in_transaction || !redis.is_error(),
            () if is_any(verb, &["EXEC", "DISCARD", "RESET"]) => {
                was_in_transaction && redis.head.starts_with(b"-ERR wrong number")
            }
            () => was_in_transaction,
        };
        let queued = if client.is_in_transaction {
            if redis.head == b"+QUEUED" {
                client.queued.push(words.to_vec());
            }
            Vec::new()
        } else {
            std::mem::take(&mut client.queued)
        };
        if !client.is_in_transaction && is_any(verb, &LISTENS) {
            client.listens = true;
        }
        if !self.is_same(words, &queued, &redis, &ours) {
            return Err(shown(&[vec![redis], vec![ours]]));
        }
        if self.have_parted {
            return Ok(());
        }
        self.hear(place)?;
        if is_any(verb, &SPEAKS_TO_OTHERS) {
            for other in (0..self.clients.len()).filter(|other| *other != place) {
                self.hear(other)?;
            }
        }
        Ok(())
    }

    /// Compares what has come to a client besides replies, unless it cannot be waited for.
    fn hear(&mut self, place: usize) -> Result<(), String> {
        let client = &self.clients[place];
        if !client.listens || client.is_in_transaction {
            return Ok(());
        }
        let mut heard = self.sync(place)?;
        // One message comes to several patterns in no order.
        let is_same_message =
            |a: &Reply, b: &Reply| a.items.len() == 4 && a.items.get(2..) == b.items.get(2..);
        for messages in heard
            .iter_mut()
            .flat_map(|heard| heard.chunk_by_mut(is_same_message))
        {
            messages.sort_by_key(Reply::bytes);
        }
        if heard[0] != heard[1] {
            return Err(format!("heard by client {place}:\n{}", shown(&heard)));
        }
        Ok(())
    }

    /// Sends the same to both; the next reply of each. Messages before it are kept.
    fn exchange(&mut self, place: usize, bytes: &[u8]) -> Result<[Reply; 2], String> {
        let client = &mut self.clients[place];
        for (end, side) in client.ends.iter_mut().zip(SIDES) {
            let sent = end.stream.write_all(bytes);
            sent.map_err(|error| format!("{side}: {error}"))?;
        }
        self.next(place)
    }

    fn next(&mut self, place: usize) -> Result<[Reply; 2], String> {
        let client = &mut self.clients[place];
        let mut next = |side: usize| loop {
            let reply = Reply::read(&mut client.ends[side].reader);
            let reply = reply.map_err(|error| format!("{}: {error}", SIDES[side]))?;
            if !reply.is_message() {
                return Ok::<_, String>(reply);
            }
            client.messages[side].push(reply);
        };
        Ok([next(0)?, next(1)?])
    }

    /// All that comes to a client until it is answered once more.
    fn sync(&mut self, place: usize) -> Result<[Vec<Reply>; 2], String> {
        self.syncs += 1;
        let word = format!("sync {}", self.syncs).into_bytes();
        let mut replies = self.exchange(place, &request(&[b"PING".to_vec(), word.clone()]))?;
        let is_last = |reply: &Reply| {
            reply.body.as_ref() == Some(&word)
                || reply
                    .items
                    .last()
                    .is_some_and(|item| item.body.as_ref() == Some(&word))
        };
        let client = &mut self.clients[place];
        let mut said = std::mem::take(&mut client.messages);
        for side in 0..2 {
            while !is_last(&replies[side]) {
                let reply = replies[side].clone();
                said[side].push(reply);
                let reply = Reply::read(&mut client.ends[side].reader);
                replies[side] = reply.map_err(|error| format!("{}: {error}", SIDES[side]))?;
            }
        }
        let [redis, ours] = replies;
        said[0].push(redis);
        said[1].push(ours);
        Ok(said)
    }

    fn scan(&mut self, place: usize, options: &[Vec<u8>]) -> Result<(), String> {
        let mut found = [Vec::new(), Vec::new()];
        for side in 0..2 {
            let mut cursor = b"0".to_vec();
            for _ in 0..1000 {
                let mut words = vec![b"SCAN".to_vec(), cursor];
                words.extend_from_slice(options);
                let end = &mut self.clients[place].ends[side];
                let reply = end.stream.write_all(&request(&words));
                let reply = reply.and_then(|()| Reply::read(&mut end.reader));
                let reply = reply.map_err(|error| format!("{}: {error}", SIDES[side]))?;
                let Some(next) = reply.items.first().and_then(|next| next.body.clone()) else {
                    found[side].push(reply);
                    break;
                };
                found[side].extend(sorted(&reply.items[1]));
                if next == b"0" {
                    break;
                }
                cursor = next;
            }
            found[side].sort_by_key(Reply::bytes);
            found[side].dedup();
        }
        if found[0] == found[1] {
            Ok(())
        } else {
            Err(shown(&found))
        }
    }

    /// Whether two replies are the same, as far as they can be.
    fn is_same(
        &mut self,
        words: &[Vec<u8>],
        queued: &[Words],
        redis: &Reply,
        ours: &Reply,
    ) -> bool {
        let verb = words.first().map(|verb| verb.to_ascii_uppercase());
        let is_same = match verb.as_deref().unwrap_or_default() {
            b"TTL" => is_near(redis, ours, SLACK.as_secs()),
            b"PTTL" => is_near(redis, ours, SLACK.as_millis()),
            b"EXPIRETIME" if !self.times_are_given => is_near(redis, ours, SLACK.as_secs()),
            b"PEXPIRETIME" if !self.times_are_given => is_near(redis, ours, SLACK.as_millis()),
            // The order means nothing.
            b"KEYS" => redis.head == ours.head && sorted(redis) == sorted(ours),
            b"SCAN" if redis.items.len() == 2 && ours.items.len() == 2 => {
                redis.items[0] == ours.items[0] && sorted(&redis.items[1]) == sorted(&ours.items[1])
            }
            // Any key.
            b"RANDOMKEY" => redis == ours || redis.body.is_some() && ours.body.is_some(),
            b"EXEC" if !redis.items.is_empty() => {
                let mut pairs = redis.items.iter().zip(&ours.items).zip(queued);
                redis.head == ours.head
                    && pairs.all(|((redis, ours), words)| {
                        self.have_parted || self.is_same(words, &[], redis, ours)
                    })
            }
            _ => redis == ours,
        };
        is_same || self.is_known(words, redis, ours)
    }

    fn is_known(&mut self, words: &[Vec<u8>], redis: &Reply, ours: &Reply) -> bool {
        let difference = difference(words, &redis.bytes(), &ours.bytes());
        self.have_parted |= difference.is_some_and(|difference| difference.parts);
        difference.is_some()
    }

    /// Leaves nobody listening.
    fn end(&mut self) {
        for end in self.clients.iter_mut().flat_map(|client| &mut client.ends) {
            let _ = end.stream.write_all(&request(&[b"RESET".to_vec()]));
            let _ = end.stream.shutdown(Shutdown::Write);
            let _ = end.reader.read_to_end(&mut Vec::new());
        }
    }
}

fn is_near(redis: &Reply, ours: &Reply, slack: impl TryInto<u64>) -> bool {
    let slack = slack.try_into().ok();
    match (redis.number(), ours.number()) {
        (Some(redis), Some(ours)) if redis >= 0 && ours >= 0 => Some(redis.abs_diff(ours)) <= slack,
        _ => redis == ours,
    }
}

fn sorted(reply: &Reply) -> Vec<Reply> {
    let mut items = reply.items.clone();
    items.sort_by_key(Reply::bytes);
    items
}

fn shown(said: &[Vec<Reply>; 2]) -> String {
    let lines = said.iter().zip(SIDES).map(|(said, side)| {
        let bytes: Vec<u8> = said.iter().flat_map(Reply::bytes).collect();
        format!("  {side} says \"{}\"\n", bytes.escape_ascii())
    });
    lines.collect()
}

/// The replies to the last of some requests, of new clients, to empty stores.
pub fn last_replies(servers: [SocketAddr; 2], requests: &[Words]) -> [Reply; 2] {
    servers.map(|server| {
        let mut connection = Connection::new(server);
        let mut ask = |words: &[Vec<u8>]| {
            let sent = connection.stream.write_all(&request(words));
            sent.expect("the server reads");
            Reply::read(&mut connection.reader).expect("a reply")
        };
        ask(&[b"FLUSHALL".to_vec()]);
        let replies = requests.iter().map(|words| ask(words));
        replies.last().expect("a request")
    })
}

/// The reply to the only request of a new client.
pub fn reply_of(server: SocketAddr, words: &[Vec<u8>]) -> Reply {
    let mut connection = Connection::new(server);
    let sent = connection.stream.write_all(&request(words));
    sent.expect("the server reads");
    Reply::read(&mut connection.reader).expect("a reply")
}

struct Connection {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    fn new(addr: SocketAddr) -> Self {
        let stream = connect(addr);
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, reader }
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("the server accepts");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout above nought");
    stream.set_nodelay(true).expect("a socket option");
    stream
}

/// Sends bytes on a new connection; all that both say until they close, and whether they close by themselves, as told by
/// what Redis says. Nothing if it is the same.
pub fn compare_bytes([redis, ours]: [SocketAddr; 2], bytes: &[u8]) -> Result<(), String> {
    let expected = said(redis, bytes, true).expect("Redis closes");
    let closes_by_itself = is_last_a_refusal(&expected);
    let shown = |said: &[u8]| {
        let shown = format!("\"{}\"", said.escape_ascii());
        if shown.len() > 300 {
            format!("{} ... {} bytes", &shown[..200], said.len())
        } else {
            shown
        }
    };
    let said = said(ours, bytes, !closes_by_itself);
    match said {
        Ok(said) if said == expected => Ok(()),
        Ok(said) if is_known_of_bytes(bytes, &expected, &said) => Ok(()),
        Ok(said) => Err(format!(
            "  request    {}\n  redis says {}\n  ours  says {}\n",
            shown(bytes),
            shown(&expected),
            shown(&said)
        )),
        Err(error) => Err(format!(
            "  request    {}\n  redis says {}, and closes\n  ours : {error}\n",
            shown(bytes),
            shown(&expected)
        )),
    }
}

/// Whether a row explains what is said from the first line on that differs.
fn is_known_of_bytes(bytes: &[u8], redis: &[u8], ours: &[u8]) -> bool {
    let lines = |said: &[u8]| {
        said.split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let (redis_lines, our_lines) = (lines(redis), lines(ours));
    let same = redis_lines
        .iter()
        .zip(&our_lines)
        .take_while(|(redis, ours)| redis == ours);
    let same: usize = same.map(|(line, _)| line.len()).sum();
    difference(&[bytes.to_vec()], &redis[same..], &ours[same..]).is_some()
}

/// Whether a server has closed because it cannot read on.
fn is_last_a_refusal(said: &[u8]) -> bool {
    let said = String::from_utf8_lossy(said);
    said.lines()
        .last()
        .is_some_and(|last| last.starts_with("-ERR Protocol error"))
}

/// All that a server says to these bytes, until it closes.
pub fn said(addr: SocketAddr, bytes: &[u8], ends: bool) -> io::Result<Vec<u8>> {
    let mut stream = connect(addr);
    stream.write_all(bytes)?;
    if ends {
        stream.shutdown(Shutdown::Write)?;
    }
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    Ok(said)
}
