//! `GET /api/v1/count`, `DELETE /api/v1/keys`: counting and deletion of all keys with a prefix.
//!
//! In: a prefix. Out: the number of keys that were counted or deleted.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::codec::key_text::key_bytes;
use crate::http::descriptions::{LOADING, UNSAFE};
use crate::http::door::Caller;
use crate::http::input::Parameters;
use crate::http::problem::Problem;

/// Query of `GET /api/v1/count`.
#[derive(Debug, Deserialize, IntoParams)]
// An unknown parameter may be the rest of a prefix with `&`.
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CountQuery {
    /// Prefix of the keys to count; empty for all keys.
    #[serde(default)]
    #[param(required = false, example = "user:")]
    prefix: String,
}

/// Query of `DELETE /api/v1/keys`.
#[derive(Debug, Deserialize, IntoParams)]
// An unknown parameter may be the rest of a prefix with `&`.
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeletePrefixQuery {
    /// Prefix of the keys to delete. It must not be empty: `DELETE /clear` deletes every key.
    #[param(min_length = 1, example = "session:")]
    prefix: String,
}

/// Number of keys with the prefix.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counted {
    /// Number of keys.
    #[schema(example = 10)]
    keys: u64,
}

/// Number of keys that were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// Number of deleted keys.
    #[schema(example = 10)]
    deleted: u64,
}

/// Count keys.
///
/// With a prefix, all keys are scanned, at about 0.1 us per key.
#[utoipa::path(get, path = "/api/v1/count", tag = "Keys", params(CountQuery),
    responses(
        (status = 200, description = "How many there are.", body = Counted),
        (status = 413, description = "The prefix is over the limit of a key.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not what it should be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = LOADING, body = Problem, content_type = "application/problem+json")))]
pub async fn count(
    caller: Caller,
    Parameters(CountQuery { prefix }): Parameters<CountQuery>,
) -> Result<Json<Counted>, Problem> {
    let mut door = caller.door();
    let keys = door
        .execute("COUNT", &[&key_bytes(prefix.into())])
        .await?
        .number();
    Ok(Json(Counted { keys }))
}

/// Delete all keys with a prefix.
///
/// `GET /api/v1/count` returns their number beforehand. Keys are deleted in groups; keys that are stored meanwhile may remain.
#[utoipa::path(delete, path = "/api/v1/keys", operation_id = "delete_prefix", tag = "Keys", params(DeletePrefixQuery),
    responses(
        (status = 200, description = "Deleted.", body = Deleted),
        (status = 413, description = "The prefix is over the limit of a key.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "There is no prefix, or it is not what it should be. Nothing was deleted.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = UNSAFE, body = Problem, content_type = "application/problem+json")))]
pub async fn delete(
    caller: Caller,
    Parameters(DeletePrefixQuery { prefix }): Parameters<DeletePrefixQuery>,
) -> Result<Json<Deleted>, Problem> {
    if prefix.is_empty() {
        let reason = "every key begins with an empty prefix; DELETE /clear deletes every key";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason));
    }
    let mut door = caller.door();
    let deleted = door
        .execute("DELPREFIX", &[&key_bytes(prefix.into())])
        .await?
        .number();
    Ok(Json(Deleted { deleted }))
}
