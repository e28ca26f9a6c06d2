//! The figures of STATS as one JSON object.

use super::door::{Caller, OwnedReply};
use super::problem::Problem;

/// Returns the figures by name, in the order of STATS.
///
/// # Errors
/// `BUSY` while the data is being loaded.
pub async fn figures(
    caller: &Caller,
) -> Result<serde_json::Map<String, serde_json::Value>, Problem> {
    let result = caller.door().execute("STATS", &[]).await?;
    let figures = result.replies.into_iter().filter_map(|reply| match reply {
        OwnedReply::Figure(name, figure) => Some((name, figure)),
        _ => None,
    });
    Ok(figures.collect())
}
