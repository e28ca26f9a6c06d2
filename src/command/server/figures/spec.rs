//! The row type of the table of figures, and the inputs of its getters.
//!
//! In: the service. Out: the value of one figure. Promise: inputs that are expensive to read are read once for all figures.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Overview;
use crate::codec::json;
use crate::command::counts::{Counts, Usage};
use crate::command::service::Service;
use crate::engine::Engine;
use crate::metrics::counters::{Rates, Stats};
use crate::metrics::process;
use crate::model::UnixMs;
use crate::persistence::{Disk, SaveReport};
use crate::protocol::Figure;
use crate::replication::{self, ClusterView, Membership, ReplicaProgress};

/// Specification of a figure: what it measures, how it is read, and where it is shown.
#[derive(Debug)]
pub struct FigureSpec {
    /// Name, unique in the table; STATS shows the figure under it. A `*` in a name stands for a command in lower case.
    pub name: &'static str,
    /// Unit; empty for texts and flags.
    pub unit: &'static str,
    /// Meaning, in one sentence: the HELP of `/metrics`.
    pub help: &'static str,
    /// Kind of value, with the function that reads it.
    pub kind: Kind,
    /// True if STATS shows it.
    pub in_stats: bool,
    /// Section of INFO, and name there.
    pub info: Option<(&'static str, &'static str)>,
    /// Name in `/metrics`. It ends in `_total` if and only if the figure only grows.
    pub metric: Option<&'static str>,
    /// Field of the live feed's figures; `disk.` before it names the object that holds it.
    pub live: Option<&'static str>,
}

