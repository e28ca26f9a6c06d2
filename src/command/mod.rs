//! What a request means: the table `COMMANDS`, and `execute`, which looks a request up in it and runs it on the engine.
//!
//! In: a `Request` of any dialect. Out: replies, written as they come, and `Next`: what is left to do that takes time.
//! The table drives dispatch, arity errors, HELP, the counters, the client's completion and hints, and the checks that
//! protocol.md and README.md know every command. A new command is one row here, one handler, one example in protocol.md.

mod admin;
mod kv;

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use crate::engine::{Barrier, Engine, Progress, Scan};
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Replies, Reply, Request, Words};
use crate::record::Entry;
use crate::stats::{Stats, Tally};

/// The most keys that one request may name: they are deleted as one change, under the locks of all their shards at once.
pub const KEYS_PER_REQUEST_MAX: usize = 10_000;

/// What a command does with the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It changes nothing.
    Read,
    /// It changes pairs; it is refused while the disk takes no changes.
    Write,
    /// It has nothing to do with it, and is done before the data is loaded, too.
    Leave,
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
    /// How many arguments it takes; checked once, in `execute`, so that no handler needs to.
    pub arity: RangeInclusive<usize>,
    /// The place of the argument that takes the rest of a line, if there is one.
    pub rest_at: Option<usize>,
    /// What it does with the data.
    pub access: Access,
    /// The dialects that have it: listings are only for lines, as yet.
    pub dialects: &'static [Dialect],
    run: fn(&mut Call<'_>) -> Result<Next, ErrorReply>,
}

impl Command {
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

const EVERYWHERE: &[Dialect] = &[Dialect::Line, Dialect::Resp];
const LINES: &[Dialect] = &[Dialect::Line];

/// Every command, in the order of the chapters of protocol.md.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "PUT",
        usage: "<key> <value>",
        summary: "Store a value under a key.",
        arity: 2..=2,
        rest_at: Some(1),
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::put,
    },
    Command {
        name: "SET",
        usage: "<key> <value>",
        summary: "Store a value under a key, as Redis does it; the value is a word.",
        arity: 2..=2,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::put,
    },
    Command {
        name: "GET",
        usage: "<key>",
        summary: "Read the value of a key.",
        arity: 1..=1,
        rest_at: None,
        access: Access::Read,
        dialects: EVERYWHERE,
        run: kv::get,
    },
    Command {
        name: "SETNX",
        usage: "<key> <value>",
        summary: "Store a value under a key that is not there; counts what was stored.",
        arity: 2..=2,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::setnx,
    },
    Command {
        name: "GETSET",
        usage: "<key> <value>",
        summary: "Store a value under a key; answers the one before.",
        arity: 2..=2,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::getset,
    },
    Command {
        name: "GETDEL",
        usage: "<key>",
        summary: "Delete a key; answers its value.",
        arity: 1..=1,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::getdel,
    },
    Command {
        name: "STRLEN",
        usage: "<key>",
        summary: "Count the bytes of a value.",
        arity: 1..=1,
        rest_at: None,
        access: Access::Read,
        dialects: EVERYWHERE,
        run: kv::strlen,
    },
    Command {
        name: "APPEND",
        usage: "<key> <value>",
        summary: "Add bytes to the end of a value; counts its bytes then.",
        arity: 2..=2,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::append,
    },
    Command {
        name: "INCR",
        usage: "<key>",
        summary: "Add one to a whole number; answers the sum.",
        arity: 1..=1,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::incr,
    },
    Command {
        name: "DECR",
        usage: "<key>",
        summary: "Take one from a whole number; answers the difference.",
        arity: 1..=1,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::decr,
    },
    Command {
        name: "INCRBY",
        usage: "<key> <number>",
        summary: "Add to a whole number; answers the sum.",
        arity: 2..=2,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::incrby,
    },
    Command {
        name: "DECRBY",
        usage: "<key> <number>",
        summary: "Take from a whole number; answers the difference.",
        arity: 2..=2,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::decrby,
    },
    Command {
        name: "DEL",
        usage: "<key> [<key> ...]",
        summary: "Delete keys; answers how many there were.",
        arity: 1..=KEYS_PER_REQUEST_MAX,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::del,
    },
    Command {
        name: "EXISTS",
        usage: "<key> [<key> ...]",
        summary: "Count how many of these keys there are.",
        arity: 1..=KEYS_PER_REQUEST_MAX,
        rest_at: None,
        access: Access::Read,
        dialects: EVERYWHERE,
        run: kv::exists,
    },
    Command {
        name: "ALL",
        usage: "[<prefix>]",
        summary: "List all pairs, or those whose key begins with a prefix.",
        arity: 0..=1,
        rest_at: None,
        access: Access::Read,
        dialects: LINES,
        run: kv::all,
    },
    Command {
        name: "KEYS",
        usage: "[<prefix>]",
        summary: "List all keys, or those that begin with a prefix.",
        arity: 0..=1,
        rest_at: None,
        access: Access::Read,
        dialects: LINES,
        run: kv::keys,
    },
    Command {
        name: "COUNT",
        usage: "[<prefix>]",
        summary: "Count all keys, or those that begin with a prefix.",
        arity: 0..=1,
        rest_at: None,
        access: Access::Read,
        dialects: LINES,
        run: kv::count,
    },
    Command {
        name: "DBSIZE",
        usage: "",
        summary: "Count all keys, as Redis calls it.",
        arity: 0..=0,
        rest_at: None,
        access: Access::Read,
        dialects: EVERYWHERE,
        run: kv::count,
    },
    Command {
        name: "CLEAR",
        usage: "",
        summary: "Delete every key.",
        arity: 0..=0,
        rest_at: None,
        access: Access::Write,
        dialects: EVERYWHERE,
        run: kv::clear,
    },
    Command {
        name: "SAVE",
        usage: "",
        summary: "Write all pairs to store.json now; answers when they are safely on disk.",
        arity: 0..=0,
        rest_at: None,
        access: Access::Read,
        dialects: EVERYWHERE,
        run: admin::save,
    },
    Command {
        name: "STATS",
        usage: "",
        summary: "Show the server's figures.",
        arity: 0..=0,
        rest_at: None,
        access: Access::Read,
        dialects: LINES,
        run: admin::stats,
    },
    Command {
        name: "PING",
        usage: "[<message>]",
        summary: "Ask whether the server is there; it answers a message with the same.",
        arity: 0..=1,
        rest_at: None,
        access: Access::Read,
        dialects: EVERYWHERE,
        run: admin::ping,
    },
    Command {
        name: "ECHO",
        usage: "<message>",
        summary: "Answer with the same text.",
        arity: 1..=1,
        rest_at: None,
        access: Access::Read,
        dialects: EVERYWHERE,
        run: admin::echo,
    },
    Command {
        name: "HELP",
        usage: "[<command>]",
        summary: "List the commands, or explain one.",
        arity: 0..=1,
        rest_at: None,
        access: Access::Read,
        dialects: LINES,
        run: admin::help,
    },
    Command {
        name: "QUIT",
        usage: "",
        summary: "Answer, then close this connection.",
        arity: 0..=0,
        rest_at: None,
        access: Access::Leave,
        dialects: EVERYWHERE,
        run: admin::quit,
    },
];

