//! The command line. What it accepts is checked here, before anything is sent to a store.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sentinel::Key;
use sentinel::admin::time::span;
use sentinel::record::{Fingerprint, Label, Root, Terms, Token};
use sentinel::store::{Invalid, VisibleState};

use crate::exit::CliError;
use crate::names;
use crate::parse::{self, Codes};
use crate::signals_args::{Metrics, Observability};

mod common;
mod operate;

pub(crate) use common::{DecisionArg, KeyArg, KindArg};
pub(crate) use operate::{Because, Probe, Settle, Why};

/// Runs work that is not safe to repeat: at most once per key. It replays results, and reports an unknown outcome.
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
  sentinel once invoice-42 -- ./charge.sh    runs the script
  sentinel once invoice-42 -- ./charge.sh    prints what the first run printed, and runs nothing

Exit codes: 0 completed or replayed; 64 bad arguments; 65 another fingerprint, or a decision that does not apply;
69 the store cannot be used, and the command did not run; 74 the answer could not be written to standard output;
75 another caller holds the key; 76 the outcome is unknown: reconcile the key. 126, 127: the command could not be
started, and the key is free.
An environment variable that is set and empty counts as not set.";

/// Options of every command. They are accepted anywhere before `--`.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The store: sqlite:PATH, postgres://.., redis://.. or rediss://..
    ///
    /// Default: $SENTINEL_STORE, else the file $XDG_STATE_HOME/sentinel/sentinel.db (~/.local/state/..). Only once,
    /// lease and init create a file. An address is used exactly as written, or refused. `sentinel init` sets up a
    /// PostgreSQL store. Its tables are in the schema `sentinel`, unless the URL names another schema or a prefix:
    /// postgres://user:password@host/database?sentinel_schema=S&sentinel_table_prefix=P. TLS and password files are
    /// configured as for psql: sslmode=verify-full, ~/.pgpass or PGPASSFILE.
    ///
    /// `sentinel init` also sets up a Redis store, and registers it again after the server has lost records, or may
    /// have lost them. redis://user:password@host:port/database?sentinel_key_prefix=P, or with TLS
    /// rediss://..?sentinel_ca=FILE; redis-cluster://host:port?node=host:port,
    /// redis-sentinel://host:port?sentinelServiceName=NAME (both with TLS as rediss-..),
    /// redis+unix:///path/of/the.sock. The program writes the latest acknowledged change to a file in
    /// $XDG_STATE_HOME/sentinel, so that it detects a restarted server that has lost this change.
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub(crate) store: Vec<OsString>,
    /// The namespace of the key [default: $SENTINEL_NAMESPACE, else `default`]
    #[arg(long, global = true, value_name = "NS", help_heading = "Global options")]
    pub(crate) namespace: Option<OsString>,
    /// The name of the worker or operator, a label for people [default: $SENTINEL_WORKER, else host:pid for a worker,
    /// and for an operator $SUDO_USER or $USER, @host]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub(crate) worker: Option<OsString>,
    /// Print one JSON object (list, history: one per line); has no effect on once and lease
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command at most once per key; a later call prints the recorded output
    Once(Once),
    /// Run a command while holding a lease
    Lease(Lease),
    /// Show one record
    Inspect(Inspect),
    /// Show the events of a record, oldest first
    History(History),
    /// List records; for people on call: --all-namespaces --state open
    List(List),
    /// Explain the state of a key, and list what can be done about it now
    Why(Why),
    /// Show all that followed from a root as a tree, in one store or in several
    Because(Because),
    /// List the namespaces of the store
    #[command(after_help = "Example:\n  sentinel namespaces")]
    Namespaces,
    /// Decide about an uncertain key in one step: the work happened, or it did not
    Settle(Settle),
    /// Decide about uncertain keys with a command that looks up what happened
    Probe(Probe),
    /// Take an uncertain key, and print the token that a decision about it needs
    Reconcile(Reconcile),
    /// Decide that the work happened: the response is replayed from now on
    ForceComplete(ForceComplete),
    /// Decide that the work did not happen: the key can run again
    ResetToClaimed(ResetToClaimed),
    /// Free a claim or lease whose holder will not come back
    Evict(Evict),
    /// Remove completed records past their retention, and old tombstones
    Purge(Purge),
    /// Set the store up, upgrade it, or register a Redis again after it lost records or may have lost them
    Init(Init),
    /// Check the store and its deployment, and print what it guarantees
    #[command(after_help = "Example:\n  sentinel doctor --json")]
    Doctor,
    /// Survey the store once, and print it in Prometheus' text format: keys in doubt, their age, and trust in the store
    Metrics(Metrics),
    /// Print the dashboard for Grafana, or the alert rules for Prometheus
    Observability {
        /// Which file
        #[command(subcommand)]
        file: Observability,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  sentinel completions bash > \
            ~/.local/share/bash-completion/completions/sentinel")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  sentinel man > sentinel.1 && man ./sentinel.1\n  sentinel man once")]
    Man {
        /// Only the page of this command
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
}

