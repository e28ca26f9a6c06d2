//! ACL and TOKEN: users, their permissions, and tokens.
//!
//! In: rules and names. Out: users, refusals, tokens. Promise: a change is in `users.json` before it is answered.
//! Source: <https://redis.io/docs/latest/commands/acl/>.

use crate::command::acl::{
    DEFAULT_USER, Denial, USERS_MAX, User, UsersError, hex, merge_selectors,
};
use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::category::Category;
use crate::command::data::options::number_of;
use crate::command::long_work;
use crate::command::refusals::{bad_argument, wrong_arity};
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::spec::{ANY, Access, Flag, Group, Subcommand};
use crate::command::subcommands::{doubtful_subcommand, other_subcommand};
use crate::error::error_chain;
use crate::model::now_ms;
use crate::protocol::resp::whole_number;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

const ACL_SUBCOMMANDS: [Subcommand; 13] = {
    use Access::{Admin, Connection};
    [
        Subcommand::new("SETUSER", Admin, "Add a user, or change its rules."),
        Subcommand::new("GETUSER", Admin, "Show the rules of a user."),
        Subcommand::new("DELUSER", Admin, "Delete users, and disconnect them.").destructive(),
        Subcommand::new("LIST", Admin, "Show the rules of all users."),
        Subcommand::new("USERS", Admin, "List the names of all users."),
        Subcommand::new("WHOAMI", Connection, "Return the user of this connection."),
        Subcommand::new(
            "CAT",
            Connection,
            "List the categories, or the commands of one.",
        ),
        Subcommand::new("LOG", Admin, "List the last refusals, or forget them."),
        Subcommand::new(
            "DRYRUN",
            Admin,
            "Check whether a user may send a request, without executing it.",
        ),
        Subcommand::new("GENPASS", Connection, "Return a random password."),
        Subcommand::new(
            "SAVE",
            Admin,
            "Write the users to users.json, as every change does.",
        ),
        Subcommand::new("LOAD", Admin, "Read users.json again."),
        Subcommand::HELP,
    ]
};

const TOKEN_SUBCOMMANDS: [Subcommand; 4] = [
    Subcommand::new("NEW", Access::Admin, "Make a token, and show it once."),
    Subcommand::new(
        "LIST",
        Access::Admin,
        "List the tokens, but for themselves.",
    ),
    Subcommand::new("DEL", Access::Admin, "Delete a token.").destructive(),
    Subcommand::HELP,
];

pub(in crate::command) const ROWS: &[Row] = &[
    Row::connection(
        "ACL",
        "SETUSER <user> [<rule> ...] | GETUSER <user> | DELUSER <user> [<user> ...] | LIST | USERS | WHOAMI | \
         CAT [<category>] | LOG [<number> | RESET] | DRYRUN <user> <command> [<argument> ...] | GENPASS [<bits>] | SAVE | LOAD",
        1..=ANY,
        acl,
    )
    .group(Group::Server)
    .subcommands(&ACL_SUBCOMMANDS)
    .flags(&[Flag::LoadingOk, Flag::Secret, Flag::NoMonitor])
    .example("ACL WHOAMI")
    .summary("Manage users and their permissions."),
    Row::admin(
        "TOKEN",
        "NEW <name> [USER <user>] [EX <seconds>] | LIST | DEL <name>",
        1..=ANY,
        token,
    )
    .subcommands(&TOKEN_SUBCOMMANDS)
    .flags(&[Flag::LoadingOk, Flag::NotInMulti, Flag::NoMonitor])
    .example("TOKEN LIST")
    .summary("Manage tokens, by which programs sign in over HTTP; NEW shows the token once."),
];

impl From<UsersError> for ErrorReply {
    fn from(error: UsersError) -> Self {
        let code = match error {
            UsersError::Unreadable(..) | UsersError::Unwritable(..) => ErrorCode::Disk,
            _ => ErrorCode::Args,
        };
        Self::new(code, error_chain(&error)).with_prefix("ERR")
    }
}

impl From<String> for ErrorReply {
    fn from(message: String) -> Self {
        bad_argument(message)
    }
}

