//! H28: webhooks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::Frame;
use http_body_util::StreamBody;
use sentinel_client::sentinel_core::{Kind, ManualClock, StoreTime, Token};
use sentinel_client::{DecisionOutcome, Policy, ReconcileOutcome, Run};
use sentinel_http::{
    Body, FailedForGood, NothingHappened, ReceivedWebhook, WebhookReceiver, WebhookSecret, WebhookSource,
};

use crate::harness::LONG;
use crate::stores::{App, Bed, Got, Handler, on_every_store, response};

/// The time of the published vector.
const NOW: u64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SHOP: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
const BANK: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const STRANGER: &str = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

fn secret(text: &str) -> WebhookSecret {
    text.parse().unwrap()
}

fn receiver(bed: &Bed) -> WebhookReceiver {
    let shop = SHOP.iter().fold(WebhookSource::new("shop"), |shop, text| shop.secret(secret(text)));
    let bank = WebhookSource::new("bank").secret(secret(BANK));
    let clock = Arc::new(ManualClock::new(StoreTime::from_micros(NOW * 1_000_000)));
    WebhookReceiver::new(bed.sentinel.clone(), [shop, bank]).unwrap().clock(clock)
}

/// A message as its sender signs it.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    secret: &'a str,
    id: &'a str,
    at: u64,
    body: &'a [u8],
}

const MESSAGE: Message<'_> = Message { secret: SHOP[0], id: ID, at: NOW, body: BODY };

impl Message<'_> {
    fn request(&self) -> Request<Body> {
        let signature = secret(self.secret).sign(self.id, self.at, self.body);
        let builder =
            Request::post("/hooks").header("webhook-id", self.id).header("webhook-timestamp", self.at);
        let builder =
            builder.header("webhook-signature", signature).header("content-type", "application/json");
        builder.body(Body::from(Bytes::copy_from_slice(self.body))).unwrap()
    }

    async fn send(&self, app: &App) -> Got {
        app.send(self.request()).await
    }
}

/// Whether the receipt of an answer was made with this secret.
fn has_receipt(got: &Got, by: &str, id: &str) -> bool {
    let (Some(receipt), Some(token)) = (got.header("sentinel-receipt"), got.header("sentinel-receipt-token"))
    else {
        return false;
    };
    let token: Token = token.parse().unwrap();
    secret(by).verifies_receipt(receipt, id, token, got.status, &got.body)
}

fn is_replay(got: &Got) -> bool {
    got.header("idempotency-replayed") == Some("true")
}

/// The signature of the published vector, as it was published.
async fn the_published_vector_is_handled_and_gets_a_receipt(bed: Bed) {
    let handler = Handler::new(|_, request| {
        let received = request.extensions().get::<ReceivedWebhook>().unwrap();
        assert_eq!((&*received.source, &*received.id, received.timestamp), ("shop", ID, NOW));
        assert!(request.extensions().get::<Run>().unwrap().key().as_str() == format!("shop/{ID}"));
        response(200, "ok")
    });
    let app = bed.app(receiver(&bed), handler.clone());
    let mut request = MESSAGE.request();
    let published = HeaderValue::from_static("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    request.headers_mut().insert("webhook-signature", published);
    let got = app.send(request).await;
    assert_eq!((got.status, &got.body[..], handler.calls()), (200, &b"ok"[..], 1));
    assert!(has_receipt(&got, SHOP[0], ID) && !is_replay(&got), "{got:?}");
    let record = bed.sentinel.inspect(Kind::Execution, format!("shop/{ID}")).await.unwrap().record.unwrap();
    assert_eq!(got.header("sentinel-receipt-token"), Some(&*record.token.to_string()));
}

async fn a_duplicate_is_replayed_with_the_same_receipt(bed: Bed) {
    let (layer, handler) = (receiver(&bed), Handler::counting());
    let app = bed.app(layer, handler.clone());
    let first = MESSAGE.send(&app).await;
    for at in [NOW, NOW + 60] {
        let again = Message { at, ..MESSAGE }.send(&app).await;
        assert!(is_replay(&again));
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("sentinel-receipt"), first.header("sentinel-receipt"));
        assert_eq!(again.header("sentinel-receipt-token"), first.header("sentinel-receipt-token"));
    }
    // After the sender has replaced its secret it is the same message, and the receipt is one that it can verify.
    let rotated = Message { secret: SHOP[1], ..MESSAGE }.send(&app).await;
    assert!(is_replay(&rotated) && has_receipt(&rotated, SHOP[1], ID), "{rotated:?}");
    assert_eq!(handler.calls(), 1);
}

async fn of_many_copies_at_once_one_is_handled(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(receiver(&bed).wait(LONG), handler.clone());
    let all = join_all((0..24).map(|_| MESSAGE.send(&app))).await;
    assert_eq!(handler.calls(), 1);
    assert_eq!(all.iter().filter(|got| !is_replay(got)).count(), 1);
    for got in &all {
        assert_eq!((got.status, got.header("sentinel-receipt")), (200, all[0].header("sentinel-receipt")));
    }
}

