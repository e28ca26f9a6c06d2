//! The table: what a row is, all rows, and the way from a verb to its row.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use super::call::{Answer, Arguments, Call};
use super::data::{expiry, follow, keys, numbers, page, pubsub, scan, strings, transaction};
use super::server::{admin, client, command_docs, config, info, slowlog, stats};
use crate::protocol::Dialect;

/// What a command does with the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It changes nothing.
    Read,
    /// It changes pairs; it is refused while the disk takes no changes.
    Write,
    /// It has nothing to do with it, and is done before the data is loaded, too.
    Free,
}

/// Which of its arguments are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// None.
    None,
    /// The first.
    First,
    /// The second, after the name of a subcommand.
    Second,
    /// The first two.
    FirstTwo,
    /// All.
    All,
    /// Every other, from the first on; a value follows each.
    Pairs,
    /// It may look at any key there is.
    Keyspace,
}

impl Keys {
    /// How far a key is from the next one.
    pub(super) fn step(self) -> usize {
        if self == Self::Pairs { 2 } else { 1 }
    }

    /// Those of these arguments that are keys.
    pub fn of<W: AsRef<[u8]>>(self, arguments: &[W]) -> impl Iterator<Item = &[u8]> {
        let (first, end) = match self {
            Self::None | Self::Keyspace => (0, 0),
            Self::First => (0, 1),
            Self::Second => (1, 2),
            Self::FirstTwo => (0, 2),
            Self::All | Self::Pairs => (0, arguments.len()),
        };
        let keys = arguments.iter().skip(first).take(end - first);
        keys.step_by(self.step()).map(AsRef::as_ref)
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Command {
    /// The verb.
    pub name: &'static str,
    /// Its arguments, as people are shown them; empty if there are none.
    pub usage: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// A line that asks for it, as protocol.md shows it with its answer.
    pub example: &'static str,
    /// How many arguments it takes; checked once, in `execute`, so that no handler needs to.
    pub arity: RangeInclusive<usize>,
    /// The place of the argument that takes the rest of a line, if there is one.
    pub rest_at: Option<usize>,
    /// What it does with the data.
    pub access: Access,
    /// Which of its arguments are keys.
    pub keys: Keys,
    /// With how many arguments it does no more than read its key, or put a value under it: so it can be one of a run.
    pub batchable: Option<usize>,
    /// Whether it can be one of a transaction.
    pub is_transactional: bool,
    /// The dialects that have it: all, but where a word of ours means something else to Redis.
    pub dialects: Dialects,
    pub(super) run: fn(&mut Call<'_, '_>, &Arguments<'_>) -> Answer,
}

/// Who has a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialects {
    /// Everybody.
    All,
    /// Lines.
    Line,
    /// Redis's.
    Resp,
}

impl Dialects {
    fn has(self, dialect: Dialect) -> bool {
        match self {
            Self::All => true,
            Self::Line => !dialect.is_resp(),
            Self::Resp => dialect.is_resp(),
        }
    }
}

/// As many arguments as a request may have: options, whose number the command looks at itself.
pub(super) const ANY: usize = usize::MAX;

type Run = fn(&mut Call<'_, '_>, &Arguments<'_>) -> Answer;

impl Command {
    const fn new(
        access: Access,
        name: &'static str,
        usage: &'static str,
        arity: RangeInclusive<usize>,
        run: Run,
    ) -> Self {
        Self {
            name,
            usage,
            summary: "",
            example: "",
            arity,
            rest_at: None,
            access,
            keys: Keys::First,
            batchable: None,
            is_transactional: true,
            dialects: Dialects::All,
            run,
        }
    }

    /// A row of a command that changes nothing; its first argument is a key.
    pub(super) const fn read(
        name: &'static str,
        usage: &'static str,
        arity: RangeInclusive<usize>,
        run: Run,
    ) -> Self {
        Self::new(Access::Read, name, usage, arity, run)
    }

    /// A row of a command that changes pairs; its first argument is a key.
    pub(super) const fn write(
        name: &'static str,
        usage: &'static str,
        arity: RangeInclusive<usize>,
        run: Run,
    ) -> Self {
        Self::new(Access::Write, name, usage, arity, run)
    }

    /// A row of a command that has nothing to do with the data.
    pub(super) const fn free(
        name: &'static str,
        usage: &'static str,
        arity: RangeInclusive<usize>,
        run: Run,
    ) -> Self {
        Self::new(Access::Free, name, usage, arity, run).keys(Keys::None)
    }

    /// The row with what it does, in a sentence.
    pub(super) const fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// The row with a line that asks for it.
    pub(super) const fn example(mut self, line: &'static str) -> Self {
        self.example = line;
        self
    }

    /// The row with other arguments as keys.
    pub(super) const fn keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// The row of what does no more, with so many arguments, than read its key or put a value under it.
    pub(super) const fn batchable(mut self, arguments: usize) -> Self {
        self.batchable = Some(arguments);
        self
    }

    /// The row with an argument that takes the rest of a line.
    pub(super) const fn rest_at(mut self, place: usize) -> Self {
        self.rest_at = Some(place);
        self
    }

    /// The row, for some only.
    pub(super) const fn only(mut self, dialects: Dialects) -> Self {
        self.dialects = dialects;
        self
    }

    /// The row of what cannot be one of a transaction.
    pub(super) const fn not_in_multi(mut self) -> Self {
        self.is_transactional = false;
        self
    }

    /// Whether it changes pairs.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.access == Access::Write
    }

    /// Returns true if it is refused until the data has been loaded.
    #[must_use]
    pub fn needs_data(&self) -> bool {
        self.access != Access::Free
    }

    /// Whether it may take long: it is timed then.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.access != Access::Free
            && !matches!(self.keys, Keys::First | Keys::Second | Keys::FirstTwo)
    }

    /// Name and arguments, as HELP shows them.
    #[must_use]
    pub fn synopsis(&self) -> String {
        if self.usage.is_empty() {
            self.name.to_owned()
        } else {
            format!("{} {}", self.name, self.usage)
        }
    }
}

/// The families, in the order of the chapters of protocol.md.
static FAMILIES: &[&[Command]] = &[
    strings::ROWS,
    numbers::ROWS,
    keys::ROWS,
    expiry::ROWS,
    scan::ROWS,
    page::ROWS,
    transaction::ROWS,
    pubsub::ROWS,
    follow::ROWS,
    client::ROWS,
    admin::ROWS,
    stats::ROWS,
    info::ROWS,
    command_docs::ROWS,
    config::ROWS,
    slowlog::ROWS,
];

/// Every command.
pub static COMMANDS: LazyLock<Vec<&'static Command>> =
    LazyLock::new(|| FAMILIES.iter().copied().flatten().collect());

/// The longest verb.
const VERB_BYTES_MAX: usize = 16;

type Places = HashMap<&'static [u8], usize, ahash::RandomState>;

/// The places in the table by verb: of those for lines, and for Redis's dialects.
static PLACES: LazyLock<[Places; 2]> = LazyLock::new(|| {
    [Dialect::Line, Dialect::Resp2].map(|dialect| {
        let known = COMMANDS.iter().enumerate();
        known
            .filter(|(_, command)| command.dialects.has(dialect))
            .map(|(place, command)| (command.name.as_bytes(), place))
            .collect()
    })
});

/// The place in [`COMMANDS`] of a verb, whatever its case, in a dialect.
#[must_use]
pub fn place_of(verb: &[u8], dialect: Dialect) -> Option<usize> {
    let mut upper = [0; VERB_BYTES_MAX];
    let upper = upper.get_mut(..verb.len())?;
    upper.copy_from_slice(verb);
    upper.make_ascii_uppercase();
    PLACES[usize::from(dialect.is_resp())].get(&*upper).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_under_its_name_in_any_case() {
        for (place, command) in COMMANDS.iter().enumerate() {
            let dialect = match command.dialects {
                Dialects::Resp => Dialect::Resp3,
                Dialects::All | Dialects::Line => Dialect::Line,
            };
            assert_eq!(place_of(command.name.as_bytes(), dialect), Some(place));
            let lower = command.name.to_lowercase();
            assert_eq!(place_of(lower.as_bytes(), dialect), Some(place), "{lower}");
            assert!(command.summary.ends_with('.'), "{lower}");
        }
        assert_eq!(place_of(b"KEYSKEYSKEYSKEYSKEYS", Dialect::Line), None);
        assert_ne!(
            place_of(b"KEYS", Dialect::Line),
            place_of(b"KEYS", Dialect::Resp2)
        );
    }
}
