//! Requests that are wrong: too few words and too many, options that do not fit, numbers that are none, commands that are not
//! there, transactions begun and ended at the wrong time; and bytes that are no requests at all.
//!
//! In: a random number generator. Out: steps, or bytes. Promises: keys are text, and no key expires while it is looked at.

use super::play::{Step, Words};
use crate::support::resp::request;

const KEYS: &[&str] = &["a", "b", "ключ", ""];

/// What may be wrong as a number, as a value, or as an option.
const NUMBERS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"-0",
    b"+5",
    b"05",
    b" 5",
    b"5 ",
    b"",
    b"abc",
    b"1.5",
    b"1e3",
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"9223372036854775",
    b"9223372036854775806",
    b"4611686018427387904",
    b"67108865",
    b"4294967296",
    b"5\0",
    b"\xff",
    b"1,5",
    b"0.000000000000000000001",
    b"123456789012345678901234567890",
];

const OPTIONS: &[&str] = &[
    "NX",
    "XX",
    "GET",
    "KEEPTTL",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "PERSIST",
    "GT",
    "LT",
    "REPLACE",
    "DB",
    "MATCH",
    "COUNT",
    "TYPE",
    "NXX",
    "ASYNC",
    "SYNC",
    "nx",
    "Xx",
    "ex",
    "keepttl",
    "BIT",
    "BYTE",
    "SET",
    "INCRBY",
    "OVERFLOW",
    "SAT",
    "FAIL",
    "u8",
    "i64",
    "u64",
    "i0",
    "u08",
    "LEN",
    "IDX",
    "MINMATCHLEN",
    "#1",
    "#-1",
];

/// Commands whose first word is a key, and any other a number, an option or a value.
const OF_A_KEY: &[&str] = &[
    "SET",
    "SET",
    "SET",
    "SET",
    "SETNX",
    "SETEX",
    "PSETEX",
    "GET",
    "GETSET",
    "GETDEL",
    "GETEX",
    "GETEX",
    "GETEX",
    "APPEND",
    "STRLEN",
    "GETRANGE",
    "SUBSTR",
    "SETRANGE",
    "GETBIT",
    "SETBIT",
    "BITCOUNT",
    "BITPOS",
    "BITFIELD",
    "BITFIELD_RO",
    "INCR",
    "DECR",
    "INCRBY",
    "DECRBY",
    "INCRBYFLOAT",
    "TYPE",
    "EXPIRE",
    "PEXPIRE",
    "EXPIREAT",
    "PEXPIREAT",
    "EXPIRE",
    "PEXPIREAT",
    "TTL",
    "PTTL",
    "EXPIRETIME",
    "PEXPIRETIME",
    "PERSIST",
    "DUMMY",
];

/// Commands all of whose words are keys.
const OF_KEYS: &[&str] = &[
    "DEL", "UNLINK", "EXISTS", "TOUCH", "MGET", "WATCH", "RENAME", "RENAMENX", "COPY", "MSET",
    "MSETNX", "BITOP", "LCS",
];

/// Commands that have no keys, and are harmless whatever follows.
const OTHERS: &[&[&str]] = &[
    &["PING"],
    &["ECHO"],
    &["SELECT"],
    &["DBSIZE"],
    &["FLUSHDB"],
    &["FLUSHALL"],
    &["RANDOMKEY"],
    &["KEYS"],
    &["SCAN", "abc"],
    &["SCAN", "0"],
    &["MULTI"],
    &["EXEC"],
    &["DISCARD"],
    &["UNWATCH"],
    &["MULTI"],
    &["EXEC"],
    &["PUBLISH"],
    &["PUBSUB"],
    &["PUBSUB", "NUMSUB"],
    &["PUBSUB", "NUMPAT"],
    &["PUBSUB", "CHANNELS"],
    &["OBJECT"],
    &["OBJECT", "ENCODING"],
    &["OBJECT", "REFCOUNTS"],
    &["CLIENT"],
    &["CLIENT", "GETNAME"],
    &["CLIENT", "SETNAME"],
    &["CLIENT", "FROB"],
    &["CONFIG"],
    &["CONFIG", "FROB"],
    &["COMMAND", "FROB"],
    &["MEMORY", "FROB"],
    &["SLOWLOG", "FROB"],
    &["LATENCY"],
    &["LATENCY", "FROB"],
    &["HELLO", "4"],
    &["HELLO", "abc"],
    &["HELLO", "3", "FROB"],
    &["AUTH"],
    &["CLIENT", "NO-EVICT"],
    &["CLIENT", "KILL"],
    &["CLIENT", "LIST", "FROB"],
    &["CLIENT", "ID", "x"],
    &["SWAPDB"],
    &["FROB"],
    &["frob"],
    &["set "],
    &[""],
    &["GETX"],
];

