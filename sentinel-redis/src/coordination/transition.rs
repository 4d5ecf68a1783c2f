//! One operation on one record. The script decides and writes; the kernel, run on the record that the script
//! returned, computes the reply, so that refusals are explained in one place. The two must agree.

use bytes::Bytes;
use sentinel_core::kernel::{self, Operation};
use sentinel_core::operation::*;
use sentinel_core::{Address, DecisionKind, Grant, Kind, Record, StoreError};

use crate::batch::ScriptReply;
use crate::error::broken_store;
use crate::row::{self, Packed, Unreadable, packed_accepts, packed_decision, packed_origin, packed_result};
use crate::script::Script;

/// An operation that has a script.
pub(crate) trait ScriptedOperation: Operation {
    const SCRIPT: Script;
    /// Whether it comes after the other operations of a call.
    const COMES_LAST: bool = false;
    /// Whether its reply waits for the barrier (spec §2).
    fn needs_barrier(&self, kind: Kind) -> bool;
    /// Its arguments, as the script unpacks them.
    fn pack(&self) -> Bytes;
}

/// The record as it was.
pub(crate) fn record(reply: &ScriptReply) -> Result<Record, StoreError> {
    match reply.stored.is_empty() {
        true => Ok(Record::absent()),
        false => row::record(reply.stored.clone()).map_err(|Unreadable(what)| broken_store(what)),
    }
}

/// The meaning of a reply.
pub(crate) fn explain<O: Operation>(
    address: &Address,
    op: &O,
    reply: ScriptReply,
) -> Result<Stamped<O::Reply>, StoreError> {
    let (at, mut record) = (reply.reading(address.kind), record(&reply)?);
    let outcome = kernel::apply(&mut record, op, at)?;
    if outcome.stamped.stamp.changed != reply.changed {
        let did = |changed: bool| if changed { "a change" } else { "none" };
        let meant = outcome.stamped.stamp.changed;
        let detail = format!(
            "{}: the script made {}, but the kernel's rules require {}",
            O::NAME,
            did(reply.changed),
            did(meant)
        );
        return Err(broken_store(detail));
    }
    Ok(outcome.stamped)
}

/// The reply to a claim from a record that was only read; None: the claim's own script has to run.
pub(crate) fn replay_of(
    address: &Address,
    claim: &Claim,
    reply: ScriptReply,
) -> Result<Option<Stamped<ClaimReply>>, StoreError> {
    let (at, mut record) = (reply.reading(address.kind), record(&reply)?);
    let stamped = kernel::apply(&mut record, claim, at)?.stamped;
    // A grant, new or repeated, comes from the script and waits for the barrier.
    Ok(Some(stamped).filter(|stamped| !matches!(stamped.reply, ClaimReply::Granted(_))))
}

impl ScriptedOperation for Claim {
    const SCRIPT: Script = Script::Run;
    // Also where it only claims: the reply may be a result, which must not be lost by a failover.
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        Packed::default()
            .id(self.claim_id.bits())
            // The fields that claims share come after those that differ.
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
            .short(&packed_origin(self.cause.as_ref(), self.about.as_ref()))
            .text(self.worker.as_str())
            .done()
    }
}

/// As the kernel keeps it: no longer than a signed number of microseconds.
fn kept(retention: Option<std::time::Duration>) -> std::time::Duration {
    retention.unwrap_or_default().min(std::time::Duration::from_micros(i64::MAX.unsigned_abs()))
}

impl ScriptedOperation for Begin {
    const SCRIPT: Script = Script::Begin;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        grant(&self.grant).done()
    }
}

impl ScriptedOperation for Complete {
    const SCRIPT: Script = Script::Run;
    const COMES_LAST: bool = true;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        grant(&self.grant).long(&packed_result(&self.result)).done()
    }
}

impl ScriptedOperation for Cancel {
    const SCRIPT: Script = Script::Cancel;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        Packed::default().id(self.claim_id.bits()).done()
    }
}

impl ScriptedOperation for Release {
    const SCRIPT: Script = Script::Release;
    fn needs_barrier(&self, _: Kind) -> bool {
        self.vouched
    }
    fn pack(&self) -> Bytes {
        grant(&self.grant).flag(self.vouched).done()
    }
}

impl ScriptedOperation for Abandon {
    const SCRIPT: Script = Script::Abandon;
    fn needs_barrier(&self, _: Kind) -> bool {
        true
    }
    fn pack(&self) -> Bytes {
        grant(&self.grant).text(self.cause.as_str()).micros(self.late_effects).done()
    }
}

impl ScriptedOperation for Reconcile {
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

impl ScriptedOperation for ForceComplete {
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

impl ScriptedOperation for ResetToClaimed {
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

impl ScriptedOperation for Evict {
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
