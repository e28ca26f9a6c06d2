//! `GET /metrics`: the server's figures, for Prometheus.
//!
//! In: a sample of the figures. Out: text, one metric family after the other. Promises: names and units follow the conventions of
//! Prometheus; a figure that is not known is left out.
//! Sources: <https://prometheus.io/docs/instrumenting/exposition_formats/>, <https://prometheus.io/docs/practices/naming/>.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder as _, TextEncoder};

use crate::command::Usage;
use crate::command::figures::{FigureSpec, FigureValue, Kind, Sample};
use crate::http::door::Caller;
use crate::http::problem::Problem;
use crate::metrics::histogram::LatencyCounts;
use crate::protocol::Figure;

/// Read the server's figures, for Prometheus.
///
/// Available also while the data is being loaded: `pykv_loading` is 1 then, and figures of the data are missing.
#[utoipa::path(get, path = "/metrics", tag = "Server",
    responses(
        (status = 200, description = "Figures in Prometheus's text format.", body = String, content_type = "text/plain",
            example = "# HELP pykv_keys Keys in the store.\n# TYPE pykv_keys gauge\npykv_keys 10\n")))]
pub async fn metrics(caller: Caller) -> Response {
    if let Err(problem) = caller.check("STATS", &[]) {
        return problem.into_older();
    }
    let sample = Sample::of(&caller.service);
    let families = sample
        .rows()
        .filter_map(|(spec, value)| family(spec, spec.metric?, value?));
    let families: Vec<MetricFamily> = families.collect();
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&families, &mut text) {
        Ok(()) => {
            let content_type = [(header::CONTENT_TYPE, encoder.format_type().to_owned())];
            (content_type, text).into_response()
        }
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_older()
        }
    }
}

/// Renders a figure; `None` without a value, as the encoder refuses a family without a metric.
fn family(spec: &FigureSpec, name: &str, value: &FigureValue) -> Option<MetricFamily> {
    let is_counter = name.ends_with("_total");
    let number = if is_counter { counter } else { gauge };
    let mut kind = if is_counter {
        MetricType::COUNTER
    } else {
        MetricType::GAUGE
    };
    let mut help = spec.help.to_owned();
    let metrics = match (spec.kind, value) {
        (Kind::CommandCounter(count), FigureValue::Commands(commands)) => {
            by_command(commands, |usage| counter(real(count(usage))))
        }
        (Kind::NamedCounter(_), FigureValue::Commands(commands)) => {
            by_command(commands, |usage| counter(real(usage.requests)))
        }
        (Kind::CommandLatencies, FigureValue::Commands(commands)) => {
            kind = MetricType::HISTOGRAM;
            by_command(commands, |usage| histogram(&usage.latencies))
        }
        (_, FigureValue::Time(at)) => {
            help += " In seconds since 1970.";
            vec![number(real(*at) / 1000.0)]
        }
        (_, value) => match value.figure() {
            Figure::Count(count) => vec![number(real(count))],
            Figure::Real(value) => vec![number(value)],
            Figure::Text(text) => {
                help += " Always 1; the label holds it.";
                vec![labelled(gauge(1.0), spec.name, &text)]
            }
            Figure::Absent => vec![],
        },
    };
    if metrics.is_empty() {
        return None;
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help);
    family.set_field_type(kind);
    family.set_metric(metrics);
    Some(family)
}

/// Renders one metric per command that has been used, with its name as a label.
fn by_command(commands: &[Usage], metric: impl Fn(&Usage) -> Metric) -> Vec<Metric> {
    let used = commands.iter().filter(|usage| usage.requests > 0);
    used.map(|usage| labelled(metric(usage), "command", &usage.name))
        .collect()
}

fn histogram(latencies: &LatencyCounts) -> Metric {
    let mut histogram = Histogram::default();
    histogram.set_sample_count(latencies.requests());
    histogram.set_sample_sum(latencies.sum().as_secs_f64());
    let buckets = latencies.up_to().map(|(microseconds, count)| {
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

fn labelled(mut metric: Metric, name: &str, value: &str) -> Metric {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    metric.set_label(vec![label]);
    metric
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers"
)]
fn real(count: u64) -> f64 {
    count as f64
}
