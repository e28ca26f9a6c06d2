//! Parser of the usage of a command.
//!
//! In: a usage, such as `<key> [NX | XX] [EX <seconds>]`. Out: a tree of arguments, as COMMAND DOCS sends it. Promise: the usage of
//! every row can be parsed, which a test checks.
//!
//! ```text
//! usage    = sequence *( "|" sequence )           alternatives
//! sequence = *( word [ name ] / name / "[" usage "]" / "..." )
//! name     = "<" text ">"                         a placeholder; a word before it is its token
//! word     = literal text                         a token by itself
//! ...      = the argument before, or all of the brackets, may be repeated
//! ```

use std::iter::Peekable;

/// Type of an argument.
/// Source: <https://redis.io/docs/latest/develop/reference/command-arguments/>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArgumentType {
    Block,
    Double,
    Integer,
    Key,
    OneOf,
    Pattern,
    /// A token without a value.
    PureToken,
    String,
    UnixTime,
}

impl ArgumentType {
    /// Returns the type of an argument by its name in the usage.
    fn of(name: &str) -> Self {
        match name {
            "key" | "new key" => Self::Key,
            "pattern" => Self::Pattern,
            "decimal" => Self::Double,
            "unix seconds" | "unix ms" => Self::UnixTime,
            "seconds" | "ms" | "number" | "bit" | "length" | "first" | "last" | "place"
            | "cursor" | "revision" | "replicas" => Self::Integer,
            _ => Self::String,
        }
    }

    /// Returns the name in COMMAND DOCS.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Double => "double",
            Self::Integer => "integer",
            Self::Key => "key",
            Self::OneOf => "oneof",
            Self::Pattern => "pattern",
            Self::PureToken => "pure-token",
            Self::String => "string",
            Self::UnixTime => "unix-time",
        }
    }
}

/// An argument, or a group of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) kind: ArgumentType,
    /// The literal word before it.
    pub(super) token: Option<&'static str>,
    pub(super) is_optional: bool,
    /// True if it may be repeated.
    pub(super) is_multiple: bool,
    /// Arguments of a block, in order, or alternatives of a choice.
    pub(super) parts: Vec<Argument>,
}

impl Argument {
    fn new(name: &str, kind: ArgumentType, token: Option<&'static str>) -> Self {
        Self {
            name: name.to_lowercase().replace(' ', "-"),
            kind,
            token,
            is_optional: false,
            is_multiple: false,
            parts: Vec::new(),
        }
    }

    /// Groups arguments in a block with the name of the first; a single argument stays as it is.
    fn block(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let name = parts.first().map_or("", |first| &first.name);
        Self {
            parts: parts.clone(),
            ..Self::new(name, ArgumentType::Block, None)
        }
    }
}

