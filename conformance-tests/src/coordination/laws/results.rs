//! Spec §1 and spec §3: a result is replayed byte for byte, by a worker or an operator, and an error that reports *not
//! applied* is true.

use sentinel_core::kernel::Op;
use sentinel_core::operation::*;
use sentinel_core::{Accepts, Applied, Change, Payload, Record, RecordedResult, Verdict};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::{assert_eq, same};

/// Payloads are compared by their bytes, and a difference is reported by its position.
fn same_result(what: &str, expected: &RecordedResult, got: &RecordedResult) {
    let (ours, theirs) = (&expected.payload.bytes, &got.payload.bytes);
    if ours != theirs {
        let (count, theirs_count) = (ours.len(), theirs.len());
        let position = ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or(count.min(theirs_count));
        panic!(
            "{what}: payload.bytes: expected {count} bytes, got {theirs_count}; the first difference is at {position}"
        );
    }
    same(what, expected, got);
}

/// A result comes back as it was recorded: to a claim of another call and of its own, and to an inspect. Its event has
/// its verdict and code.
async fn replayed(key: &Subject<'_>, own: &Claim, result: &RecordedResult) {
    let what = format!("the result of {}", key.address);
    for claim in [&call("bob"), own] {
        let got = expect_reply!(key.claim(claim).await, ClaimReply::Completed { result, .. } => result);
        same_result(&what, result, &got);
    }
    let record = key.record().await;
    same_result(&what, result, record.result.as_ref().expect("a result"));
    let event = key.newest_events(1).await.pop().expect("an event");
    let (verdict, code) = match event.change {
        Change::Completed { verdict, code, .. } => (verdict, code),
        Change::ForceCompleted { verdict, code, digest } => {
            same(&what, &result.digest(), &digest);
            (verdict, code)
        }
        other => panic!("the last event is {other:?}"),
    };
    same(&what, &(result.verdict, result.code), &(verdict, code));
}

/// The same with other bytes at its end.
fn altered(result: &RecordedResult) -> RecordedResult {
    let mut bytes = result.payload.bytes.to_vec();
    match bytes.pop() {
        Some(last) => bytes.push(last ^ 1),
        None => bytes.push(b' '),
    }
    let payload = Payload { bytes: bytes.into(), ..result.payload.clone() };
    RecordedResult { payload, ..result.clone() }
}

/// A result that its worker records. Repeated it is the same; with one bit changed it is a conflict.
async fn by_worker(key: Subject<'_>, result: &RecordedResult) {
    let own = call("ann");
    let grant = key.begun(&own).await;
    for changed in [true, false] {
        let reply = key.complete(grant, result).await;
        assert_eq!(reply.stamp.changed, changed, "{reply:?}");
        expect_reply!(reply, CompleteReply::Recorded { late: false });
    }
    expect_reply!(key.complete(grant, &altered(result)).await, CompleteReply::Conflict);
    replayed(&key, &own, result).await;
}

/// A result that an operator records. Repeated it is the same; with one bit changed it is another decision.
async fn by_operator(key: Subject<'_>, result: &RecordedResult) {
    let own = Claim { accepts: Accepts::any(), ..call("ann") };
    let doubt = key.abandoned(&own).await;
    let token = key.taken(&reconcile("olga", doubt.token)).await;
    let decision = force("olga", token, result);
    for changed in [true, false] {
        let reply = key.force_complete(&decision).await;
        assert_eq!(reply.stamp.changed, changed, "{reply:?}");
        expect_reply!(reply, ForceCompleteReply::Completed);
    }
    let other = ForceComplete { result: altered(result), ..decision };
    expect_reply!(key.force_complete(&other).await, ForceCompleteReply::StaleDecision(_));
    replayed(&key, &own, result).await;
}

/// A payload as a success, as a failure, and forced as either.
async fn in_every_way(context: &LawContext, name: &str, payload: &Payload, code: Option<i32>) {
    let success = RecordedResult { code, ..RecordedResult::success(payload.clone()) };
    let failure = RecordedResult::failure(code, payload.clone());
    by_worker(context.execution(&format!("{name}, success")), &success).await;
    by_worker(context.execution(&format!("{name}, failure")), &failure).await;
    by_operator(context.execution(&format!("{name}, forced success")), &success).await;
    by_operator(context.execution(&format!("{name}, forced failure")), &failure).await;
}

