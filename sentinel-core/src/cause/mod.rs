//! Causes: which business fact, and which run, a claim belongs to. Operators ask about them days later, across stores.
//! A cause decides nothing: no guard reads it, and it is in no fingerprint.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::address::{Address, has_controls, text_type};
use crate::error::Invalid;
use crate::token::Token;

mod percent;
mod text;
mod trace;

pub use trace::TraceId;

/// The business fact from which work follows, such as `order-42`: 1 to 128 bytes of UTF-8 without control characters,
/// compared byte by byte. It is stored and sent to other services: use an id, not a name of a person.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Root(SmolStr);

impl Root {
    /// The longest root, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Validates a root. Returns an error if it is empty, longer than 128 bytes, or has control characters.
    pub fn new(root: impl AsRef<str>) -> Result<Self, Invalid> {
        let root = root.as_ref();
        if root.is_empty() || root.len() > Self::MAX_BYTES {
            return Err(Invalid::new("root", format!("must be 1 to 128 bytes, is {}", root.len())));
        }
        if has_controls(root) {
            return Err(Invalid::new("root", format!("may not have control characters, is {root:?}")));
        }
        Ok(Self(root.into()))
    }

    /// The root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text_type!(Root);

/// The run that caused a claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct By {
    /// The address of the run's record.
    pub address: Address,
    /// The run's token, not zero.
    pub token: Token,
}

/// Why a claim was made: its root, the run that caused it, the trace in which it happened, and how many runs there are
/// between the root and the claim. Cheap to clone.
///
/// `Display` writes the text that stores keep, and `FromStr` reads it: `TRACE ROOT HOP`, or `TRACE ROOT HOP BY TOKEN`.
/// The trace id is 32 zeros if there is none, and every part is percent-encoded, so no part has a space.
/// [`to_header`](Self::to_header) writes what services send to each other.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cause(Arc<Parts>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Parts {
    root: Root,
    by: Option<By>,
    trace: Option<TraceId>,
    hop: u8,
}

impl Cause {
    /// The largest number of runs between a root and a claim.
    pub const MAX_HOPS: u8 = 32;

    /// The cause of a claim that follows from the root itself.
    pub fn new(root: Root) -> Self {
        Self(Arc::new(Parts { root, by: None, trace: None, hop: 0 }))
    }

    /// The same cause in a trace. It replaces an earlier trace.
    #[must_use]
    pub fn with_trace(self, trace: TraceId) -> Self {
        self.changed(|parts| parts.trace = Some(trace))
    }

    /// The cause of a claim that this run makes: the same root and trace, one hop further. `by` is the run under this
    /// cause. Returns an error past [`MAX_HOPS`](Self::MAX_HOPS), and if the token is zero.
    pub fn child(&self, by: By) -> Result<Self, Invalid> {
        Token::new(by.token.get())?;
        if self.0.hop >= Self::MAX_HOPS {
            let why = format!("must be at most {}: runs cause each other in a circle?", Self::MAX_HOPS);
            return Err(Invalid::new("hop of a cause", why));
        }
        Ok(self.clone().changed(|parts| (parts.by, parts.hop) = (Some(by), parts.hop + 1)))
    }

    fn changed(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The business fact.
    pub fn root(&self) -> &Root {
        &self.0.root
    }

    /// The run that caused the claim; None: the claim follows from the root itself.
    pub fn by(&self) -> Option<&By> {
        self.0.by.as_ref()
    }

    /// The trace in which the claim was made.
    pub fn trace(&self) -> Option<TraceId> {
        self.0.trace
    }

    /// How many runs there are between the root and the claim: 0 to [`MAX_HOPS`](Self::MAX_HOPS).
    pub fn hop(&self) -> u8 {
        self.0.hop
    }
}

impl From<Root> for Cause {
    fn from(root: Root) -> Self {
        Self::new(root)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { root, by, trace, hop } = &*self.0;
        let mut cause = f.debug_struct("Cause");
        cause.field("root", root).field("by", by).field("trace", trace).field("hop", hop).finish()
    }
}

/// What [`Survey::by_cause`](crate::Survey::by_cause) looks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CauseQuery {
    /// All records whose last claim had this root.
    Root(Root),
    /// All records whose last claim was made in this trace.
    Trace(TraceId),
}

impl CauseQuery {
    /// Whether a cause is one of those.
    pub fn matches(&self, cause: &Cause) -> bool {
        match self {
            Self::Root(root) => cause.root() == root,
            Self::Trace(trace) => cause.trace() == Some(*trace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Namespace};

    pub(super) fn run(key: &str, token: u64) -> By {
        let (namespace, key) = (Namespace::new("orders").unwrap(), Key::new(key).unwrap());
        By { address: Address::execution(namespace, key), token: Token::from_stored(token) }
    }

    #[test]
    fn a_root_is_checked_at_the_limits_of_its_length() {
        assert!(Root::new("r".repeat(128)).is_ok() && Root::new("r".repeat(129)).is_err());
        assert!(Root::new("").is_err() && Root::new("a\nb").is_err() && Root::new("a\u{85}b").is_err());
        assert!(Root::new("order 42/ü €").is_ok());
    }

    #[test]
    fn a_child_has_root_and_trace_of_its_parent_and_is_one_hop_further() {
        let trace = TraceId::from_bits(7).unwrap();
        let first = Cause::new(Root::new("order-42").unwrap()).with_trace(trace);
        let child = first.child(run("a", 5)).unwrap();
        assert_eq!((child.root(), child.trace(), child.hop()), (first.root(), Some(trace), 1));
        assert_eq!((child.by(), first.by()), (Some(&run("a", 5)), None));
        assert!(first.child(run("a", 0)).is_err(), "zero is no token");
    }

    #[test]
    fn the_33rd_hop_is_refused() {
        let mut cause = Cause::new(Root::new("order-42").unwrap());
        for hop in 1..=32 {
            cause = cause.child(run("a", hop)).unwrap();
            assert_eq!(u64::from(cause.hop()), hop);
        }
        let refused = cause.child(run("a", 33)).unwrap_err().to_string();
        assert_eq!(refused, "hop of a cause must be at most 32: runs cause each other in a circle?");
    }
}