/// The default hard ttl, unless the ttl is longer.
const HARD_TTL: Duration = Duration::from_secs(3600);

/// How long a claim is valid.
#[derive(Debug, Args)]
pub(crate) struct TermsArg {
    /// How long the claim is valid after the last heartbeat, like 500ms, 3s, 10m. See below for what happens then
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse::duration)]
    ttl: Duration,
    /// The longest time that the command may run; at this deadline its process group is killed [default: 1h, or --ttl
    /// if that is longer]
    #[arg(long, value_name = "D", value_parser = parse::duration)]
    hard_ttl: Option<Duration>,
    /// Wait at most this long for the holder of the key, or for a store that cannot be reached, instead of exiting at
    /// once
    #[arg(long, value_name = "D", value_parser = parse::duration)]
    pub(crate) wait: Option<Duration>,
}

impl TermsArg {
    pub(crate) fn get(&self) -> Result<Terms, CliError> {
        let hard_ttl = self.hard_ttl.unwrap_or_else(|| HARD_TTL.max(self.ttl));
        if hard_ttl < self.ttl {
            let (hard_ttl, ttl) = (span(hard_ttl), span(self.ttl));
            return Err(CliError::usage(format!("--hard-ttl {hard_ttl} is below --ttl {ttl}")));
        }
        // Only an option that was given can be out of range.
        let option = |error: Invalid| {
            let text = error.to_string();
            let named = text.strip_prefix("hard ttl").map(|rest| format!("--hard-ttl{rest}"));
            let named = named.or_else(|| text.strip_prefix("ttl").map(|rest| format!("--ttl{rest}")));
            CliError::usage(named.unwrap_or(text))
        };
        Terms::new(self.ttl, hard_ttl).map_err(option)
    }
}

#[derive(Debug, Args)]
#[command(override_usage = "sentinel once [OPTIONS] <KEY> -- <CMD> [ARG]..")]
#[command(after_help = "\
Example:
  sentinel once invoice-42 --failed-on 3 -- ./charge.sh 42
  sentinel once invoice-42 --cause order-42 --about 'invoice of May' -- ./charge.sh 42

An exit code of 0 completes the key; --failed-on codes complete it as a failure; --nothing-happened-on codes free it.
After any other end the key is uncertain (exit 76) until an operator reconciles it.
Standard output is recorded up to 1 MiB. More still completes the key, and a later call then prints nothing.

When the store cannot be reached:
  at the ttl            the command goes on. Other callers see the key as uncertain, and none of them runs it.
  at the hard deadline  the command's process group is gone: TERM 10 s before (or half the hard ttl), then KILL.
  when the store replies that an operator took the key  TERM, and KILL 10 s later.
  when the command has ended  the program sends its result until the store has recorded it, at most until the hard
                        deadline and then for as long as --hard-ttl (at least 10 s, at most 10 min). A signal ends
                        that, with exit 76.

