//! INFO: the server's figures under Redis's names.
//!
//! In: a sample of the figures. Out: text, one `name:value` per line, by section. Promise: an unknown number is 0, and an unknown
//! text is left out.
//! Source: <https://redis.io/docs/latest/commands/info/>.

use crate::command::call::{Answer, Arguments, Call};
use crate::command::row::Row;
use crate::command::server::figures::{FigureValue, Kind, Sample};
use crate::command::spec::{ANY, Flag, Group};
use crate::protocol::{Figure, Reply};

pub(in crate::command) const ROWS: &[Row] =
    &[Row::connection("INFO", "[<section> ...]", 0..=ANY, info)
        .group(Group::Server)
        .flags(&[Flag::LoadingOk, Flag::WholeServer, Flag::Slow])
        .example("INFO cluster")
        .summary("Show the server's figures, under the names that Redis's tools read.")];

/// Sections; true for those that are shown by default.
const SECTIONS: &[(&str, bool)] = &[
    ("Server", true),
    ("Clients", true),
    ("Memory", true),
    ("Persistence", true),
    ("Stats", true),
    ("Replication", true),
    ("CPU", true),
    ("Commandstats", false),
    ("Errorstats", true),
    ("Latencystats", false),
    ("Cluster", true),
    ("Keyspace", true),
];

fn info(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    // Add the counters of this batch first, so that the figures are current.
    call.service.stats.add(call.tally);
    let asked = |name: &str, is_default: bool| {
        let is_meant = |word: &[u8]| match &*word.to_ascii_lowercase() {
            b"all" | b"everything" => true,
            b"default" => is_default,
            word => word == name.to_lowercase().as_bytes(),
        };
        (words.is_empty() && is_default) || words.iter().any(|word| is_meant(word))
    };
    let sample = Sample::since_reset(call.service);
    let mut text = String::new();
    for (section, is_default) in SECTIONS {
        if asked(section, *is_default) {
            if !text.is_empty() {
                text += "\r\n";
            }
            text += &format!("# {section}\r\n");
            write_section(&sample, section, &mut text);
        }
    }
    call.done(Reply::Text(&text))
}

fn write_section(sample: &Sample, section: &str, out: &mut String) {
    for (spec, value) in sample.rows() {
        let Some((_, name)) = spec.info.filter(|(of, _)| *of == section) else {
            continue;
        };
        if let Some(FigureValue::Lines(lines)) = value {
            for (of, value) in lines {
                *out += &format!("{}:{value}\r\n", name.replace('*', of));
            }
            continue;
        }
        let shown = match value.map(FigureValue::figure) {
            Some(Figure::Text(text)) => text,
            Some(figure) => figure.to_json().to_string(),
            None if matches!(spec.kind, Kind::Text(_) | Kind::Time(_)) => continue,
            None => "0".to_owned(),
        };
        *out += &format!("{name}:{shown}\r\n");
    }
}
