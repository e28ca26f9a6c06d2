//! Where PyKV answers otherwise than Redis, and why: one table, whose rows stand in protocol.md, too.
//!
//! In: what was sent, and what both said. Out: the row that explains why that differs. Promise: every row is shown by an
//! example, and explains it.

use super::play::is;

/// One difference.
pub struct Difference {
    /// What differs, and why: a line of protocol.md.
    pub line: &'static str,
    pub example: Example,
    /// Whether it is this one.
    explains: fn(&Seen<'_>) -> bool,
    /// Whether the servers may hold different data after it, or be in different transactions.
    pub parts: bool,
}

/// What shows a difference.
pub enum Example {
    /// Requests, of which the last one is answered otherwise.
    Requests(&'static [&'static [&'static [u8]]]),
    /// Bytes of a connection.
    Bytes(&'static [u8]),
}

/// What was answered differently.
pub struct Seen<'a> {
    /// The words of the request, or all bytes of the connection as one.
    pub words: &'a [Vec<u8>],
    pub redis: &'a [u8],
    pub ours: &'a [u8],
}

impl Seen<'_> {
    /// Whether the request begins with one of these.
    fn asks(&self, verbs: &[&str]) -> bool {
        verbs.iter().any(|verb| is(self.words.first(), verb))
    }

    /// Whether one of the words is this one.
    fn says(&self, name: &str) -> bool {
        self.words.iter().any(|word| is(Some(word), name))
    }

    fn refuses(&self, reason: &str) -> bool {
        let refusal = self.ours.strip_prefix(b"-ERR ");
        refusal.is_some_and(|refusal| refusal.starts_with(reason.as_bytes()))
    }

    fn redis_refuses(&self, reason: &str) -> bool {
        let refusal = self.redis.strip_prefix(b"-ERR ");
        refusal.is_some_and(|refusal| refusal.starts_with(reason.as_bytes()))
    }
}

const NOT_IN_TRANSACTIONS: &str = "Command not allowed inside a transaction";
const LONG_KEY: &[u8] = &[b'k'; 65_537];

/// The table.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        line: "A request that does not begin with `*` is one of the line dialect, and not one of Redis's inline commands.",
        example: Example::Bytes(b"PING\r\n"),
        explains: |seen| seen.redis == b"+PONG\r\n" && seen.ours == b"PONG\n",
        parts: true,
    },
    Difference {
        line: "A request may have 1,048,576 words. Redis takes 2,147,483,647 for a number of words, and waits for them.",
        example: Example::Bytes(b"*1048577\r\nx"),
        explains: |seen| {
            let redis_goes_on = seen.redis.is_empty() || seen.redis_refuses("Protocol error");
            seen.ours == b"-ERR Protocol error: invalid multibulk length\r\n" && redis_goes_on
        },
        parts: true,
    },
    Difference {
        line: "A longer key is refused: keys alone cannot fill the buffers.",
        example: Example::Requests(&[&[b"SET", LONG_KEY, b"x"]]),
        explains: |seen| seen.refuses("the key has "),
        parts: true,
    },
    Difference {
        line: "A value that would become longer than 64 MiB is refused in other words: in Redis that limit is a setting.",
        example: Example::Requests(&[&[b"SETRANGE", b"a", b"67108864", b"x"]]),
        explains: |seen| {
            seen.redis_refuses("string exceeds maximum allowed size")
                && seen.refuses("the value has ")
        },
        parts: false,
    },
    Difference {
        line: "A pattern has up to 1,024 bytes, and the name of a channel 65,536: none holds the server up.",
        example: Example::Requests(&[&[b"KEYS", LONG_KEY]]),
        explains: |seen| {
            seen.refuses("the pattern has ") || seen.refuses("the channel's name has ")
        },
        parts: true,
    },
    Difference {
        line: "A key cannot expire after the year 9999: on disk that time stands as a date.",
        example: Example::Requests(&[&[b"SET", b"a", b"1", b"EXAT", b"253402300800"]]),
        explains: |seen| {
            !seen.redis_refuses("invalid expire time") && seen.refuses("invalid expire time")
        },
        parts: true,
    },
    Difference {
        line: "`INCRBYFLOAT` adds decimal numbers, exactly. Redis adds binary ones, and rounds to 17 places.",
        example: Example::Requests(&[
            &[b"SET", b"a", b"9223372036854775808"],
            &[b"INCRBYFLOAT", b"a", b"0.25"],
        ]),
        explains: |seen| seen.asks(&["INCRBYFLOAT"]) && are_near(seen.redis, seen.ours),
        parts: true,
    },
    Difference {
        line: "`INCRBYFLOAT` takes decimal numbers. Redis takes hexadecimal ones, too.",
        example: Example::Requests(&[&[b"INCRBYFLOAT", b"a", b"0x10"]]),
        explains: |seen| {
            seen.asks(&["INCRBYFLOAT"])
                && seen.says("0x10")
                && seen.refuses("value is not a valid float")
        },
        parts: true,
    },
    Difference {
        line: "`SCAN` takes 0 as a cursor, and what it has answered. Redis takes any number.",
        example: Example::Requests(&[&[b"SCAN", b"-1"]]),
        explains: |seen| {
            seen.asks(&["SCAN"]) && seen.refuses("invalid cursor") && seen.redis.starts_with(b"*")
        },
        parts: false,
    },
    Difference {
        line: "`BGSAVE` and `BGREWRITEAOF` cannot be part of a transaction.",
        example: Example::Requests(&[&[b"MULTI"], &[b"BGSAVE"]]),
        explains: |seen| {
            seen.asks(&["BGSAVE", "BGREWRITEAOF"]) && seen.refuses(NOT_IN_TRANSACTIONS)
        },
        parts: true,
    },
    Difference {
        line: "Numbered databases are prefixes of keys: database 0 shows the keys of all. `SWAPDB` of two is refused.",
        example: Example::Requests(&[&[b"SWAPDB", b"0", b"1"]]),
        explains: |seen| seen.asks(&["SWAPDB"]) && seen.refuses("databases are prefixes of keys"),
        parts: true,
    },
    Difference {
        line: "`SUBSCRIBE` and the like, `MONITOR` and `HELLO` cannot be part of a transaction: its reply would not be one.",
        example: Example::Requests(&[&[b"MULTI"], &[b"SUBSCRIBE", b"news"]]),
        explains: |seen| {
            let verbs = [
                "SUBSCRIBE",
                "UNSUBSCRIBE",
                "PSUBSCRIBE",
                "PUNSUBSCRIBE",
                "SSUBSCRIBE",
                "SUNSUBSCRIBE",
                "MONITOR",
                "HELLO",
            ];
            seen.asks(&verbs) && seen.refuses(NOT_IN_TRANSACTIONS)
        },
        parts: true,
    },
    Difference {
        line: "In a transaction, a request with too few or too many words is refused at once, always. Redis lets some wait for `EXEC`.",
        example: Example::Requests(&[&[b"MULTI"], &[b"MSET", b"a", b"1", b"b"]]),
        explains: |seen| seen.redis == b"+QUEUED\r\n" && seen.refuses("wrong number of arguments"),
        parts: true,
    },
    Difference {
        line: "In a transaction, the words after `CLIENT`, `PUBSUB` and the like are looked at by `EXEC`, and not before.",
        example: Example::Requests(&[&[b"MULTI"], &[b"CLIENT", b"FROB"]]),
        explains: |seen| {
            seen.ours == b"+QUEUED\r\n"
                && (seen.redis_refuses("unknown subcommand")
                    || seen.redis_refuses("wrong number of arguments for"))
                && seen.asks(&[
                    "CLIENT", "PUBSUB", "OBJECT", "CONFIG", "COMMAND", "MEMORY", "SLOWLOG",
                    "LATENCY", "ACL", "SCRIPT", "FUNCTION", "MODULE",
                ])
        },
        parts: true,
    },
    Difference {
        line: "While a RESP2 client listens to channels, the words after `CLIENT`, `PUBSUB` and the like are not looked at.",
        example: Example::Requests(&[&[b"SUBSCRIBE", b"news"], &[b"CLIENT", b"FROB"]]),
        explains: |seen| {
            seen.refuses("Can't execute '")
                && (seen.redis_refuses("Can't execute '")
                    || seen.redis_refuses("unknown subcommand")
                    || seen.redis_refuses("wrong number of arguments for"))
                && seen.asks(&[
                    "CLIENT", "PUBSUB", "OBJECT", "CONFIG", "COMMAND", "MEMORY", "SLOWLOG",
                    "LATENCY", "ACL",
                ])
        },
        parts: false,
    },
    Difference {
        line: "A pattern of stars matches the empty name, too. In Redis only the pattern `*` does, and not for channels.",
        example: Example::Requests(&[&[b"SET", b"", b"x"], &[b"KEYS", b"**"]]),
        explains: |seen| {
            seen.asks(&["KEYS"])
                && seen.says("**")
                && seen.ours == b"*1\r\n$0\r\n\r\n"
                && seen.redis == b"*0\r\n"
        },
        parts: false,
    },
    Difference {
        line: "An error that quotes a request shows it as text, with U+FFFD for what is none. Redis shows its bytes, up to a zero.",
        example: Example::Requests(&[&[b"FROB", b"\xff"]]),
        explains: |seen| {
            // Up to the first byte that differs, both say the same in an error, which quotes.
            let pairs = seen.redis.iter().zip(seen.ours);
            let same = pairs.take_while(|(redis, ours)| redis == ours).count();
            let (said, rest) = seen.ours.split_at(same);
            let said = String::from_utf8_lossy(said);
            let last = said.lines().last().unwrap_or_default();
            let is_none = rest.starts_with("\u{fffd}".as_bytes()) || rest.first() == Some(&0);
            is_none
                && last.starts_with("-ERR ")
                && (last.contains('\'') || last.contains("Unsupported option"))
        },
        parts: false,
    },
    Difference {
        line: "`OBJECT ENCODING` tells what the value is, and not how it came to be: Redis says `raw` of a short one that has been changed.",
        example: Example::Requests(&[
            &[b"APPEND", b"a", b"7"],
            &[b"APPEND", b"a", b"7"],
            &[b"OBJECT", b"ENCODING", b"a"],
        ]),
        explains: |seen| {
            let names: [&[u8]; 3] = [b"$3\r\nint\r\n", b"$6\r\nembstr\r\n", b"$3\r\nraw\r\n"];
            seen.asks(&["OBJECT"]) && names.contains(&seen.redis) && names.contains(&seen.ours)
        },
        parts: false,
    },
    Difference {
        line: "`OBJECT IDLETIME` is refused without a cap on memory: it is not kept then when a key was last used.",
        example: Example::Requests(&[&[b"SET", b"a", b"1"], &[b"OBJECT", b"IDLETIME", b"a"]]),
        explains: |seen| {
            seen.asks(&["OBJECT"])
                && seen.says("IDLETIME")
                && seen.ours.starts_with(b"-ERR it is kept only")
        },
        parts: false,
    },
    Difference {
        line: "`OBJECT REFCOUNT` is 1 for every key: no two share a value.",
        example: Example::Requests(&[&[b"SET", b"a", b"1"], &[b"OBJECT", b"REFCOUNT", b"a"]]),
        explains: |seen| seen.asks(&["OBJECT"]) && seen.says("REFCOUNT") && seen.ours == b":1\r\n",
        parts: false,
    },
    Difference {
        line: "`INFO`, `COMMAND`, `CONFIG GET`, `CLIENT LIST`, `MEMORY USAGE`, `OBJECT HELP` and the like tell of PyKV, with the fields that it has.",
        example: Example::Requests(&[&[b"COMMAND", b"COUNT"]]),
        explains: |seen| {
            let is_told = |reply: &[u8]| !matches!(reply.first(), Some(b'-' | b'+'));
            let verbs = [
                "INFO", "COMMAND", "CONFIG", "CLIENT", "MEMORY", "SLOWLOG", "LATENCY", "TIME",
                "LASTSAVE",
            ];
            (seen.asks(&verbs) || seen.says("HELP"))
                && !seen.says("GETNAME")
                && is_told(seen.redis)
                && is_told(seen.ours)
        },
        parts: false,
    },
    Difference {
        line: "There are no lists, hashes, sets, sorted sets, streams, HyperLogLogs, functions and modules. The commands for them are unknown, but for `FUNCTION` and `MODULE`, which list none.",
        example: Example::Requests(&[&[b"LPUSH", b"a", b"x"]]),
        explains: |seen| {
            let name = seen.words[0].to_ascii_lowercase();
            let mut missing = MISSING.iter().flat_map(|family| family.split_whitespace());
            seen.refuses("unknown command") && missing.any(|missing| missing.as_bytes() == name)
        },
        parts: true,
    },
    Difference {
        line: "`DEBUG` is there without a setting, for those who may administer.",
        example: Example::Requests(&[&[b"DEBUG", b"JMAP"]]),
        explains: |seen| {
            seen.asks(&["DEBUG"])
                && (seen.redis_refuses("DEBUG command not allowed") || seen.ours == b"+QUEUED\r\n")
        },
        parts: true,
    },
    Difference {
        line: "`CLUSTER` is refused whatever follows, as there is no cluster.",
        example: Example::Requests(&[&[b"CLUSTER", b"FROB"]]),
        explains: |seen| {
            seen.asks(&["CLUSTER"]) && seen.refuses("This instance has cluster support disabled")
        },
        parts: true,
    },
    Difference {
        line: "`SYNC`, `PSYNC` and `REPLICAOF` are refused, but for `REPLICAOF NO ONE`: the data is not sent as an RDB file.",
        example: Example::Requests(&[&[b"REPLICAOF", b"x", b"x"]]),
        explains: |seen| {
            seen.asks(&["SYNC", "PSYNC", "REPLICAOF", "SLAVEOF"]) && seen.refuses("this server ")
        },
        parts: true,
    },
    Difference {
        line: "`SET ... IFEQ`, and the commands that only PyKV has, are there for Redis clients, too.",
        example: Example::Requests(&[&[b"SET", b"a", b"1", b"IFEQ", b"0"]]),
        explains: |seen| seen.says("IFEQ") && seen.redis == b"-ERR syntax error\r\n",
        parts: true,
    },
    Difference {
        line: "`HELLO` tells the version 7.4.0, and has a field more: `pykv_version`.",
        example: Example::Requests(&[&[b"HELLO", b"3"]]),
        explains: |seen| {
            seen.asks(&["HELLO"])
                && without_id_and_version(seen.ours).is_some()
                && without_id_and_version(seen.ours) == without_id_and_version(seen.redis)
        },
        parts: false,
    },
];

