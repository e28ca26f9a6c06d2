//! FOLLOW: the changes of keys with a prefix, for copies, caches and displays.
//!
//! In: a prefix, and a revision to continue after. Out: a prefix that the session follows, whose changes the connection sends.
//! Promise: all changes are sent, in order, or an error says that some are missing.

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::data::options::number_of;
use crate::command::following::refusal_of;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::spec::{Flag, Group, Scope};
use crate::model::Key;
use crate::protocol::{ErrorCode, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::read("FOLLOW", "<prefix> [FROM <revision>]", 1..=3, follow)
        .group(Group::PubSub)
        .on(Scope::Prefix(0))
        .flags(&[Flag::NotInMulti, Flag::SubscribedOk, Flag::Receives])
        .refused_in_cluster(
            ErrorCode::NoFeed,
            "a cluster has the data (--engine), which has no feed of changes that can be resumed",
        )
        .example("FOLLOW user:")
        .summary("Receive every change of keys with a prefix, from now on or after a revision."),
    Row::connection("UNFOLLOW", "[<prefix>]", 0..=1, unfollow)
        .group(Group::PubSub)
        .flags(&[Flag::LoadingOk, Flag::NotInMulti, Flag::SubscribedOk])
        .example("UNFOLLOW")
        .summary("End the following of a prefix, or of all."),
];

fn follow(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let key = Key::parse(&words[0])?;
    let after = match &words[1..] {
        [] => None,
        [word, revision] if word.eq_ignore_ascii_case(b"FROM") => {
            let revision = u64::try_from(number_of(revision)?);
            Some(revision.map_err(|_| bad_argument("a revision is not below 0"))?)
        }
        _ => return Err(call.syntax_error()),
    };
    // Changes need a connection to be pushed to.
    call.client()?;
    let prefix = key.as_bytes();
    let database = call.session.database();
    call.session.following.admit(prefix)?;
    let follower = call.engine()?.follow(key, after);
    let follower = follower.map_err(|error| refusal_of(&error))?;
    call.replies.reply(Reply::Following(
        database.name_of(prefix),
        follower.revision(),
    ));
    let added = (prefix, database, call.dialect);
    call.session.following.add(added, follower);
    Ok(Outcome::Done)
}

fn unfollow(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let database = call.session.database();
    let prefix = words.first().map(|prefix| database.key_of(prefix));
    let prefix = prefix.as_deref().map(Key::parse).transpose()?;
    let removed = call.session.following.remove(prefix.map(Key::as_bytes));
    if removed.is_empty() {
        return Err(bad_argument("nothing like that is followed here"));
    }
    for prefix in removed {
        call.replies.reply(Reply::Unfollowed(&prefix));
    }
    Ok(Outcome::Done)
}
