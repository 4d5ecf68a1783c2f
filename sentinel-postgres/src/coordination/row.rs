//! A record and an event as rows. What comes back is checked: a row that no record can be is `Corrupt`.

use std::time::Duration;

use sentinel_core::kernel::Rebuilt;
use sentinel_core::{
    Accepts, Change, ClaimId, Decision, DecisionKind, Digest, ErrorKind, Event, OpId, PastClaims, Payload,
    Record, RecordedResult, State, StoreError, StoreTime, Terms, Token, Verdict,
};
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row as _, Type};
use uuid::Uuid;

/// A row that cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

impl From<Unreadable> for StoreError {
    fn from(Unreadable(what): Unreadable) -> Self {
        Self::not_applied(ErrorKind::Corrupt, what)
    }
}

/// The cells of a row, taken one after the other.
pub(crate) struct Cells<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Cells<'r> {
    pub(crate) fn from(row: &'r PgRow, first: usize) -> Self {
        Self { row, next: first }
    }

    pub(crate) fn take<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, Unreadable> {
        let column = self.next;
        self.next += 1;
        self.row.try_get(column).map_err(|error| Unreadable(error.to_string()))
    }

    pub(crate) fn number(&mut self) -> Result<u64, Unreadable> {
        unsigned(self.take()?)
    }

    pub(crate) fn optional(&mut self) -> Result<Option<u64>, Unreadable> {
        self.take::<Option<i64>>()?.map(unsigned).transpose()
    }

    pub(crate) fn instant(&mut self) -> Result<StoreTime, Unreadable> {
        Ok(StoreTime::from_micros(self.number()?))
    }

    fn time(&mut self) -> Result<Option<StoreTime>, Unreadable> {
        Ok(self.optional()?.map(StoreTime::from_micros))
    }

    pub(crate) fn token(&mut self) -> Result<Token, Unreadable> {
        known_token(self.number()?)
    }

    pub(crate) fn id(&mut self) -> Result<Option<u128>, Unreadable> {
        Ok(self.take::<Option<Uuid>>()?.map(|id| id.as_u128()))
    }

    fn past_claims(&mut self) -> Result<PastClaims, Unreadable> {
        let ids: Vec<Uuid> = self.take::<Option<Vec<Uuid>>>()?.unwrap_or_default();
        if ids.len() > PastClaims::KEPT {
            return Err(Unreadable(format!("{} past claim ids", ids.len())));
        }
        Ok(ids.into_iter().map(|id| ClaimId::from_bits(id.as_u128())).collect::<Vec<_>>().into())
    }

    pub(crate) fn text<T: TryFrom<String>>(&mut self, what: &str) -> Result<Option<T>, Unreadable> {
        let text: Option<String> = self.take()?;
        text.map(|text| T::try_from(text).map_err(|_| Unreadable(format!("bad {what}")))).transpose()
    }

    pub(crate) fn fingerprint<T: TryFrom<String>>(&mut self) -> Result<Option<T>, Unreadable> {
        let bytes: Option<Vec<u8>> = self.take()?;
        let bad = || Unreadable("bad fingerprint".into());
        let read = |bytes| T::try_from(String::from_utf8(bytes).map_err(|_| bad())?).map_err(|_| bad());
        bytes.map(read).transpose()
    }

    pub(crate) fn terms(&mut self) -> Result<Option<Terms>, Unreadable> {
        let (ttl, hard_ttl, late_effects) = (self.optional()?, self.optional()?, self.optional()?);
        let (Some(ttl), Some(hard_ttl), Some(late_effects)) = (ttl, hard_ttl, late_effects) else {
            return Ok(None);
        };
        let micros = Duration::from_micros;
        let terms = Terms::new(micros(ttl), micros(hard_ttl));
        let terms = terms.and_then(|terms| terms.with_late_effects(micros(late_effects)));
        Ok(Some(terms.map_err(|invalid| Unreadable(invalid.to_string()))?))
    }

    fn accepts(&mut self) -> Result<Accepts, Unreadable> {
        Ok(self.text("list of content types")?.unwrap_or_default())
    }

    /// What the events rebuild that were dropped before this one.
    fn base(&mut self) -> Result<Option<Box<Rebuilt>>, Unreadable> {
        let text: Option<&str> = self.take()?;
        let read =
            |text| serde_json::from_str(text).map_err(|error| Unreadable(format!("bad base: {error}")));
        text.map(read).transpose()
    }

    pub(crate) fn state(&mut self) -> Result<Option<State>, Unreadable> {
        let text: Option<&str> = self.take()?;
        text.map(|text| text.parse().map_err(|invalid| Unreadable(format!("{invalid}")))).transpose()
    }

    fn verdict(&mut self) -> Result<Option<Verdict>, Unreadable> {
        let text: Option<&str> = self.take()?;
        let find = |text| [Verdict::Success, Verdict::Failure].into_iter().find(|v| v.as_str() == text);
        text.map(|text| find(text).ok_or_else(|| Unreadable(format!("{text:?} is no verdict")))).transpose()
    }

    fn digest(&mut self) -> Result<Option<Digest>, Unreadable> {
        let bytes: Option<&[u8]> = self.take()?;
        let read = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map(Digest::from_bytes);
        bytes.map(|bytes| read(bytes).map_err(|_| Unreadable("bad digest".into()))).transpose()
    }

    fn decision(&mut self) -> Result<Option<Decision>, Unreadable> {
        let op_id = self.id()?.map(OpId::from_bits);
        let kind: Option<&str> = self.take()?;
        let (token, presented) = (self.optional()?, self.optional()?);
        let (digest, operator, reason, at) =
            (self.digest()?, self.text("operator")?, self.text("reason")?, self.time()?);
        let Some(op_id) = op_id else { return Ok(None) };
        let half = || Unreadable("half of a decision".into());
        let kinds = [
            DecisionKind::Reconcile,
            DecisionKind::ForceComplete,
            DecisionKind::ResetToClaimed,
            DecisionKind::Evict,
        ];
        let kind = kinds.into_iter().find(|known| Some(known.as_str()) == kind).ok_or_else(half)?;
        Ok(Some(Decision {
            op_id,
            kind,
            token: known_token(token.ok_or_else(half)?)?,
            presented: known_token(presented.ok_or_else(half)?)?,
            digest,
            operator: operator.ok_or_else(half)?,
            reason,
            at: at.ok_or_else(half)?,
        }))
    }

    fn result(&mut self) -> Result<Option<RecordedResult>, Unreadable> {
        let verdict = self.verdict()?;
        let code: Option<i32> = self.take()?;
        let omitted: Option<bool> = self.take()?;
        let content_type = self.text("content type")?;
        let bytes: Option<Vec<u8>> = self.take()?;
        let Some(verdict) = verdict else { return Ok(None) };
        match (omitted, content_type, bytes) {
            (Some(omitted), Some(content_type), Some(bytes)) => {
                let payload = Payload { content_type, bytes: bytes.into() };
                Ok(Some(RecordedResult { verdict, code, payload, omitted }))
            }
            _ => Err(Unreadable("half of a result".into())),
        }
    }

    /// The columns of a record, from `life` on; None: no row. An emptied row is a record that is absent.
    pub(crate) fn record(&mut self) -> Result<Option<Record>, Unreadable> {
        let life: Option<i64> = self.take()?;
        let (_last_event, _implied): (Option<i64>, Option<i16>) = (self.take()?, self.take()?);
        let Some(life) = life else { return Ok(None) };
        let record = self
            .present()
            .map_err(|Unreadable(what)| Unreadable(format!("the record of life {life}: {what}")))?;
        match record.flaw() {
            Some(what) => Err(Unreadable(format!("the record of life {life}: {what}"))),
            None => Ok(Some(record)),
        }
    }

    fn present(&mut self) -> Result<Record, Unreadable> {
        Ok(Record {
            state: self.state()?.ok_or_else(|| Unreadable("no state".into()))?,
            rev: self.number()?,
            token: self.token()?,
            claim_id: self.id()?.map(ClaimId::from_bits),
            past_claims: self.past_claims()?,
            incarnation: self.number()?,
            after_reset: self.take()?,
            worker: self.text("worker")?,
            terms: self.terms()?,
            retention: self.optional()?.map(Duration::from_micros),
            claimed_at: self.time()?,
            lease_until: self.instant()?,
            hard_until: self.instant()?,
            effects_until: self.instant()?,
            begun_at: self.time()?,
            completed_at: self.time()?,
            last_now: self.instant()?,
            fingerprint: self.fingerprint()?,
            accepts: self.accepts()?,
            cause: self.text("cause")?,
            about: self.text("text that a claim is about")?,
            doubt: self.text("doubt")?,
            decision: self.decision()?,
            result: self.result()?,
        })
    }

    /// The columns of an event, in the order of `history.sql`.
    pub(crate) fn event(&mut self) -> Result<Event, Unreadable> {
        let (rev, at, token) = (self.number()?, self.instant()?, self.token()?);
        let (from, to) = (self.state()?, self.state()?);
        let claim_id = self.id()?.map(ClaimId::from_bits);
        let op_id = self.id()?.map(OpId::from_bits);
        let (worker, operator, reason) = (self.text("worker")?, self.text("operator")?, self.text("reason")?);
        let change = self.change()?;
        let base = self.base()?;
        Ok(Event { rev, change, from, to, token, claim_id, op_id, worker, operator, reason, at, base })
    }

    fn change(&mut self) -> Result<Change, Unreadable> {
        let name: &str = self.take()?;
        let terms = self.terms()?;
        let retention = self.optional()?.map(Duration::from_micros);
        let fingerprint = self.fingerprint()?;
        let accepts = self.accepts()?;
        let (cause, about) = (self.text("cause")?, self.text("text that a claim is about")?);
        let incarnation = self.optional()?;
        let flag: Option<bool> = self.take()?;
        let verdict = self.verdict()?;
        let code: Option<i32> = self.take()?;
        let digest = self.digest()?;
        let effects_until = self.time()?;
        let half = || Unreadable(format!("half of an event {name:?}"));
        Ok(match name {
            "claimed" => Change::Claimed {
                terms: terms.ok_or_else(half)?,
                retention,
                fingerprint,
                accepts,
                incarnation: incarnation.ok_or_else(half)?,
                begun: flag.ok_or_else(half)?,
                cause,
                about,
            },
            "begun" => Change::Begun,
            "completed" => {
                Change::Completed { verdict: verdict.ok_or_else(half)?, code, late: flag.ok_or_else(half)? }
            }
            "cancelled" => Change::Cancelled,
            "released" => Change::Released { vouched: flag.ok_or_else(half)? },
            "abandoned" => Change::Abandoned { effects_until: effects_until.ok_or_else(half)? },
            "reconciling" => Change::Reconciling,
            "force_completed" => Change::ForceCompleted {
                verdict: verdict.ok_or_else(half)?,
                code,
                digest: digest.ok_or_else(half)?,
            },
            "reset_to_claimed" => Change::ResetToClaimed,
            "evicted" => Change::Evicted,
            "purged" => Change::Purged,
            _ => return Err(Unreadable(format!("{name:?} is no change"))),
        })
    }
}

fn unsigned(number: i64) -> Result<u64, Unreadable> {
    u64::try_from(number).map_err(|_| Unreadable(format!("{number} is below zero")))
}

fn known_token(number: u64) -> Result<Token, Unreadable> {
    match Token::from_stored(number) {
        token if token.get() == number => Ok(token),
        _ => Err(Unreadable(format!("{number} is no token"))),
    }
}

/// As PostgreSQL keeps integers: signed. What does not fit stays at the end of time.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn uuid(bits: u128) -> Uuid {
    Uuid::from_u128(bits)
}
