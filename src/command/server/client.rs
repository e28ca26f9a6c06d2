//! Commands on connections: CLIENT, SELECT, MONITOR, RESET.
//!
//! In: names, filters, the version of RESP. Out: descriptions of connections, and disconnected clients.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::tracking;
use crate::command::acl::{DEFAULT_USER, Identity};
use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::clients::Client;
use crate::command::data::options::{client_number, number_of, switch_of};
use crate::command::database::numbered;
use crate::command::pause::Paused;
use crate::command::refusals::bad_argument;
use crate::command::row::Row;
use crate::command::service::Service;
use crate::command::session::{Session, Silence};
use crate::command::spec::Flag::{
    ImmediateInMulti, LoadingOk, NoAuth, NoMonitor, NotInMulti, NotInScripts, Receives,
    SelectsDatabase, Slow, SubscribedOk,
};
use crate::command::spec::{ANY, Access, Group, Subcommand};
use crate::command::subcommands::{doubtful_subcommand, other_subcommand};
use crate::config::PeerAddress;
use crate::protocol::resp::whole_number;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::connection(
        "CLIENT",
        "ID | GETNAME | SETNAME <name> | SETINFO <attribute> <value> | INFO | LIST [TYPE <type> | ID <id> [<id> ...]] | \
         KILL <address> | KILL <filter> <value> [<filter> <value> ...] | NO-EVICT ON | NO-EVICT OFF | NO-TOUCH ON | NO-TOUCH OFF \
         | REPLY ON | REPLY OFF | REPLY SKIP | UNBLOCK <id> [TIMEOUT | ERROR] | TRACKING ON [REDIRECT <id>] [PREFIX <prefix> [PREFIX <prefix> ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP] \
         | TRACKING OFF | PAUSE <ms> [WRITE | ALL] | UNPAUSE | CACHING YES | CACHING NO | GETREDIR | TRACKINGINFO",
        1..=ANY,
        client,
    )
    .subcommands(&CLIENT_SUBCOMMANDS)
    .flags(&[LoadingOk, NotInScripts])
    .example("CLIENT GETNAME")
    .summary("Name this connection, list connections, or close some."),
    Row::connection("SELECT", "<number>", 1..=1, select)
        .flags(&[LoadingOk, SelectsDatabase])
        .example("SELECT 1")
        .summary("Select a numbered database: the keys that begin with dbN:, without that; 0 is all keys."),
    Row::connection("SWAPDB", "<number> <number>", 2..=2, swapdb)
        .group(Group::Server)
        .example("SWAPDB 0 0")
        .summary("Refused, unless both databases are the same: it would rename all their keys."),
    Row::admin("MONITOR", "", 0..=0, monitor)
        .flags(&[LoadingOk, NotInMulti, Receives, NoMonitor, Slow])
        .example("MONITOR")
        .summary("Receive every request that the server executes from now on."),
    Row::connection("RESET", "", 0..=0, reset)
        .flags(&[LoadingOk, ImmediateInMulti, SubscribedOk, NoAuth, SelectsDatabase])
        .example("RESET")
        .summary("Return this connection to its initial state."),
];

