//! The meaning of requests: the table of commands, and the dispatcher that executes them on the engine.
//!
//! In: `Request`s of any dialect and interface. Out: replies, written to a sink, or a stream that is pulled from.
//! `table` lists every command; it drives dispatch, arity errors, HELP, COMMAND, counters, the locks of a transaction, the
//! client's completion and the checks that protocol.md and README.md know every command. A family of commands is one file of
//! `data` or `server`, its rows above its handlers; a new command is one row, one handler, one example in protocol.md.

mod acl;
pub mod audit;
mod call;
mod category;
mod channels;
mod client_memory;
mod clients;
mod clustered;
mod counts;
mod data;
mod database;
mod described;
mod dispatch;
mod following;
mod glob;
mod key_events;
mod keyspace_events;
mod limits;
pub mod long_work;
mod lookup;
mod notices;
mod observation;
mod pause;
mod permission;
mod prepare;
mod refusals;
mod reply_sink;
mod row;
mod scripts;
mod server;
mod service;
mod session;
mod signals;
mod slow_requests;
mod spec;
mod stream;
mod subcommands;
mod table;
mod tips;
mod tracking;
mod usage;
mod version;
mod watched_keys;

pub use acl::{
    ATTEMPTS_AT_ONCE_MAX, DEFAULT_USER, Identity, Origin, PASSWORD_BYTES_MAX, PASSWORDS_MAX,
    TOKENS_MAX, USER_RULES_BYTES_MAX, USERS_MAX, User, Users, UsersError,
};
pub use call::Outcome;
pub use channels::{CHANNEL_BYTES_MAX, SUBSCRIBED_BYTES_MAX, SUBSCRIPTIONS_MAX};
pub use client_memory::{Account, Charge, ClientMemory, HeldValue, OverBudget};
pub use clients::{Buffers, Client, OUTBOX_BYTES_MAX, OutboxMessage};
pub use clustered::Forwarded;
pub use counts::{Counts, Usage};
pub use data::namespace_count::{NAMESPACE_NAMES_BYTES_MAX, NAMESPACES_MAX};
pub use data::page::{PAGE_PAIRS, PAGE_PAIRS_MAX, SEARCH_BYTES_MAX};
pub use data::scan::{LOCKED_PAIRS_MAX, SCAN_COUNT_MAX};
pub use data::script::ALL_LOCKED_TIME_MAX;
pub use data::transaction::REPLY_BYTES_MAX;
pub use dispatch::{Dispatcher, Executed};
pub use following::{FOLLOWED_MAX, Followed};
pub use glob::{PATTERN_BYTES_MAX, Pattern};
pub use limits::KEYS_PER_REQUEST_MAX;
pub use lookup::CommandList;
pub use observation::Status;
pub use pause::{Pause, Paused};
pub use prepare::{BatchRole, LastCommand, Prepared, RequestBatch};
pub use reply_sink::Replies;
pub use scripts::{LOADED_BYTES_MAX, LONG_RUNS_MAX};
pub use server::client::KILL_FILTERS_MAX;
pub use server::command_docs::COMMAND_NAMES_MAX;
pub use server::figures;
pub use server::members::{CLUSTER_PREFIX, list_members};
pub use service::Service;
pub use session::{QUEUED_BYTES_MAX, QUEUED_REQUESTS_MAX, Reserved, Session, Silence};
pub use signals::{Signal, Signals};
pub use spec::{
    Access, ChannelUse, Clustered, Command, Dialects, Flag, Group, KeyFlag, KeySpec, Scope,
};
pub use stream::{Stream, StreamPulled};
pub use table::COMMANDS;
pub use tracking::{TRACKED_PREFIXES_BYTES_MAX, TRACKED_PREFIXES_MAX};
pub use version::version_of;
