//! `GET /api/v1/commands`: the table of commands of the line protocol, for programs that complete or explain them.
//!
//! In: the table. Out: JSON. Promise: the response holds nothing that the table does not.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::command::{COMMANDS, Dialects};
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
    });
    Json(listed.collect())
}
