//! `cluster`: the members of a cluster whose log etcd keeps.
//!
//! In: the reply to MEMBERS. Out: a row for each member, and one of the whole; or JSON.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde_json::{Map, Value};

use crate::connection::Connection;
use crate::error::{ClientError, Outcome};
use crate::format::Format;
use crate::reply::{Datum, Line};

/// Prints the members.
///
/// # Errors
/// [`ClientError::Refused`] if the server is no member; [`ClientError::File`] if the output fails; as [`Connection::next_line`].
pub fn run(connection: &mut Connection, format: Format) -> Result<Outcome, ClientError> {
    connection.send(b"MEMBERS")?;
    let mut listed = Map::new();
    loop {
        match connection.next_line()? {
            Line::Item(name, Datum::Text(text)) => {
                let value = serde_json::from_str(&text).unwrap_or(Value::Null);
                listed.insert(name, value);
            }
            Line::Error(code, message) => return Err(ClientError::Refused { code, message }),
            _ => break,
        }
    }
    let text = match format {
        Format::Json => Value::Object(listed).to_string(),
        _ => table(&listed),
    };
    writeln!(io::stdout(), "{}", text.trim_end()).map_err(ClientError::output)?;
    Ok(Outcome::Done)
}

/// Returns the text of a member of an object, without quotes.
fn shown(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn table(listed: &Map<String, Value>) -> String {
    let mut text = String::new();
    let (clusters, members): (Vec<_>, Vec<_>) = listed
        .iter()
        .partition(|(name, _)| name.starts_with("cluster "));
    for (name, cluster) in clusters {
        let _ = writeln!(
            text,
            "{name}: {} leads; lease {} s, log {} bytes from revision {}, {} failovers seen",
            shown(cluster, "leader"),
            shown(cluster, "lease_seconds"),
            shown(cluster, "log_bytes"),
            shown(cluster, "log_from"),
            shown(cluster, "failovers"),
        );
        if let Some(reason) = cluster["reason"].as_str() {
            let _ = writeln!(text, "{reason}");
        }
    }
    let _ = writeln!(
        text,
        "{:<24} {:<10} {:>12} {:>8} {:>12} {:<8}",
        "member", "state", "revision", "lag", "on disk", "version"
    );
    for (address, member) in members {
        let _ = writeln!(
            text,
            "{address:<24} {:<10} {:>12} {:>8} {:>12} {:<8}",
            shown(member, "state"),
            shown(member, "revision"),
            shown(member, "lag_revisions"),
            shown(member, "on_disk"),
            shown(member, "version"),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_stands_above_a_row_for_each_member() {
        let listed = serde_json::json!({
            "cluster shop": {"leader": "a:1", "lease_seconds": 2, "log_bytes": 7, "log_from": 3, "failovers": 1, "reason": null},
            "a:1": {"state": "leading", "revision": 12, "lag_revisions": 0, "on_disk": 11, "version": "0.1.0"},
        });
        let table = table(listed.as_object().expect("an object"));
        let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "cluster shop: a:1 leads; lease 2 s, log 7 bytes from revision 3, 1 failovers seen",
                "member                   state          revision      lag      on disk version",
                "a:1                      leading              12        0           11 0.1.0",
            ]
        );
    }
}
