//! One operation on one record. The script judges and writes; the kernel, run on the record that the script answered with,
//! says why: a refusal is explained in one place. The two must agree.

use bytes::Bytes;
use sentinel_core::kernel::{self, Operation, Reading};
use sentinel_core::operation::*;
use sentinel_core::{Address, DecisionKind, ErrorKind, Grant, Kind, Record, StoreError, StoreTime, Token};

use crate::row::{self, Cursor, Packed, Unreadable, packed_accepts, packed_decision, packed_result};
use crate::script::Script;
use crate::wire::{Answer, odd};

/// An operation that has a script.
pub(crate) trait Sent: Operation {
    const SCRIPT: Script;
    /// Whether it stands behind the others of a call.
    const BEHIND: bool = false;
    /// Whether its answer passes the barrier (spec §2).
    fn needs_barrier(&self, kind: Kind) -> bool;
    /// Its arguments, as the script unpacks them.
    fn pack(&self) -> Bytes;
}

/// What a script answers for each item: whether it wrote, the reading of the clock, the floor, and the record as it was.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) changed: bool,
    /// The record may have too many events since then.
    pub(crate) long: bool,
    pub(crate) now: StoreTime,
    pub(crate) floor: Token,
    pub(crate) stored: Bytes,
}

impl Told {
    /// What a call is answered with: the reading, the floor, and a letter for each item, then their records.
    pub(crate) fn all(answer: Answer) -> Result<Vec<Self>, StoreError> {
        let mut answers = answer.list()?.into_iter();
        let head = answers.next().and_then(|head| head.bytes().cloned()).unwrap_or_default();
        let mut head = Cursor(head);
        let mut read = || Ok((head.instant()?, Token::from_stored(head.u64()?)));
        let (now, floor) = read().map_err(|Unreadable(what)| broken(what))?;
        let each = answers.map(|stored| {
            let (changed, long) = match head.char().map_err(|Unreadable(what)| broken(what))? {
                '0' => (false, false),
                '1' => (true, false),
                '2' => (true, true),
                other => return Err(broken(format!("{other:?} tells of no change"))),
            };
            let stored = match stored {
                Answer::Bytes(stored) => stored,
                Answer::Nil => Bytes::new(),
                other => return Err(odd(&other)),
            };
            Ok(Self { changed, long, now, floor, stored })
        });
        each.collect()
    }

    /// The record as it was.
    pub(crate) fn record(&self) -> Result<Record, StoreError> {
        match self.stored.is_empty() {
            true => Ok(Record::absent()),
            false => row::record(self.stored.clone()).map_err(|Unreadable(what)| broken(what)),
        }
    }

    pub(crate) fn reading(&self, kind: Kind) -> Reading {
        Reading { kind, now: self.now, floor: self.floor }
    }
}

/// What an answer means.
pub(crate) fn explain<O: Operation>(
    address: &Address,
    op: &O,
    told: Told,
) -> Result<Stamped<O::Reply>, StoreError> {
    let (at, mut record) = (told.reading(address.kind), told.record()?);
    let outcome = kernel::apply(&mut record, op, at)?;
    if outcome.stamped.stamp.changed != told.changed {
        let did = |changed: bool| if changed { "a change" } else { "none" };
        let meant = outcome.stamped.stamp.changed;
        let detail =
            format!("{}: the script made {} where the rules say {}", O::NAME, did(told.changed), did(meant));
        return Err(broken(detail));
    }
    Ok(outcome.stamped)
}

/// What a claim makes of a record that was only looked at: an answer, or that its own script has to say it.
pub(crate) fn judged(
    address: &Address,
    claim: &Claim,
    told: Told,
) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
    let (at, mut record) = (told.reading(address.kind), told.record()?);
    let stamped = kernel::apply(&mut record, claim, at)?.stamped;
    // Granted anew, or once more: either is said by the script, and passes the barrier.
    Ok(Some(stamped).filter(|stamped| !matches!(stamped.reply, ClaimReply::Granted(_))))
}

