//! The abuses: one row each.
//!
//! In: a size. Out: the requests that prepare the data, and those that are sent again and again.

use super::measure::{Abuse, Size, request};

/// A pattern of the maximum length that nearly matches everywhere in a name of one letter.
fn near_miss() -> Vec<u8> {
    [b"*".as_slice(), &[b'a'; 1022], b"b"].concat()
}

fn nothing(_: Size) -> Vec<u8> {
    Vec::new()
}

/// A request and so many more like it.
fn repeated(count: usize, words: &[&[u8]]) -> Vec<u8> {
    request(words).repeat(count)
}

/// One request with this verb and so many numbered arguments, each made by `argument`.
fn many(verb: &str, count: usize, argument: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let arguments: Vec<Vec<u8>> = (0..count).map(argument).collect();
    let mut words = vec![verb.as_bytes()];
    words.extend(arguments.iter().map(Vec::as_slice));
    request(&words)
}

fn key(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

/// So many pairs.
fn pairs(count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|number| request(&[b"SET", &key(number), b"value"]))
        .collect()
}

/// Pairs of which nearly all expire while the measurement runs.
fn expiring(size: Size) -> Vec<u8> {
    (0..size.of(300_000, 100_000))
        .flat_map(|number| request(&[b"SET", &key(number), b"value", b"PX", b"1500"]))
        .collect()
}

fn long_keys(size: Size) -> Vec<u8> {
    (0..size.of(400, 100))
        .flat_map(|number| {
            let name = format!("{}{number}", "a".repeat(65_000));
            request(&[b"SET", name.as_bytes(), b"value"])
        })
        .collect()
}

/// 63 MiB of letters.
fn letters() -> Vec<u8> {
    b"abcdefghijklmnopqrstuvw"
        .iter()
        .copied()
        .cycle()
        .take(63 << 20)
        .collect()
}

fn long_value(_: Size) -> Vec<u8> {
    request(&[b"SET", b"long", &letters()])
}

/// Many requests in one transaction.
fn transaction(count: usize, one: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let requests = (0..count).flat_map(one);
    let mut all = request(&[b"MULTI"]);
    all.extend(requests);
    all.extend(request(&[b"EXEC"]));
    all
}

