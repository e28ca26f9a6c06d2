//! Changes as they come: FOLLOW, for who keeps a copy, a cache or a screen true.
//!
//! In: a prefix, and a revision to go on from. Out: the wish, which the connection meets. Promise: all changes come, in their
//! order, or it is told plainly that some cannot.

use crate::command::data::options::number_of;
use crate::command::table::{Command, Keys};
use crate::command::{Answer, Arguments, Call, Next, bad_argument};
use crate::model::Key;

pub(in crate::command) const ROWS: &[Command] = &[
    Command::read("FOLLOW", "<prefix> [FROM <revision>]", 1..=3, follow)
        .keys(Keys::None)
        .not_in_multi()
        .example("FOLLOW user:")
        .summary(
            "Get every change of keys that begin with a prefix, from now on, or after a revision.",
        ),
    Command::free("UNFOLLOW", "[<prefix>]", 0..=1, unfollow)
        .not_in_multi()
        .example("UNFOLLOW")
        .summary("Get them no more; without a prefix, those of none."),
];

fn follow(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let prefix = Key::parse(&words[0])?.as_str().to_owned();
    let after = match &words[1..] {
        [] => None,
        [word, revision] if word.eq_ignore_ascii_case(b"FROM") => {
            let revision = u64::try_from(number_of(revision)?);
            Some(revision.map_err(|_| bad_argument("a revision is not below 0"))?)
        }
        _ => return Err(call.syntax_error()),
    };
    Ok(Next::Follow(prefix, after))
}

fn unfollow(_call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let prefix = words.first().map(|prefix| Key::parse(prefix)).transpose()?;
    Ok(Next::Unfollow(
        prefix.map(|prefix| prefix.as_str().to_owned()),
    ))
}
