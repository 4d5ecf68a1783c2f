//! The command line. What it accepts is checked here, before anything is sent to a store.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sentinel_core::store::Shown;
use sentinel_core::{Fingerprint, Key, Kind, Label, OpId, Terms, Token};

use crate::exit::CliError;
use crate::parse::{self, Codes};

/// Runs work that is not safe to repeat: at most once per key, with its result replayed and its doubts told.
#[derive(Debug, Parser)]
#[command(name = "sentinel", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Example:
  sentinel once invoice-42 -- ./charge.sh    runs it
  sentinel once invoice-42 -- ./charge.sh    prints what the first run printed, and runs nothing

Exit codes: 0 done or replayed; 64 bad arguments; 65 another fingerprint, or a decision that does not apply;
69 the store cannot be used, and the command did not run; 74 the answer could not be written to standard output;
75 someone else holds it; 76 in doubt: reconcile. 126, 127: the command could not be started, and the key is free.
An environment variable that is set and empty counts as not set.";

/// Options of every command; they may stand anywhere before `--`.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The store: sqlite:PATH, postgres://.., redis://.. or rediss://..
    ///
    /// Default: $SENTINEL_STORE, else the file $XDG_STATE_HOME/sentinel/sentinel.db (~/.local/state/..). Only once,
    /// lease and init create a file. An address is taken literally, or refused. A PostgreSQL store is set up by
    /// `sentinel init`; its tables are in the schema `sentinel`, or where the URL says:
    /// postgres://user:password@host/database?sentinel_schema=S&sentinel_table_prefix=P. TLS and a password's file are
    /// asked for as with psql: sslmode=verify-full, ~/.pgpass or PGPASSFILE.
    ///
    /// A Redis store is set up by `sentinel init`, too, and armed again by it when the server has lost something, or
    /// may have. redis://user:password@host:port/database?sentinel_key_prefix=P, or with TLS
    /// rediss://..?sentinel_ca=FILE; redis-cluster://host:port?node=host:port,
    /// redis-sentinel://host:port?sentinelServiceName=NAME (both with TLS as rediss-..),
    /// redis+unix:///path/of/the.sock. What was acknowledged last is noted in $XDG_STATE_HOME/sentinel, to be missed
    /// where a restarted server does not have it any more.
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub(crate) store: Option<OsString>,
    /// The room that keys live in [default: $SENTINEL_NAMESPACE, else `default`]
    #[arg(long, global = true, value_name = "NS", help_heading = "Global options")]
    pub(crate) namespace: Option<OsString>,
    /// Who works or decides here, a label for people [default: $SENTINEL_WORKER, else host:pid for a worker, and for an
    /// operator $SUDO_USER or $USER, @host]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(crate) worker: Option<OsString>,
    /// Answer with one JSON object (list, history: one per line); changes nothing about once and lease
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command at most once per key; called again, print what it printed
    Once(Once),
    /// Run a command while holding a lease
    Lease(Lease),
    /// Show one record
    Inspect(Inspect),
    /// Show the events of a record, oldest first
    History(History),
    /// List records; --all-namespaces --state open is the page for people on call
    List(List),
    /// Name the namespaces that the store has
    #[command(after_help = "Example:\n  sentinel namespaces")]
    Namespaces,
    /// Take an uncertain key, and print the token to decide it with
    Reconcile(Reconcile),
    /// Decide "it did happen": the response is replayed from now on
    ForceComplete(ForceComplete),
    /// Decide "it did not happen": anyone may run it again
    ResetToClaimed(ResetToClaimed),
    /// Free a claim or lease whose holder will not come back
    Evict(Evict),
    /// Remove completed records past their retention, and old tombstones
    Purge(Purge),
    /// Set the store up, bring it up to date, or arm it again after a doubt
    Init(Init),
    /// Look at the store and its deployment, and tell what it guarantees
    #[command(after_help = "Example:\n  sentinel doctor --json")]
    Doctor,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  sentinel completions bash > ~/.local/share/bash-completion/completions/sentinel"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  sentinel man > sentinel.1 && man ./sentinel.1")]
    Man,
}

