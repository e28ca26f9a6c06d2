//! The keys of a snapshot, by their text.
//!
//! In: text, and the journals beside a store.json. Out: keys. Promises: a file means what it meant to the version that wrote it, also if that
//! had no keys but text; the journals are looked at only if it matters.

use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

use super::error::{ReplayError, StoreError};
use super::replay::records_snapshot;
use super::scan::ScannedSegment;
use crate::codec::key_text::{KeyForm, may_be_encoded};
use crate::persistence::disk::Folder;
use crate::persistence::format::JournalName;

/// The first version of the journal's format that is written together with keys in the form of `codec::key_text`.
const FIRST_ENCODED: u64 = 6;

/// The keys of a snapshot.
#[derive(Default)]
pub struct SnapshotKeys<'a> {
    /// Folder with the journals, and path of the snapshot; without them, it is of the present version.
    journals: Option<(&'a Folder, &'a Path)>,
    form: OnceLock<KeyForm>,
}

impl<'a> SnapshotKeys<'a> {
    /// Makes those of the snapshot at a path, beside the journals of a folder.
    #[must_use]
    pub fn beside(folder: &'a Folder, path: &'a Path) -> Self {
        Self {
            journals: Some((folder, path)),
            form: OnceLock::new(),
        }
    }

    /// Returns the bytes of the key that has this text.
    #[must_use]
    pub fn bytes<'t>(&self, text: Cow<'t, str>) -> Cow<'t, [u8]> {
        if !may_be_encoded(&text) {
            return KeyForm::Literal.bytes(text);
        }
        let form = self.form.get_or_init(|| {
            // A journal that cannot be read ends the start, when it is replayed.
            let form = self.journals.map(|(folder, path)| key_form(folder, path));
            form.and_then(Result::ok).unwrap_or(KeyForm::Encoded)
        });
        form.bytes(text)
    }
}

/// Returns the form of the keys in the store.json at `path`: that of the oldest journal, unless a newer one says that it was written
/// since; without journals it is the present one.
///
/// # Errors
/// [`StoreError`], if the folder or a journal cannot be read.
fn key_form(folder: &Folder, path: &Path) -> Result<KeyForm, StoreError> {
    let names = folder.names()?;
    let mut journals: Vec<JournalName> = names
        .iter()
        .filter_map(|name| JournalName::parse(name))
        .collect();
    journals.sort_unstable();
    let mut encoded = Vec::new();
    for name in &journals {
        if version_of(folder, *name)?.is_none_or(|version| version >= FIRST_ENCODED) {
            encoded.push(*name);
        }
    }
    if encoded.len() == journals.len() {
        return Ok(KeyForm::Encoded);
    }
    // A version whose keys were all text has left journals. They go once a save is done, which may not have come that far.
    if let Ok(stat) = folder.files().stat(path) {
        for name in encoded {
            if records_snapshot(folder, name, |saved| saved.is_like(&stat))? {
                return Ok(KeyForm::Encoded);
            }
        }
    }
    Ok(KeyForm::Literal)
}

/// Returns the version of a journal's format, if its header is whole.
fn version_of(folder: &Folder, name: JournalName) -> Result<Option<u64>, ReplayError> {
    let path = folder.join(&name.to_string());
    let unreadable = |source| ReplayError::unreadable(&path)(source);
    let file = folder.files().open(&path).map_err(unreadable)?;
    let opened = ScannedSegment::open(&file, &path, name.number).map_err(unreadable)?;
    Ok(opened.map(|(header, _)| header.journal))
}