/// Kind of value, with the function that reads it. `None` is a value that is not known, or not yet.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Number of events since the start. The live feed shows their rate per second since its previous event.
    Counter(fn(&FigureInputs<'_>) -> Option<u64>),
    /// Whole number.
    Count(fn(&FigureInputs<'_>) -> Option<u64>),
    /// Number with a fraction.
    Real(fn(&FigureInputs<'_>) -> Option<f64>),
    /// 1 or 0.
    Flag(fn(&FigureInputs<'_>) -> Option<bool>),
    /// Point in time: RFC 3339, and in `/metrics` seconds since 1970.
    Time(fn(&FigureInputs<'_>) -> Option<UnixMs>),
    /// Word or sentence. In `/metrics` it is a label of the constant 1.
    Text(fn(&FigureInputs<'_>) -> Option<String>),
    /// Counters of a part and of its whole. The live feed shows the share since its previous event, and nothing else does.
    Share(fn(&FigureInputs<'_>) -> (u64, u64)),
    /// Quantile of the execution times in microseconds. The live feed shows that of the requests since its previous event, and
    /// nothing else does.
    Quantile(f64),
    /// Counter for each command.
    CommandCounter(fn(&Usage) -> u64),
    /// A counter for each of some names.
    NamedCounter(fn(&FigureInputs<'_>) -> Vec<Usage>),
    /// Histogram of the execution times of each command, shown in `/metrics` only.
    CommandLatencies,
    /// Lines of INFO, each with what stands for the `*` in the name, and its value.
    Lines(fn(&FigureInputs<'_>) -> Vec<(String, String)>),
}

/// Value of a figure at one time.
#[derive(Debug, Clone)]
pub enum FigureValue {
    /// Value of a counter or a count.
    Count(u64),
    /// Number with a fraction.
    Real(f64),
    /// Yes or no.
    Flag(bool),
    /// Point in time.
    Time(UnixMs),
    /// Word or sentence.
    Text(String),
    /// A part and its whole.
    Share(u64, u64),
    /// Requests of all commands.
    Commands(Arc<[Usage]>),
    /// Lines of INFO.
    Lines(Vec<(String, String)>),
}

impl FigureSpec {
    pub(super) const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            unit: "",
            help: "",
            kind,
            in_stats: false,
            info: None,
            metric: None,
            live: None,
        }
    }

    /// Begins the row of a field that only INFO shows: in Redis's format, or constant here.
    pub(super) const fn redis(
        section: &'static str,
        name: &'static str,
        get: fn(&FigureInputs<'_>) -> Option<String>,
    ) -> Self {
        let spec = Self::text(name, get).info(section, name);
        spec.help("As in Redis's INFO.")
    }

    /// Begins the row of lines that only INFO shows, with a `*` in their name.
    pub(super) const fn redis_lines(
        section: &'static str,
        name: &'static str,
        get: fn(&FigureInputs<'_>) -> Vec<(String, String)>,
    ) -> Self {
        let spec = Self::new(name, Kind::Lines(get)).info(section, name);
        spec.help("As in Redis's INFO.")
    }

    pub(super) const fn counter(
        name: &'static str,
        get: fn(&FigureInputs<'_>) -> Option<u64>,
    ) -> Self {
        Self::new(name, Kind::Counter(get))
    }

    pub(super) const fn count(
        name: &'static str,
        get: fn(&FigureInputs<'_>) -> Option<u64>,
    ) -> Self {
        Self::new(name, Kind::Count(get))
    }

    pub(super) const fn real(
        name: &'static str,
        get: fn(&FigureInputs<'_>) -> Option<f64>,
    ) -> Self {
        Self::new(name, Kind::Real(get))
    }

    pub(super) const fn flag(
        name: &'static str,
        get: fn(&FigureInputs<'_>) -> Option<bool>,
    ) -> Self {
        Self::new(name, Kind::Flag(get))
    }

    pub(super) const fn time(
        name: &'static str,
        get: fn(&FigureInputs<'_>) -> Option<UnixMs>,
    ) -> Self {
        Self::new(name, Kind::Time(get))
    }

    pub(super) const fn text(
        name: &'static str,
        get: fn(&FigureInputs<'_>) -> Option<String>,
    ) -> Self {
        Self::new(name, Kind::Text(get))
    }

    pub(super) const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    pub(super) const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    pub(super) const fn stats(mut self) -> Self {
        self.in_stats = true;
        self
    }

    pub(super) const fn info(mut self, section: &'static str, name: &'static str) -> Self {
        self.info = Some((section, name));
        self
    }

    pub(super) const fn metric(mut self, name: &'static str) -> Self {
        self.metric = Some(name);
        self
    }

    pub(super) const fn live(mut self, field: &'static str) -> Self {
        self.live = Some(field);
        self
    }
}

impl FigureValue {
    /// Converts the value to a figure of STATS and INFO; `Absent` if it needs two samples, or has a value for each command.
    #[must_use]
    pub fn figure(&self) -> Figure {
        match self {
            Self::Count(count) => Figure::Count(*count),
            Self::Real(real) => Figure::Real(*real),
            Self::Flag(flag) => Figure::Count(u64::from(*flag)),
            Self::Time(at) => Figure::Text(json::time(*at)),
            Self::Text(text) => Figure::Text(text.clone()),
            Self::Share(..) | Self::Commands(_) | Self::Lines(_) => Figure::Absent,
        }
    }
}

/// Inputs of the getters: the service, and what is expensive to read more than once.
#[derive(Debug)]
pub struct FigureInputs<'a> {
    pub(super) service: &'a Service,
    /// The engine; `None` while the data is being loaded.
    pub(super) engine: Option<&'a Engine>,
    /// The whole of the cluster that has the data, if there is one.
    pub(super) cluster: Option<Overview>,
    /// What a replica knows of its primary.
    pub(super) primary: Option<replication::Overview>,
    /// The cluster that this server is a member of.
    pub(super) members: Option<ClusterView>,
    /// The replicas of this server.
    pub(super) replicas: Vec<ReplicaProgress>,
    pub(super) disk: Option<Disk>,
    pub(super) memory_bytes: Option<u64>,
    /// Processor time in user mode and in system mode.
    pub(super) cpu_time: Option<(Duration, Duration)>,
    pub(super) counts: Counts,
    /// Requests of all commands.
    pub(super) commands: Arc<[Usage]>,
    pub(super) rates: Rates,
}

impl<'a> FigureInputs<'a> {
    pub(super) fn of(service: &'a Service, counts: Counts) -> Self {
        let engine = service.engine().ok().map(|engine| &**engine);
        Self {
            service,
            engine,
            cluster: service.cluster().map(|cluster| cluster.overview()),
            primary: service.replication.overview(),
            members: service
                .replication
                .membership
                .as_ref()
                .map(Membership::view),
            replicas: service.replication.replicas(),
            disk: engine.map(Engine::disk),
            memory_bytes: process::resident_bytes(),
            cpu_time: process::cpu_time(),
            commands: counts.commands.clone().into(),
            rates: service.stats.rates(service.clients.traffic()),
            counts,
        }
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.service.stats
    }

    /// Returns the memory that the data takes, in bytes; 0 while it is being loaded.
    pub(super) fn used_bytes(&self) -> u64 {
        data_memory(self).unwrap_or(0)
    }

    pub(super) fn last_save(&self) -> Option<&SaveReport> {
        self.disk.as_ref()?.last_save.as_ref()
    }

    pub(super) fn read(&self, kind: Kind) -> Option<FigureValue> {
        match kind {
            Kind::Counter(get) | Kind::Count(get) => get(self).map(FigureValue::Count),
            Kind::Real(get) => get(self).map(FigureValue::Real),
            Kind::Flag(get) => get(self).map(FigureValue::Flag),
            Kind::Time(get) => get(self).map(FigureValue::Time),
            Kind::Text(get) => get(self).map(FigureValue::Text),
            Kind::Share(get) => {
                let (part, whole) = get(self);
                Some(FigureValue::Share(part, whole))
            }
            Kind::Quantile(_) | Kind::CommandCounter(_) | Kind::CommandLatencies => {
                Some(FigureValue::Commands(Arc::clone(&self.commands)))
            }
            Kind::NamedCounter(get) => Some(FigureValue::Commands(get(self).into())),
            Kind::Lines(get) => Some(FigureValue::Lines(get(self))),
        }
    }
}

/// Returns the number of keys.
pub(super) fn keys(now: &FigureInputs<'_>) -> Option<u64> {
    let of_cluster = now.cluster.map(|cluster| cluster.keys);
    of_cluster.or_else(|| now.engine.map(Engine::keys))
}

/// Returns the memory that the data takes, in bytes.
pub(super) fn data_memory(now: &FigureInputs<'_>) -> Option<u64> {
    let of_cluster = now.cluster.map(|cluster| cluster.memory_bytes);
    of_cluster.or_else(|| now.engine.map(Engine::memory_bytes))
}
