//! Fences: what makes a stale worker's write fail, instead of asking it not to write.

use std::fmt;

use sentinel_core::{Address, Grant, StoreError};
use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use super::savepoint::in_transaction;
use crate::coordination::uuid;
use crate::error::StatementError;
use crate::parts::Names;

/// Why the server turned a write, or a check, away. Each has an SQLSTATE of its own, in the class `SN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// The grant is not the record's current one any more: this worker has lost its authority.
    StaleGrant,
    /// A newer token of the same address has written this resource.
    StaleToken,
    /// The resource belongs to another address; tokens are ordered within one only.
    WrongAddress,
    /// The row carries no token, or no address.
    Unfenced,
    /// A table cannot be fenced like this.
    NoFence,
}

impl Rejection {
    const ALL: [Self; 5] =
        [Self::StaleGrant, Self::StaleToken, Self::WrongAddress, Self::Unfenced, Self::NoFence];

    /// The SQLSTATE of the server's error.
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Self::StaleGrant => "SN001",
            Self::StaleToken => "SN002",
            Self::WrongAddress => "SN003",
            Self::Unfenced => "SN004",
            Self::NoFence => "SN005",
        }
    }

    /// The rejection that an error of a statement of yours is; None: it is another error.
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        let code = error.as_database_error()?.code()?;
        Self::ALL.into_iter().find(|known| known.sqlstate() == code)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StaleGrant => "the grant is stale",
            Self::StaleToken => "the token is stale",
            Self::WrongAddress => "the resource belongs to another address",
            Self::Unfenced => "the write carries no token or no address",
            Self::NoFence => "the table cannot be fenced like this",
        })
    }
}

/// Why a check or a fence failed.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// The server turned it away; nothing was changed. A transaction in which this happened can only be rolled back.
    #[error("{message} ({}); roll the transaction back", .rejection.sqlstate())]
    By {
        /// Why.
        rejection: Rejection,
        /// The server's message: which grant, token or address, and what is current.
        message: String,
    },
    /// The server could not answer; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Rejected {
    /// The rejection; None: the server could not answer.
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::By { rejection, .. } => Some(*rejection),
            Self::Store(_) => None,
        }
    }

    fn of(error: sqlx::Error) -> Self {
        match (Rejection::of(&error), error.as_database_error()) {
            (Some(rejection), Some(error)) => {
                Self::By { rejection, message: error.downcast_ref::<PgDatabaseError>().message().to_owned() }
            }
            _ => Self::Store(in_transaction(StatementError::of(error))),
        }
    }
}

/// An address as a fenced row carries it: `namespace/kind/key`. Only a key may hold a slash, so it has one meaning.
pub fn fence_address(address: &Address) -> String {
    format!("{}/{}/{}", address.namespace, address.kind, address.key)
}

/// A fence before a table: which columns carry token and address, and which name the resource.
///
/// The trigger that it represents keeps, per resource, the address that writes it and the highest token seen, in a
/// table of its own: they outlive the row. A write with an older token fails, and so does one of another address. Each
/// write has to set both columns: one that leaves them as they are repeats the last writer's, and passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    table: String,
    token: String,
    address: String,
    resource: Vec<String>,
}

impl Fence {
    /// Before a table, named as in SQL (`public.accounts`, `"Odd name"`), of which one column, or several, name the
    /// resource (`id`). Token and address are in `sentinel_token` and `sentinel_address` unless set.
    pub fn new<C: Into<String>>(table: impl Into<String>, resource: impl IntoIterator<Item = C>) -> Self {
        Self {
            table: table.into(),
            token: "sentinel_token".into(),
            address: "sentinel_address".into(),
            resource: resource.into_iter().map(Into::into).collect(),
        }
    }

    /// The column with the token, a `bigint`.
    #[must_use]
    pub fn token_column(mut self, name: impl Into<String>) -> Self {
        self.token = name.into();
        self
    }

    /// The column with the address, a `text`; see [`fence_address`].
    #[must_use]
    pub fn address_column(mut self, name: impl Into<String>) -> Self {
        self.address = name.into();
        self
    }
}

/// The SQL that makes a fence.
pub(crate) fn fence_sql(names: &Names, fence: &Fence) -> String {
    let columns = [&fence.token, &fence.address].into_iter().chain(&fence.resource);
    let columns: Vec<_> = columns.map(|name| literal(name)).collect();
    let function = names.qualified("create_fence");
    format!("SELECT {function}({}, {})", literal(&fence.table), columns.join(", "))
}

pub(crate) async fn create_fence(
    names: &Names,
    connection: &mut PgConnection,
    fence: &Fence,
) -> Result<(), Rejected> {
    let sql = AssertSqlSafe(fence_sql(names, fence));
    sqlx::raw_sql(sql).execute(connection).await.map(drop).map_err(Rejected::of)
}

pub(crate) async fn check_grant_in(
    names: &Names,
    transaction: &mut Transaction<'_, Postgres>,
    address: &Address,
    grant: Grant,
) -> Result<(), Rejected> {
    let function = names.qualified("check_grant");
    let [namespace, kind, key] =
        [address.namespace.as_str(), address.kind.as_str(), address.key.as_str()].map(literal);
    let (token, claim_id) = (grant.token.get(), uuid(grant.claim_id.bits()));
    // SAVEPOINT fails where no transaction is open: a check there would protect no write.
    let sql = format!(
        "SAVEPOINT sentinel; RELEASE SAVEPOINT sentinel; \
         SELECT {function}({namespace}, {kind}, {key}, {token}::int8, '{claim_id}'::uuid)"
    );
    let checked = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **transaction).await;
    checked.map(drop).map_err(Rejected::of)
}

/// A text as SQL has it, with any setting of `standard_conforming_strings`.
pub(crate) fn literal(text: &str) -> String {
    format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rejection_has_a_message_and_a_code_of_its_own() {
        let messages: std::collections::BTreeSet<_> = Rejection::ALL.map(|why| why.to_string()).into();
        let codes: std::collections::BTreeSet<_> = Rejection::ALL.map(Rejection::sqlstate).into();
        assert_eq!((messages.len(), codes.len()), (Rejection::ALL.len(), Rejection::ALL.len()));
        assert_eq!(Rejection::StaleToken.to_string(), "the token is stale");
    }
}
