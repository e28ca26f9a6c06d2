//! The values of settings that are neither numbers nor paths nor addresses.
//!
//! In: texts, from flags, variables and the configuration file. Out: sizes, names of hosts, a durability; or why a text is none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::without_effect::byte_count;
use crate::engine::Eviction;
use crate::metrics::process::system_memory_bytes;
use crate::persistence::Durability;

/// Minimum of `--client-memory` in bytes: below it, a few requests of common size would end each other.
const CLIENT_MEMORY_BYTES_MIN: usize = 8 << 20;

/// A number of bytes, such as `65536`, `512mb` or `25%`, which is a share of the memory of the machine or the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteCount(pub usize);

impl FromStr for ByteCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_bytes = match &*unit.to_ascii_lowercase() {
            "" | "b" => 1,
            "kb" | "k" => 1 << 10,
            "mb" | "m" => 1 << 20,
            "gb" | "g" => 1 << 30,
            "%" => memory_bytes() / 100,
            _ => 0,
        };
        let number = number.parse().ok().filter(|_| unit_bytes > 0);
        let number = number.filter(|number| unit != "%" || *number <= 100);
        let bytes = number.and_then(|number: usize| number.checked_mul(unit_bytes));
        let bytes = bytes.ok_or("it is no number of bytes, such as 67108864, 512mb, 2gb or 25%")?;
        // A share of a small machine is raised to the minimum, so that the default is valid everywhere.
        if unit == "%" {
            return Ok(Self(bytes.max(CLIENT_MEMORY_BYTES_MIN)));
        }
        if bytes < CLIENT_MEMORY_BYTES_MIN {
            return Err(format!(
                "it is less than the minimum of {CLIENT_MEMORY_BYTES_MIN} bytes"
            ));
        }
        Ok(Self(bytes))
    }
}

/// Returns the memory of the machine in bytes, or the limit of the container or the service if that is lower.
fn memory_bytes() -> usize {
    let memory = control_group_limits().chain([system_memory_bytes()]).min();
    usize::try_from(memory.unwrap_or(0)).unwrap_or(usize::MAX)
}

/// Returns the memory limits of the control groups of this process, from its own up to that of all: version 2 has them all below one
/// folder, version 1 below that of the memory alone.
/// Source: cgroups(7).
fn control_group_limits() -> impl Iterator<Item = u64> {
    const ROOTS: [(&str, &str); 2] = [
        ("/sys/fs/cgroup", "memory.max"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ];
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // `0::/path` of version 2, `5:memory:/path` of version 1.
    let paths = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_memory = controllers.is_empty() || controllers.split(',').any(|it| it == "memory");
        is_memory.then(|| PathBuf::from(path.trim_start_matches('/')))
    });
    let own: Vec<PathBuf> = paths.collect();
    let above = own
        .into_iter()
        .flat_map(|path| path.ancestors().map(PathBuf::from).collect::<Vec<_>>());
    let groups: BTreeSet<PathBuf> = above.chain([PathBuf::new()]).collect();
    groups.into_iter().flat_map(|group| {
        ROOTS.into_iter().filter_map(move |(root, file)| {
            let limit = std::fs::read_to_string(Path::new(root).join(&group).join(file));
            limit.ok()?.trim().parse().ok()
        })
    })
}

/// The cap on the memory of the data in bytes, such as `2gb` or `60%`; 0 for `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxMemory(pub u64);

impl FromStr for MaxMemory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self(0));
        }
        let bytes = match text.strip_suffix('%') {
            Some(percent) => {
                let percent = percent.parse::<u64>().ok();
                let percent = percent.filter(|percent| (1..=100).contains(percent));
                percent.map(|percent| memory_bytes() as u64 / 100 * percent)
            }
            None => byte_count(text),
        };
        let bytes = bytes
            .ok_or("it is no number of bytes, such as 1073741824, 512mb, 2gb or 60%, nor `off`")?;
        Ok(Self(bytes))
    }
}

