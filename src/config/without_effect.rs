//! Parameters of Redis that have no meaning here. CONFIG takes and shows them as Redis does, so that programs which set them go on.
//!
//! In: a value, as text. Out: the same, once it is valid. Promise: nothing but CONFIG reads them.
//! Source: <https://raw.githubusercontent.com/redis/redis/7.0/redis.conf>.

use std::ops::RangeInclusive;

use ParameterValues::{BufferLimits, Bytes, Number, Switch, Word};

/// A parameter without effect.
#[derive(Debug)]
pub struct Parameter {
    /// Redis's name.
    pub name: &'static str,
    /// Redis's default.
    pub default: &'static str,
    values: ParameterValues,
}

/// Values that Redis allows.
#[derive(Debug)]
enum ParameterValues {
    /// `yes` or `no`.
    Switch,
    /// Whole numbers, both limits included.
    Number(RangeInclusive<i64>),
    /// A number of bytes, such as `100mb`.
    Bytes,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A class of clients, two numbers of bytes and a number of seconds, any number of times.
    BufferLimits,
}

/// Whole numbers of 32 bits that are not negative.
const NATURAL: ParameterValues = Number(0..=2_147_483_647);

/// Every parameter without effect, in alphabetical order.
pub static WITHOUT_EFFECT: &[Parameter] = &[
    Parameter::new("active-expire-effort", "1", Number(1..=10)),
    Parameter::new("activedefrag", "no", Switch),
    Parameter::new("activerehashing", "yes", Switch),
    Parameter::new("aof-load-truncated", "yes", Switch),
    Parameter::new("aof-rewrite-incremental-fsync", "yes", Switch),
    Parameter::new("aof-use-rdb-preamble", "yes", Switch),
    Parameter::new("auto-aof-rewrite-min-size", "67108864", Bytes),
    Parameter::new("auto-aof-rewrite-percentage", "100", NATURAL),
    Parameter::new(
        "client-output-buffer-limit",
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        BufferLimits,
    ),
    Parameter::new("client-query-buffer-limit", "1073741824", Bytes),
    Parameter::new("dynamic-hz", "yes", Switch),
    Parameter::new("hash-max-listpack-entries", "512", NATURAL),
    Parameter::new("hash-max-listpack-value", "64", NATURAL),
    Parameter::new("hll-sparse-max-bytes", "3000", NATURAL),
    Parameter::new("hz", "10", NATURAL),
    Parameter::new("jemalloc-bg-thread", "yes", Switch),
    Parameter::new("latency-monitor-threshold", "0", NATURAL),
    Parameter::new("lazyfree-lazy-eviction", "no", Switch),
    Parameter::new("lazyfree-lazy-expire", "no", Switch),
    Parameter::new("lazyfree-lazy-server-del", "no", Switch),
    Parameter::new("lazyfree-lazy-user-del", "no", Switch),
    Parameter::new("lazyfree-lazy-user-flush", "no", Switch),
    Parameter::new("lfu-decay-time", "1", NATURAL),
    Parameter::new("lfu-log-factor", "10", NATURAL),
    Parameter::new("list-compress-depth", "0", NATURAL),
    Parameter::new(
        "list-max-listpack-size",
        "-2",
        Number(-2_147_483_648..=2_147_483_647),
    ),
    Parameter::new(
        "loglevel",
        "notice",
        Word(&["debug", "verbose", "notice", "warning"]),
    ),
    Parameter::new("maxmemory-eviction-tenacity", "10", Number(0..=100)),
    Parameter::new("maxmemory-samples", "5", Number(1..=64)),
    Parameter::new("min-replicas-max-lag", "10", NATURAL),
    Parameter::new("min-replicas-to-write", "0", NATURAL),
    Parameter::new("no-appendfsync-on-rewrite", "no", Switch),
    Parameter::new("rdb-save-incremental-fsync", "yes", Switch),
    Parameter::new("rdbchecksum", "yes", Switch),
    Parameter::new("rdbcompression", "yes", Switch),
    Parameter::new("repl-backlog-size", "1048576", Bytes),
    Parameter::new("repl-disable-tcp-nodelay", "no", Switch),
    Parameter::new("repl-diskless-sync", "yes", Switch),
    Parameter::new("repl-timeout", "60", NATURAL),
    Parameter::new("replica-priority", "100", NATURAL),
    Parameter::new("replica-read-only", "yes", Switch),
    Parameter::new("replica-serve-stale-data", "yes", Switch),
    Parameter::new("set-max-intset-entries", "512", NATURAL),
    Parameter::new("set-proc-title", "yes", Switch),
    Parameter::new("stream-node-max-bytes", "4096", Bytes),
    Parameter::new("stream-node-max-entries", "100", NATURAL),
    Parameter::new("tcp-keepalive", "300", NATURAL),
    Parameter::new("zset-max-listpack-entries", "128", NATURAL),
    Parameter::new("zset-max-listpack-value", "64", NATURAL),
];

