//! What the errors of one call imply about the effect.

use super::policy::ClassesByType;

type Predicate<E> = Box<dyn Fn(&E) -> bool + Send + Sync>;

/// The rules for the errors of a call: its own, and those of its policies.
pub(crate) struct Classes<E> {
    pub(crate) nothing_happened: Vec<Predicate<E>>,
    pub(crate) failed_for_good: Vec<Predicate<E>>,
    pub(crate) by_type: ClassesByType,
}

/// What an error implies about the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    NothingHappened,
    FailedForGood,
    Unknown,
}

impl<E> Default for Classes<E> {
    fn default() -> Self {
        Self { nothing_happened: Vec::new(), failed_for_good: Vec::new(), by_type: ClassesByType::default() }
    }
}

impl<E: 'static> Classes<E> {
    /// An error that no rule selects, or that two rules contradict each other about, has an unknown outcome.
    pub(crate) fn of(&self, error: &E) -> Class {
        let any = |predicates: &[Predicate<E>]| predicates.iter().any(|predicate| predicate(error));
        let nothing_happened = any(&self.nothing_happened) || self.by_type.is_nothing_happened(error);
        let failed_for_good = any(&self.failed_for_good) || self.by_type.is_failed_for_good(error);
        match (nothing_happened, failed_for_good) {
            (true, false) => Class::NothingHappened,
            (false, true) => Class::FailedForGood,
            (true, true) | (false, false) => Class::Unknown,
        }
    }
}
