//! Requests by chance, of two clients that ask in turn.
//!
//! In: a random number generator, and how requests are written. Out: steps. Promise: a time that a key is given is far away, or over
//! already, or waited for at once, so that it has the same effect on both servers.

use super::wire::Wire;

/// The words of a request.
pub type Words = Vec<Vec<u8>>;

/// Clients that ask in turn.
pub const CLIENTS: usize = 2;
/// Bytes of a pipeline at most: what a server takes before its replies are read.
const PIPELINE_BYTES_MAX: usize = 256 << 10;
const PIPELINE_REQUESTS_MAX: usize = 16;
const LONG_VALUE_BYTES: usize = 100 << 10;
/// The longest key that there is.
const KEY_BYTES_MAX: usize = 65_536;

/// What is done.
pub enum Step {
    /// A client sends requests in one packet.
    Ask(usize, Vec<Words>),
    /// A client walks over all pages of a command with a cursor, with these options.
    Walk(usize, &'static str, Words),
    /// Time passes, in milliseconds.
    Pass(u64),
}

const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"10",
    b"01",
    b"+1",
    b" 1",
    b"-0",
    b"1.5",
    b"abc",
    b"3.0e1",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"17179869184.25",
    b"a\r\nb",
    b"\xff\x00\xfe",
    "\u{a0}\"\\ \u{1f600}".as_bytes(),
    b"forty-four bytes, the most that embstr holds",
    b"forty-five bytes: one more than embstr holds.",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "17",
    "-300",
    "4000000000",
    "9223372036854775807",
    "-9223372036854775808",
];

const PLACES: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "5",
    "-5",
    "43",
    "100",
    "-100",
    "9223372036854775807",
    "-9223372036854775808",
];

const DECIMALS: &[&str] = &[
    "0",
    "0.1",
    "-0.1",
    "1e3",
    "-2.5e-3",
    "100",
    "1e17",
    "3.14159265358979",
    "-0",
    "1e400",
    "nan",
    "inf",
    ".5",
    "5.",
    "0x10",
    " 1",
    "",
];

const PATTERNS: &[&str] = &[
    "*", "?", "a*", "*1", "k*1", "key:?", "key:[12]", "[a-b]", "[^a]*", "\\a", "[", "a\\", "",
    "к*", "*{x}*", "user:*", "k[a-e]y*",
];

const PREFIXES: &[&str] = &[
    "", "a", "key:", "user:", "{x}", "{x}user:", "ключ", "nothing",
];

/// Words that are odd where they stand, and no short time.
const ODD: &[&[u8]] = &[
    b"0",
    b"-1",
    b"-0",
    b"",
    b"abc",
    b"1.5",
    b"1e30",
    b"nan",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"9223372036854775807",
    b"9223372036854775808",
    b"9223372036854775",
    b"4611686018427387904",
    b"253402207200000",
    b"253402207200001",
    b"253402207200",
    b"253402207201",
    b"10000000000",
    b"10000000001",
    b"123456789012345678901234567890",
    b"NX",
    b"XX",
    b"GET",
    b"KEEPTTL",
    b"EX",
    b"PXAT",
    b"PERSIST",
    b"GT",
    b"LT",
    b"IFEQ",
    b"REPLACE",
    b"DB",
    b"LIMIT",
    b"a",
    b"key:1",
    b"\xff",
];

/// Times that are refused, or delete the key, or are nearly the last ones.
const ODD_TIMES: &[&str] = &[
    "0",
    "-1",
    "-1000",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775",
    "253402207200",
    "253402207201",
    "253402207200000",
    "253402207200001",
    "10000000000",
    "10000000001",
    "10000000000000",
    "10000000000001",
];

