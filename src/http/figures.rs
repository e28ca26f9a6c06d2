//! The figures of STATS as one JSON object.

use std::sync::Arc;

use super::door::{Door, Told};
use super::problem::Problem;
use crate::command::Service;

/// Returns the figures by name, in the order of STATS.
///
/// # Errors
/// `BUSY` while the data is being loaded.
pub async fn figures(
    service: &Arc<Service>,
) -> Result<serde_json::Map<String, serde_json::Value>, Problem> {
    let answer = Door::new(service).ask("STATS", &[]).await?;
    let figures = answer.told.into_iter().filter_map(|told| match told {
        Told::Figure(name, figure) => Some((name, figure)),
        _ => None,
    });
    Ok(figures.collect())
}
