//! The client's view of the command table: the commands of the line dialect, HELP without a server, and the nearest name of a typo.
//!
//! In: the name of a command, or nothing. Out: its row of the table, or the lines of a HELP reply.

use pykv::command::{COMMANDS, Command, Dialects, Flag, Scope};
use pykv::protocol::Dialect;
use pykv::protocol::line::{self, quote};

use crate::reply::Line;
use crate::terminal::tell;

/// The edits by which a typo may differ from the name that was meant: of short words, and of long ones.
const DISTANCES_MAX: [usize; 2] = [1, 2];
/// The characters from which on a word is long.
const LONG: usize = 8;

/// The tools, in the order of the command line, with their usage.
pub const TOOLS: [(&str, &str); 14] = [
    ("import", "<file>"),
    ("export", "<file>"),
    ("diff", "<file>"),
    ("scan", "[<prefix>]"),
    ("bigkeys", "[<prefix>]"),
    ("namespaces", "[<prefix>]"),
    ("top", ""),
    ("stat", ""),
    ("latency", ""),
    ("monitor", ""),
    ("watch", "[<prefix>]"),
    ("health", ""),
    ("cluster", ""),
    ("bench", ""),
];
/// The characters that mean something else than themselves in a pattern.
const PATTERN: [char; 3] = ['*', '?', '['];

/// Returns the commands of the line dialect.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    let all = COMMANDS.iter().copied();
    all.filter(|command| command.dialects != Dialects::Resp)
}

/// Returns the command of a name, in any case.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.find(name.as_bytes(), Dialect::Line)
}

/// Returns the reply to HELP for all commands, or for one.
pub fn lines(topic: Option<&str>) -> Vec<Line> {
    let line = |command: &Command| Line::Help(command.synopsis(), command.summary.to_owned());
    let mut lines: Vec<Line> = match topic {
        None => commands().map(line).collect(),
        Some(topic) => command(topic).map(line).into_iter().collect(),
    };
    lines.push(match topic {
        Some(topic) if lines.is_empty() => {
            let message = format!("there is no command '{topic}'; HELP lists them");
            Line::Error("UNKNOWN".to_owned(), message)
        }
        _ => Line::End(lines.len() as u64),
    });
    lines
}

/// Returns the name of a command or tool that a word stands for, which is none: a typo, or the name of a tool where there are only commands.
pub fn nearest(typed: &str) -> Option<&'static str> {
    let typed = typed.to_ascii_uppercase();
    let tools = TOOLS.iter().map(|(name, _)| *name);
    let names = commands().map(|command| command.name).chain(tools);
    let distance_to = |name: &str| strsim::damerau_levenshtein(&typed, &name.to_ascii_uppercase());
    let (distance, name) = names
        .map(|name| (distance_to(name), name))
        .min_by_key(|(distance, _)| *distance)?;
    let is_long = typed.chars().count() >= LONG;
    (distance <= DISTANCES_MAX[usize::from(is_long)]).then_some(name)
}

/// Returns whether a word names a tool, and no command of the server.
pub fn is_only_tool(name: &str) -> bool {
    let mut tools = TOOLS.iter();
    tools.any(|(tool, _)| tool.eq_ignore_ascii_case(name)) && command(name).is_none()
}

/// Explains the prefix of a tool that has found so many pairs, if these are none and it looks like a pattern. Of `*` alone nothing is
/// said: a tool that is given no prefix does the same as was meant, and its help says so.
pub fn explain_prefix(found: u64, prefix: &str) {
    if found == 0 && prefix.contains(PATTERN) && !prefix.trim_matches('*').is_empty() {
        tell(&explain(prefix));
    }
}

fn explain(prefix: &str) -> String {
    let plain = prefix.trim_end_matches('*');
    let shown = quote(prefix);
    if plain.contains(PATTERN) {
        format!(
            "Nothing begins with {shown}: that is a prefix here, and no pattern. Patterns are for SCAN: SCAN 0 MATCH {shown} COUNT 10000"
        )
    } else {
        format!(
            "Nothing begins with {shown}: that is a prefix here, and no pattern. Leave the * out"
        )
    }
}

/// Returns what to say where a request that has a prefix finds nothing: the request that would.
pub fn request_hint(request: &str) -> Option<String> {
    let request = line::parse(request.as_bytes()).ok()??;
    let command = command(std::str::from_utf8(request.verb).ok()?)?;
    let Scope::Prefix(place) = command.scope else {
        return None;
    };
    let arguments = request.arguments(None).ok()?;
    let prefix = std::str::from_utf8(arguments.get(place)?).ok()?;
    let hint = prefix.contains(PATTERN).then(|| explain(prefix))?;
    let plain = prefix.trim_end_matches('*');
    Some(if plain.contains(PATTERN) {
        hint
    } else if plain.is_empty() && command.has(Flag::Dangerous) {
        format!("{hint}; CLEAR deletes every key")
    } else {
        let example = format!(
            "{} {}",
            command.name,
            if plain.is_empty() {
                "".into()
            } else {
                quote(plain)
            }
        );
        format!("{hint}: {}", example.trim_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_nearest_name_and_nonsense_finds_none() {
        for (typed, name) in [
            ("GTE", Some("GET")),
            ("ge", Some("GET")),
            ("delprefx", Some("DELPREFIX")),
            ("EXPIER", Some("EXPIRE")),
            ("improt", Some("import")),
            ("tpo", Some("top")),
            ("import", Some("import")),
            ("NOSUCH", None),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed), name, "{typed}");
        }
    }

    #[test]
    fn a_prefix_that_looks_like_a_pattern_is_explained() {
        for (request, end) in [
            ("KEYS user:*", Some("Leave the * out: KEYS user:")),
            ("all \"a b*\"", Some("Leave the * out: ALL \"a b\"")),
            ("COUNT *", Some("Leave the * out: COUNT")),
            (
                "DELPREFIX user:* DRYRUN",
                Some("Leave the * out: DELPREFIX user:"),
            ),
            (
                "DELPREFIX *",
                Some("Leave the * out; CLEAR deletes every key"),
            ),
            ("KEYS user:?", Some("SCAN 0 MATCH user:? COUNT 10000")),
            ("KEYS *:name*", Some("SCAN 0 MATCH *:name* COUNT 10000")),
            ("KEYS user:", None),
            ("GET user:*", None),
            ("SCAN 0 MATCH user:*", None),
        ] {
            let hint = request_hint(request);
            let is_expected = match (&hint, end) {
                (Some(hint), Some(end)) => hint.ends_with(end),
                (hint, end) => hint.is_none() && end.is_none(),
            };
            assert!(is_expected, "{request}: {hint:?}");
        }
    }

    #[test]
    fn every_command_has_an_example_that_begins_with_its_name() {
        for command in commands() {
            let verb = command.example.split(' ').next();
            assert_eq!(verb, Some(command.name));
        }
    }
}
