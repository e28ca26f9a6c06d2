//! `diff`: the differences between two servers, or a server and a file.
//!
//! In: two sources of pairs. Out: a line for each key that differs: `-` only in the first, `+` only in the second, `~` another value or
//! expiry. Promises: exit status 0 if they are the same, 1 if not; the pairs of a file are kept in memory, those of a server are not.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use pykv::codec::pair_file::{self, Declared, Duplicates, FileFormat, ReadError};

use super::export::report_left_out;
use super::pair::{Pair, is_url};
use super::store::{BATCH_BYTES, BATCH_KEYS, Store};
use crate::address::Address;
use crate::error::{ClientError, Outcome};
use crate::interrupt::is_interrupted;
use crate::render::plain_text;
use crate::style::{Kind, paint};
use crate::terminal::{tell, visible};
use crate::units::grouped;

/// Expiries closer than this are the same: some servers report only the time left.
const EXPIRY_SLACK_MS: u64 = 2_000;

/// The arguments of `diff`.
#[derive(Debug, clap::Args)]
pub struct Diff {
    /// File, or URL of a server, redis://... or pykv://...
    #[arg(value_name = "FILE|URL")]
    first: String,

    /// Another file or URL [default: this server]
    #[arg(value_name = "FILE|URL")]
    second: Option<String>,

    /// Compare only keys with this prefix
    #[arg(long, default_value = "")]
    prefix: String,

    /// Do not compare the expiry of pairs
    #[arg(long)]
    ignore_ttl: bool,
}

/// One side of the comparison.
enum Side {
    Server(Store),
    File(HashMap<String, Pair>),
}

struct Comparison<'a> {
    options: &'a Diff,
    out: BufWriter<io::Stdout>,
    same: u64,
    differing: u64,
}

/// Compares two sources, and prints the differences.
///
/// # Errors
/// [`ClientError::Store`] if a server fails or a file is malformed; `File` if a file cannot be read, or the output fails; `Interrupted` after
/// Ctrl-C.
pub fn run(address: &Address, options: &Diff) -> Result<Outcome, ClientError> {
    let mut first = Side::open(&options.first, options)?;
    let mut second = match &options.second {
        Some(name) => Side::open(name, options)?,
        None => Side::Server(Store::of(address)?),
    };
    let mut comparison = Comparison {
        options,
        out: BufWriter::new(io::stdout()),
        same: 0,
        differing: 0,
    };
    first.join(&mut second, &options.prefix, |pair, other| {
        comparison.compare(pair, other)
    })?;
    second.join(&mut first, &options.prefix, |pair, other| match other {
        None => comparison.print('+', &pair.key),
        Some(_) => Ok(()),
    })?;
    comparison.out.flush().map_err(ClientError::output)?;
    let [same, differing] = [comparison.same, comparison.differing].map(grouped);
    tell(&format!("{same} the same, {differing} differ"));
    let mut is_same = comparison.differing == 0;
    for side in [first, second] {
        if let Side::Server(store) = side {
            is_same &= report_left_out(&store) == Outcome::Done;
        }
    }
    Ok(Outcome::done_if(is_same))
}

impl Comparison<'_> {
    fn compare(&mut self, pair: &Pair, other: Option<&Pair>) -> Result<(), ClientError> {
        let Some(other) = other else {
            return self.print('-', &pair.key);
        };
        let is_expiry_same = self.options.ignore_ttl
            || match (pair.expires_at, other.expires_at) {
                (Some(one), Some(other)) => one.abs_diff(other) <= EXPIRY_SLACK_MS,
                (one, other) => one == other,
            };
        if pair.value == other.value && is_expiry_same {
            self.same += 1;
            return Ok(());
        }
        self.print('~', &pair.key)
    }

    fn print(&mut self, mark: char, key: &str) -> Result<(), ClientError> {
        self.differing += 1;
        // One row whatever the key holds.
        let text = plain_text(key);
        let key = paint(&visible(&text, &[]), Kind::Key);
        writeln!(self.out, "{mark} {key}").map_err(ClientError::output)
    }
}

/// Takes some pairs of a side.
type Take<'a> = dyn FnMut(&[Pair]) -> Result<(), ClientError> + 'a;

impl Side {
    fn open(name: &str, options: &Diff) -> Result<Self, ClientError> {
        if is_url(name) {
            return Ok(Self::Server(Store::open(name)?));
        }
        let file = File::open(name).map_err(ClientError::file("read", name))?;
        let declared = Declared {
            format: None,
            by_name: FileFormat::of_name(name),
        };
        let (mut pairs, mut duplicates) = (HashMap::new(), Duplicates::default());
        let read = pair_file::read(file, declared, |pair| {
            let key = pair.key.as_bytes();
            if key.starts_with(options.prefix.as_bytes()) {
                duplicates.note(key, pair.line);
                let pair = Pair::from(pair);
                pairs.insert(pair.key.clone(), pair);
            }
            if is_interrupted() {
                return Err(ClientError::Interrupted);
            }
            Ok(())
        });
        read.map_err(|error| match error {
            ReadError::Fault(fault) => ClientError::Store {
                name: name.to_owned(),
                reason: fault.to_string(),
            },
            ReadError::Source(error) => ClientError::file("read", name)(error),
            ReadError::Refused(error) => error,
        })?;
        if duplicates.found().is_some() {
            tell(&format!("{name}: {duplicates}"));
        }
        Ok(Self::File(pairs))
    }

    /// Calls `take` for each pair of this side, with the pair of the same key of the other side.
    fn join(
        &mut self,
        other: &mut Self,
        prefix: &str,
        mut take: impl FnMut(&Pair, Option<&Pair>) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        self.walk(prefix, &mut |pairs| {
            let keys: Vec<String> = pairs.iter().map(|pair| pair.key.clone()).collect();
            let mut others = pairs.iter().zip(other.get(&keys)?);
            others.try_for_each(|(pair, other)| take(pair, other.as_ref()))
        })
    }

    fn walk(&mut self, prefix: &str, take: &mut Take<'_>) -> Result<(), ClientError> {
        match self {
            Self::File(pairs) => {
                let mut sorted: Vec<Pair> = pairs.values().cloned().collect();
                sorted.sort_by(|one, other| one.key.cmp(&other.key));
                sorted.chunks(BATCH_KEYS).try_for_each(take)
            }
            Self::Server(store) => {
                let (mut pairs, mut bytes) = (Vec::new(), 0);
                store.walk(prefix, |store, keys| {
                    store.read(keys, &mut |pair: Pair| {
                        bytes += pair.bytes();
                        pairs.push(pair);
                        if bytes < BATCH_BYTES {
                            return Ok(());
                        }
                        bytes = 0;
                        take(&std::mem::take(&mut pairs))
                    })?;
                    take(&std::mem::take(&mut pairs))
                })
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
