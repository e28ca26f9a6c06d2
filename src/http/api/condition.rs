//! Conditional requests: `If-Match` and `If-None-Match` (RFC 9110, section 13), and the ETags that they name.
//!
//! In: headers, and values. Out: the ETag of a value, and the condition that does not hold, if any. Promises: an ETag is the same
//! as long as its value is, also after a restart; a condition that cannot be parsed is refused, not ignored.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use crate::command::version_of;
use crate::http::problem::Problem;

/// Pattern of a list of ETags: what [`Conditions::parse`] reads, besides `*`.
pub const ETAGS_PATTERN: &str =
    r#"^(?:[ \t]*,)*[ \t]*(?:W/)?"[!#-~]*"(?:[ \t]*,(?:[ \t]*(?:W/)?"[!#-~]*")?)*[ \t]*$"#;

/// Returns the ETag of a value: its BLAKE3 hash, so that no two values share one.
pub fn etag(value: &[u8]) -> String {
    etag_of_version(&version_of(value))
}

/// Returns the ETag of a value that has this version.
pub fn etag_of_version(version: &str) -> String {
    ["\"", version, "\""].concat()
}

/// Conditions of a request.
#[derive(Debug)]
pub struct Conditions {
    /// ETags of which the stored value must have one.
    wanted: Option<Etags>,
    /// ETags of which the stored value must have none.
    unwanted: Option<Etags>,
}

/// Argument of a condition.
#[derive(Debug, PartialEq, Eq)]
enum Etags {
    /// `*`: every value.
    Any,
    /// The values with these ETags.
    These(Vec<Etag>),
}

#[derive(Debug, PartialEq, Eq)]
struct Etag {
    /// The tag, quotes included.
    tag: String,
    /// True if it stands for equivalent values, and not for the same bytes only.
    is_weak: bool,
}

/// Conditions that do not depend on the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistenceCondition {
    /// No condition.
    None,
    /// The key must exist.
    Exists,
    /// The key must not exist.
    Missing,
}

impl ExistenceCondition {
    /// Returns the option of SET with this condition; none without a condition.
    pub fn option(self) -> Option<&'static [u8]> {
        match self {
            Self::None => None,
            Self::Exists => Some(b"XX"),
            Self::Missing => Some(b"NX"),
        }
    }
}

/// Condition that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// `If-Match`.
    Match,
    /// `If-None-Match`.
    NoneMatch,
}

impl Conditions {
    /// Parses the conditions of a request.
    ///
    /// # Errors
    /// 400 if one of the headers is neither `*` nor a list of ETags.
    pub fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            wanted: etags(headers, &header::IF_MATCH)?,
            unwanted: etags(headers, &header::IF_NONE_MATCH)?,
        })
    }

    /// Returns the conditions if they depend on nothing but whether the key exists.
    pub fn existence(&self) -> Option<ExistenceCondition> {
        match (&self.wanted, &self.unwanted) {
            (None, None) => Some(ExistenceCondition::None),
            (Some(Etags::Any), None) => Some(ExistenceCondition::Exists),
            (None, Some(Etags::Any)) => Some(ExistenceCondition::Missing),
            _ => None,
        }
    }

    /// Checks the conditions against the ETag of the stored value; `None` if the key does not exist.
    ///
    /// # Errors
    /// The first condition that does not hold.
    pub fn check(&self, stored: Option<&str>) -> Result<(), Unmet> {
        let names = |etags: &Etags, takes_weak| match (etags, stored) {
            (_, None) => false,
            (Etags::Any, Some(_)) => true,
            (Etags::These(etags), Some(stored)) => etags
                .iter()
                .any(|etag| etag.tag == stored && (takes_weak || !etag.is_weak)),
        };
        // RFC 9110: If-Match compares strongly (the same bytes), If-None-Match weakly.
        if self.wanted.as_ref().is_some_and(|it| !names(it, false)) {
            return Err(Unmet::Match);
        }
        if self.unwanted.as_ref().is_some_and(|it| names(it, true)) {
            return Err(Unmet::NoneMatch);
        }
        Ok(())
    }
}

impl From<Unmet> for Problem {
    fn from(unmet: Unmet) -> Self {
        let detail = match unmet {
            Unmet::Match => {
                "If-Match does not hold: the key is not there, or has another value by now; nothing was changed. \
                 Read it again, and send the ETag that it has then"
            }
            Unmet::NoneMatch => {
                "If-None-Match does not hold: the key is there, with what must not be; nothing was changed. \
                 Read it, or send no such header to replace it"
            }
        };
        Self::new(StatusCode::PRECONDITION_FAILED, detail)
    }
}

/// Parses all headers of this name as one list; `None` if there are none.
fn etags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Etags>, Problem> {
    let values = headers.get_all(name).into_iter();
    let Ok(texts) = values
        .map(|value| value.to_str())
        .collect::<Result<Vec<_>, _>>()
    else {
        return Err(unreadable(name));
    };
    if texts.is_empty() {
        return Ok(None);
    }
    match parse(&texts.join(",")) {
        Some(etags) => Ok(Some(etags)),
        None => Err(unreadable(name)),
    }
}

fn unreadable(name: &HeaderName) -> Problem {
    let detail = format!(
        "the header {name} is neither * nor a list of ETags, each in its double quotes: send an ETag as it was received"
    );
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn parse(text: &str) -> Option<Etags> {
    const BLANKS: [char; 2] = [' ', '\t'];
    if text.trim_matches(BLANKS) == "*" {
        return Some(Etags::Any);
    }
    let mut etags = Vec::new();
    let mut rest = text;
    loop {
        // RFC 9110, section 5.6.1: a list may have empty elements.
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return (!etags.is_empty()).then_some(Etags::These(etags));
        }
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let is_weak = opaque.len() < rest.len();
        let (inside, after) = opaque.strip_prefix('"')?.split_once('"')?;
        // RFC 9110, section 8.8.3.
        if inside.contains(BLANKS) {
            return None;
        }
        etags.push(Etag {
            tag: format!("\"{inside}\""),
            is_weak,
        });
        rest = after.trim_start_matches(BLANKS);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn these(etags: &[(&str, bool)]) -> Option<Etags> {
        let etags = etags.iter().map(|(tag, is_weak)| Etag {
            tag: (*tag).to_owned(),
            is_weak: *is_weak,
        });
        Some(Etags::These(etags.collect()))
    }

    #[test]
    fn a_list_of_etags_is_read_as_rfc_9110_writes_it_or_not_at_all() {
        assert_eq!(parse(" * "), Some(Etags::Any));
        assert_eq!(parse("\"\""), these(&[("\"\"", false)]));
        assert_eq!(parse("\"*\""), these(&[("\"*\"", false)]));
        assert_eq!(
            parse(" \"a\",, W/\"b,c\" \t,\"d\","),
            these(&[("\"a\"", false), ("\"b,c\"", true), ("\"d\"", false)])
        );
        for text in [
            "",
            ",",
            "a",
            "\"a",
            "a\"",
            "\"a\" \"b\"",
            "\"a\"b",
            "*,\"a\"",
            "**",
            "w/\"a\"",
            "W/a",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
