//! `GET /api/v1/commands`: the table of commands of the line protocol, for programs that complete or explain them.
//!
//! In: the table. Out: JSON. Promise: the response holds nothing that the table does not.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::command::{COMMANDS, Command, Dialects, Flag, KeyFlag, Scope};
use crate::http::input::{NoParameters, Parameters};

/// Row of the table of commands.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandRow {
    /// Name of the command.
    #[schema(example = "GET")]
    name: &'static str,
    /// Arguments, as HELP shows them; empty if there are none.
    #[schema(example = "<key>")]
    usage: &'static str,
    /// Description in one sentence.
    #[schema(example = "Read the value of a key.")]
    summary: &'static str,
    /// True if the command changes pairs.
    is_write: bool,
    /// True if it makes the connection a receiver of messages, until that is ended.
    receives: bool,
    /// What a person is asked about before the command is sent; null if that is not needed.
    destroys: Option<Destroys>,
    /// Subcommands that delete or close what they name, about which a person is asked, too.
    destructive_subcommands: Vec<&'static str>,
}

/// What a command destroys.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Destroys {
    /// Every pair.
    All,
    /// The pairs whose key begins with the first argument.
    Prefix,
    /// The pairs whose keys are its arguments.
    Keys,
    /// The server: it stops.
    Server,
}

impl Destroys {
    fn of(command: &Command) -> Option<Self> {
        let is_deleted = |flags: &[KeyFlag]| flags.contains(&KeyFlag::Remove);
        match command.scope {
            Scope::Keys([keys]) if keys.last.is_none() && is_deleted(keys.flags) => {
                Some(Self::Keys)
            }
            _ if !command.has(Flag::Dangerous) => None,
            Scope::Prefix(0) => Some(Self::Prefix),
            Scope::Nothing => Some(Self::Server),
            _ => Some(Self::All),
        }
    }
}

/// List the commands of the line protocol.
#[utoipa::path(get, path = "/api/v1/commands", operation_id = "list_commands", tag = "Server",
    responses(
        (status = 200, description = "The commands, in the order of HELP.", body = Vec<CommandRow>)))]
pub async fn list(_: Parameters<NoParameters>) -> Json<Vec<CommandRow>> {
    let known = COMMANDS
        .iter()
        .filter(|command| command.dialects != Dialects::Resp);
    let listed = known.map(|command| CommandRow {
        name: command.name,
        usage: command.usage,
        summary: command.summary,
        is_write: command.is_write(),
        receives: command.has(Flag::Receives),
        destroys: Destroys::of(command),
        destructive_subcommands: command
            .subcommands
            .iter()
            .filter(|subcommand| subcommand.is_destructive)
            .map(|subcommand| subcommand.name)
            .collect(),
    });
    Json(listed.collect())
}
