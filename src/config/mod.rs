//! Settings of the server: one table, behind the flags, the environment variables, the configuration file, `--help` and CONFIG.
//!
//! In: the command line, the environment, a file. Out: a [`Config`], or an error for the user; and the [`Setup`] of a running server.
//! To add a setting, add its row to [`SETTINGS`], and read it with [`Config::get`] where it is used. Promise: a flag takes
//! precedence over a variable, a variable over the file, and the file over the default.

mod addresses;
mod file;
mod password;
mod servers_url;
mod values;
mod without_effect;

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::builder::{BoolishValueParser, StringValueParser, TypedValueParser as _, ValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{
    Arg, ArgAction, ArgMatches, Command, FromArgMatches as _, Subcommand as _, value_parser,
};
use clap_complete::Shell;
use tokio_util::sync::CancellationToken;

use crate::cluster::{ClusterOptions, Replication};
use crate::engine::{Eviction, MemoryCap};
use crate::error::{error_chain, without_numbers};
use crate::metrics::process::resident_bytes;
use crate::model::{EventClasses, VALUE_BYTES_MAX};
use crate::persistence::{Durability, Options, SYNC_INTERVAL};
use crate::replication::{MemberInfo, MemberOptions, Membership, ReplicaOptions};
use crate::stdout::ignore_closed;
use crate::tls::{Tls, TlsFiles};

pub use addresses::{
    Address, BoundEndpoints, Endpoint, HttpEndpoint, PeerAddress, Place, Scheme, TextEndpoint,
};
pub use password::PasswordError;
pub use servers_url::{PYKV, REDIS, ServersUrl, UrlScheme, UrlSetting};
pub use values::{
    ByteCount, DurabilityLevel, HostNames, LogFormat, MaxMemory, WaitReplicas, host_name,
};
pub use without_effect::{Parameter, WITHOUT_EFFECT, byte_count};

/// Specification of a setting.
#[derive(Debug)]
pub struct Setting {
    /// Name, unique in the table.
    pub name: &'static str,
    /// The flag `--name`; `None` for a setting that the command line does not set.
    pub flag: Option<Flag>,
    /// Default; empty if there is none, or if the value is determined at the start.
    pub default: &'static str,
    /// Allowed values.
    pub values: Values,
    /// Meaning, as `--help` shows it.
    pub help: &'static str,
    /// Redis's names, under which CONFIG shows it.
    pub config: &'static [(&'static str, Shown)],
}

/// Flag of a setting, with the name of the setting.
#[derive(Debug)]
pub struct Flag {
    /// Name of the value in `--help`.
    pub value_name: &'static str,
    /// Earlier name of the flag, which is still accepted.
    pub alias: Option<&'static str>,
    /// Environment variable: `PYKV_` and the name of the setting in capitals, with `_` for `-`.
    pub variable: &'static str,
}

/// Allowed values of a setting.
#[derive(Debug)]
pub enum Values {
    /// Whole numbers, both limits included.
    Number(RangeInclusive<i64>),
    /// Values that this parser accepts.
    Parsed(fn() -> ValueParser),
    /// `yes` or `no`; the flag alone means `yes`.
    Switch,
    /// One or more of them: the flag may be given several times, commas separate them, and the file may have an array.
    List(fn() -> ValueParser),
    /// Only the default.
    Constant,
}

/// Source of the value that CONFIG GET shows.
#[derive(Debug)]
pub enum Shown {
    /// The default.
    Default,
    /// A value that is fixed while the server runs.
    Fixed(fn(&Setup) -> String),
    /// A value that is fixed, and means so little to a client that it may set any: pairs of numbers, which are ignored.
    Ignored(fn(&Setup) -> String),
    /// A number that can be set while the server runs.
    Settable(fn(&Setup) -> &AtomicI64),
    /// A value that can be set while the server runs, as a number that stands for it.
    Written {
        /// Returns the value as text.
        text: fn(&Setup) -> String,
        /// Parses a text; the error is a reason.
        parse: fn(&Setup, &str) -> Result<u64, String>,
        /// Sets what was parsed.
        store: fn(&Setup, u64),
    },
}

/// The setting that names the configuration file.
const CONFIG_FILE: &str = "config";

