//! Redis.

mod append_only;
mod cluster;
mod conf;
mod conf_syntax;
mod faults;
mod options;
mod replica;
mod sentinel;
mod slots;
mod socket;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::process::{Server, feed, plain, until};
use crate::url::redis as url;
use crate::{ports, programs};

pub use cluster::RedisCluster;
use conf_syntax::CONF_FILE;
use options::Kind;
pub use options::{Fsync, Options};
pub use sentinel::RedisSentinel;
pub use slots::SlotMove;

/// The user that every server has. Named in each URL: some clients take an empty name for the name of a user.
const USER: &str = "default";

/// A Redis server in a temporary folder, on a loopback port and on a socket in that folder. Dropping it stops it and
/// removes the folder.
///
/// All methods panic with the server's error message when they fail.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    port: u16,
    password: Option<String>,
    tls: bool,
    kind: Kind,
}

impl Redis {
    /// Starts a new server, and waits until it answers.
    #[track_caller]
    pub fn start(options: Options) -> Self {
        let server = Server::new("Redis", (Signal::KILL, "KILL"));
        let (password, tls, kind) = (options.password.clone(), options.tls, options.kind);
        let stopped = Self { server, port: 0, password, tls, kind };
        stopped.create_certificate(&options);
        ports::launch_on_a_free_port(
            stopped,
            |started| &started.server,
            |started, port| {
                started.port = port;
                started.configure(&options);
                started.launch()
            },
        )
    }

    /// Starts the process; whether it answers, with all its data.
    #[track_caller]
    fn launch(&self) -> bool {
        let sentinel = if self.kind == Kind::Sentinel { Some("--sentinel") } else { None };
        let args: Vec<String> = [CONF_FILE].into_iter().chain(sentinel).map(str::to_owned).collect();
        self.server.launch(&programs::redis("redis-server"), &args, || self.is_ready())
    }

    /// By the socket, because another program could be on the port. It listens there only after it has got its port.
    fn is_ready(&self) -> bool {
        match self.try_cli(&["PING"]) {
            Ok(reply) => reply == "PONG",
            // A replica that must not answer with old data does not answer this either.
            Err(error) => error.starts_with("MASTERDOWN"),
        }
    }

    /// The URL of the user `default`, by TCP.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same on another port: that of a proxy in front of this server.
    pub fn url_at(&self, port: u16) -> String {
        url(self.scheme(), USER, self.password.as_deref(), port)
    }

    /// The URL of another user, by TCP. Nothing is created by it.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        url(self.scheme(), user, Some(password), self.port)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
    }

    /// The certificate of the authority that vouches for a server with TLS.
    pub fn authority(&self) -> PathBuf {
        self.folder().join("ca.crt")
    }

    /// The path of the server's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder().join("redis.sock")
    }

    /// The URL of the user `default`, by the socket.
    pub fn socket_url(&self) -> String {
        crate::url::redis_socket(USER, self.password.as_deref(), &self.socket().display().to_string())
    }

    /// The TCP port on 127.0.0.1. It stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the server's process; another one after each start.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.server.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// The folder of the server, which holds its data, its socket and its log.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// What the server has written to its log, since its first start.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The version of the server, major and minor.
    pub fn version(&self) -> (u32, u32) {
        programs::redis_version()
    }

    /// Sends a command and gives the reply, without a newline at the end: the items of a list are a line each, and
    /// nothing is an empty line.
    #[track_caller]
    pub fn cli(&self, command: &[&str]) -> String {
        self.try_cli(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// The same, with the error of the server, or of `redis-cli` when it cannot be reached.
    pub fn try_cli(&self, command: &[&str]) -> Result<String, String> {
        let mut cli = self.command("redis-cli");
        let output = cli.arg("-e").args(command).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("cannot run redis-cli: {error}"))?;
        let text = |bytes: &[u8]| {
            let whole = String::from_utf8_lossy(bytes);
            whole.strip_suffix('\n').unwrap_or(&whole).to_owned()
        };
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Sends commands over one connection, a line each, and gives the replies.
    #[track_caller]
    fn feed_cli(&self, commands: &str) -> String {
        feed(self.command("redis-cli"), commands)
    }

    /// A program of Redis (`redis-cli`, `redis-benchmark`), with the arguments to connect to this server as the user
    /// `default`, by the socket.
    #[track_caller]
    pub fn command(&self, program: &str) -> Command {
        let mut command = plain(&programs::redis(program));
        command.arg("-s").arg(self.socket());
        if let Some(password) = &self.password {
            command.args(["-a", password]);
            if program == "redis-cli" {
                command.arg("--no-auth-warning");
            }
        }
        command
    }

    /// A field of `INFO everything`; empty when there is none of this name.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        self.try_info(field).unwrap_or_else(|error| panic!("INFO: {error}"))
    }

    /// The same, with the error: for a server whose connections another process may close.
    fn try_info(&self, field: &str) -> Result<String, String> {
        let reply = self.try_cli(&["INFO", "everything"])?;
        let mut fields = reply.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| *name == field);
        Ok(found.map(|(_, value)| value.trim_end().to_owned()).unwrap_or_default())
    }

    /// The id of this process of the server: another one after each start.
    #[track_caller]
    pub fn run_id(&self) -> String {
        self.info("run_id")
    }

    /// Stops the server in order: everything is written and synced. One that is paused is resumed first.
    #[track_caller]
    pub fn stop(&self) {
        // A replica whose first append-only file is not complete yet refuses to end.
        let refusals = || self.log().matches("Errors trying to shut down").count();
        let mut refused = refusals();
        self.server.signal(Signal::TERM);
        self.resume();
        until("Redis has stopped", || {
            if refusals() > refused {
                refused = refusals();
                self.server.signal(Signal::TERM);
            }
            self.server.ended().is_some()
        });
    }

    /// Starts a server that was stopped or killed: same port, same data, and waits until it has loaded them.
    #[track_caller]
    pub fn start_again(&self) {
        self.start_again_with(&[]);
    }

    /// The same, from now on with other settings: `&[("appendfsync", "no")]`.
    #[track_caller]
    pub fn start_again_with(&self, settings: &[(&str, &str)]) {
        let before = self.log().len();
        self.server.append(CONF_FILE, &conf_syntax::lines(settings));
        assert!(self.launch(), "Redis did not start again: {}", &self.log()[before..]);
    }
}
