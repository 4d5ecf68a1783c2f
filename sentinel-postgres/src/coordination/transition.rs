//! One operation on one record, as one statement. The statement decides and writes under the row's lock. The kernel
//! then runs on the row that the statement returned, and gives the reason: a refusal is explained in one place. The two
//! must agree.

use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::*;
use sentinel_core::{Accepts, Address, ErrorKind, Kind, Record, State, StoreError, StoreTime, Token};
use sqlx::postgres::PgRow;

use super::row::{Cells, Unreadable, integer, micros, uuid};
use super::statement::{Sql, Statement};
use super::trim;
use crate::connection::retry::retry_on_conflict;
use crate::connection::session::{Connection, Query};
use crate::error::StatementError;

/// Why an operation has no locked.
#[derive(Debug)]
pub(crate) enum CallError {
    /// Its statement failed.
    Failed(StatementError),
    /// It was refused, or its row contradicts the rules.
    Error(StoreError),
}

impl CallError {
    pub(crate) fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.is_lock_timeout())
    }
}

impl From<StatementError> for CallError {
    fn from(failure: StatementError) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        Self::Error(error)
    }
}

impl From<CallError> for StoreError {
    fn from(call_error: CallError) -> Self {
        match call_error {
            CallError::Failed(failure) => failure.into(),
            CallError::Error(error) => error,
        }
    }
}

/// An operation that has a statement. Its parameters follow the clock's offset and the address.
pub(crate) trait Sent: Operation {
    const STATEMENT: Statement;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q>;
}

/// Carries out an operation on the row that an address has. None: it has none, and the operation makes one.
pub(crate) async fn run<O: Sent>(
    connection: &mut Connection,
    sql: &Sql,
    offset: i64,
    address: &Address,
    op: &O,
) -> Result<Option<Stamped<O::Reply>>, CallError> {
    let rows = retry_on_conflict(connection, || query(sql, offset, address, op)).await?;
    let reply = explain(address.kind, op, &rows)?;
    if reply.as_ref().is_some_and(|reply| reply.stamp.changed) {
        let before =
            rows.first().and_then(|row| Cells::from(row, LockedRow::LAST_EVENT).take::<Option<i64>>().ok());
        trim::after(connection, sql, address, before.flatten().unwrap_or(0) + 1).await;
    }
    Ok(reply)
}

/// The statement of an operation, on the row that an address has.
pub(crate) fn query<'q, O: Sent>(sql: &Sql, offset: i64, address: &'q Address, op: &'q O) -> Query<'q> {
    op.bind(addressed(sql, O::STATEMENT, offset, address))
}

fn addressed<'q>(sql: &Sql, statement: Statement, offset: i64, address: &'q Address) -> Query<'q> {
    let Address { namespace, kind, key } = address;
    sqlx::query(sql.get(statement))
        .bind(offset)
        .bind(namespace.as_str())
        .bind(kind.as_str())
        .bind(key.as_str())
}

/// The reply that a statement's row means.
pub(crate) fn explain<O: Operation>(
    kind: Kind,
    op: &O,
    rows: &[PgRow],
) -> Result<Option<Stamped<O::Reply>>, CallError> {
    let row = rows.first().ok_or_else(|| broken("a statement returned no row".into()))?;
    let locked = LockedRow::read(row).map_err(|Unreadable(what)| broken(what))?;
    let has_row = locked.record.is_some();
    let mut record = locked.record.unwrap_or(Record::absent());
    let outcome = kernel::apply(&mut record, op, Reading { kind, now: locked.now, floor: locked.floor })
        .map_err(StoreError::from)?;
    if !has_row && outcome.stamped.stamp.changed {
        return Ok(None);
    }
    let meant = outcome.stamped.stamp.changed.then_some((record.rev, record.token));
    if meant != locked.wrote {
        let detail = format!(
            "{} wrote {:?}, but the kernel's rules require {meant:?}: statement and kernel disagree",
            O::NAME,
            locked.wrote
        );
        return Err(broken(detail).into());
    }
    Ok(Some(outcome.stamped))
}

