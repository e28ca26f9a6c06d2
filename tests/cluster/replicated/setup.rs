//! How the scenarios are run, and what each says at its end.
//!
//! In: cycles, lengths of values, a program. Out: loops that end in time, and figures with a verdict.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::ledger::Faults;
use crate::progress::Progress;
use crate::servers::{Options, Servers};
use crate::writers::{Load, Written};

/// A scenario that is run for long ends after this time, however few cycles it has had.
const LONG: Duration = Duration::from_secs(3_600);
/// How long a client waits for a reply, where servers are not stopped or cut off.
const PATIENT: Duration = Duration::from_secs(10);
/// The same where they are.
pub const IMPATIENT: Duration = Duration::from_secs(1);
/// Acknowledgements between one cycle and the next.
pub const BETWEEN: usize = 100;

/// How the scenarios are run.
pub struct Setup {
    /// The server.
    pub program: PathBuf,
    /// Flags of the servers, besides those that they need.
    pub flags: Vec<String>,
    /// The same of each etcd.
    pub etcd_flags: Vec<String>,
    pub cycles: usize,
    /// The lengths of values, which the cycles take in turn.
    pub values: Vec<usize>,
    pub is_long: bool,
}

/// How a scenario ends.
pub type Ending = Result<String, String>;

impl Setup {
    /// Servers as they are.
    pub fn servers(&self) -> Servers {
        self.servers_with(Options::default())
    }

    /// Servers that are set up so.
    pub fn servers_with(&self, options: Options) -> Servers {
        let options = Options {
            etcd_flags: self.etcd_flags.clone(),
            ..options
        };
        Servers::start(&self.program, &self.flags, options)
    }

    /// The numbers of the cycles, as long as there is time.
    pub fn cycles(&self) -> impl Iterator<Item = usize> + use<> {
        let (end, count) = (Instant::now() + LONG, self.cycles);
        (0..count).take_while(move |_| Instant::now() < end)
    }

    /// The length of values in a cycle.
    pub fn value_bytes(&self, cycle: usize) -> usize {
        self.values[cycle % self.values.len()]
    }

    /// How long a load lasts for which a time is given, and not cycles.
    pub fn load_time(&self, short: Duration) -> Duration {
        if self.is_long { LONG } else { short }
    }

    /// The clients' progress, at its beginning.
    pub fn progress(&self) -> Progress {
        Progress::new(self.value_bytes(0))
    }

    /// Does something in each cycle while patient clients write. What it does says how long they had to wait.
    pub fn hurt(
        &self,
        servers: &mut Servers,
        cycle: impl FnMut(&mut Servers, &Progress) -> Duration,
    ) -> (Written, Gaps) {
        self.hurt_with(PATIENT, servers, cycle)
    }

    /// The same with clients that wait so long for a reply.
    pub fn hurt_with(
        &self,
        reply_max: Duration,
        servers: &mut Servers,
        mut cycle: impl FnMut(&mut Servers, &Progress) -> Duration,
    ) -> (Written, Gaps) {
        let progress = self.progress();
        let load = Load {
            addresses: servers.addresses(),
            reply_max,
        };
        load.during(&progress, || {
            let gaps = self.cycles().map(|number| {
                progress.set_value_bytes(self.value_bytes(number));
                progress.wait_for_more(BETWEEN);
                cycle(servers, &progress)
            });
            let gaps = Gaps(gaps.collect());
            progress.wait_for_more(BETWEEN);
            gaps
        })
    }
}

/// How long the clients had to wait, for each cycle.
pub struct Gaps(pub Vec<Duration>);

impl Gaps {
    /// The longest.
    pub fn max(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// The figures.
    pub fn figures(&self, what: &str) -> String {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let median = sorted
            .get(sorted.len().saturating_sub(1) / 2)
            .copied()
            .unwrap_or_default();
        format!(
            "{what} p50 {:.2} s, max {:.2} s over {} cycles",
            median.as_secs_f64(),
            self.max().as_secs_f64(),
            sorted.len()
        )
    }
}

/// What is found after a load.
pub struct Finding<'a> {
    servers: &'a Servers,
    faults: Faults,
    figures: String,
    failures: Vec<String>,
}

/// Reads everything, and compares the files of all servers.
pub fn look<'a>(servers: &'a Servers, written: &Written) -> Finding<'a> {
    let faults = written.faults(servers.addresses());
    let bytes = servers.wait_until_equal();
    let refused: Vec<String> = written
        .refused
        .iter()
        .map(|(code, count)| format!("{code} {count}"))
        .collect();
    let figures = format!(
        "{} acknowledged, {} late; {} lost, {} refused but done, of {} keys; {} unknown; refused: {}; store.json alike, {bytes} bytes",
        written.acknowledged,
        written.late,
        faults.lost,
        faults.refused_done,
        written.keys(),
        written.unknown,
        if refused.is_empty() {
            "none".to_owned()
        } else {
            refused.join(", ")
        },
    );
    Finding {
        servers,
        faults,
        figures,
        failures: Vec::new(),
    }
}

impl Finding<'_> {
    /// Adds figures.
    pub fn and(mut self, figures: &str) -> Self {
        self.figures = format!("{}; {figures}", self.figures);
        self
    }

    /// Fails unless this holds.
    pub fn must(mut self, holds: bool, what: &str) -> Self {
        if !holds {
            self.failures.push(what.to_owned());
        }
        self
    }

    /// The verdict.
    pub fn ending(mut self) -> Ending {
        if self.faults.count() > 0 {
            self.failures.push(format!(
                "{} wrong keys, {} of them acknowledged late: {}",
                self.faults.count(),
                self.faults.late_lost,
                self.faults.examples.join("; ")
            ));
        }
        if self.servers.has_panicked() {
            self.failures.push("a server has panicked".to_owned());
        }
        if self.failures.is_empty() {
            return Ok(self.figures);
        }
        Err(format!(
            "{}\nfailed: {}\n{}",
            self.figures,
            self.failures.join("\nfailed: "),
            self.servers.logs()
        ))
    }
}
