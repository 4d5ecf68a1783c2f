//! Named regressions: each describes one failure, from the model's counterexamples or from earlier systems of this
//! kind, and the invariant of spec §5 that it broke. The laws state the rules; these give the reasons.
#![warn(clippy::missing_docs_in_private_items)]

use sentinel_core::Token;

pub(crate) mod counterexamples;
pub(crate) mod earlier_defects;

/// A resource that keeps the highest token that it received (I9).
#[derive(Default)]
struct Fence(Token);

impl Fence {
    /// Whether a write under this token comes through.
    fn accepts(&mut self, token: Token) -> bool {
        let accepted = token > self.0;
        self.0 = self.0.max(token);
        accepted
    }
}
