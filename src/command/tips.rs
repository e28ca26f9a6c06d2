//! Tips for clients of a cluster: where a command goes, and what becomes of the replies.
//!
//! In: the name of a command, of a subcommand as `config|set`. Out: its tips in COMMAND INFO.
//! Source: <https://redis.io/docs/latest/develop/reference/command-tips/>.

/// Tips, and the commands that have them.
const TIPS: &[(&[&str], &[&str])] = &[
    (
        &["nondeterministic_output"],
        &[
            "client|info",
            "client|list",
            "cluster|info",
            "cluster|links",
            "cluster|nodes",
            "cluster|replicas",
            "cluster|shards",
            "cluster|slots",
            "dump",
            "lastsave",
            "object|encoding",
            "object|freq",
            "object|idletime",
            "object|refcount",
            "pttl",
            "time",
            "ttl",
        ],
    ),
    (
        &["nondeterministic_output_order"],
        &[
            "command",
            "command|docs",
            "command|info",
            "command|list",
            "function|list",
            "module|list",
        ],
    ),
    (
        &["nondeterministic_output", "request_policy:special"],
        &["scan"],
    ),
    (
        &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        &[
            "function|stats",
            "info",
            "memory|doctor",
            "memory|malloc-stats",
            "memory|stats",
        ],
    ),
    (
        &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        &[
            "latency|doctor",
            "latency|graph",
            "latency|histogram",
            "latency|history",
            "latency|latest",
        ],
    ),
    (
        &["request_policy:all_nodes", "nondeterministic_output"],
        &["slowlog|get"],
    ),
    (
        &[
            "request_policy:all_nodes",
            "response_policy:agg_sum",
            "nondeterministic_output",
        ],
        &["slowlog|len"],
    ),
    (
        &["request_policy:all_nodes", "response_policy:all_succeeded"],
        &[
            "config|set",
            "latency|reset",
            "script|flush",
            "script|load",
            "slowlog|reset",
        ],
    ),
    (
        &["request_policy:all_shards", "nondeterministic_output"],
        &["randomkey"],
    ),
    (
        &["request_policy:all_shards", "nondeterministic_output_order"],
        &["keys"],
    ),
    (
        &[
            "request_policy:all_shards",
            "response_policy:agg_logical_and",
        ],
        &["script|exists"],
    ),
    (
        &["request_policy:all_shards", "response_policy:agg_min"],
        &["wait"],
    ),
    (
        &["request_policy:all_shards", "response_policy:agg_sum"],
        &["dbsize"],
    ),
    (
        &["request_policy:all_shards", "response_policy:all_succeeded"],
        &["flushall", "flushdb", "memory|purge", "ping"],
    ),
    (
        &["request_policy:all_shards", "response_policy:one_succeeded"],
        &["script|kill"],
    ),
    (&["request_policy:multi_shard"], &["mget"]),
    (
        &["request_policy:multi_shard", "response_policy:agg_min"],
        &["msetnx"],
    ),
    (
        &["request_policy:multi_shard", "response_policy:agg_sum"],
        &["del", "exists", "touch", "unlink"],
    ),
    (
        &[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ],
        &["mset"],
    ),
];

/// Returns the tips of a command, whose name is in lower case.
pub(super) fn of(name: &str) -> &'static [&'static str] {
    let found = TIPS.iter().find(|(_, names)| names.contains(&name));
    found.map_or(&[], |(tips, _)| tips)
}
