//! `export`: all pairs as one JSON object, one pair to a line, as the server keeps them in store.json.
//!
//! In: the server's pairs. Out: a file, gzipped if its name ends in `.gz`, or standard output. Promises: constant memory; the
//! file is written beside, synced, and only then given its name, so that an export that fails leaves what was there before;
//! the object is whole, as its pairs are counted against the server's own count.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use indicatif::{ProgressBar, ProgressStyle};
use pykv::json;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::render::{Outcome, tell, write_datum};
use crate::reply::Line;
use crate::table::counted;

/// What is written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes all pairs to a file, or to standard output.
pub fn run(connection: &mut Connection, file: Option<&str>) -> Result<Outcome, ClientError> {
    let began = Instant::now();
    let Some(file) = file.filter(|file| *file != "-") else {
        let progress = if io::stdout().is_terminal() {
            ProgressBar::hidden()
        } else {
            progress(connection)?
        };
        write_pairs(
            connection,
            &mut BufWriter::with_capacity(BUFFER_BYTES, io::stdout()),
            "standard output",
            &progress,
        )?;
        return Ok(Outcome::Done);
    };
    let progress = progress(connection)?;
    let count = write_file(connection, file, &progress)?;
    tell(&format!(
        "exported {} to {file} in {:.1} s",
        counted(count, "pair"),
        began.elapsed().as_secs_f64()
    ));
    Ok(Outcome::Done)
}

/// A bar that counts up to as many pairs as there are now.
fn progress(connection: &mut Connection) -> Result<ProgressBar, ClientError> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    connection.send(b"COUNT")?;
    let progress = match connection.next_line()? {
        Line::Count(count) => ProgressBar::new(count.unsigned_abs()),
        Line::Error(code, message) => return Err(ClientError::Refused { code, message }),
        _ => ProgressBar::no_length(),
    };
    let style =
        ProgressStyle::with_template("{bar:30} {percent:>3}%  {human_pos} of {human_len} pairs");
    Ok(progress.with_style(style.expect("the template is well-formed")))
}

/// Writes a file beside the one that is asked for, and puts it in its place once it is on disk.
fn write_file(
    connection: &mut Connection,
    file: &str,
    progress: &ProgressBar,
) -> Result<u64, ClientError> {
    // Through a link to what it links to, so that the link stays one.
    let path = fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(file));
    let old = fs::metadata(&path).ok();
    let failed = |action| ClientError::file(action, file);
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        // A pipe or a device is written to; it must not be replaced.
        let out = File::create(&path).map_err(failed("write"))?;
        return write_to(connection, &out, file, progress);
    }
    let mut beside = path.clone().into_os_string();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = || -> Result<u64, ClientError> {
        let out = File::create(&beside)
            .map_err(ClientError::file("write", beside.display().to_string()))?;
        if let Some(old) = old {
            out.set_permissions(old.permissions())
                .map_err(failed("write"))?;
        }
        let count = write_to(connection, &out, file, progress)?;
        out.sync_all().map_err(failed("write"))?;
        fs::rename(&beside, &path).map_err(failed("replace"))?;
        Ok(count)
    };
    let count = written().inspect_err(|_| {
        progress.finish_and_clear();
        let _ = fs::remove_file(&beside);
    })?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of"))?;
    Ok(count)
}

fn write_to(
    connection: &mut Connection,
    file: &File,
    name: &str,
    progress: &ProgressBar,
) -> Result<u64, ClientError> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    if Path::new(name)
        .extension()
        .is_none_or(|extension| extension != "gz")
    {
        return write_pairs(connection, &mut out, name, progress);
    }
    let mut zipped = GzEncoder::new(out, Compression::default());
    let count = write_pairs(connection, &mut zipped, name, progress)?;
    zipped
        .finish()
        .and_then(|mut out| out.flush())
        .map_err(ClientError::file("write", name))?;
    Ok(count)
}

/// Asks for all pairs and writes each as it comes; how many there were.
fn write_pairs(
    connection: &mut Connection,
    out: &mut impl Write,
    name: &str,
    progress: &ProgressBar,
) -> Result<u64, ClientError> {
    let failed = || ClientError::file("write", name);
    connection.send(b"ALL")?;
    let mut sent = 0;
    let mut text = Vec::new();
    let announced = loop {
        text.clear();
        match connection.next_line()? {
            Line::Item(key, value) => {
                text.extend_from_slice(if sent == 0 { b"{\n  " } else { b",\n  " });
                json::write_string(&mut text, &key);
                text.extend_from_slice(b": ");
                write_datum(&mut text, &value).map_err(failed())?;
                out.write_all(&text).map_err(failed())?;
                sent += 1;
                progress.set_position(sent);
            }
            Line::Error(code, message) => return Err(ClientError::Refused { code, message }),
            Line::End(count) => break count,
            _ => {}
        }
        // One long value must not keep its room for all the short ones.
        text.shrink_to(BUFFER_BYTES);
    };
    if announced != sent {
        return Err(ClientError::Incomplete {
            address: connection.address().clone(),
            announced,
            sent,
        });
    }
    out.write_all(if sent == 0 { b"{}\n" } else { b"\n}\n" })
        .and_then(|()| out.flush())
        .map_err(failed())?;
    progress.finish_and_clear();
    Ok(sent)
}
