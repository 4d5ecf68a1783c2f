//! The settings that calls share: of a client, or of one call.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::requested::{RequestedExecution, RequestedTerms};

/// Settings for calls. [`Sentinel::policy`](crate::Sentinel::policy) makes them the default of all calls of a client,
/// and [`Once::policy`](crate::Once::policy) applies them to one call.
///
/// A setting that a policy does not make leaves what is below it: the client's policy, and below that the defaults of
/// [`Once`](crate::Once) and [`LeaseRequest`](crate::LeaseRequest). A method of a request that is called after `policy`
/// wins over it. Values are checked when a call is made: a call with an invalid one is an error, and sends nothing.
///
/// A policy also classifies errors, by their type. One policy of a client can therefore serve calls that fail with
/// different types of error; a call uses the rules for its own type. All rules apply that a client's policy, a call's
/// policy and the call itself make. If an error is selected as *nothing happened* and as *failed for good*, its outcome
/// is unknown.
///
/// ```
/// # mod sentinel { pub mod policy { pub use sentinel_client::Policy; } pub use sentinel_client::*; }
/// use std::io::{Error, ErrorKind};
/// use std::time::Duration;
///
/// use sentinel::policy::Policy;
///
/// # fn with(client: sentinel::Sentinel) -> sentinel::Sentinel {
/// let payments = Policy::new()
///     .ttl(Duration::from_secs(10))
///     .hard_ttl(Duration::from_secs(60))
///     .nothing_happened_if::<Error>(|error| error.kind() == ErrorKind::ConnectionRefused);
/// client.policy(payments)
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "a policy has no effect before a client or a call gets it"]
pub struct Policy {
    ttl: Option<Duration>,
    hard_ttl: Option<Duration>,
    late_effects: Option<Duration>,
    pub(crate) wait: Option<Duration>,
    pub(crate) confirm_within: Option<Duration>,
    retention: Option<Option<Duration>>,
    payload_limit: Option<usize>,
    pub(crate) classes: ClassesByType,
}

impl Policy {
    /// A policy that makes no setting.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a worker may send no heartbeat before its run is uncertain or its lease is lost. For executions and
    /// leases; see [`Once::ttl`](crate::Once::ttl).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long a run may take, or a lease can be held, in total. For executions and leases; see
    /// [`Once::hard_ttl`](crate::Once::hard_ttl).
    pub fn hard_ttl(mut self, hard_ttl: Duration) -> Self {
        self.hard_ttl = Some(hard_ttl);
        self
    }

    /// How long after the end of a run its effects may still land; see
    /// [`Once::late_effects`](crate::Once::late_effects).
    pub fn late_effects(mut self, at_most: Duration) -> Self {
        self.late_effects = Some(at_most);
        self
    }

    /// How long a call waits for another call's run or lease. For executions and leases, and for
    /// [`Sentinel::wait`](crate::Sentinel::wait); see [`Once::wait`](crate::Once::wait).
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.wait = Some(at_most);
        self
    }

    /// How long a call waits for the confirmation of its result; see
    /// [`Once::confirm_within`](crate::Once::confirm_within).
    pub fn confirm_within(mut self, at_most: Duration) -> Self {
        self.confirm_within = Some(at_most);
        self
    }

    /// How long a result is kept after completion; `None`: without limit. Also for `once_in_transaction`; see
    /// [`Once::retention`](crate::Once::retention).
    pub fn retention(mut self, retention: impl Into<Option<Duration>>) -> Self {
        self.retention = Some(retention.into());
        self
    }

    /// The maximum size of a stored result in bytes. Also for `once_in_transaction`; see
    /// [`Once::payload_limit`](crate::Once::payload_limit).
    pub fn payload_limit(mut self, bytes: usize) -> Self {
        self.payload_limit = Some(bytes);
        self
    }

    /// Selects the errors of type `E` that prove that nothing happened; see
    /// [`Once::nothing_happened_if`](crate::Once::nothing_happened_if). A call whose function fails with another type
    /// does not use the rule, even if an `E` is inside its error.
    pub fn nothing_happened_if<E: 'static>(
        mut self,
        predicate: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.classes.nothing_happened.push(of_type(predicate));
        self
    }

    /// Selects the errors of type `E` that are final; see
    /// [`Once::failed_for_good_if`](crate::Once::failed_for_good_if). A call whose function fails with another type
    /// does not use the rule.
    pub fn failed_for_good_if<E: 'static>(
        mut self,
        predicate: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.classes.failed_for_good.push(of_type(predicate));
        self
    }

    /// This policy under another one: what `above` sets wins, and the rules for errors of both apply.
    pub fn overridden_by(mut self, above: Self) -> Self {
        self.classes.add(&above.classes);
        Self {
            ttl: above.ttl.or(self.ttl),
            hard_ttl: above.hard_ttl.or(self.hard_ttl),
            late_effects: above.late_effects.or(self.late_effects),
            wait: above.wait.or(self.wait),
            confirm_within: above.confirm_within.or(self.confirm_within),
            retention: above.retention.or(self.retention),
            payload_limit: above.payload_limit.or(self.payload_limit),
            classes: self.classes,
        }
    }

    /// Applies what this policy sets to the terms of a request.
    pub(crate) fn apply_to_terms(&self, terms: &mut RequestedTerms) {
        terms.ttl = self.ttl.unwrap_or(terms.ttl);
        terms.hard_ttl = self.hard_ttl.or(terms.hard_ttl);
        terms.late_effects = self.late_effects.unwrap_or(terms.late_effects);
    }

    /// Applies what this policy sets to the settings that `once` and `once_in_transaction` share.
    #[doc(hidden)]
    pub fn apply_to_execution(&self, execution: &mut RequestedExecution) {
        execution.retention = self.retention.unwrap_or(execution.retention);
        execution.payload_limit = self.payload_limit.unwrap_or(execution.payload_limit);
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut policy = f.debug_struct("Policy");
        policy.field("ttl", &self.ttl).field("hard_ttl", &self.hard_ttl);
        policy.field("late_effects", &self.late_effects).field("wait", &self.wait);
        policy.field("confirm_within", &self.confirm_within).field("retention", &self.retention);
        policy.field("payload_limit", &self.payload_limit).finish_non_exhaustive()
    }
}

