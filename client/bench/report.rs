//! The report of a benchmark: a table for people, or one JSON document, on standard output.

use std::io::{self, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::client::Measured;
use super::load::Load;
use crate::address::Address;
use crate::units::{counted, grouped};

/// The quantiles of latency that are shown.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Prints the report.
///
/// # Errors
/// Standard output fails.
pub fn show(
    address: &Address,
    load: &Load,
    measured: &Measured,
    elapsed: Duration,
    is_json: bool,
) -> io::Result<()> {
    let mut all = measured.reads.clone();
    all.add(&measured.writes).expect("the bounds are the same");
    let rows = [
        ("reads", &measured.reads),
        ("writes", &measured.writes),
        ("all", &all),
    ];
    let mut out = io::stdout().lock();
    if is_json {
        let mut document = json!({
            "address": address.to_string(),
            "dialect": load.dialect.name(),
            "clients": load.clients,
            "threads": load.threads,
            "pipeline": load.pipeline,
            "keys": load.keys,
            "key_bytes": load.key_bytes,
            "value_bytes": load.value_bytes,
            "reads_percent": load.reads,
            "rate": load.rate,
            "seconds": elapsed.as_secs_f64(),
            "misses": measured.misses,
            "errors": measured.errors,
            "first_error": measured.first_error,
        });
        for (name, latencies) in rows {
            document[name] = figures(latencies, elapsed);
        }
        return writeln!(out, "{document}");
    }
    let [clients, threads, requests, keys, key_bytes, value_bytes] = [
        (load.clients, "client"),
        (load.threads, "thread"),
        (load.pipeline, "request"),
        (load.keys, "key"),
        (load.key_bytes, "byte"),
        (load.value_bytes, "byte"),
    ]
    .map(|(count, noun)| counted(count, noun));
    let (dialect, reads) = (load.dialect.name(), load.reads);
    writeln!(
        out,
        "{address}, dialect {dialect}: {clients} on {threads}, each {requests} at a time\n\
         {keys} of {key_bytes}, values of {value_bytes}, {reads} of 100 requests read\n"
    )?;
    write!(out, "{:6} {:>13} {:>11}", "", "requests", "per second")?;
    for name in QUANTILES.map(|(name, _)| name).iter().chain(&["max"]) {
        write!(out, " {name:>9}")?;
    }
    writeln!(out, "  (ms)")?;
    for (name, latencies) in rows.iter().filter(|(_, latencies)| !latencies.is_empty()) {
        let rate = grouped(per_second(latencies, elapsed));
        write!(out, "{name:6} {:>13} {rate:>11}", grouped(latencies.len()))?;
        let quantiles = QUANTILES.map(|(_, quantile)| latencies.value_at_quantile(quantile));
        for latency in quantiles.iter().chain(&[latencies.max()]) {
            write!(out, " {:>9.3}", microseconds(*latency) / 1000.0)?;
        }
        writeln!(out)?;
    }
    let (requests, seconds) = (counted(all.len(), "request"), elapsed.as_secs_f64());
    writeln!(out, "\n{requests} in {seconds:.1} s")?;
    if measured.misses > 0 {
        let misses = counted(measured.misses, "read");
        writeln!(
            out,
            "{misses} found nothing: --fill stores every key before"
        )?;
    }
    if let Some(error) = &measured.first_error {
        let errors = counted(measured.errors, "request");
        writeln!(out, "{errors} refused, the first with: {error}")?;
    }
    Ok(())
}

fn figures(latencies: &Histogram<u64>, elapsed: Duration) -> Value {
    let quantiles = QUANTILES.iter().map(|(name, quantile)| {
        let latency = latencies.value_at_quantile(*quantile);
        ((*name).to_owned(), microseconds(latency).into())
    });
    let max = ("max".to_owned(), microseconds(latencies.max()).into());
    json!({
        "requests": latencies.len(),
        "per_second": per_second(latencies, elapsed),
        "latency_us": quantiles.chain([max]).collect::<serde_json::Map<_, _>>(),
    })
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there are fewer than 2^52 requests"
)]
fn per_second(latencies: &Histogram<u64>, elapsed: Duration) -> u64 {
    (latencies.len() as f64 / elapsed.as_secs_f64()).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "an hour has 2^42 nanoseconds")]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}