/// The key of a record.
#[derive(Debug, Args)]
pub(crate) struct KeyArg {
    /// What the work is about: 1 to 512 bytes of UTF-8 without control characters
    #[arg(value_name = "KEY", value_parser = key, required_unless_present = "dashed_key")]
    key: Option<Key>,
    /// The same, for a key that begins with a dash: --key=-5
    #[arg(long = "key", value_name = "KEY", value_parser = key, conflicts_with = "key", id = "dashed_key")]
    dashed: Option<Key>,
}

impl KeyArg {
    pub(crate) fn get(&self) -> Result<Key, CliError> {
        self.key.clone().or_else(|| self.dashed.clone()).ok_or_else(|| CliError::usage("a KEY is required"))
    }
}

/// Unless the ttl is longer.
const HARD_TTL: Duration = Duration::from_secs(3600);

/// How long a claim holds.
#[derive(Debug, Args)]
pub(crate) struct TermsArg {
    /// How long the claim holds without a sign of life, like 500ms, 3s, 10m. See below for what happens then
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse::duration)]
    ttl: Duration,
    /// How long the command may run at all; at this deadline its process group is gone [default: 1h, or --ttl if that
    /// is longer]
    #[arg(long, value_name = "D", value_parser = parse::duration)]
    hard_ttl: Option<Duration>,
    /// Wait at most this long for the holder of the key, or for a store that is away, instead of answering at once
    #[arg(long, value_name = "D", value_parser = parse::duration)]
    pub(crate) wait: Option<Duration>,
}

impl TermsArg {
    pub(crate) fn get(&self) -> Result<Terms, CliError> {
        Ok(Terms::new(self.ttl, self.hard_ttl.unwrap_or_else(|| HARD_TTL.max(self.ttl)))?)
    }
}

#[derive(Debug, Args)]
#[command(override_usage = "sentinel once [OPTIONS] <KEY> -- <CMD> [ARG]..")]
#[command(after_help = "\
Example:
  sentinel once invoice-42 --failed-on 3 -- ./charge.sh 42

An exit code of 0 completes the key; --failed-on codes complete it as a failure; --nothing-happened-on codes free it.
Every other end leaves it in doubt (exit 76) until an operator reconciles it.
Standard output is recorded up to 1 MiB. More still completes the key, and a later call then prints nothing.

When the store is away:
  at the ttl            the command goes on. Others see the key as in doubt, and none of them runs it.
  at the hard deadline  the command's process group is gone: TERM 10 s before (or half the hard ttl), then KILL.
  when the store answers that the key is lost (an operator took it)  TERM, and KILL 10 s later.
  when the command has ended  its result is sent until the store has recorded it: until the hard deadline, and then
                        for as long again as --hard-ttl (at least 10 s, at most 10 min). A signal ends that, with 76.

The command finds SENTINEL_KEY_NAMESPACE, SENTINEL_KEY, SENTINEL_TOKEN and SENTINEL_IDEMPOTENCY_KEY in its \
environment.")]
pub(crate) struct Once {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    #[command(flatten)]
    pub(crate) terms: TermsArg,
    /// What the request is about: the same key with another fingerprint is refused (65)
    #[arg(long, value_name = "TEXT", value_parser = fingerprint)]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// How long after the end of the command an effect of it may still land elsewhere. After doubt, a reset waits for
    /// it
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse::duration)]
    late_effects: Duration,
    /// How long the result is kept after completion [default: without end]
    #[arg(long, value_name = "D", value_parser = parse::retention)]
    pub(crate) retention: Option<Duration>,
    /// Exit codes that mean: nothing happened, anyone may try again (like 3,79); of 1 to 63 and 79 to 255
    #[arg(long, value_name = "CODES", value_parser = parse::codes)]
    pub(crate) nothing_happened_on: Option<Codes>,
    /// Exit codes that mean: failed for good; recorded and replayed with that code; of 1 to 63 and 79 to 255
    #[arg(long, value_name = "CODES", value_parser = parse::codes)]
    pub(crate) failed_on: Option<Codes>,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

impl Once {
    /// How long the claim holds, and how late effects may land.
    pub(crate) fn terms(&self) -> Result<Terms, CliError> {
        Ok(self.terms.get()?.with_late_effects(self.late_effects)?)
    }