/// Bytes of every value in no order, the last ones unlike all others.
fn noise(length: usize) -> Vec<u8> {
    let mut rng = crate::rng::Rng::new(length as u64);
    let block: Vec<u8> = (0..64).flat_map(|_| rng.draw().to_le_bytes()).collect();
    let mut bytes = block.repeat(length.div_ceil(block.len()));
    bytes.truncate(length);
    bytes.iter_mut().rev().take(8).for_each(|byte| *byte ^= 0x5a);
    bytes
}

/// Success, failure and forced results are replayed at every size at which a store may change its mind.
pub(crate) async fn a_result_of_any_size_is_replayed(context: &LawContext) {
    let sizes =
        [0, 1, 2, 126, 127, 128, 255, 256, 257, 1_000, 1_024, 2_000, 4_096, 8_192, 16_384, 32_768, 65_536];
    for size in sizes {
        in_every_way(context, &format!("{size} bytes"), &Payload::new(Payload::OCTETS, noise(size)), None)
            .await;
    }
}

/// The largest result that a client records by default is replayed, as a failure and when it is forced too.
pub(crate) async fn the_largest_result_is_replayed_for_success_failure_and_force(context: &LawContext) {
    let payload = |size| Payload::new(Payload::OCTETS, noise(size));
    let failure = RecordedResult::failure(Some(1), payload(Payload::DEFAULT_LIMIT));
    by_worker(context.execution("failure"), &failure).await;
    let forced = RecordedResult::success(payload(Payload::DEFAULT_LIMIT - 1));
    by_operator(context.execution("forced"), &forced).await;
}

/// Bytes are not text: no encoding, line end, blank, escape or format is interpreted, whatever their content type.
pub(crate) async fn bytes_are_never_interpreted_as_text(context: &LawContext) {
    let cases: [&[u8]; 24] = [
        b"a\r\nb\r\n",
        b"a\rb",
        b"\n",
        b" a ",
        b"\ta\t",
        b"a\x1ab",
        b"\0",
        b"a\0",
        b"\0a\0b",
        b"\xef\xbb\xbfa",
        b"\xff\xfea\0",
        b"\xed\xa0\x80",
        b"\xc0\xaf",
        b"\x80",
        b"\xf5\x80\x80\x80",
        b"\\x00\\000",
        b"{\"a\":1,\"a\":2}",
        b"{ \"b\" : 1.0e0 }",
        b"{",
        b"null",
        b"\"\\u0000\"",
        b"\x1f\x8b\x08\0",
        b"eyJhIjoxfQ==",
        b"%00%0A+",
    ];
    for (n, bytes) in cases.into_iter().enumerate() {
        for kind in [Payload::JSON, "text/plain", Payload::OCTETS] {
            let payload = Payload::new(kind, bytes.to_vec());
            by_worker(
                context.execution(&format!("{n} {kind}")),
                &RecordedResult::failure(None, payload.clone()),
            )
            .await;
            by_operator(context.execution(&format!("{n} {kind}, forced")), &RecordedResult::success(payload))
                .await;
        }
    }
}

/// A content type is kept as it is: its case, blanks, parameters and length.
pub(crate) async fn a_content_type_is_replayed_unchanged(context: &LawContext) {
    let long = |length: usize| format!("application/{}", "x".repeat(length - 12));
    let mut kinds: Vec<String> = [64, 65, 127, 128, 129, 255, 256, 257, 1_023, 1_024].map(long).to_vec();
    let odd = [
        "Application/JSON",
        "APPLICATION/JSON",
        "application/json;charset=UTF-8",
        "application/json; charset=utf-8",
        "text/plain ",
        " text/plain",
        "Text/Plain; Format=Flowed",
        "x",
        "*/*",
        "application/vnd.Shop.v1+json",
        "a, b",
        "text/plain; a=\"b;c\\\"d\"",
        "тип/Тест",
        "null",
        "'",
        "%s",
    ];
    kinds.extend(odd.map(str::to_owned));
    for kind in kinds {
        let name = format!("{} {}", kind.len(), &kind[..kind.floor_char_boundary(40)]);
        in_every_way(
            context,
            &name,
            &Payload { content_type: label(&kind), ..Payload::new("x", "{}") },
            None,
        )
        .await;
    }
    let (key, json) = (context.execution("another"), Payload::new(Payload::JSON, "{}"));
    let grant = key.completed(&call("ann"), &RecordedResult::success(json.clone())).await;
    let upper = Payload { content_type: label("Application/JSON"), ..json };
    expect_reply!(key.complete(grant, &RecordedResult::success(upper)).await, CompleteReply::Conflict);
}

