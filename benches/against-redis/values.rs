//! Long values: how many go through in a second.

use crate::Failure;
use crate::kind::BOTH;
use crate::load::{Scale, redis_benchmark};
use crate::redis_benchmark::{Load, median};
use crate::servers::{Kept, Server};

pub fn run(scale: Scale) -> Result<(), Failure> {
    println!("\nlong values, without persistence, by redis-benchmark: requests a second\n");
    println!("| bytes | | Redis | PyKV | PyKV to Redis |");
    println!("|---|---|---|---|---|");
    let servers: Vec<Server> = BOTH
        .into_iter()
        .map(|kind| Server::start(kind, Kept::Nowhere))
        .collect::<Result<_, Failure>>()?;
    for (value_bytes, keys, clients, requests) in
        [(4 << 10, 10_000, 50, 300_000), (1 << 20, 100, 10, 5000)]
    {
        for test in ["set", "get"] {
            let load = Load {
                keys,
                value_bytes,
                clients,
                ..Load::of(test, 1, scale.of(requests))
            };
            let mut figures = [Vec::new(), Vec::new()];
            for _ in 0..scale.rounds {
                for (server, figures) in servers.iter().zip(&mut figures) {
                    figures.push(redis_benchmark(server, load)?);
                }
            }
            let [redis, pykv] = figures.map(median);
            println!(
                "| {value_bytes} | {} | {:.0} | {:.0} | {:.2} x |",
                test.to_uppercase(),
                redis.per_second,
                pykv.per_second,
                pykv.per_second / redis.per_second
            );
        }
    }
    Ok(())
}
