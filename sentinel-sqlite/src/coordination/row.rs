//! A record and an event as rows, and back. What comes back is checked: a row that no record can be is `Unreadable`.

use std::time::Duration;

use rusqlite::types::FromSql;
use rusqlite::{Row, Statement, ToSql};
use sentinel_core::{
    ClaimId, Decision, PURGE_REST, PastClaims, Payload, Record, RecordedResult, State, StoreTime, Terms,
    Token, Verdict,
};

use crate::error::{Fault, unreadable};

/// Whether a worker or an operator has the key, or its outcome is unknown.
pub(crate) fn is_undecided(state: State) -> bool {
    match state {
        State::Claimed | State::Executing | State::Reconciling => true,
        State::Free | State::Completed => false,
    }
}

/// A record, and what the store keeps beside it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) id: i64,
    /// Whose events those in the table are.
    pub(crate) life: Vec<u8>,
    pub(crate) last_event: i64,
    pub(crate) dropped: i64,
    /// The newest events, one a line.
    pub(crate) recent: String,
    pub(crate) record: Record,
}

impl Stored {
    /// Reads the `columns!`, from the column `first` on.
    pub(crate) fn read(row: &Row<'_>, first: usize) -> Result<Self, Fault> {
        let mut cells = Cells { row, next: first };
        let (id, life) = (cells.take()?, cells.take()?);
        let (last_event, dropped, recent) = (cells.take()?, cells.take()?, cells.take()?);
        let record = read_record(&mut cells)?;
        match record.flaw() {
            Some(what) => Err(Fault::Unreadable(format!("record {id}: {what}"))),
            None => Ok(Self { id, life, last_event, dropped, recent, record }),
        }
    }
}

fn read_record(cells: &mut Cells<'_, '_>) -> Result<Record, Fault> {
    Ok(Record {
        state: cells.parse("state", |text| text.parse().ok())?,
        rev: cells.number()?,
        token: cells.token()?,
        claim_id: cells.id()?.map(ClaimId::from_bits),
        past_claims: cells.past_claims()?,
        incarnation: cells.number()?,
        after_reset: cells.take()?,
        worker: cells.text("worker")?,
        terms: cells.terms()?,
        retention: cells.optional()?.map(Duration::from_micros),
        claimed_at: cells.time()?,
        lease_until: StoreTime::from_micros(cells.number()?),
        hard_until: StoreTime::from_micros(cells.number()?),
        effects_until: StoreTime::from_micros(cells.number()?),
        begun_at: cells.time()?,
        completed_at: cells.time()?,
        last_now: StoreTime::from_micros(cells.number()?),
        fingerprint: cells.text("fingerprint")?,
        accepts: cells.text("accepted content types")?.unwrap_or_default(),
        doubt: cells.text("doubt")?,
        decision: cells.json::<Decision>()?,
        cause: cells.text("cause")?,
        about: cells.text("text that a claim is about")?,
        result: cells.result()?,
    })
}

struct Cells<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl Cells<'_, '_> {
    fn take<T: FromSql>(&mut self) -> Result<T, Fault> {
        let column = self.next;
        self.next += 1;
        self.row.get(column).map_err(|error| Fault::Unreadable(error.to_string()))
    }

    fn number(&mut self) -> Result<u64, Fault> {
        unsigned(self.take()?)
    }

    fn optional(&mut self) -> Result<Option<u64>, Fault> {
        self.take::<Option<i64>>()?.map(unsigned).transpose()
    }

    fn time(&mut self) -> Result<Option<StoreTime>, Fault> {
        Ok(self.optional()?.map(StoreTime::from_micros))
    }

    fn token(&mut self) -> Result<Token, Fault> {
        let number = self.number()?;
        match Token::from_stored(number) {
            token if token.get() == number => Ok(token),
            _ => Err(Fault::Unreadable(format!("{number} is no token"))),
        }
    }

    fn id(&mut self) -> Result<Option<u128>, Fault> {
        Ok(self.take::<Option<[u8; 16]>>()?.map(u128::from_be_bytes))
    }

    fn past_claims(&mut self) -> Result<PastClaims, Fault> {
        let bytes: Vec<u8> = self.take()?;
        let (ids, rest) = bytes.as_chunks::<16>();
        if !rest.is_empty() || ids.len() > PastClaims::KEPT {
            return Err(Fault::Unreadable(format!("{} bytes of past claim ids", bytes.len())));
        }
        let ids: Vec<_> = ids.iter().map(|id| ClaimId::from_bits(u128::from_be_bytes(*id))).collect();
        Ok(ids.into())
    }

