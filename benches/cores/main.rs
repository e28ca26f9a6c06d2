//! What more cores bring: the requests of 50 clients, executed by one thread, by two, and so on, on the same data.
//!
//! In: nothing. Out: a table of millions of requests a second, and how much of a thread each further one brings. Without
//! sockets, so that neither a load nor the system's network shares the cores; the journal is written as it is for clients.
//!
//!     cargo bench --bench cores

// Nothing is counted here that comes near 2^52.
#![allow(clippy::cast_precision_loss)]

#[path = "../common/requests.rs"]
mod requests;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use pykv::command::Service;
use pykv::persistence::Durability;

use requests::{Caller, PIPELINE, Request, batch, resp_get, resp_set, served};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: usize = 1_000_000;
const DURATION: Duration = Duration::from_secs(2);
const CLIENTS: usize = 50;
/// So many batches of each client are made before, and executed again and again.
const BATCHES: usize = 50;

const CASES: [(&str, Request, Durability, usize); 4] = [
    ("GET", resp_get, Durability::Off, KEYS),
    ("SET", resp_set, Durability::Off, KEYS),
    ("SET everysec", resp_set, Durability::EverySecond, KEYS),
    (
        "SET of one hot key, everysec",
        resp_set,
        Durability::EverySecond,
        1,
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    if !std::env::args().any(|argument| argument == "--bench") {
        // `cargo test --all-targets` runs this, too, and waits for it.
        println!("cores: nothing is measured but by `cargo bench --bench cores`");
        return Ok(());
    }
    let cores = thread::available_parallelism()?.get();
    println!("{cores} cores; millions of requests a second, {PIPELINE} in a pipeline");
    for (name, request, durability, keys) in CASES {
        let folder = tempfile::tempdir()?;
        let service = served(folder.path(), durability, None);
        let mut caller = Caller::new(&service);
        for first in (0..keys).step_by(PIPELINE) {
            caller.execute(&batch(resp_set, first..keys.min(first + PIPELINE)));
        }
        let mut alone = 0.0;
        print!("{name:30}");
        for threads in 1..=cores {
            let rate = rate(&service, request, keys, threads);
            if threads == 1 {
                alone = rate;
            }
            print!(
                "  {threads}: {:6.2} ({:.2} of {threads})",
                rate / 1e6,
                rate / alone
            );
        }
        println!();
    }
    Ok(())
}

/// Requests a second of all clients together, on so many threads.
fn rate(service: &Arc<Service>, request: Request, keys: usize, threads: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(async {
        let is_over = Arc::new(AtomicBool::new(false));
        let ask = |_| {
            let (service, is_over) = (Arc::clone(service), Arc::clone(&is_over));
            let random = || (0..PIPELINE).map(|_| fastrand::usize(..keys));
            let mut caller = Caller::new(&service);
            let made: Vec<String> = (0..BATCHES).map(|_| batch(request, random())).collect();
            async move {
                let mut done = 0;
                for sent in made.iter().cycle() {
                    let barrier = caller.execute(sent);
                    service.commit(barrier).await.expect("the disk takes it");
                    done += PIPELINE;
                    if is_over.load(Relaxed) {
                        break;
                    }
                    // Where another client waits for its socket.
                    tokio::task::yield_now().await;
                }
                done
            }
        };
        // Made before the clock starts.
        let asking: Vec<_> = (0..CLIENTS).map(ask).collect();
        let started = Instant::now();
        let asking: Vec<_> = asking.into_iter().map(tokio::spawn).collect();
        tokio::time::sleep(DURATION).await;
        is_over.store(true, Relaxed);
        let mut done = 0;
        for client in asking {
            done += client.await.expect("a client");
        }
        done as f64 / started.elapsed().as_secs_f64()
    })
}
