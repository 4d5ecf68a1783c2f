//! The record: everything that a store keeps for one address. Spec §2 defines its fields.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::{Address, Kind};
use crate::cause::Cause;
use crate::digest::{hex, sha256};
use crate::payload::{Accepts, Digest, RecordedResult};
use crate::terms::{Fingerprint, Label, Terms};
use crate::time::StoreTime;
use crate::token::{ClaimId, OpId, Token};

/// The stored states. *Uncertain* is not one of them: it means executing and not live, and is computed when a record is
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A tombstone: the record is free and keeps its token.
    Free,
    /// Claimed; the side effect has not started. Another call can take over once the lease has lapsed.
    Claimed,
    /// The side effect may be under way. No other call ever takes over.
    Executing,
    /// Completed; the result is replayed.
    Completed,
    /// An operator has taken the uncertain key to decide about it.
    Reconciling,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] =
        [Self::Free, Self::Claimed, Self::Executing, Self::Completed, Self::Reconciling];

    /// The name used in storage and by the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Claimed => "claimed",
            Self::Executing => "executing",
            Self::Completed => "completed",
            Self::Reconciling => "reconciling",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for State {
    type Err = crate::error::Invalid;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| crate::error::Invalid::new("state", format!("{text:?} is not a state")))
    }
}

/// (token, claim id): a worker's proof of its right. Both must match the record: the token alone is not enough after a
/// failover. Together with the address it is the *grant* of spec §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// The fencing token.
    pub token: Token,
    /// The call that was granted the record.
    pub claim_id: ClaimId,
}

/// The last claim ids that held or cancelled a claim on an address. They prevent a late duplicate from being granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<ClaimId>", into = "Vec<ClaimId>")]
pub struct PastClaims {
    /// Newest first; unused slots at the end are [`NO_CLAIM`](Self::NO_CLAIM).
    ids: [ClaimId; Self::KEPT],
    len: u8,
}

impl PastClaims {
    /// How many ids are kept.
    pub const KEPT: usize = 8;

    const NO_CLAIM: ClaimId = ClaimId::from_bits(0);

    const fn none() -> Self {
        Self { ids: [Self::NO_CLAIM; Self::KEPT], len: 0 }
    }

    /// Adds an id as the newest, and drops the oldest if nine would be kept. An id that is kept already moves to the
    /// front.
    pub fn remember(&mut self, id: ClaimId) {
        let last = self.kept().iter().position(|kept| *kept == id).unwrap_or_else(|| {
            self.len = (self.len + 1).min(Self::KEPT as u8);
            self.len as usize - 1
        });
        self.ids[..=last].rotate_right(1);
        self.ids[0] = id;
    }

    /// Whether an id is kept.
    pub fn contains(&self, id: ClaimId) -> bool {
        self.kept().contains(&id)
    }

    /// The ids, newest first.
    pub fn iter(&self) -> impl Iterator<Item = ClaimId> + '_ {
        self.kept().iter().copied()
    }

    fn kept(&self) -> &[ClaimId] {
        &self.ids[..self.len as usize]
    }
}

impl Default for PastClaims {
    fn default() -> Self {
        Self::none()
    }
}

impl From<Vec<ClaimId>> for PastClaims {
    fn from(newest_first: Vec<ClaimId>) -> Self {
        newest_first.into_iter().take(Self::KEPT).rev().fold(Self::default(), |mut past, id| {
            past.remember(id);
            past
        })
    }
}

impl From<PastClaims> for Vec<ClaimId> {
    fn from(past: PastClaims) -> Self {
        past.iter().collect()
    }
}

/// The kinds of decision of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// Took an uncertain key.
    Reconcile,
    /// Decided that the work happened.
    ForceComplete,
    /// Decided that the work did not happen.
    ResetToClaimed,
    /// Freed a claim or a lease.
    Evict,
}

impl DecisionKind {
    /// The name used in storage.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconcile => "reconcile",
            Self::ForceComplete => "force_complete",
            Self::ResetToClaimed => "reset_to_claimed",
            Self::Evict => "evict",
        }
    }
}

/// The last decision on a record. It lets a repeated decision get the same reply, and a late one be refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// The id of the decision.
    pub op_id: OpId,
    /// The kind of the decision.
    pub kind: DecisionKind,
    /// The token that the decision drew; for `ForceComplete`, the reconcile token under which it was made.
    pub token: Token,
    /// The token that the operator sent: the expected one, or the reconcile token.
    pub presented: Token,
    /// The digest of the forced result.
    pub digest: Option<Digest>,
    /// The operator's label.
    pub operator: Label,
    /// The reason.
    pub reason: Option<Label>,
    /// When it was made, by the store's clock.
    pub at: StoreTime,
}