/// The steps of one play.
pub fn steps(random: &mut fastrand::Rng, count: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    if random.bool() {
        steps.push(Step::Ask(0, vec![b"HELLO".to_vec(), b"3".to_vec()]));
    }
    // Something to be wrong about.
    for (key, value) in [("a", "abc"), ("b", "7")] {
        steps.push(Step::Ask(
            0,
            vec![b"SET".to_vec(), key.into(), value.into()],
        ));
    }
    while steps.len() < count {
        steps.push(Step::Ask(0, words(random)));
    }
    steps
}

/// After these, in RESP2, little else is allowed, or is again.
const LISTENING: &[&[&str]] = &[
    &["SUBSCRIBE", "news"],
    &["PSUBSCRIBE", "n*"],
    &["UNSUBSCRIBE", "news"],
    &["UNSUBSCRIBE"],
    &["PUNSUBSCRIBE"],
    &["RESET"],
    &["RESET"],
];

fn words(random: &mut fastrand::Rng) -> Words {
    if random.u8(..30) == 0 {
        let words = LISTENING[random.usize(..LISTENING.len())];
        return words.iter().map(|word| (*word).into()).collect();
    }
    let one_of = |random: &mut fastrand::Rng, words: &[&str]| -> Vec<u8> {
        words[random.usize(..words.len())].into()
    };
    match random.u8(..12) {
        10 => {
            let verb = one_of(random, &["BITOP", "LCS", "bitop"]);
            let operation = one_of(random, &["AND", "NOT", "NAND", "a"]);
            let mut words = vec![verb, operation];
            for _ in 0..random.usize(1..4) {
                words.push(one_of(random, KEYS));
            }
            words.push(argument(random));
            words
        }
        11 => {
            let verb = one_of(random, &["BITFIELD", "BITFIELD_RO"]);
            let mut words = vec![verb, one_of(random, KEYS)];
            for _ in 0..random.usize(1..3) {
                words.push(one_of(
                    random,
                    &["GET", "SET", "INCRBY", "OVERFLOW", "get", "FROB"],
                ));
                words.push(one_of(
                    random,
                    &["u8", "i64", "u64", "i65", "u0", "I8", "u08", "", "i", "SAT"],
                ));
                words.push(one_of(
                    random,
                    &[
                        "0",
                        "#1",
                        "-1",
                        "#-1",
                        "#",
                        "#a",
                        "01",
                        "9223372036854775807",
                    ],
                ));
                words.push(argument(random));
            }
            words
        }
        0..6 => {
            let mut words = vec![one_of(random, OF_A_KEY)];
            if random.u8(..20) > 0 {
                words.push(one_of(random, KEYS));
                for _ in 0..random.usize(..6) {
                    words.push(argument(random));
                }
            }
            words
        }
        6..8 => {
            let mut words = vec![one_of(random, OF_KEYS)];
            for _ in 0..random.usize(..5) {
                words.push(one_of(random, KEYS));
            }
            words
        }
        _ => {
            let other = OTHERS[random.usize(..OTHERS.len())];
            let mut words: Words = other.iter().map(|word| (*word).into()).collect();
            for _ in 0..random.usize(..3) {
                words.push(argument(random));
            }
            words
        }
    }
}

fn argument(random: &mut fastrand::Rng) -> Vec<u8> {
    match random.u8(..10) {
        0..5 => OPTIONS[random.usize(..OPTIONS.len())].into(),
        // As a time it is far away, and never the same twice; as a length it is too long.
        5..7 => random.u64(100_000_000..1_000_000_000).to_string().into(),
        7 => KEYS[random.usize(..KEYS.len())].into(),
        _ => NUMBERS[random.usize(..NUMBERS.len())].into(),
    }
}

