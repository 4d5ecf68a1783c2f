//! What generated tests do: steps in symbols ("the latest grant of worker 2"), so that a shrunk sequence still means
//! something. Pools are small on purpose: ids, tokens and deadlines have to meet.

use std::fmt;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sentinel_core::operation::Phase;
use sentinel_core::store::Shown;
use sentinel_core::{ClaimId, Fingerprint, Kind, Label, OpId, Payload, Recorded, Terms};

/// How many workers there are, each with [`CALLS`] calls of its own.
pub(crate) const WORKERS: u8 = 3;
/// Calls, and so claim ids, of one worker. With three workers there are more than the eight that a record remembers.
pub(crate) const CALLS: u8 = 4;
/// Decisions, and so op ids, that operators share.
pub(crate) const DECISIONS: u8 = 4;

/// The three addresses of a sequence. The lease stands under the key of the first execution: neither may hide the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Execution,
    Neighbour,
    Lease,
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::Execution, Self::Neighbour, Self::Lease];

    pub(crate) fn kind(self) -> Kind {
        if self == Self::Lease { Kind::Lease } else { Kind::Execution }
    }

    pub(crate) fn key(self) -> &'static str {
        if self == Self::Neighbour { "b" } else { "a" }
    }
}

/// One call of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) worker: u8,
    pub(crate) call: u8,
}

impl Call {
    pub(crate) fn id(self) -> ClaimId {
        ClaimId::from_bits(u128::from(self.worker) << 8 | u128::from(self.call))
    }

    pub(crate) fn worker_of(id: ClaimId) -> usize {
        (id.bits() >> 8) as usize % usize::from(WORKERS)
    }

    pub(crate) fn label(self) -> Label {
        Label::lossy(format!("worker-{}", self.worker))
    }
}

/// Which grant a worker presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presented {
    /// What the record holds, whoever got it.
    Current,
    /// The last grant that this worker was told.
    Latest(u8),
    /// The one before.
    Older(u8),
    /// The record's token under a claim id of this worker's.
    OtherClaim(Call),
    /// The record's claim id under the token before.
    OtherToken,
}

/// Which token an operator saw or holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Current,
    Previous,
    Next,
}

/// Who decides, under which id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decider {
    pub(crate) operator: u8,
    pub(crate) decision: u8,
}

impl Decider {
    pub(crate) fn id(self) -> OpId {
        OpId::from_bits(0xdec0 + u128::from(self.decision))
    }

    pub(crate) fn label(self) -> Label {
        Label::lossy(format!("operator-{}", self.operator))
    }
}

/// A request, in symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Claim {
        call: Call,
        terms: u8,
        retention: u8,
        fingerprint: u8,
        phase: Phase,
    },
    Begin(Presented),
    Heartbeat(Presented),
    Complete {
        grant: Presented,
        result: u8,
    },
    Cancel(Call),
    Release {
        grant: Presented,
        vouched: bool,
    },
    Abandon {
        grant: Presented,
        cause: u8,
    },
    Reconcile {
        by: Decider,
        seen: Seen,
        even_if_alive: bool,
        steal: bool,
    },
    ForceComplete {
        by: Decider,
        seen: Seen,
        result: u8,
    },
    Reset {
        by: Decider,
        seen: Seen,
        accept_overlap: bool,
    },
    Evict {
        by: Decider,
        seen: Seen,
    },
    /// Exactly what was sent so many requests ago: a late duplicate.
    Again(u8),
}

/// A deadline of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Border {
    Lease,
    Hard,
    Retention,
    Rest,
}

/// How time passes: by an amount, or to the microsecond before, at, or after a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    By(Duration),
    To { place: Place, border: Border, micros: i64 },
}

/// One step of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Ask { place: Place, ask: Ask },
    Advance(Passing),
    Purge { limit: u32, dry_run: bool },
    List { kind: Kind, shown: Option<Shown>, after: bool, limit: u32 },
}

/// The terms that claims ask for.
pub(crate) fn terms(n: u8) -> Terms {
    let (ttl, hard) = [(100, 100), (100, 250), (1_000, 10_000), (50, 60_000)][usize::from(n) % 4];
    let ms = Duration::from_millis;
    Terms::new(ms(ttl), ms(hard)).unwrap_or_else(|invalid| unreachable!("{invalid}"))
}

