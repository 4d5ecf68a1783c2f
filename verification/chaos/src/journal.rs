//! What each process records, so that it can be checked although the process was killed.
//!
//! A note is one line of JSON, written at once. A line begins with its line feed: an unfinished line of a killed
//! process does not corrupt the next note of another process.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use sentinel::Key;
use sentinel::kernel::{Op, Reply};
use sentinel::record::Address;
use sentinel::store::operation::Stamped;
use sentinel_conformance::{CallOutcome, Start};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A note in a worker's own journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Note {
    /// A request is sent to the store: its number, when, and what.
    Sent(u64, u64, Address, Op),
    /// It was answered: its number, when, and what.
    Answered(u64, u64, Result<Stamped<Reply>, NoReply>),
    /// A function starts.
    Started(Start),
    /// A function fails, and asks for that to be recorded.
    Failed(Key, String),
    /// A call of `once` returned.
    Returned(CallOutcome),
    /// An operator is about to decide that this is the result.
    Decided(Key, String),
}

/// Why a request was not answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NoReply {
    /// Whether it may have been carried out.
    pub(crate) ambiguous: bool,
    pub(crate) text: String,
}

/// A file to which lines are added, by one process or by many.
#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        File::options().create(true).append(true).open(path).map(Self)
    }

    /// # Panics
    /// If it cannot be written down. Nothing must happen then.
    pub(crate) fn note(&self, note: &impl Serialize) {
        let line = serde_json::to_string(note).unwrap_or_else(|error| panic!("no note: {error}"));
        let written = (&self.0).write_all(format!("\n{line}").as_bytes());
        written.unwrap_or_else(|error| panic!("cannot write a note: {error}"));
    }
}

/// What was written down. What a killed process left unfinished was not.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let mut notes = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        match serde_json::from_str(line) {
            Ok(note) => notes.push(note),
            Err(error) if error.is_eof() => {}
            Err(error) => return Err(format!("{} has a strange line, {error}: {line}", path.display())),
        }
    }
    Ok(notes)
}

/// Now, in nanoseconds of the clock that all processes of this machine share.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_note_does_not_spoil_the_next_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), Vec::<Vec<u32>>::new());
        Journal::open(&path).unwrap().note(&[1, 2]);
        (&File::options().append(true).open(&path).unwrap()).write_all(b"\n[3, ").unwrap();
        Journal::open(&path).unwrap().note(&[4, 5]);
        assert_eq!(read::<Vec<u32>>(&path).unwrap(), [[1, 2], [4, 5]]);
        (&File::options().append(true).open(&path).unwrap()).write_all(b"\n6").unwrap();
        assert!(read::<Vec<u32>>(&path).unwrap_err().contains("strange line"));
    }
}