/// What stands in frames, and what may stand there in its place.
const PIECES: &[&[u8]] = &[
    b"*",
    b"$",
    b":",
    b"+",
    b"-",
    b"\r\n",
    b"\r",
    b"\n",
    b"0",
    b"1",
    b"2",
    b"3",
    b"-1",
    b"-2",
    b"10",
    b"01",
    b" ",
    b"*1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"$4\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"$\r\n",
    b"*\r\n",
    b"*2\r\n",
    b"4294967297",
    b"1048576",
    b"1048577",
    b"2147483647",
    b"2147483648",
    b"67108864",
    b"67108865",
    b"9223372036854775808",
    b"PING",
    b"\xff",
    b"a",
    b"(",
    b"_\r\n",
    b"#t\r\n",
    b"%1\r\n",
    b">1\r\n",
    b"~1\r\n",
    b"=5\r\n",
    b"\xc3\xa9",
    b"\t",
    b"\"",
    b"'",
];

/// Requests of which some bytes are other, missing or too many. What Redis would read as a line is cut off.
pub fn frames(random: &mut fastrand::Rng) -> Vec<u8> {
    let well_formed: [&[&[u8]]; 6] = [
        &[b"PING"],
        &[b"ECHO", b"abc"],
        &[b"SET", b"a", b"1"],
        &[b"GET", b"a"],
        &[b"ECHO", b"*1\r\n$4\r\nPING\r\n"],
        &[b"ECHO", b""],
    ];
    let mut bytes: Vec<u8> = (0..random.usize(1..4))
        .flat_map(|_| request(well_formed[random.usize(..well_formed.len())]))
        .collect();
    for _ in 0..random.usize(1..4) {
        let start = random.usize(..=bytes.len());
        let end = (start + random.usize(..4)).min(bytes.len());
        let piece = PIECES[random.usize(..PIECES.len())];
        match random.u8(..4) {
            0 => drop(bytes.drain(start..end)),
            1 => drop(bytes.splice(start..start, piece.iter().copied())),
            2 => bytes.truncate(start),
            _ => drop(bytes.splice(start..end, piece.iter().copied())),
        }
    }
    bytes.extend(request(&[b"PING"]));
    bytes.truncate(line_in(&bytes));
    bytes
}

/// Where the first line stands that is not part of a request: up to there, all is requests, the last one broken or not.
fn line_in(bytes: &[u8]) -> usize {
    let mut at = 0;
    let number = |at: usize| -> Option<(usize, usize)> {
        let end = at + bytes[at..].iter().position(|byte| *byte == b'\r')?;
        let digits = std::str::from_utf8(&bytes[at + 1..end]).ok()?;
        Some((digits.parse::<i64>().ok()?.max(0).try_into().ok()?, end + 2))
    };
    while bytes.get(at) == Some(&b'*') {
        let Some((words, mut next)) = number(at) else {
            return bytes.len();
        };
        for _ in 0..words {
            if bytes.get(next) != Some(&b'$') {
                return bytes.len();
            }
            let Some((length, start)) = number(next) else {
                return bytes.len();
            };
            next = start.saturating_add(length + 2);
        }
        at = next;
    }
    at.min(bytes.len())
}

/// Frames that chance does not make.
pub fn rare_frames() -> Vec<Vec<u8>> {
    let digits = |count| "1".repeat(count);
    [
        String::new(),
        "*".into(),
        "*1".into(),
        "*1\r".into(),
        "*1\r\n".into(),
        "*1\r\n$4\r\nPING".into(),
        "*1\r\n$4\r\nPING\r".into(),
        "*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n".into(),
        "*1\r\n*1\r\n$4\r\nPING\r\n".into(),
        "*2\r\n$4\r\nECHO\r\n*1\r\n$4\r\nPING\r\n".into(),
        "*2\r\n$4\r\nECHO\r\n:1\r\n".into(),
        "*-2147483648\r\n*1\r\n$4\r\nPING\r\n".into(),
        "*-9223372036854775808\r\n*1\r\n$4\r\nPING\r\n".into(),
        "*9223372036854775807\r\n".into(),
        "*1048576\r\n$1\r\na\r\n".into(),
        "*1\r\n$67108864\r\n".into(),
        "*1\r\n$-0\r\n".into(),
        "*1\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n".into(),
        "*1\r\n\r\n$4\r\nPING\r\n".into(),
        format!("*{}", digits(64 << 10)),
        format!("*{}", digits((64 << 10) - 1)),
        format!("*{}", digits((64 << 10) + 1)),
        format!("*1\r\n${}", digits((64 << 10) + 1)),
        format!("*1\r\n${}", digits(64 << 10)),
        format!("*1\r\n${}", digits((64 << 10) - 1)),
    ]
    .map(String::into_bytes)
    .into()
}
