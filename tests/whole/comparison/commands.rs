//! Sequences of well-formed commands on a few keys, as three clients send them in turn.
//!
//! In: a random number generator. Out: steps. Promises: a time that a key is given is far away, or over already, or is waited
//! for at once, so that both servers are on the same side of it; what Redis and we show as numbers are such that a double holds
//! them.

use super::play::{Step, Words};

const CLIENTS: usize = 3;

const KEYS: &[&str] = &["a", "b", "c", "key:1", "key:2", "ключ", ""];

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
    b"a\r\nb",
    b"\xff\x00\xfe",
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

const PATTERNS: &[&str] = &[
    "*", "?", "??", "a*", "*1", "k*1", "key:?", "key:[12]", "[a-b]", "[^a]", "[^a-b]*", "\\a", "[",
    "[a", "a\\", "", "к*", "*ч", "[b-a]", "k[a-e]y*", "[]a]",
];

const CHANNELS: &[&str] = &["news", "news:1", "канал"];

const CHANNEL_PATTERNS: &[&str] = &["*", "news*", "n?ws", "x*"];

/// Makes the steps of one play.
pub struct Commands<'r> {
    random: &'r mut fastrand::Rng,
    steps: Vec<Step>,
    /// Which clients have begun a transaction.
    in_transaction: [bool; CLIENTS],
    /// The client that asks next.
    client: usize,
    /// Whether the clients speak RESP3.
    is_resp3: bool,
    /// Whether times are given as such, and not as from now.
    times_are_given: bool,
    /// Whether keys may have expired that DBSIZE still counts.
    some_expire: bool,
}

impl<'r> Commands<'r> {
    /// About so many steps.
    pub fn steps(random: &'r mut fastrand::Rng, count: usize) -> Vec<Step> {
        let (is_resp3, times_are_given) = (random.bool(), random.bool());
        let some_expire = random.u8(..4) > 0;
        let mut commands = Self {
            random,
            steps: Vec::new(),
            in_transaction: [false; CLIENTS],
            client: 0,
            is_resp3,
            times_are_given,
            some_expire,
        };
        if is_resp3 {
            for client in 0..CLIENTS {
                commands.client = client;
                commands.say(&["HELLO", "3"]);
            }
        }
        while commands.steps.len() < count {
            commands.client = commands.random.usize(..CLIENTS);
            commands.next();
        }
        commands.steps
    }

    /// In RESP2, who listens can ask for nothing else: the last client does nothing but listen.
    fn only_listens(&self) -> bool {
        !self.is_resp3 && self.client == CLIENTS - 1
    }

    fn next(&mut self) {
        if self.only_listens() {
            return match self.random.u8(..8) {
                0 => self.say(&["PING"]),
                1 => self.say(&["PING", "hello"]),
                _ => self.listen(),
            };
        }
        match self.random.u8(..100) {
            0..20 => self.store(),
            20..28 => self.bits(),
            28..40 => self.read(),
            40..55 => self.change(),
            55..65 => self.move_or_delete(),
            65..78 => self.expire(),
            78..84 => self.list(),
            84..93 => self.group(),
            93..96 => self.publish(),
            96..98 if self.is_resp3 && !self.in_transaction[self.client] => self.listen(),
            _ => self.rest(),
        }
    }

