//! The schema, and what the role may do in it.

use sentinel_core::store::Check;
use sentinel_core::{ErrorKind, StoreError};
use sentinel_store_kit::health::check;
use sqlx::Row as _;

use crate::connection::session::Connection;
use crate::error::unreachable;
use crate::parts::Names;
use crate::schema;

/// What the statements need, for each table. docs/operations.md lists the same as GRANTs.
const NEEDED: &[(&str, &[&str])] = &[
    ("records", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("events", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("floors", &["SELECT", "INSERT", "UPDATE"]),
    ("migrations", &["SELECT"]),
];

pub(super) struct Access {
    pub(super) role: String,
    /// None: it cannot be read.
    pub(super) version: Option<i32>,
    /// On which the newest version was applied.
    pub(super) timeline: Option<i32>,
    pub(super) missing: Vec<String>,
}

/// By the catalogue: it can be read without any right in the schema.
pub(super) async fn read(connection: &mut Connection, names: &Names) -> Result<Access, StoreError> {
    let (schema, prefix) = (&names.schema, &names.prefix);
    let mut rights = Vec::new();
    let mut columns = Vec::new();
    for (table, needed) in NEEDED {
        for right in *needed {
            rights.push(format!("{right} ON {}", names.qualified(table)));
            columns.push(format!(
                "(SELECT has_table_privilege(c.oid, '{right}') FROM pg_class c \
                 JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = '{schema}' AND c.relname = '{prefix}{table}')"
            ));
        }
    }
    let sql = format!(
        "SELECT current_user::text, \
         (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = '{schema}'), ARRAY[{}]",
        columns.join(", ")
    );
    let row = connection.query_one(sql).await?;
    let role = row.try_get(0).map_err(unreachable)?;
    let usage: Option<bool> = row.try_get(1).map_err(unreachable)?;
    let held: Vec<Option<bool>> = row.try_get(2).map_err(unreachable)?;
    let usage = (usage == Some(false)).then(|| format!("USAGE ON SCHEMA \"{schema}\""));
    // A table that is not there is missing, not a right.
    let lacking = |(held, right): (&Option<bool>, String)| (*held == Some(false)).then_some(right);
    let missing: Vec<_> = usage.into_iter().chain(held.iter().zip(rights).filter_map(lacking)).collect();
    let is_there = held.last().copied().flatten();
    let (version, timeline) = match is_there {
        None => (Some(0), None),
        Some(true) if missing.iter().all(|right| !right.starts_with("USAGE")) => {
            newest(connection, names).await?
        }
        Some(_) => (None, None),
    };
    Ok(Access { role, version, timeline, missing })
}

async fn newest(
    connection: &mut Connection,
    names: &Names,
) -> Result<(Option<i32>, Option<i32>), StoreError> {
    let sql = format!(
        "SELECT coalesce(max(version), 0), (array_agg(timeline ORDER BY version DESC))[1] FROM {}",
        names.qualified("migrations")
    );
    let row = match connection.query_one(sql).await {
        // Row-level security hides what is there: a check of its own names it.
        Err(error) if error.kind() == ErrorKind::DeploymentRefused => return Ok((None, None)),
        row => row?,
    };
    Ok((row.try_get(0).map_err(unreachable)?, row.try_get(1).map_err(unreachable)?))
}

impl Access {
    pub(super) fn suffices(&self) -> bool {
        self.version == Some(schema::newest()) && self.missing.is_empty()
    }

    pub(super) fn checks(&self, names: &Names) -> [Check; 2] {
        let (schema, newest) = (&names.schema, schema::newest());
        let found = match self.version {
            None => format!("\"{schema}\" cannot be read by this role"),
            Some(0) => format!("\"{schema}\" is not initialised: run `sentinel init`"),
            Some(found) if found < newest => {
                format!("\"{schema}\" has version {found}, and {newest} is needed: run `sentinel init`")
            }
            Some(found) if found > newest => {
                format!(
                    "\"{schema}\" has version {found}, and this release knows up to {newest}: upgrade this program"
                )
            }
            Some(found) => format!("\"{schema}\", version {found}"),
        };
        let role = match self.missing.as_slice() {
            [] => self.role.clone(),
            missing => format!("{} lacks {}; GRANT it", self.role, missing.join(", ")),
        };
        [check("schema", self.version == Some(newest), found), check("role", self.missing.is_empty(), role)]
    }
}