struct LockedRow {
    now: StoreTime,
    floor: Token,
    /// Rev and token after a change.
    wrote: Option<(u64, Token)>,
    /// The row as it was locked, before the change.
    record: Option<Record>,
}

impl LockedRow {
    /// The column of the number of the record's last event, as the row was locked.
    const LAST_EVENT: usize = 5;

    fn read(row: &PgRow) -> Result<Self, Unreadable> {
        let mut cells = Cells::from(row, 0);
        let (now, floor) = (cells.instant()?, cells.token()?);
        let (rev, token): (Option<i64>, Option<i64>) = (cells.take()?, cells.take()?);
        let wrote =
            rev.zip(token).map(|(rev, token)| (rev.unsigned_abs(), Token::from_stored(token.unsigned_abs())));
        Ok(Self { now, floor, wrote, record: cells.record()? })
    }
}

/// The statement was sent, and may have changed something.
fn broken(detail: String) -> StoreError {
    StoreError::ambiguous(ErrorKind::BrokenStore, detail)
}

/// Claims an address that has no row. None: there is one, or another transaction inserts one.
pub(crate) async fn claim_absent(
    connection: &mut Connection,
    sql: &Sql,
    offset: i64,
    address: &Address,
    claim: &Claim,
) -> Result<Option<Stamped<ClaimReply>>, CallError> {
    let rows = retry_on_conflict(connection, || absent_query(sql, offset, address, claim)).await?;
    explain_absent(claim, &rows)
}

/// The statement that claims an address that has no row.
pub(crate) fn absent_query<'q>(sql: &Sql, offset: i64, address: &'q Address, claim: &'q Claim) -> Query<'q> {
    claim.bind(addressed(sql, Statement::ClaimAbsent, offset, address))
}

/// The reply that its row means. None: there is a row, or another transaction inserts one.
pub(crate) fn explain_absent(
    claim: &Claim,
    rows: &[PgRow],
) -> Result<Option<Stamped<ClaimReply>>, CallError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let mut cells = Cells::from(row, 0);
    let read = cells.token().and_then(|token| Ok((token, cells.instant()?)));
    let (token, now) = read.map_err(|Unreadable(what)| broken(what))?;
    Ok(Some(freshly_granted(claim, token, now)))
}

/// The answer to the first claim of an address.
pub(crate) fn freshly_granted(claim: &Claim, token: Token, now: StoreTime) -> Stamped<ClaimReply> {
    let state = match claim.phase {
        Phase::Claimed => State::Claimed,
        Phase::Executing => State::Executing,
    };
    let granted = Granted {
        token,
        state,
        incarnation: token.get(),
        lease_until: now.plus(claim.terms.ttl()),
        hard_until: now.plus(claim.terms.hard_ttl()),
    };
    let stamp = Stamp { now, rev: 1, token, state, changed: true };
    Stamped { reply: ClaimReply::Granted(granted), stamp }
}

/// Completes the first run of an address. None: it is anything else, and nothing was changed.
pub(crate) async fn complete_first_run(
    connection: &mut Connection,
    sql: &Sql,
    offset: i64,
    address: &Address,
    complete: &Complete,
) -> Result<Option<Stamped<CompleteReply>>, CallError> {
    let query = || {
        let query = sqlx::query(sql.get(Statement::CompleteFirstRun))
            .bind(offset)
            .bind(address.namespace.as_str())
            .bind(address.key.as_str());
        result(grant(query, &complete.grant), &complete.result)
    };
    let rows = retry_on_conflict(connection, query).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut cells = Cells::from(row, 0);
    let read = cells.number().and_then(|rev| Ok((rev, cells.instant()?, cells.take()?)));
    let (rev, now, late) = read.map_err(|Unreadable(what)| broken(what))?;
    let stamp = Stamp { now, rev, token: complete.grant.token, state: State::Completed, changed: true };
    Ok(Some(Stamped { reply: CompleteReply::Recorded { late }, stamp }))
}

