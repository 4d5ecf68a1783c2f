//! The answer to "why is this key in this state, and what can be done now?"

use sentinel_core::store::VisibleState;
use sentinel_core::{Label, StoreTime, Token};
use serde::Serialize;

use super::text::Text;
use crate::command_line::Arg;

/// The story of a key: what happened, in which state it is, and what is possible now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The state in one sentence, and who acts next.
    pub headline: Headline,
    /// What happened, oldest first, and then what it means for callers.
    pub sentences: Vec<Sentence>,
    /// The state at the time of the story; of an absent record it is free.
    pub state: VisibleState,
    /// Until when the run may still act; None: it may not.
    pub may_still_run: Option<StoreTime>,
    /// The steps that are possible now, or from a stated time on, most useful first.
    pub next: Vec<Step>,
    /// What the events do not show.
    pub gaps: Vec<Gap>,
}

/// The state in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headline {
    /// The sentence.
    pub text: Text,
    /// Who acts next.
    pub next: Actor,
}

/// Who acts next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// No one: the result is recorded.
    None,
    /// Any caller.
    Caller,
    /// The worker that holds the key.
    Worker,
    /// An operator, or a reconciler by code.
    Operator,
}

/// What happened, and which revs record it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// When it happened; None: it belongs to the sentence before, or to the present.
    pub at: Option<StoreTime>,
    /// The worker or the operator.
    pub who: Option<Label>,
    /// The sentence.
    pub text: Text,
    /// The revs of the events and heartbeats that the sentence reports.
    pub revs: Vec<Rev>,
}

/// Revs in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Rev {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Rev {
    /// One rev.
    pub fn one(rev: u64) -> Self {
        Self { first: rev, last: rev }
    }

    /// How many there are.
    pub fn count(self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

impl std::fmt::Display for Rev {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// What can be done now, or from a time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The kind of step.
    pub act: Act,
    /// The sentence that offers it.
    pub why: Text,
    /// What it costs.
    pub risk: Risk,
    /// From when on it is possible if the record does not change; None: now.
    pub possible_from: Option<StoreTime>,
    /// The command of the program; empty: none.
    pub command: Vec<Arg>,
    /// The request.
    pub call: Call,
}

/// Kinds of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Run the work, as any caller can.
    Run,
    /// Nothing is to be done.
    Nothing,
    /// Wait for the worker, or for a time.
    Wait,
    /// Wait for a reconciler by code.
    WaitForReconciler,
    /// Search the provider for the idempotency key.
    AskProvider,
    /// Ask the operator who holds the key.
    AskOperator,
    /// Take the key and record that it happened.
    SettleHappened,
    /// Take the key and record that it did not happen.
    SettleDidNotHappen,
    /// Take the key.
    Reconcile,
    /// Take the key although its worker is alive.
    ReconcileAlive,
    /// Take the key over from another operator.
    Steal,
    /// Record that it happened, for a key that is taken.
    ForceComplete,
    /// Record that it did not happen, for a key that is taken.
    Reset,
    /// The same, while an effect of the earlier run may still land.
    ResetWithOverlap,
    /// Free a claim or a lease.
    Evict,
    /// Check the deployment.
    Doctor,
    /// Compare with the outside world.
    Compare,
    /// Accept the store again.
    Init,
}

/// What a step costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// It changes nothing.
    None,
    /// The work runs.
    Runs,
    /// A later result of the earlier run is refused.
    Fences,
    /// The holder's later requests are refused.
    EndsClaim,
    /// The worker is alive, and its result is refused.
    WorkerAlive,
    /// The result is final: callers get it from now on.
    Final,
    /// The work can run again.
    RunsAgain,
    /// Two runs may overlap.
    MayOverlap,
    /// The other operator's decision is refused.
    TakesOver,
    /// Decisions that rest on this store's records may be wrong.
    DecideNothing,
    /// From now on what the store has is trusted.
    AcceptsLoss,
}

impl Risk {
    /// The risk in words; None: there is none.
    pub fn sentence(self) -> Option<&'static str> {
        Some(match self {
            Self::None | Self::Runs => return None,
            Self::Fences => "the earlier run's result is then refused",
            Self::EndsClaim => "the holder's later requests are then refused",
            Self::WorkerAlive => "it is working, and its result is then refused",
            Self::Final => "final: callers get it from now on",
            Self::RunsAgain => "the work can then run again",
            Self::MayOverlap => "two runs may then overlap",
            Self::TakesOver => "that operator's decision is then refused",
            Self::DecideNothing => "a decision may rest on wrong records",
            Self::AcceptsLoss => "what was lost then counts as never recorded",
        })
    }
}

/// The request of a step, for an API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the request's")]
pub enum Call {
    /// None: the step is outside of the store.
    None,
    /// A claim, as any caller sends it.
    Claim,
    /// [`Reconcile`](sentinel_core::operation::Reconcile).
    Reconcile { expect: Token, even_if_alive: bool, steal: bool },
    /// [`ForceComplete`](sentinel_core::operation::ForceComplete). The content type is one that callers can decode.
    ForceComplete { token: Token, content_type: String },
    /// [`ResetToClaimed`](sentinel_core::operation::ResetToClaimed).
    Reset { token: Token, accept_overlap: bool },
    /// [`Evict`](sentinel_core::operation::Evict).
    Evict { expect: Token },
    /// Reconcile, then force-complete.
    SettleHappened { expect: Token, content_type: String },
    /// Reconcile, then reset.
    SettleDidNotHappen { expect: Token },
}

/// What a story lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "gap", rename_all = "kebab-case")]
pub enum Gap {
    /// Events before this rev were dropped, because the record has too many.
    EventsDropped {
        /// The rev of the oldest event that is kept.
        before_rev: u64,
    },
    /// Older events exist and were not read.
    EventsNotRead,
    /// The record and its events disagree.
    LogDiffers,
    /// The store may have lost data.
    StoreDistrusted,
}