/// Every setting; those with a flag are in the order of `--help`.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: CONFIG_FILE,
        flag: Some(Flag {
            value_name: "FILE",
            alias: None,
            variable: "PYKV_CONFIG",
        }),
        default: "",
        values: Values::Parsed(|| value_parser!(PathBuf)),
        help: "File with settings under the names of these flags, in TOML: data = \"/var/lib/pykv\". Flags and variables take \
               precedence; `pykv-server config` prints what is in force",
        config: &[],
    },
    Setting {
        name: "listen",
        flag: Some(Flag {
            value_name: "ADDRESS",
            alias: None,
            variable: "PYKV_LISTEN",
        }),
        default: "127.0.0.1:7878",
        values: Values::List(|| value_parser!(TextEndpoint).into()),
        help: "Addresses of the text protocol and RESP: HOST:PORT, where port 0 takes a free port, or tls://HOST:PORT, \
               redis://HOST:PORT (lines are Redis's inline commands), rediss://HOST:PORT (the same over TLS), unix:PATH. Give it \
               several times, or separate them by commas",
        config: &[
            ("bind", Shown::Fixed(|setup| setup.text.ips())),
            (
                "port",
                Shown::Fixed(|setup| setup.text.port(false).to_string()),
            ),
            (
                "tls-port",
                Shown::Fixed(|setup| setup.text.port(true).to_string()),
            ),
            ("unixsocket", Shown::Fixed(|setup| setup.text.unix_path())),
        ],
    },
    Setting {
        name: "http",
        flag: Some(Flag {
            value_name: "ADDRESS|off",
            alias: None,
            variable: "PYKV_HTTP",
        }),
        default: "127.0.0.1:8000",
        values: Values::List(|| value_parser!(HttpEndpoint).into()),
        help: "Addresses of HTTP, in the same way: HOST:PORT, https://HOST:PORT, unix:PATH; or `off`",
        config: &[],
    },
    Setting {
        name: "allowed-hosts",
        flag: Some(Flag {
            value_name: "NAMES",
            alias: Some("http-host"),
            variable: "PYKV_ALLOWED_HOSTS",
        }),
        default: "localhost",
        values: Values::Parsed(|| value_parser!(HostNames).into()),
        help: "Names under which HTTP clients reach the server, separated by commas, such as that of its container; addresses, \
               localhost and the host of --http need not be named. Requests under other names are refused, as a web page could \
               send them through a visitor's browser (DNS rebinding)",
        config: &[],
    },
    Setting {
        name: "password-file",
        flag: Some(Flag {
            value_name: "FILE",
            alias: None,
            variable: "PYKV_PASSWORD_FILE",
        }),
        default: "",
        values: Values::Parsed(|| value_parser!(PathBuf)),
        help: "File whose first line is the password of the user `default`: clients have to sign in with it. The variable \
               PYKV_PASSWORD has the password itself. Other users stand in users.json in the data folder",
        config: &[],
    },
    Setting {
        name: "allow-anonymous",
        flag: Some(Flag {
            value_name: "yes|no",
            alias: None,
            variable: "PYKV_ALLOW_ANONYMOUS",
        }),
        default: "no",
        values: Values::Switch,
        help: "Whether clients of addresses off this machine need not sign in, if the user `default` has no password. Without it \
               and without any password, such an address is refused at the start",
        config: &[],
    },
    Setting {
        name: "tls-cert",
        flag: Some(Flag {
            value_name: "FILE",
            alias: None,
            variable: "PYKV_TLS_CERT",
        }),
        default: "",
        values: Values::Parsed(|| value_parser!(PathBuf)),
        help: "Certificate of the server in PEM, with those up to its authority, for tls://, rediss:// and https:// addresses. It is \
               read again when it changes, and on SIGHUP",
        config: &[(
            "tls-cert-file",
            Shown::Fixed(|setup| setup.config.shown_path("tls-cert")),
        )],
    },
    Setting {
        name: "tls-key",
        flag: Some(Flag {
            value_name: "FILE",
            alias: None,
            variable: "PYKV_TLS_KEY",
        }),
        default: "",
        values: Values::Parsed(|| value_parser!(PathBuf)),
        help: "Private key of the certificate in PEM",
        config: &[(
            "tls-key-file",
            Shown::Fixed(|setup| setup.config.shown_path("tls-key")),
        )],
    },
    Setting {
        name: "tls-client-ca",
        flag: Some(Flag {
            value_name: "FILE",
            alias: None,
            variable: "PYKV_TLS_CLIENT_CA",
        }),
        default: "",
        values: Values::Parsed(|| value_parser!(PathBuf)),
        help: "Authorities in PEM: clients of TLS must then have a certificate of one of them",
        config: &[(
            "tls-ca-cert-file",
            Shown::Fixed(|setup| setup.config.shown_path("tls-client-ca")),
        )],
    },
    Setting {
        name: "data",
        flag: Some(Flag {
            value_name: "FOLDER",
            alias: None,
            variable: "PYKV_DATA",
        }),
        default: "data",
        values: Values::Parsed(|| value_parser!(PathBuf)),
        help: "Data folder; it is created if it does not exist",
        config: &[(
            "dir",
            Shown::Fixed(|setup| setup.config.get::<PathBuf>("data").display().to_string()),
        )],
    },
    Setting {
        name: "durability",
        flag: Some(Flag {
            value_name: "LEVEL",
            alias: None,
            variable: "PYKV_DURABILITY",
        }),
        default: "everysec",
        values: Values::Parsed(|| value_parser!(DurabilityLevel).into()),
        help: "What is promised of a change when its client reads OK: everysec, it survives a killed server, and all but the \
               last second survives a power cut; always, it survives both; off, neither, until the next save; with --etcd: replicated, it \
               survives this machine; with --engine: replicated, it survives a primary that fails; fast, it may not",
        config: &[
            (
                "appendfsync",
                Shown::Fixed(|setup| {
                    let policy = match setup.config.durability() {
                        Durability::EverySecond | Durability::Replicated => "everysec",
                        Durability::Always => "always",
                        Durability::Off => "no",
                    };
                    policy.to_owned()
                }),
            ),
            (
                "appendonly",
                Shown::Fixed(|setup| {
                    let is_off = setup.config.durability() == Durability::Off;
                    if is_off { "no" } else { "yes" }.to_owned()
                }),
            ),
        ],
    },
    Setting {
        name: "engine",
        flag: Some(Flag {
            value_name: "URL",
            alias: None,
            variable: "PYKV_ENGINE",
        }),
        default: "",
        values: Values::Parsed(|| urls_of(REDIS)),
        help: "Redis or Valkey Cluster that holds the data in place of this process: redis://HOST:PORT,HOST:PORT,... names some of \
               its nodes, which tell of the others; rediss:// for TLS, redis://USER:PASSWORD@HOST:PORT to sign in. Redis 7.0 or \
               newer, Valkey 7.2 or newer. The data folder then holds users.json alone",
        config: &[],
    },
    Setting {
        name: "engine-timeout",
        flag: Some(Flag {
            value_name: "SECONDS",
            alias: None,
            variable: "PYKV_ENGINE_TIMEOUT",
        }),
        default: "20",
        values: Values::Number(1..=600),
        help: "Time that a request waits for a node of --engine to answer, or for another one to take over from one that has failed: \
               1 to 600 seconds. It then fails",
        config: &[],
    },
    Setting {
        name: "wait-replicas",
        flag: Some(Flag {
            value_name: "NUMBER|all",
            alias: None,
            variable: "PYKV_WAIT_REPLICAS",
        }),
        default: "all",
        values: Values::Parsed(|| value_parser!(WaitReplicas).into()),
        help: "Replicas that must have a change under --durability replicated: a number from 1 to 16, or all, which are those that the \
               cluster does not take for failed, and at least one",
        config: &[],
    },
    Setting {
        name: "split-multi-key",
        flag: Some(Flag {
            value_name: "yes|no",
            alias: None,
            variable: "PYKV_SPLIT_MULTI_KEY",
        }),
        default: "no",
        values: Values::Switch,
        help: "Whether MGET, MSET, DEL, UNLINK, EXISTS and TOUCH on keys of several slots of --engine are split into a request for each \
               slot, which are not one: others may see, and a failure may leave, some of the changes. Without it they are refused",
        config: &[],
    },
    Setting {
        name: "replica-of",
        flag: Some(Flag {
            value_name: "URL",
            alias: None,
            variable: "PYKV_REPLICA_OF",
        }),
        default: "",
        values: Values::Parsed(|| urls_of(PYKV)),
        help: "Server that this one is a replica of: pykv://HOST:PORT, or several, of which one is the primary; pykvs:// for TLS, \
               pykv://USER:PASSWORD@HOST:PORT to sign in. It copies all pairs into its data folder, follows the changes, and refuses \
               those of clients until PROMOTE. A change is acknowledged before it is here: some may be missing when the primary dies",
        config: &[],
    },
    Setting {
        name: "max-lag",
        flag: Some(Flag {
            value_name: "SECONDS",
            alias: None,
            variable: "PYKV_MAX_LAG",
        }),
        default: "0",
        values: Values::Number(0..=86_400),
        help: "Lag from which on a replica is not healthy: 0 to 86400 seconds; 0 for never",
        config: &[],
    },
    Setting {
        name: "etcd",
        flag: Some(Flag {
            value_name: "URLS",
            alias: None,
            variable: "PYKV_ETCD",
        }),
        default: "",
        values: Values::Parsed(etcd_urls),
        help: "With --durability replicated: the members of the etcd that keeps the log, http://[USER:PASSWORD@]HOST:PORT or https://, \
               separated by commas",
        config: &[],
    },
    Setting {
        name: "cluster",
        flag: Some(Flag {
            value_name: "NAME",
            alias: None,
            variable: "PYKV_CLUSTER",
        }),
        default: "",
        values: Values::Parsed(cluster_name),
        help: "With --etcd: name of the cluster. All servers with the same one share a log; one of them leads, and another takes over if it \
               fails",
        config: &[],
    },
    Setting {
        name: "lease",
        flag: Some(Flag {
            value_name: "SECONDS",
            alias: None,
            variable: "PYKV_LEASE",
        }),
        default: "2",
        values: Values::Number(2..=60),
        help: "With --etcd: 2 to 60 seconds, after which another server may lead if the leader does not renew its lease",
        config: &[],
    },
    Setting {
        name: "advertise",
        flag: Some(Flag {
            value_name: "HOST:PORT",
            alias: None,
            variable: "PYKV_ADVERTISE",
        }),
        default: "",
        values: Values::Parsed(|| StringValueParser::new().into()),
        help: "With --etcd: address at which the other servers and all clients reach this one; --listen, if that is no wildcard",
        config: &[],
    },
    Setting {
        name: "stale-reads",
        flag: Some(Flag {
            value_name: "yes|no",
            alias: None,
            variable: "PYKV_STALE_READS",
        }),
        default: "no",
        values: Values::Switch,
        help: "With --etcd: a server that does not lead answers reads with what it has, which may be old",
        config: &[],
    },
    Setting {
        name: "linearizable-reads",
        flag: Some(Flag {
            value_name: "yes|no",
            alias: None,
            variable: "PYKV_LINEARIZABLE_READS",
        }),
        default: "no",
        values: Values::Switch,
        help: "With --etcd: the leader asks etcd before it answers reads, all that wait at one time at once, in place of relying on the rate \
               of clocks",
        config: &[],
    },
    Setting {
        name: "etcd-cert",
        flag: Some(Flag {
            value_name: "FILE",
            alias: None,
            variable: "PYKV_ETCD_CERT",
        }),
        default: "",
        values: Values::Parsed(|| value_parser!(PathBuf)),
        help: "With --etcd https://: file of the certificate that this server shows to etcd, in PEM",
        config: &[],
    },
    Setting {
        name: "etcd-key",
        flag: Some(Flag {
            value_name: "FILE",
            alias: None,
            variable: "PYKV_ETCD_KEY",
        }),
        default: "",
        values: Values::Parsed(|| value_parser!(PathBuf)),
        help: "File of the key of --etcd-cert, in PEM",
        config: &[],
    },
    Setting {
        name: "save-interval",
        flag: Some(Flag {
            value_name: "SECONDS",
            alias: None,
            variable: "PYKV_SAVE_INTERVAL",
        }),
        default: "60",
        values: Values::Number(1..=86_400),
        help: "Longest time that a change waits until store.json is written with it: 1 to 86400 seconds",
        config: &[(
            "save",
            Shown::Ignored(|setup| format!("{} 1", setup.config.get::<i64>("save-interval"))),
        )],
    },
    Setting {
        name: "client-memory",
        flag: Some(Flag {
            value_name: "SIZE",
            alias: None,
            variable: "PYKV_CLIENT_MEMORY",
        }),
        default: "25%",
        values: Values::Parsed(|| value_parser!(ByteCount).into()),
        help: "Most memory held for all clients together, beside the data: requests that have not arrived whole, replies that are \
               not read, queues, messages. Past it, the clients that hold most are disconnected. Bytes, or with kb, mb or gb, or a \
               percentage of the machine's memory or of the container's limit; at least 8mb",
        config: &[(
            "maxmemory-clients",
            Shown::Fixed(|setup| setup.config.get::<ByteCount>("client-memory").0.to_string()),
        )],
    },
    Setting {
        name: "max-memory",
        flag: Some(Flag {
            value_name: "SIZE|off",
            alias: None,
            variable: "PYKV_MAX_MEMORY",
        }),
        default: "off",
        values: Values::Parsed(|| value_parser!(MaxMemory).into()),
        help: "Cap on the memory of the data: pairs, tables and indexes. Bytes, or with kb, mb or gb, or a percentage of the machine's \
               memory or of the container's limit; off is none. Where there is no room, --eviction says what happens",
        config: &[(
            "maxmemory",
            Shown::Written {
                text: |setup| setup.memory_cap.bytes().to_string(),
                parse: |_, text| text.parse().map(|MaxMemory(bytes)| bytes),
                store: |setup, bytes| setup.memory_cap.set_bytes(bytes),
            },
        )],
    },
    Setting {
        name: "eviction",
        flag: Some(Flag {
            value_name: "POLICY",
            alias: None,
            variable: "PYKV_EVICTION",
        }),
        default: "noeviction",
        values: Values::Parsed(|| value_parser!(Eviction).into()),
        help: "Choice of the pairs that are evicted where --max-memory leaves no room for a new one",
        config: &[(
            "maxmemory-policy",
            Shown::Written {
                text: |setup| setup.memory_cap.eviction().name().to_owned(),
                parse: |_, text| {
                    let policy = Eviction::of_name(text).ok_or_else(|| {
                        let names = Eviction::ALL.map(Eviction::name).join(", ");
                        format!("argument must be one of the following: {names}")
                    });
                    policy.map(|policy| policy as u64)
                },
                store: |setup, policy| {
                    let policy = usize::try_from(policy).unwrap_or(0);
                    setup.memory_cap.set_eviction(Eviction::ALL[policy]);
                },
            },
        )],
    },
    Setting {
        name: "log-format",
        flag: Some(Flag {
            value_name: "FORMAT",
            alias: None,
            variable: "PYKV_LOG_FORMAT",
        }),
        default: "text",
        values: Values::Parsed(|| value_parser!(LogFormat).into()),
        help: "Form of the log on standard error: text, a line for people; json, an object in each line, with timestamp, level \
               and message",
        config: &[],
    },
    Setting {
        name: "script-time",
        flag: Some(Flag {
            value_name: "SECONDS",
            alias: None,
            variable: "PYKV_SCRIPT_TIME",
        }),
        default: "5",
        values: Values::Number(1..=3_600),
        help: "Time from which on a script that still runs keeps the keys that it needs to itself, so that it gets done: 1 to 3600 \
               seconds. Others are answered BUSY for them, until it ends or SCRIPT KILL ends it",
        config: &[
            ("lua-time-limit", SCRIPT_MILLISECONDS),
            ("busy-reply-threshold", SCRIPT_MILLISECONDS),
        ],
    },
    Setting {
        name: "slowlog-log-slower-than",
        flag: None,
        default: "10000",
        values: Values::Number(-1..=1 << 40),
        help: "Execution time in microseconds from which on SLOWLOG keeps a request; -1 keeps none",
        config: &[(
            "slowlog-log-slower-than",
            Shown::Settable(|setup| &setup.slowlog_threshold_us),
        )],
    },
    Setting {
        name: "slowlog-max-len",
        flag: None,
        default: "128",
        values: Values::Number(0..=1 << 40),
        help: "Number of requests that SLOWLOG keeps",
        config: &[(
            "slowlog-max-len",
            Shown::Settable(|setup| &setup.slowlog_len_max),
        )],
    },
    Setting {
        name: "tracking-table-max-keys",
        flag: None,
        default: "1000000",
        values: Values::Number(0..=1 << 40),
        help: "Number of keys whose readers are kept for client-side caching; 0 is no limit",
        config: &[(
            "tracking-table-max-keys",
            Shown::Settable(|setup| &setup.tracked_keys_max),
        )],
    },
    Setting {
        name: "connections",
        flag: None,
        default: "",
        values: Values::Constant,
        help: "Clients that are served at one time; fewer where the system does not allow so many open files",
        config: &[(
            "maxclients",
            Shown::Fixed(|setup| setup.connections_max.to_string()),
        )],
    },
    Setting {
        name: "value-bytes",
        flag: None,
        default: "",
        values: Values::Constant,
        help: "Largest value, in bytes",
        config: &[(
            "proto-max-bulk-len",
            Shown::Fixed(|_| VALUE_BYTES_MAX.to_string()),
        )],
    },
    Setting {
        name: "databases",
        flag: Some(Flag {
            value_name: "NUMBER",
            alias: None,
            variable: "PYKV_DATABASES",
        }),
        default: "16",
        values: Values::Number(1..=256),
        help: "1 to 256 databases that SELECT knows: each but 0 is the keys that begin with its prefix, as in db1:",
        config: &[(
            "databases",
            Shown::Fixed(|setup| setup.databases.to_string()),
        )],
    },
    Setting {
        name: "timeout",
        flag: None,
        default: "0",
        values: Values::Constant,
        help: "Seconds after which an idle client is closed; 0 is never",
        config: &[("timeout", Shown::Default)],
    },
    Setting {
        name: "notify-keyspace-events",
        flag: Some(Flag {
            value_name: "CLASSES",
            alias: None,
            variable: "PYKV_NOTIFY_KEYSPACE_EVENTS",
        }),
        default: "",
        values: Values::Parsed(|| value_parser!(EventClasses).into()),
        help: "Classes of events of keys that are published, in Redis's letters: KEA is all but missing and new keys. Empty, nothing is \
               published",
        config: &[(
            "notify-keyspace-events",
            Shown::Written {
                text: |setup| EventClasses::of_bits(setup.event_classes.load(Relaxed)).to_string(),
                parse: |setup, text| {
                    let classes: EventClasses = text.parse()?;
                    if classes != EventClasses::NONE && setup.config.engine().is_some() {
                        return Err(NO_EVENTS_OF_CLUSTER.to_owned());
                    }
                    Ok(classes.bits().into())
                },
                store: |setup, bits| {
                    let bits = u16::try_from(bits).expect("parsed from letters");
                    setup.event_classes.store(bits, Relaxed);
                },
            },
        )],
    },
    Setting {
        name: "stop-writes-on-bgsave-error",
        flag: None,
        default: "yes",
        values: Values::Constant,
        help: "Whether changes are refused while the disk fails",
        config: &[("stop-writes-on-bgsave-error", Shown::Default)],
    },
];