/// Everything that a store keeps for one address. An address without a record has a record with `rev` 0: the kernel
/// treats absent and free as one state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The stored state.
    pub state: State,
    /// The token of the last grant, reconciliation, reset or eviction.
    pub token: Token,
    /// The call that was granted the record or completed it. None while free or reconciling, and after an operator's
    /// decision.
    pub claim_id: Option<ClaimId>,
    /// Up to 8 earlier claim ids.
    pub past_claims: PastClaims,
    /// The token of the first grant of the current attempt towards the provider. Zero: the next claim starts a new
    /// attempt. See `docs/decisions/incarnation.md`.
    pub incarnation: u64,
    /// A reset offered this incarnation again. The provider may know its key, so the tombstone is not purged.
    pub after_reset: bool,
    /// The worker's label, for people.
    pub worker: Option<Label>,
    /// The terms of the claim.
    pub terms: Option<Terms>,
    /// How long the result is kept after completion; None: without limit.
    pub retention: Option<Duration>,
    /// When the grant was given.
    pub claimed_at: Option<StoreTime>,
    /// The lease is live before this instant.
    pub lease_until: StoreTime,
    /// No heartbeat extends the lease past this instant.
    pub hard_until: StoreTime,
    /// Before this instant an effect of the run may still land. A reset and a negative finding wait for it.
    pub effects_until: StoreTime,
    /// When the side effect may have begun.
    pub begun_at: Option<StoreTime>,
    /// When the result was recorded.
    pub completed_at: Option<StoreTime>,
    /// The fingerprint of the request.
    pub fingerprint: Option<Fingerprint>,
    /// The content types that callers of this key can decode.
    pub accepts: Accepts,
    /// The result.
    pub result: Option<RecordedResult>,
    /// Increases by 1 with each change.
    pub rev: u64,
    /// The clock reading of the last change; later readings are never below it.
    pub last_now: StoreTime,
    /// Why the outcome is unknown, if the worker reported it by an abandon.
    pub doubt: Option<Label>,
    /// The last decision of an operator.
    pub decision: Option<Decision>,
    /// Why the last claim was made. It stays when the record becomes free, until another claim replaces it.
    pub cause: Option<Cause>,
    /// What the last claim was about, as long as its cause.
    pub about: Option<Label>,
}

impl Record {
    /// The record of an address that has none.
    pub const fn absent() -> Self {
        Self {
            state: State::Free,
            token: Token::NONE,
            claim_id: None,
            past_claims: PastClaims::none(),
            incarnation: 0,
            after_reset: false,
            worker: None,
            terms: None,
            retention: None,
            claimed_at: None,
            lease_until: StoreTime::ZERO,
            hard_until: StoreTime::ZERO,
            effects_until: StoreTime::ZERO,
            begun_at: None,
            completed_at: None,
            fingerprint: None,
            accepts: Accepts::any(),
            result: None,
            rev: 0,
            last_now: StoreTime::ZERO,
            doubt: None,
            decision: None,
            cause: None,
            about: None,
        }
    }

    /// Whether the address has no record.
    pub fn is_absent(&self) -> bool {
        self.rev == 0
    }

    /// Whether the lease is live. At `lease_until` itself it is over.
    pub fn is_live(&self, now: StoreTime) -> bool {
        matches!(self.state, State::Claimed | State::Executing) && now < self.lease_until
    }

    /// Whether the hard deadline is in the future. At `hard_until` itself it has passed.
    pub fn is_within_hard(&self, now: StoreTime) -> bool {
        now < self.hard_until
    }

    /// Whether an effect of the run may still land. At `effects_until` itself none can.
    pub fn effects_may_land(&self, now: StoreTime) -> bool {
        now < self.effects_until
    }

    /// Whether the run's worker reported an unknown outcome. The lease of such a run is over and is never revived.
    pub fn is_abandoned(&self) -> bool {
        self.state == State::Executing && self.doubt.is_some()
    }

    /// Whether the record is executing and not live: the side effect may or may not have happened.
    pub fn is_uncertain(&self, now: StoreTime) -> bool {
        self.state == State::Executing && !self.is_live(now)
    }

    /// Whether the record is completed and the retention of its result is over. At the end of the retention itself it
    /// is over.
    pub fn is_past_retention(&self, now: StoreTime) -> bool {
        self.retention_left(now).is_some_and(|left| left.is_zero())
    }