pub const ROWS: &[Abuse] = &[
    Abuse {
        name: "nothing",
        sends: "PING: what the machine itself makes others wait",
        prepare: nothing,
        requests: |_| request(&[b"PING"]),
    },
    Abuse {
        name: "PUBLISH to patterns",
        sends: "messages to a channel of 65,000 bytes, at 40 patterns of 1,024 that nearly match it",
        prepare: |_| {
            many("PSUBSCRIBE", 40, |number| {
                format!("*{}b", "a".repeat(980 + number)).into_bytes()
            })
        },
        requests: |_| {
            let channel = vec![b'a'; 65_000];
            repeated(2, &[b"PUBLISH", &channel, b"hello"])
        },
    },
    Abuse {
        name: "PUBLISH to 1,000 patterns",
        sends: "100 messages to a channel of 65,000 bytes, at 1,000 patterns of 1,000 bytes",
        prepare: |_| {
            many("PSUBSCRIBE", 1_000, |number| {
                let pattern = format!("*{}b{number}", "a".repeat(990));
                pattern.into_bytes()
            })
        },
        requests: |size| repeated(size.of(100, 3), &[b"PUBLISH", &[b'a'; 65_000], b"hello"]),
    },
    Abuse {
        name: "PUBLISH to patterns of many stars",
        sends: "100 messages to a channel of 65,000 bytes, at 1,000 patterns of `*?[ab]*?[ab]...c`",
        prepare: |_| {
            many("PSUBSCRIBE", 1_000, |number| {
                let pattern = format!("{}*c{number}", "*?[ab]".repeat(160));
                pattern.into_bytes()
            })
        },
        requests: |size| repeated(size.of(100, 3), &[b"PUBLISH", &[b'a'; 65_000], b"hello"]),
    },
    Abuse {
        name: "KEYS",
        sends: "KEYS of a pattern that nearly matches 400 keys of 65,000 bytes",
        prepare: long_keys,
        requests: |_| repeated(2, &[b"KEYS", &near_miss()]),
    },
    Abuse {
        name: "SCAN MATCH",
        sends: "SCAN 0 MATCH with COUNT 10000 of that pattern",
        prepare: long_keys,
        requests: |_| {
            repeated(
                2,
                &[b"SCAN", b"0", b"COUNT", b"10000", b"MATCH", &near_miss()],
            )
        },
    },
    Abuse {
        name: "SCAN MATCH, classes",
        sends: "the same of `*[ab]?[ab]?...c`",
        prepare: long_keys,
        requests: |_| {
            let pattern = format!("*{}c", "[ab]?".repeat(204));
            repeated(
                2,
                &[
                    b"SCAN",
                    b"0",
                    b"COUNT",
                    b"10000",
                    b"MATCH",
                    pattern.as_bytes(),
                ],
            )
        },
    },
    Abuse {
        name: "SCAN pipeline",
        sends: "2,000 of SCAN 0 COUNT 10000 in one write",
        prepare: |_| pairs(200_000),
        requests: |size| {
            repeated(
                size.of(2000, 100),
                &[b"SCAN", b"0", b"COUNT", b"10000", b"MATCH", b"nothing"],
            )
        },
    },
    Abuse {
        name: "PAGE SEARCH",
        sends: "PAGE 0 SEARCH of a text that nearly matches in 63 MiB",
        prepare: |_| request(&[b"SET", b"long", &vec![b'a'; 63 << 20]]),
        requests: |_| {
            let text = [&[b'a'; 30_000][..], b"b"].concat();
            repeated(2, &[b"PAGE", b"0", b"SEARCH", &text])
        },
    },
    Abuse {
        name: "RANDOMKEY",
        sends: "1,000 of RANDOMKEY while 300,000 keys expire",
        prepare: expiring,
        requests: |size| repeated(size.of(1000, 200), &[b"RANDOMKEY"]),
    },
    Abuse {
        name: "DBSIZE",
        sends: "10,000 of DBSIZE while 300,000 keys expire",
        prepare: expiring,
        requests: |size| repeated(size.of(10_000, 2_000), &[b"DBSIZE"]),
    },
    Abuse {
        name: "EXISTS",
        sends: "EXISTS of 1,000,000 keys",
        prepare: |_| pairs(100_000),
        requests: |size| many("EXISTS", size.of(1_000_000, 50_000), key),
    },
    Abuse {
        name: "MGET",
        sends: "MGET of 1,000,000 keys",
        prepare: |_| pairs(100_000),
        requests: |size| many("MGET", size.of(1_000_000, 50_000), key),
    },
    Abuse {
        name: "MSET",
        sends: "MSET of 500,000 pairs",
        prepare: nothing,
        requests: |size| many("MSET", size.of(1_000_000, 50_000), key),
    },
    Abuse {
        name: "DEL",
        sends: "MSET of 500,000 pairs, and DEL of them",
        prepare: nothing,
        requests: |size| {
            [
                many("MSET", size.of(1_000_000, 50_000), key),
                many("DEL", size.of(500_000, 25_000), |number| key(2 * number)),
            ]
            .concat()
        },
    },
    Abuse {
        name: "WATCH",
        sends: "WATCH of 1,000,000 missing keys, and UNWATCH",
        prepare: nothing,
        requests: |size| {
            [
                many("WATCH", size.of(1_000_000, 50_000), key),
                request(&[b"UNWATCH"]),
            ]
            .concat()
        },
    },
    Abuse {
        name: "EXEC, SET",
        sends: "MULTI, 500,000 of SET, EXEC",
        prepare: nothing,
        requests: |size| {
            transaction(size.of(500_000, 50_000), |number| {
                request(&[b"SET", &key(number), b"value"])
            })
        },
    },
    Abuse {
        name: "EXEC, DBSIZE",
        sends: "MULTI, 500,000 of DBSIZE, EXEC, while 300,000 keys expire",
        prepare: expiring,
        requests: |size| transaction(size.of(500_000, 50_000), |_| request(&[b"DBSIZE"])),
    },
    Abuse {
        name: "EXEC, INFO",
        sends: "MULTI, 100,000 of COMMAND DOCS, EXEC",
        prepare: nothing,
        requests: |size| transaction(size.of(100_000, 3_000), |_| request(&[b"COMMAND", b"DOCS"])),
    },
    Abuse {
        name: "EXEC, APPEND",
        sends: "MULTI, 1,000 of APPEND to 63 MiB, EXEC",
        prepare: long_value,
        requests: |size| transaction(size.of(1_000, 5), |_| request(&[b"APPEND", b"long", b"x"])),
    },
    Abuse {
        name: "APPEND pipeline",
        sends: "200 of APPEND to 63 MiB in one write",
        prepare: long_value,
        requests: |size| repeated(size.of(200, 5), &[b"APPEND", b"long", b"x"]),
    },
    Abuse {
        name: "SETRANGE pipeline",
        sends: "200 of SETRANGE at 63 MiB in one write, of zeros, which take six times as much on disk",
        prepare: nothing,
        requests: |size| {
            let place = size.of(66_000_000, 4_000_000).to_string();
            let words: [&[u8]; 4] = [b"SETRANGE", b"long", place.as_bytes(), b"x"];
            repeated(size.of(200, 5), &words)
        },
    },
    Abuse {
        name: "VERSION pipeline",
        sends: "200 of VERSION of 63 MiB in one write",
        prepare: long_value,
        requests: |size| repeated(size.of(200, 5), &[b"VERSION", b"long"]),
    },
    Abuse {
        name: "DELIFEQ pipeline",
        sends: "5 of DELIFEQ with 63 MiB of which the last byte differs",
        prepare: long_value,
        requests: |_| {
            let mut value = letters();
            *value.last_mut().expect("it is long") = b'!';
            repeated(2, &[b"DELIFEQ", b"long", &value])
        },
    },
    Abuse {
        name: "INCRBYFLOAT",
        sends: "10,000 of INCRBYFLOAT with 5,000 digits",
        prepare: nothing,
        requests: |size| {
            repeated(
                size.of(10_000, 1_000),
                &[b"INCRBYFLOAT", b"sum", "7".repeat(4_900).as_bytes()],
            )
        },
    },
    Abuse {
        name: "unknown verb",
        sends: "a verb of 60 MiB, and a HELP of one",
        prepare: nothing,
        requests: |_| {
            let verb = vec![b'a'; 60 << 20];
            [
                request(&[&verb]),
                request(&[b"HELP", &verb]),
                request(&[b"CONFIG", &verb]),
            ]
            .concat()
        },
    },
    Abuse {
        name: "a line of escapes",
        sends: "PUT of a JSON string of 300 MB in the line dialect",
        prepare: nothing,
        requests: |size| {
            let value = "\\u0061".repeat(size.of(50 << 20, 4 << 20));
            format!("PUT quoted \"{value}\"\n").into_bytes()
        },
    },
    Abuse {
        name: "COMMAND DOCS",
        sends: "COMMAND DOCS of 1,000 names, 100 times",
        prepare: nothing,
        requests: |size| {
            let names = |number| {
                if number == 0 {
                    b"DOCS".to_vec()
                } else {
                    b"SET".to_vec()
                }
            };
            many("COMMAND", 1_001, names).repeat(size.of(100, 10))
        },
    },
    Abuse {
        name: "CONFIG GET",
        sends: "CONFIG GET of 100,000 patterns of 1,024 bytes",
        prepare: nothing,
        requests: |size| {
            let long = near_miss();
            many("CONFIG", size.of(100_000, 20_000), |number| {
                if number == 0 {
                    b"GET".to_vec()
                } else {
                    long.clone()
                }
            })
        },
    },
    Abuse {
        name: "INFO",
        sends: "INFO of 1,000,000 sections",
        prepare: nothing,
        requests: |size| many("INFO", size.of(1_000_000, 300_000), |_| b"nothing".to_vec()),
    },
    Abuse {
        name: "CLIENT LIST",
        sends: "CLIENT LIST ID of 1,000,000 numbers, and 1,000 of CLIENT LIST",
        prepare: nothing,
        requests: |size| {
            let ids = many(
                "CLIENT",
                size.of(1_000_000, 300_000),
                |number| match number {
                    0 => b"LIST".to_vec(),
                    1 => b"ID".to_vec(),
                    _ => number.to_string().into_bytes(),
                },
            );
            [ids, repeated(1_000, &[b"CLIENT", b"LIST"])].concat()
        },
    },
    Abuse {
        name: "PUBSUB NUMSUB",
        sends: "PUBSUB NUMSUB of 9,000 names, 200 times",
        prepare: nothing,
        requests: |size| {
            many("PUBSUB", 9_000, |number| match number {
                0 => b"NUMSUB".to_vec(),
                _ => key(number),
            })
            .repeat(size.of(200, 20))
        },
    },
    Abuse {
        name: "SUBSCRIBE",
        sends: "SUBSCRIBE and UNSUBSCRIBE of 10,000 channels, 20 times",
        prepare: nothing,
        requests: |size| {
            [many("SUBSCRIBE", 10_000, key), request(&[b"UNSUBSCRIBE"])]
                .concat()
                .repeat(size.of(20, 3))
        },
    },
    Abuse {
        name: "CLEAR",
        sends: "300,000 pairs, and 1,000 of FLUSHALL",
        prepare: nothing,
        requests: |size| {
            [
                pairs(size.of(300_000, 50_000)),
                repeated(size.of(1_000, 200), &[b"FLUSHALL"]),
            ]
            .concat()
        },
    },
    Abuse {
        name: "NAMESPACES",
        sends: "NAMESPACES of 100,000 keys of 200 colons, and COUNT",
        prepare: |size| {
            (0..size.of(90_000, 20_000))
                .flat_map(|number| {
                    let name = format!("{number}{}", ":".repeat(200));
                    request(&[b"SET", name.as_bytes(), b"value"])
                })
                .collect()
        },
        requests: |_| [request(&[b"NAMESPACES"]), request(&[b"COUNT", b"1"])].concat(),
    },
];
