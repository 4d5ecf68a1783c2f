//! Spec §3, heartbeat: many grants in one call. Each reply and each record is compared with the kernel's.

use std::time::Duration;

use sentinel_core::kernel::{self, Reading};
use sentinel_core::operation::*;
use sentinel_core::store::List;
use sentinel_core::{Address, Grant, Kind, Record, Terms, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::{assert_eq, diff, same};

/// A beat for a record.
fn beat(subject: &Subject<'_>, grant: Grant) -> Beat {
    Beat { address: subject.address.clone(), grant }
}

/// A call whose terms differ from those of every other call of the law.
fn own_terms(n: usize) -> Claim {
    let ttl = TTL + Duration::from_secs(n as u64);
    Claim { terms: Terms::new(ttl, HARD + ttl).expect("terms"), ..call("ann") }
}

/// Sends a batch. Each beat, in its order, has the effect and the reply that the kernel gives to it alone.
async fn answered_as_the_kernel_does(context: &LawContext, beats: &[Beat]) -> Vec<HeartbeatReply> {
    let mut records: std::collections::BTreeMap<Address, Record> = Default::default();
    let mut events = Vec::new();
    for Beat { address, .. } in beats {
        let subject = context.subject(address.clone());
        records.insert(address.clone(), subject.record().await);
        events.push(subject.events().await);
    }
    let replies = context.beats(beats).await;
    for (n, (Beat { address, grant }, stamped)) in beats.iter().zip(&replies).enumerate() {
        let record = records.get_mut(address).expect("each record was read");
        let at = Reading { kind: address.kind, now: stamped.stamp.now, floor: Token::NONE };
        let expected = kernel::apply(record, &Heartbeat { grant: *grant }, at).expect("a heartbeat").stamped;
        assert!(expected == *stamped, "beat {n} of {}, {address}:{}", beats.len(), diff(&expected, stamped));
    }
    for (address, record) in &records {
        same(&format!("the record of {address}"), record, &context.subject(address.clone()).record().await);
    }
    for (Beat { address, .. }, before) in beats.iter().zip(&events) {
        let after = context.subject(address.clone()).events().await;
        same(&format!("the events of {address}, as a heartbeat appends none"), before, &after);
    }
    replies.into_iter().map(|stamped| stamped.reply).collect()
}

/// How many beats were kept.
fn kept(replies: &[HeartbeatReply]) -> usize {
    replies.iter().filter(|reply| matches!(reply, HeartbeatReply::Kept { .. })).count()
}

/// A batch holds beats of several namespaces and of both kinds, in any order. Equal keys are not mixed up.
pub(crate) async fn a_batch_may_contain_every_namespace_and_kind(context: &LawContext) {
    let rooms = [context.apart(), context.apart(), context.apart()];
    let (mut held, mut beats) = (Vec::new(), Vec::new());
    for (n, name) in ["b", "a", "c"].into_iter().enumerate() {
        for (m, room) in rooms.iter().enumerate() {
            held.extend([(room.lease(name), 10 * n + m), (room.execution(name), 100 + 10 * n + m)]);
        }
    }
    for (n, (subject, terms)) in held.iter().enumerate() {
        let grant = subject.granted(&own_terms(*terms)).await;
        if subject.address.kind == Kind::Execution && n % 3 == 0 {
            subject.begin(grant).await;
        }
        beats.push(beat(subject, grant));
    }
    context.advance(HALF).await;
    assert_eq!(kept(&answered_as_the_kernel_does(context, &beats).await), beats.len());
    context.advance(HALF).await;
    beats.reverse();
    assert_eq!(kept(&answered_as_the_kernel_does(context, &beats).await), beats.len());
}

/// One record for each reason for which a heartbeat can be lost, and the grant under which it is; one that is kept is
/// between all of them.
async fn every_loss(context: &LawContext) -> Vec<Beat> {
    let at = |name: &str| context.execution(name);
    let mut beats = Vec::new();
    let lapsed = context.lease("lapsed").granted(&call("ann")).await;
    let long = |terms: Duration| Claim { terms: Terms::new(terms, terms).expect("terms"), ..call("ann") };
    let hard = at("hard").begun(&long(HALF)).await;
    let revives = at("revives").begun(&call("ann")).await;
    // One that a hard deadline cuts short, and one that has nothing left to extend.
    let short = Claim { terms: Terms::new(TTL, TTL + HALF / 20).expect("terms"), ..call("ann") };
    context.advance(TTL).await;
    for subject in [at("cut"), context.lease("cut")] {
        beats.push(beat(&subject, subject.granted(&short).await));
    }
    beats.push(beat(&at("whole"), at("whole").granted(&long(HARD)).await));
    beats.push(beat(&context.lease("lapsed"), lapsed));
    beats.push(beat(&at("revives"), revives));
    beats.push(beat(&at("hard"), hard));
    let free = at("free").granted(&call("ann")).await;
    at("free").release(free).await;
    beats.push(beat(&at("free"), free));
    let done = at("done").completed(&call("ann"), &result("done")).await;
    beats.push(beat(&at("done"), done));
    let doubt = at("held").abandoned(&call("ann")).await;
    at("held").taken(&reconcile("olga", doubt.token)).await;
    beats.push(beat(&at("held"), doubt));
    for (n, name) in ["id", "token"].into_iter().enumerate() {
        for subject in [at(name), context.lease(name)] {
            let grant = subject.granted(&own_terms(n)).await;
            beats.push(beat(&subject, if n == 0 { other_id(grant) } else { older(grant) }));
        }
    }
    let mut mixed = vec![beat(&at("absent"), free)];
    for (n, lost) in beats.into_iter().enumerate() {
        let subject = if n.is_multiple_of(2) { context.lease("live") } else { at("live") };
        let subject = context.subject(Address { key: key(&format!("live {n}")), ..subject.address });
        let grant = subject.granted(&own_terms(n)).await;
        mixed.extend([beat(&subject, grant), lost]);
    }
    mixed
}

/// Each lost beat of a batch is reported at its position, with its own reason, and stops no other beat: not in another
/// namespace and not of another kind, wherever in the batch the lost beats are.
pub(crate) async fn a_batch_reports_each_lost_beat_at_its_position(context: &LawContext) {
    let (one, two) = (context.apart(), context.apart());
    let mut beats = every_loss(&one).await;
    beats.extend(every_loss(&two).await.into_iter().rev());
    context.advance(HALF / 10).await;
    let lost = beats.len() - kept(&answered_as_the_kernel_does(context, &beats).await);
    assert!(
        lost >= 2 * 10,
        "ten losses in each of two namespaces, and the leases that lapsed meanwhile: {lost}"
    );
    context.advance(HALF / 10).await;
    let half = beats.len() / 2;
    beats.rotate_left(half);
    beats.reverse();
    answered_as_the_kernel_does(context, &beats).await;
}

/// A batch may name a record many times, under its own grant and under others. Each beat has a reply of its own.
pub(crate) async fn a_batch_replies_to_each_repeated_beat(context: &LawContext) {
    let mut beats = Vec::new();
    for subject in [context.lease("k"), context.execution("k"), context.lease("l")] {
        let grant = subject.granted(&call("ann")).await;
        let grants = [grant, other_id(grant), grant, older(grant), grant, grant];
        beats.push(grants.map(|grant| beat(&subject, grant)));
    }
    let in_turn: Vec<Beat> = (0..6).flat_map(|n| beats.iter().map(move |of| of[n].clone())).collect();
    for batch in [in_turn, beats.concat()] {
        context.advance(HALF).await;
        assert_eq!(kept(&answered_as_the_kernel_does(context, &batch).await), 3 * 4);
    }
}

/// A batch has no size at which the store stops: all beats have a reply, and all kept leases are extended.
pub(crate) async fn a_large_batch_is_applied_completely(context: &LawContext) {
    /// More than any round number of them.
    const MANY: usize = 1_051;
    let address = |n: usize| {
        let (namespace, key) = (context.namespace().clone(), key(&format!("k{n:04}")));
        let kind = if n.is_multiple_of(2) { Kind::Lease } else { Kind::Execution };
        Address { namespace, kind, key }
    };
    let claims: Vec<_> = (0..MANY).map(|n| (address(n), call("ann"))).collect();
    let sent = claims.iter().map(|(address, claim)| (address.clone(), claim.clone().into()));
    let replies = context.each(sent.collect()).await;
    let grants = claims.iter().zip(&replies);
    let grants =
        grants.map(|((_, claim), reply)| Grant { token: reply.stamp.token, claim_id: claim.claim_id });
    let mut beats: Vec<Beat> = claims
        .iter()
        .zip(grants)
        .map(|((address, _), grant)| Beat { address: address.clone(), grant })
        .collect();
    // The batch names the first records again and again, and the others only in its last part.
    let often: Vec<Beat> = beats.iter().take(50).cycle().take(1_000).cloned().collect();
    beats.splice(0..0, often);
    let wrong = |n: usize| n % 97 == 5;
    for n in (0..beats.len()).filter(|n| wrong(*n)) {
        beats[n].grant = other_id(beats[n].grant);
    }
    context.advance(HALF).await;
    let replies = context.beats(&beats).await;
    let mut extended = std::collections::BTreeMap::new();
    for (n, stamped) in replies.iter().enumerate() {
        let until = stamped.stamp.now.plus(TTL);
        match stamped.reply {
            HeartbeatReply::Lost(LostReason::Superseded(_)) if wrong(n) => {}
            HeartbeatReply::Kept { lease_until } if !wrong(n) && lease_until == until => {
                let latest = extended.entry(&beats[n].address).or_insert(until);
                *latest = until.max(*latest);
            }
            other => panic!("beat {n} of {}, under a wrong grant: {}: {other:?}", beats.len(), wrong(n)),
        }
    }
    for kind in [Kind::Lease, Kind::Execution] {
        let page = context.list(&List { kind, ..context.everything() }).await;
        for (key, record) in page.records {
            let address = Address { namespace: context.namespace().clone(), kind, key };
            let before = record.claimed_at.expect("claimed").plus(TTL);
            let expected = extended.get(&address).copied().unwrap_or(before);
            same(&format!("lease_until of {address}"), &expected, &record.lease_until);
        }
    }
}
