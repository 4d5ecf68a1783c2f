//! Failures that are recorded for good, and how later callers get them.

use std::fmt;

use sentinel::codec::{Codec, Json};
use sentinel::outcome::ReplayedFailure;
use sentinel::prelude::*;
use sentinel::record::Payload;

use crate::sentinel;

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
enum Declined {
    Funds {
        missing_cents: u64,
    },
    /// JSON has no NaN: it would be replayed as another error.
    Score(f64),
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Funds { missing_cents } => write!(f, "{missing_cents} cents are missing"),
            Self::Score(score) => write!(f, "the score is {score}"),
        }
    }
}

const FUNDS: Declined = Declined::Funds { missing_cents: 500 };

fn once(sentinel: &Sentinel, key: &str) -> sentinel::once::Once<Declined> {
    sentinel.once(key).failed_for_good_if(|_| true)
}

async fn fail(once: sentinel::once::Once<Declined>, error: Declined) {
    let outcome = once.run(|_| async { Err::<(), _>(error) }).await.unwrap();
    assert!(matches!(outcome, Outcome::Failed(Failure::ForGood(_))), "{outcome:?}");
}

async fn replayed(once: sentinel::once::Once<Declined>) -> ReplayedFailure<Declined> {
    match once.run(|_| async { Ok(()) }).await.unwrap() {
        Outcome::Failed(Failure::Replayed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_with_a_codec_is_replayed_as_the_error_itself() {
    let sentinel = sentinel();
    fail(once(&sentinel, "k").failure_codec(Json), FUNDS).await;
    let failure = replayed(once(&sentinel, "k").failure_codec(Json)).await;
    assert_eq!(failure.error, Some(FUNDS));
    assert_eq!(failure.recorded.payload.content_type.as_str(), Payload::JSON);
    assert_eq!(failure.to_string(), "500 cents are missing");
    // With another codec for values, in any order of the two.
    let raw = once(&sentinel, "k").failure_codec(Json).codec(sentinel::codec::Raw);
    let outcome = raw.run(|_| async { Ok(Vec::<u8>::new()) }).await.unwrap();
    let Outcome::Failed(Failure::Replayed(failure)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.error, Some(FUNDS));
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_a_codec_is_replayed_as_its_text() {
    let sentinel = sentinel();
    fail(once(&sentinel, "k"), FUNDS).await;
    // Also by a call that has a codec: the bytes are no JSON.
    for call in [once(&sentinel, "k"), once(&sentinel, "k").failure_codec(Json)] {
        let failure = replayed(call).await;
        assert_eq!(failure.error, None);
        assert_eq!(failure.recorded.payload.content_type.as_str(), "text/plain; charset=utf-8");
        assert_eq!(failure.to_string(), "500 cents are missing");
    }
    // A call without a codec shows what one with a codec recorded.
    fail(once(&sentinel, "typed").failure_codec(Json), FUNDS).await;
    let failure = replayed(once(&sentinel, "typed")).await;
    assert_eq!((failure.error.clone(), failure.to_string().contains("500")), (None, true), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_would_be_replayed_as_another_one_is_recorded_as_its_text() {
    let sentinel = sentinel();
    fail(once(&sentinel, "k").failure_codec(Json), Declined::Score(f64::NAN)).await;
    let failure = replayed(once(&sentinel, "k").failure_codec(Json)).await;
    assert_eq!((failure.error.clone(), failure.to_string().as_str()), (None, "the score is NaN"));
    // One that is too large, too; its text is cut.
    fail(once(&sentinel, "large").failure_codec(Json).payload_limit(9), FUNDS).await;
    let failure = replayed(once(&sentinel, "large").failure_codec(Json)).await;
    assert_eq!((failure.recorded.omitted, failure.to_string().as_str()), (true, "500 cents"));
}

/// A text that happens to be JSON is no error of a type.
#[tokio::test(start_paused = true)]
async fn a_text_is_never_decoded_as_an_error() {
    let sentinel = sentinel();
    let number = || sentinel.once::<u32>("k").failed_for_good_if(|_| true);
    let _ = number().run(|_| async { Err::<(), _>(7) }).await.unwrap();
    assert_eq!(Codec::<u32>::decode(&Json, &Payload::new(Payload::JSON, "7")).unwrap(), 7);
    let outcome = number().failure_codec(Json).run(|_| async { Ok(()) }).await.unwrap();
    let Outcome::Failed(Failure::Replayed(failure)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.error, failure.to_string().as_str()), (None, "7"));
}