    /// No code may mean two things.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let shared = self.failed_on.as_ref().zip(self.nothing_happened_on.as_ref());
        match shared.and_then(|(failed, nothing)| failed.shared_with(nothing)) {
            Some(code) => Err(CliError::usage(format!(
                "exit code {code} stands in both --failed-on and --nothing-happened-on"
            ))),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Args)]
#[command(override_usage = "sentinel lease [OPTIONS] <KEY> -- <CMD> [ARG]..")]
#[command(after_help = "\
Example:
  sentinel lease nightly-report --wait 5m -- ./report.sh

Exits with the command's code, 75 if another process holds the lease, 76 if the lease was lost while it ran.

The lease is lost, and the command gets TERM, and KILL 10 s later:
  at the ttl            if no sign of life reached the store until then: another process may hold the lease now.
  when the store answers that the lease is lost.
At the hard deadline the command's process group is gone: TERM 10 s before (or half the hard ttl), then KILL.

The lease is kept until the last process of the command's process group has ended. If the command exits, what it left
in the background is waited for; if it was killed, or a signal asked it to end, that is sent SIGTERM, and SIGKILL
10 s later. The command finds SENTINEL_KEY_NAMESPACE, SENTINEL_KEY, SENTINEL_TOKEN and SENTINEL_IDEMPOTENCY_KEY in its
environment.")]
pub(crate) struct Lease {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    #[command(flatten)]
    pub(crate) terms: TermsArg,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KindArg {
    Execution,
    Lease,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Execution => Self::Execution,
            KindArg::Lease => Self::Lease,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  sentinel inspect invoice-42 --json\n\nExits with 1 if there is no record."
)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// Execution or lease
    #[arg(long, value_enum, default_value = "execution")]
    pub(crate) kind: KindArg,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sentinel history invoice-42 --limit 10")]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// Execution or lease
    #[arg(long, value_enum, default_value = "execution")]
    pub(crate) kind: KindArg,
    /// The newest so many events, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StateArg {
    Free,
    Claimed,
    Executing,
    Uncertain,
    Completed,
    Reconciling,
    /// Uncertain or reconciling
    Open,
}

impl StateArg {
    /// The states that it stands for.
    pub(crate) fn shown(self) -> &'static [Shown] {
        match self {
            Self::Free => &[Shown::Free],
            Self::Claimed => &[Shown::Claimed],
            Self::Executing => &[Shown::Executing],
            Self::Uncertain => &[Shown::Uncertain],
            Self::Completed => &[Shown::Completed],
            Self::Reconciling => &[Shown::Reconciling],
            Self::Open => &[Shown::Uncertain, Shown::Reconciling],
        }
    }

    /// Whether executions in this state wait for an operator.
    pub(crate) fn is_undecided(self) -> bool {
        matches!(self, Self::Uncertain | Self::Reconciling | Self::Open)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sentinel list --state uncertain
  sentinel list --all-namespaces --state open --older-than 5m --fail-if-any

With --all-namespaces, --older-than or --state open, what has been in doubt longest comes first. Otherwise records
come by key, in byte order.")]
pub(crate) struct List {
    /// Of every namespace; needs --state uncertain, reconciling or open
    #[arg(long, conflicts_with = "after")]
    pub(crate) all_namespaces: bool,
    /// Only what has been in doubt for at least so long; needs --state uncertain, reconciling or open
    #[arg(long, value_name = "D", value_parser = parse::duration, conflicts_with = "after")]
    pub(crate) older_than: Option<Duration>,
    /// Exit with 1 if there is any such record
    #[arg(long)]
    pub(crate) fail_if_any: bool,
    /// Only records in this state; tombstones are listed with `free` only
    #[arg(long, value_enum)]
    pub(crate) state: Option<StateArg>,
    /// Executions or leases
    #[arg(long, value_enum, default_value = "execution")]
    pub(crate) kind: KindArg,
    /// At most so many records, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Only keys after this one, in byte order: the last key of the page before
    #[arg(long, value_name = "KEY", value_parser = key, allow_hyphen_values = true)]
    pub(crate) after: Option<Key>,
}

/// What every decision carries.
#[derive(Debug, Args)]
pub(crate) struct DecisionArg {
    /// Names this decision: 32 hexadecimal digits. Repeated with the same id after a lost answer, it answers the same
    /// [default: a fresh one, told on standard error]
    #[arg(long, value_name = "ID", value_parser = op_id)]
    pub(crate) op: Option<OpId>,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT", value_parser = label)]
    pub(crate) reason: Option<Label>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  token=$(sentinel reconcile invoice-42 --reason 'provider shows no charge')
  sentinel reset-to-claimed invoice-42 --token \"$token\"")]