/// Without the source in the key the second sender would get the answer to the first one's message.
async fn the_same_id_of_another_source_is_another_message(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(receiver(&bed), handler.clone());
    let shop = MESSAGE.send(&app).await;
    let bank = Message { secret: BANK, ..MESSAGE }.send(&app).await;
    assert_eq!((&shop.body[..], &bank.body[..]), (&b"call 1"[..], &b"call 2"[..]));
    assert!(has_receipt(&bank, BANK, ID) && !is_replay(&bank));
    // No id leads out of the source's own messages.
    for (n, id) in
        [&format!("../shop/{ID}"), "a/b", "%2F", &format!("shop/{ID}"), "~"].into_iter().enumerate()
    {
        let got = Message { secret: BANK, id, ..MESSAGE }.send(&app).await;
        let expected = if id.contains('.') { 401 } else { 200 };
        assert_eq!((got.status, is_replay(&got)), (expected, false), "{n} {id}");
    }
}

async fn a_message_without_a_valid_signature_is_refused_and_the_store_not_asked(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(receiver(&bed), handler.clone());
    MESSAGE.send(&app).await;
    let before = bed.requests();
    assert!(before > 0);
    let mut refused = vec![
        Message { secret: STRANGER, ..MESSAGE }.request(),
        Message { at: NOW - 301, ..MESSAGE }.request(),
        Message { at: NOW + 301, ..MESSAGE }.request(),
        MESSAGE.request().map(|_| Body::from(Bytes::from_static(b"{\"test\": 2432232315}"))),
    ];
    for (name, value) in
        [("webhook-id", "other"), ("webhook-timestamp", "1614265331"), ("webhook-signature", "v1,")]
    {
        let mut altered = MESSAGE.request();
        altered.headers_mut().insert(name, HeaderValue::from_static(value));
        let mut without = MESSAGE.request();
        without.headers_mut().remove(name);
        let mut twice = MESSAGE.request();
        twice.headers_mut().append(name, HeaderValue::from_static(value));
        refused.extend([altered, without, twice]);
    }
    for request in refused {
        let headers = request.headers().clone();
        let got = app.send(request).await;
        assert_eq!((got.status, got.problem().as_deref()), (401, Some("signature-invalid")), "{headers:?}");
        // An earlier copy may have been accepted: the one of five minutes ago was.
        let document: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!((&document["ran"], &document["retry"]), (&"unknown".into(), &"never".into()));
        assert!(got.header("sentinel-receipt").is_none() && got.header("cache-control") == Some("no-store"));
    }
    assert_eq!((handler.calls(), bed.requests()), (1, before));
}

async fn an_id_with_another_body_is_refused(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(receiver(&bed), handler.clone());
    MESSAGE.send(&app).await;
    let other = Message { body: b"{}", ..MESSAGE }.send(&app).await;
    assert_eq!((other.status, other.problem().as_deref()), (422, Some("key-reused")));
    // The other fields of a request are no part of the message.
    let mut again = MESSAGE.request();
    again.headers_mut().insert("content-type", HeaderValue::from_static("text/plain"));
    assert!(is_replay(&app.send(again).await));
    assert_eq!(handler.calls(), 1);
}

async fn a_message_in_doubt_gets_409_until_it_is_decided(bed: Bed) {
    let handler = Handler::new(|_, _| {
        let mut response = response(500, "the provider did not answer");
        response.headers_mut().insert("sentinel-receipt", HeaderValue::from_static("forged"));
        response
    });
    let policy = Policy::new().late_effects(Duration::ZERO);
    let app = bed.app(receiver(&bed).policy(policy), handler.clone());
    for n in 0..3 {
        let got = MESSAGE.send(&app).await;
        assert_eq!((got.status, got.problem().as_deref()), (409, Some("uncertain")), "{n}");
        assert_eq!(
            (got.header("sentinel-doubt"), got.header("retry-after")),
            (Some("uncertain"), Some("60"))
        );
        assert!(got.header("sentinel-support").is_some() && got.header("sentinel-receipt").is_none());
    }
    assert_eq!(handler.calls(), 1);
    decide(&bed, &format!("shop/{ID}")).await;
    let decided = MESSAGE.send(&app).await;
    assert_eq!((decided.status, &decided.body[..]), (200, &b"\"booked\""[..]));
    assert!(
        is_replay(&decided)
            && has_receipt(&decided, SHOP[0], ID)
            && decided.header("sentinel-doubt").is_none()
    );
    assert_eq!(handler.calls(), 1);
}