/// Refusal of events where a cluster has the data.
const NO_EVENTS_OF_CLUSTER: &str =
    "--engine names a cluster, whose nodes publish the events of their keys: subscribe there";

/// The time of scripts, in milliseconds, as Redis shows it.
const SCRIPT_MILLISECONDS: Shown = Shown::Written {
    text: |setup| setup.script_time_ms.load(Relaxed).to_string(),
    parse: |_, text| {
        let refused = |_| "argument couldn't be parsed into an integer".to_owned();
        text.parse::<u64>().map_err(refused)
    },
    store: |setup, milliseconds| setup.script_time_ms.store(milliseconds, Relaxed),
};

/// Returns the parser of an URL of a scheme.
fn urls_of(scheme: UrlScheme) -> ValueParser {
    let parser = StringValueParser::new();
    let parsed = parser.map(move |text| UrlSetting(ServersUrl::parse(&text, scheme)));
    parsed.into()
}

/// Returns the parser of the URLs of etcd.
fn etcd_urls() -> ValueParser {
    let parser = StringValueParser::new();
    let parsed = parser.map(|text| UrlSetting(ServersUrl::parse_etcd(&text)));
    parsed.into()
}

/// Longest name of a cluster in bytes.
const CLUSTER_NAME_BYTES_MAX: usize = 64;