fn acl(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        // Hashing a password and writing the file take long.
        (b"SETUSER", [user, rules @ ..]) => {
            long_work::execute(usize::MAX, || set_user(call, user, rules))
        }
        (b"GETUSER", [user]) => get_user(call, user),
        (b"DELUSER", users @ [_, ..]) => {
            long_work::execute(usize::MAX, || delete_users(call, users))
        }
        (b"LIST", []) => {
            let users = call.service.users.state();
            let lines: Vec<String> = users.users.values().map(|user| user.line()).collect();
            texts(call, &lines)
        }
        (b"USERS", []) => {
            let users = call.service.users.state();
            let names: Vec<&str> = users.users.keys().map(|name| &**name).collect();
            texts(call, &names)
        }
        (b"WHOAMI", []) => {
            let name = call.session.identity.name().cloned();
            let name = name.unwrap_or_else(|| DEFAULT_USER.into());
            call.done(Reply::Value(name.as_bytes()))
        }
        (b"CAT", []) => {
            let known = Category::ALL.iter().map(|category| &category.as_str()[1..]);
            let names: Vec<&str> = known.chain(Category::EMPTY).collect();
            texts(call, &names)
        }
        (b"CAT", [category]) => {
            let names = call.service.users.catalog().names_of_category(category);
            let unknown = || bad_argument(format!("Unknown category '{}'", text_of(category)));
            let names = names.ok_or_else(unknown)?;
            texts(call, &names)
        }
        (b"LOG", []) => log(call, 10),
        (b"LOG", [word]) if word.eq_ignore_ascii_case(b"RESET") => {
            call.service.users.denials().clear();
            call.done(Reply::Ok)
        }
        (b"LOG", [count]) => {
            let count = usize::try_from(number_of(count)?).unwrap_or(0);
            log(call, count)
        }
        (b"DRYRUN", [user, command, arguments @ ..]) => dry_run(call, user, command, arguments),
        (b"GENPASS", []) => generate(call, 256),
        (b"GENPASS", [bits]) => {
            let bits = whole_number(bits).and_then(|bits| usize::try_from(bits).ok());
            let bits = bits.filter(|bits| (1..=4096).contains(bits));
            let bits = bits.ok_or_else(|| {
                bad_argument(
                    "ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
                )
            })?;
            generate(call, bits)
        }
        (b"SAVE", []) => long_work::execute(usize::MAX, || {
            call.service.users.save()?;
            call.done(Reply::Ok)
        }),
        (b"LOAD", []) => long_work::execute(usize::MAX, || {
            call.service.users.reload()?;
            audit::called(call, "LOAD");
            call.service.apply_users();
            call.done(Reply::Ok)
        }),
        (b"CAT" | b"LOG" | b"GENPASS", _) => Err(doubtful_subcommand(call, &words[0])),
        _ => other_subcommand(call, words),
    }
}

