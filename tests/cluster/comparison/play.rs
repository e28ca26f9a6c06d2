//! A play: the same steps on a local server and over a cluster, and whether both say the same.
//!
//! In: the addresses of both, and steps. Out: how often each command was compared, or what was said when it was not the same.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::differences::{Case, command_of, is_near};
use super::reply::Reply;
use super::requests::{CLIENTS, Step, Words};
use super::wire::{Connection, Wire};

/// By how much times may differ, besides the time that requests take.
const SLACK_MS: u64 = 50;
/// Pages after which a walk must have ended.
const PAGES_MAX: usize = 1_000;
/// Requests before a failure that are shown with it.
const SHOWN_REQUESTS: usize = 14;
const SHOWN_BYTES: usize = 160;

/// How often the replies to a command were the same, and how often a row explains why they were not.
#[derive(Clone, Copy, Default)]
pub struct Count {
    pub same: usize,
    pub explained: usize,
}

/// What has been compared.
#[derive(Default)]
pub struct Tally {
    pub commands: BTreeMap<&'static str, Count>,
    pub reasons: BTreeMap<&'static str, usize>,
}

/// A client of both servers.
struct Client {
    /// To the local server, and to that over the cluster.
    sides: [Connection; 2],
    is_in_transaction: bool,
    queued: Vec<Words>,
    watched: Vec<Words>,
}

/// The play.
pub struct Play<'t> {
    wire: Wire,
    clients: Vec<Client>,
    tally: &'t mut Tally,
    /// Whether a pair has expired while it was waited for, or may have been stored with a time that has passed.
    has_expired: bool,
    /// The longest time from a request to both replies.
    longest: Duration,
    /// What was sent, for a failure.
    sent: Vec<String>,
}

impl<'t> Play<'t> {
    /// Empties both servers.
    pub fn new(servers: [SocketAddr; 2], wire: Wire, tally: &'t mut Tally) -> io::Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let [local, cluster] = servers.map(|server| Connection::new(server, wire));
            clients.push(Client {
                sides: [local?, cluster?],
                is_in_transaction: false,
                queued: Vec::new(),
                watched: Vec::new(),
            });
        }
        for side in &mut clients[0].sides {
            side.ask(&[b"FLUSHALL".to_vec()])?;
        }
        Ok(Self {
            wire,
            clients,
            tally,
            has_expired: false,
            longest: Duration::ZERO,
            sent: Vec::new(),
        })
    }

    /// Plays all steps, up to the first after which the servers have different pairs.
    ///
    /// # Errors
    /// The first replies that differ for no reason that is known.
    pub fn run(mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            let goes_on = match step {
                Step::Pass(ms) => {
                    thread::sleep(Duration::from_millis(*ms));
                    self.has_expired = true;
                    true
                }
                Step::Ask(client, requests) => self.ask(*client, requests)?,
                Step::Walk(client, verb, options) => {
                    self.walk(*client, verb, options)?;
                    true
                }
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// Sends requests to both and compares their replies. Returns whether the servers still have the same pairs.
    fn ask(&mut self, client: usize, requests: &[Words]) -> Result<bool, String> {
        let started = Instant::now();
        let sides = &mut self.clients[client].sides;
        let failed = |error: io::Error| error.to_string();
        for side in sides.iter_mut() {
            side.send(requests).map_err(failed)?;
        }
        let mut replies = [Vec::new(), Vec::new()];
        for (side, (replies, name)) in sides
            .iter_mut()
            .zip(replies.iter_mut().zip(["local", "cluster"]))
        {
            for words in requests {
                let reply = side.reply().map_err(|error| {
                    format!("{name}: {error}, in place of the reply to {}", shown(words))
                });
                match reply {
                    Ok(reply) => replies.push(reply),
                    Err(error) => {
                        for words in requests {
                            self.note(client, words);
                        }
                        return Err(self.failure(&error));
                    }
                }
            }
        }
        self.longest = self.longest.max(started.elapsed());
        let mut goes_on = true;
        for (place, words) in requests.iter().enumerate() {
            if goes_on {
                goes_on = self.compare(client, words, [&replies[0][place], &replies[1][place]])?;
            }
        }
        Ok(goes_on)
    }

    fn compare(
        &mut self,
        place: usize,
        words: &Words,
        [local, cluster]: [&Reply; 2],
    ) -> Result<bool, String> {
        self.note(place, words);
        // Stored with a time that has passed, a pair has expired at once.
        self.has_expired |= words
            .iter()
            .any(|word| word.eq_ignore_ascii_case(b"PXAT") || word.eq_ignore_ascii_case(b"EXAT"));
        let verb = words[0].to_ascii_uppercase();
        let slack_ms = self.slack_ms();
        let client = &mut self.clients[place];
        let case = Case {
            wire: self.wire,
            words,
            queued: &client.queued,
            watched: &client.watched,
            local,
            cluster,
            has_expired: self.has_expired,
            slack_ms,
        };
        let is_same = case.is_same();
        let difference = if is_same { None } else { case.difference() };
        if !is_same && difference.is_none() {
            let said = format!(
                "{}\n  local:   {}\n  cluster: {}",
                shown(words),
                shown_reply(local),
                shown_reply(cluster)
            );
            return Err(self.failure(&said));
        }
        if local.is_queued() {
            client.queued.push(words.clone());
        } else if matches!(&*verb, b"EXEC" | b"DISCARD" | b"RESET") && !local.is_error_at_all() {
            client.is_in_transaction = false;
            client.queued.clear();
            client.watched.clear();
        } else if verb == b"UNWATCH" && !local.is_error_at_all() {
            client.watched.clear();
        } else if verb == b"WATCH" && !local.is_error_at_all() {
            client.watched.push(words.clone());
        } else if verb == b"MULTI" && !local.is_error_at_all() {
            client.is_in_transaction = true;
            client.queued.clear();
        }
        // A transaction that is aborted drops its requests, too.
        if verb == b"EXEC" && local.is_error_at_all() {
            client.queued.clear();
            client.watched.clear();
        }
        self.count(words, difference.map(|difference| difference.reason));
        Ok(difference.is_none_or(|difference| !difference.parts))
    }

    fn count(&mut self, words: &[Vec<u8>], reason: Option<&'static str>) {
        let name = command_of(words, self.wire).map_or("(unknown)", |command| command.name);
        let count = self.tally.commands.entry(name).or_default();
        match reason {
            None => count.same += 1,
            Some(reason) => {
                count.explained += 1;
                *self.tally.reasons.entry(reason).or_default() += 1;
            }
        }
    }

    /// Walks over all pages of both, and compares what they have together.
    fn walk(&mut self, client: usize, verb: &str, options: &[Vec<u8>]) -> Result<(), String> {
        let mut first = vec![verb.into(), b"0".to_vec()];
        first.extend_from_slice(options);
        self.note(client, &first);
        let sides = &mut self.clients[client].sides;
        let pages = sides.iter_mut().map(|side| pages(side, verb, options));
        let found: Result<Vec<Vec<Reply>>, String> = pages.collect();
        let found = match found {
            Ok(found) => found,
            Err(error) => return Err(self.failure(&error)),
        };
        let [local, cluster] = [&found[0], &found[1]];
        let mut both = local.iter().zip(cluster);
        let slack_ms = self.slack_ms();
        let is_same = local.len() == cluster.len()
            && both.all(|(local, cluster)| is_same_row(local, cluster, slack_ms));
        if !is_same {
            let shown_side = |found: &[Reply]| {
                let rows: Vec<String> = found.iter().map(shown_reply).collect();
                rows.join(" ")
            };
            let said = format!(
                "a walk by {}\n  local:   {}\n  cluster: {}",
                shown(&first),
                shown_side(local),
                shown_side(cluster)
            );
            return Err(self.failure(&said));
        }
        self.count(&first, None);
        Ok(())
    }

    fn slack_ms(&self) -> u64 {
        SLACK_MS + u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX)
    }

    fn note(&mut self, client: usize, words: &[Vec<u8>]) {
        self.sent.push(format!("{client}: {}", shown(words)));
    }

    fn failure(&self, said: &str) -> String {
        let from = self.sent.len().saturating_sub(SHOWN_REQUESTS);
        format!(
            "{said}\n  sent last:\n    {}",
            self.sent[from..].join("\n    ")
        )
    }
}

