//! What the database does to the tables: which are there, whether rows are hidden, and which texts can be stored.

use sentinel_core::StoreError;
use sentinel_core::store::Check;
use sentinel_store_kit::health::check;
use sqlx::Row as _;

use crate::connection::session::Connection;
use crate::error::unreachable;
use crate::parts::Names;
use crate::schema;

const TABLES: [&str; 5] = ["records", "events", "floors", "fences", "migrations"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Database {
    pub(super) encoding: String,
    /// Tables that are not there.
    pub(super) absent: Vec<&'static str>,
    /// Tables with row-level security, and whether it hides rows from this role.
    pub(super) secured: Vec<(&'static str, bool)>,
}

impl Database {
    /// By the catalogue: it can be read without any right in the schema.
    pub(super) async fn read(connection: &mut Connection, names: &Names) -> Result<Self, StoreError> {
        let (schema, prefix) = (&names.schema, &names.prefix);
        let of = |what: &str, table: &str| {
            format!(
                "(SELECT {what} FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = '{schema}' AND c.relname = '{prefix}{table}')"
            )
        };
        let array = |what| TABLES.map(|table| of(what, table)).join(", ");
        let sql = format!(
            "SELECT current_setting('server_encoding'), ARRAY[{}], ARRAY[{}]",
            array("c.relrowsecurity"),
            array("row_security_active(c.oid)")
        );
        let row = connection.query_one(sql).await?;
        let secured: Vec<Option<bool>> = row.try_get(1).map_err(unreachable)?;
        let active: Vec<Option<bool>> = row.try_get(2).map_err(unreachable)?;
        let each = || TABLES.into_iter().zip(secured.iter().copied().zip(active.iter().copied()));
        Ok(Self {
            encoding: row.try_get(0).map_err(unreachable)?,
            absent: each().filter_map(|(table, (secured, _))| secured.is_none().then_some(table)).collect(),
            secured: each()
                .filter_map(|(table, (secured, active))| {
                    (secured == Some(true)).then_some((table, active == Some(true)))
                })
                .collect(),
        })
    }

    pub(super) fn suffices(&self) -> bool {
        self.absent.is_empty() && self.secured.iter().all(|(_, hides)| !hides)
    }

    /// `version`: of the schema, as far as it could be read.
    pub(super) fn checks(&self, names: &Names, version: Option<i32>) -> Vec<Check> {
        let mut checks = vec![self.encoding()];
        // Without any table there is no schema yet, which another check reports.
        if self.absent.len() < TABLES.len() {
            checks.push(self.tables(names, version));
            checks.push(self.row_security(names));
        }
        checks
    }

    fn tables(&self, names: &Names, version: Option<i32>) -> Check {
        let absent: Vec<_> = self.absent.iter().map(|table| names.qualified(table)).collect();
        match absent.as_slice() {
            [] if version == Some(0) => check("tables", false, schema::bare(names)),
            [] => check("tables", true, "all are there"),
            absent => {
                let found = format!(
                    "{} missing: their contents are lost. Stop all workers and restore a backup",
                    absent.join(", ")
                );
                check("tables", false, found)
            }
        }
    }

    fn row_security(&self, names: &Names) -> Check {
        let on: Vec<_> = self.secured.iter().map(|(table, _)| names.qualified(table)).collect();
        if on.is_empty() {
            return check("row-level security", true, "off");
        }
        let on = on.join(", ");
        let whom = if self.suffices() {
            "off for this role, but perhaps on for others"
        } else {
            "on for this role: it is refused, because the key of a record that it cannot see would run again"
        };
        let found =
            format!("on for {on}, {whom}; ALTER TABLE .. DISABLE ROW LEVEL SECURITY, for each of them");
        check("row-level security", false, found)
    }

    fn encoding(&self) -> Check {
        let advice =
            "move to a database with ENCODING 'UTF8' (CREATE DATABASE .. ENCODING 'UTF8' TEMPLATE template0)";
        match self.encoding.as_str() {
            "UTF8" => check("encoding", true, "UTF8"),
            "SQL_ASCII" => {
                let found = "SQL_ASCII: the server checks no text, so another program's key or label in another \
                             encoding would be unreadable here";
                check("encoding", false, format!("{found}; {advice}"))
            }
            other => {
                let mut found = format!(
                    "{other}: a key, label or reason with a character that it lacks is refused, before \
                        anything runs"
                );
                if other == "EUC_JP" {
                    // The only encoding of PostgreSQL's that does so.
                    found +=
                        ". U+00A6 and U+FFE4 are one character in it, so two keys that differ there are one";
                }
                check("encoding", false, format!("{found}; {advice}"))
            }
        }
    }
}
