//! What generated tests do: steps in symbols ("the latest grant of worker 2"), so that a shrunk sequence still means
//! something. Pools are small on purpose: ids, tokens and deadlines have to meet.

use std::fmt;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use sentinel_core::operation::Phase;
use sentinel_core::store::VisibleState;
use sentinel_core::{
    Accepts, Address, By, Cause, ClaimId, Fingerprint, Key, Kind, Label, Namespace, OpId, Payload,
    RecordedResult, Root, Terms, Token, TraceId,
};

use super::fixtures::STATES;

/// How many workers there are, each with [`CALLS`] calls of its own.
pub(crate) const WORKERS: u8 = 3;
/// Calls, and so claim ids, of one worker. With three workers there are more than the eight that a record remembers.
pub(crate) const CALLS: u8 = 4;
/// Decisions, and so op ids, that operators share.
pub(crate) const DECISIONS: u8 = 4;

/// The three addresses of a sequence. The lease has the key of the first execution: neither may hide the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRef {
    Execution,
    Neighbour,
    Lease,
}

impl KeyRef {
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
    /// The grant of the record, of any worker.
    Current,
    /// The last grant that this worker received.
    Latest(u8),
    /// The one before.
    Older(u8),
    /// The record's token under a claim id of this worker's.
    OtherClaim(Call),
    /// The record's claim id under the token before.
    OtherToken,
}

/// Which token an operator has read or holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpectedToken {
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
pub(crate) enum Request {
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
        seen: ExpectedToken,
        even_if_alive: bool,
        steal: bool,
    },
    ForceComplete {
        by: Decider,
        seen: ExpectedToken,
        result: u8,
    },
    Reset {
        by: Decider,
        seen: ExpectedToken,
        accept_overlap: bool,
    },
    Evict {
        by: Decider,
        seen: ExpectedToken,
    },
    /// Exactly the request that was sent this number of requests ago: a late duplicate.
    Again(u8),
    /// Exactly the last decision that was sent, however long ago.
    DecideAgain,
}

/// A deadline of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    Lease,
    Hard,
    Retention,
    Rest,
}

/// How time passes: by an amount, or to the microsecond before, at, or after a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    By(Duration),
    To { target: KeyRef, deadline: Deadline, micros: i64 },
}

/// One step of a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Send {
        target: KeyRef,
        request: Request,
    },
    Advance(Passing),
    /// The clock is set back, where the harness can.
    SetBack(Duration),
    /// Heartbeats in one batch.
    Beats(Vec<(KeyRef, Presented)>),
    Purge {
        limit: u32,
        dry_run: bool,
    },
    List {
        kind: Kind,
        shown: Option<VisibleState>,
        after: bool,
        limit: u32,
    },
}

/// The terms that claims ask for.
pub(crate) fn terms(n: u8) -> Terms {
    let (ttl, hard) = [(100, 100), (100, 250), (1_000, 10_000), (50, 60_000)][usize::from(n) % 4];
    let ms = Duration::from_millis;
    let terms = Terms::new(ms(ttl), ms(hard)).and_then(|terms| terms.with_late_effects(late_effects(n)));
    terms.unwrap_or_else(|invalid| unreachable!("{invalid}"))
}

/// How late effects may land.
pub(crate) fn late_effects(n: u8) -> Duration {
    Duration::from_millis([0, 150, 5_000][usize::from(n) % 3])
}

/// What callers can decode: most results, or none.
pub(crate) fn accepts(n: u8) -> Accepts {
    match n % 3 {
        0 => Accepts::any(),
        1 => Accepts::json(),
        _ => Accepts::new(["text/plain; charset=utf-8", "Image/PNG"]).unwrap_or_else(|e| unreachable!("{e}")),
    }
}

/// Why a claim was made: without a trace, in a trace, or by another run.
pub(crate) fn cause(n: u8) -> Option<Cause> {
    let cause = |root| Root::new(root).map(Cause::new);
    let child = |cause: Cause| {
        let (namespace, key) = (Namespace::new("orders")?, Key::new("a b")?);
        cause.child(By { address: Address::execution(namespace, key), token: Token::MAX })
    };
    let made = match n % 4 {
        0 => return None,
        1 => cause("order-42"),
        2 => cause("order \"43\"").and_then(|cause| Ok(cause.with_trace(TraceId::from_bits(43)?))),
        _ => cause("€").and_then(child),
    };
    Some(made.unwrap_or_else(|invalid| unreachable!("{invalid}")))
}