/// Subcommands, and the class of each.
const CLIENT_SUBCOMMANDS: [Subcommand; 18] = {
    use Access::{Admin, Connection};
    [
        Subcommand::new("ID", Connection, "Return the number of this connection."),
        Subcommand::new("GETNAME", Connection, "Return the name of this connection."),
        Subcommand::new("SETNAME", Connection, "Name this connection."),
        Subcommand::new(
            "SETINFO",
            Connection,
            "Name the library of this client, or its version.",
        ),
        Subcommand::new("INFO", Connection, "Describe this connection."),
        Subcommand::new("LIST", Admin, "Describe the connections of the text port."),
        Subcommand::new("KILL", Admin, "Close connections.").destructive(),
        Subcommand::new(
            "NO-EVICT",
            Admin,
            "Keep this connection, whatever memory it holds, when clients are disconnected for that.",
        ),
        Subcommand::new(
            "NO-TOUCH",
            Connection,
            "Let the reads of this connection be no uses of the pairs, by which evictions go.",
        ),
        Subcommand::new(
            "REPLY",
            Connection,
            "Send this connection replies, or none, or none to the next request.",
        ),
        Subcommand::new(
            "UNBLOCK",
            Admin,
            "End the wait of a connection; answers 1 if it was waiting, else 0.",
        ),
        Subcommand::new(
            "PAUSE",
            Admin,
            "Let all requests, or those that change pairs, wait for a time.",
        ),
        Subcommand::new("UNPAUSE", Admin, "End the wait of PAUSE."),
        Subcommand::new(
            "TRACKING",
            Connection,
            "Tell this connection, or another, of changes of what it reads or of prefixes.",
        ),
        Subcommand::new(
            "CACHING",
            Connection,
            "Let the next request be an exception to what is tracked.",
        ),
        Subcommand::new(
            "GETREDIR",
            Connection,
            "Return the number of the connection that is told of changes in place of this one.",
        ),
        Subcommand::new(
            "TRACKINGINFO",
            Connection,
            "Tell what this connection tracks.",
        ),
        Subcommand::HELP,
    ]
};

fn client(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let client = call.client()?;
    let arguments = &words[1..];
    match (&*words[0].to_ascii_uppercase(), arguments) {
        (b"ID", []) => call.done(Reply::Count(client.id)),
        (b"GETNAME", []) => {
            let name = client.names().name;
            if name.is_empty() {
                return call.done(Reply::NotFound);
            }
            call.done(Reply::Value(name.as_bytes()))
        }
        (b"SETNAME", [name]) => {
            let name = printable(name).ok_or_else(bad_name)?;
            client.names_mut().name = name;
            call.done(Reply::Ok)
        }
        (b"SETINFO", [attribute, value]) => {
            let attribute = String::from_utf8_lossy(attribute).to_lowercase();
            let value = printable(value).ok_or_else(|| {
                bad_argument(format!(
                    "{attribute} cannot contain spaces, newlines or special characters."
                ))
            })?;
            let mut names = client.names_mut();
            match &*attribute {
                "lib-name" => names.library = value,
                "lib-ver" => names.library_version = value,
                _ => {
                    return Err(bad_argument(format!("Unrecognized option '{attribute}'")));
                }
            }
            drop(names);
            call.done(Reply::Ok)
        }
        (b"INFO", []) => {
            let text = describe(call.service, &client);
            call.done(Reply::Text(&text))
        }
        (b"LIST", filters) => list(call, filters),
        (b"KILL", [address]) => kill_address(call, address),
        (b"KILL", filters) if !filters.is_empty() => kill(call, &client, filters),
        (name @ (b"NO-EVICT" | b"NO-TOUCH"), [word]) => {
            let is_on = switch_of(word).ok_or_else(|| call.syntax_error())?;
            if name == b"NO-EVICT" {
                client.account.protect(is_on);
            } else {
                call.session.is_no_touch = is_on;
                client.is_no_touch.store(is_on, Relaxed);
            }
            call.done(Reply::Ok)
        }
        (b"REPLY", [word]) => reply(call, word),
        (b"PAUSE", [ms]) => pause(call, ms, Paused::All),
        (b"PAUSE", [ms, word]) => match &*word.to_ascii_uppercase() {
            b"WRITE" => pause(call, ms, Paused::Writes),
            b"ALL" => pause(call, ms, Paused::All),
            _ => Err(bad_argument("CLIENT PAUSE mode must be WRITE or ALL")),
        },
        (b"UNPAUSE", []) => {
            call.service.pause.end();
            call.done(Reply::Ok)
        }
        (b"UNBLOCK", [id, reason @ ..]) if reason.len() < 2 => unblock(call, id, reason),
        (b"PAUSE" | b"UNBLOCK", [_, _, ..]) => Err(doubtful_subcommand(call, &words[0])),
        (b"TRACKING", [word, options @ ..]) => tracking::switch(call, &client, word, options),
        (b"CACHING", [word]) => tracking::except_next(call, word),
        (b"GETREDIR", []) => tracking::redirection(call),
        (b"TRACKINGINFO", []) => tracking::describe(call),
        _ => other_subcommand(call, words),
    }
}

