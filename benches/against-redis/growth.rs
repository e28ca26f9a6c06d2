//! Growth: what an entry takes, and what a request costs where there are many keys, or many connections.

use std::net::TcpStream;

use crate::Failure;
use crate::kind::{BOTH, Kind};
use crate::load::{Scale, fill, ours};
use crate::redis_benchmark::KEYS;
use crate::servers::{Kept, Server};

/// Bytes of a key and a value.
const PAIR_BYTES: f64 = 80.0;
/// As many as PyKV takes, but for the load's own.
const CONNECTIONS: u64 = 9_900;

/// Bytes of an entry over its key and value.
pub fn memory(scale: Scale) -> Result<(), Failure> {
    println!(
        "\nbytes of memory for each entry, over the 80 of key and value (resident, less than before they came);"
    );
    println!("most that was resident while they came, divided by the end\n");
    println!("| entries | Redis | PyKV | Redis peak | PyKV peak |");
    println!("|---|---|---|---|---|");
    for entries in [2_000_000, 10_000_000] {
        let entries = scale.of(entries);
        let mut figures = Vec::new();
        for kind in BOTH {
            let server = Server::start(kind, Kept::Nowhere)?;
            let (before, _) = server.memory()?;
            fill(&server, entries)?;
            server.expect_keys(entries)?;
            let (after, peak) = server.memory()?;
            let each = (after - before) as f64 / entries as f64 - PAIR_BYTES;
            figures.push((each, peak as f64 / after as f64));
        }
        let [(redis, redis_peak), (pykv, pykv_peak)] = *figures else {
            unreachable!("there are two servers")
        };
        println!("| {entries} | {redis:.1} | {pykv:.1} | {redis_peak:.2} x | {pykv_peak:.2} x |");
    }
    Ok(())
}

/// What a GET costs with few and with many keys.
pub fn keys(scale: Scale) -> Result<(), Failure> {
    println!("\nmicroseconds for a GET, 16 in a pipeline, with 100,000 and with 10,000,000 keys\n");
    println!("| | 100,000 | 10,000,000 | growth |");
    println!("|---|---|---|---|");
    for kind in BOTH {
        let mut figures = Vec::new();
        for keys in [100_000, 10_000_000] {
            let server = Server::start(kind, Kept::Nowhere)?;
            let keys = scale.of(keys);
            fill(&server, keys)?;
            figures.push(gets(&server, scale, keys, 50, 16)?);
            server.expect_keys(keys)?;
        }
        row(kind, &figures);
    }
    Ok(())
}

/// What a GET costs with few and with many connections, and what a silent one takes.
pub fn connections(scale: Scale) -> Result<(), Failure> {
    println!("\nmicroseconds for a GET with 50 and with {CONNECTIONS} connections\n");
    println!("| | 50 | {CONNECTIONS} | growth |");
    println!("|---|---|---|---|");
    for kind in BOTH {
        let server = Server::start(kind, Kept::Nowhere)?;
        let (before, _) = server.memory()?;
        let silent: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|_| TcpStream::connect(server.address))
            .collect::<Result<_, _>>()?;
        // Answered, so all are there.
        server.keys()?;
        let each = (server.memory()?.0 - before) / CONNECTIONS;
        drop(silent);
        fill(&server, KEYS)?;
        for pipeline in [1, 16] {
            let few = gets(&server, scale, KEYS, 50, pipeline)?;
            let many = gets(&server, scale, KEYS, CONNECTIONS, pipeline)?;
            print!("P={pipeline} ");
            row(kind, &[few, many]);
        }
        println!(
            "{}: {each} bytes of memory for a silent connection",
            kind.name()
        );
    }
    Ok(())
}

fn gets(
    server: &Server,
    scale: Scale,
    keys: u64,
    clients: u64,
    pipeline: u64,
) -> Result<f64, Failure> {
    let requests = scale.of(if pipeline == 1 { 400_000 } else { 3_000_000 });
    let mut figures = Vec::new();
    for _ in 0..scale.rounds {
        let numbers = [keys, clients, pipeline, requests].map(|number| number.to_string());
        let [keys, clients, pipeline, requests] = &numbers;
        let arguments = [
            "-r", "100", "-k", keys, "-c", clients, "-P", pipeline, "-n", requests,
        ];
        figures.push(ours(server, "resp", &arguments)?.1.both_us());
    }
    figures.sort_by(f64::total_cmp);
    Ok(figures[figures.len() / 2])
}

fn row(kind: Kind, figures: &[f64]) {
    let [few, many] = *figures else {
        unreachable!("two were measured")
    };
    println!(
        "| {} | {few:.3} | {many:.3} | {:.2} x |",
        kind.name(),
        many / few
    );
}
