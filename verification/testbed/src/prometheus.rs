//! Prometheus, and its tool that checks rules.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::process::{Server, plain};
use crate::{ports, programs};

/// `promtool` with the caller's arguments, in this folder.
///
/// # Panics
/// When it is not installed: with what to do.
#[track_caller]
pub fn promtool(folder: &Path) -> Command {
    let mut command = plain(&programs::prometheus("promtool"));
    command.current_dir(folder);
    command
}

/// A Prometheus on a loopback port that scrapes one target and evaluates rules. Dropping it stops it.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
    port: u16,
}

impl Prometheus {
    /// Starts a Prometheus, and waits until it answers. It scrapes `target`, which is a host and a port, as the job
    /// `sentinel`, and evaluates the rules of the file `rules`, both once in every `interval` (`200ms`).
    ///
    /// # Panics
    /// With its log, if it does not start: for one, because the rules are wrong.
    #[track_caller]
    pub fn start(target: &str, rules: &str, interval: &str) -> Self {
        // It needs no rights, and its program may be where only the account of the tests can read.
        let server = Server::new("Prometheus", (Signal::KILL, "KILL")).without_account();
        server.write("rules.yml", rules);
        let config = format!(
            "global: {{scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval}}}\n\
             rule_files: [rules.yml]\nscrape_configs:\n- job_name: sentinel\n  static_configs:\n  \
             - targets: ['{target}']\n"
        );
        server.write("prometheus.yml", &config);
        ports::launch_on_a_free_port(
            Self { server, port: 0 },
            |prometheus| &prometheus.server,
            |prometheus, port| {
                prometheus.port = port;
                prometheus.launch()
            },
        )
    }

    fn launch(&self) -> bool {
        let folder = self.server.folder().display();
        let args = [
            format!("--config.file={folder}/prometheus.yml"),
            format!("--storage.tsdb.path={folder}/data"),
            format!("--web.listen-address=127.0.0.1:{}", self.port),
        ];
        // The guard removes the folder, so another program on the port cannot pass for this one.
        let is_up = || {
            self.server.log().contains("Server is ready to receive web requests")
                && self.fetch("/-/ready").is_some()
        };
        self.server.launch(&programs::prometheus("prometheus"), &args, is_up) && self.server.is_running()
    }

    /// The body of the answer to a GET request for a path of its API.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> String {
        self.fetch(path).unwrap_or_else(|| panic!("Prometheus does not answer {path}: {}", self.server.log()))
    }

    fn fetch(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ').nth(1).is_some_and(|status| status == "200").then(|| body.to_owned())
    }
}
