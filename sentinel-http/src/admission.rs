//! How much work the layer takes on at once: runs, bytes of bodies and waiting callers, and the share of one scope.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::gauge;
use sentinel_client::sentinel_core::Key;

/// The limits of one layer and of all its clones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most requests whose body is read or whose handler runs. Default 1,024.
    pub running: usize,
    /// The most bytes of bodies of those requests. Default 64 MiB.
    pub buffered_bytes: usize,
    /// One scope may use at most one part in this many of `running` and `buffered_bytes`. Default 4.
    pub shares: usize,
    /// The most callers who wait for a run of another caller. Default 4,096.
    pub waiting: usize,
    /// The most callers who wait for one key. Default 64.
    pub waiting_for_one_key: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { running: 1_024, buffered_bytes: 64 << 20, shares: 4, waiting: 4_096, waiting_for_one_key: 64 }
    }
}

/// What is in use. A limit is never waited for: a caller who waits for one would hold what others wait for.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    in_use: Mutex<InUse>,
}

#[derive(Debug, Default)]
struct InUse {
    running: usize,
    bytes: usize,
    by_scope: HashMap<Arc<str>, Share>,
    waiting: usize,
    by_key: HashMap<Key, usize>,
}

#[derive(Debug, Default)]
struct Share {
    running: usize,
    bytes: usize,
}

/// The right to read a body and to run. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    admission: Arc<Admission>,
    scope: Arc<str>,
    bytes: usize,
}

/// The right to wait. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    admission: Arc<Admission>,
    key: Key,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, in_use: Mutex::default() })
    }

    fn in_use(&self) -> MutexGuard<'_, InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a request with this many bytes of body. None: a limit is reached.
    pub(crate) fn run(self: &Arc<Self>, scope: &Arc<str>, bytes: usize) -> Option<Running> {
        let Limits { running, buffered_bytes, shares, .. } = self.limits;
        let shares = shares.max(1);
        let mut in_use = self.in_use();
        let (now, buffered) = (in_use.running, in_use.bytes);
        let (own_now, own_bytes) =
            in_use.by_scope.get(scope).map_or((0, 0), |share| (share.running, share.bytes));
        let fits = now < running
            && bytes <= buffered_bytes.saturating_sub(buffered)
            && own_now < running.div_ceil(shares)
            && bytes <= buffered_bytes.div_ceil(shares).saturating_sub(own_bytes);
        if !fits {
            return None;
        }
        in_use.running += 1;
        in_use.bytes += bytes;
        let share = in_use.by_scope.entry(scope.clone()).or_default();
        share.running += 1;
        share.bytes += bytes;
        drop(in_use);
        gauge!("sentinel_http_buffered_bytes").increment(bytes as f64);
        Some(Running { admission: self.clone(), scope: scope.clone(), bytes })
    }

    /// Admits a caller who waits for a key. None: a limit is reached.
    pub(crate) fn wait(self: &Arc<Self>, key: &Key) -> Option<Waiting> {
        let mut in_use = self.in_use();
        let for_key = in_use.by_key.get(key).copied().unwrap_or(0);
        if in_use.waiting >= self.limits.waiting || for_key >= self.limits.waiting_for_one_key {
            return None;
        }
        in_use.waiting += 1;
        in_use.by_key.insert(key.clone(), for_key + 1);
        drop(in_use);
        gauge!("sentinel_http_waiting").increment(1.0);
        Some(Waiting { admission: self.clone(), key: key.clone() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut in_use = self.admission.in_use();
        in_use.running -= 1;
        in_use.bytes -= self.bytes;
        let ended = in_use.by_scope.get_mut(&self.scope).is_some_and(|share| {
            share.running -= 1;
            share.bytes -= self.bytes;
            share.running == 0
        });
        if ended {
            in_use.by_scope.remove(&self.scope);
        }
        drop(in_use);
        gauge!("sentinel_http_buffered_bytes").decrement(self.bytes as f64);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut in_use = self.admission.in_use();
        in_use.waiting -= 1;
        decrease(&mut in_use.by_key, &self.key);
        drop(in_use);
        gauge!("sentinel_http_waiting").decrement(1.0);
    }
}

/// Decreases a count, and removes it at zero: the maps hold what is in use, not what ever was.
fn decrease<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { running: 8, buffered_bytes: 80, shares: 4, waiting: 3, waiting_for_one_key: 2 };

    #[test]
    fn one_scope_gets_its_share_and_leaves_the_rest_to_others() {
        let admission = Admission::new(LIMITS);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let held = [admission.run(&a, 5).unwrap(), admission.run(&a, 5).unwrap()];
        assert!(admission.run(&a, 0).is_none(), "a quarter of the runs");
        assert!(admission.run(&b, 21).is_none(), "more than a quarter of the bytes");
        let other = admission.run(&b, 20).unwrap();
        assert!(admission.run(&b, 1).is_none(), "no more bytes");
        drop(held);
        assert!(admission.run(&a, 20).is_some());
        drop(other);
        let in_use = admission.in_use();
        assert!(in_use.by_scope.is_empty());
        assert_eq!((in_use.running, in_use.bytes), (0, 0));
    }

    #[test]
    fn all_scopes_together_stay_within_the_limits() {
        let admission = Admission::new(LIMITS);
        let scopes: Vec<Arc<str>> = (0..9).map(|n| n.to_string().into()).collect();
        let held: Vec<_> = scopes[..8].iter().map(|scope| admission.run(scope, 9).unwrap()).collect();
        assert!(admission.run(&scopes[8], 0).is_none(), "eight run");
        drop(held);
        let held: Vec<_> = scopes[..4].iter().map(|scope| admission.run(scope, 20).unwrap()).collect();
        assert!(admission.run(&scopes[8], 1).is_none(), "80 bytes");
        assert!(admission.run(&scopes[8], 0).is_some());
        drop(held);
    }

    #[test]
    fn callers_wait_within_the_limits_of_key_and_layer() {
        let admission = Admission::new(LIMITS);
        let key = |name| Key::new(name).unwrap();
        let held = [admission.wait(&key("a")).unwrap(), admission.wait(&key("a")).unwrap()];
        assert!(admission.wait(&key("a")).is_none());
        let other = admission.wait(&key("b")).unwrap();
        assert!(admission.wait(&key("c")).is_none());
        drop((held, other));
        assert!(admission.in_use().by_key.is_empty());
        assert!(admission.wait(&key("a")).is_some());
    }
}