The command finds SENTINEL_KEY_NAMESPACE, SENTINEL_KEY, SENTINEL_TOKEN and SENTINEL_IDEMPOTENCY_KEY in its \
environment,
and SENTINEL_CAUSE if it has a cause: what it runs with `sentinel once` and `sentinel lease` has the same root.")]
pub(crate) struct Once {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    #[command(flatten)]
    pub(crate) terms: TermsArg,
    /// Identifies the content of the request: the same key with another fingerprint is refused (65)
    #[arg(long, value_name = "TEXT", value_parser = names::fingerprint)]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// What the work is about, for people: at most 1 KiB. It decides nothing
    #[arg(long, value_name = "TEXT", value_parser = names::label)]
    pub(crate) about: Option<Label>,
    /// The business fact from which the work follows, like order-42: use an id, not a name. It decides nothing, and
    /// `sentinel because ROOT` shows all that followed [default: that of the run that started this program, from
    /// SENTINEL_CAUSE]
    #[arg(long, value_name = "ROOT", value_parser = names::root)]
    pub(crate) cause: Option<Root>,
    /// How long after the end of the command one of its effects may still land elsewhere. A reset of an uncertain key
    /// waits until then
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse::duration)]
    late_effects: Duration,
    /// How long the result is kept after completion [default: without limit]
    #[arg(long, value_name = "D", value_parser = parse::retention)]
    pub(crate) retention: Option<Duration>,
    /// Exit codes that mean: nothing happened, the key can run again (like 3,75); of 1 to 63, 75, and 79 to 255
    #[arg(long, value_name = "CODES", value_parser = parse::nothing_happened_codes)]
    pub(crate) nothing_happened_on: Option<Codes>,
    /// Exit codes that mean: a final failure, recorded and replayed with that code; of 1 to 63 and 79 to 255
    #[arg(long, value_name = "CODES", value_parser = parse::codes)]
    pub(crate) failed_on: Option<Codes>,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

impl Once {
    /// How long the claim is valid, and how late effects may land.
    pub(crate) fn terms(&self) -> Result<Terms, CliError> {
        Ok(self.terms.get()?.with_late_effects(self.late_effects)?)
    }