    fn store(&mut self) {
        let (key, value) = (self.key(), self.value());
        match self.random.u8(..12) {
            0..6 => self.set(key, value),
            6 => self.ask(&[b"SETNX", key, value]),
            7 => {
                let (verb, time) = if self.random.bool() {
                    ("SETEX", self.seconds())
                } else {
                    ("PSETEX", self.milliseconds())
                };
                if !self.times_are_given {
                    self.ask(&[verb.as_bytes(), key, time.as_bytes(), value]);
                }
            }
            8 => self.ask(&[b"GETSET", key, value]),
            9 => {
                let verb = self.one_of(&["MSET", "MSETNX"]);
                let mut words = vec![verb.into()];
                for _ in 0..self.random.usize(1..4) {
                    words.push(self.key().to_vec());
                    words.push(self.value().to_vec());
                }
                self.push(words);
            }
            10 if self.some_expire => self.short_lived(),
            _ => self.past(),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) {
        let mut words: Words = vec![self.cased("SET"), key.into(), value.into()];
        let mut options: Vec<Words> = Vec::new();
        if self.random.u8(..3) == 0 {
            options.push(vec![self.one_of(&["NX", "XX"]).into()]);
        }
        if self.random.u8(..3) == 0 {
            options.push(vec![b"GET".to_vec()]);
        }
        if self.random.u8(..3) == 0 {
            options.push(self.time_option());
        } else if self.random.u8(..4) == 0 {
            options.push(vec![b"KEEPTTL".to_vec()]);
        }
        self.random.shuffle(&mut options);
        for option in options {
            let (name, value) = option.split_at(1);
            words.push(self.cased(std::str::from_utf8(&name[0]).expect("it is text")));
            words.extend_from_slice(value);
        }
        self.push(words);
    }

    /// When a key shall expire.
    fn time_option(&mut self) -> Words {
        let (name, time) = match self.random.u8(..4) {
            0 if !self.times_are_given => ("EX", self.seconds()),
            1 if !self.times_are_given => ("PX", self.milliseconds()),
            0 | 2 => ("EXAT", self.second()),
            _ => ("PXAT", self.millisecond()),
        };
        vec![name.into(), time.into()]
    }

    /// A key that expires soon, and then is not there.
    fn short_lived(&mut self) {
        if self.in_transaction[self.client] {
            return;
        }
        let (key, value) = (self.key(), self.value());
        let ms = self.random.u64(1..20);
        let time = ms.to_string();
        let time = time.as_bytes();
        match self.random.u8(..4) {
            0 => self.ask(&[b"SET", key, value, b"PX", time]),
            1 => self.ask(&[b"PSETEX", key, time, value]),
            2 => self.ask(&[b"PEXPIRE", key, time]),
            _ => self.ask(&[b"GETEX", key, b"PX", time]),
        }
        self.steps.push(Step::Pass(ms));
        self.touch(key);
    }

    /// A key that has expired already.
    fn past(&mut self) {
        let (key, value) = (self.key(), self.value());
        match self.random.u8(..6) {
            0 if self.some_expire => self.ask(&[b"SET", key, value, b"EXAT", b"1"]),
            1 if self.some_expire => {
                self.ask(&[b"SET", key, value, b"PXAT", b"1700000000000", b"GET"]);
            }
            2 => self.ask(&[b"GETEX", key, b"EXAT", b"1700000000"]),
            3 => self.ask(&[b"EXPIREAT", key, b"1700000000"]),
            4 => self.ask(&[b"PEXPIREAT", key, b"-1"]),
            _ => {
                let verb = self.one_of(&["EXPIRE", "PEXPIRE"]);
                let time = self.one_of(&["0", "-1", "-1000"]);
                self.ask(&[verb.as_bytes(), key, time.as_bytes()]);
            }
        }
        self.touch(key);
    }

    /// Asks for a key that may have expired.
    fn touch(&mut self, key: &[u8]) {
        match self.random.u8(..12) {
            0 => self.ask(&[b"GET", key]),
            1 => self.ask(&[b"EXISTS", key, key]),
            2 => self.ask(&[b"TTL", key]),
            3 => self.ask(&[b"TYPE", key]),
            4 => self.ask(&[b"APPEND", key, b"x"]),
            5 => self.ask(&[b"SET", key, b"1", b"NX", b"GET"]),
            6 => self.ask(&[b"DEL", key]),
            7 => self.ask(&[b"PERSIST", key]),
            8 => self.ask(&[b"RENAME", key, b"a"]),
            9 => self.ask(&[b"SET", key, b"1", b"KEEPTTL"]),
            10 => self.ask(&[b"SETRANGE", key, b"2", b"x"]),
            _ => self.ask(&[b"INCR", key]),
        }
    }

    fn read(&mut self) {
        let key = self.key();
        match self.random.u8(..12) {
            0..3 => self.ask(&[b"GET", key]),
            3 => self.ask(&[b"STRLEN", key]),
            4 => {
                let verb = self.one_of(&["GETRANGE", "SUBSTR"]);
                let (start, end) = (self.one_of(PLACES), self.one_of(PLACES));
                self.ask(&[verb.as_bytes(), key, start.as_bytes(), end.as_bytes()]);
            }
            5 => self.ask_of_keys("MGET"),
            6 => self.ask_of_keys("EXISTS"),
            7 => self.ask(&[b"TYPE", key]),
            8 => self.ask_of_keys("TOUCH"),
            9 => self.ask(&[b"OBJECT", b"ENCODING", key]),
            10 => self.ask(&[b"GETEX", key]),
            _ => self.ask(&[b"GETDEL", key]),
        }
    }

    fn change(&mut self) {
        let (key, value) = (self.key(), self.value());
        let number = self.one_of(NUMBERS).as_bytes();
        match self.random.u8(..12) {
            0..2 => self.ask(&[b"APPEND", key, value]),
            2 => {
                let start =
                    self.one_of(&["0", "1", "3", "60", "-1", "67108864", "9223372036854775807"]);
                self.ask(&[b"SETRANGE", key, start.as_bytes(), value]);
            }
            3..5 => self.ask(&[b"INCR", key]),
            5 => self.ask(&[b"DECR", key]),
            6..8 => self.ask(&[b"INCRBY", key, number]),
            8 => self.ask(&[b"DECRBY", key, number]),
            _ => {
                let quarters = self.random.i32(-400..400);
                let number = match self.random.u8(..3) {
                    0 => format!("{}", f64::from(quarters) / 4.0),
                    1 => format!("{}e1", f64::from(quarters) / 4.0),
                    _ => format!("{:.3}", f64::from(quarters) / 4.0),
                };
                self.ask(&[b"INCRBYFLOAT", key, number.as_bytes()]);
            }
        }
    }

    fn bits(&mut self) {
        let (key, other, to) = (self.key(), self.key(), self.key());
        let bit = self.one_of(&["0", "1"]).as_bytes();
        let (first, last) = (
            self.one_of(PLACES).as_bytes(),
            self.one_of(PLACES).as_bytes(),
        );
        let place = self.random.u32(..400).to_string();
        let unit = self.one_of(&["BIT", "BYTE", "bit"]).as_bytes();
        match self.random.u8(..16) {
            0 => self.ask(&[b"GETBIT", key, place.as_bytes()]),
            1..4 => self.ask(&[b"SETBIT", key, place.as_bytes(), bit]),
            4 => self.ask(&[b"BITCOUNT", key]),
            5 => self.ask(&[b"BITCOUNT", key, first, last]),
            6 => self.ask(&[b"BITCOUNT", key, first, last, unit]),
            7 => self.ask(&[b"BITPOS", key, bit]),
            8 => self.ask(&[b"BITPOS", key, bit, first]),
            9 => self.ask(&[b"BITPOS", key, bit, first, last]),
            10 => self.ask(&[b"BITPOS", key, bit, first, last, unit]),
            11 => {
                let verb = self.one_of(&["AND", "OR", "XOR", "and"]).as_bytes();
                match self.random.u8(..3) {
                    0 => self.ask(&[b"BITOP", b"NOT", to, key]),
                    1 => self.ask(&[b"BITOP", verb, to, key, other]),
                    _ => self.ask(&[b"BITOP", verb, to, key, other, to]),
                }
            }
            12 => self.lcs(key, other),
            _ => self.bitfield(key),
        }
    }

    fn bitfield(&mut self, key: &[u8]) {
        let only_reads = self.random.u8(..4) == 0;
        let verb = if only_reads {
            "BITFIELD_RO"
        } else {
            "BITFIELD"
        };
        let mut words: Words = vec![self.cased(verb), key.into()];
        for _ in 0..self.random.usize(..5) {
            let integer = if self.random.bool() {
                format!("i{}", self.random.u8(1..=64))
            } else {
                format!("u{}", self.random.u8(1..=63))
            };
            let place = if self.random.bool() {
                format!("#{}", self.random.u8(..4))
            } else {
                self.random.u16(..200).to_string()
            };
            let number = match self.random.u8(..3) {
                0 => self.random.i64(-5..5),
                1 => self.random.i64(-300..300),
                // Redis rounds the smallest of all up to the largest number of a type: what it computes overflows.
                _ => self.random.i64(i64::MIN / 2..),
            };
            if !only_reads && self.random.bool() {
                let overflow = self.one_of(&["WRAP", "SAT", "FAIL", "sat"]);
                words.extend([self.cased("OVERFLOW"), overflow.into()]);
            }
            let verb = if only_reads {
                "GET"
            } else {
                self.one_of(&["GET", "SET", "INCRBY"])
            };
            words.extend([self.cased(verb), integer.into(), place.into()]);
            if verb != "GET" {
                words.push(number.to_string().into());
            }
        }
        self.push(words);
    }

    fn lcs(&mut self, key: &[u8], other: &[u8]) {
        let mut words: Words = vec![b"LCS".to_vec(), key.into(), other.into()];
        match self.random.u8(..4) {
            0 => words.push(self.cased("LEN")),
            1 => {}
            _ => {
                words.push(self.cased("IDX"));
                if self.random.bool() {
                    words.push(self.cased("WITHMATCHLEN"));
                }
                if self.random.bool() {
                    let least = self.one_of(&["0", "-1", "2", "3", "9223372036854775807"]);
                    words.extend([self.cased("MINMATCHLEN"), least.into()]);
                }
            }
        }
        self.push(words);
    }

    fn move_or_delete(&mut self) {
        let (from, to) = (self.key(), self.key());
        match self.random.u8(..12) {
            0..2 => self.ask_of_keys("DEL"),
            2 => self.ask_of_keys("UNLINK"),
            3..6 => self.ask(&[b"RENAME", from, to]),
            6..8 => self.ask(&[b"RENAMENX", from, to]),
            8 => self.ask(&[b"COPY", from, to]),
            9 => self.ask(&[b"COPY", from, to, b"REPLACE"]),
            10 => self.ask(&[b"COPY", from, to, b"db", b"0", b"replace"]),
            _ => {
                if self.random.u8(..4) == 0 {
                    let words: &[&str] = match self.random.u8(..4) {
                        0 => &["FLUSHDB"],
                        1 => &["FLUSHALL"],
                        2 => &["FLUSHALL", "SYNC"],
                        _ => &["FLUSHDB", "async"],
                    };
                    self.say(words);
                }
            }
        }
    }

    fn expire(&mut self) {
        let key = self.key();
        match self.random.u8(..13) {
            0..4 => {
                let (verb, time) = match self.random.u8(..4) {
                    0 if !self.times_are_given => ("EXPIRE", self.seconds()),
                    1 if !self.times_are_given => ("PEXPIRE", self.milliseconds()),
                    0 | 2 => ("EXPIREAT", self.second()),
                    _ => ("PEXPIREAT", self.millisecond()),
                };
                let mut words: Words = vec![self.cased(verb), key.into(), time.into()];
                if self.random.bool() {
                    let condition = self.one_of(&["NX", "XX", "GT", "LT"]);
                    words.push(self.cased(condition));
                    if self.random.u8(..5) == 0 && condition != "NX" {
                        words.push(b"XX".to_vec());
                    }
                }
                self.push(words);
            }
            4 => {
                let mut words: Words = vec![b"GETEX".to_vec(), key.into()];
                words.extend(self.time_option());
                self.push(words);
            }
            5 => self.ask(&[b"GETEX", key, b"PERSIST"]),
            6 => self.ask(&[b"PERSIST", key]),
            7 => self.ask(&[b"TTL", key]),
            8 => self.ask(&[b"PTTL", key]),
            9 | 10 => self.ask(&[b"EXPIRETIME", key]),
            _ => self.ask(&[b"PEXPIRETIME", key]),
        }
    }

    fn list(&mut self) {
        if self.in_transaction[self.client] {
            return;
        }
        let pattern = self.one_of(PATTERNS);
        match self.random.u8(..6) {
            0 => self.say(&["KEYS", pattern]),
            2 => self.say(&["RANDOMKEY"]),
            3 => self.say(&["SCAN", "0", "COUNT", "1000", "MATCH", pattern]),
            _ => {
                let words: &[&str] = match self.random.u8(..5) {
                    0 => &[],
                    1 => &["COUNT", "1"],
                    2 => &["MATCH", pattern],
                    3 => &["count", "3", "TYPE", "string"],
                    _ => &["TYPE", "hash"],
                };
                let words = words.iter().map(|word| word.as_bytes().to_vec());
                if !self.in_transaction[self.client] {
                    self.steps.push(Step::Scan(self.client, words.collect()));
                }
            }
        }
    }

    fn group(&mut self) {
        let is_in_transaction = self.in_transaction[self.client];
        match self.random.u8(..10) {
            0..4 if !is_in_transaction => {
                self.say(&["MULTI"]);
                self.in_transaction[self.client] = true;
            }
            0..6 if is_in_transaction => {
                self.say(&["EXEC"]);
                self.in_transaction[self.client] = false;
            }
            6 if is_in_transaction => {
                self.say(&["DISCARD"]);
                self.in_transaction[self.client] = false;
            }
            7 => self.say(&["UNWATCH"]),
            _ if !is_in_transaction => self.ask_of_keys("WATCH"),
            _ => {}
        }
    }

    fn publish(&mut self) {
        // To itself, in a transaction, Redis would write a message in the middle of a reply.
        if self.in_transaction[self.client] && self.is_resp3 {
            return;
        }
        let (channel, payload) = (self.one_of(CHANNELS), self.value());
        self.ask(&[b"PUBLISH", channel.as_bytes(), payload]);
    }

    fn listen(&mut self) {
        let verb = self.one_of(&["SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE"]);
        let names = if verb.starts_with('P') {
            CHANNEL_PATTERNS
        } else {
            CHANNELS
        };
        let least = usize::from(!verb.contains("UN"));
        let mut words = vec![verb.into()];
        for _ in 0..self.random.usize(least..3) {
            words.push(self.one_of(names).into());
        }
        if verb.contains("UN") && words.len() == 1 {
            // Which of many is ended first means nothing.
            words.push(names[0].into());
        }
        self.push(words);
    }

    fn rest(&mut self) {
        let words: &[&str] = match self.random.u8(..12) {
            0 => &["PING"],
            1 => &["ping", "hello"],
            2 => &["ECHO", "привет"],
            3 => &["SELECT", "0"],
            4 => &["CLIENT", "SETNAME", "ann"],
            5 => &["client", "setname", ""],
            6 => &["PUBSUB", "NUMPAT"],
            7 => &["PUBSUB", "NUMSUB", "news", "канал"],
            8 | 9 if !self.some_expire => &["DBSIZE"],
            _ => &["CLIENT", "GETNAME"],
        };
        self.say(words);
    }

    fn ask(&mut self, words: &[&[u8]]) {
        self.push(words.iter().map(|word| word.to_vec()).collect());
    }

    fn say(&mut self, words: &[&str]) {
        self.push(words.iter().map(|word| (*word).into()).collect());
    }

    fn ask_of_keys(&mut self, verb: &str) {
        let mut words = vec![self.cased(verb)];
        for _ in 0..self.random.usize(1..4) {
            words.push(self.key().to_vec());
        }
        self.push(words);
    }

    fn push(&mut self, words: Words) {
        self.steps.push(Step::Ask(self.client, words));
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.random.usize(..words.len())]
    }

    fn key(&mut self) -> &'static [u8] {
        self.one_of(KEYS).as_bytes()
    }

    fn value(&mut self) -> &'static [u8] {
        VALUES[self.random.usize(..VALUES.len())]
    }

    /// A word in upper or lower case.
    fn cased(&mut self, word: &str) -> Vec<u8> {
        if self.random.u8(..4) == 0 {
            word.to_lowercase().into()
        } else {
            word.into()
        }
    }

    /// From now on: never the same twice, as which of the two is later would depend on the moment.
    fn seconds(&mut self) -> String {
        self.random.u64(100..1_000_000_000).to_string()
    }

    fn milliseconds(&mut self) -> String {
        self.random.u64(100_000..1_000_000_000_000).to_string()
    }

    /// A time to come.
    fn second(&mut self) -> String {
        self.one_of(&["4000000000", "4000000001", "5000000000"])
            .to_owned()
    }

    fn millisecond(&mut self) -> String {
        self.one_of(&[
            "4000000000000",
            "4000000000499",
            "4000000000500",
            "4000000001000",
            "5000000000000",
        ])
        .to_owned()
    }
}
