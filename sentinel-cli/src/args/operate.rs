//! The arguments of `why`, `settle` and `probe`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sentinel::Key;
use sentinel::record::{Label, Root, Token};

use super::common::{DecisionArg, KeyArg, KindArg};
use crate::names;
use crate::parse;

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sentinel why invoice-42
  sentinel why --all

Prints what happened under the key, one sentence for each event, and the steps that are possible now, each with its
command. Times are UTC, by the store's clock. --all prints one line for each key of any namespace that waits for a
decision, the longest in doubt first.")]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct Why {
    /// The name of the work
    #[arg(value_name = "KEY", value_parser = names::key, group = "which")]
    key: Option<Key>,
    /// The same, for a key that begins with a dash: --key=-5
    #[arg(long = "key", value_name = "KEY", value_parser = names::key, group = "which", id = "dashed_key")]
    dashed: Option<Key>,
    /// One line for each key of any namespace that waits for a decision
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    /// Execution or lease
    #[arg(long, value_enum, default_value = "execution", conflicts_with = "all")]
    pub(crate) kind: KindArg,
}

impl Why {
    /// The key; None: all keys.
    pub(crate) fn key(&self) -> Option<&Key> {
        self.key.as_ref().or(self.dashed.as_ref())
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sentinel because order-42
  sentinel because order-42 --store shop=postgres://app@db/shop --store ledger=sqlite:/var/lib/ledger.db

Prints each key whose last claim has this root, in any namespace, below the key whose run caused it. The first line
names the keys that wait: for a decision, for an operator, for their run, or for their next call. `outside` marks a run
that no store that was asked has. At most 500 keys are shown, and 32 levels.
Exits with 1 if no record has the root, and with 69 if a store could not be read; the others are shown.")]
pub(crate) struct Because {
    /// The business fact, as `once --cause` has it
    #[arg(value_name = "ROOT", value_parser = names::root)]
    pub(crate) root: Root,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sentinel settle invoice-42 --happened charged --reason 'the provider shows charge 7781'
  sentinel settle invoice-42 --did-not-happen --reason 'the provider has no such charge'

It takes the key and records the decision, under the token that it read first: if a newer run or another operator has
changed the key since, nothing is changed (65). --did-not-happen is refused (65) as long as an effect of the run may
still land. If the program ends in between, the same command with the same --op continues.")]
#[command(group = clap::ArgGroup::new("decision").required(true))]
pub(crate) struct Settle {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// It happened: this response is replayed from now on, byte for byte
    #[arg(long, value_name = "TEXT", group = "decision")]
    pub(crate) happened: Option<String>,
    /// It happened: read the response from a file, `-` for standard input; any bytes
    #[arg(long, value_name = "FILE", group = "decision")]
    pub(crate) happened_file: Option<PathBuf>,
    /// It did not happen: the key can run again
    #[arg(long, group = "decision")]
    pub(crate) did_not_happen: bool,
    /// The token that `why` showed: another one is refused (65) [default: the current one is read first]
    #[arg(long, value_name = "TOKEN", value_parser = names::token)]
    pub(crate) expect: Option<Token>,
    /// The media type of the response. A type that callers of the key cannot decode is refused (65) [default:
    /// text/plain; charset=utf-8, of bytes that are not UTF-8 application/octet-stream]
    #[arg(long, value_name = "TYPE", value_parser = names::label, conflicts_with = "did_not_happen")]
    pub(crate) content_type: Option<Label>,
    /// Record the response although callers of the key cannot decode it
    #[arg(long, conflicts_with = "did_not_happen")]
    pub(crate) as_is: bool,
    #[command(flatten)]
    pub(crate) decision: DecisionArg,
}

#[derive(Debug, Args)]
#[command(override_usage = "sentinel probe [OPTIONS] -- <CMD> [ARG]..")]
#[command(after_help = "\
Example:
  sentinel probe --namespace billing --every 30s -- ./find-charge.sh

Runs the command for each uncertain key of the namespace. It finds SENTINEL_KEY_NAMESPACE, SENTINEL_KEY, SENTINEL_TOKEN
and SENTINEL_IDEMPOTENCY_KEY in its environment, and exits with

  0  the work happened: its standard output is the result, recorded at once and replayed from now on
  3  the work did not happen: the key is reset if two runs of the command agree. Both must come after the last effect of
     the work may have landed, and at least --grace apart
  any other code, or a signal: still unknown. The command runs again later.

A key that the program took and did not decide is continued by a later one with the same name (--worker). Of any number
of such programs one works at a time. Without --every the program looks at each key once, prints how many
it has decided, and exits.")]
pub(crate) struct Probe {
    /// Go on until a signal arrives, and look for uncertain keys this often
    #[arg(long, value_name = "D", value_parser = parse::duration)]
    pub(crate) every: Option<Duration>,
    /// The shortest time between two runs of the command that must agree
    #[arg(long, value_name = "D", default_value = "10s", value_parser = parse::duration)]
    pub(crate) grace: Duration,
    /// The longest time that one run of the command may take; its process group is then killed
    #[arg(long, value_name = "D", default_value = "5m", value_parser = parse::duration)]
    pub(crate) timeout: Duration,
    /// The media type of the result [default: text/plain; charset=utf-8, of bytes that are not UTF-8
    /// application/octet-stream]
    #[arg(long, value_name = "TYPE", value_parser = names::label)]
    pub(crate) content_type: Option<Label>,
    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}