/// A predicate on errors of one type. It selects no error of another type.
type Selector = Arc<dyn Fn(&dyn Any) -> bool + Send + Sync>;

fn of_type<E: 'static>(predicate: impl Fn(&E) -> bool + Send + Sync + 'static) -> Selector {
    Arc::new(move |error| error.downcast_ref::<E>().is_some_and(&predicate))
}

/// What errors imply about the effect, for any number of types.
#[derive(Clone, Default)]
pub(crate) struct ClassesByType {
    nothing_happened: Vec<Selector>,
    failed_for_good: Vec<Selector>,
}

impl ClassesByType {
    pub(crate) fn add(&mut self, more: &Self) {
        self.nothing_happened.extend_from_slice(&more.nothing_happened);
        self.failed_for_good.extend_from_slice(&more.failed_for_good);
    }

    pub(crate) fn is_nothing_happened(&self, error: &dyn Any) -> bool {
        self.nothing_happened.iter().any(|selects| selects(error))
    }

    pub(crate) fn is_failed_for_good(&self, error: &dyn Any) -> bool {
        self.failed_for_good.iter().any(|selects| selects(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_policy_above_wins_where_it_makes_a_setting() {
        let below = Policy::new().ttl(SECOND).hard_ttl(SECOND * 2).retention(SECOND).payload_limit(7);
        let above = Policy::new().ttl(SECOND * 3).retention(None).wait(SECOND);
        let both = below.overridden_by(above);
        let (mut terms, mut execution) = (RequestedTerms::DEFAULT, RequestedExecution::DEFAULT);
        both.apply_to_terms(&mut terms);
        both.apply_to_execution(&mut execution);
        assert_eq!((terms.ttl, terms.hard_ttl), (SECOND * 3, Some(SECOND * 2)));
        assert_eq!(terms.late_effects, RequestedTerms::DEFAULT.late_effects);
        assert_eq!((execution.retention, execution.payload_limit), (None, 7));
        assert_eq!((both.wait, both.confirm_within), (Some(SECOND), None));
    }

    #[test]
    fn a_policy_without_settings_changes_nothing() {
        let (mut terms, mut execution) = (RequestedTerms::DEFAULT, RequestedExecution::DEFAULT);
        (terms.hard_ttl, execution.retention) = (Some(SECOND), Some(SECOND));
        Policy::new().apply_to_terms(&mut terms);
        Policy::new().apply_to_execution(&mut execution);
        assert_eq!((terms.hard_ttl, execution.retention), (Some(SECOND), Some(SECOND)));
    }

    #[test]
    fn a_rule_selects_errors_of_its_own_type_only() {
        let low = |n: &u8| *n < 5;
        let policy = Policy::new().nothing_happened_if::<u8>(low).failed_for_good_if::<&str>(|e| *e == "no");
        let classes = policy.overridden_by(Policy::new().nothing_happened_if(|n: &u8| *n == 9)).classes;
        assert_eq!([3u8, 9, 7].map(|n| classes.is_nothing_happened(&n)), [true, true, false]);
        assert!(!classes.is_nothing_happened(&3u16) && !classes.is_failed_for_good(&3u8));
        assert!(classes.is_failed_for_good(&"no") && !classes.is_failed_for_good(&"no".to_owned()));
    }
}