/// Returns the parser of the name of a cluster, which is a part of keys in etcd.
fn cluster_name() -> ValueParser {
    let parser = StringValueParser::new().try_map(|name| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_short = (1..=CLUSTER_NAME_BYTES_MAX).contains(&name.len());
        if is_short && name.bytes().all(is_part) {
            return Ok(name);
        }
        Err(format!(
            "a name has 1 to {CLUSTER_NAME_BYTES_MAX} of the characters a-z, A-Z, 0-9, -, _ and ."
        ))
    });
    parser.into()
}

impl Setting {
    /// Returns true for the URL of other servers.
    fn is_url(&self) -> bool {
        ["engine", "replica-of", "etcd"].contains(&self.name)
    }

    /// Converts the flag for the parser of the command line.
    fn arg(&self, flag: &Flag) -> Arg {
        let arg = Arg::new(self.name)
            .long(self.name)
            .aliases(flag.alias)
            .env(flag.variable)
            // It may have a password.
            .hide_env_values(self.is_url() && std::env::var_os(flag.variable).is_some())
            .value_name(flag.value_name)
            .help(self.help);
        let arg = if self.default.is_empty() {
            arg
        } else {
            arg.default_value(self.default)
        };
        match &self.values {
            Values::Number(limits) => arg.value_parser(value_parser!(i64).range(limits.clone())),
            Values::Parsed(parser) => arg.value_parser(parser()),
            Values::Switch => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("yes")
                .value_parser(BoolishValueParser::new()),
            Values::List(parser) => arg
                .value_parser(parser())
                .action(ArgAction::Append)
                .value_delimiter(','),
            Values::Constant => arg.value_parser([self.default]),
        }
    }
}