/// Makes the steps of one play.
pub struct Requests<'r> {
    random: &'r mut fastrand::Rng,
    wire: Wire,
    steps: Vec<Step>,
    /// All keys, and those of them that are of one slot.
    keys: Vec<Vec<u8>>,
    kin: Vec<Vec<u8>>,
    /// Which clients have begun a transaction, or watch.
    in_transaction: [bool; CLIENTS],
    is_watching: [bool; CLIENTS],
    client: usize,
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

    fn store(&mut self) {
        let (key, value) = (self.key(), self.value());
        match self.random.u8(..14) {
            0..5 => self.set(key, value),
            5 => self.ask("PUT", [key, value]),
            6 => self.ask("SETNX", [key, value]),
            7 => {
                let (verb, time) = if self.random.bool() {
                    ("SETEX", self.seconds())
                } else {
                    ("PSETEX", self.milliseconds())
                };
                self.ask(verb, [key, time, value]);
            }
            8 => self.ask("GETSET", [key, value]),
            9 | 10 => {
                let verb = self.one_of(&["MSET", "MSET", "MSETNX"]);
                let count = self.random.usize(1..5);
                let keys = self.several(count, verb == "MSET");
                let pairs = keys.into_iter().flat_map(|key| [key, self.value()]);
                let pairs: Words = pairs.collect();
                self.ask(verb, pairs);
            }
            11 => self.short_lived(key, value),
            _ => self.past(key, value),
        }
    }

    fn set(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let mut options: Vec<Words> = Vec::new();
        match self.random.u8(..8) {
            0 => options.push(vec![b"NX".to_vec()]),
            1 => options.push(vec![b"XX".to_vec()]),
            2 => options.push(vec![b"IFEQ".to_vec(), self.value()]),
            _ => {}
        }
        if self.random.u8(..4) == 0 {
            options.push(vec![b"GET".to_vec()]);
        }
        match self.random.u8(..8) {
            0..3 => options.push(self.time_option()),
            3 | 4 => options.push(vec![b"KEEPTTL".to_vec()]),
            _ => {}
        }
        self.random.shuffle(&mut options);
        let mut words = vec![key, value];
        for mut option in options {
            if self.random.u8(..4) == 0 {
                option[0].make_ascii_lowercase();
            }
            words.extend(option);
        }
        self.ask("SET", words);
    }

    /// When a key shall expire.
    fn time_option(&mut self) -> Words {
        let (name, time) = match self.random.u8(..4) {
            0 => ("EX", self.seconds()),
            1 => ("PX", self.milliseconds()),
            2 => ("EXAT", self.second()),
            _ => ("PXAT", self.millisecond()),
        };
        vec![name.into(), time]
    }

    /// A key that expires soon, is waited for, and then is not there.
    fn short_lived(&mut self, key: Vec<u8>, value: Vec<u8>) {
        if self.in_transaction[self.client] {
            return;
        }
        self.send();
        let time = self.random.u64(1..20).to_string().into_bytes();
        let (touched, past) = (key.clone(), b"PXAT".to_vec());
        match self.random.u8(..4) {
            0 => self.ask_as_is("SET", [key, value, b"PX".to_vec(), time]),
            1 => self.ask_as_is("PSETEX", [key, time, value]),
            2 => self.ask_as_is("PEXPIRE", [key, time]),
            _ => self.ask_as_is("GETEX", [key, b"PX".to_vec(), time]),
        }
        self.send();
        self.steps.push(Step::Pass(25));
        let words = match self.random.u8(..6) {
            0 => vec![b"GET".to_vec(), touched],
            1 => vec![b"EXISTS".to_vec(), touched],
            2 => vec![b"PTTL".to_vec(), touched],
            3 => vec![b"SET".to_vec(), touched, b"1".to_vec(), past, b"1".to_vec()],
            4 => vec![b"RENAME".to_vec(), touched.clone(), touched],
            _ => vec![b"APPEND".to_vec(), touched, b"x".to_vec()],
        };
        self.push(words);
    }

    /// A time that is over, or that no key can have.
    fn past(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let time = self.one_of(ODD_TIMES).into();
        let unit = self.one_of(&["EX", "PX", "EXAT", "PXAT"]).into();
        match self.random.u8(..4) {
            0 => self.ask("SET", [key, value, unit, time]),
            1 => self.ask("GETEX", [key, unit, time]),
            2 => {
                let verb = self.one_of(&["SETEX", "PSETEX"]);
                self.ask(verb, [key, time, value]);
            }
            _ => {
                let verb = self.one_of(&["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]);
                let mut words = vec![key, time];
                self.add_condition(&mut words);
                self.ask(verb, words);
            }
        }
    }

    fn read(&mut self) {
        let key = self.key();
        match self.random.u8(..14) {
            0..3 => self.ask("GET", [key]),
            3 => self.ask("STRLEN", [key]),
            4 => {
                let verb = self.one_of(&["GETRANGE", "SUBSTR"]);
                let (first, last) = (self.one_of(PLACES).into(), self.one_of(PLACES).into());
                self.ask(verb, [key, first, last]);
            }
            5 | 6 => self.ask_of_several("MGET"),
            7 => self.ask_of_several("EXISTS"),
            8 => self.ask("TYPE", [key]),
            9 => self.ask_of_several("TOUCH"),
            10 => {
                let what = self.one_of(&["ENCODING", "REFCOUNT", "ENCODING", "HELP", "FREQS"]);
                self.ask("OBJECT", [what.into(), key]);
            }
            11 => self.ask("VERSION", [key]),
            12 => self.ask("GETDEL", [key]),
            _ => self.ask("GETEX", [key]),
        }
    }

    fn change(&mut self) {
        let (key, value) = (self.key(), self.value());
        let number: Vec<u8> = self.one_of(NUMBERS).into();
        match self.random.u8(..13) {
            0..2 => self.ask("APPEND", [key, value]),
            2 => {
                let places = ["0", "1", "3", "60", "-1", "67108864", "9223372036854775807"];
                let place = self.one_of(&places).into();
                self.ask("SETRANGE", [key, place, value]);
            }
            3 | 4 => self.ask("INCR", [key]),
            5 => self.ask("DECR", [key]),
            6 | 7 => self.ask("INCRBY", [key, number]),
            8 => self.ask("DECRBY", [key, number]),
            9 => {
                let verb = self.one_of(&["DELEX", "DELEX", "DELIFEQ"]);
                let mut words = vec![key];
                if verb == "DELEX" {
                    let condition = self.one_of(&["IFEQ", "IFNE", ""]);
                    if condition.is_empty() {
                        return self.ask(verb, words);
                    }
                    words.push(condition.into());
                }
                words.push(value);
                self.ask(verb, words);
            }
            _ => {
                let number = self.one_of(DECIMALS).into();
                self.ask("INCRBYFLOAT", [key, number]);
            }
        }
    }

    fn move_or_delete(&mut self) {
        let kin = self.several(2, false);
        match self.random.u8(..12) {
            0..2 => self.ask_of_several("DEL"),
            2 => self.ask_of_several("UNLINK"),
            3..5 => self.ask("RENAME", kin),
            5..7 => self.ask("RENAMENX", kin),
            7 => self.ask("COPY", kin),
            8 => self.ask("COPY", kin.into_iter().chain([b"REPLACE".to_vec()])),
            9 => {
                let options = ["db", "0", "replace"].map(|word| word.as_bytes().to_vec());
                self.ask("COPY", kin.into_iter().chain(options));
            }
            10 => {
                let prefix = self.one_of(PREFIXES).into();
                if self.random.bool() {
                    self.ask("DELPREFIX", [prefix, b"DRYRUN".to_vec()]);
                } else {
                    self.ask("DELPREFIX", [prefix]);
                }
            }
            _ => {
                let verb = self.one_of(&["CLEAR", "FLUSHDB", "FLUSHALL"]);
                // They are refused in a transaction.
                if self.random.u8(..3) == 0 && !self.in_transaction[self.client] {
                    self.ask(verb, []);
                }
            }
        }
    }

    fn expire(&mut self) {
        let key = self.key();
        match self.random.u8(..13) {
            0..4 => {
                let (verb, time) = match self.random.u8(..4) {
                    0 => ("EXPIRE", self.seconds()),
                    1 => ("PEXPIRE", self.milliseconds()),
                    2 => ("EXPIREAT", self.second()),
                    _ => ("PEXPIREAT", self.millisecond()),
                };
                let mut words = vec![key, time];
                self.add_condition(&mut words);
                self.ask(verb, words);
            }
            4 | 5 => {
                let option = self.time_option();
                self.ask("GETEX", [key].into_iter().chain(option));
            }
            6 => self.ask("GETEX", [key, b"PERSIST".to_vec()]),
            7 => self.ask("PERSIST", [key]),
            8 => self.ask("TTL", [key]),
            9 | 10 => self.ask("PTTL", [key]),
            11 => self.ask("EXPIRETIME", [key]),
            _ => self.ask("PEXPIRETIME", [key]),
        }
    }

    fn add_condition(&mut self, words: &mut Words) {
        if self.random.bool() {
            let condition = self.one_of(&["NX", "XX", "GT", "LT", "gt", "ZZ"]);
            words.push(condition.into());
            if self.random.u8(..5) == 0 {
                words.push(self.one_of(&["XX", "NX", "LT"]).into());
            }
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

    /// Keys of the greatest length, and longer.
    fn long_key(&mut self) {
        let bytes = KEY_BYTES_MAX + self.random.usize(..2);
        let key = format!("{{x}}{:k<1$}", "", bytes - 3).into_bytes();
        match self.random.u8(..6) {
            0 | 1 => self.ask_as_is("SET", [key, b"1".to_vec()]),
            2 => self.ask_as_is("GET", [key]),
            3 => self.ask_as_is("RENAME", [b"{x}a".to_vec(), key]),
            4 => self.ask_as_is("MGET", [b"{x}a".to_vec(), key]),
            _ => self.ask_as_is("DEL", [key]),
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

    /// Requests on keys that may be split, of any slots.
    fn ask_of_several(&mut self, verb: &'static str) {
        let count = self.random.usize(1..6);
        let keys = self.several(count, true);
        self.ask(verb, keys);
    }

    /// Several keys: of one slot, unless requests on them are split, and with few exceptions.
    fn several(&mut self, count: usize, is_split: bool) -> Vec<Vec<u8>> {
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

    fn key(&mut self) -> Vec<u8> {
        if self.wire != Wire::Line && self.random.u8(..100) == 0 {
            return b"{x}\xff\xfe".to_vec();
        }
        let client = self.client;
        let is_one_slot = self.in_transaction[client] || self.is_watching[client];
        let mut key = self.several(1, !is_one_slot);
        key.pop().expect("one key")
    }

    fn value(&mut self) -> Vec<u8> {
        if self.random.u8(..100) == 0 {
            let bytes = self.random.usize(..LONG_VALUE_BYTES);
            return vec![self.random.u8(b'a'..=b'z'); bytes];
        }
        self.one_word(VALUES)
    }

    fn seconds(&mut self) -> Vec<u8> {
        self.random.u32(1_000..1_000_000).to_string().into_bytes()
    }

    fn milliseconds(&mut self) -> Vec<u8> {
        let ms = self.random.u32(1_000_000..1_000_000_000);
        ms.to_string().into_bytes()
    }

    fn second(&mut self) -> Vec<u8> {
        let second = self.random.u64(4_000_000_000..5_000_000_000);
        second.to_string().into_bytes()
    }

    fn millisecond(&mut self) -> Vec<u8> {
        let ms = self.random.u64(4_000_000_000_000..5_000_000_000_000);
        ms.to_string().into_bytes()
    }

    fn one_of<'w>(&mut self, words: &[&'w str]) -> &'w str {
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
    fn ask(&mut self, verb: &str, arguments: impl IntoIterator<Item = Vec<u8>>) {
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
    fn ask_as_is(&mut self, verb: &str, arguments: impl IntoIterator<Item = Vec<u8>>) {
        let mut words: Words = vec![verb.into()];
        words.extend(arguments);
        self.push(words);
    }

    fn push(&mut self, words: Words) {
        self.packet_bytes += words.iter().map(Vec::len).sum::<usize>();
        self.packet.push(words);
    }

    fn send(&mut self) {
        self.packet_bytes = 0;
        if !self.packet.is_empty() {
            let packet = std::mem::take(&mut self.packet);
            self.steps.push(Step::Ask(self.client, packet));
        }
    }
}
