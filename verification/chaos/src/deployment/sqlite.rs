//! One file, and processes that are killed while they have it open.

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::workers::{Workers, pass};

use super::Deployment;

#[derive(Debug)]
pub(super) struct Sqlite(TempDir);

impl Sqlite {
    pub(super) fn start(runtime: &Runtime) -> Self {
        let started = Self(tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}")));
        // Made once, here, and not by the first worker.
        let made = runtime.block_on(sentinel::connect(&started.url()));
        drop(made.unwrap_or_else(|error| panic!("the file cannot be made: {error}")));
        started
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("sentinel.db")
    }

    /// Locks the file for a while.
    fn hold_lock(&self, long: Duration) {
        let connection = Connection::open(self.file()).unwrap_or_else(|error| panic!("no file: {error}"));
        let locked = connection
            .busy_timeout(Duration::from_secs(60))
            .and_then(|()| connection.execute_batch("BEGIN IMMEDIATE"));
        locked.unwrap_or_else(|error| panic!("no lock: {error}"));
        pass(long);
    }
}

impl Deployment for Sqlite {
    fn url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }

    fn name(&self) -> String {
        "SQLite, one file".into()
    }

    fn inject(&mut self, workers: &mut Workers, rng: &mut StdRng) -> String {
        if rng.random_ratio(2, 3) {
            workers.kill_all();
            return "every process with the file open is killed".into();
        }
        let long = Duration::from_millis(rng.random_range(20..=600));
        self.hold_lock(long);
        format!("the file is locked for {long:?}")
    }
}
