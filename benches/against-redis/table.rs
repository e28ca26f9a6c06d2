//! The table: processor time of a request, Redis's divided by ours; and our two dialects beside each other.

use crate::Failure;
use crate::kind::{BOTH, Kind};
use crate::load::{Scale, fill, ours, redis_benchmark};
use crate::redis_benchmark::{KEYS, Load, Measured, median};
use crate::servers::{Kept, Server};

/// The pipelines, and how many requests take some seconds with each.
const COLUMNS: [(u64, u64); 3] = [(1, 300_000), (16, 2_000_000), (64, 4_000_000)];

/// What stands in a row: what is asked, and how changes are kept.
const ROWS: [(&str, &str, Kept); 3] = [
    ("GET", "get", Kept::EverySecond),
    ("SET without persistence", "set", Kept::Nowhere),
    ("SET everysec", "set", Kept::EverySecond),
];

pub fn run(scale: Scale) -> Result<(), Failure> {
    println!(
        "\n50 connections, 1,000,000 random keys of 16 bytes, values of 64; microseconds of the server's core for each request, user + system"
    );
    println!("by redis-benchmark, throughput in thousands a second, p99 in ms\n");
    println!("| | P | Redis us | PyKV us | ratio | Redis k/s | PyKV k/s | Redis p99 | PyKV p99 |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (title, test, kept) in ROWS {
        let servers = filled(kept)?;
        for (pipeline, requests) in COLUMNS {
            let load = Load::of(test, pipeline, scale.of(requests));
            let [redis, pykv] = cell(&servers, load, scale.rounds)?;
            println!(
                "| {title} | {pipeline} | {} | {} | {:.2} x | {:.0} | {:.0} | {:.2} | {:.2} |",
                redis.cpu,
                pykv.cpu,
                redis.cpu.both_us() / pykv.cpu.both_us(),
                redis.per_second / 1e3,
                pykv.per_second / 1e3,
                redis.p99_ms,
                pykv.p99_ms
            );
        }
        if kept == Kept::EverySecond {
            for server in servers {
                check_after_restart(server)?;
            }
        }
    }
    println!("\nboth servers held all keys after each run, and after a restart (PyKV was killed)");
    dialects(scale)
}

/// Both servers, with all keys that redis-benchmark can ask for, or nearly all.
fn filled(kept: Kept) -> Result<Vec<Server>, Failure> {
    let start = |kind| {
        let server = Server::start(kind, kept)?;
        redis_benchmark(&server, Load::of("set", 64, 6 * KEYS))?;
        Ok(server)
    };
    BOTH.into_iter().map(start).collect()
}

fn cell(servers: &[Server], load: Load, rounds: usize) -> Result<[Measured; 2], Failure> {
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (server, figures) in servers.iter().zip(&mut figures) {
            let keys = server.keys()?;
            figures.push(redis_benchmark(server, load)?);
            // Six times as many were stored as there are keys: one in 400 is missing.
            server.expect_keys(keys.max(KEYS / 100 * 99))?;
        }
    }
    Ok(figures.map(median))
}

fn check_after_restart(server: Server) -> Result<(), Failure> {
    let keys = server.keys()?;
    let server = server.restart()?;
    server.expect_keys(keys)?;
    let mut found = 0;
    for _ in 0..1000 {
        let key = format!("key:{:012}", fastrand::u64(..KEYS));
        let value = server.ask(&["GET", &key])?;
        match value.len() {
            64 => found += 1,
            _ if value == "$-1" => {}
            _ => return Err(format!("{} has {value:?} under {key}", server.kind.name()).into()),
        }
    }
    if found < 980 {
        return Err(format!("{} has {found} of 1,000 keys", server.kind.name()).into());
    }
    Ok(())
}

fn dialects(scale: Scale) -> Result<(), Failure> {
    println!(
        "\nour two dialects, by pykv-cli bench, without persistence: microseconds for each request, user + system, and thousands a second\n"
    );
    println!("| | P | RESP us | line us | RESP k/s | line k/s |");
    println!("|---|---|---|---|---|---|");
    let server = Server::start(Kind::Pykv, Kept::Nowhere)?;
    fill(&server, KEYS)?;
    for (title, reads) in [("GET", "100"), ("SET", "0")] {
        for (pipeline, requests) in COLUMNS {
            let (pipeline, requests) = (pipeline.to_string(), scale.of(requests).to_string());
            let mut figures = [Vec::new(), Vec::new()];
            for _ in 0..scale.rounds {
                for (dialect, figures) in ["resp", "line"].iter().zip(&mut figures) {
                    let arguments = ["-r", reads, "-P", &pipeline, "-n", &requests];
                    let (document, cpu) = ours(&server, dialect, &arguments)?;
                    figures.push(Measured {
                        cpu,
                        per_second: document["all"]["per_second"].as_f64().unwrap_or(0.0),
                        p99_ms: 0.0,
                    });
                }
            }
            let [resp, line] = figures.map(median);
            println!(
                "| {title} | {pipeline} | {} | {} | {:.0} | {:.0} |",
                resp.cpu,
                line.cpu,
                resp.per_second / 1e3,
                line.per_second / 1e3
            );
        }
    }
    server.expect_keys(KEYS)
}
