//! Descriptions of responses that many endpoints share, for `/openapi.json`.

/// Description of 403, of every endpoint.
pub const OTHER_SITE: &str = "A page of another site has caused this request.";
/// Description of 413.
pub const TOO_LARGE: &str = "The key, the value or the body is over its limit.";
/// Description of 503, of a change.
pub const UNSAFE: &str = "The disk does not take the change, or could not make it safe; or the data is still being loaded.";
/// Description of 503, of a read.
pub const LOADING: &str = "The data is still being loaded.";