/// A code is a number of 32 bits with a sign, or none: for successes, failures and forced results, and in events.
pub(crate) async fn the_smallest_and_the_largest_code_are_replayed(context: &LawContext) {
    let borders = [
        0,
        1,
        -1,
        127,
        128,
        -128,
        -129,
        255,
        256,
        32_767,
        32_768,
        -32_768,
        -32_769,
        65_535,
        65_536,
        16_777_217,
        i32::MAX,
        i32::MAX - 1,
        i32::MIN,
        i32::MIN + 1,
    ];
    let codes = borders.into_iter().map(Some).chain([None]);
    for code in codes {
        in_every_way(context, &format!("{code:?}"), &Payload::new(Payload::JSON, "1"), code).await;
    }
}

/// A result that was left out keeps its verdict, its code and the bytes that replace it.
pub(crate) async fn an_omitted_result_keeps_its_verdict_and_code(context: &LawContext) {
    for (n, bytes) in ["", "too large"].into_iter().enumerate() {
        for verdict in [Verdict::Success, Verdict::Failure] {
            let payload = Payload::new("text/plain", bytes);
            let omitted =
                RecordedResult { verdict, omitted: true, code: Some(3), ..RecordedResult::success(payload) };
            by_worker(context.execution(&format!("{n} {verdict:?}")), &omitted).await;
            by_operator(context.execution(&format!("{n} {verdict:?}, forced")), &omitted).await;
        }
    }
}

/// Every part of a result counts when it is repeated: its bytes, whatever hash of 32 bits they share with others, their
/// type, the verdict, the code and the omission.
pub(crate) async fn every_part_of_a_result_is_compared(context: &LawContext) {
    for (n, (_, [ours, theirs])) in crate::coordination::laws::names::COLLISIONS.into_iter().enumerate() {
        let first = result(ours);
        let payload = Payload { content_type: label("text/html"), ..first.payload.clone() };
        let mut others = vec![result(theirs)];
        if n == 0 {
            others.extend([
                RecordedResult { verdict: Verdict::Failure, ..first.clone() },
                RecordedResult { code: Some(0), ..first.clone() },
                RecordedResult { code: Some(i32::MAX), ..first.clone() },
                RecordedResult { omitted: true, ..first.clone() },
                RecordedResult { payload, ..first.clone() },
                result(&ours[..7]),
                result(&format!("{ours} ")),
                result(&ours.to_uppercase()),
                result(""),
            ]);
        }
        let (worker, operator) =
            (context.execution(&format!("worker {n}")), context.execution(&format!("operator {n}")));
        let grant = worker.completed(&call("ann"), &first).await;
        let doubt = operator.abandoned(&Claim { accepts: Accepts::any(), ..call("ann") }).await;
        let token = operator.taken(&reconcile("olga", doubt.token)).await;
        let decision = force("olga", token, &first);
        expect_reply!(operator.force_complete(&decision).await, ForceCompleteReply::Completed);
        for other in others {
            let reply = worker.complete(grant, &other).await;
            assert_eq!(reply.reply, CompleteReply::Conflict, "{other:?} after {first:?}");
            let reply =
                operator.force_complete(&ForceComplete { result: other.clone(), ..decision.clone() }).await;
            let is_stale = matches!(reply.reply, ForceCompleteReply::StaleDecision(_));
            assert!(is_stale, "{other:?} after {first:?}: {reply:?}");
        }
        expect_reply!(worker.complete(grant, &first).await, CompleteReply::Recorded { .. });
        expect_reply!(operator.force_complete(&decision).await, ForceCompleteReply::Completed);
    }
}

