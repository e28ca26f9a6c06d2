//! `GET /api/v1/count`, `DELETE /api/v1/keys`: all keys with a prefix, counted or deleted.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::command::Service;
use crate::http::descriptions::{LOADING, OTHER_SITE, UNSAFE};
use crate::http::door::Door;
use crate::http::input;
use crate::http::problem::Problem;

/// Which keys are counted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Counting {
    /// Only those that begin with this.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
}

/// Which keys are deleted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Deleting {
    /// Those that begin with this. It is not empty: `DELETE /clear` deletes every key.
    #[param(example = "session:")]
    prefix: String,
}

/// How many keys there are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counted {
    /// How many.
    #[schema(example = 10)]
    keys: u64,
}

/// How many keys have been deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// How many.
    #[schema(example = 10)]
    deleted: u64,
}

/// Count keys.
///
/// With a prefix all keys are looked at, which takes about a tenth of a microsecond for each.
#[utoipa::path(get, path = "/api/v1/count", tag = "Keys", params(Counting),
    responses(
        (status = 200, description = "How many there are.", body = Counted),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The prefix is over the limit of a key.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not what it should be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn count(
    State(service): State<Arc<Service>>,
    asked: Result<Query<Counting>, QueryRejection>,
) -> Result<Json<Counted>, Problem> {
    let Counting { prefix } = input::query(asked)?;
    let mut door = Door::new(&service);
    let keys = door.ask("COUNT", &[prefix.as_bytes()]).await?.number();
    Ok(Json(Counted { keys }))
}

/// Delete all keys with a prefix.
///
/// `GET /api/v1/count` says how many they are. Some are deleted at a time; keys that come meanwhile may stay.
#[utoipa::path(delete, path = "/api/v1/keys", operation_id = "delete_prefix", tag = "Keys", params(Deleting),
    responses(
        (status = 200, description = "Deleted.", body = Deleted),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The prefix is over the limit of a key.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "There is no prefix, or it is not what it should be. Nothing was deleted.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn delete(
    State(service): State<Arc<Service>>,
    asked: Result<Query<Deleting>, QueryRejection>,
) -> Result<Json<Deleted>, Problem> {
    let Deleting { prefix } = input::query(asked)?;
    if prefix.is_empty() {
        let reason = "every key begins with an empty prefix; DELETE /clear deletes every key";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let mut door = Door::new(&service);
    let deleted = door.ask("DELPREFIX", &[prefix.as_bytes()]).await?.number();
    Ok(Json(Deleted { deleted }))
}
