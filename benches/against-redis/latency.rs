//! Latency: the p99 of requests with and without a save going on, and the p99.9 at a fixed rate.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::Failure;
use crate::kind::{BOTH, Kind};
use crate::load::{Scale, fill, ours};
use crate::redis_benchmark::KEYS;
use crate::servers::{Kept, Server};

pub fn run(scale: Scale) -> Result<(), Failure> {
    println!(
        "\n50 connections, half of the requests read; everysec; by pykv-cli bench in RESP: latencies in ms\n"
    );
    println!("| | P | Redis | PyKV |");
    println!("|---|---|---|---|");
    let start = |kind| {
        let server = Server::start(kind, Kept::EverySecond)?;
        fill(&server, KEYS)?;
        Ok(server)
    };
    let servers: Vec<Server> = BOTH
        .into_iter()
        .map(start)
        .collect::<Result<_, Failure>>()?;
    for (pipeline, requests) in [("1", 300_000), ("16", 2_000_000)] {
        let requests = scale.of(requests).to_string();
        let mut rows = [
            ("p99", Vec::new()),
            ("p99 while a snapshot is written", Vec::new()),
            ("p99.9 at half of its highest rate", Vec::new()),
        ];
        for server in &servers {
            let (alone, _) = ours(server, "resp", &["-P", pipeline, "-n", &requests])?;
            rows[0].1.push(milliseconds(&alone, "p99"));
            rows[1].1.push(during_saves(server, pipeline, &requests)?);
            let rate = alone["all"]["per_second"].as_u64().unwrap_or(2) / 2;
            let rate = rate.to_string();
            let (paced, _) = ours(
                server,
                "resp",
                &["-P", pipeline, "-s", "5", "--rate", &rate],
            )?;
            rows[2].1.push(milliseconds(&paced, "p99.9"));
        }
        for (title, figures) in rows {
            println!(
                "| {title} | {pipeline} | {:.3} | {:.3} |",
                figures[0], figures[1]
            );
        }
    }
    for server in &servers {
        server.expect_keys(KEYS)?;
    }
    Ok(())
}

fn milliseconds(document: &serde_json::Value, quantile: &str) -> f64 {
    document["all"]["latency_us"][quantile]
        .as_f64()
        .unwrap_or(f64::NAN)
        / 1e3
}

/// The p99 of a load, while one snapshot after the other is written.
fn during_saves(server: &Server, pipeline: &str, requests: &str) -> Result<f64, Failure> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let saving = scope.spawn(|| -> Result<(), Failure> {
            while !is_over.load(Relaxed) {
                match server.kind {
                    Kind::Pykv => drop(server.ask(&["SAVE"])?),
                    // It answers at once; one that is asked for during another is refused.
                    Kind::Redis => {
                        server.ask(&["BGSAVE"])?;
                        thread::sleep(std::time::Duration::from_millis(100));
                    }
                }
            }
            Ok(())
        });
        let measured = ours(server, "resp", &["-P", pipeline, "-n", requests]);
        is_over.store(true, Relaxed);
        saving.join().expect("it does not panic")?;
        Ok(milliseconds(&measured?.0, "p99"))
    })
}