    /// What remains of the retention of a completed record's result; None: it is kept without limit, or there is no
    /// result.
    pub fn retention_left(&self, now: StoreTime) -> Option<Duration> {
        match (self.state, self.completed_at, self.retention) {
            (State::Completed, Some(at), Some(kept)) => Some(at.plus(kept).since(now)),
            _ => None,
        }
    }

    /// Whether token and claim id are the record's.
    pub fn matches(&self, grant: &Grant) -> bool {
        self.token == grant.token && self.claim_id == Some(grant.claim_id)
    }

    /// Whether a claim id holds the record, held it, or was cancelled.
    pub fn knows(&self, id: ClaimId) -> bool {
        self.claim_id == Some(id) || self.past_claims.contains(id)
    }

    /// Whether maintenance may delete the record (spec §3, purge). It must be completed past its retention, or a
    /// tombstone whose incarnation was not offered again by a reset. And it must have been unchanged for longer than
    /// [`PURGE_REST`].
    pub fn is_purgeable(&self, now: StoreTime) -> bool {
        let over = match self.state {
            State::Completed => self.is_past_retention(now),
            State::Free => !self.is_absent() && !self.after_reset,
            State::Claimed | State::Executing | State::Reconciling => false,
        };
        over && now.since(self.last_now) > PURGE_REST
    }

    /// What a damaged record lacks; None: nothing. For stores whose data other programs can write. Records that the
    /// kernel made lack nothing.
    pub fn flaw(&self) -> Option<&'static str> {
        let held = matches!(self.state, State::Claimed | State::Executing);
        match self.state {
            _ if held && (self.claim_id.is_none() || self.terms.is_none()) => {
                Some("held, without a claim id or terms")
            }
            State::Executing if self.begun_at.is_none() => Some("executing, and never begun"),
            State::Completed if self.result.is_none() || self.completed_at.is_none() => {
                Some("completed, without a result")
            }
            State::Reconciling if self.decision.is_none() => Some("reconciling, without a decision"),
            _ => None,
        }
    }

    /// The idempotency key for a provider: the same for all runs of one incarnation of an address.
    pub fn idempotency_key(&self, address: &Address) -> String {
        idempotency_key(address, self.incarnation)
    }
}

/// How long a record must be unchanged before it is purged: one hour. A statement that still waits for a lock may use
/// an older reading of clock and floor.
pub const PURGE_REST: Duration = Duration::from_secs(60 * 60);

/// The idempotency key of an incarnation: `snl_` and 40 hexadecimal digits of a SHA-256.
pub fn idempotency_key(address: &Address, incarnation: u64) -> String {
    let kind: &[u8] = match address.kind {
        Kind::Execution => b"execution",
        Kind::Lease => b"lease",
    };
    let (namespace, key) = (address.namespace.as_str().as_bytes(), address.key.as_str().as_bytes());
    format!("snl_{}", &hex(&sha256(&[b"sentinel", namespace, kind, key, &incarnation.to_be_bytes()]))[..40])
}