/// Token of a usage, in the parser's sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Open,
    Close,
    Or,
    Dots,
    Name(&'static str),
    Word(&'static str),
}

fn symbols(usage: &'static str) -> impl Iterator<Item = Symbol> {
    let mut rest = usage.trim_start();
    std::iter::from_fn(move || {
        let (symbol, length) = match rest.chars().next()? {
            '[' => (Symbol::Open, 1),
            ']' => (Symbol::Close, 1),
            '|' => (Symbol::Or, 1),
            '<' => {
                let end = rest.find('>').unwrap_or(rest.len() - 1);
                (Symbol::Name(&rest[1..end]), end + 1)
            }
            _ => {
                let end = rest.find([' ', '[', ']', '|']).unwrap_or(rest.len());
                let word = &rest[..end];
                let symbol = if word == "..." {
                    Symbol::Dots
                } else {
                    Symbol::Word(word)
                };
                (symbol, end)
            }
        };
        rest = rest[length..].trim_start();
        Some(symbol)
    })
}

/// Returns the alternatives of a usage: what stands between its bars, but for those in brackets. Brackets around all of it are left
/// out.
pub(super) fn alternatives_of(usage: &'static str) -> Vec<&'static str> {
    let inside = usage.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let usage = inside.filter(|it| !is_unbalanced(it)).unwrap_or(usage);
    let mut depth = 0_usize;
    let parts = usage.split(|letter| {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        depth == 0 && letter == '|'
    });
    parts.map(str::trim).collect()
}

/// Returns true if a bracket is closed that was not opened, as between `[a] [b]` without the outer ones.
fn is_unbalanced(usage: &str) -> bool {
    let mut depth = 0_i32;
    usage.chars().any(|letter| {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        depth < 0
    })
}

/// Returns the minimum number of words of arguments, and true if there may be more.
pub(super) fn word_count(arguments: &[Argument]) -> (usize, bool) {
    let of_one = |argument: &Argument| {
        let token = usize::from(argument.token.is_some());
        let counts = argument
            .parts
            .iter()
            .map(|part| word_count(std::slice::from_ref(part)));
        let (least, varies) = match argument.kind {
            ArgumentType::PureToken => (0, false),
            ArgumentType::Block => word_count(&argument.parts),
            ArgumentType::OneOf => {
                let counts: Vec<(usize, bool)> = counts.collect();
                let least = counts.iter().map(|(least, _)| *least).min().unwrap_or(0);
                (least, counts.iter().any(|count| *count != (least, false)))
            }
            _ => (1, false),
        };
        if argument.is_optional {
            return (0, true);
        }
        (token + least, varies || argument.is_multiple)
    };
    let counts = arguments.iter().map(of_one);
    counts.fold((0, false), |(sum, any), (least, varies)| {
        (sum + least, any || varies)
    })
}

/// Parses a usage.
pub(super) fn arguments(usage: &'static str) -> Vec<Argument> {
    let mut symbols = symbols(usage).peekable();
    let (arguments, _) = alternatives(&mut symbols);
    arguments
}

/// Parses several usages of one subcommand as alternatives, each without its name.
pub(super) fn arguments_of_any(usages: &[&'static str]) -> Vec<Argument> {
    if usages.len() < 2 {
        return usages.first().map_or(Vec::new(), |usage| arguments(usage));
    }
    let mut choice = Argument::new("option", ArgumentType::OneOf, None);
    choice.parts = usages
        .iter()
        .map(|usage| Argument::block(arguments(usage)))
        .collect();
    vec![choice]
}

/// Returns true if the argument at this place is a number in every request that the usage allows.
pub(super) fn is_number_at(usage: &'static str, place: usize) -> bool {
    let arguments = arguments(usage);
    let is_fixed = |argument: &Argument| {
        argument.token.is_none() && !argument.is_optional && !argument.is_multiple
    };
    let before = arguments.iter().take(place + 1);
    arguments.get(place).is_some_and(|argument| {
        matches!(
            argument.kind,
            ArgumentType::Double | ArgumentType::Integer | ArgumentType::UnixTime
        )
    }) && before.into_iter().all(is_fixed)
}

/// Parses up to the end or a closing bracket. Returns the arguments, and true if all of them together may be repeated.
fn alternatives(symbols: &mut Peekable<impl Iterator<Item = Symbol>>) -> (Vec<Argument>, bool) {
    let (first, is_repeated) = sequence(symbols);
    if symbols.peek() != Some(&Symbol::Or) {
        return (first, is_repeated);
    }
    let mut choice = Argument::new("option", ArgumentType::OneOf, None);
    choice.parts.push(Argument::block(first));
    while symbols.next_if_eq(&Symbol::Or).is_some() {
        choice.parts.push(Argument::block(sequence(symbols).0));
    }
    (vec![choice], false)
}

fn sequence(symbols: &mut Peekable<impl Iterator<Item = Symbol>>) -> (Vec<Argument>, bool) {
    let mut found: Vec<Argument> = Vec::new();
    while let Some(symbol) = symbols.next_if(|symbol| !matches!(symbol, Symbol::Or | Symbol::Close))
    {
        match symbol {
            Symbol::Name(name) => found.push(Argument::new(name, ArgumentType::of(name), None)),
            Symbol::Word(word) => found.push(match symbols.peek() {
                Some(&Symbol::Name(name)) => {
                    symbols.next();
                    Argument::new(name, ArgumentType::of(name), Some(word))
                }
                // `KILL ...`: arguments without names.
                Some(Symbol::Dots) => Argument::new("argument", ArgumentType::String, Some(word)),
                _ => Argument::new(word, ArgumentType::PureToken, Some(word)),
            }),
            Symbol::Open => {
                let (inside, is_repeated) = alternatives(symbols);
                symbols.next_if_eq(&Symbol::Close);
                optional(&mut found, inside, is_repeated);
            }
            Symbol::Dots if found.len() > 1 && symbols.peek() == Some(&Symbol::Close) => {
                return (found, true);
            }
            Symbol::Dots => {
                if let Some(last) = found.last_mut() {
                    last.is_multiple = true;
                }
            }
            Symbol::Or | Symbol::Close => {}
        }
    }
    (found, false)
}

/// Adds the arguments in brackets. If they repeat those before, as in `<key> [<key> ...]`, both are one argument.
fn optional(found: &mut Vec<Argument>, inside: Vec<Argument>, is_repeated: bool) {
    let mut argument = Argument::block(inside);
    argument.is_multiple |= is_repeated;
    let single = if argument.kind == ArgumentType::Block {
        argument.parts.clone()
    } else {
        vec![Argument {
            is_multiple: false,
            ..argument.clone()
        }]
    };
    if let ([repeated], Some(last)) = (&*single, found.last_mut())
        && argument.is_multiple
        && (Argument {
            token: None,
            ..last.clone()
        }) == *repeated
        && last.token.is_some()
    {
        last.is_multiple = true;
        return;
    }
    if argument.is_multiple && found.ends_with(&single) {
        found.truncate(found.len() - single.len());
    } else {
        argument.is_optional = true;
    }
    found.push(argument);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::COMMANDS;

    /// Formats arguments as redis-cli does.
    fn shown(arguments: &[Argument], separator: &str) -> String {
        let all = arguments.iter().map(|argument| {
            let inside = match argument.kind {
                ArgumentType::OneOf => shown(&argument.parts, "|"),
                ArgumentType::Block => shown(&argument.parts, " "),
                ArgumentType::PureToken => String::new(),
                _ => argument.name.clone(),
            };
            let again = if argument.is_multiple {
                format!(" [{inside} ...]")
            } else {
                String::new()
            };
            let token = argument.token.unwrap_or_default();
            let text = format!("{token} {inside}{again}").trim().to_owned();
            if argument.is_optional {
                format!("[{text}]")
            } else {
                text
            }
        });
        all.collect::<Vec<_>>().join(separator)
    }

    #[test]
    fn a_usage_becomes_the_arguments_that_redis_cli_shows() {
        for (usage, expected) in [
            ("", ""),
            ("<key>", "key"),
            (
                "<key> <new key> [DB 0] [REPLACE]",
                "key new-key [DB 0] [REPLACE]",
            ),
            ("<key> [<key> ...]", "key [key ...]"),
            ("[<channel> ...]", "[channel [channel ...]]"),
            (
                "<key> <value> [<key> <value> ...]",
                "key value [key value ...]",
            ),
            (
                "<key> [NX | XX | IFEQ <value>] [EX <unix seconds> | KEEPTTL]",
                "key [NX|XX|IFEQ value] [EX unix-seconds|KEEPTTL]",
            ),
            ("[<user>] <password>", "[user] password"),
            ("ID <id> [<id> ...]", "ID id [id ...]"),
            (
                "[2 | 3] [AUTH <user> <password>]",
                "[2|3] [AUTH user password]",
            ),
            (
                "LIST [FILTERBY A <a> | FILTERBY B <b>] | KILL ... | GET <name> <argument> ...",
                "LIST [FILTERBY A a|FILTERBY B b]|KILL argument [argument ...]|GET name argument [argument ...]",
            ),
        ] {
            assert_eq!(shown(&arguments(usage), " "), expected, "{usage}");
        }
    }

    #[test]
    fn the_alternatives_of_a_usage_are_told_apart_outside_of_brackets() {
        assert_eq!(alternatives_of("A <a> [B | C] | D"), ["A <a> [B | C]", "D"]);
        assert_eq!(alternatives_of("[A | B [C | D]]"), ["A", "B [C | D]"]);
        assert_eq!(alternatives_of("[A] | [B]"), ["[A]", "[B]"]);
    }

    #[test]
    fn the_words_of_a_usage_are_counted() {
        for (usage, count) in [
            ("", (0, false)),
            ("<a> <b>", (2, false)),
            ("<a> [<a> ...]", (1, true)),
            ("TYPE <a> [B]", (2, true)),
            ("ON | OFF", (1, false)),
            ("<a> | <a> <b>", (1, true)),
            ("[<a>]", (0, true)),
        ] {
            assert_eq!(word_count(&arguments(usage)), count, "{usage}");
        }
    }

    #[test]
    fn an_argument_has_the_type_of_its_name() {
        let kinds = |usage| -> Vec<ArgumentType> {
            let arguments = arguments(usage).into_iter();
            arguments.map(|argument| argument.kind).collect()
        };
        assert_eq!(
            kinds("<key> <decimal> <ms> <unix ms> <pattern> <value> NOW [A | B] [<a> <b>]"),
            [
                ArgumentType::Key,
                ArgumentType::Double,
                ArgumentType::Integer,
                ArgumentType::UnixTime,
                ArgumentType::Pattern,
                ArgumentType::String,
                ArgumentType::PureToken,
                ArgumentType::OneOf,
                ArgumentType::Block,
            ]
        );
    }

    /// Collects all tokens and names of a tree.
    fn leaves(arguments: &[Argument]) -> Vec<String> {
        let mut found = Vec::new();
        for argument in arguments {
            found.extend(argument.token.map(str::to_owned));
            if argument.parts.is_empty() && argument.kind != ArgumentType::PureToken {
                found.push(argument.name.clone());
            }
            found.extend(leaves(&argument.parts));
        }
        found
    }

    #[test]
    fn the_usage_of_every_command_is_understood() {
        for command in COMMANDS.iter() {
            let mut opened = 0_i32;
            let mut expected: Vec<String> = Vec::new();
            for symbol in symbols(command.usage) {
                match symbol {
                    Symbol::Open => opened += 1,
                    Symbol::Close => opened -= 1,
                    Symbol::Name(name) => expected.push(name.replace(' ', "-")),
                    Symbol::Word(word) => expected.push(word.to_owned()),
                    Symbol::Or | Symbol::Dots => {}
                }
                assert!(opened >= 0, "{}", command.name);
            }
            assert_eq!(opened, 0, "{}", command.name);
            let found = leaves(&arguments(command.usage));
            for word in &expected {
                assert!(
                    found.contains(word),
                    "{}: {word} in {found:?}",
                    command.name
                );
            }
            let takes_key = expected.iter().any(|word| word == "key");
            assert_eq!(
                takes_key,
                !command.key_specs().is_empty(),
                "{}",
                command.name
            );
        }
    }
}