/// An operator finds out that the effect has happened.
async fn decide(bed: &Bed, key: &str) {
    let taken = bed.sentinel.reconciler(key).operator("ops").even_if_alive().reconcile().await.unwrap();
    let ReconcileOutcome::Taken(held) = taken else { panic!("{taken:?}") };
    let decided = held.force_complete(&"booked").await.unwrap();
    assert!(matches!(decided, DecisionOutcome::Done { .. }), "{decided:?}");
}

async fn a_handler_that_vouches_is_believed(bed: Bed) {
    let handler = Handler::new(|call, _| {
        let mut response = response(if call == 1 { 503 } else { 502 }, format!("call {call}"));
        match call {
            1 => drop(response.extensions_mut().insert(NothingHappened)),
            _ => drop(response.extensions_mut().insert(FailedForGood)),
        }
        response
    });
    let app = bed.app(receiver(&bed), handler.clone());
    let nothing = MESSAGE.send(&app).await;
    assert_eq!((nothing.status, nothing.header("sentinel-receipt"), nothing.problem()), (503, None, None));
    let failed = MESSAGE.send(&app).await;
    assert!(failed.status == 502 && has_receipt(&failed, SHOP[0], ID) && !is_replay(&failed), "{failed:?}");
    let again = MESSAGE.send(&app).await;
    assert!(is_replay(&again) && again.header("sentinel-receipt") == failed.header("sentinel-receipt"));
    assert_eq!(handler.calls(), 2);
}

async fn a_body_that_is_too_large_or_too_slow_is_not_handled(bed: Bed) {
    let handler = Handler::counting();
    let layer = receiver(&bed).request_limit(BODY.len(), Duration::from_millis(50));
    let app = bed.app(layer, handler.clone());
    let large = Message { body: &[b' '; 21], ..MESSAGE }.send(&app).await;
    assert_eq!((large.status, large.problem().as_deref()), (413, Some("body-too-large")));
    let never = futures_util::stream::pending::<Result<Frame<Bytes>, std::io::Error>>();
    let slow = app.send(MESSAGE.request().map(|_| Body::new(StreamBody::new(never)))).await;
    assert_eq!((slow.status, slow.problem().as_deref()), (408, Some("body-too-slow")));
    assert_eq!((handler.calls(), bed.requests()), (0, 0));
}

async fn a_request_without_an_effect_is_no_message(bed: Bed) {
    let handler = Handler::counting();
    let app = bed.app(receiver(&bed), handler.clone());
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let mut request = MESSAGE.request();
        *request.method_mut() = method.clone();
        assert_eq!(app.send(request).await.status, 405, "{method}");
    }
    assert_eq!((handler.calls(), bed.requests()), (0, 0));
}

/// 410 would make the sender give up a message that was handled.
async fn an_answer_that_was_not_stored_is_repeated_without_its_body(bed: Bed) {
    let handler = Handler::new(|_, _| response(201, "x".repeat(2_000)));
    let app = bed.app(receiver(&bed).response_limit(1_000), handler.clone());
    let first = MESSAGE.send(&app).await;
    assert_eq!((first.status, first.body.len()), (201, 2_000));
    // The record is written when the body has ended; until then the message is being handled.
    let again = MESSAGE.send(&app).await;
    assert_eq!((again.status, again.body.len(), is_replay(&again)), (201, 0, true), "{again:?}");
    assert!(has_receipt(&again, SHOP[0], ID));
    assert_eq!(handler.calls(), 1);
}

/// A handler that passes on the answer of another receiver passes on no claim of it.
async fn what_a_handler_states_about_receipts_is_removed(bed: Bed) {
    let names = ["sentinel-receipt", "sentinel-receipt-token", "sentinel-doubt", "idempotency-replayed"];
    let handler = Handler::new(move |_, _| {
        let forged = |name| (HeaderName::from_static(name), HeaderValue::from_static("forged"));
        let mut response = response(200, "ok");
        response.headers_mut().extend(names.map(forged).into_iter().collect::<HeaderMap>());
        response
    });
    let app = bed.app(receiver(&bed), handler);
    for _ in 0..2 {
        let got = MESSAGE.send(&app).await;
        assert!(has_receipt(&got, SHOP[0], ID) && got.header("sentinel-doubt").is_none(), "{got:?}");
        assert!(got.headers.values().all(|value| value != "forged"));
    }
}

on_every_store! {
    the_published_vector_is_handled_and_gets_a_receipt
    a_duplicate_is_replayed_with_the_same_receipt
    of_many_copies_at_once_one_is_handled
    the_same_id_of_another_source_is_another_message
    a_message_without_a_valid_signature_is_refused_and_the_store_not_asked
    an_id_with_another_body_is_refused
    a_message_in_doubt_gets_409_until_it_is_decided
    a_handler_that_vouches_is_believed
    a_body_that_is_too_large_or_too_slow_is_not_handled
    a_request_without_an_effect_is_no_message
    an_answer_that_was_not_stored_is_repeated_without_its_body
    what_a_handler_states_about_receipts_is_removed
}
