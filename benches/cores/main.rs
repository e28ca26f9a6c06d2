//! What more cores bring: requests executed by one thread, by two, and so on, on the same data.
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
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use pykv::command::Service;
use pykv::persistence::Durability;

use requests::{PIPELINE, Request, batch, execute, resp_get, resp_set, served};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: usize = 1_000_000;
const DURATION: Duration = Duration::from_secs(2);
/// So many batches are made before, and executed again and again.
const BATCHES: usize = 2000;

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
        let service = served(folder.path(), durability);
        for first in (0..keys).step_by(PIPELINE) {
            execute(
                &service,
                &batch(resp_set, first..keys.min(first + PIPELINE)),
            );
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

/// Requests a second of so many threads together.
fn rate(service: &Service, request: Request, keys: usize, threads: usize) -> f64 {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let random = || (0..PIPELINE).map(|_| fastrand::usize(..keys));
                    let made: Vec<String> =
                        (0..BATCHES).map(|_| batch(request, random())).collect();
                    let runtime = tokio::runtime::Builder::new_current_thread().build();
                    let runtime = runtime.expect("a runtime");
                    let started = Instant::now();
                    let mut done = 0;
                    for sent in made.iter().cycle() {
                        let barrier = execute(service, sent);
                        let committed = runtime.block_on(service.commit(barrier));
                        committed.expect("the disk takes it");
                        done += PIPELINE;
                        if is_over.load(Relaxed) {
                            break;
                        }
                    }
                    done as f64 / started.elapsed().as_secs_f64()
                })
            })
            .collect();
        thread::sleep(DURATION);
        is_over.store(true, Relaxed);
        let rates = workers.into_iter().map(thread::ScopedJoinHandle::join);
        rates.map(|rate| rate.expect("a worker")).sum()
    })
}