impl Parameter {
    const fn new(name: &'static str, default: &'static str, values: ParameterValues) -> Self {
        Self {
            name,
            default,
            values,
        }
    }

    /// Checks a value. Returns it in the form in which it is shown.
    ///
    /// # Errors
    /// Redis's reason for which it is not valid.
    pub fn parse(&self, value: &str) -> Result<String, String> {
        match &self.values {
            Switch => match &*value.to_ascii_lowercase() {
                lower @ ("yes" | "no") => Ok(lower.to_owned()),
                _ => Err("argument must be 'yes' or 'no'".to_owned()),
            },
            Number(limits) => {
                let number: Result<i64, _> = value.parse();
                let number = number.map_err(|_| "argument couldn't be parsed into an integer")?;
                let (least, most) = limits.clone().into_inner();
                let is_allowed = limits.contains(&number).then(|| number.to_string());
                is_allowed
                    .ok_or_else(|| format!("argument must be between {least} and {most} inclusive"))
            }
            Bytes => {
                let bytes = byte_count(value).ok_or("argument must be a memory value")?;
                Ok(bytes.to_string())
            }
            Word(words) => {
                let lower = value.to_ascii_lowercase();
                let is_known = words.contains(&&*lower);
                let known = words.join(", ");
                is_known
                    .then_some(lower)
                    .ok_or_else(|| format!("argument(s) must be one of the following: {known}"))
            }
            BufferLimits => {
                let words: Vec<&str> = value.split_whitespace().collect();
                let is_class = |word: &str| {
                    let classes = ["normal", "replica", "slave", "pubsub"];
                    classes.iter().any(|class| class.eq_ignore_ascii_case(word))
                };
                let is_limit = |words: &[&str]| {
                    let [class, hard, soft, seconds] = words else {
                        return false;
                    };
                    let is_size = byte_count(hard).is_some() && byte_count(soft).is_some();
                    is_class(class) && is_size && seconds.parse::<u32>().is_ok()
                };
                // One limit of each class at most, as the value is kept.
                let is_valid = matches!(words.len(), 4..=12) && words.chunks(4).all(is_limit);
                let reason = "Wrong number of arguments in buffer limit configuration.";
                is_valid
                    .then(|| words.join(" "))
                    .ok_or_else(|| reason.to_owned())
            }
        }
    }
}

/// Parses a number of bytes as Redis does: `k`, `m` and `g` are powers of 1000, with `b` of 1024.
#[must_use]
pub fn byte_count(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_bytes: u64 = match &*unit.to_ascii_lowercase() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_valid_and_shown_as_it_is_and_the_names_are_in_order() {
        for row in WITHOUT_EFFECT {
            assert_eq!(
                row.parse(row.default).as_deref(),
                Ok(row.default),
                "{}",
                row.name
            );
            assert!(row.parse("frob frob").is_err(), "{}", row.name);
        }
        assert!(WITHOUT_EFFECT.is_sorted_by_key(|row| row.name));
    }

    #[test]
    fn both_sides_of_a_limit() {
        let effort = WITHOUT_EFFECT
            .iter()
            .find(|row| row.name == "active-expire-effort");
        let effort = effort.expect("a row");
        for (value, is_valid) in [("0", false), ("1", true), ("10", true), ("11", false)] {
            assert_eq!(effort.parse(value).is_ok(), is_valid, "{value}");
        }
    }
}
