//! Fewer steps. Proptest takes single steps away and makes each simpler; what it leaves often holds steps that only go
//! in pairs (a claim and its eviction), or to which only others refer (again the request sent three requests before).

use sentinel_core::operation::Phase;

use crate::coordination::generate::{Request, Step};

/// The most sequences that are tried.
const TRIES: u32 = 4_000;

/// The shortest sequence found that still fails, and how it fails.
pub(super) fn shrink(
    steps: Vec<Step>,
    how: String,
    fails: impl FnMut(&[Step]) -> Option<String>,
) -> (Vec<Step>, String) {
    let mut shrinking = Shrinking { steps, how, tries: 0, fails };
    while shrinking.tries < TRIES
        && (shrinking.plainer() || shrinking.without_one() || shrinking.without_two())
    {}
    (shrinking.steps, shrinking.how)
}

struct Shrinking<F> {
    steps: Vec<Step>,
    how: String,
    tries: u32,
    fails: F,
}

impl<F: FnMut(&[Step]) -> Option<String>> Shrinking<F> {
    /// Keeps the candidate if it fails, too.
    fn keeps(&mut self, candidate: Vec<Step>) -> bool {
        self.tries += 1;
        if self.tries > TRIES {
            return false;
        }
        let Some(how) = (self.fails)(&candidate) else { return false };
        (self.steps, self.how) = (candidate, how);
        true
    }

    /// Replaces a reference to an earlier request by the request itself.
    fn plainer(&mut self) -> bool {
        (0..self.steps.len()).any(|n| {
            let plain = self.first_sent(n);
            plain.is_some_and(|request| {
                let mut candidate = self.steps.clone();
                if let Step::Send { request: again, .. } = &mut candidate[n] {
                    *again = request;
                }
                self.keeps(candidate)
            })
        })
    }

    fn first_sent(&self, n: usize) -> Option<Request> {
        let Step::Send { target, request: Request::Again(back) } = &self.steps[n] else { return None };
        let mut before = self.steps[..n].iter().rev().filter_map(|step| match step {
            Step::Send { target: other, request } if other == target => Some(request),
            _ => None,
        });
        before.nth(usize::from(*back).saturating_sub(1)).cloned()
    }

    fn without_one(&mut self) -> bool {
        (0..self.steps.len()).rev().any(|n| {
            let mut candidate = self.steps.clone();
            candidate.remove(n);
            self.keeps(candidate)
        })
    }

    /// Without two steps; or without one, and a claim that begins at once instead.
    fn without_two(&mut self) -> bool {
        let pairs = (0..self.steps.len()).flat_map(|n| (0..n).map(move |m| (m, n)));
        pairs.collect::<Vec<_>>().into_iter().any(|(first, second)| {
            let mut candidate = self.steps.clone();
            candidate.remove(second);
            if let Step::Send { request: Request::Claim { phase, .. }, .. } = &mut candidate[first]
                && *phase == Phase::Claimed
            {
                *phase = Phase::Executing;
                if self.keeps(candidate.clone()) {
                    return true;
                }
            }
            candidate.remove(first);
            self.keeps(candidate)
        })
    }
}
