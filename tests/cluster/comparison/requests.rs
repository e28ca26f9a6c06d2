//! Requests by chance, of two clients that ask in turn.
//!
//! In: a random number generator, and how requests are written. Out: steps. Promise: a time that a key is given is far away, or over
//! already, or waited for at once, so that it has the same effect on both servers.

use super::pools::{ODD, PATTERNS, PREFIXES, VALUES};
use super::wire::Wire;

/// The words of a request.
pub type Words = Vec<Vec<u8>>;

/// Clients that ask in turn.
pub const CLIENTS: usize = 2;
/// Bytes of a pipeline at most: what a server takes before its replies are read.
const PIPELINE_BYTES_MAX: usize = 256 << 10;
const PIPELINE_REQUESTS_MAX: usize = 16;
const LONG_VALUE_BYTES: usize = 100 << 10;

/// What is done.
pub enum Step {
    /// A client sends requests in one packet.
    Ask(usize, Vec<Words>),
    /// A client walks over all pages of a command with a cursor, with these options.
    Walk(usize, &'static str, Words),
    /// Time passes, in milliseconds.
    Pass(u64),
}

/// Makes the steps of one play.
pub struct Requests<'r> {
    pub(super) random: &'r mut fastrand::Rng,
    pub(super) wire: Wire,
    pub(super) steps: Vec<Step>,
    /// All keys, and those of them that are of one slot.
    keys: Vec<Vec<u8>>,
    kin: Vec<Vec<u8>>,
    /// Which clients have begun a transaction, or watch.
    pub(super) in_transaction: [bool; CLIENTS],
    is_watching: [bool; CLIENTS],
    pub(super) client: usize,
    /// What the client sends next.
    packet: Vec<Words>,
    packet_bytes: usize,
}

impl<'r> Requests<'r> {
    /// Steps with about so many requests.
    pub fn steps(random: &'r mut fastrand::Rng, wire: Wire, count: usize) -> Vec<Step> {
        let kin: Vec<Vec<u8>> = ["a", "b", "key:1", "user:1:name", "user:2", "\u{44e}", ""]
            .iter()
            .map(|name| format!("{{x}}{name}").into_bytes())
            .collect();
        let mut keys = kin.clone();
        if random.bool() {
            let others = [
                "a",
                "b",
                "c",
                "key:1",
                "key:2",
                "user:1:name",
                "user:2:x",
                "ключ",
            ];
            let odd = ["", "k y\r\n\"", "{}x", "a{", "{\u{44e}}:1"];
            let others = others.iter().chain(&odd);
            keys.extend(others.map(|key| key.as_bytes().to_vec()));
        }
        let mut requests = Self {
            random,
            wire,
            steps: Vec::new(),
            keys,
            kin,
            in_transaction: [false; CLIENTS],
            is_watching: [false; CLIENTS],
            client: 0,
            packet: Vec::new(),
            packet_bytes: 0,
        };
        let mut sent = 0;
        while sent < count {
            requests.client = requests.random.usize(..CLIENTS);
            let length = if requests.random.bool() {
                1
            } else {
                requests.random.usize(2..=PIPELINE_REQUESTS_MAX)
            };
            for _ in 0..length {
                requests.next();
                if requests.packet_bytes > PIPELINE_BYTES_MAX {
                    break;
                }
            }
            sent += requests.packet.len().max(1);
            requests.send();
        }
        requests.steps
    }

    fn next(&mut self) {
        match self.random.u8(..100) {
            0..22 => self.store(),
            22..38 => self.read(),
            38..54 => self.change(),
            54..64 => self.move_or_delete(),
            64..78 => self.expire(),
            78..85 => self.list(),
            85..96 => self.group(),
            96 => self.long_key(),
            _ => self.rest(),
        }
    }

    fn list(&mut self) {
        if self.in_transaction[self.client] && self.random.u8(..10) > 0 {
            return;
        }
        let (prefix, pattern) = (self.one_of(PREFIXES), self.one_of(PATTERNS));
        match self.random.u8(..9) {
            0 => self.ask("ALL", [prefix.into()]),
            1 => self.ask("KEYS", [prefix.into()]),
            2 => self.ask("KEYS", [pattern.into()]),
            3 => self.ask("COUNT", [prefix.into()]),
            4 => {
                let verb = self.one_of(&["COUNT", "DBSIZE", "ALL", "KEYS", "NAMESPACES"]);
                self.ask(verb, []);
            }
            5 => self.ask("NAMESPACES", [prefix.into()]),
            6 => self.ask("RANDOMKEY", []),
            7 => {
                let options: &[&str] = match self.random.u8(..5) {
                    0 => &[],
                    1 => &["COUNT", "1"],
                    2 => &["MATCH", pattern],
                    3 => &["count", "3", "TYPE", "string"],
                    _ => &["TYPE", "hash"],
                };
                self.walk("SCAN", options);
            }
            _ => {
                let options: &[&str] = match self.random.u8(..4) {
                    0 => &[],
                    1 => &["LIMIT", "2"],
                    2 => &["PREFIX", prefix],
                    _ => &["SEARCH", "A", "LIMIT", "3"],
                };
                self.walk("PAGE", options);
            }
        }
    }

    fn walk(&mut self, verb: &'static str, options: &[&str]) {
        if self.in_transaction[self.client] {
            return;
        }
        self.send();
        let options = options.iter().map(|word| word.as_bytes().to_vec());
        self.steps
            .push(Step::Walk(self.client, verb, options.collect()));
    }