/// What a claim is about.
pub(crate) fn about(n: u8) -> Option<Label> {
    [None, Some("an order of O'Neil"), Some("€")][usize::from(n) % 3].map(Label::lossy)
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
pub(crate) fn result(n: u8) -> RecordedResult {
    let json = |text: &'static str| Payload::new(Payload::JSON, text.as_bytes());
    match n % 4 {
        0 => RecordedResult::success(json("1")),
        1 => RecordedResult { code: Some(0), ..RecordedResult::success(json("2")) },
        2 => RecordedResult::failure(Some(3), Payload::new(Payload::OCTETS, &b"\0\xff"[..])),
        _ => RecordedResult { omitted: true, ..RecordedResult::success(Payload::empty()) },
    }
}

/// Causes of abandons and reasons of decisions.
pub(crate) fn reason(n: u8) -> Label {
    Label::lossy(["it panicked", "it \"timed out\"; sagte Jürgen"][usize::from(n) % 2])
}

/// Sequences of 4 to 40 steps.
pub(crate) fn sequences() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 4..=40)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        76 => (target(), request()).prop_map(|(target, request)| Step::Send { target, request }),
        18 => passing().prop_map(Step::Advance),
        2 => vec((target(), presented()), 0..4).prop_map(Step::Beats),
        2 => weighted(&[(1, 30), (1, 200_000), (3, 30_000_000_000)])
            .prop_map(|micros| Step::SetBack(Duration::from_micros(micros))),
        3 => (limit(), prop::bool::weighted(0.2))
            .prop_map(|(limit, dry_run)| Step::Purge { limit, dry_run }),
        2 => (kind(), shown(), any::<bool>(), limit())
            .prop_map(|(kind, shown, after, limit)| Step::List { kind, shown, after, limit }),
    ]
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let claim = (call(), 0..4u8, 0..3u8, fingerprint_choice(), phase());
    let flags = (prop::bool::weighted(0.3), prop::bool::weighted(0.4));
    prop_oneof![
        20 => claim.prop_map(|(call, terms, retention, fingerprint, phase)| Request::Claim {
            call, terms, retention, fingerprint, phase,
        }),
        9 => presented().prop_map(Request::Begin),
        8 => presented().prop_map(Request::Heartbeat),
        7 => (presented(), 0..4u8).prop_map(|(grant, result)| Request::Complete { grant, result }),
        4 => call().prop_map(Request::Cancel),
        5 => (presented(), any::<bool>()).prop_map(|(grant, vouched)| Request::Release { grant, vouched }),
        4 => (presented(), 0..2u8).prop_map(|(grant, cause)| Request::Abandon { grant, cause }),
        9 => (decider(), seen(), flags).prop_map(|(by, seen, (even_if_alive, steal))| Request::Reconcile {
            by, seen, even_if_alive, steal,
        }),
        5 => (decider(), seen(), 0..4u8).prop_map(|(by, seen, result)| Request::ForceComplete { by, seen, result }),
        5 => (decider(), seen(), any::<bool>())
            .prop_map(|(by, seen, accept_overlap)| Request::Reset { by, seen, accept_overlap }),
        4 => (decider(), seen()).prop_map(|(by, seen)| Request::Evict { by, seen }),
        9 => (1..8u8).prop_map(Request::Again),
        5 => Just(Request::DecideAgain),
    ]
}

/// One of these choices by weight; simpler ones first. Cheaper than a union of as many strategies.
fn weighted<T: Clone + fmt::Debug + 'static>(choices: &[(usize, T)]) -> impl Strategy<Value = T> + use<T> {
    let all = choices.iter().flat_map(|(weight, choice)| std::iter::repeat_n(choice.clone(), *weight));
    prop::sample::select(all.collect::<Vec<_>>())
}

