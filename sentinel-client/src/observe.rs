//! What the client reports about its requests and calls. Namespace and token are fields; keys are, if the client
//! enables `trace_keys`.

use sentinel_core::operation::Stamped;
use sentinel_core::{Address, StoreError, Token};
use tracing::{Span, field};

use super::outcome::{NotRun, Outcome};
use super::shared::Core;
use super::signals::answers::Named;
use super::signals::events::Origin;
use super::signals::meters::Took;

impl Core {
    /// The key, or `-` if keys are not traced.
    pub(crate) fn shown<'a>(&self, address: &'a Address) -> &'a str {
        if self.show_keys { address.key.as_str() } else { "-" }
    }

    /// The span of a call of `once`.
    pub(crate) fn span(&self, address: &Address) -> Span {
        tracing::info_span!(
            target: "sentinel",
            "sentinel.once",
            otel.kind = "internal",
            otel.status_code = field::Empty,
            "error.type" = field::Empty,
            sentinel.namespace = address.namespace.as_str(),
            sentinel.key = self.show_keys.then(|| address.key.as_str()),
            sentinel.outcome = field::Empty,
            sentinel.token = field::Empty,
            sentinel.incarnation = field::Empty,
            sentinel.caller_gone = field::Empty,
        )
    }

    /// Reports a request that was answered.
    pub(crate) fn answered<R: Named>(&self, address: &Address, stamped: &Stamped<R>, took: Took) {
        self.meters.answered(&address.namespace, &stamped.reply, took);
        let stamp = &stamped.stamp;
        tracing::debug!(
            target: "sentinel",
            operation = R::operation(),
            reply = stamped.reply.word(),
            namespace = address.namespace.as_str(),
            key = self.shown(address),
            token = stamp.token.get(),
            rev = stamp.rev,
            state = stamp.state.as_str(),
            changed = stamp.changed,
            "answered"
        );
    }

    /// Reports a request that the store did not answer.
    pub(crate) fn unanswered<R: Named>(&self, address: &Address, error: &StoreError) {
        self.meters.unanswered::<R>(&address.namespace);
        self.unsound.report(self.meters.store(), error);
        let (operation, namespace, key) = (R::operation(), address.namespace.as_str(), self.shown(address));
        tracing::debug!(target: "sentinel", operation, namespace, key, %error, "the store did not answer");
    }

    /// The origin of an event about a record.
    pub(crate) fn origin<'a>(&self, address: &'a Address, token: Token, span: &'a Span) -> Origin<'a> {
        Origin { address, token, show_keys: self.show_keys, span }
    }

    /// Reports the outcome of a call that was granted its key, once, also if its caller has gone.
    pub(crate) fn ran<T, E>(&self, origin: &Origin<'_>, outcome: &Outcome<T, E>, took: Took) {
        self.meters.ended(&origin.address.namespace, outcome.name(), Some(took));
        mark(origin.span, outcome);
        match outcome {
            Outcome::RanUncertain(doubt) => origin.ran_uncertain(&doubt.cause),
            Outcome::Unconfirmed(_) => origin.unconfirmed(),
            Outcome::Superseded(_, current) => origin.superseded(*current),
            Outcome::CompletedNotStored(_, why) => origin.result_not_stored(why),
            Outcome::Completed(_) => origin.step("completed"),
            _ => {}
        }
    }

    /// Reports the outcome of a call that was not granted its key.
    pub(crate) fn refused<T, E>(&self, address: &Address, span: &Span, outcome: Option<&Outcome<T, E>>) {
        self.meters.ended(&address.namespace, outcome.map_or("error", Outcome::name), None);
        match outcome {
            Some(outcome) => mark(span, outcome),
            None => drop(span.record("sentinel.outcome", "error")),
        }
    }
}

/// Records an outcome in the span of its call. An outcome in which something may be wrong is an error of the span;
/// a replay, a refusal or a failure for good is not.
fn mark<T, E>(span: &Span, outcome: &Outcome<T, E>) {
    if span.is_disabled() {
        return;
    }
    span.record("sentinel.outcome", outcome.name());
    let is_error = match outcome {
        Outcome::RanUncertain(_)
        | Outcome::Uncertain(_)
        | Outcome::Unconfirmed(_)
        | Outcome::Superseded(..)
        | Outcome::NotRun(NotRun::Store(_)) => true,
        Outcome::Completed(_)
        | Outcome::CompletedNotStored(..)
        | Outcome::Replayed(_)
        | Outcome::Failed(_)
        | Outcome::InProgress(_)
        | Outcome::Reconciling(_)
        | Outcome::NotRun(_) => false,
    };
    if is_error {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", outcome.name());
    }
}