    /// No code may mean two things.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        let shared = self.failed_on.as_ref().zip(self.nothing_happened_on.as_ref());
        match shared.and_then(|(failed, nothing)| failed.shared_with(nothing)) {
            Some(code) => Err(CliError::usage(format!(
                "exit code {code} is in both --failed-on and --nothing-happened-on; it can mean only \
                    one thing"
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
  at the ttl            if no heartbeat reached the store until then: another process may hold the lease now.
  when the store replies that the lease is lost.
At the hard deadline the command's process group is gone: TERM 10 s before (or half the hard ttl), then KILL.

The lease is kept until the last process of the command's process group has ended. If the command exits, the program
waits for the processes that it left in the background. If the command was killed, or a signal asked it to end, the
program sends them SIGTERM, and SIGKILL 10 s later.
The command finds SENTINEL_KEY_NAMESPACE, SENTINEL_KEY, SENTINEL_TOKEN and SENTINEL_IDEMPOTENCY_KEY in its \
environment,
and SENTINEL_CAUSE if it has a cause: what it runs with `sentinel once` and `sentinel lease` has the same root.")]
pub(crate) struct Lease {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    #[command(flatten)]
    pub(crate) terms: TermsArg,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
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
    /// The number of events, the newest ones, 1 to 1000
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
    /// The visible states that this argument selects.
    pub(crate) fn shown(self) -> &'static [VisibleState] {
        match self {
            Self::Free => &[VisibleState::Free],
            Self::Claimed => &[VisibleState::Claimed],
            Self::Executing => &[VisibleState::Executing],
            Self::Uncertain => &[VisibleState::Uncertain],
            Self::Completed => &[VisibleState::Completed],
            Self::Reconciling => &[VisibleState::Reconciling],
            Self::Open => &[VisibleState::Uncertain, VisibleState::Reconciling],
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
  sentinel list --all-namespaces --idempotency-key snl_861c709bf72f282a74a757b45fea70c44114bf0e

With --all-namespaces, --older-than or --state open, the key that has been in doubt longest comes first. Otherwise
records are sorted by key, in byte order.")]
pub(crate) struct List {
    /// List every namespace; needs --idempotency-key, or --state uncertain, reconciling or open
    #[arg(long, conflicts_with = "after")]
    pub(crate) all_namespaces: bool,
    /// Only keys that have been in doubt for at least this long; needs --state uncertain, reconciling or open
    #[arg(long, value_name = "D", value_parser = parse::duration, conflicts_with = "after")]
    pub(crate) older_than: Option<Duration>,
    /// Exit with 1 if there is any such record
    #[arg(long)]
    pub(crate) fail_if_any: bool,
    /// Only the record that has this idempotency key now, as a provider knows it; reads every record
    #[arg(long, value_name = "SNL", value_parser = names::idempotency_key)]
    #[arg(conflicts_with_all = ["after", "older_than"])]
    pub(crate) idempotency_key: Option<String>,
    /// Only records in this state; tombstones are listed with `free` only
    #[arg(long, value_enum)]
    pub(crate) state: Option<StateArg>,
    /// Executions or leases
    #[arg(long, value_enum, default_value = "execution")]
    pub(crate) kind: KindArg,
    /// The largest number of records, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Only keys after this one, in byte order: the last key of the page before
    #[arg(long, value_name = "KEY", value_parser = names::key, allow_hyphen_values = true)]
    pub(crate) after: Option<Key>,
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
    #[arg(long, value_name = "TOKEN", value_parser = names::token)]
    pub(crate) expect: Option<Token>,
    /// Take the key although its worker is alive; needs --expect
    #[arg(long, requires = "expect")]
    pub(crate) even_if_alive: bool,
    /// Take the key from another operator; needs --expect
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
  application/json
  sentinel force-complete request-42 --token \"$token\" --status 402 --response 'card declined'")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct ForceComplete {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// The token that `reconcile` printed
    #[arg(long, value_name = "TOKEN", value_parser = names::token)]
    pub(crate) token: Token,
    /// The response that is replayed from now on, byte for byte
    #[arg(long, value_name = "TEXT", group = "what")]
    pub(crate) response: Option<String>,
    /// Read the response from a file, `-` for standard input; any bytes
    #[arg(long, value_name = "FILE", group = "what")]
    pub(crate) response_file: Option<std::path::PathBuf>,
    /// The media type of the response. A type that callers of the key cannot decode is refused (65) [default:
    /// text/plain; charset=utf-8, of bytes that are not UTF-8 application/octet-stream]
    #[arg(long, value_name = "TYPE", value_parser = names::label)]
    pub(crate) content_type: Option<Label>,
    /// Record the response although callers of the key cannot decode it
    #[arg(long)]
    pub(crate) as_is: bool,
    /// The HTTP status with which a service replays the response: 200 to 599. From 400 on it is a final failure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(200..=599), conflicts_with = "failed")]
    pub(crate) status: Option<u16>,
    /// Record a final failure, replayed with this exit code
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
    #[arg(long, value_name = "TOKEN", value_parser = names::token)]
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
    #[arg(long, value_name = "TOKEN", value_parser = names::token)]
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
    /// Purge every namespace of the store
    #[arg(long)]
    pub(crate) all_namespaces: bool,

    /// Only print how many records would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sentinel init --store postgres://app@db.example/orders
  sentinel init --store postgres:///orders --print-sql | psql -v ON_ERROR_STOP=1 -d orders

It is safe to run it again, and to run it in several processes at once. A SQLite store needs no init: once and lease
create its file. On PostgreSQL and Redis every other command but doctor exits with 69 before the first run.
On Redis, run it again only if the server has everything that it acknowledged, or after you have checked what it lost:
from then on its records are trusted again.")]
pub(crate) struct Init {
    /// Only print the SQL, for deployments with their own migrations; connects to nothing
    #[arg(long)]
    pub(crate) print_sql: bool,
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