/// The idempotency key for one of several calls of a provider, derived from the key of the incarnation and a label.
pub fn idempotency_key_for(key: &str, label: &str) -> String {
    format!("snl_{}", &hex(&sha256(&[key.as_bytes(), label.as_bytes()]))[..40])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_claim_ids_are_kept_newest_first() {
        let mut past = PastClaims::default();
        (0..10).for_each(|n| past.remember(ClaimId::from_bits(n)));
        assert_eq!(past.iter().map(ClaimId::bits).collect::<Vec<_>>(), [9, 8, 7, 6, 5, 4, 3, 2]);
        past.remember(ClaimId::from_bits(5));
        assert_eq!(past.iter().map(ClaimId::bits).collect::<Vec<_>>(), [5, 9, 8, 7, 6, 4, 3, 2]);
        assert_eq!(PastClaims::from(Vec::from(past)), past);
    }

    #[test]
    fn the_idempotency_key_depends_on_address_and_incarnation() {
        let at = |ns: &str, key: &str| {
            let (ns, key) = (crate::Namespace::new(ns).unwrap(), crate::Key::new(key).unwrap());
            Address::execution(ns, key)
        };
        assert_eq!(idempotency_key(&at("a", "b"), 1), idempotency_key(&at("a", "b"), 1));
        assert_ne!(idempotency_key(&at("a", "b"), 1), idempotency_key(&at("a", "b"), 2));
        assert_ne!(idempotency_key(&at("a-b", "c"), 1), idempotency_key(&at("a", "b-c"), 1));
        let record = Record { incarnation: 2, ..Record::absent() };
        assert_eq!(record.idempotency_key(&at("a", "b")), idempotency_key(&at("a", "b"), 2));
        // Providers know these keys: with other keys they would repeat work that they have done already.
        assert_eq!(idempotency_key(&at("a", "b"), 1), "snl_861c709bf72f282a74a757b45fea70c44114bf0e");
    }

    #[test]
    fn the_idempotency_keys_of_labels_do_not_change() {
        let key = "snl_861c709bf72f282a74a757b45fea70c44114bf0e";
        let keys = ["book", "", "pr\u{fc}fen"].map(|label| idempotency_key_for(key, label));
        let known = [
            "snl_e9362759be2400473f3f921cca77738197f04c96",
            "snl_9a4ecccb1c0466e2c8b9cf543820db4dadff8868",
            "snl_bb880e587ac0032a7fe609295bdf36067faba451",
        ];
        assert_eq!(keys, known);
        // The parts have lengths: a label that begins as the key ends has a key of its own.
        assert_ne!(idempotency_key_for("ab", "c"), idempotency_key_for("a", "bc"));
    }

    #[test]
    fn stored_names_do_not_change() {
        use DecisionKind::{Evict, ForceComplete, Reconcile, ResetToClaimed};
        let states = ["free", "claimed", "executing", "completed", "reconciling"];
        assert_eq!(State::ALL.map(State::as_str), states);
        assert_eq!(State::ALL.map(|state| state.to_string()), states);
        for state in State::ALL {
            assert_eq!(state.as_str().parse::<State>().unwrap(), state);
        }
        assert!("done".parse::<State>().is_err());
        assert_eq!(
            [Reconcile, ForceComplete, ResetToClaimed, Evict].map(DecisionKind::as_str),
            ["reconcile", "force_complete", "reset_to_claimed", "evict"]
        );
    }

    #[test]
    fn only_a_lapsed_execution_is_uncertain() {
        let (until, second) = (StoreTime::from_micros(10_000_000), Duration::from_secs(1));
        let (before, after) = (StoreTime::from_micros(9_999_999), until.plus(second));
        for state in State::ALL {
            let record = Record { state, lease_until: until, ..Record::absent() };
            assert!(!record.is_uncertain(before), "{state}");
            assert_eq!(record.is_uncertain(until), state == State::Executing, "{state}");
            assert_eq!(record.is_uncertain(after), state == State::Executing, "{state}");
        }
    }

    /// A record that lacks nothing in any state.
    fn whole(state: State) -> Record {
        let (at, operator) = (StoreTime::from_micros(1), Label::new("olga").unwrap());
        let decision = Decision {
            op_id: OpId::from_bits(1),
            kind: DecisionKind::Reconcile,
            token: Token::NONE,
            presented: Token::NONE,
            digest: None,
            operator,
            reason: None,
            at,
        };
        let terms = Terms::new(Duration::from_secs(1), Duration::from_secs(2)).unwrap();
        Record {
            state,
            claim_id: Some(ClaimId::from_bits(1)),
            terms: Some(terms),
            begun_at: Some(at),
            completed_at: Some(at),
            result: Some(RecordedResult::success(crate::Payload::empty())),
            decision: Some(decision),
            ..Record::absent()
        }
    }

    #[test]
    fn a_record_without_a_field_that_its_state_needs_is_flawed() {
        use State::{Claimed, Completed, Executing, Reconciling};
        type Damage = fn(Record) -> Record;
        let damages: [(Damage, &[State], &str); 6] = [
            (|r| Record { claim_id: None, ..r }, &[Claimed, Executing], "held, without a claim id or terms"),
            (|r| Record { terms: None, ..r }, &[Claimed, Executing], "held, without a claim id or terms"),
            (|r| Record { begun_at: None, ..r }, &[Executing], "executing, and never begun"),
            (|r| Record { result: None, ..r }, &[Completed], "completed, without a result"),
            (|r| Record { completed_at: None, ..r }, &[Completed], "completed, without a result"),
            (|r| Record { decision: None, ..r }, &[Reconciling], "reconciling, without a decision"),
        ];
        for state in State::ALL {
            assert_eq!(whole(state).flaw(), None, "{state}");
            for (damage, flawed, flaw) in damages {
                let expected = flawed.contains(&state).then_some(flaw);
                assert_eq!(damage(whole(state)).flaw(), expected, "{state}, {flaw}");
            }
        }
    }
}
