//! Hot standbys.

use std::sync::PoisonError;

use rustix::process::Signal;

use crate::process::{Server, run, until};
use crate::programs;

use super::Postgres;

impl Postgres {
    /// Starts a hot standby of this server and waits until it streams. Its name is its `application_name`. Of several
    /// synchronous ones, commits wait for each.
    ///
    /// When a synchronous standby is gone, commits on the primary hang: that is what it is for.
    #[track_caller]
    pub fn standby(&self, name: &str, synchronous: bool) -> Self {
        let server = Server::new("the standby", (Signal::QUIT, "QUIT"));
        let mut backup = server.command(&programs::postgres("pg_basebackup"));
        backup.args(["-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d"]);
        run_backup(backup, &format!("{}?application_name={name}", self.socket_url()));
        // What this server waits for, its copy must not: once promoted it would wait for itself.
        server.append("data/postgresql.auto.conf", "\nsynchronous_standby_names = ''\n");
        let standby = Self::first_start(server, Some(name.to_owned()));
        self.until_replicating(name, "state", "streaming");
        if synchronous {
            self.wait_for(name);
        }
        standby
    }

    /// From now on, commits wait for this standby.
    #[track_caller]
    fn wait_for(&self, name: &str) {
        let list = {
            let mut names = self.synchronous.lock().unwrap_or_else(PoisonError::into_inner);
            names.push(format!("\"{name}\""));
            format!("FIRST {} ({})", names.len(), names.join(", "))
        };
        self.psql(&format!(
            "alter system set synchronous_standby_names = '{list}'; select pg_reload_conf();"
        ));
        self.until_replicating(name, "sync_state", "sync");
    }

    #[track_caller]
    fn until_replicating(&self, name: &str, column: &str, value: &str) {
        let query = format!("select {column} from pg_stat_replication where application_name = '{name}'");
        until(&format!("{name} is {value}"), || self.psql(&query) == value);
    }

    /// Makes a standby a server of its own, on a new time line, and waits until it takes writes. Its former primary
    /// is not informed.
    #[track_caller]
    pub fn promote(&self) {
        assert_eq!(self.psql("select pg_promote()"), "t", "the standby was not promoted: {}", self.log());
        until("the standby is promoted", || self.psql("select pg_is_in_recovery()") == "f");
    }
}

#[track_caller]
fn run_backup(mut backup: std::process::Command, from: &str) {
    backup.arg(from);
    run(backup);
}