/// What all pages of a walk have together, in the order of their bytes; an error, if one is the reply.
fn pages(side: &mut Connection, verb: &str, options: &[Vec<u8>]) -> Result<Vec<Reply>, String> {
    let mut found = Vec::new();
    let mut cursor = b"0".to_vec();
    for _ in 0..PAGES_MAX {
        let mut words = vec![verb.into(), cursor];
        words.extend_from_slice(options);
        let page = side.ask(&words).map_err(|error| error.to_string())?;
        let [next, .., items] = &*page.items else {
            found.push(page);
            return Ok(found);
        };
        found.extend(items.items.iter().cloned());
        let line = next.head.strip_prefix(b"VALUE \"");
        let line = line.and_then(|line| line.strip_suffix(b"\""));
        let word = next.body.as_deref().or(line);
        cursor = word.ok_or("a page has no cursor")?.to_vec();
        if cursor == b"0" {
            found.sort_by_key(Reply::bytes);
            return Ok(found);
        }
    }
    Err(format!("a walk by {verb} does not end"))
}

/// Whether two rows of a walk are the same; those of PAGE have an expiry.
fn is_same_row(local: &Reply, cluster: &Reply, slack_ms: u64) -> bool {
    if local.items.len() != 5 || cluster.items.len() != 5 {
        return local == cluster;
    }
    let mut parts = local.items.iter().zip(&cluster.items).enumerate();
    parts.all(|(place, (local, cluster))| {
        local == cluster || place == 3 && is_near(local, cluster, slack_ms)
    })
}

fn shown(words: &[Vec<u8>]) -> String {
    let words: Vec<String> = words.iter().map(|word| shortened(word)).collect();
    words.join(" ")
}

fn shown_reply(reply: &Reply) -> String {
    shortened(&reply.bytes())
}

fn shortened(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "\"\"".to_owned();
    }
    if bytes.len() > SHOWN_BYTES {
        let shown = bytes[..SHOWN_BYTES].escape_ascii();
        return format!("{shown}... ({} bytes)", bytes.len());
    }
    bytes.escape_ascii().to_string()
}
