//! Requests on keys: what stores, reads, changes, moves and expires them.
//!
//! In: the maker of requests. Out: requests in its packet.

use super::pools::{DECIMALS, NUMBERS, ODD_TIMES, PLACES, PREFIXES};
use super::requests::{Requests, Step, Words};
use super::wire::Wire;

/// The longest key that there is.
const KEY_BYTES_MAX: usize = 65_536;

impl Requests<'_> {
    pub(super) fn store(&mut self) {
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

    pub(super) fn read(&mut self) {
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

    pub(super) fn change(&mut self) {
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

    pub(super) fn move_or_delete(&mut self) {
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
                let verb = self.one_of(&["CLEAR", "FLUSHDB", "FLUSHALL", "DBSIZE"]);
                // They are refused in a transaction.
                let is_rare = self.in_transaction[self.client];
                if self.random.u8(..if is_rare { 20 } else { 4 }) == 0 {
                    self.ask(verb, []);
                }
            }
        }
    }

    pub(super) fn expire(&mut self) {
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
            } else if self.wire != Wire::Line && self.random.u8(..20) == 0 {
                words.push(b"\xff".to_vec());
            }
        }
    }

    /// Keys of the greatest length, and longer.
    pub(super) fn long_key(&mut self) {
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

    /// Requests on keys that may be split, of any slots.
    fn ask_of_several(&mut self, verb: &'static str) {
        let count = self.random.usize(1..6);
        let keys = self.several(count, true);
        self.ask(verb, keys);
    }
}
