//! `POST /api/v1/backup`: a copy of the data folder on the server's machine.

use axum::Json;
use axum::extract::Request;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body;
use crate::http::door::Caller;
use crate::http::input::{self, NoParameters, Parameters};
use crate::http::problem::{Problem, unfit};

/// Backup to make, or that was made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Backup, example = json!({"to": "/var/backups/pykv-monday"}))]
pub struct BackupFolder {
    /// Folder of the backup, named from the root; it must not exist yet, or be empty.
    to: String,
}

/// Make a backup.
///
/// The copy is a data folder of its own, with every change that was acknowledged before the request; changes go on meanwhile.
#[utoipa::path(post, path = "/api/v1/backup", operation_id = "back_up", tag = "Server", request_body = BackupFolder,
    responses(
        (status = 200, description = "The backup is complete, and on the disk.", body = BackupFolder),
        (status = 400, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The folder is not empty or not named from the root, or the body is not what it should be.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Another backup is being made, the disk does not take it, or the data is still being loaded. \
            Nothing is left of the backup.", body = Problem, content_type = "application/problem+json")))]
pub async fn back_up(
    caller: Caller,
    _: Parameters<NoParameters>,
    request: Request,
) -> Result<Json<BackupFolder>, Problem> {
    let received = input::body(request).await?;
    let backup: BackupFolder = body::object(&received)?;
    if !backup.to.starts_with('/') || backup.to.contains('\0') {
        return Err(unfit(
            "to is not the name of a folder from the root, such as /var/backups/pykv",
        ));
    }
    let mut door = caller.door();
    door.execute("BACKUP", &[backup.to.as_bytes()]).await?;
    Ok(Json(backup))
}