/// The script ran, and may have changed something.
pub(crate) fn broken(detail: String) -> StoreError {
    StoreError::ambiguous(ErrorKind::BrokenStore, detail)
}

impl Sent for Claim {
    const SCRIPT: Script = Script::Run;
    // Also where it only claims: it may be answered with a result, which must not be one that is taken back.
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        Packed::default()
            .id(self.claim_id.bits())
            // What claims have alike stands behind what each has for itself.
            .text(self.fingerprint.as_ref().map_or("", |text| text.as_str()))
            .char(match self.phase {
                Phase::Claimed => 'c',
                Phase::Executing => 'x',
            })
            .micros(self.terms.ttl())
            .micros(self.terms.hard_ttl())
            .micros(self.terms.late_effects())
            .flag(self.retention.is_some())
            .micros(kept(self.retention))
            .text(packed_accepts(&self.accepts))
            .text(self.worker.as_str())
            .done()
    }
}

/// As the kernel keeps it: no longer than a signed number of microseconds.
fn kept(retention: Option<std::time::Duration>) -> std::time::Duration {
    retention.unwrap_or_default().min(std::time::Duration::from_micros(i64::MAX.unsigned_abs()))
}

impl Sent for Begin {
    const SCRIPT: Script = Script::Begin;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        grant(&self.grant).done()
    }
}

impl Sent for Complete {
    const SCRIPT: Script = Script::Run;
    const BEHIND: bool = true;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        grant(&self.grant).long(&packed_result(&self.result)).done()
    }
}

impl Sent for Cancel {
    const SCRIPT: Script = Script::Cancel;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        Packed::default().id(self.claim_id.bits()).done()
    }
}

impl Sent for Release {
    const SCRIPT: Script = Script::Release;
    fn needs_barrier(&self, _: Kind) -> bool {
        self.vouched
    }
    fn pack(&self) -> Bytes {
        grant(&self.grant).flag(self.vouched).done()
    }
}

impl Sent for Abandon {
    const SCRIPT: Script = Script::Abandon;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        grant(&self.grant).text(self.cause.as_str()).micros(self.late_effects).done()
    }
}

impl Sent for Reconcile {
    const SCRIPT: Script = Script::Reconcile;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        let by = (&self.operator, self.reason.as_ref());
        let sent = packed_decision(self.op_id, DecisionKind::Reconcile, self.expect, None, by).done();
        Packed::default().flag(self.even_if_alive).flag(self.steal).bytes(&sent).done()
    }
}

impl Sent for ForceComplete {
    const SCRIPT: Script = Script::ForceComplete;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        let by = (&self.operator, self.reason.as_ref());
        let digest = Some(self.result.digest());
        let sent = packed_decision(self.op_id, DecisionKind::ForceComplete, self.token, digest, by).done();
        let media = self.to_decode();
        let checked = media.is_some();
        let result = packed_result(&self.result);
        let asked = Packed::default().long(&result).flag(checked).text(&media.unwrap_or_default());
        asked.bytes(&sent).done()
    }
}

impl Sent for ResetToClaimed {
    const SCRIPT: Script = Script::ResetToClaimed;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        let by = (&self.operator, self.reason.as_ref());
        let sent = packed_decision(self.op_id, DecisionKind::ResetToClaimed, self.token, None, by).done();
        Packed::default().flag(self.accept_overlap).bytes(&sent).done()
    }
}

impl Sent for Evict {
    const SCRIPT: Script = Script::Evict;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        let by = (&self.operator, self.reason.as_ref());
        packed_decision(self.op_id, DecisionKind::Evict, self.expect, None, by).done()
    }
}

/// A grant: what the scripts compare with a record's token and claim id in one go.
pub(crate) fn grant(grant: &Grant) -> Packed {
    Packed::default().token(grant.token).id(grant.claim_id.bits())
}
