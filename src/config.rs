//! Every setting of the server: name, default, reason.
//!
//! In: the command line and the environment. Out: a `Config`, or the text that says what is wrong with it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::persistence::{Durability, Options, SYNC_INTERVAL};

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

/// A key-value server for people who want to see their data.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "pykv-server", version, before_help = EXAMPLES, args_conflicts_with_subcommands = true,
          subcommand_help_heading = "Without a server", disable_help_subcommand = true)]
pub struct Config {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub action: Option<Action>,

    /// Where the text protocol is served; port 0 takes a free one.
    #[arg(
        long,
        env = "PYKV_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:7878"
    )]
    pub listen: Address,

    /// Where HTTP is served, or `off`.
    #[arg(
        long,
        env = "PYKV_HTTP",
        value_name = "ADDRESS|off",
        default_value = "127.0.0.1:8000"
    )]
    pub http: HttpAddress,

    /// The data folder; it is made if it is not there.
    #[arg(long, env = "PYKV_DATA", value_name = "FOLDER", default_value = "data")]
    pub data: PathBuf,

    /// What is promised of a change when its client reads OK: everysec, it survives a killed server, and all but the last
    /// second survives a power cut; always, it survives both; off, neither, until the next save.
    #[arg(
        long,
        env = "PYKV_DURABILITY",
        value_name = "LEVEL",
        default_value = "everysec"
    )]
    pub durability: Durability,

    /// How long a change may wait until store.json is written with it: 1 to 86400 seconds.
    #[arg(long, env = "PYKV_SAVE_INTERVAL", value_name = "SECONDS", default_value = "60",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub save_interval: u64,
}

/// What can be done with a data folder that no server uses.
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

impl Config {
    /// How the data folder is to be used.
    #[must_use]
    pub fn store(&self) -> Options {
        Options {
            data: self.data.clone(),
            durability: self.durability,
            save_interval: Duration::from_secs(self.save_interval),
            sync_interval: SYNC_INTERVAL,
        }
    }
}

/// A host and a port, such as `127.0.0.1:7878` or `localhost:0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub String);

impl Address {
    /// The host, without the brackets of an IPv6 address.
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

/// Where HTTP is served, if at all.
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