    fn group(&mut self) {
        let client = self.client;
        let is_in_transaction = self.in_transaction[client];
        match self.random.u8(..10) {
            0..5 if !is_in_transaction => {
                self.ask_as_is("MULTI", []);
                self.in_transaction[client] = true;
            }
            0..4 => {
                self.ask_as_is("EXEC", []);
                (self.in_transaction[client], self.is_watching[client]) = (false, false);
            }
            4 => {
                self.ask_as_is("DISCARD", []);
                (self.in_transaction[client], self.is_watching[client]) = (false, false);
            }
            5 => {
                self.ask("UNWATCH", []);
                self.is_watching[client] &= is_in_transaction;
            }
            6..8 if !is_in_transaction => {
                let count = self.random.usize(1..3);
                let keys = self.several(count, false);
                self.ask_as_is("WATCH", keys);
                self.is_watching[client] = true;
            }
            _ if is_in_transaction => self.change(),
            _ => {}
        }
    }

    fn rest(&mut self) {
        let key = self.key();
        match self.random.u8(..6) {
            0 => self.ask("PING", []),
            1 => self.ask("ECHO", [key]),
            2 => self.ask("MEMORY", [b"USAGE".to_vec(), key]),
            3 => self.ask("SELECT", [b"0".to_vec()]),
            4 => self.ask("FETCH", [key]),
            _ => self.ask("UNWATCH", []),
        }
    }

    /// Several keys: of one slot, unless requests on them are split, and with few exceptions.
    pub(super) fn several(&mut self, count: usize, is_split: bool) -> Vec<Vec<u8>> {
        let client = self.client;
        let is_one_slot = self.in_transaction[client] || self.is_watching[client] || !is_split;
        let is_kin = is_one_slot && self.random.u8(..30) > 0;
        (0..count)
            .map(|_| {
                let keys = if is_kin { &self.kin } else { &self.keys };
                keys[self.random.usize(..keys.len())].clone()
            })
            .collect()
    }

    pub(super) fn key(&mut self) -> Vec<u8> {
        if self.wire != Wire::Line && self.random.u8(..100) == 0 {
            return b"{x}\xff\xfe".to_vec();
        }
        let client = self.client;
        let is_one_slot = self.in_transaction[client] || self.is_watching[client];
        let mut key = self.several(1, !is_one_slot);
        key.pop().expect("one key")
    }

    pub(super) fn value(&mut self) -> Vec<u8> {
        if self.random.u8(..100) == 0 {
            let bytes = self.random.usize(..LONG_VALUE_BYTES);
            return vec![self.random.u8(b'a'..=b'z'); bytes];
        }
        self.one_word(VALUES)
    }

    pub(super) fn seconds(&mut self) -> Vec<u8> {
        self.random.u32(1_000..1_000_000).to_string().into_bytes()
    }

    pub(super) fn milliseconds(&mut self) -> Vec<u8> {
        let ms = self.random.u32(1_000_000..1_000_000_000);
        ms.to_string().into_bytes()
    }

    pub(super) fn second(&mut self) -> Vec<u8> {
        let second = self.random.u64(4_000_000_000..5_000_000_000);
        second.to_string().into_bytes()
    }

    pub(super) fn millisecond(&mut self) -> Vec<u8> {
        let ms = self.random.u64(4_000_000_000_000..5_000_000_000_000);
        ms.to_string().into_bytes()
    }

    pub(super) fn one_of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.random.usize(..words.len())]
    }

    /// One of some words; in a line, one that is text.
    fn one_word(&mut self, words: &[&[u8]]) -> Vec<u8> {
        loop {
            let word = words[self.random.usize(..words.len())];
            if self.wire != Wire::Line || std::str::from_utf8(word).is_ok() {
                return word.to_vec();
            }
        }
    }

    /// Adds a request to the packet; few are changed so that they are odd.
    pub(super) fn ask(&mut self, verb: &str, arguments: impl IntoIterator<Item = Vec<u8>>) {
        let mut words: Words = vec![verb.into()];
        words.extend(arguments);
        if self.random.u8(..20) == 0 {
            words[0].make_ascii_lowercase();
        }
        // A cursor or a transaction that is odd would be so for its own reasons.
        if self.random.u8(..14) == 0 {
            let odd = self.one_word(ODD);
            let place = self.random.usize(1..=words.len());
            match self.random.u8(..3) {
                0 if place < words.len() => drop(words.remove(place)),
                1 if place < words.len() => words[place] = odd,
                _ => words.insert(place, odd),
            }
        }
        self.push(words);
    }

    /// Adds a request to the packet.
    pub(super) fn ask_as_is(&mut self, verb: &str, arguments: impl IntoIterator<Item = Vec<u8>>) {
        let mut words: Words = vec![verb.into()];
        words.extend(arguments);
        self.push(words);
    }

    pub(super) fn push(&mut self, words: Words) {
        self.packet_bytes += words.iter().map(Vec::len).sum::<usize>();
        self.packet.push(words);
    }

    pub(super) fn send(&mut self) {
        self.packet_bytes = 0;
        if !self.packet.is_empty() {
            let packet = std::mem::take(&mut self.packet);
            self.steps.push(Step::Ask(self.client, packet));
        }
    }
}
