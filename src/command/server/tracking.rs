//! Client-side caching: CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO.
//!
//! In: what a client wants to be told of. Out: its tracking, and descriptions of it. Promise: wrong options change nothing.
//!
//! Source: <https://redis.io/docs/latest/commands/client-tracking/>.

use std::sync::{Arc, Weak};

use crate::command::call::{Answer, Arguments, Call, Outcome};
use crate::command::clients::Client;
use crate::command::data::options::{client_number, switch_of};
use crate::command::refusals::bad_argument;
use crate::command::service::Service;
use crate::command::tracking::{
    Choice, SessionTracking, TRACKED_PREFIXES_BYTES_MAX, TRACKED_PREFIXES_MAX, TrackerOptions,
};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

/// Options of CLIENT TRACKING ON.
#[derive(Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four options of the protocol, which can be combined"
)]
struct Options {
    redirect: Option<(u64, Weak<Client>)>,
    prefixes: Vec<Box<[u8]>>,
    is_broadcast: bool,
    opts_in: bool,
    opts_out: bool,
    skips_own: bool,
}

impl Options {
    fn parse(call: &Call<'_, '_>, words: &Arguments<'_>) -> Result<Self, ErrorReply> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match &*word.to_ascii_uppercase() {
                b"REDIRECT" => {
                    let word = words.next().ok_or_else(|| call.syntax_error())?;
                    if options.redirect.is_some() {
                        return Err(bad_argument(
                            "A client can only redirect to a single other client",
                        ));
                    }
                    let id = client_number(word)
                        .ok_or_else(|| bad_argument("value is not an integer or out of range"))?;
                    let target = call.service.clients.get(id).ok_or_else(|| {
                        bad_argument("The client ID you want redirect to does not exist")
                    })?;
                    options.redirect = Some((id, Arc::downgrade(&target)));
                }
                b"PREFIX" => {
                    let word = words.next().ok_or_else(|| call.syntax_error())?;
                    options.prefixes.push((**word).into());
                }
                b"BCAST" => options.is_broadcast = true,
                b"OPTIN" => options.opts_in = true,
                b"OPTOUT" => options.opts_out = true,
                b"NOLOOP" => options.skips_own = true,
                _ => return Err(call.syntax_error()),
            }
        }
        Ok(options)
    }

    /// Checks that the options may stand together.
    fn check(&self) -> Result<(), ErrorReply> {
        if !self.is_broadcast && !self.prefixes.is_empty() {
            return Err(bad_argument(
                "PREFIX option requires BCAST mode to be enabled",
            ));
        }
        if self.opts_in && self.opts_out {
            return Err(bad_argument(
                "You can't specify both OPTIN mode and OPTOUT mode",
            ));
        }
        if self.is_broadcast && (self.opts_in || self.opts_out) {
            return Err(bad_argument(
                "OPTIN and OPTOUT are not compatible with BCAST",
            ));
        }
        Ok(())
    }

    fn choice(&self) -> Choice {
        match (self.is_broadcast, self.opts_in, self.opts_out) {
            (true, ..) => Choice::Broadcast,
            (_, true, _) => Choice::OptIn,
            (_, _, true) => Choice::OptOut,
            _ => Choice::All,
        }
    }
}

/// Begins or ends the tracking of a client.
pub(super) fn switch(
    call: &mut Call<'_, '_>,
    client: &Arc<Client>,
    word: &[u8],
    words: &Arguments<'_>,
) -> Answer {
    if call.dialect == Dialect::Line {
        let message = "invalidations are sent in RESP; FOLLOW sends changes on lines";
        return Err(ErrorReply::new(ErrorCode::Denied, message));
    }
    if call.service.cluster().is_some() {
        let message =
            "a cluster has the data, whose pairs others change unseen: track at its nodes";
        return Err(ErrorReply::new(ErrorCode::Denied, message).with_prefix("ERR"));
    }
    let options = Options::parse(call, words)?;
    match switch_of(word) {
        Some(true) => begin(call, client, options),
        Some(false) => {
            call.session.end_tracking(call.service);
            call.done(Reply::Ok)
        }
        None => Err(call.syntax_error()),
    }
}

fn begin(call: &mut Call<'_, '_>, client: &Arc<Client>, options: Options) -> Answer {
    options.check()?;
    let choice = options.choice();
    if let Some(tracking) = &call.session.tracking {
        check_change(tracking.choice, choice)?;
    }
    let now = call.session.tracking.as_ref();
    let before = now.map_or_else(Vec::new, |now| now.tracker.options().prefixes.clone());
    let prefixes = added(
        before,
        options.prefixes,
        options.is_broadcast,
        now.is_some(),
    )?;
    let place = call.service.commands.place_of(b"GET", Dialect::Resp2);
    let place = place.expect("a row of the table");
    let filter = call.session.identity.key_filter(&call.service.users, place);
    let chosen = TrackerOptions {
        redirect: options.redirect,
        skips_own: options.skips_own,
        prefixes,
        filter,
    };
    if let Some(tracking) = &mut call.session.tracking {
        *tracking.tracker.options() = chosen;
        tracking.choice = choice;
    } else {
        let all = &call.service.notices.tracking;
        call.session.tracking = Some(Box::new(SessionTracking {
            tracker: all.begin(client, options.is_broadcast, chosen),
            choice,
            is_exception: false,
        }));
    }
    call.done(Reply::Ok)
}