impl Shown {
    /// Returns the value that CONFIG GET shows.
    #[must_use]
    pub fn text(&self, setting: &Setting, setup: &Setup) -> String {
        match self {
            Self::Default => setting.default.to_owned(),
            Self::Fixed(get) | Self::Ignored(get) => get(setup),
            Self::Settable(at) => at(setup).load(Relaxed).to_string(),
            Self::Written { text, .. } => text(setup),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  pykv-server                                      serve ./data on 127.0.0.1:7878, HTTP on 127.0.0.1:8000
  pykv-server --data /var/lib/pykv                 keep the data there
  pykv-server --listen 0.0.0.0:7878 --http off     serve the text protocol to other machines, and no HTTP
  pykv-server --listen 127.0.0.1:7878 --listen unix:/run/pykv.sock      serve it at two addresses
  pykv-server --listen tls://0.0.0.0:7879 --tls-cert cert.pem --tls-key key.pem        the same, encrypted
  pykv-server --durability always                  answer OK to a change once it is on the disk
  pykv-server config --config pykv.toml            print the settings in force, and where each comes from
  pykv-server backup --data data copy              copy a data folder, also while its server runs
  pykv-server health                               ask the server on 127.0.0.1:7878 whether it answers
  pykv-server check data                           say what is wrong with a data folder; change nothing
  pykv-server repair data                          mend it, and keep what is removed beside it

Then, in another terminal: pykv-cli, or: nc 127.0.0.1 7878
";

/// Action instead of serving.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
    /// Print the settings in force, as a configuration file, and where each comes from.
    Config,
    /// Copy the data folder, whether a server uses it or not: a data folder with every change that was acknowledged before.
    Backup {
        /// The folder of the copy, which must not exist yet, or be empty.
        #[arg(value_name = "FOLDER")]
        to: PathBuf,
    },
    /// Ask the server with these settings for an answer on its text port. Exit status: 0 it answers, 1 it does not.
    Health {
        /// Seconds in which it has to answer.
        #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = value_parser!(u64).range(1..=3600))]
        timeout: u64,
    },
    /// Print the manual page, in roff: `pykv-server man | man -l -`.
    Man,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Say what is wrong with a data folder, with file and line, and what is lost by it; change nothing. Exit status: 0 it is
    /// sound, 1 it is not.
    Check {
        /// The data folder.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Mend a data folder: what can be read is saved, and every damaged file is kept beside it as *.damaged.
    Repair {
        /// The data folder.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

/// Values of all settings that have a flag.
#[derive(Debug, Clone)]
pub struct Config {
    /// Action instead of serving.
    pub action: Option<Action>,
    matches: ArgMatches,
    /// Names of the settings that the configuration file has.
    in_file: Vec<String>,
}

/// Returns the rows of the table that have a flag, and the flags.
pub fn flags() -> impl Iterator<Item = (&'static Setting, &'static Flag)> {
    SETTINGS
        .iter()
        .filter_map(|setting| Some((setting, setting.flag.as_ref()?)))
}

impl Config {
    /// Describes the command line.
    #[must_use]
    pub fn command() -> Command {
        Self::command_with(&[])
    }

    /// Describes the command line where these values, of a file, take the places of the defaults.
    fn command_with(file: &[(String, Vec<String>)]) -> Command {
        let args = flags().map(|(setting, flag)| {
            let arg = setting.arg(flag);
            let in_file = file.iter().find(|(name, _)| name == setting.name);
            match in_file {
                Some((_, values)) => arg.default_values(values.clone()),
                None => arg,
            }
        });
        let args: Vec<Arg> = args.collect();
        let command = Command::new("pykv-server")
            .version(env!("CARGO_PKG_VERSION"))
            .before_help(EXAMPLES)
            .args_conflicts_with_subcommands(true)
            .subcommand_help_heading("Without a server")
            .disable_help_subcommand(true)
            .args(args.clone());
        // Their own description would take the place of one that stands before them.
        Action::augment_subcommands(command)
            .about("A key-value server for people who want to see their data")
            .subcommand_required(false)
            .arg_required_else_help(false)
            .mut_subcommand("config", |config| config.args(args.clone()))
            .mut_subcommand("backup", |backup| backup.args(args.clone()))
            .mut_subcommand("health", |health| health.args(args))
    }

    /// Parses the command line, the environment of this process and the configuration file. Prints errors and help, and exits then.
    #[must_use]
    pub fn parse() -> Self {
        Self::try_parse_from(std::env::args_os()).unwrap_or_else(|error| {
            let printed = error.print().and_then(|()| io::stdout().flush());
            // Help and version; an error goes to standard error, behind which there is nowhere to report to.
            if !error.use_stderr()
                && let Err(failure) = ignore_closed(printed)
            {
                let text = without_numbers(&error_chain(&failure));
                let _ = writeln!(io::stderr(), "pykv-server: {text}");
                std::process::exit(1);
            }
            std::process::exit(error.exit_code())
        })
    }

    /// Parses a command line, whose first word is the name of the program, the environment, and the configuration file.
    ///
    /// # Errors
    /// A text for the user: for an unknown flag, action or name in the file, a value that is not allowed, a file that cannot be read,
    /// or the help if it is requested.
    pub fn try_parse_from(
        words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let config = Self::parse_with(&words, &[])?;
        let Some(path) = config.file() else {
            return Ok(config);
        };
        let wrong = |reason: String| {
            let path = path.display();
            Self::command().error(
                ErrorKind::ValueValidation,
                format!("configuration file {path}: {reason}"),
            )
        };
        // No file names another one.
        let settings = flags().filter(|(setting, _)| setting.name != CONFIG_FILE);
        let settings = settings.map(|(setting, _)| {
            let is_list = matches!(setting.values, Values::List(_));
            (setting.name, is_list)
        });
        let file = file::read(&path, &settings.collect::<Vec<_>>());
        let file = file.map_err(|error| wrong(error_chain(&error)))?;
        // The command line alone was valid.
        Self::parse_with(&words, &file).map_err(|error| {
            let text = error.to_string();
            let reason = text.strip_prefix("error: ").unwrap_or(&text);
            let reason = reason.split("\n\nFor more").next().unwrap_or(reason);
            wrong(reason.trim_end().to_owned())
        })
    }

    fn parse_with(words: &[OsString], file: &[(String, Vec<String>)]) -> Result<Self, clap::Error> {
        let mut matches = Self::command_with(file).try_get_matches_from(words)?;
        let flags_of_action = match matches.subcommand() {
            Some(("config" | "backup" | "health", matches)) => Some(matches.clone()),
            _ => None,
        };
        let action = match matches.subcommand_name() {
            Some(_) => Some(Action::from_arg_matches_mut(&mut matches)?),
            None => None,
        };
        let config = Self {
            action,
            matches: flags_of_action.unwrap_or(matches),
            in_file: file.iter().map(|(name, _)| name.clone()).collect(),
        };
        let http: Vec<HttpEndpoint> = config.list("http");
        if http.len() > 1 && http.contains(&HttpEndpoint(None)) {
            let reason =
                "invalid value 'off' for '--http <ADDRESS|off>': it stands beside other addresses";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, reason));
        }
        config
            .check_engine()
            .map_err(|reason| Self::command().error(ErrorKind::ArgumentConflict, reason))?;
        Ok(config)
    }

    /// Returns the URL of other servers, if it is given.
    fn url(&self, name: &str) -> Option<ServersUrl> {
        let UrlSetting(url) = self.given(name)?;
        url.ok()
    }

    /// Returns the cluster that has the data, if there is one.
    fn engine(&self) -> Option<ServersUrl> {
        self.url("engine")
    }

    /// Returns how the primary of this replica is accessed, if it is one.
    #[must_use]
    pub fn primary(&self) -> Option<ReplicaOptions> {
        let url = self.url("replica-of")?;
        Some(ReplicaOptions {
            primaries: url.nodes,
            is_encrypted: url.is_encrypted,
            user: url.user,
            password: url.password,
        })
    }

    /// Returns the classes of the events of keys that are published.
    fn event_classes(&self) -> EventClasses {
        let given = self.given("notify-keyspace-events");
        given.unwrap_or(EventClasses::NONE)
    }

    /// Checks that the engine is a cluster, and the promise of durability is one of it.
    ///
    /// # Errors
    /// A sentence for the user.
    fn check_engine(&self) -> Result<(), String> {
        for (name, expected) in [
            ("engine", "redis"),
            ("replica-of", "pykv"),
            ("etcd", "http"),
        ] {
            if let Some(UrlSetting(Err(reason))) = self.given(name) {
                return Err(format!(
                    "the URL of --{name} is wrong: {reason}; {expected}://HOST:PORT,HOST:PORT,... is expected"
                ));
            }
        }
        if self.url("replica-of").is_some() {
            if self.engine().is_some() {
                return Err(
                    "--replica-of and --engine are given: a cluster has replicas of its own"
                        .to_owned(),
                );
            }
            if self.durability() == Durability::Off {
                return Err(
                    "--replica-of needs a journal, by which it goes on after a break: --durability everysec or always".to_owned(),
                );
            }
            if self.get::<MaxMemory>("max-memory") != MaxMemory(0) {
                return Err(
                    "--replica-of and --max-memory are given: a replica holds what its primary does; give a cap to that".to_owned(),
                );
            }
        }
        if self.event_classes() != EventClasses::NONE && self.engine().is_some() {
            return Err(format!(
                "--notify-keyspace-events and {NO_EVENTS_OF_CLUSTER}"
            ));
        }
        self.check_etcd()?;
        let level: DurabilityLevel = self.get("durability");
        let is_local = matches!(level, DurabilityLevel::Local(_));
        // The default is that of the engine.
        let is_given = level != DurabilityLevel::Local(Durability::EverySecond);
        let name = level.name();
        match (self.engine(), is_local) {
            (None, false) if self.url("etcd").is_none() || level == DurabilityLevel::Fast => {
                Err(format!(
                    "--durability {name} is a promise of a cluster, which --engine or --etcd names: here it is everysec, always or off"
                ))
            }
            (Some(_), true) if is_given => Err(format!(
                "--durability {name} is a promise of this machine's disk, and --engine has the data elsewhere: there it is replicated or fast"
            )),
            _ => Ok(()),
        }
    }

    /// Checks that what a member of a cluster needs is given, and nothing that contradicts it.
    ///
    /// # Errors
    /// A sentence for the user.
    fn check_etcd(&self) -> Result<(), String> {
        let is_given = self.url("etcd").is_some();
        let name: Option<String> = self.given("cluster");
        if !is_given {
            return match name {
                Some(_) => Err("--cluster is given without --etcd, which keeps its log".to_owned()),
                None => Ok(()),
            };
        }
        if cfg!(not(feature = "etcd")) {
            return Err(
                "--etcd is given, and this program was built without it: cargo build --release --features etcd".to_owned(),
            );
        }
        let contradicted = match self.get("durability") {
            DurabilityLevel::Replicated => None,
            _ => Some(
                "--etcd keeps a log, and --durability is not replicated: give --durability replicated",
            ),
        };
        let contradicted = contradicted.or_else(|| {
            if name.is_none() {
                return Some("--etcd needs the name of a cluster: give --cluster NAME, the same on all of its servers");
            }
            if self.engine().is_some() {
                return Some("--etcd and --engine are given: what --engine names keeps the data itself");
            }
            if self.primary().is_some() {
                return Some("--etcd and --replica-of are given: a server is a member of a cluster or a replica");
            }
            if self.get::<MaxMemory>("max-memory") != MaxMemory(0) {
                return Some("--etcd and --max-memory are given: the members would evict different pairs");
            }
            None
        });
        contradicted.map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    /// Returns the membership of a cluster, if this server is a member.
    #[must_use]
    pub fn membership(&self) -> Option<Membership> {
        self.url("etcd")?;
        let name: String = self.given("cluster")?;
        Some(Membership::new(
            &name,
            self.lease(),
            self.get("stale-reads"),
        ))
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(self.get::<i64>("lease").unsigned_abs())
    }

    /// Returns how this server is a member of a cluster, if it is one, and what it tells the others of itself.
    ///
    /// # Errors
    /// A sentence for the user, if it is not known at which address the others reach it.
    pub fn member(
        &self,
        text: &[Endpoint<PeerAddress>],
        http: &[Endpoint<PeerAddress>],
    ) -> Result<Option<(MemberOptions, MemberInfo)>, String> {
        let (Some(url), Some(cluster)) = (self.url("etcd"), self.given("cluster")) else {
            return Ok(None);
        };
        let reached = |endpoint: &&Endpoint<PeerAddress>| endpoint.place.port().is_some();
        let own = text.iter().find(reached);
        let port = own.and_then(|endpoint| endpoint.place.port());
        let ip = own.and_then(|endpoint| endpoint.place.ip());
        let address = match (self.given::<String>("advertise"), port, ip) {
            (Some(address), ..) if address.rsplit_once(':').is_some() => address,
            (Some(host), Some(port), _) => format!("{host}:{port}"),
            (None, Some(port), Some(ip)) if !ip.is_unspecified() => {
                SocketAddr::new(ip, port).to_string()
            }
            _ => {
                return Err(
                    "the address at which the other members reach this one is not known: give --advertise HOST:PORT".to_owned(),
                );
            }
        };
        let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host);
        let http = http.iter().find(reached).and_then(|endpoint| {
            let scheme = if endpoint.is_tls { "https" } else { "http" };
            Some(format!("{scheme}://{host}:{}", endpoint.place.port()?))
        });
        let info = MemberInfo {
            is_tls: own.is_some_and(|endpoint| endpoint.is_tls),
            http,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address,
            ..MemberInfo::default()
        };
        let sign_in = url.password.clone();
        let options = MemberOptions {
            endpoints: url.each(),
            sign_in: sign_in.map(|password| (url.user.unwrap_or_default(), password)),
            certificate: self.given("etcd-cert").zip(self.given("etcd-key")),
            cluster,
            lease: self.lease(),
            confirms_reads: self.get("linearizable-reads"),
        };
        Ok(Some((options, info)))
    }

    /// Returns the name of what is promised of a change.
    #[must_use]
    pub fn durability_name(&self) -> &'static str {
        let level: DurabilityLevel = self.get("durability");
        let is_local = matches!(level, DurabilityLevel::Local(_));
        if is_local && self.engine().is_some() {
            return DurabilityLevel::Replicated.name();
        }
        level.name()
    }

    /// Returns what the disk of this machine promises of a change.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match self.get("durability") {
            DurabilityLevel::Local(level) => level,
            DurabilityLevel::Replicated if self.url("etcd").is_some() => Durability::Replicated,
            DurabilityLevel::Replicated | DurabilityLevel::Fast => Durability::Off,
        }
    }

