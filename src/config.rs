//! Settings of the server: one table, behind the flags, the environment variables, `--help` and CONFIG.
//!
//! In: the command line and the environment. Out: a [`Config`], or an error for the user; and the [`Setup`] of a running server. To
//! add a setting, add its row to [`SETTINGS`], and read it with [`Config::get`] where it is used.

use std::any::Any;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgMatches, Command, FromArgMatches as _, Subcommand as _, value_parser};
use tokio_util::sync::CancellationToken;

use crate::model::VALUE_BYTES_MAX;
use crate::persistence::{Durability, Options, SYNC_INTERVAL};

/// Specification of a setting.
#[derive(Debug)]
pub struct Setting {
    /// Name, unique in the table.
    pub name: &'static str,
    /// The flag `--name`; `None` for a setting that the command line does not set.
    pub flag: Option<Flag>,
    /// Default; empty if the value is determined at the start.
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
    /// A number that can be set while the server runs.
    Settable(fn(&Setup) -> &AtomicI64),
}

/// Every setting; those with a flag are in the order of `--help`.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        flag: Some(Flag {
            value_name: "ADDRESS",
            variable: "PYKV_LISTEN",
        }),
        default: "127.0.0.1:7878",
        values: Values::Parsed(|| value_parser!(Address).into()),
        help: "Address of the text protocol; port 0 takes a free port",
        config: &[
            ("bind", Shown::Fixed(|setup| setup.address.ip().to_string())),
            (
                "port",
                Shown::Fixed(|setup| setup.address.port().to_string()),
            ),
        ],
    },
    Setting {
        name: "http",
        flag: Some(Flag {
            value_name: "ADDRESS|off",
            variable: "PYKV_HTTP",
        }),
        default: "127.0.0.1:8000",
        values: Values::Parsed(|| value_parser!(HttpAddress).into()),
        help: "Address of HTTP, or `off`",
        config: &[],
    },
    Setting {
        name: "http-host",
        flag: Some(Flag {
            value_name: "NAMES",
            variable: "PYKV_HTTP_HOST",
        }),
        default: "localhost",
        values: Values::Parsed(|| value_parser!(HostNames).into()),
        help: "Names under which HTTP clients reach the server, separated by commas, such as that of its container; addresses, \
               localhost and the host of --http need not be named. Requests under other names are refused, as a web page could \
               send them through a visitor's browser (DNS rebinding)",
        config: &[],
    },
    Setting {
        name: "data",
        flag: Some(Flag {
            value_name: "FOLDER",
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
            variable: "PYKV_DURABILITY",
        }),
        default: "everysec",
        values: Values::Parsed(|| value_parser!(Durability).into()),
        help: "What is promised of a change when its client reads OK: everysec, it survives a killed server, and all but the \
               last second survives a power cut; always, it survives both; off, neither, until the next save",
        config: &[
            (
                "appendfsync",
                Shown::Fixed(|setup| {
                    let policy = match setup.config.get("durability") {
                        Durability::EverySecond => "everysec",
                        Durability::Always => "always",
                        Durability::Off => "no",
                    };
                    policy.to_owned()
                }),
            ),
            (
                "appendonly",
                Shown::Fixed(|setup| {
                    let is_off = setup.config.get::<Durability>("durability") == Durability::Off;
                    if is_off { "no" } else { "yes" }.to_owned()
                }),
            ),
        ],
    },
    Setting {
        name: "save-interval",
        flag: Some(Flag {
            value_name: "SECONDS",
            variable: "PYKV_SAVE_INTERVAL",
        }),
        default: "60",
        values: Values::Number(1..=86_400),
        help: "Longest time that a change waits until store.json is written with it: 1 to 86400 seconds",
        config: &[(
            "save",
            Shown::Fixed(|setup| format!("{} 1", setup.config.get::<i64>("save-interval"))),
        )],
    },
    Setting {
        name: "client-memory",
        flag: Some(Flag {
            value_name: "SIZE",
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
        flag: None,
        default: "1",
        values: Values::Constant,
        help: "Number of databases",
        config: &[("databases", Shown::Default)],
    },
    Setting {
        name: "maxmemory",
        flag: None,
        default: "0",
        values: Values::Constant,
        help: "Memory limit in bytes; 0 is none",
        config: &[("maxmemory", Shown::Default)],
    },
    Setting {
        name: "maxmemory-policy",
        flag: None,
        default: "noeviction",
        values: Values::Constant,
        help: "Choice of the keys that a memory limit evicts",
        config: &[("maxmemory-policy", Shown::Default)],
    },
    Setting {
        name: "timeout",
        flag: None,
        default: "0",
        values: Values::Constant,
        help: "Seconds after which an idle client is closed; 0 is never",
        config: &[("timeout", Shown::Default)],
    },
];

impl Setting {
    /// Converts the flag for the parser of the command line.
    fn arg(&self, flag: &Flag) -> Arg {
        let arg = Arg::new(self.name)
            .long(self.name)
            .env(flag.variable)
            .value_name(flag.value_name)
            .default_value(self.default)
            .help(self.help);
        match &self.values {
            Values::Number(limits) => arg.value_parser(value_parser!(i64).range(limits.clone())),
            Values::Parsed(parser) => arg.value_parser(parser()),
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
            Self::Fixed(get) => get(setup),
            Self::Settable(at) => at(setup).load(Relaxed).to_string(),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  pykv-server                                      serve ./data on 127.0.0.1:7878, HTTP on 127.0.0.1:8000
  pykv-server --data /var/lib/pykv                 keep the data there
  pykv-server --listen 0.0.0.0:7878 --http off     serve the text protocol to other machines, and no HTTP
  pykv-server --durability always                  answer OK to a change once it is on the disk
  pykv-server check data                           say what is wrong with a data folder; change nothing
  pykv-server repair data                          mend it, and keep what is removed beside it

Then, in another terminal: pykv-cli, or: nc 127.0.0.1 7878
";

/// Action on a data folder that no server uses.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Action {
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

/// Values of all settings that have a flag, from the command line and the environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// Action instead of serving.
    pub action: Option<Action>,
    matches: ArgMatches,
}

impl Config {
    /// Describes the command line.
    #[must_use]
    pub fn command() -> Command {
        let flags = SETTINGS
            .iter()
            .filter_map(|setting| Some(setting.arg(setting.flag.as_ref()?)));
        let command = Command::new("pykv-server")
            .version(env!("CARGO_PKG_VERSION"))
            .before_help(EXAMPLES)
            .args_conflicts_with_subcommands(true)
            .subcommand_help_heading("Without a server")
            .disable_help_subcommand(true)
            .args(flags);
        // Their own description would take the place of one that stands before them.
        Action::augment_subcommands(command)
            .about("A key-value server for people who want to see their data")
            .subcommand_required(false)
            .arg_required_else_help(false)
    }

    /// Parses the command line and the environment of this process. Prints errors and help, and exits then.
    #[must_use]
    pub fn parse() -> Self {
        Self::try_parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Parses a command line, whose first word is the name of the program, and the environment.
    ///
    /// # Errors
    /// A text for the user: for an unknown flag or action, a value that is not allowed, or the help if it is requested.
    pub fn try_parse_from(
        words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut matches = Self::command().try_get_matches_from(words)?;
        let action = match matches.subcommand_name() {
            Some(_) => Some(Action::from_arg_matches_mut(&mut matches)?),
            None => None,
        };
        Ok(Self { action, matches })
    }

    /// Returns the value of a setting that has a flag: an `i64` for numbers, else the type of its parser.
    ///
    /// # Panics
    /// If there is no such flag, or its values are of another type.
    #[must_use]
    pub fn get<T: Any + Clone + Send + Sync>(&self, name: &str) -> T {
        let value = self.matches.get_one::<T>(name);
        value.expect("every flag has a default").clone()
    }

    /// Returns the options of the store.
    #[must_use]
    pub fn store(&self) -> Options {
        Options {
            data: self.get("data"),
            durability: self.get("durability"),
            save_interval: Duration::from_secs(self.get::<i64>("save-interval").unsigned_abs()),
            sync_interval: SYNC_INTERVAL,
        }
    }
}

/// Settings of a running server, and facts determined at its start.
#[derive(Debug)]
pub struct Setup {
    /// Command line and environment.
    pub config: Config,
    /// Address of the text port, with the port that the system has chosen.
    pub address: SocketAddr,
    /// Maximum number of clients of the text port.
    pub connections_max: usize,
    /// Execution time in microseconds from which on a request is slow; negative if none is.
    pub slowlog_threshold_us: AtomicI64,
    /// Maximum number of requests in the slow log.
    pub slowlog_len_max: AtomicI64,
    /// Token whose cancellation stops the server.
    pub shutdown: CancellationToken,
}

impl Setup {
    /// Makes the settings of a server that is being started; those that can be set later have their defaults.
    #[must_use]
    pub fn new(
        config: Config,
        address: SocketAddr,
        connections_max: usize,
        shutdown: CancellationToken,
    ) -> Self {
        let number = |name| {
            let setting = SETTINGS.iter().find(|setting| setting.name == name);
            let default = setting.and_then(|setting| setting.default.parse().ok());
            AtomicI64::new(default.expect("a test reads the default of every number"))
        };
        Self {
            config,
            address,
            connections_max,
            slowlog_threshold_us: number("slowlog-log-slower-than"),
            slowlog_len_max: number("slowlog-max-len"),
            shutdown,
        }
    }
}

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

/// Files with the memory limit of a container: of version 2 and 1 of Linux's control groups.
const CONTAINER_LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// Returns the memory of the machine in bytes, or the limit of the container if that is lower.
fn memory_bytes() -> usize {
    let machine = nix::sys::sysinfo::sysinfo().map_or(0, |info| info.ram_total());
    let limits = CONTAINER_LIMITS
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    let memory = limits.chain([machine]).min().unwrap_or(0);
    usize::try_from(memory).unwrap_or(usize::MAX)
}

/// A host and a port, such as `127.0.0.1:7878` or `localhost:0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub String);

impl Address {
    /// Returns the host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0
            .rsplit_once(':')
            .map_or("", |(host, _)| host.trim_matches(['[', ']']))
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_host_and_port = text.parse::<SocketAddr>().is_ok()
            || text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains([':', '/']) && port.parse::<u16>().is_ok()
            });
        if is_host_and_port {
            Ok(Self(text.to_owned()))
        } else {
            Err("it is no host and port, such as 127.0.0.1:7878".to_owned())
        }
    }
}

/// Address of HTTP; `None` for `off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress(pub Option<Address>);

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|address| Self(Some(address)))
            .map_err(|error: String| format!("{error}, nor `off`"))
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

impl clap::ValueEnum for Durability {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Self::EverySecond => {
                "It has been handed to the operating system: if the server is killed, nothing is lost; if the machine loses \
                 power, at most the last second is. A reader may see a value that such a power cut then takes back. What was \
                 written is synced every half second by a thread that nobody waits for; where the disk needs more than the \
                 other half, STATS and `/health` say by how much. It costs one write for all who are ready at the same time"
            }
            Self::Always => {
                "It is on the disk: nothing is lost, whatever goes down. It costs the time of a sync, which all share who wait \
                 at the same time; a read waits only if it has seen a change that is not on the disk yet"
            }
            Self::Off => {
                "It is in memory: whatever goes down, all changes since the last save are lost. It costs nothing"
            }
        };
        Some(clap::builder::PossibleValue::new(self.name()).help(help))
    }
}
