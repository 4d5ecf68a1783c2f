//! `lead`: a future that runs while its process has a lease.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::lease::{Lead, Leader, Led};
use sentinel::prelude::*;
use sentinel::record::{Address, Kind, State};
use sentinel::store::operation::{Beat, HeartbeatReply, Stamped};
use sentinel::store::{ErrorKind, StoreError};
use sentinel_conformance::{Layer, Layered};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::{SECOND, sentinel};

fn lead(sentinel: &Sentinel) -> Lead {
    sentinel.lead("poller").ttl(SECOND * 9).stop_within(SECOND * 3)
}

async fn lease(sentinel: &Sentinel) -> Option<sentinel::record::Record> {
    sentinel.inspect(Kind::Lease, "poller").await.unwrap().record
}

/// The terms of all processes: token, and when the future was first and last alive.
#[derive(Debug, Clone, Default)]
struct Terms(Arc<Mutex<Vec<OneTerm>>>);

type OneTerm = (u64, Instant, Option<Instant>);

/// Records the end of a term when it is dropped, with its future.
struct Alive(Terms, usize);

impl Terms {
    fn begin(&self, leader: &Leader) -> Alive {
        let mut terms = self.0.lock().unwrap();
        terms.push((leader.token().get(), Instant::now(), None));
        Alive(self.clone(), terms.len() - 1)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How long a term lasted.
    fn length(&self, n: usize) -> Duration {
        let (_, from, to) = self.0.lock().unwrap()[n];
        to.expect("it has ended") - from
    }

    /// No two terms overlap, and each has a greater token than the one before.
    fn assert_one_at_a_time(&self) {
        let terms = self.0.lock().unwrap();
        for pair in terms.windows(2) {
            let [(token, _, end), (next, start, _)] = pair else { unreachable!() };
            assert!(next > token && end.is_some_and(|end| end <= *start), "{terms:?}");
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.lock().unwrap()[self.1].2 = Some(Instant::now());
    }
}

/// Works until it is signalled, and returns at once.
async fn work(leader: Leader, terms: Terms) -> ControlFlow<()> {
    let _alive = terms.begin(&leader);
    leader.cancelled().cancelled().await;
    Continue(())
}

/// Never returns.
async fn ignore(leader: Leader, terms: Terms) -> ControlFlow<()> {
    let _alive = terms.begin(&leader);
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn one_process_leads_and_another_one_after_it() {
    let store = MemoryStore::new();
    let (first, second) = (Sentinel::new(store.clone()), Sentinel::new(store));
    let (finish, finished) = oneshot::channel();
    let mut finished = Some(finished);
    let leads = tokio::spawn(lead(&first).run(move |_| {
        let finished = finished.take().unwrap();
        async { Break(finished.await.unwrap()) }
    }));
    tokio::task::yield_now().await;
    let began = Arc::new(AtomicBool::new(false));
    let begins = began.clone();
    let next = tokio::spawn(lead(&second).run(move |_| {
        begins.store(true, Ordering::SeqCst);
        async { Break("second") }
    }));
    sleep(SECOND * 60).await;
    assert!(!began.load(Ordering::SeqCst), "heartbeats extend the first term");
    finish.send("first").unwrap();
    assert_eq!(leads.await.unwrap().unwrap(), Led::Finished("first"));
    let released = Instant::now();
    assert_eq!(next.await.unwrap().unwrap(), Led::Finished("second"));
    assert!(released.elapsed() < SECOND, "the lease was released");
    assert_eq!(lease(&first).await.unwrap().state, State::Free);
}

/// A store that can be made unreachable for one client.
#[derive(Debug)]
struct Cut {
    store: Arc<dyn CoordinationStore>,
    is_cut: AtomicBool,
    claims: AtomicU32,
}

impl Cut {
    fn new(store: &MemoryStore) -> Arc<Layered<Self>> {
        let (is_cut, claims) = Default::default();
        Arc::new(Layered(Self { store: Arc::new(store.clone()), is_cut, claims }))
    }

    fn passes(&self) -> Result<(), StoreError> {
        let error = || StoreError::not_applied(ErrorKind::Unreachable, "it is cut off".to_owned());
        if self.is_cut.load(Ordering::SeqCst) { Err(error()) } else { Ok(()) }
    }
}

#[async_trait]
impl Layer for Cut {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.claims.fetch_add(u32::from(matches!(op, Op::Claim(_))), Ordering::SeqCst);
        self.passes()?;
        op.send(&*self.store, address).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        self.passes()?;
        self.store.heartbeat(beats).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_has_stopped_before_another_one_begins() {
    for stops in [true, false] {
        let store = MemoryStore::new();
        let cut = Cut::new(&store);
        let terms = Terms::default();
        let run = |sentinel: Sentinel| {
            let terms = terms.clone();
            tokio::spawn(lead(&sentinel).run(move |leader| {
                let (stopping, terms) = (leader.clone(), terms.clone());
                async move {
                    match stops {
                        true => work(stopping, terms).await,
                        false => ignore(leader, terms).await,
                    }
                }
            }))
        };
        let ours = run(Sentinel::new(cut.clone()));
        sleep(SECOND).await;
        let theirs = run(Sentinel::new(store.clone()));
        sleep(SECOND * 60).await;
        assert_eq!(terms.count(), 1);
        let lost = Instant::now();
        cut.0.is_cut.store(true, Ordering::SeqCst);
        sleep(SECOND * 30).await;
        assert_eq!(terms.count(), 2, "the other process leads");
        let (_, _, ended) = terms.0.lock().unwrap()[0];
        let after = ended.unwrap() - lost;
        // A heartbeat is sent each 3 s: 6 s to 9 s of the lease were left, of which 3 s are for stopping.
        let expected = if stops { SECOND * 2..=SECOND * 6 } else { SECOND * 5..=SECOND * 9 };
        assert!(expected.contains(&after), "{after:?}");
        // It competes again, and leads when the other one ends.
        cut.0.is_cut.store(false, Ordering::SeqCst);
        theirs.abort();
        sleep(SECOND * 30).await;
        assert_eq!(terms.count(), 3);
        terms.assert_one_at_a_time();
        ours.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_term_ends_before_its_hard_deadline_and_the_next_one_begins() {
    let sentinel = sentinel();
    let terms = Terms::default();
    let function = {
        let terms = terms.clone();
        move |leader: Leader| ignore(leader, terms.clone())
    };
    let leads = tokio::spawn(lead(&sentinel).hard_ttl(SECOND * 20).run(function));
    sleep(SECOND * 45).await;
    leads.abort();
    let _ = leads.await;
    assert_eq!(terms.count(), 3);
    terms.assert_one_at_a_time();
    for n in [0, 1] {
        assert!(terms.length(n) <= SECOND * 20 && terms.length(n) > SECOND * 19, "{:?}", terms.length(n));
    }
}

#[tokio::test(start_paused = true)]
async fn an_evicted_leader_is_signalled_and_then_dropped() {
    let sentinel = sentinel();
    let terms = Terms::default();
    let signalled = Arc::new(Mutex::new(None));
    let function = {
        let (terms, signalled) = (terms.clone(), signalled.clone());
        move |leader: Leader| {
            let (terms, signalled) = (terms.clone(), signalled.clone());
            async move {
                let _alive = terms.begin(&leader);
                leader.cancelled().cancelled().await;
                assert!(leader.should_stop());
                signalled.lock().unwrap().get_or_insert(Instant::now());
                std::future::pending::<ControlFlow<()>>().await
            }
        }
    };
    let leads = tokio::spawn(lead(&sentinel).run(function));
    sleep(SECOND).await;
    let token = lease(&sentinel).await.unwrap().token;
    let (_, reply) = sentinel.evict(Kind::Lease, "poller", token).evict().await.unwrap();
    assert!(matches!(reply, sentinel::reconcile::EvictReply::Evicted { .. }), "{reply}");
    sleep(SECOND * 10).await;
    assert_eq!(terms.count(), 2, "it leads again, under another token");
    let (first, _, ended) = terms.0.lock().unwrap()[0];
    let grace = ended.unwrap() - signalled.lock().unwrap().unwrap();
    assert_eq!((first, grace), (token.get(), SECOND * 3));
    terms.assert_one_at_a_time();
    leads.abort();
}

#[tokio::test(start_paused = true)]
async fn draining_stops_the_leader_and_waits_for_it() {
    let sentinel = sentinel();
    let stopped = Arc::new(AtomicBool::new(false));
    let stops = stopped.clone();
    let leads = tokio::spawn(lead(&sentinel).run(move |leader| {
        let stops = stops.clone();
        async move {
            leader.cancelled().cancelled().await;
            sleep(SECOND).await;
            stops.store(true, Ordering::SeqCst);
            Continue::<()>(())
        }
    }));
    sleep(SECOND).await;
    let waits = tokio::spawn(lead(&sentinel).run(|_| async { Continue::<()>(()) }));
    sleep(SECOND).await;
    let unfinished = sentinel.unfinished();
    assert!(unfinished.iter().any(|work| work.to_string().contains("leads has not returned")));
    let drained = sentinel.drain(SECOND * 60).await;
    assert!(drained.is_complete() && stopped.load(Ordering::SeqCst), "{drained:?}");
    assert_eq!(leads.await.unwrap().unwrap(), Led::Draining);
    assert_eq!(waits.await.unwrap().unwrap(), Led::Draining);
    assert_eq!(lease(&sentinel).await.unwrap().state, State::Free);
    assert_eq!(lead(&sentinel).run(|_| async { Break(()) }).await.unwrap(), Led::Draining);
}

#[tokio::test(start_paused = true)]
async fn until_ends_it_while_it_leads_and_while_it_waits() {
    let sentinel = sentinel();
    let terms = Terms::default();
    let until = |seconds| {
        let terms = terms.clone();
        let leads = lead(&sentinel).until(sleep(SECOND * seconds));
        tokio::spawn(leads.run(move |leader| ignore(leader, terms.clone())))
    };
    let (leads, waits) = (until(30), until(10));
    let began = Instant::now();
    assert_eq!(waits.await.unwrap().unwrap(), Led::Stopped);
    assert_eq!(began.elapsed(), SECOND * 10);
    assert_eq!(leads.await.unwrap().unwrap(), Led::Stopped);
    assert_eq!((began.elapsed(), terms.length(0)), (SECOND * 33, SECOND * 33), "signalled, then dropped");
    assert_eq!(terms.count(), 1);
    assert_eq!(lease(&sentinel).await.unwrap().state, State::Free);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_returned_after_the_signal_counts() {
    let sentinel = sentinel();
    let leads = lead(&sentinel).until(sleep(SECOND)).run(|leader| async move {
        leader.sleep(SECOND * 100).await;
        Break("done")
    });
    let began = Instant::now();
    assert_eq!(leads.await.unwrap(), Led::Finished("done"));
    assert_eq!(began.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_drops_the_future_and_frees_the_lease() {
    let sentinel = sentinel();
    let terms = Terms::default();
    let theirs = terms.clone();
    let leads = tokio::spawn(lead(&sentinel).run(move |leader| ignore(leader, theirs.clone())));
    sleep(SECOND).await;
    leads.abort();
    let _ = leads.await;
    tokio::task::yield_now().await;
    assert_eq!(terms.length(0), SECOND);
    assert!(matches!(sentinel.lease("poller").acquire().await.unwrap(), LeaseOutcome::Held(_)));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_steps_down_lets_others_lead() {
    let sentinel = sentinel();
    let order = Arc::new(Mutex::new(Vec::new()));
    let steps_down = |name: &'static str| {
        let order = order.clone();
        tokio::spawn(lead(&sentinel).run(move |_| {
            order.lock().unwrap().push(name);
            async { Continue::<()>(()) }
        }))
    };
    let both = [steps_down("a"), steps_down("b")];
    sleep(SECOND * 30).await;
    let order = order.lock().unwrap().clone();
    for name in ["a", "b"] {
        let terms = order.iter().filter(|one| **one == name).count();
        assert!((5..=20).contains(&terms), "{terms} terms of {name} in 30 s, at most one each 3 s or so");
    }
    both.iter().for_each(|one| one.abort());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_tried_again_and_invalid_input_is_not() {
    let store = MemoryStore::new();
    let cut = Cut::new(&store);
    cut.0.is_cut.store(true, Ordering::SeqCst);
    let sentinel = Sentinel::new(cut.clone());
    let leads = tokio::spawn(lead(&sentinel).run(|_| async { Break(()) }));
    sleep(SECOND * 60).await;
    assert!(!leads.is_finished());
    let claims = cut.0.claims.load(Ordering::SeqCst);
    assert!((10..=200).contains(&claims), "{claims} claims in a minute");
    cut.0.is_cut.store(false, Ordering::SeqCst);
    assert_eq!(leads.await.unwrap().unwrap(), Led::Finished(()));

    let invalid = [
        lead(&sentinel).stop_within(SECOND * 5),
        lead(&sentinel).ttl(Duration::ZERO),
        lead(&sentinel).hard_ttl(SECOND),
        lead(&sentinel).worker(""),
        sentinel.lead(""),
    ];
    for lead in invalid {
        let refused = lead.run(|_| async { Break(()) }).await;
        assert!(matches!(refused, Err(sentinel::Error::Invalid(_))), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_that_does_not_pass_ends_it() {
    let refusing = crate::outage::Refusing::new(crate::outage::ALL);
    refusing.0.refuse(StoreError::not_applied(ErrorKind::NotInitialised, "no schema".to_owned()));
    let refused = lead(&Sentinel::new(refusing)).run(|_| async { Break(()) }).await;
    assert!(matches!(refused, Err(sentinel::Error::Store(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_term_is_a_day_unless_a_policy_or_the_request_sets_it() {
    let day = SECOND * 24 * 60 * 60;
    let with = |policy: Option<Policy>| policy.map_or_else(sentinel, |policy| sentinel().policy(policy));
    let short = Policy::new().hard_ttl(SECOND * 40);
    for (client, expected) in [(with(None), day), (with(Some(short)), SECOND * 40)] {
        let inside = client.clone();
        let leads = lead(&client).run(move |_| {
            let client = inside.clone();
            async move { Break(lease(&client).await.unwrap().terms.unwrap().hard_ttl()) }
        });
        assert_eq!(leads.await.unwrap(), Led::Finished(expected));
    }
}
