//! What PyKV over a cluster reaches of what the cluster itself does: redis-benchmark on the nodes directly, and through PyKV.
//!
//!     cargo bench --bench cluster [-- --quick]
//!
//! In: the built `pykv-server`, and `redis-server` and `redis-benchmark` in PATH. Out: a table of requests in a second, their ratio to those
//! of the nodes directly, the processor time of PyKV for each request, and latencies. Promises: the cluster is the same in all rows, three
//! primaries with a replica each, on the same cores as all else; rounds take turns; a load that fails ends the run with status 1.

// Nothing is counted here that comes near 2^52.
#![allow(clippy::cast_precision_loss)]

#[path = "../common/processor.rs"]
mod processor;
#[path = "../../tests/cluster/redis_cluster.rs"]
#[allow(dead_code, reason = "tests/cluster shares it and uses more")]
mod redis_cluster;
#[path = "../../tests/cluster/redis_node.rs"]
#[allow(dead_code, reason = "tests/cluster shares it and uses more")]
mod redis_node;
#[path = "../common/spawn.rs"]
#[allow(dead_code, reason = "others start Redis with it")]
mod spawn;
#[path = "../../tests/support/tls.rs"]
#[allow(dead_code, reason = "tests/main.rs shares it and uses more")]
mod tls;
#[path = "../../tests/cluster/topology.rs"]
#[allow(dead_code, reason = "tests/cluster shares it and uses more")]
mod topology;
#[path = "../../tests/cluster/wait.rs"]
mod wait;

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};

use clap::Parser as _;

use redis_cluster::RedisCluster;
use redis_node::NodeSetup;

/// Anything that ends the run.
type Failure = Box<dyn Error + Send + Sync>;

const KEYS: &str = "100000";
const VALUE_BYTES: &str = "64";
const CLIENTS: &str = "50";
/// Pipelines, and requests of a round.
const PIPELINES: [(u64, u64); 2] = [(1, 200_000), (16, 1_000_000)];

/// PyKV over a cluster, and the cluster alone.
#[derive(clap::Parser)]
#[command(name = "cluster")]
struct Arguments {
    /// One round in place of three, of a tenth of the requests.
    #[arg(long)]
    quick: bool,
    /// Cargo says this to a benchmark that it runs as one.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A server that is asked.
struct Subject {
    name: &'static str,
    address: SocketAddr,
    is_cluster: bool,
    process: Option<Child>,
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// What came of a round.
#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Of PyKV for each request, user and system, in microseconds.
    cpu_us: (f64, f64),
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        eprintln!("cluster: nothing is measured but by `cargo bench --bench cluster`");
        return Ok(());
    }
    let (rounds, divisor) = if arguments.quick { (1, 10) } else { (3, 1) };
    let cluster = RedisCluster::start(Path::new("redis-server"), NodeSetup::default(), 3, 1);
    let subjects = [
        Subject {
            name: "the nodes directly",
            address: cluster.addresses()[0],
            is_cluster: true,
            process: None,
            _folder: None,
        },
        pykv("PyKV, fast", &cluster, "fast")?,
        pykv("PyKV, replicated", &cluster, "replicated")?,
    ];
    println!(
        "{CLIENTS} connections, {KEYS} keys, values of {VALUE_BYTES} bytes; all on the same cores\n"
    );
    println!("| | P | k/s | ratio | PyKV us/request | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|---|");
    for (pipeline, requests) in PIPELINES {
        for test in ["set", "get"] {
            let mut measured: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
            for _ in 0..rounds {
                for (subject, measured) in subjects.iter().zip(&mut measured) {
                    measured.push(subject.run(test, pipeline, requests / divisor)?);
                }
            }
            let middles = measured.into_iter().map(median);
            let middles: Vec<Round> = middles.collect();
            for (subject, round) in subjects.iter().zip(&middles) {
                let (user, system) = round.cpu_us;
                println!(
                    "| {} {test} | {pipeline} | {:.0} | {:.2} | {user:.2} + {system:.2} | {:.2} | {:.2} |",
                    subject.name,
                    round.per_second / 1000.0,
                    round.per_second / middles[0].per_second,
                    round.p50_ms,
                    round.p99_ms,
                );
            }
        }
    }
    Ok(())
}

fn pykv(name: &'static str, cluster: &RedisCluster, durability: &str) -> Result<Subject, Failure> {
    let folder = tempfile::TempDir::new()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pykv-server"));
    command.args(["--engine", &cluster.url()]);
    let (process, address, _) = spawn::pykv(&mut command, folder.path(), durability)?;
    Ok(Subject {
        name,
        address,
        is_cluster: false,
        process: Some(process),
        _folder: Some(folder),
    })
}

impl Subject {
    fn run(&self, test: &str, pipeline: u64, requests: u64) -> Result<Round, Failure> {
        let cpu = || match &self.process {
            Some(process) => processor::seconds(process.id()),
            None => Ok((0.0, 0.0)),
        };
        let before = cpu()?;
        let mut command = Command::new("redis-benchmark");
        if self.is_cluster {
            command.arg("--cluster");
        }
        let output = command
            .args(["--csv", "-p", &self.address.port().to_string()])
            .args(["-t", test, "-r", KEYS, "-d", VALUE_BYTES, "-c", CLIENTS])
            .args(["-n", &requests.to_string(), "-P", &pipeline.to_string()])
            .output()?;
        let after = cpu()?;
        let said = String::from_utf8_lossy(&output.stdout);
        // "test","rps","avg","min","p50","p95","p99","max", each in quotes; latencies in milliseconds.
        let row = said.lines().last().unwrap_or_default();
        let field = |place: usize| {
            let field = row.split(',').nth(place)?.trim_matches('"');
            field.parse::<f64>().ok()
        };
        let (Some(per_second), Some(p50_ms), Some(p99_ms)) = (field(1), field(4), field(6)) else {
            return Err(format!("redis-benchmark failed: {said}").into());
        };
        let of_each = |seconds: f64| seconds / requests as f64 * 1e6;
        Ok(Round {
            per_second,
            p50_ms,
            p99_ms,
            cpu_us: (of_each(after.0 - before.0), of_each(after.1 - before.1)),
        })
    }
}

/// The one in the middle, by requests in a second.
fn median(mut rounds: Vec<Round>) -> Round {
    rounds.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    rounds[rounds.len() / 2]
}
