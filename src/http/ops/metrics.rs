//! `GET /metrics`: the server's figures for Prometheus.
//!
//! In: the counters, the engine's figures, what the system says. Out: text, one family of figures after the other. Promises: names
//! and units are by its conventions; a figure that is not known is left out; nothing is looked at that takes longer the more
//! there is of it.
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/>, <https://prometheus.io/docs/practices/naming/>.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder as _, TextEncoder};

use crate::command::{Service, Usage};
use crate::engine::Engine;
use crate::http::docs::OTHER_SITE;
use crate::http::problem::Problem;
use crate::metrics::process;

const LOADING: &str = "1 while the data is being loaded.";

/// Read the server's figures, for Prometheus.
///
/// Also while the data is being loaded: then `pykv_loading` is 1, and there are no figures of the data.
#[utoipa::path(get, path = "/metrics", tag = "Server",
    responses(
        (status = 200, description = "Figures in Prometheus's text format.", body = String, content_type = "text/plain",
            example = "# HELP pykv_keys Keys in the store.\n# TYPE pykv_keys gauge\npykv_keys 10\n"),
        (status = 403, description = OTHER_SITE, body = crate::http::compat::bodies::Detail)))]
pub async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let mut families = Families::default();
    families.of_server(&service);
    match service.engine() {
        Ok(engine) => families.of_data(engine),
        Err(_) => families.gauges(&[("pykv_loading", LOADING, 1.0)]),
    }
    families.of_commands(&service);
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&families.0, &mut text) {
        Ok(()) => {
            let content_type = [(header::CONTENT_TYPE, encoder.format_type().to_owned())];
            (content_type, text).into_response()
        }
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_older()
        }
    }
}

/// Families of figures, in the order in which they are shown.
#[derive(Default)]
struct Families(Vec<MetricFamily>);

impl Families {
    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    fn gauges(&mut self, rows: &[(&str, &str, f64)]) {
        for (name, help, value) in rows {
            self.add(name, help, MetricType::GAUGE, vec![gauge(*value)]);
        }
    }

    fn counters(&mut self, rows: &[(&str, &str, f64)]) {
        for (name, help, value) in rows {
            self.add(name, help, MetricType::COUNTER, vec![counter(*value)]);
        }
    }

    fn of_server(&mut self, service: &Service) {
        let stats = &service.stats;
        let version = label("version", env!("CARGO_PKG_VERSION"));
        let mut build = gauge(1.0);
        build.set_label(vec![version]);
        self.add(
            "pykv_build_info",
            "Always 1; the label says which version this is.",
            MetricType::GAUGE,
            vec![build],
        );
        self.gauges(&[(
            "pykv_connections",
            "Clients that are connected to the text port.",
            real(stats.connections()),
        )]);
        self.counters(&[
            (
                "pykv_connections_total",
                "Clients that have connected to the text port.",
                real(stats.connections_total()),
            ),
            (
                "pykv_keyspace_hits_total",
                "Reads that have found their key.",
                real(stats.hits()),
            ),
            (
                "pykv_keyspace_misses_total",
                "Reads that have not found their key.",
                real(stats.misses()),
            ),
            (
                "pykv_errors_total",
                "Requests that were answered with an error.",
                real(stats.errors()),
            ),
        ]);
        if let Some(bytes) = process::resident_bytes() {
            self.gauges(&[(
                "process_resident_memory_bytes",
                "Memory of the process that is resident.",
                real(bytes),
            )]);
        }
        if let Some((user, system)) = process::cpu_time() {
            self.counters(&[(
                "process_cpu_seconds_total",
                "Time of the process on the processor, in itself and in the system.",
                (user + system).as_secs_f64(),
            )]);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let uptime = Duration::from_secs(stats.uptime_seconds());
        self.gauges(&[(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970.",
            now.unwrap_or_default().saturating_sub(uptime).as_secs_f64(),
        )]);
    }

    fn of_data(&mut self, engine: &Engine) {
        let disk = engine.disk();
        let flag = |is_so: bool| f64::from(u8::from(is_so));
        self.gauges(&[
            ("pykv_loading", LOADING, 0.0),
            ("pykv_keys", "Keys in the store.", real(engine.keys())),
            (
                "pykv_keys_expiring",
                "Keys in the store that have an expiry.",
                real(engine.keys_expiring()),
            ),
            (
                "pykv_data_bytes",
                "Bytes of all keys and values.",
                real(engine.data_bytes()),
            ),
            (
                "pykv_journal_bytes",
                "Bytes of all journals.",
                real(disk.journal_bytes),
            ),
            (
                "pykv_journal_segments",
                "How many journals there are.",
                real(disk.journal_segments),
            ),
            (
                "pykv_unsynced_seconds",
                "Age of the oldest change that is not on the disk: what a power cut would take.",
                disk.unsynced.as_secs_f64(),
            ),
            (
                "pykv_unsaved_changes",
                "Changes that are in the journal and not in store.json.",
                real(engine.unsaved_changes()),
            ),
            (
                "pykv_disk_fault",
                "1 while changes are refused because of the disk.",
                flag(disk.fault.is_some()),
            ),
        ]);
        self.counters(&[(
            "pykv_expired_keys_total",
            "Keys that have expired.",
            real(engine.expired()),
        )]);
        let Some(save) = disk.last_save else {
            return;
        };
        self.gauges(&[
            (
                "pykv_last_save_timestamp_seconds",
                "When the last save ended, in seconds since 1970.",
                real(save.ended_at) / 1000.0,
            ),
            (
                "pykv_last_save_duration_seconds",
                "How long the last save took.",
                save.seconds,
            ),
            (
                "pykv_last_save_success",
                "1 if the last save succeeded.",
                flag(save.result == "ok"),
            ),
        ]);
    }

    fn of_commands(&mut self, service: &Service) {
        let (mut requests, mut durations) = (Vec::new(), Vec::new());
        for (name, usage) in service.usage() {
            let command = label("command", &name.to_lowercase());
            let mut counted = counter(real(usage.requests));
            counted.set_label(vec![command.clone()]);
            requests.push(counted);
            let mut timed = durations_of(&usage);
            timed.set_label(vec![command]);
            durations.push(timed);
        }
        // A family without a figure is none.
        if requests.is_empty() {
            return;
        }
        self.add(
            "pykv_requests_total",
            "Requests, by their command.",
            MetricType::COUNTER,
            requests,
        );
        self.add(
            "pykv_request_duration_seconds",
            "From when a request was taken up, with those that came with it, to when its reply could leave.",
            MetricType::HISTOGRAM,
            durations,
        );
    }
}

fn durations_of(usage: &Usage) -> Metric {
    let mut histogram = Histogram::default();
    histogram.set_sample_count(usage.latencies.requests());
    histogram.set_sample_sum(usage.latencies.sum().as_secs_f64());
    let buckets = usage.latencies.up_to().map(|(microseconds, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(real(microseconds) / 1e6);
        bucket.set_cumulative_count(count);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    metric
}

fn gauge(value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    Metric::from_gauge(gauge)
}

fn counter(value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers"
)]
fn real(count: u64) -> f64 {
    count as f64
}