/// The place in [`COMMANDS`] of a verb, whatever its case.
#[must_use]
pub fn place_of(verb: &str) -> Option<usize> {
    COMMANDS
        .iter()
        .position(|command| command.name.eq_ignore_ascii_case(verb))
}

/// What commands work on: the same for every connection, of every dialect.
#[derive(Debug)]
pub struct Service {
    /// The data, once it is loaded.
    engine: OnceLock<Arc<Engine>>,
    progress: Arc<Progress>,
    /// The counters.
    pub stats: Stats,
}

impl Service {
    /// A service whose data is still being loaded, and how far that is; its counters are at nought.
    #[must_use]
    pub fn new(progress: Arc<Progress>) -> Self {
        Self {
            engine: OnceLock::new(),
            progress,
            stats: Stats::new(COMMANDS.len()),
        }
    }

    /// Takes the data, once it is loaded: from now on every request is served.
    pub fn begin(&self, engine: Arc<Engine>) {
        self.engine.set(engine).expect("the data is loaded once");
    }

    /// The data.
    ///
    /// # Errors
    /// `BUSY`, while it is being loaded, with how far that is.
    pub fn engine(&self) -> Result<&Arc<Engine>, ErrorReply> {
        self.engine.get().ok_or_else(|| {
            let percent = self.progress.percent();
            ErrorReply::new(
                ErrorCode::Busy,
                format!(
                    "loading the data: {percent}% of store.json and the journals has been read; \
                     try again in a moment"
                ),
            )
        })
    }

    /// Waits until what a batch has made or seen is as safe as promised; see [`Engine::commit`]. While the data is being loaded,
    /// nothing has been.
    ///
    /// # Errors
    /// `DISK`.
    pub async fn commit(&self, barrier: Barrier) -> Result<(), ErrorReply> {
        match self.engine.get() {
            Some(engine) => Ok(engine.commit(barrier).await?),
            None => Ok(()),
        }
    }

    /// Saves all pairs, and waits for it; see [`Engine::save`].
    ///
    /// # Errors
    /// `DISK`, or `BUSY` while the data is being loaded.
    pub async fn save(&self) -> Result<(), ErrorReply> {
        Ok(self.engine()?.save().await?)
    }
}