/// Remembers a cancelled call on an address that has no row. None: there is one.
pub(crate) async fn cancel_absent(
    connection: &mut Connection,
    sql: &Sql,
    offset: i64,
    address: &Address,
    cancel: &Cancel,
) -> Result<Option<Stamped<CancelReply>>, CallError> {
    let query = || cancel.bind(addressed(sql, Statement::CancelAbsent, offset, address));
    let rows = retry_on_conflict(connection, query).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let now = Cells::from(row, 0).instant().map_err(|Unreadable(what)| broken(what))?;
    let stamp = Stamp { now, rev: 1, token: Token::NONE, state: State::Free, changed: true };
    Ok(Some(Stamped { reply: CancelReply::Cancelled, stamp }))
}

impl Sent for Claim {
    const STATEMENT: Statement = Statement::Claim;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query
            .bind(uuid(self.claim_id.bits()))
            .bind(micros(self.terms.ttl()))
            .bind(micros(self.terms.hard_ttl()))
            .bind(self.retention.map(micros))
            .bind(self.fingerprint.as_ref().map(|text| text.as_str().as_bytes()))
            .bind(self.worker.as_str())
            .bind(self.phase == Phase::Executing)
            .bind(micros(self.terms.late_effects()))
            .bind(accepted(&self.accepts))
            .bind(self.cause.as_ref().map(ToString::to_string))
            .bind(self.about.as_ref().map(|text| text.as_str()))
    }
}

impl Sent for Begin {
    const STATEMENT: Statement = Statement::Begin;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        grant(query, &self.grant)
    }
}

impl Sent for Complete {
    const STATEMENT: Statement = Statement::Complete;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        result(grant(query, &self.grant), &self.result)
    }
}

impl Sent for Cancel {
    const STATEMENT: Statement = Statement::Cancel;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.bind(uuid(self.claim_id.bits()))
    }
}

impl Sent for Release {
    const STATEMENT: Statement = Statement::Release;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        grant(query, &self.grant).bind(self.vouched)
    }
}

impl Sent for Abandon {
    const STATEMENT: Statement = Statement::Abandon;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        grant(query, &self.grant).bind(self.cause.as_str()).bind(micros(self.late_effects))
    }
}

impl Sent for Reconcile {
    const STATEMENT: Statement = Statement::Reconcile;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        decision(query, self.op_id, self.expect, &self.operator, self.reason.as_ref())
            .bind(self.even_if_alive)
            .bind(self.steal)
    }
}

impl Sent for ForceComplete {
    const STATEMENT: Statement = Statement::ForceComplete;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        let query = decision(query, self.op_id, self.token, &self.operator, self.reason.as_ref());
        result(query.bind(self.result.digest().as_bytes().to_vec()), &self.result).bind(self.to_decode())
    }
}

impl Sent for ResetToClaimed {
    const STATEMENT: Statement = Statement::ResetToClaimed;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        decision(query, self.op_id, self.token, &self.operator, self.reason.as_ref())
            .bind(self.accept_overlap)
    }
}

impl Sent for Evict {
    const STATEMENT: Statement = Statement::Evict;
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        decision(query, self.op_id, self.expect, &self.operator, self.reason.as_ref())
    }
}

/// As it is stored. None: any.
pub(crate) fn accepted(accepts: &Accepts) -> Option<&str> {
    (*accepts != Accepts::any()).then(|| accepts.as_str())
}

fn grant<'q>(query: Query<'q>, grant: &sentinel_core::Grant) -> Query<'q> {
    query.bind(integer(grant.token.get())).bind(uuid(grant.claim_id.bits()))
}

fn result<'q>(query: Query<'q>, result: &'q sentinel_core::RecordedResult) -> Query<'q> {
    query
        .bind(result.verdict.as_str())
        .bind(result.code)
        .bind(result.omitted)
        .bind(result.payload.content_type.as_str())
        .bind(result.payload.bytes.as_ref())
}

fn decision<'q>(
    query: Query<'q>,
    op_id: sentinel_core::OpId,
    presented: Token,
    operator: &'q sentinel_core::Label,
    reason: Option<&'q sentinel_core::Label>,
) -> Query<'q> {
    query
        .bind(uuid(op_id.bits()))
        .bind(integer(presented.get()))
        .bind(operator.as_str())
        .bind(reason.map(sentinel_core::Label::as_str))
}
