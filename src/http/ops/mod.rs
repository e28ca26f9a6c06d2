//! Endpoints for operators of the server: health, metrics, the live feed, the members of a cluster, the console.

pub mod console;
pub mod health;
pub mod live;
pub mod members;
pub mod metrics;
