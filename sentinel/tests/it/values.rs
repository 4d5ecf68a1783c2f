//! A replay equals the value of the first call, or the first call reports that there will be none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

use sentinel::Error;
use sentinel::codec::{Codec, CodecError};
use sentinel::outcome::NotStored;
use sentinel::prelude::*;
use sentinel::record::{Payload, State};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Lied, sentinel, state};

async fn run<T>(sentinel: &Sentinel, key: &str, value: T) -> Result<Outcome<T, Lied>, Error>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    sentinel.once(key).run(|_| async { Ok(value) }).await
}

/// The call returns the value, and the reason why later callers do not get it.
async fn is_not_stored<T>(value: T, other: T)
where
    T: Serialize + DeserializeOwned + Debug + Send + 'static,
{
    let (sentinel, shown) = (sentinel(), format!("{value:?}"));
    let outcome = run(&sentinel, "k", value).await.unwrap();
    let Outcome::CompletedNotStored(value, NotStored::Unfaithful(why)) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(format!("{value:?}"), shown);
    assert!(!why.is_empty());
    assert_eq!(state(&sentinel, "k").await, State::Completed);
    let again = run(&sentinel, "k", other).await;
    assert!(matches!(again, Err(Error::ResultNotStored(_))), "{shown}: {again:?}");
}

async fn is_replayed<T>(value: impl Fn() -> T)
where
    T: Serialize + DeserializeOwned + Debug + PartialEq + Send + 'static,
{
    let sentinel = sentinel();
    assert!(matches!(run(&sentinel, "k", value()).await.unwrap(), Outcome::Completed(_)), "{:?}", value());
    let Outcome::Replayed(again) = run(&sentinel, "k", value()).await.unwrap() else { panic!("ran again") };
    assert_eq!(again, value());
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Sum { amount: u128 },
    ByNumber { map: BTreeMap<u32, String> },
    Empty,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Receipt {
    id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    lines: Vec<(String, f32)>,
    by_name: HashMap<String, Option<i128>>,
    tags: HashSet<u8>,
    address: std::net::IpAddr,
}

#[tokio::test(start_paused = true)]
async fn a_value_that_json_cannot_replay_is_not_stored_and_this_is_reported() {
    is_not_stored(Some(f64::NAN), None).await;
    is_not_stored(f64::NAN, 0.0).await;
    is_not_stored(f32::INFINITY, 0.0).await;
    is_not_stored(Some(None::<u8>), None).await;
    is_not_stored(Some(()), None).await;
    is_not_stored(vec![Some(1.0), Some(f64::NEG_INFINITY), None], vec![]).await;
    is_not_stored(Tagged::Sum { amount: u128::MAX }, Tagged::Empty).await;
    is_not_stored(Tagged::ByNumber { map: BTreeMap::from([(1, "a".into())]) }, Tagged::Empty).await;
}

#[tokio::test(start_paused = true)]
async fn a_value_that_json_can_replay_is_stored_and_replayed() {
    is_replayed(|| Some(0.1f64 + 0.2)).await;
    is_replayed(|| None::<f64>).await;
    is_replayed(|| (-0.0f64, f32::MIN_POSITIVE, u128::MAX, i128::MIN)).await;
    is_replayed(|| Tagged::Empty).await;
    is_replayed(|| {
        BTreeMap::from([(1u32, "a"), (2, "b")])
            .into_iter()
            .map(|(n, t)| (n, t.to_owned()))
            .collect::<BTreeMap<_, _>>()
    })
    .await;
    is_replayed(|| "\u{0}\u{feff}\"\\\u{1f600}".to_owned()).await;
    is_replayed(|| ()).await;
    for _ in 0..20 {
        is_replayed(|| Receipt {
            id: u64::MAX,
            note: None,
            lines: vec![("a".into(), 0.1), ("b".into(), 1e30)],
            by_name: (0..40).map(|n| (format!("{n}"), (n % 3 > 0).then_some(i128::from(n) << 70))).collect(),
            tags: (0..200).collect(),
            address: [127, 0, 0, 1].into(),
        })
        .await;
    }
}

/// Two decimals, as a custom codec may keep them.
struct Cents;

impl Codec<f64> for Cents {
    fn encode(&self, value: &f64) -> Result<Payload, CodecError> {
        Ok(Payload::new("text/plain", format!("{value:.2}")))
    }

    fn decode(&self, payload: &Payload) -> Result<f64, CodecError> {
        Ok(std::str::from_utf8(&payload.bytes)?.trim().parse()?)
    }
}

/// A codec that cannot decode what it encoded.
struct OneWay;

impl Codec<u8> for OneWay {
    fn encode(&self, value: &u8) -> Result<Payload, CodecError> {
        Ok(Payload::new("text/plain", format!("<{value}>")))
    }

    fn decode(&self, payload: &Payload) -> Result<u8, CodecError> {
        Ok(std::str::from_utf8(&payload.bytes)?.parse()?)
    }
}

#[tokio::test(start_paused = true)]
async fn a_custom_codec_must_decode_what_it_encoded() {
    let sentinel = sentinel();
    let cents =
        |key, value| sentinel.once(key).codec(Cents).run(move |_| async move { Ok::<_, Lied>(value) });
    assert!(matches!(cents("k", 0.25).await.unwrap(), Outcome::Completed(_)));
    assert!(matches!(cents("k", 1.0).await.unwrap(), Outcome::Replayed(value) if value == 0.25));
    let one_way = sentinel.once("o").codec(OneWay).run(|_| async { Ok::<_, Lied>(7) });
    let outcome = one_way.await.unwrap();
    assert!(matches!(outcome, Outcome::CompletedNotStored(7, NotStored::Unfaithful(_))), "{outcome:?}");
}