    /// Returns how the cluster that holds the data is accessed, if there is one.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterOptions> {
        let url = self.engine()?;
        let replication = match (self.get("durability"), self.get("wait-replicas")) {
            (DurabilityLevel::Fast, _) => None,
            (_, WaitReplicas::All) => Some(Replication::All),
            (_, WaitReplicas::Number(replicas)) => Some(Replication::AtLeast(replicas)),
        };
        Some(ClusterOptions {
            nodes: url.nodes,
            is_encrypted: url.is_encrypted,
            user: url.user,
            password: url.password,
            timeout: Duration::from_secs(self.get::<i64>("engine-timeout").unsigned_abs()),
            replication,
        })
    }

    /// Returns the value of a setting that has a flag and a default: an `i64` for numbers, else the type of its parser.
    ///
    /// # Panics
    /// If there is no such flag, it has no default, or its values are of another type.
    #[must_use]
    pub fn get<T: Any + Clone + Send + Sync>(&self, name: &str) -> T {
        self.given(name).expect("the flag has a default")
    }

    /// Returns the value of a setting that has a flag; `None` if it has no default and is not given.
    ///
    /// # Panics
    /// If there is no such flag, or its values are of another type.
    fn given<T: Any + Clone + Send + Sync>(&self, name: &str) -> Option<T> {
        self.matches.get_one::<T>(name).cloned()
    }

    /// Returns the values of a setting that is a list.
    ///
    /// # Panics
    /// If there is no such flag, it is no list, or its values are of another type.
    #[must_use]
    pub fn list<T: Any + Clone + Send + Sync>(&self, name: &str) -> Vec<T> {
        let values = self.matches.get_many::<T>(name);
        values.into_iter().flatten().cloned().collect()
    }

    /// Returns the path of the configuration file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.given(CONFIG_FILE)
    }

    /// Returns the settings in force as a configuration file, each with its source.
    #[must_use]
    pub fn in_force(&self) -> String {
        let path = self.file();
        let lines = flags().filter(|(setting, _)| setting.name != CONFIG_FILE);
        let lines = lines.filter_map(|(setting, flag)| {
            let name = setting.name;
            let values = self.matches.get_raw(name)?;
            let mut values = values.map(|value| value.to_string_lossy());
            let source = match self.matches.value_source(name) {
                Some(ValueSource::CommandLine) => format!("flag --{name}"),
                Some(ValueSource::EnvVariable) => format!("variable {}", flag.variable),
                _ if self.in_file.iter().any(|it| it == name) => {
                    let path = path.as_ref().map(|path| path.display().to_string());
                    format!("file {}", path.unwrap_or_default())
                }
                _ => "default".to_owned(),
            };
            let text = match setting.values {
                Values::Number(_) => values.next()?.into_owned(),
                Values::Switch => self.get::<bool>(name).to_string(),
                // Without its password.
                _ if setting.is_url() => file::string(&self.url(name)?.to_string()),
                Values::List(_) if values.len() > 1 => file::array(values),
                _ => file::string(&values.next()?),
            };
            let line = format!("{name} = {text}");
            Some(format!("{line:<40} # {source}\n"))
        });
        lines.collect()
    }

    /// Returns the password of the default user, from the file or the environment, if there is one.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn password(&self) -> Result<Option<String>, PasswordError> {
        password::read(self.given::<PathBuf>("password-file"))
    }

    /// Returns the path of a setting; empty if it is not given.
    fn shown_path(&self, name: &str) -> String {
        let path = self.given::<PathBuf>(name).unwrap_or_default();
        path.display().to_string()
    }

    /// Returns the addresses of `--listen` and those of `--http`.
    #[must_use]
    pub fn endpoints(&self) -> (Vec<Endpoint>, Vec<Endpoint>) {
        let text = self.list("listen").into_iter();
        let http = self.list("http").into_iter();
        (
            text.map(|TextEndpoint(endpoint)| endpoint).collect(),
            http.filter_map(|HttpEndpoint(endpoint)| endpoint).collect(),
        )
    }

    /// Returns the files of TLS, if an address speaks it.
    ///
    /// # Errors
    /// A sentence for the user if a flag is missing, or has no use.
    pub fn tls_files(&self) -> Result<Option<TlsFiles>, String> {
        let (text, http) = self.endpoints();
        let flagged = text.iter().map(|endpoint| ("--listen", endpoint));
        let mut flagged = flagged.chain(http.iter().map(|endpoint| ("--http", endpoint)));
        let encrypted = flagged.find(|(_, endpoint)| endpoint.is_tls);
        let [certificate, key, client_ca] =
            ["tls-cert", "tls-key", "tls-client-ca"].map(|name| self.given(name));
        match (encrypted, certificate, key) {
            (Some(_), Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate,
                key,
                client_ca,
            })),
            (Some((flag, endpoint)), None, _) => Err(format!(
                "{flag} {endpoint} speaks TLS, which needs a certificate: give --tls-cert FILE and --tls-key FILE"
            )),
            (_, Some(_), None) => {
                Err("--tls-cert needs the key of the certificate: give --tls-key FILE".to_owned())
            }
            (None, None, None) if client_ca.is_none() => Ok(None),
            (None, ..) => Err(
                "--tls-cert, --tls-key or --tls-client-ca is given, but no address speaks TLS: give --listen tls://HOST:PORT or \
                 --http https://HOST:PORT"
                    .to_owned(),
            ),
        }
    }

    /// Returns the options of the store.
    #[must_use]
    pub fn store(&self) -> Options {
        Options {
            data: self.get("data"),
            durability: self.durability(),
            save_interval: Duration::from_secs(self.get::<i64>("save-interval").unsigned_abs()),
            sync_interval: SYNC_INTERVAL,
            is_copy: self.primary().is_some() || self.durability() == Durability::Replicated,
            order: None,
        }
    }
}

