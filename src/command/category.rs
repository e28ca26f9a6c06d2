//! Categories of commands, by which ACLs permit them.
//!
//! In: the row of a command, or one of its subcommands. Out: its categories, under Redis's names. Promise: they follow from the other
//! properties of the row.
//! Source: <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/#command-categories>.

use super::spec::{Access, Command, Flag, Group};

/// Category of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Keyspace,
    Read,
    Write,
    String,
    Bitmap,
    PubSub,
    Admin,
    Fast,
    Slow,
    Dangerous,
    Connection,
    Transaction,
    Scripting,
}

impl Category {
    /// All categories, in Redis's order.
    pub(super) const ALL: [Self; 13] = [
        Self::Keyspace,
        Self::Read,
        Self::Write,
        Self::String,
        Self::Bitmap,
        Self::PubSub,
        Self::Admin,
        Self::Fast,
        Self::Slow,
        Self::Dangerous,
        Self::Connection,
        Self::Transaction,
        Self::Scripting,
    ];

    /// Categories of Redis whose commands do not exist here: rules may name them.
    pub(super) const EMPTY: [&'static str; 8] = [
        "set",
        "sortedset",
        "list",
        "hash",
        "hyperloglog",
        "geo",
        "stream",
        "blocking",
    ];

    /// Returns the name, with its `@`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Keyspace => "@keyspace",
            Self::Read => "@read",
            Self::Write => "@write",
            Self::String => "@string",
            Self::Bitmap => "@bitmap",
            Self::PubSub => "@pubsub",
            Self::Admin => "@admin",
            Self::Fast => "@fast",
            Self::Slow => "@slow",
            Self::Dangerous => "@dangerous",
            Self::Connection => "@connection",
            Self::Transaction => "@transaction",
            Self::Scripting => "@scripting",
        }
    }

    /// Returns the category with this name, in any case and without its `@`.
    pub(super) fn find(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|category| category.as_str().as_bytes()[1..].eq_ignore_ascii_case(name))
    }
}

/// Set of categories, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Categories(u16);

impl Categories {
    pub(super) fn has(self, category: Category) -> bool {
        self.0 & (1 << category as u16) != 0
    }

    /// Returns the categories, in Redis's order.
    pub(super) fn iter(self) -> impl Iterator<Item = Category> {
        Category::ALL
            .into_iter()
            .filter(move |category| self.has(*category))
    }
}

/// Returns the categories for a class of access. As in Redis, `@admin` implies `@dangerous`.
pub(super) fn categories(command: &Command, access: Access, is_fast: bool) -> Categories {
    let group = command.group;
    let is_on_data = matches!(access, Access::Read | Access::Write);
    let is_of_others = matches!(group, Group::Transactions | Group::Scripting);
    let is_generic = matches!(group, Group::Generic | Group::Server);
    let is_dangerous =
        access == Access::Admin || command.has(Flag::Dangerous) || command.has(Flag::WholeServer);
    let held = |category| match category {
        Category::Keyspace => is_on_data && is_generic,
        Category::Read => access == Access::Read && !is_of_others,
        Category::Write => access == Access::Write && !is_of_others,
        Category::String => group == Group::String,
        Category::Bitmap => group == Group::Bitmap,
        Category::PubSub => group == Group::PubSub,
        Category::Admin => access == Access::Admin,
        Category::Fast => is_fast,
        Category::Slow => !is_fast,
        Category::Dangerous => is_dangerous,
        Category::Connection => group == Group::Connection || (group == Group::Cluster && is_fast),
        Category::Transaction => group == Group::Transactions,
        Category::Scripting => group == Group::Scripting,
    };
    let bits = Category::ALL.into_iter().filter(|one| held(*one));
    Categories(bits.fold(0, |bits, one| bits | 1 << one as u16))
}
