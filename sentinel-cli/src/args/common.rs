//! Arguments that several commands have.

use clap::{Args, ValueEnum};
use sentinel::Key;
use sentinel::record::{Kind, Label, OpId};

use crate::exit::CliError;
use crate::names;

/// The key of a record.
#[derive(Debug, Args)]
pub(crate) struct KeyArg {
    /// The name of the work: 1 to 512 bytes of UTF-8 without control characters
    #[arg(value_name = "KEY", value_parser = names::key, required_unless_present = "dashed_key")]
    key: Option<Key>,
    /// The same, for a key that begins with a dash: --key=-5
    #[arg(long = "key", value_name = "KEY", value_parser = names::key, conflicts_with = "key", id = "dashed_key")]
    dashed: Option<Key>,
}

impl KeyArg {
    pub(crate) fn get(&self) -> Result<Key, CliError> {
        self.key.clone().or_else(|| self.dashed.clone()).ok_or_else(|| CliError::usage("a KEY is required"))
    }
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

/// The options of every decision.
#[derive(Debug, Args)]
pub(crate) struct DecisionArg {
    /// The id of this decision: 32 hexadecimal digits. Repeat a decision with its id if the reply was lost: it gets the
    /// same reply [default: a new id, printed on standard error]
    #[arg(long, value_name = "ID", value_parser = names::op_id)]
    pub(crate) op: Option<OpId>,
    /// The reason, kept in the history
    #[arg(long, value_name = "TEXT", value_parser = names::label)]
    pub(crate) reason: Option<Label>,
}
