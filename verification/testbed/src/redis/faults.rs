//! Faults of a server: kill, pause, new certificates, closed connections.

use rustix::process::Signal;

use super::Redis;
use crate::tls;

impl Redis {
    /// `kill -9`: nothing more is written. What the server had handed to the system is still there; what a power
    /// failure would lose of it, [`cut_append_only_file`](Self::cut_append_only_file) takes.
    #[track_caller]
    pub fn kill(&self) {
        self.server.signal(Signal::KILL);
        self.server.wait();
    }

    /// Gives a server with TLS a new authority and a certificate of that, as when both are replaced before they expire.
    /// Connections that are open stay open; [`drop_connections`](Self::drop_connections) ends them.
    #[track_caller]
    pub fn renew_certificates(&self) {
        tls::create_authority(&self.server);
        tls::create_certificate(&self.server, ".");
        let files =
            ["tls-cert-file", "server.crt", "tls-key-file", "server.key", "tls-ca-cert-file", "ca.crt"];
        self.cli(&[&["CONFIG", "SET"], &files[..]].concat());
    }

    /// Ends all connections but those of replicas. Their clients may connect again.
    #[track_caller]
    pub fn drop_connections(&self) {
        for kind in ["normal", "pubsub"] {
            self.cli(&["CLIENT", "KILL", "TYPE", kind]);
        }
    }

    /// Suspends the server (SIGSTOP): connections stay open and are silent, new ones are made by the system
    /// and get no answer.
    #[track_caller]
    pub fn pause(&self) {
        self.server.halt();
    }

    /// Lets a paused server go on.
    #[track_caller]
    pub fn resume(&self) {
        self.server.signal(Signal::CONT);
    }
}