/// Settings of a running server, and facts determined at its start.
#[derive(Debug)]
pub struct Setup {
    /// Command line, environment and configuration file.
    pub config: Config,
    /// Addresses of the text port.
    pub text: BoundEndpoints,
    /// True if other machines can reach one of its addresses.
    pub is_reachable: bool,
    /// Certificate of the server, if an address speaks TLS.
    pub tls: Option<Arc<Tls>>,
    /// Maximum number of clients of the text port.
    pub connections_max: usize,
    /// Execution time in microseconds from which on a request is slow; negative if none is.
    pub slowlog_threshold_us: AtomicI64,
    /// Maximum number of requests in the slow log.
    pub slowlog_len_max: AtomicI64,
    /// Maximum number of keys whose readers are kept for client-side caching; 0 for no limit.
    pub tracked_keys_max: Arc<AtomicI64>,
    /// Cap on the memory of the data.
    pub memory_cap: Arc<MemoryCap>,
    /// Number of databases.
    pub databases: usize,
    /// Classes of the events of keys that are published.
    pub event_classes: Arc<AtomicU16>,
    /// Time in milliseconds from which on a script keeps its keys to itself.
    pub script_time_ms: AtomicU64,
    /// Values of parameters without effect that have been set.
    pub without_effect: Mutex<BTreeMap<&'static str, String>>,
    /// Token whose cancellation stops the server.
    pub shutdown: CancellationToken,
}

