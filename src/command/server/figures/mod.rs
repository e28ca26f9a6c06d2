//! Figures of the server: the values of all rows of their table at one time.
//!
//! In: the service. Out: a [`Sample`], which STATS, INFO, `/metrics` and the live feed render. Promises: a figure is one row of
//! [`FIGURES`], which names every place where it is shown; the cost of a sample does not depend on the amount of data.

mod spec;
mod table;

use std::time::Instant;

use spec::FigureInputs;
pub use spec::{FigureSpec, FigureValue, Kind};
pub use table::FIGURES;

use crate::command::counts::{Counts, Usage};
use crate::command::service::Service;
use crate::metrics::histogram::LatencyCounts;

/// Values of all figures at one time.
#[derive(Debug)]
pub struct Sample {
    /// Time at which they were read.
    pub at: Instant,
    /// One for each row of the table.
    values: Vec<Option<FigureValue>>,
}

impl Sample {
    /// Reads all figures; counters since the start.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        Self::with(service, service.counts())
    }

    /// Reads all figures; counters since the last CONFIG RESETSTAT.
    #[must_use]
    pub fn since_reset(service: &Service) -> Self {
        Self::with(service, service.counts_since_reset())
    }

    fn with(service: &Service, counts: Counts) -> Self {
        let at = Instant::now();
        let source = FigureInputs::of(service, counts);
        let values = FIGURES.iter().map(|spec| source.read(spec.kind));
        Self {
            at,
            values: values.collect(),
        }
    }

    /// Returns the rows of the table with their values, in the table's order.
    pub fn rows(&self) -> impl Iterator<Item = (&'static FigureSpec, Option<&FigureValue>)> {
        FIGURES.iter().zip(self.values.iter().map(Option::as_ref))
    }
}

/// Adds up the execution times of all commands.
#[must_use]
pub fn latencies_of_all(commands: &[Usage]) -> LatencyCounts {
    let mut all = LatencyCounts::default();
    for usage in commands {
        all.add(&usage.latencies);
    }
    all
}