/// How long results are kept.
pub(crate) fn retention(n: u8) -> Option<Duration> {
    [None, Some(Duration::from_millis(200)), Some(Duration::from_secs(7200))][usize::from(n) % 3]
}

/// What requests are about.
pub(crate) fn fingerprint(n: u8) -> Option<Fingerprint> {
    [None, Some("one"), Some("two")][usize::from(n) % 3].map(|text| Fingerprint::of_bytes(text.as_bytes()))
}

/// What functions return and operators record.
pub(crate) fn result(n: u8) -> Recorded {
    let json = |text: &'static str| Payload::new(Payload::JSON, text.as_bytes());
    match n % 4 {
        0 => Recorded::success(json("1")),
        1 => Recorded { code: Some(0), ..Recorded::success(json("2")) },
        2 => Recorded::failure(Some(3), Payload::new(Payload::OCTETS, &b"\0\xff"[..])),
        _ => Recorded { omitted: true, ..Recorded::success(Payload::empty()) },
    }
}

/// Causes of doubt and reasons of decisions.
pub(crate) fn reason(n: u8) -> Label {
    Label::lossy(["it panicked", "it \"timed out\"; sagte Jürgen"][usize::from(n) % 2])
}

/// Sequences of 4 to 40 steps.
pub(crate) fn sequences() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 4..=40)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        76 => (place(), ask()).prop_map(|(place, ask)| Step::Ask { place, ask }),
        18 => passing().prop_map(Step::Advance),
        3 => (prop_oneof![Just(1000u32), Just(1)], prop::bool::weighted(0.2))
            .prop_map(|(limit, dry_run)| Step::Purge { limit, dry_run }),
        2 => (kind(), shown(), any::<bool>(), prop_oneof![Just(1000u32), Just(1)])
            .prop_map(|(kind, shown, after, limit)| Step::List { kind, shown, after, limit }),
    ]
}

pub(crate) fn ask() -> impl Strategy<Value = Ask> {
    let claim = (call(), 0..4u8, 0..3u8, fingerprint_choice(), phase());
    let flags = (prop::bool::weighted(0.3), prop::bool::weighted(0.4));
    prop_oneof![
        20 => claim.prop_map(|(call, terms, retention, fingerprint, phase)| Ask::Claim {
            call, terms, retention, fingerprint, phase,
        }),
        9 => presented().prop_map(Ask::Begin),
        8 => presented().prop_map(Ask::Heartbeat),
        7 => (presented(), 0..4u8).prop_map(|(grant, result)| Ask::Complete { grant, result }),
        4 => call().prop_map(Ask::Cancel),
        5 => (presented(), any::<bool>()).prop_map(|(grant, vouched)| Ask::Release { grant, vouched }),
        4 => (presented(), 0..2u8).prop_map(|(grant, cause)| Ask::Abandon { grant, cause }),
        9 => (decider(), seen(), flags).prop_map(|(by, seen, (even_if_alive, steal))| Ask::Reconcile {
            by, seen, even_if_alive, steal,
        }),
        5 => (decider(), seen(), 0..4u8).prop_map(|(by, seen, result)| Ask::ForceComplete { by, seen, result }),
        5 => (decider(), seen(), any::<bool>())
            .prop_map(|(by, seen, accept_overlap)| Ask::Reset { by, seen, accept_overlap }),
        4 => (decider(), seen()).prop_map(|(by, seen)| Ask::Evict { by, seen }),
        10 => (1..8u8).prop_map(Ask::Again),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![6 => Just(Place::Execution), 1 => Just(Place::Neighbour), 3 => Just(Place::Lease)]
}

fn call() -> impl Strategy<Value = Call> {
    (0..WORKERS, 0..CALLS).prop_map(|(worker, call)| Call { worker, call })
}

fn decider() -> impl Strategy<Value = Decider> {
    (0..2u8, 0..DECISIONS).prop_map(|(operator, decision)| Decider { operator, decision })
}

fn presented() -> impl Strategy<Value = Presented> {
    prop_oneof![
        12 => Just(Presented::Current),
        4 => (0..WORKERS).prop_map(Presented::Latest),
        2 => (0..WORKERS).prop_map(Presented::Older),
        1 => call().prop_map(Presented::OtherClaim),
        1 => Just(Presented::OtherToken),
    ]
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![8 => Just(Seen::Current), 2 => Just(Seen::Previous), 1 => Just(Seen::Next)]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![3 => Just(Phase::Claimed), 2 => Just(Phase::Executing)]
}

fn fingerprint_choice() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0u8), 2 => Just(1), 1 => Just(2)]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Execution), Just(Kind::Lease)]
}