impl clap::ValueEnum for Eviction {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::NoEviction => {
                "None: changes that need memory are refused (FULL), reads and deletes go on"
            }
            Self::AllKeysLru => "The pair that was not used for the longest time, of a sample",
            Self::AllKeysLfu => "The pair that is used least often, of a sample",
            Self::AllKeysRandom => "Any pair",
            Self::VolatileLru => "As allkeys-lru, among the pairs that expire",
            Self::VolatileLfu => "As allkeys-lfu, among the pairs that expire",
            Self::VolatileRandom => "Any pair that expires",
            Self::VolatileTtl => "The pair that expires soonest",
            Self::AllKeysSmart => {
                "The pair that is needed least: a new one has to be used again soon, so that a scan through all keys does not take \
                 the place of those that are in use. The best for most caches"
            }
        };
        Some(clap::builder::PossibleValue::new(self.name()).help(help))
    }
}

/// Names of this server in URLs, in the form of [`host_name`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostNames(pub Vec<String>);

impl FromStr for HostNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = text.split(',').map(str::trim).filter(|_| !text.is_empty());
        let parsed = names.map(|name| {
            let of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            let is_label = |label: &str| !label.is_empty() && label.bytes().all(of_name);
            let plain = host_name(name);
            if plain.split('.').all(is_label) {
                Ok(plain)
            } else {
                Err(format!("`{name}` is no host name, such as pykv or kv.example.com, without scheme and port"))
            }
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }
}

/// Converts a host name to the form in which names are compared: in lower case, without the dot of the root.
#[must_use]
pub fn host_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line with time, level and message.
    Text,
    /// A JSON object in a line.
    Json,
}

/// What is promised of a change when its client reads `OK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurabilityLevel {
    /// By the disk of this machine.
    Local(Durability),
    /// By the replicas of a cluster.
    Replicated,
    /// By the primaries of a cluster.
    Fast,
}

impl DurabilityLevel {
    /// Returns the name of the level.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local(level) => level.name(),
            Self::Replicated => "replicated",
            Self::Fast => "fast",
        }
    }
}

impl clap::ValueEnum for DurabilityLevel {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Local(Durability::EverySecond),
            Self::Local(Durability::Always),
            Self::Local(Durability::Off),
            Self::Replicated,
            Self::Fast,
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::Local(Durability::EverySecond) => {
                "It has been handed to the operating system: if the server is killed, nothing is lost; if the machine loses \
                 power, at most the last second is. A reader may see a value that such a power cut then takes back. What was \
                 written is synced every half second by a thread that nobody waits for; where the disk needs more than the \
                 other half, STATS and `/health` say by how much. It costs one write for all who are ready at the same time"
            }
            Self::Local(Durability::Always) => {
                "It is on the disk: nothing is lost, whatever goes down. It costs the time of a sync, which all share who wait \
                 at the same time; a read waits only if it has seen a change that is not on the disk yet"
            }
            Self::Local(Durability::Off | Durability::Replicated) => {
                "It is in memory: whatever goes down, all changes since the last save are lost. It costs nothing"
            }
            Self::Replicated => {
                "With --etcd: the log that etcd keeps has it, on the disks of most of its machines: nothing is lost if this machine \
                 fails, and another server of --cluster takes over. It costs the time of a transaction there, which all share who wait \
                 at the same time. With --engine, where it is the default: the replicas of the primary have it in memory \
                 (--wait-replicas): nothing is lost if the primary fails. Where it is not known in time, the reply is ERR IN_DOUBT"
            }
            Self::Fast => {
                "With --engine: the primary has it in memory, as Redis promises. If the primary fails, what its replicas have not \
                 received is lost: as much as was sent in the time that they were behind"
            }
        };
        Some(clap::builder::PossibleValue::new(self.name()).help(help))
    }
}

/// Number of replicas that must have a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReplicas {
    /// All that have not failed, and at least one.
    All,
    /// This many.
    Number(u32),
}

/// Most replicas that `--wait-replicas` takes: a primary with more has most of its work for them.
const WAIT_REPLICAS_MAX: u32 = 16;

impl FromStr for WaitReplicas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("all") {
            return Ok(Self::All);
        }
        let number = text.parse().ok();
        let number = number.filter(|number| (1..=WAIT_REPLICAS_MAX).contains(number));
        number.map(Self::Number).ok_or_else(|| {
            format!("it is neither `all` nor a number from 1 to {WAIT_REPLICAS_MAX}")
        })
    }
}
