//! `diff`: what is not the same on two servers, or on a server and in a file.
//!
//! In: two sources of pairs. Out: a line for each key that differs: `-` only in the first, `+` only in the second, `~` another value or
//! expiry. Promises: exit status 0 if they are the same, 1 if not; of a file the keys are kept in memory, of servers some at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::export::left_out;
use super::format::{self, Broken, Format};
use super::store::{BATCH_BYTES, BATCH_KEYS, Store};
use super::{Pair, is_url};
use crate::connection::{Address, is_interrupted};
use crate::error::ClientError;
use crate::render::{Outcome, tell, visible};
use crate::style::{Kind, paint};
use crate::table::grouped;

/// Times of expiry that are closer than this are the same: some servers tell only what is left.
const EXPIRY_SLACK_MS: u64 = 2_000;

/// What is compared.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// A server (redis://..., pykv://...) or a file
    #[arg(value_name = "FILE|URL")]
    pub first: String,

    /// Another; this server, if it is left out
    #[arg(value_name = "FILE|URL")]
    pub second: Option<String>,

    /// Only keys that begin with this
    #[arg(long, default_value = "")]
    pub prefix: String,

    /// Do not compare when pairs expire
    #[arg(long)]
    pub ignore_ttl: bool,
}

/// Where pairs are looked up.
enum Source {
    Server(Store),
    File(HashMap<String, Pair>),
}

struct Comparison<'a> {
    asked: &'a Diff,
    out: BufWriter<io::Stdout>,
    same: u64,
    differing: u64,
}

/// Compares.
pub fn run(address: &Address, asked: &Diff) -> Result<Outcome, ClientError> {
    let mut first = Source::open(&asked.first, asked)?;
    let mut second = match &asked.second {
        Some(name) => Source::open(name, asked)?,
        None => Source::Server(Store::of(address)?),
    };
    let mut comparison = Comparison {
        asked,
        out: BufWriter::new(io::stdout()),
        same: 0,
        differing: 0,
    };
    first.walk(&asked.prefix, &mut |pairs| {
        let keys: Vec<String> = pairs.iter().map(|pair| pair.key.clone()).collect();
        let others = second.get(&keys)?;
        for (pair, other) in pairs.iter().zip(others) {
            comparison.compare(pair, other.as_ref())?;
        }
        Ok(())
    })?;
    second.walk(&asked.prefix, &mut |pairs| {
        let keys: Vec<String> = pairs.iter().map(|pair| pair.key.clone()).collect();
        let others = first.get(&keys)?;
        for (pair, other) in pairs.iter().zip(others) {
            if other.is_none() {
                comparison.tell('+', &pair.key)?;
            }
        }
        Ok(())
    })?;
    comparison.out.flush().map_err(ClientError::output)?;
    let (same, differing) = (comparison.same, comparison.differing);
    tell(&format!(
        "{} the same, {} differ",
        grouped(same),
        grouped(differing)
    ));
    let mut outcome = if differing == 0 {
        Outcome::Done
    } else {
        Outcome::Refused
    };
    for source in [first, second] {
        if let Source::Server(store) = source
            && left_out(&store) == Outcome::Refused
        {
            outcome = Outcome::Refused;
        }
    }
    Ok(outcome)
}

impl Comparison<'_> {
    fn compare(&mut self, pair: &Pair, other: Option<&Pair>) -> Result<(), ClientError> {
        let Some(other) = other else {
            return self.tell('-', &pair.key);
        };
        let is_expiry_same = self.asked.ignore_ttl
            || match (pair.expires_at, other.expires_at) {
                (Some(one), Some(other)) => one.abs_diff(other) <= EXPIRY_SLACK_MS,
                (one, other) => one == other,
            };
        if pair.value == other.value && is_expiry_same {
            self.same += 1;
            return Ok(());
        }
        self.tell('~', &pair.key)
    }

    fn tell(&mut self, mark: char, key: &str) -> Result<(), ClientError> {
        self.differing += 1;
        let shown = visible(key, &[]);
        let shown = shown.and_then(|key| writeln!(self.out, "{mark} {}", paint(&key, Kind::Key)));
        shown.map_err(ClientError::output)
    }
}

type Take<'a> = dyn FnMut(&[Pair]) -> Result<(), ClientError> + 'a;

impl Source {
    fn open(name: &str, asked: &Diff) -> Result<Self, ClientError> {
        if is_url(name) {
            return Ok(Self::Server(Store::open(name)?));
        }
        let file = File::open(name).map_err(ClientError::file("read", name))?;
        let mut pairs = HashMap::new();
        let read = format::read(file, Format::of(name), |pair| {
            if pair.key.starts_with(&asked.prefix) {
                pairs.insert(pair.key.clone(), pair);
            }
            true
        });
        match read {
            Err(Broken::File(reason)) => Err(ClientError::Store {
                name: name.to_owned(),
                reason,
            }),
            _ => Ok(Self::File(pairs)),
        }
    }

    fn walk(&mut self, prefix: &str, take: &mut Take<'_>) -> Result<(), ClientError> {
        match self {
            Self::File(pairs) => {
                let mut sorted: Vec<Pair> = pairs.values().cloned().collect();
                sorted.sort_by(|one, other| one.key.cmp(&other.key));
                sorted.chunks(BATCH_KEYS).try_for_each(take)
            }
            Self::Server(store) => {
                let mut cursor = 0;
                loop {
                    let (next, keys) = store.scan(cursor, prefix)?;
                    let (mut pairs, mut bytes) = (Vec::new(), 0);
                    store.read(keys, &mut |pair: Pair| {
                        bytes += pair.bytes();
                        pairs.push(pair);
                        if bytes < BATCH_BYTES {
                            return Ok(());
                        }
                        bytes = 0;
                        take(&std::mem::take(&mut pairs))
                    })?;
                    take(&pairs)?;
                    if is_interrupted() {
                        return Err(ClientError::Interrupted);
                    }
                    if next == 0 {
                        return Ok(());
                    }
                    cursor = next;
                }
            }
        }
    }

    fn get(&mut self, keys: &[String]) -> Result<Vec<Option<Pair>>, ClientError> {
        match self {
            Self::File(pairs) => Ok(keys.iter().map(|key| pairs.get(key).cloned()).collect()),
            Self::Server(_) if keys.is_empty() => Ok(Vec::new()),
            Self::Server(store) => store.get(keys),
        }
    }
}