impl Setup {
    /// Makes the settings of a server that is being started; those that can be set later have their defaults.
    #[must_use]
    pub fn new(
        config: Config,
        text: BoundEndpoints,
        is_reachable: bool,
        tls: Option<Arc<Tls>>,
        connections_max: usize,
        shutdown: CancellationToken,
    ) -> Self {
        let number = |name| {
            let setting = SETTINGS.iter().find(|setting| setting.name == name);
            let default = setting.and_then(|setting| setting.default.parse().ok());
            AtomicI64::new(default.expect("a test reads the default of every number"))
        };
        let MaxMemory(cap_bytes) = config.get("max-memory");
        let ByteCount(clients_bytes) = config.get("client-memory");
        let eviction = config.get("eviction");
        let script_seconds: i64 = config.get("script-time");
        let databases: i64 = config.get("databases");
        let classes = config.event_classes();
        let program_bytes = resident_bytes().unwrap_or(0);
        let memory_cap = MemoryCap::new(cap_bytes, eviction, clients_bytes as u64, program_bytes);
        Self {
            memory_cap: Arc::new(memory_cap),
            config,
            text,
            is_reachable,
            tls,
            connections_max,
            slowlog_threshold_us: number("slowlog-log-slower-than"),
            slowlog_len_max: number("slowlog-max-len"),
            tracked_keys_max: Arc::new(number("tracking-table-max-keys")),
            databases: usize::try_from(databases).expect("its range is above 0"),
            event_classes: Arc::new(AtomicU16::new(classes.bits())),
            script_time_ms: AtomicU64::new(1000 * script_seconds.unsigned_abs()),
            without_effect: Mutex::default(),
            shutdown,
        }
    }
}
