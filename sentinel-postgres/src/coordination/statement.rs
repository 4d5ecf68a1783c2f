//! The statements, as they stand in `sql/coordination/`, with names and parts put in.

use std::sync::Arc;

use sentinel_core::EventLimit;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::parts::Names;

macro_rules! statements {
    ($($name:ident = $file:literal,)*) => {
        /// One of the statements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Statement {
            $($name,)*
        }

        /// Each with its file's name and text.
        const STATEMENTS: &[(Statement, &str, &str)] =
            &[$((Statement::$name, $file, include_str!(concat!("../../sql/coordination/", $file, ".sql"))),)*];
    };
}

statements! {
    Claim = "claim",
    ClaimAbsent = "claim_absent",
    Begin = "begin",
    Heartbeat = "heartbeat",
    Complete = "complete",
    CompleteFirstRun = "complete_first_run",
    Cancel = "cancel",
    CancelAbsent = "cancel_absent",
    Release = "release",
    Abandon = "abandon",
    Reconcile = "reconcile",
    ForceComplete = "force_complete",
    ResetToClaimed = "reset_to_claimed",
    Evict = "evict",
    InsertComplete = "insert_complete",
    Update = "update",
    Read = "read",
    Replay = "replay",
    History = "history",
    Purge = "purge",
    PurgeCount = "purge_count",
    ForgetEvents = "forget_events",
    TrimDue = "trim_due",
    Dropped = "dropped",
    Trim = "trim",
}

/// How a test inspects, or changes, a statement: its file's name and its text go in, a text comes out.
pub(crate) type Edit = Arc<dyn Fn(&str, String) -> String + Send + Sync>;

/// The statements for one schema.
pub(crate) struct Sql {
    names: Names,
    texts: Vec<SqlStr>,
    edit: Option<Edit>,
    /// How many events of one record are kept.
    pub(crate) events: EventLimit,
}

impl Sql {
    pub(crate) fn new(names: Names, edit: Option<&Edit>, events: EventLimit) -> Self {
        let text = |(_, name, text): &(Statement, &str, &str)| {
            let text = names.fill(text);
            AssertSqlSafe(Arc::<str>::from(match edit {
                Some(edit) => edit(name, text),
                None => text,
            }))
            .into_sql_str()
        };
        let texts = STATEMENTS.iter().map(text).collect();
        Self { names, texts, edit: edit.cloned(), events }
    }

    /// Fills in a text that is put together elsewhere.
    pub(crate) fn made(&self, name: &str, text: &str) -> SqlStr {
        let text = self.names.fill(text);
        let text = match &self.edit {
            Some(edit) => edit(name, text),
            None => text,
        };
        AssertSqlSafe(text).into_sql_str()
    }

    pub(crate) fn get(&self, statement: Statement) -> SqlStr {
        self.texts[statement as usize].clone()
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }
}
