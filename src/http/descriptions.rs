//! Descriptions of responses that many endpoints share, for `/openapi.json`.

/// Description of 401, of every endpoint.
pub const NOT_SIGNED_IN: &str =
    "The client has to sign in, or its user, password or token is wrong.";
/// Description of 403, of every endpoint.
pub const REFUSED: &str =
    "A page of another site has caused this request, or the user may not make it.";
/// Description of 422, of an endpoint below `/api` without parameters and body.
pub const NO_PARAMETERS: &str = "There is a parameter, and this endpoint has none.";
/// Description of 503, of an endpoint that has no other reason for it.
pub const OVERLOADED: &str =
    "The server has as many connections as it takes, or holds too much for its clients.";
/// Description of 413.
pub const TOO_LARGE: &str = "The key, the value or the body is over its limit.";
/// Description of 503, of a change.
pub const UNSAFE: &str = "The disk does not take the change, or could not make it safe; or the data is still being loaded.";
/// Description of 503, of a read.
pub const LOADING: &str = "The data is still being loaded.";