fn shown() -> impl Strategy<Value = Option<Shown>> {
    let all = [Shown::Free, Shown::Claimed, Shown::Executing, Shown::Uncertain, Shown::Completed];
    prop_oneof![Just(None), prop::sample::select(all.to_vec()).prop_map(Some), Just(Some(Shown::Reconciling))]
}

fn passing() -> impl Strategy<Value = Passing> {
    let amounts = [1, 50_000, 100_000, 1_000_000, 61_000_000, 3_600_000_001, 7_300_000_000];
    let border = prop_oneof![
        3 => Just(Border::Lease),
        3 => Just(Border::Hard),
        2 => Just(Border::Retention),
        2 => Just(Border::Rest),
    ];
    prop_oneof![
        prop::sample::select(amounts.to_vec()).prop_map(|by| Passing::By(Duration::from_micros(by))),
        (place(), border, -1..=1i64).prop_map(|(place, border, micros)| Passing::To {
            place,
            border,
            micros
        }),
    ]
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind(), self.key())
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} in call {}", self.worker, self.call)
    }
}

impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the current grant"),
            Self::Latest(worker) => write!(f, "the latest grant of worker {worker}"),
            Self::Older(worker) => write!(f, "the grant of worker {worker} before its latest"),
            Self::OtherClaim(call) => write!(f, "the current token and the claim id of {call}"),
            Self::OtherToken => f.write_str("the current claim id and an older token"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "the current token",
            Self::Previous => "the token before",
            Self::Next => "a token not yet drawn",
        })
    }
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operator {} under op id {}", self.operator, self.decision)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim { call, terms: t, retention: kept, fingerprint: print, phase } => {
                let t = terms(*t);
                write!(f, "claim by {call}, {phase:?}, ttl {:?}, hard {:?}", t.ttl(), t.hard_ttl())?;
                if let Some(kept) = retention(*kept) {
                    write!(f, ", retention {kept:?}")?;
                }
                if *print % 3 > 0 { write!(f, ", fingerprint {print}") } else { Ok(()) }
            }
            Self::Begin(grant) => write!(f, "begin with {grant}"),
            Self::Heartbeat(grant) => write!(f, "heartbeat with {grant}"),
            Self::Complete { grant, result } => write!(f, "complete with {grant}, result {result}"),
            Self::Cancel(call) => write!(f, "cancel by {call}"),
            Self::Release { grant, vouched: true } => write!(f, "vouched release with {grant}"),
            Self::Release { grant, vouched: false } => write!(f, "release with {grant}"),
            Self::Abandon { grant, cause } => write!(f, "abandon with {grant}, cause {cause}"),
            Self::Reconcile { by, seen, even_if_alive, steal } => {
                let alive = if *even_if_alive { ", even if alive" } else { "" };
                let steal = if *steal { ", steal" } else { "" };
                write!(f, "reconcile by {by}, having seen {seen}{alive}{steal}")
            }
            Self::ForceComplete { by, seen, result } => {
                write!(f, "force_complete by {by}, with {seen}, result {result}")
            }
            Self::Reset { by, seen, accept_overlap } => {
                let overlap = if *accept_overlap { ", accepting an overlap" } else { "" };
                write!(f, "reset_to_claimed by {by}, with {seen}{overlap}")
            }
            Self::Evict { by, seen } => write!(f, "evict by {by}, having seen {seen}"),
            Self::Again(back) => write!(f, "again what was asked {back} requests before"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask { place, ask } => write!(f, "{place}: {ask}"),
            Self::Advance(Passing::By(by)) => write!(f, "{by:?} pass"),
            Self::Advance(Passing::To { place, border, micros }) => {
                write!(f, "time passes to the {border:?} deadline of {place} {micros:+} us")
            }
            Self::Purge { limit, dry_run } => write!(f, "purge, limit {limit}, dry run {dry_run}"),
            Self::List { kind, shown, after, limit } => {
                let shown = shown.map_or("all", Shown::as_str);
                let after = if *after { ", after \"a\"" } else { "" };
                write!(f, "list {kind}s, {shown}, limit {limit}{after}")
            }
        }
    }
}