/// Says which replies the client wants. Without a connection of its own there is nothing else to be sent.
fn reply(call: &mut Call<'_, '_>, word: &[u8]) -> Answer {
    if call.service.cluster().is_some() {
        let message = "replies are not left out where a cluster has the data";
        return Err(ErrorReply::new(ErrorCode::Denied, message).with_prefix("ERR"));
    }
    let silence = &mut call.session.silence;
    *silence = match &*word.to_ascii_uppercase() {
        b"ON" => Silence::None,
        b"OFF" => Silence::All,
        // Who wants none at all wants none to the next request.
        b"SKIP" if *silence == Silence::All => Silence::All,
        b"SKIP" => Silence::Skip,
        _ => return Err(call.syntax_error()),
    };
    call.done(Reply::Ok)
}

/// Lets requests of all clients wait.
fn pause(call: &mut Call<'_, '_>, ms: &[u8], paused: Paused) -> Answer {
    let ms =
        number_of(ms).map_err(|_| bad_argument("timeout is not an integer or out of range"))?;
    let ms = u64::try_from(ms).map_err(|_| bad_argument("timeout is negative"))?;
    audit::called(call, "PAUSE");
    call.service.pause.begin(Duration::from_millis(ms), paused);
    call.done(Reply::Ok)
}