/// Checks that a client may track otherwise than it does.
fn check_change(now: Choice, then: Choice) -> Result<(), ErrorReply> {
    let mode = match (now, then) {
        (Choice::OptIn, Choice::OptOut) | (Choice::OptOut, Choice::OptIn) => "OPTIN/OPTOUT mode",
        _ if (now == Choice::Broadcast) != (then == Choice::Broadcast) => "BCAST mode on/off",
        _ => return Ok(()),
    };
    Err(bad_argument(format!(
        "You can't switch {mode} before disabling tracking for this client, and then re-enabling it with a different mode."
    )))
}

/// Adds prefixes to those that a client tracks; of none, it tracks all keys.
fn added(
    mut prefixes: Vec<Box<[u8]>>,
    more: Vec<Box<[u8]>>,
    is_broadcast: bool,
    is_on: bool,
) -> Result<Vec<Box<[u8]>>, ErrorReply> {
    let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
    let refuse = |one: &[u8], kind, other: &[u8]| {
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        bad_argument(format!(
            "Prefix '{one}' overlaps with {kind} prefix '{other}'. Prefixes for a single client must not overlap."
        ))
    };
    if is_broadcast && is_on && prefixes.is_empty() {
        prefixes.push(Box::default());
    }
    for (at, prefix) in more.iter().enumerate() {
        if let Some(other) = prefixes.iter().find(|other| overlap(prefix, other)) {
            return Err(refuse(prefix, "an existing", other));
        }
        if let Some(other) = more[at + 1..].iter().find(|other| overlap(prefix, other)) {
            return Err(refuse(prefix, "another provided", other));
        }
    }
    prefixes.extend(more);
    prefixes.retain(|prefix| !prefix.is_empty());
    let bytes: usize = prefixes.iter().map(|prefix| prefix.len()).sum();
    if prefixes.len() > TRACKED_PREFIXES_MAX || bytes > TRACKED_PREFIXES_BYTES_MAX {
        return Err(ErrorReply::new(
            ErrorCode::TooLarge,
            format!(
                "a client may track {TRACKED_PREFIXES_MAX} prefixes of {TRACKED_PREFIXES_BYTES_MAX} bytes"
            ),
        ));
    }
    Ok(prefixes)
}

/// Lets the next request be an exception.
pub(super) fn except_next(call: &mut Call<'_, '_>, word: &[u8]) -> Answer {
    let choice = call.session.tracking.as_ref().map(|now| now.choice);
    let is_yes = match &*word.to_ascii_uppercase() {
        b"YES" => true,
        b"NO" => false,
        _ if choice.is_some() => return Err(call.syntax_error()),
        _ => false,
    };
    match (choice, is_yes) {
        (Some(Choice::OptIn), true) | (Some(Choice::OptOut), false) => {
            if let Some(tracking) = &mut call.session.tracking {
                tracking.is_exception = true;
            }
            call.done(Reply::Ok)
        }
        (Some(_), true) => Err(bad_argument(
            "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        )),
        (Some(_), false) => Err(bad_argument(
            "CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        )),
        (None, _) => Err(bad_argument(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        )),
    }
}

/// What others are shown of the tracking of a client.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    pub is_broadcast: bool,
    pub is_broken: bool,
    /// Number of the client that is told in its place; 0 if there is none.
    pub redirect: i64,
}

impl Shown {
    /// Returns what is shown of a client that tracks.
    pub fn of(service: &Service, client: u64) -> Option<Self> {
        let tracker = service.notices.tracking.of(client)?;
        let options = tracker.options();
        let redirect = options.redirect.as_ref().map_or(0, |(id, _)| *id);
        Some(Self {
            is_broadcast: tracker.is_broadcast,
            is_broken: options.has_lost_target(),
            redirect: i64::try_from(redirect).unwrap_or(i64::MAX),
        })
    }
}

/// Answers with the number of the client that is told in place of this one.
pub(super) fn redirection(call: &mut Call<'_, '_>) -> Answer {
    let client = call.client()?;
    let shown = Shown::of(call.service, client.id);
    call.done(Reply::Signed(shown.map_or(-1, |shown| shown.redirect)))
}

/// Describes what the client tracks.
pub(super) fn describe(call: &mut Call<'_, '_>) -> Answer {
    let client = call.client()?;
    let shown = Shown::of(call.service, client.id);
    let mut flags = Vec::new();
    let mut prefixes = Vec::new();
    match (&call.session.tracking, shown) {
        (Some(tracking), Some(shown)) => {
            flags.push("on");
            let (choice, exception) = match tracking.choice {
                Choice::All => (None, None),
                Choice::OptIn => (Some("optin"), Some("caching-yes")),
                Choice::OptOut => (Some("optout"), Some("caching-no")),
                Choice::Broadcast => (Some("bcast"), None),
            };
            flags.extend(choice);
            flags.extend(exception.filter(|_| tracking.is_exception));
            let options = tracking.tracker.options();
            if options.skips_own {
                flags.push("noloop");
            }
            if shown.is_broken {
                flags.push("broken_redirect");
            }
            prefixes.clone_from(&options.prefixes);
            if prefixes.is_empty() && shown.is_broadcast {
                prefixes.push(Box::default());
            }
        }
        _ => flags.push("off"),
    }
    let replies = &mut call.replies;
    replies.reply(Reply::Map(3));
    replies.reply(Reply::Value(b"flags"));
    replies.reply(Reply::Set(flags.len()));
    for flag in flags {
        replies.reply(Reply::Value(flag.as_bytes()));
    }
    replies.reply(Reply::Value(b"redirect"));
    replies.reply(Reply::Signed(shown.map_or(-1, |shown| shown.redirect)));
    replies.reply(Reply::Value(b"prefixes"));
    replies.reply(Reply::Array(prefixes.len()));
    for prefix in prefixes {
        replies.reply(Reply::Value(&prefix));
    }
    Ok(Outcome::Done)
}
