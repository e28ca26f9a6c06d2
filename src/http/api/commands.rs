//! `GET /api/v1/commands`: the table of commands of the line protocol, for who helps people to type them.
//!
//! In: the table. Out: JSON. Promise: nothing is told that the table does not hold.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::command::{COMMANDS, Dialects};
use crate::http::descriptions::OTHER_SITE;
use crate::http::problem::Problem;

/// A command.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommandRow {
    /// The verb.
    #[schema(example = "GET")]
    name: &'static str,
    /// Its arguments, as people are shown them; empty if there are none.
    #[schema(example = "<key>")]
    usage: &'static str,
    /// What it does, in a sentence.
    #[schema(example = "Read the value of a key.")]
    summary: &'static str,
    /// Whether it changes pairs.
    is_write: bool,
}

/// List the commands of the line protocol.
#[utoipa::path(get, path = "/api/v1/commands", operation_id = "list_commands", tag = "Server",
    responses(
        (status = 200, description = "The commands, in the order of HELP.", body = Vec<CommandRow>),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json")))]
pub async fn list() -> Json<Vec<CommandRow>> {
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
