//! Random requests on a few keys of one slot, valid and not.
//!
//! In: a source of random numbers. Out: words, the command first.

use fastrand::Rng;

const VALUES: &[&str] = &[
    "",
    "1",
    "-7",
    "42",
    "3.25",
    "0.1",
    "1e3",
    "abc",
    "a b",
    "\u{e4}\u{20ac}",
    "9223372036854775807",
    "01",
    " 5",
    "{\"n\":1}",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "10",
    "1000",
    "99999999",
    "-5",
    "abc",
    "9223372036854775807",
    "1.5",
    "",
    "253402207200000",
];
/// Durations and times, of which none ends during the run.
const TIMES: &[&str] = &[
    "0",
    "-5",
    "abc",
    "99999999",
    "9999999999",
    "9223372036854775807",
    "1.5",
    "",
    "253402207200000",
];
/// Commands, and what follows the key: `k` a key, `v` a value, `n` a number, `t` a time, `o` an offset, and in brackets what may follow any number of
/// times.
const FORMS: &[(&str, &str)] = &[
    ("PUT", "v"),
    ("SET", "v(s)"),
    ("SET", "v(s)"),
    ("GET", ""),
    ("SETNX", "v"),
    ("SETEX", "tv"),
    ("PSETEX", "tv"),
    ("GETSET", "v"),
    ("GETDEL", ""),
    ("GETEX", "(x)"),
    ("DELIFEQ", "v"),
    ("DELEX", "(d)"),
    ("MGET", "(k)"),
    ("MSET", "v(p)"),
    ("MSETNX", "v(p)"),
    ("APPEND", "v"),
    ("VERSION", ""),
    ("STRLEN", ""),
    ("GETRANGE", "nn"),
    ("SUBSTR", "nn"),
    ("SETRANGE", "ov"),
    ("INCR", ""),
    ("DECR", ""),
    ("INCRBY", "n"),
    ("DECRBY", "n"),
    ("INCRBYFLOAT", "v"),
    ("DEL", "(k)"),
    ("UNLINK", "(k)"),
    ("EXISTS", "(k)"),
    ("TOUCH", "(k)"),
    ("TYPE", ""),
    ("RENAME", "k"),
    ("RENAMENX", "k"),
    ("COPY", "k(c)"),
    ("EXPIRE", "t(e)"),
    ("PEXPIRE", "t(e)"),
    ("EXPIREAT", "t(e)"),
    ("PEXPIREAT", "t(e)"),
    ("TTL", ""),
    ("PTTL", ""),
    ("EXPIRETIME", ""),
    ("PEXPIRETIME", ""),
    ("PERSIST", ""),
];
/// Longest value that is made.
const LONG_BYTES: usize = 5000;

/// Makes a request.
pub fn request(random: &mut Rng) -> Vec<String> {
    let (name, form) = choice(random, FORMS);
    let mut words = vec![name.to_owned(), key(random)];
    let (needed, optional) = form.split_once('(').unwrap_or((form, ""));
    needed
        .chars()
        .for_each(|kind| add(random, kind, &mut words));
    if let Some(kind) = optional.chars().next() {
        for _ in 0..random.u8(..3) {
            add(random, kind, &mut words);
        }
    }
    // Too few or too many words.
    match random.u8(..60) {
        0 => words.truncate(1),
        1 => words.push("{t}more".to_owned()),
        2 => words.truncate(words.len() - 1),
        _ => {}
    }
    words
}

fn choice<T: Copy>(random: &mut Rng, all: &[T]) -> T {
    all[random.usize(..all.len())]
}

fn key(random: &mut Rng) -> String {
    format!("{{t}}{}", random.u8(..6))
}

fn value(random: &mut Rng) -> String {
    if random.u8(..20) == 0 {
        return "x".repeat(random.usize(..LONG_BYTES));
    }
    choice(random, VALUES).to_owned()
}

/// Adds the words of a kind.
fn add(random: &mut Rng, kind: char, words: &mut Vec<String>) {
    let word: &str = match kind {
        'k' => return words.push(key(random)),
        'v' => return words.push(value(random)),
        'p' => return words.extend([key(random), value(random)]),
        'n' => choice(random, NUMBERS),
        't' => choice(random, TIMES),
        'o' => choice(random, &["0", "3", "20", "-1", "abc", "67108864"]),
        's' => choice(
            random,
            &[
                "NX", "XX", "GET", "KEEPTTL", "EX", "PX", "EXAT", "PXAT", "IFEQ", "oops",
            ],
        ),
        'x' => choice(random, &["PERSIST", "EX", "PX", "EXAT", "oops"]),
        'd' => choice(random, &["IFEQ", "IFNE", "oops"]),
        'c' => choice(random, &["REPLACE", "replace", "oops", "DB"]),
        _ => choice(random, &["NX", "XX", "GT", "LT", "oops"]),
    };
    words.push(word.to_owned());
    match word {
        "EX" | "PX" | "EXAT" | "PXAT" => words.push(choice(random, TIMES).to_owned()),
        "IFEQ" | "IFNE" => words.push(value(random)),
        "DB" => words.push("0".to_owned()),
        _ => {}
    }
}