    fn parse<T>(&mut self, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Fault> {
        let text: String = self.take()?;
        parse(&text).ok_or_else(|| Fault::Unreadable(format!("{text:?} is no {what}")))
    }

    fn text<T: TryFrom<String>>(&mut self, what: &str) -> Result<Option<T>, Fault> {
        let text: Option<String> = self.take()?;
        text.map(|text| T::try_from(text).map_err(|_| Fault::Unreadable(format!("bad {what}")))).transpose()
    }

    fn terms(&mut self) -> Result<Option<Terms>, Fault> {
        let (ttl, hard_ttl, late_effects) = (self.optional()?, self.optional()?, self.optional()?);
        let micros = Duration::from_micros;
        let (Some(ttl), Some(hard_ttl), Some(late_effects)) = (ttl, hard_ttl, late_effects) else {
            return Ok(None);
        };
        let terms = Terms::new(micros(ttl), micros(hard_ttl));
        terms.and_then(|terms| terms.with_late_effects(micros(late_effects))).map(Some).map_err(unreadable)
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, Fault> {
        let text: Option<String> = self.take()?;
        text.map(|text| serde_json::from_str(&text).map_err(unreadable)).transpose()
    }

    fn result(&mut self) -> Result<Option<RecordedResult>, Fault> {
        let verdict: Option<String> = self.take()?;
        let code: Option<i32> = self.take()?;
        let omitted: Option<bool> = self.take()?;
        let content_type = self.text("content type")?;
        let bytes: Option<Vec<u8>> = self.take()?;
        let Some(verdict) = verdict else { return Ok(None) };
        let verdict = [Verdict::Success, Verdict::Failure].into_iter().find(|v| v.as_str() == verdict);
        match (verdict, omitted, content_type, bytes) {
            (Some(verdict), Some(omitted), Some(content_type), Some(bytes)) => {
                let payload = Payload { content_type, bytes: bytes.into() };
                Ok(Some(RecordedResult { verdict, code, payload, omitted }))
            }
            _ => Err(Fault::Unreadable("half of a result".into())),
        }
    }
}

fn unsigned(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| Fault::Unreadable(format!("{number} is below zero")))
}

/// As SQLite keeps integers: signed. What does not fit stays at the end of time.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn micros(time: StoreTime) -> i64 {
    integer(time.as_micros())
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// When a purge may consider a record: never before [`Record::is_purgeable`] is true.
pub(crate) fn purge_at(r: &Record) -> Option<i64> {
    let rested = r.last_now.plus(PURGE_REST).plus(Duration::from_micros(1));
    let at = match r.state {
        State::Completed => r.completed_at?.plus(r.retention?).max(rested),
        State::Free if !r.after_reset => rested,
        _ => return None,
    };
    Some(micros(at))
}

/// When the `purged` event of a record may go.
pub(crate) fn forget_at(purged: StoreTime) -> i64 {
    micros(purged.plus(PURGE_REST).plus(Duration::from_micros(1)))
}

/// Binds a record to a statement (parameters 1 to 33, in the order of the table from `last_event` on), then the
/// parameters that name the row, and runs it.
pub(crate) fn write_record(
    statement: &mut Statement<'_>,
    r: &Record,
    last_event: i64,
    recent: &str,
    target: &[&dyn ToSql],
) -> Result<(), Fault> {
    let claim_id = r.claim_id.map(|id| id.bits().to_be_bytes());
    let past: Vec<u8> = r.past_claims.iter().flat_map(|id| id.bits().to_be_bytes()).collect();
    let decision = r.decision.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)?;
    let result = r.result.as_ref();
    let values: [&dyn ToSql; 33] = [
        &last_event,
        &purge_at(r),
        &r.state.as_str(),
        &integer(r.rev),
        &integer(r.token.get()),
        &claim_id.as_ref().map(|id| id.as_slice()),
        &past,
        &integer(r.incarnation),
        &r.after_reset,
        &r.worker.as_ref().map(|label| label.as_str()),
        &r.terms.map(|terms| micros_of(terms.ttl())),
        &r.terms.map(|terms| micros_of(terms.hard_ttl())),
        &r.terms.map(|terms| micros_of(terms.late_effects())),
        &r.retention.map(micros_of),
        &r.claimed_at.map(micros),
        &micros(r.lease_until),
        &micros(r.hard_until),
        &micros(r.effects_until),
        &r.begun_at.map(micros),
        &r.completed_at.map(micros),
        &micros(r.last_now),
        &r.fingerprint.as_ref().map(|text| text.as_str()),
        &r.accepts.as_str(),
        &r.doubt.as_ref().map(|label| label.as_str()),
        &decision,
        &r.cause.as_ref().map(ToString::to_string),
        &r.about.as_ref().map(|label| label.as_str()),
        &result.map(|result| result.verdict.as_str()),
        &result.and_then(|result| result.code),
        &result.map(|result| result.omitted),
        &result.map(|result| result.payload.content_type.as_str()),
        &recent,
        &result.map(|result| result.payload.bytes.as_ref()),
    ];
    for (index, value) in values.iter().chain(target).enumerate() {
        statement.raw_bind_parameter(index + 1, value)?;
    }
    statement.raw_execute()?;
    Ok(())
}
