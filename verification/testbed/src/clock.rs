//! A server's clock that a test sets, by libfaketime. Elapsed time is left alone: only the wall clock
//! moves.
//!
//! Redis does not start under it: its allocator reads the time before the library is ready.

use std::fs;
use std::path::{Path, PathBuf};

use crate::locate;
use crate::process::Server;

const FILE: &str = "clock";

/// Whether servers can be started with a clock that can be set: libfaketime is installed.
pub fn clocks_can_be_set() -> bool {
    locate::faketime().is_some()
}

impl Server {
    /// From the next start on, the server reads a clock that can be set.
    #[track_caller]
    pub(crate) fn with_clock(mut self) -> Self {
        self.environment = environment(&self);
        self
    }

    #[track_caller]
    pub(crate) fn set_clock(&self, milliseconds: i64) {
        assert!(!self.environment.is_empty(), "{} was started with the real clock", self.name);
        set(self, milliseconds);
    }
}

/// What a server is started with, so that it reads this clock.
///
/// # Panics
/// If libfaketime is not there, with how to get it.
#[track_caller]
fn environment(server: &Server) -> Vec<(&'static str, String)> {
    let library = locate::faketime();
    let library = library.unwrap_or_else(|| {
        panic!("libfaketime is not found: cargo xtask setup, or apt-get install libfaketime")
    });
    set(server, 0);
    vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file(server).display().to_string()),
        // It reads the file each time. Else a server would read the old clock for seconds.
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

/// Sets the clock this many milliseconds ahead of or behind the real one.
#[track_caller]
fn set(server: &Server, milliseconds: i64) {
    let sign = if milliseconds < 0 { '-' } else { '+' };
    let (seconds, rest) = (milliseconds.unsigned_abs() / 1_000, milliseconds.unsigned_abs() % 1_000);
    let new = server.write("clock.new", &format!("{sign}{seconds}.{rest:03}\n"));
    // Renamed: no reader sees half of it.
    fs::rename(new, file(server)).unwrap_or_else(|error| panic!("the clock cannot be set: {error}"));
}

fn file(server: &Server) -> PathBuf {
    Path::new(server.folder()).join(FILE)
}

#[cfg(test)]
mod tests {
    use crate::{Postgres, until};

    #[test]
    fn a_clock_is_set_while_its_server_runs() {
        let server = Postgres::start(crate::postgres::Options::default().clock());
        for milliseconds in [7_200_000, -7_200_500, 0] {
            server.set_clock(milliseconds);
            until("the server reads the clock", || {
                let theirs = server.psql("select extract(epoch from clock_timestamp())::int8");
                let real = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
                (theirs.parse::<i64>().unwrap() - real.tv_sec - milliseconds / 1_000).abs() < 300
            });
        }
    }
}