/// A fingerprint is compared as it is: zero bytes, line ends, blanks, case, spelling and the last of 1,024 bytes count.
pub(crate) async fn a_fingerprint_is_compared_to_its_last_byte(context: &LawContext) {
    let long = |end: &str| format!("{}{end}", "f".repeat(1_024 - end.len()));
    let cut = |length: usize, end: &str| format!("{}{end}{}", "f".repeat(length), "f".repeat(1_023 - length));
    let mut pairs = vec![[long("a"), long("b")], ["f".repeat(1_023), "f".repeat(1_024)]];
    pairs.extend([63, 64, 127, 128, 254, 255, 256, 511, 512].map(|at| [cut(at, "a"), cut(at, "b")]));
    let short = [
        ["a\0b", "a\0c"],
        ["\0", "\0\0"],
        ["a", "a\0"],
        ["a\n", "a\r\n"],
        ["a", "a "],
        [" ", "  "],
        ["a\tb", "a b"],
        ["abc", "ABC"],
        ["\u{e9}", "e\u{301}"],
        ["1", "1.0"],
        ["{\"a\":1}", "{\"a\": 1}"],
        ["ab", "ab\u{200b}"],
        ["0xA", "0xa"],
        ["é", "É"],
        ["null", "NULL"],
        ["a%", "ab"],
        ["a_", "ab"],
        ["a*", "a"],
    ];
    pairs.extend(short.map(|pair| pair.map(str::to_owned)));
    pairs.extend(crate::coordination::laws::names::COLLISIONS.map(|(_, pair)| pair.map(str::to_owned)));
    for (n, [ours, other]) in pairs.iter().enumerate() {
        let asks = |text: &str| Claim { fingerprint: about(text), ..call("bob") };
        for key in [context.execution(&format!("{n}")), context.lease(&format!("{n}"))] {
            key.granted(&asks(ours)).await;
            let what = format!("the fingerprint of {}", key.address);
            same(&what, &about(ours), &key.record().await.fingerprint);
            expect_reply!(key.claim(&asks(other)).await, ClaimReply::FingerprintMismatch);
            expect_reply!(key.claim(&asks(ours)).await, ClaimReply::InProgress { .. });
            key.assert_rebuilt().await;
        }
    }
}

/// What the record and the events of a key were before a request.
async fn read(key: &Subject<'_>) -> (Record, usize) {
    (key.record().await, key.events().await.len())
}

/// A result that is larger than a client sends by default is recorded whole, or an error reports that it was not and
/// leaves the execution as it was: then a smaller one can be recorded.
pub(crate) async fn a_huge_result_is_recorded_whole_or_not_at_all(context: &LawContext) {
    let huge =
        RecordedResult::success(Payload::new(Payload::OCTETS, vec![7; 2 * Payload::DEFAULT_LIMIT + 1]));
    let (key, own) = (context.execution("k"), call("ann"));
    let grant = key.begun(&own).await;
    let before = read(&key).await;
    let sent =
        Op::from(Complete { grant, result: huge.clone() }).send(&**context.store(), &key.address).await;
    context.forget();
    match sent {
        Ok(_) => replayed(&key, &own, &huge).await,
        Err(error) => {
            let after = read(&key).await;
            assert!(after == before || error.applied() == Applied::Ambiguous, "applied, and yet: {error}");
            let recorded = after.0.result.is_none_or(|result| result == huge);
            assert!(recorded, "a part of a result was recorded: {error}");
        }
    }
    context.forget();
    let small = key.complete(grant, &result("small")).await.reply;
    let is_settled = matches!(small, CompleteReply::Recorded { .. } | CompleteReply::Conflict);
    assert!(is_settled, "the execution is neither recorded nor as it was: {small:?}");
}

/// A request that only executions have is an error that reports *not applied*, and this is true in every state of a
/// lease.
pub(crate) async fn a_request_for_executions_does_not_change_a_lease(context: &LawContext) {
    let names = ["absent", "held", "lapsed", "free"];
    for name in names {
        let key = context.lease(name);
        let grant = match name {
            "absent" => context.lease("another").granted(&call("ann")).await,
            _ => key.granted(&call("ann")).await,
        };
        match name {
            "free" => expect_reply!(key.release(grant).await, ReleaseReply::Released),
            "lapsed" => context.advance(TTL).await,
            _ => {}
        }
        let before = read(&key).await;
        let seen = reconcile("olga", grant.token);
        let ops: [Op; 7] = [
            fused("bob").into(),
            Begin { grant }.into(),
            Complete { grant, result: result("x") }.into(),
            Abandon { grant, cause: label("none"), late_effects: NONE_LATE }.into(),
            Reconcile { even_if_alive: true, steal: true, ..seen }.into(),
            force("olga", grant.token, &result("x")).into(),
            ResetToClaimed { accept_overlap: true, ..reset("olga", grant.token) }.into(),
        ];
        for op in ops {
            let error = op.clone().send(&**context.store(), &key.address).await.err();
            let error =
                error.unwrap_or_else(|| panic!("a lease that is {name} got {op:?}, and did not refuse it"));
            assert_eq!(error.applied(), Applied::No, "{op:?}: {error}");
            assert!(
                read(&key).await == before,
                "{name}: {op:?} changed the record, and the error reports that it did not: {error}"
            );
        }
    }
}
