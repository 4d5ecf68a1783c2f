//! Replicas, which follow a primary and can be promoted.

use crate::process::until;

use super::conf_syntax::quoted;
use super::{Options, Redis};

impl Redis {
    /// Starts a replica of this server and waits until it follows. It is reached in the same way: password and TLS are
    /// this server's. Replication does not wait: what this server has answered, its replica may not have yet.
    #[track_caller]
    pub fn replica(&self, mut options: Options) -> Self {
        if let (None, Some(password)) = (&options.password, &self.password) {
            options = options.password(password);
        }
        if self.tls {
            options = options.tls_like(self.folder());
        }
        let replica = Self::start(options);
        replica.follow(self);
        replica
    }

    /// From now on, this server follows another one: its own data are gone. Waits until it has those of the other. A
    /// later start does not change it. With TLS, both must trust the same authority: one of them was started as the
    /// [`replica`](Self::replica) of the other, or both of a third server.
    #[track_caller]
    pub fn follow(&self, primary: &Self) {
        let password = primary.password.as_deref().unwrap_or_default();
        self.feed_cli(&format!("CONFIG SET masterauth {}\n", quoted(password)));
        self.cli(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        self.wait_linked();
        self.keep_settings();
    }

    /// Waits until a replica is connected with its primary, has got all that it missed, and has it in its append-only
    /// file, if it keeps one.
    #[track_caller]
    pub fn wait_linked(&self) {
        // A sentinel that has it follow closes all its connections.
        let reports = |field, value: &str| self.try_info(field).is_ok_and(|found| found == value);
        until("the replica follows", || reports("master_link_status", "up"));
        until("the replica has written what it got", || {
            reports("aof_rewrite_in_progress", "0") && reports("aof_rewrite_scheduled", "0")
        });
    }

    /// Waits until each replica of this server has all that this server has answered so far.
    ///
    /// # Panics
    /// When it has no replica.
    #[track_caller]
    pub fn wait_caught_up(&self) {
        let replicas = self.info("connected_slaves");
        assert!(!matches!(replicas.as_str(), "" | "0"), "this server has no replica that could catch up");
        // It waits for what was written before the connection's last command, by any client.
        let commands = format!("PING\nWAIT {replicas} 1000\n");
        until("the replicas have caught up", || {
            self.feed_cli(&commands).lines().last() == Some(replicas.as_str())
        });
    }

    /// Makes a replica a server of its own, which takes writes. Its former primary is not informed.
    #[track_caller]
    pub fn promote(&self) {
        self.cli(&["REPLICAOF", "NO", "ONE"]);
        assert_eq!(self.info("role"), "master", "the replica was not promoted: {}", self.log());
        self.keep_settings();
    }

    /// Writes settings that were changed at run time to the file, so that the next start has them too.
    #[track_caller]
    fn keep_settings(&self) {
        self.cli(&["CONFIG", "REWRITE"]);
    }
}