pub(crate) struct Reconcile {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The token that `inspect` showed: another one is refused (65) [default: the current one is read first]
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub(crate) expect: Option<Token>,
    /// Take it although its worker is alive; needs --expect
    #[arg(long, requires = "expect")]
    pub(crate) even_if_alive: bool,
    /// Take it from another operator; needs --expect
    #[arg(long, requires = "expect")]
    pub(crate) steal: bool,
    #[command(flatten)]
    pub(crate) decision: DecisionArg,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sentinel force-complete invoice-42 --token \"$token\" --response charged
  sentinel force-complete invoice-42 --token \"$token\" --response '{\"receipt\":\"7781\"}' --content-type \
  application/json")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct ForceComplete {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The token that `reconcile` printed
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub(crate) token: Token,
    /// What to replay from now on, byte for byte
    #[arg(long, value_name = "TEXT", group = "what")]
    pub(crate) response: Option<String>,
    /// The same from a file, `-` for standard input; any bytes
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) response_file: Option<std::path::PathBuf>,
    /// What the response is. One that callers of the key cannot decode is refused (65)
    /// [default: text/plain; charset=utf-8, of bytes that are not UTF-8 application/octet-stream]
    #[arg(long, value_name = "TYPE", value_parser = label)]
    pub(crate) content_type: Option<Label>,
    /// Record it although callers of the key cannot decode it
    #[arg(long)]
    pub(crate) as_is: bool,
    /// Record it as a failure for good, replayed with this exit code
    #[arg(long, value_name = "CODE", value_parser = parse::code)]
    pub(crate) failed: Option<u8>,
    #[command(flatten)]
    pub(crate) decision: DecisionArg,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  sentinel reset-to-claimed invoice-42 --token \"$token\" --reason 'not charged'"
)]
pub(crate) struct ResetToClaimed {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The token that `reconcile` printed
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub(crate) token: Token,
    /// Do not wait until the effects of the old run have landed: two runs may overlap
    #[arg(long)]
    pub(crate) accept_overlap: bool,
    #[command(flatten)]
    pub(crate) decision: DecisionArg,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sentinel evict nightly-report --kind lease --expect 1764000000000000")]
pub(crate) struct Evict {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The token that `inspect` showed: another one is refused (65)
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub(crate) expect: Token,
    /// Execution or lease
    #[arg(long, value_enum, default_value = "execution")]
    pub(crate) kind: KindArg,
    #[command(flatten)]
    pub(crate) decision: DecisionArg,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  sentinel purge --dry-run\n  sentinel purge --all-namespaces")]
pub(crate) struct Purge {
    /// In every namespace of the store
    #[arg(long)]
    pub(crate) all_namespaces: bool,

    /// Only say how many there are
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sentinel init --store postgres://app@db.example/orders
  sentinel init --store postgres:///orders --print-sql | psql -v ON_ERROR_STOP=1 -d orders

Several at once are fine, and so is running it again. Until it has run, every other command but doctor exits with 69.
On Redis, running it again says that the server holds all it acknowledged, or that somebody has looked at what it \
lost.")]
pub(crate) struct Init {
    /// Only print the SQL, for who runs migrations themselves; connects to nothing
    #[arg(long)]
    pub(crate) print_sql: bool,
}

fn key(text: &str) -> Result<Key, String> {
    Key::new(text).map_err(|invalid| invalid.to_string())
}

fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    Fingerprint::new(text).map_err(|invalid| invalid.to_string())
}

fn label(text: &str) -> Result<Label, String> {
    Label::new(text).map_err(|invalid| invalid.to_string())
}

fn token(text: &str) -> Result<Token, String> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a token is a number".into());
    }
    text.parse().map_err(|invalid: sentinel_core::Invalid| invalid.to_string())
}

/// With or without the dashes of a UUID.
fn op_id(text: &str) -> Result<OpId, String> {
    text.replace('-', "").parse().map_err(|invalid: sentinel_core::Invalid| invalid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