fn target() -> impl Strategy<Value = KeyRef> {
    weighted(&[(8, KeyRef::Execution), (1, KeyRef::Neighbour), (3, KeyRef::Lease)])
}

fn calls() -> impl Iterator<Item = Call> {
    (0..WORKERS).flat_map(|worker| (0..CALLS).map(move |call| Call { worker, call }))
}

fn call() -> impl Strategy<Value = Call> {
    prop::sample::select(calls().collect::<Vec<_>>())
}

fn decider() -> impl Strategy<Value = Decider> {
    let of = |operator| (0..DECISIONS).map(move |decision| Decider { operator, decision });
    prop::sample::select((0..2).flat_map(of).collect::<Vec<_>>())
}

fn presented() -> impl Strategy<Value = Presented> {
    let mut choices = vec![(150, Presented::Current), (12, Presented::OtherToken)];
    choices.extend((0..WORKERS).map(|worker| (16, Presented::Latest(worker))));
    choices.extend((0..WORKERS).map(|worker| (8, Presented::Older(worker))));
    choices.extend(calls().map(|call| (1, Presented::OtherClaim(call))));
    weighted(&choices)
}

fn seen() -> impl Strategy<Value = ExpectedToken> {
    weighted(&[(8, ExpectedToken::Current), (2, ExpectedToken::Previous), (1, ExpectedToken::Next)])
}

fn phase() -> impl Strategy<Value = Phase> {
    weighted(&[(3, Phase::Claimed), (2, Phase::Executing)])
}

fn fingerprint_choice() -> impl Strategy<Value = u8> {
    weighted(&[(3, 0), (2, 1), (1, 2)])
}

fn kind() -> impl Strategy<Value = Kind> {
    weighted(&[(1, Kind::Execution), (1, Kind::Lease)])
}

fn limit() -> impl Strategy<Value = u32> {
    weighted(&[(1, 1000), (1, 1)])
}

fn shown() -> impl Strategy<Value = Option<VisibleState>> {
    let mut choices = vec![(3, None)];
    choices.extend(STATES.map(|shown| (1, Some(shown))));
    weighted(&choices)
}

fn passing() -> impl Strategy<Value = Passing> {
    let amounts = [1, 50_000, 100_000, 1_000_000, 61_000_000, 3_600_000_001, 7_300_000_000];
    let mut choices: Vec<_> = amounts.map(|by| (12, Passing::By(Duration::from_micros(by)))).into();
    for (target, likely) in [(KeyRef::Execution, 3), (KeyRef::Neighbour, 1), (KeyRef::Lease, 2)] {
        let deadlines =
            [(Deadline::Lease, 2), (Deadline::Hard, 2), (Deadline::Retention, 1), (Deadline::Rest, 1)];
        for (deadline, often) in deadlines {
            choices
                .extend([0, 1, -1].map(|micros| (likely * often, Passing::To { target, deadline, micros })));
        }
    }
    weighted(&choices)
}

impl fmt::Display for KeyRef {
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

impl fmt::Display for ExpectedToken {
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

impl fmt::Display for Request {
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
            Self::DecideAgain => f.write_str("the last decision again"),
            Self::Again(back) => write!(f, "again the request sent {back} requests before"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { target, request } => write!(f, "{target}: {request}"),
            Self::Advance(Passing::By(by)) => write!(f, "{by:?} pass"),
            Self::Advance(Passing::To { target, deadline, micros }) => {
                write!(f, "time passes to the {deadline:?} deadline of {target} {micros:+} us")
            }
            Self::SetBack(by) => write!(f, "the clock is set back by {by:?}"),
            Self::Beats(beats) => {
                f.write_str("one batch of heartbeats")?;
                beats.iter().try_for_each(|(target, grant)| write!(f, "; {target}: with {grant}"))
            }
            Self::Purge { limit, dry_run } => write!(f, "purge, limit {limit}, dry run {dry_run}"),
            Self::List { kind, shown, after, limit } => {
                let shown = shown.map_or("all", VisibleState::as_str);
                let after = if *after { ", after \"a\"" } else { "" };
                write!(f, "list {kind}s, {shown}, limit {limit}{after}")
            }
        }
    }
}