/// What is left to do once a request has been executed. What takes time, or an output as slow as its reader, is not done
/// inside the request: its connection does it, so that nobody else waits.
#[derive(Debug)]
pub enum Next {
    /// Nothing: the reply is written.
    Done,
    /// Send this entry's value: it is too long to be copied while its reader may be slow.
    Value(Entry),
    /// Send the pairs or keys of this scan, or count them.
    Scan(Scan, Listing),
    /// Save, then answer.
    Save,
    /// Close the connection; the reply is written.
    Close,
}

/// What is told of each pair of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Key and value, then the end.
    Pairs,
    /// The key, then the end.
    Keys,
    /// Nothing, but how many there were.
    Count,
}

/// One execution of one command.
struct Call<'a> {
    service: &'a Service,
    tally: &'a mut Tally,
    barrier: &'a mut Barrier,
    replies: &'a mut dyn Replies,
    arguments: Words<'a>,
}

impl<'a> Call<'a> {
    fn engine(&self) -> Result<&'a Arc<Engine>, ErrorReply> {
        self.service.engine()
    }

    fn done(&mut self, reply: Reply<'_>) -> Result<Next, ErrorReply> {
        self.replies.reply(reply);
        Ok(Next::Done)
    }
}

/// Executes one request: counts it, looks it up, checks its arguments, runs it. Every request is answered, by a reply or by
/// what `Next` says is left to do. The barrier is raised to what its reply has to wait for.
pub fn execute(
    service: &Service,
    tally: &mut Tally,
    barrier: &mut Barrier,
    request: &Request<'_>,
    replies: &mut dyn Replies,
) -> Next {
    tally.requests += 1;
    match run(service, tally, barrier, request, replies) {
        Ok(next) => next,
        Err(error) => {
            tally.errors += 1;
            replies.reply(Reply::Error(&error));
            Next::Done
        }
    }
}

fn run(
    service: &Service,
    tally: &mut Tally,
    barrier: &mut Barrier,
    request: &Request<'_>,
    replies: &mut dyn Replies,
) -> Result<Next, ErrorReply> {
    let is_spoken = |place: &usize| COMMANDS[*place].dialects.contains(&request.dialect);
    let Some(place) = place_of(request.verb).filter(is_spoken) else {
        if request.dialect == Dialect::Resp {
            return Err(unknown_to_redis(request));
        }
        let verb: String = request.verb.chars().take(40).collect();
        return Err(ErrorReply::new(
            ErrorCode::Unknown,
            format!("there is no command '{verb}'; HELP lists them"),
        ));
    };
    let command = &COMMANDS[place];
    tally.command(place);
    let arguments = request.arguments(command.rest_at)?;
    if !command.arity.contains(&arguments.len()) {
        return Err(match request.dialect {
            Dialect::Line => wrong_arity(command, arguments.len()),
            Dialect::Resp => ErrorReply::new(
                ErrorCode::Args,
                format!(
                    "wrong number of arguments for '{}' command",
                    command.name.to_lowercase()
                ),
            ),
        });
    }
    if command.access != Access::Leave {
        service.engine()?;
    }
    (command.run)(&mut Call {
        service,
        tally,
        barrier,
        replies,
        arguments,
    })
}

/// As Redis says it: the verb and the first of its arguments, cut off after 128 bytes of them.
fn unknown_to_redis(request: &Request<'_>) -> ErrorReply {
    let shown = |bytes: &[u8]| {
        let bytes = &bytes[..bytes.len().min(128)];
        String::from_utf8_lossy(bytes).into_owned()
    };
    let mut arguments = String::new();
    for argument in request.arguments(None).unwrap_or_default() {
        if arguments.len() >= 128 {
            break;
        }
        arguments += &format!("'{}' ", shown(&argument));
    }
    let verb = shown(request.verb.as_bytes());
    ErrorReply::new(
        ErrorCode::Unknown,
        format!("unknown command '{verb}', with args beginning with: {arguments}"),
    )
}

fn wrong_arity(command: &Command, given: usize) -> ErrorReply {
    let takes = match (*command.arity.start(), *command.arity.end()) {
        (0, 0) => "no argument".to_owned(),
        (1, 1) => "1 argument".to_owned(),
        (0, 1) => "at most 1 argument".to_owned(),
        (least, most) if least == most => format!("{least} arguments"),
        (least, most) => format!("{least} to {most} arguments"),
    };
    let (name, synopsis) = (command.name, command.synopsis());
    ErrorReply::new(
        ErrorCode::Args,
        format!("{name} takes {takes}, not {given}: {synopsis}"),
    )
}