fn text_of(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn texts(call: &mut Call<'_, '_>, all: &[impl AsRef<str>]) -> Answer {
    call.replies.reply(Reply::Array(all.len()));
    for text in all {
        call.replies.reply(Reply::Value(text.as_ref().as_bytes()));
    }
    Ok(Outcome::Done)
}

/// Maximum length of the name of a user in bytes: it is kept, and shown in logs.
const NAME_BYTES_MAX: usize = 256;

/// Parses the name of a user or a token.
fn name_of(word: &[u8]) -> Result<&str, ErrorReply> {
    let is_unfit = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    if word.is_empty() || word.iter().any(is_unfit) {
        return Err(bad_argument(
            "Usernames can't contain spaces or null characters",
        ));
    }
    if word.len() > NAME_BYTES_MAX {
        let message = format!("a name may have {NAME_BYTES_MAX} bytes");
        return Err(ErrorReply::new(ErrorCode::TooLarge, message));
    }
    std::str::from_utf8(word).map_err(|_| ErrorReply::new(ErrorCode::Text, "the name is not UTF-8"))
}

fn set_user(call: &mut Call<'_, '_>, user: &[u8], rules: &Arguments<'_>) -> Answer {
    let name = name_of(user)?;
    let rules = merge_selectors(rules.iter().map(|rule| &**rule)).map_err(|open| {
        bad_argument(format!(
            "Unmatched parenthesis in acl selector starting at '{open}'."
        ))
    })?;
    call.service.users.change(|state, catalog| {
        if !state.users.contains_key(name) && state.users.len() >= USERS_MAX {
            let message = format!("there are {} users already", state.users.len());
            return Err(ErrorReply::new(ErrorCode::TooLarge, message));
        }
        let known = state.users.get(name).map(|user| (**user).clone());
        let mut user = known.unwrap_or_else(|| User::new(name, catalog));
        for rule in &rules {
            user.apply(rule, catalog).map_err(|error| {
                // A password is not repeated.
                let shown = match rule.first() {
                    Some(sign @ (b'>' | b'<')) => (*sign as char).to_string(),
                    _ => text_of(rule),
                };
                bad_argument(format!("Error in ACL SETUSER modifier '{shown}': {error}"))
            })?;
        }
        state.users.insert(user.name.clone(), user.into());
        Ok(())
    })?;
    audit::called(call, &format!("SETUSER {name}"));
    call.service.apply_users();
    call.done(Reply::Ok)
}

fn delete_users(call: &mut Call<'_, '_>, names: &Arguments<'_>) -> Answer {
    let names: Vec<String> = names.iter().map(|name| text_of(name)).collect();
    if names.iter().any(|name| name == DEFAULT_USER) {
        return Err(bad_argument("The 'default' user cannot be removed"));
    }
    let deleted = call.service.users.change(|state, _| {
        let before = state.users.len();
        state
            .users
            .retain(|name, _| !names.iter().any(|one| **one == **name));
        // The name may be given to somebody else.
        state.tokens.retain(|_, token| !names.contains(&token.user));
        Ok::<_, ErrorReply>(before - state.users.len())
    })?;
    for name in &names {
        audit::called(call, &format!("DELUSER {}", name.escape_debug()));
    }
    let is_own = call
        .session
        .identity
        .name()
        .is_some_and(|own| names.iter().any(|name| **name == **own));
    call.service.apply_users();
    call.replies.reply(Reply::Count(deleted as u64));
    Ok(if is_own {
        Outcome::Close
    } else {
        Outcome::Done
    })
}

fn get_user(call: &mut Call<'_, '_>, name: &[u8]) -> Answer {
    let Some(user) = call.service.users.get(&text_of(name)) else {
        return call.done(Reply::NoArray);
    };
    let replies = &mut *call.replies;
    let permissions = user.permissions();
    replies.reply(Reply::Map(6));
    text(replies, "flags");
    let flags = user.flags();
    replies.reply(Reply::Array(flags.len()));
    for flag in flags {
        text(replies, flag);
    }
    text(replies, "passwords");
    let hashes = user.password_hashes();
    replies.reply(Reply::Array(hashes.len()));
    for hash in &hashes {
        text(replies, hash);
    }
    write_permissions(replies, &permissions[0]);
    text(replies, "selectors");
    replies.reply(Reply::Array(permissions.len() - 1));
    for selector in &permissions[1..] {
        replies.reply(Reply::Map(3));
        write_permissions(replies, selector);
    }
    Ok(Outcome::Done)
}

fn text(replies: &mut dyn Replies, text: &str) {
    replies.reply(Reply::Value(text.as_bytes()));
}

fn write_permissions(replies: &mut dyn Replies, permissions: &[String; 3]) {
    for (name, value) in ["commands", "keys", "channels"].iter().zip(permissions) {
        text(replies, name);
        text(replies, value);
    }
}

fn log(call: &mut Call<'_, '_>, count: usize) -> Answer {
    let latest = call.service.users.denials().latest(count);
    let now = now_ms();
    let replies = &mut *call.replies;
    replies.reply(Reply::Array(latest.len()));
    for denied in latest {
        replies.reply(Reply::Map(10));
        text(replies, "count");
        replies.reply(Reply::Count(denied.count));
        let context = if denied.is_in_multi {
            "multi"
        } else {
            "toplevel"
        };
        let age_ms = now.saturating_sub(denied.updated_ms);
        let age = format!("{}.{:03}", age_ms / 1000, age_ms % 1000);
        for (name, value) in [
            ("reason", denied.reason.as_str()),
            ("context", context),
            ("object", &denied.object),
            ("username", &denied.user),
        ] {
            text(replies, name);
            text(replies, value);
        }
        text(replies, "age-seconds");
        replies.reply(Reply::Double(&age));
        text(replies, "client-info");
        text(replies, &denied.client);
        for (name, number) in [
            ("entry-id", denied.id),
            ("timestamp-created", denied.created_ms),
            ("timestamp-last-updated", denied.updated_ms),
        ] {
            text(replies, name);
            replies.reply(Reply::Count(number));
        }
    }
    Ok(Outcome::Done)
}

fn dry_run(call: &mut Call<'_, '_>, user: &[u8], name: &[u8], arguments: &Arguments<'_>) -> Answer {
    let users = &call.service.users;
    let found = users.get(&text_of(user));
    let user = found.ok_or_else(|| bad_argument(format!("User '{}' not found", text_of(user))))?;
    let commands = call.service.commands;
    let place = commands.place_of(name, call.dialect);
    let place =
        place.ok_or_else(|| bad_argument(format!("Command '{}' not found", text_of(name))))?;
    let command = commands[place];
    if !command.arity.contains(&arguments.len()) {
        return Err(wrong_arity(command, arguments.len(), Dialect::Resp2));
    }
    let reason = match user.check(users.catalog(), (place, command), arguments) {
        Ok(()) => return call.done(Reply::Ok),
        Err(Denial::Command(name)) => format!("run the '{name}' command"),
        Err(Denial::Key(key)) => format!("access the '{}' key", text_of(&key)),
        Err(Denial::Channel(name)) => format!("access the '{}' channel", text_of(&name)),
    };
    let message = format!("This user has no permissions to {reason}");
    call.done(Reply::Value(message.as_bytes()))
}

fn generate(call: &mut Call<'_, '_>, bits: usize) -> Answer {
    let mut random = vec![0; bits.div_ceil(8)];
    getrandom::fill(&mut random).expect("the system has random bytes");
    let digits = hex(&random);
    // A digit has four bits.
    call.done(Reply::Value(&digits.as_bytes()[..bits.div_ceil(4)]))
}

fn token(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    match (&*words[0].to_ascii_uppercase(), &words[1..]) {
        (b"NEW", [name, options @ ..]) => {
            long_work::execute(usize::MAX, || new_token(call, name, options))
        }
        (b"LIST", []) => {
            let state = call.service.users.state();
            call.replies.reply(Reply::Array(state.tokens.len()));
            for (name, token) in &state.tokens {
                call.replies.reply(Reply::Array(3));
                text(call.replies, name);
                text(call.replies, &token.user);
                let end = token.expires_at().map_or(-1, u64::cast_signed);
                call.replies.reply(Reply::Signed(end));
            }
            Ok(Outcome::Done)
        }
        (b"DEL", [name]) => long_work::execute(usize::MAX, || {
            let name = text_of(name);
            let removed = call
                .service
                .users
                .change(|state, _| Ok::<_, ErrorReply>(state.tokens.remove(&name).is_some()))?;
            audit::called(call, &format!("DEL {}", name.escape_debug()));
            call.done(Reply::Count(u64::from(removed)))
        }),
        _ => other_subcommand(call, words),
    }
}

fn new_token(call: &mut Call<'_, '_>, name: &[u8], options: &Arguments<'_>) -> Answer {
    let name = name_of(name)?;
    let own = call.session.identity.name().cloned();
    let mut user = own.map_or_else(|| DEFAULT_USER.to_owned(), |own| own.to_string());
    let mut expires_at = None;
    for option in options.chunks(2) {
        match (&*option[0].to_ascii_uppercase(), option.get(1)) {
            (b"USER", Some(given)) => user = text_of(given),
            (b"EX", Some(seconds)) => {
                let seconds = u64::try_from(number_of(seconds)?)
                    .ok()
                    .filter(|seconds| *seconds > 0);
                let seconds = seconds
                    .ok_or_else(|| bad_argument("invalid expire time in 'token' command"))?;
                expires_at = Some(now_ms().saturating_add(seconds.saturating_mul(1000)));
            }
            _ => return Err(call.syntax_error()),
        }
    }
    let text = call
        .service
        .users
        .add_token::<ErrorReply>(name, &user, expires_at)?;
    audit::called(call, &format!("NEW {name} for {user}"));
    call.done(Reply::Value(text.as_bytes()))
}