/// The fields of a reply to HELLO, but for those that differ.
fn without_id_and_version(reply: &[u8]) -> Option<String> {
    let (_, fields) = std::str::from_utf8(reply).ok()?.split_once("\r\n")?;
    let fields = fields.split("$12\r\npykv_version\r\n").next()?;
    let (server, version) = fields.split_once("$7\r\nversion\r\n$")?;
    let fields = server.to_owned() + version.splitn(3, "\r\n").nth(2)?;
    let (before, id) = fields.split_once("$2\r\nid\r\n:")?;
    let (_, after) = id.split_once("\r\n")?;
    Some(before.to_owned() + after)
}

/// Whether both are numbers that are the same but for what a floating-point number of the machine rounds off.
fn are_near(redis: &[u8], ours: &[u8]) -> bool {
    let number = |reply: &[u8]| -> Option<f64> {
        let reply = std::str::from_utf8(reply).ok()?;
        reply.strip_prefix('$')?.lines().nth(1)?.parse().ok()
    };
    match (number(redis), number(ours)) {
        (Some(redis), Some(ours)) => (redis - ours).abs() <= 1e-17 + redis.abs() * f64::EPSILON,
        _ => false,
    }
}

/// The row that explains why a request was answered differently, if one does.
pub fn difference(words: &[Vec<u8>], redis: &[u8], ours: &[u8]) -> Option<&'static Difference> {
    let seen = Seen { words, redis, ours };
    DIFFERENCES
        .iter()
        .find(|difference| (difference.explains)(&seen))
}

/// The commands of Redis that PyKV does not have. They are unknown.
pub const MISSING: &[&str] = &[
    // Lists.
    "blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset ltrim \
     rpop rpoplpush rpush rpushx",
    // Hashes.
    "hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals",
    // Sets.
    "sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop srandmember srem \
     sscan sunion sunionstore",
    // Sorted sets and places.
    "bzmpop bzpopmax bzpopmin geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro \
     geosearch geosearchstore zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop \
     zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex \
     zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore",
    // Streams.
    "xack xadd xautoclaim xclaim xdel xgroup xgroup|create xgroup|createconsumer xgroup|delconsumer xgroup|destroy \
     xgroup|help xgroup|setid xinfo xinfo|consumers xinfo|groups xinfo|help xinfo|stream xlen xpending xrange xread \
     xreadgroup xrevrange xsetid xtrim",
    // Counts.
    "pfadd pfcount pfdebug pfmerge pfselftest",
    // Functions.
    "fcall fcall_ro function|delete function|dump function|flush function|kill function|load function|restore",
    // Modules.
    "module|load module|loadex module|unload",
    // Several servers.
    "migrate restore-asking",
    // Others.
    "sort sort_ro",
];