/// Ends the wait of a client.
fn unblock(call: &mut Call<'_, '_>, id: &[u8], reason: &Arguments<'_>) -> Answer {
    let is_error = match reason.first().map(|word| word.to_ascii_uppercase()) {
        None => false,
        Some(word) if word == b"TIMEOUT" => false,
        Some(word) if word == b"ERROR" => true,
        Some(_) => {
            return Err(bad_argument(
                "CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
    };
    let id = number_of(id)?;
    let client = u64::try_from(id)
        .ok()
        .and_then(|id| call.service.clients.get(id));
    let blocked = client.filter(|client| client.is_blocked());
    if let Some(client) = &blocked {
        client.unblock(is_error);
    }
    call.done(Reply::Count(blocked.is_some().into()))
}

pub(super) fn bad_name() -> ErrorReply {
    bad_argument("Client names cannot contain spaces, newlines or special characters.")
}

/// Maximum length of a name in bytes: it is kept in memory.
const NAME_BYTES_MAX: usize = 1024;

/// Parses a name; `None` if it is too long, or has spaces or control characters, which would break the lines of CLIENT LIST.
pub(super) fn printable(bytes: &[u8]) -> Option<String> {
    let is_printable = bytes.iter().all(u8::is_ascii_graphic) && bytes.len() <= NAME_BYTES_MAX;
    is_printable.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Formats a line of CLIENT LIST, with Redis's fields.
/// Source: <https://redis.io/docs/latest/commands/client-list/>.
fn describe(service: &Service, client: &Client) -> String {
    let names = client.names();
    let numbers = client.subscriptions.each_ref();
    let [channels, patterns, shards] = numbers.map(|number| number.load(Relaxed));
    let queued = client.queued.load(Relaxed);
    let tracked = tracking::Shown::of(service, client.id);
    let flags = [
        (client.is_monitor.load(Relaxed), 'O'),
        (client.is_subscribed(), 'P'),
        (queued >= 0, 'x'),
        (client.is_blocked(), 'b'),
        (matches!(client.address, PeerAddress::Unix(_)), 'U'),
        (client.account.is_protected(), 'e'),
        (client.is_no_touch.load(Relaxed), 'T'),
        (tracked.is_some(), 't'),
        (tracked.is_some_and(|tracked| tracked.is_broken), 'R'),
        (tracked.is_some_and(|tracked| tracked.is_broadcast), 'B'),
    ];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
    let mut flags: String = flags.map(|(_, letter)| letter).collect();
    if flags.is_empty() {
        flags.push('N');
    }
    let command = client.command.load(Relaxed).checked_sub(1);
    let command = command.map_or("NULL".to_owned(), |id| {
        service.commands.described(id).name()
    });
    let buffers = &client.buffers;
    let (partial, input) = (buffers.partial.load(Relaxed), buffers.input.load(Relaxed));
    let output = buffers.output.load(Relaxed);
    let (messages, outbox) = client.outbox_size();
    let events = if output > 0 { "rw" } else { "r" };
    // Arguments are a part of the input, and replies have one buffer.
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={channels} psub={patterns} ssub={shards} \
         multi={queued} qbuf={partial} qbuf-free={} argv-mem=0 multi-mem={} rbs={output} rbp={output} obl={output} \
         oll={messages} omem={outbox} tot-mem={} events={events} cmd={command} user={} redir={} resp={} lib-name={} \
         lib-ver={} tot-net-in={} tot-net-out={}\n",
        client.id,
        client.address,
        client.local_address,
        client.descriptor,
        names.name,
        client.connected_at.elapsed().as_secs(),
        service.clients.idle_seconds(client),
        client.database.load(Relaxed),
        input.saturating_sub(partial),
        client.queued_bytes.load(Relaxed),
        client.account.bytes(),
        shown_user(&names.user),
        tracked.map_or(-1, |tracked| tracked.redirect),
        client.resp.load(Relaxed),
        names.library,
        names.library_version,
        buffers.received.get(),
        buffers.sent.get(),
    )
}

/// Returns the name of a user as Redis shows it: also clients that have to sign in have the default user.
fn shown_user(name: &str) -> &str {
    if name.is_empty() { DEFAULT_USER } else { name }
}

fn list(call: &mut Call<'_, '_>, filters: &Arguments<'_>) -> Answer {
    let mut all = call.service.clients.all();
    match filters {
        [] => {}
        [word, name] if word.eq_ignore_ascii_case(b"TYPE") => retain_type(&mut all, name)?,
        [word, ids @ ..] if word.eq_ignore_ascii_case(b"ID") && !ids.is_empty() => {
            let ids: Option<BTreeSet<u64>> = ids.iter().map(|id| client_number(id)).collect();
            let ids = ids.ok_or_else(|| bad_argument("Invalid client ID"))?;
            all.retain(|client| ids.contains(&client.id));
        }
        _ => return Err(call.syntax_error()),
    }
    let lines = all.iter().map(|client| describe(call.service, client));
    call.done(Reply::Text(&lines.collect::<String>()))
}

/// Keeps the clients of a type, by Redis's names of the types.
///
/// # Errors
/// `ARGS` for an unknown type.
fn retain_type(all: &mut Vec<Arc<Client>>, name: &[u8]) -> Result<(), ErrorReply> {
    match &*name.to_ascii_lowercase() {
        b"normal" => all.retain(|client| !client.is_subscribed()),
        b"pubsub" => all.retain(|client| client.is_subscribed()),
        // There are no replicas.
        b"master" | b"replica" | b"slave" => all.clear(),
        _ => {
            let name = String::from_utf8_lossy(name);
            return Err(bad_argument(format!("Unknown client type '{name}'")));
        }
    }
    Ok(())
}

fn kill_address(call: &mut Call<'_, '_>, address: &[u8]) -> Answer {
    let mut all = call.service.clients.all();
    all.retain(|client| client.address.to_string().as_bytes() == address);
    if all.is_empty() {
        return Err(bad_argument("No such client"));
    }
    disconnect(call, &all, Reply::Ok)
}

/// Maximum number of filters of CLIENT KILL: each is compared with each client.
pub const KILL_FILTERS_MAX: usize = 16;

fn kill(call: &mut Call<'_, '_>, own: &Client, filters: &Arguments<'_>) -> Answer {
    if filters.len() > 2 * KILL_FILTERS_MAX {
        return Err(ErrorReply::new(
            ErrorCode::TooLarge,
            format!("CLIENT KILL takes {KILL_FILTERS_MAX} filters, a name and a value each"),
        ));
    }
    let mut all = call.service.clients.all();
    let mut skips_own = true;
    let mut filters = filters.iter();
    while let Some(filter) = filters.next() {
        let value = filters.next().ok_or_else(|| call.syntax_error())?;
        match &*filter.to_ascii_uppercase() {
            b"ID" => {
                let id = client_number(value);
                let id = id.ok_or_else(|| bad_argument("client-id should be greater than 0"))?;
                all.retain(|client| client.id == id);
            }
            b"ADDR" => all.retain(|client| client.address.to_string().as_bytes() == &**value),
            b"LADDR" => {
                all.retain(|client| client.local_address.to_string().as_bytes() == &**value);
            }
            b"TYPE" => retain_type(&mut all, value)?,
            b"USER" => {
                let user = String::from_utf8_lossy(value);
                if call.service.users.get(&user).is_none() {
                    return Err(bad_argument(format!("No such user '{user}'")));
                }
                all.retain(|client| shown_user(&client.names().user) == user);
            }
            b"MAXAGE" => {
                let seconds = whole_number(value).and_then(|seconds| u64::try_from(seconds).ok());
                let seconds = seconds
                    .ok_or_else(|| bad_argument("maxage is not an integer or out of range"))?;
                all.retain(|client| client.connected_at.elapsed().as_secs() >= seconds);
            }
            b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => skips_own = true,
            b"SKIPME" if value.eq_ignore_ascii_case(b"no") => skips_own = false,
            _ => return Err(call.syntax_error()),
        }
    }
    all.retain(|client| client.id != own.id || !skips_own);
    let count = all.len() as u64;
    disconnect(call, &all, Reply::Count(count))
}

/// Disconnects clients; this one after its reply.
fn disconnect(call: &mut Call<'_, '_>, clients: &[Arc<Client>], reply: Reply<'_>) -> Answer {
    let own = call.client()?.id;
    for client in clients.iter().filter(|client| client.id != own) {
        client.kill();
    }
    call.replies.reply(reply);
    Ok(if clients.iter().any(|client| client.id == own) {
        Outcome::Close
    } else {
        Outcome::Done
    })
}

fn monitor(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let client = call.client()?;
    call.session.pushes_lines = !call.dialect.is_resp();
    call.service.clients.monitor(&client);
    call.done(Reply::Ok)
}

fn reset(call: &mut Call<'_, '_>, _words: &Arguments<'_>) -> Answer {
    let client = call.client()?;
    call.session.unsubscribe_all(&call.service.channels);
    call.session.end_tracking(call.service);
    call.service.clients.end_monitoring(client.id);
    client.clear_outbox();
    client.is_no_touch.store(false, Relaxed);
    client.account.protect(false);
    *client.names_mut() = crate::command::clients::Names::default();
    let allows_anonymous = call.session.identity.allows_anonymous();
    let identity = Identity::anonymous(&call.service.users, allows_anonymous);
    *call.session = Session::of(&client, identity);
    if call.dialect.is_resp() {
        call.replies.set_dialect(Dialect::Resp2);
    }
    call.replies.reply(Reply::Status("RESET"));
    Ok(Outcome::Done)
}

fn select(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let database = numbered(call.service, &words[0])?;
    call.session.select(database);
    call.done(Reply::Ok)
}

fn swapdb(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    for (word, place) in words.iter().zip(["first", "second"]) {
        let number = whole_number(word).and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| bad_argument(format!("invalid {place} DB index")))?;
    }
    let (first, second) = (
        numbered(call.service, &words[0])?,
        numbered(call.service, &words[1])?,
    );
    if first == second {
        return call.done(Reply::Ok);
    }
    Err(bad_argument(
        "databases are prefixes of keys, and SWAPDB would rename every key of both; let the clients SELECT another one",
    ))
}
