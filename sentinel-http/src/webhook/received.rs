//! A message as it was received: whether its signature is valid, and whose it is.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use sentinel_client::sentinel_core::StoreTime;

use super::source::WebhookSource;
use crate::field::number;
use crate::key::MAX_KEY_BYTES;
use crate::signature::WebhookSecret;

/// The request field with the id of a message.
pub const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
/// The request field with the time of the attempt, in seconds since 1970 (UTC).
pub const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The request field with the signatures.
pub const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How far the time of an attempt may be from this service's time.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A message whose signature was verified, in the extensions of a request that
/// [`WebhookReceiver`](super::WebhookReceiver) passes on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ReceivedWebhook {
    /// The name of the source whose secret has signed it.
    pub source: String,
    /// Its id, which each attempt has.
    pub id: String,
    /// The time of this attempt by the sender's clock, in seconds since 1970 (UTC).
    pub timestamp: u64,
}

/// Verifies a message. Returns the secret that has signed it, too. None: no active secret has, or the message is too
/// old or too new.
///
/// All secrets of all sources are tried, whichever of them matches, so the time does not show which.
pub(super) fn verify<'a>(
    sources: &'a [WebhookSource],
    headers: &HeaderMap,
    body: &[u8],
    now: StoreTime,
) -> Option<(ReceivedWebhook, &'a WebhookSecret)> {
    let id = only(headers, WEBHOOK_ID)?;
    let time = only(headers, WEBHOOK_TIMESTAMP)?;
    let signatures = only(headers, WEBHOOK_SIGNATURE)?;
    let timestamp = number(time)?;
    let is_id = (1..=MAX_KEY_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_id || !is_near(timestamp, now) {
        return None;
    }
    let mut found = None;
    for source in sources {
        for secret in source.secrets() {
            let verifies = secret.verifies(id, time, body, signatures);
            if verifies && found.is_none() {
                found = Some((source, secret));
            }
        }
    }
    let (source, secret) = found.filter(|(source, _)| source.accepts(id))?;
    Some((ReceivedWebhook { source: source.name().to_owned(), id: id.to_owned(), timestamp }, secret))
}

/// The value of a field that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut fields = headers.get_all(name).iter();
    let field = fields.next()?;
    fields.next().is_none().then(|| field.to_str().ok()).flatten()
}

fn is_near(timestamp: u64, now: StoreTime) -> bool {
    let time = StoreTime::from_micros(timestamp.saturating_mul(1_000_000));
    // One of the two is zero.
    time.since(now) + now.since(time) <= TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_614_265_330;
    const SECRETS: [&str; 3] = [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ];

    fn secret(n: usize) -> WebhookSecret {
        SECRETS[n].parse().unwrap()
    }

    fn sources() -> [WebhookSource; 2] {
        [
            WebhookSource::new("shop").secret(secret(0)).secret(secret(1)),
            WebhookSource::new("bank").secret(secret(2)),
        ]
    }

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    /// The source of a message that was signed with a secret; None: it is refused.
    fn source_of(with: usize, id: &str, at: u64, body: &[u8]) -> Option<String> {
        let (signature, at) = (secret(with).sign(id, at, body), at.to_string());
        let fields = [(WEBHOOK_ID, id), (WEBHOOK_TIMESTAMP, &*at), (WEBHOOK_SIGNATURE, &*signature)];
        let now = StoreTime::from_micros(NOW * 1_000_000);
        verify(&sources(), &headers(&fields), body, now).map(|(received, _)| received.source)
    }

    #[test]
    fn the_source_is_the_one_whose_secret_has_signed() {
        for (with, source) in [(0, "shop"), (1, "shop"), (2, "bank")] {
            assert_eq!(source_of(with, "msg_1", NOW, b"{}").as_deref(), Some(source));
        }
    }

    #[test]
    fn the_time_must_be_within_five_minutes_before_and_after() {
        for near in [NOW - 300, NOW, NOW + 300] {
            assert!(source_of(0, "msg_1", near, b"{}").is_some(), "{near}");
        }
        for far in [0, NOW - 301, NOW + 301, u64::MAX] {
            assert!(source_of(0, "msg_1", far, b"{}").is_none(), "{far}");
        }
    }

    #[test]
    fn an_id_that_could_be_read_in_two_ways_is_refused() {
        assert!(source_of(0, "a.b", NOW, b"{}").is_none());
        let sources = [WebhookSource::new("shop").secret(secret(0)).dots_in_ids()];
        let (signature, at) = (secret(0).sign("a.b", NOW, b""), NOW.to_string());
        let fields = [(WEBHOOK_ID, "a.b"), (WEBHOOK_TIMESTAMP, &*at), (WEBHOOK_SIGNATURE, &*signature)];
        assert!(verify(&sources, &headers(&fields), b"", StoreTime::from_micros(NOW * 1_000_000)).is_some());
        assert!(
            source_of(0, "", NOW, b"{}").is_none() && source_of(0, &"x".repeat(256), NOW, b"{}").is_none()
        );
        assert!(
            source_of(0, "a b", NOW, b"{}").is_none() && source_of(0, &"x".repeat(255), NOW, b"").is_some()
        );
    }

    #[test]
    fn each_field_must_be_there_once_and_in_one_spelling() {
        let (signature, at) = (secret(0).sign("msg_1", NOW, b"{}"), NOW.to_string());
        let all = [(WEBHOOK_ID, "msg_1"), (WEBHOOK_TIMESTAMP, &*at), (WEBHOOK_SIGNATURE, &*signature)];
        let now = StoreTime::from_micros(NOW * 1_000_000);
        let is_valid =
            |fields: &[(HeaderName, &str)]| verify(&sources(), &headers(fields), b"{}", now).is_some();
        assert!(is_valid(&all));
        for n in 0..all.len() {
            let mut without = all.to_vec();
            without.remove(n);
            let twice: Vec<_> = all.iter().chain([&all[n]]).cloned().collect();
            assert!(!is_valid(&without) && !is_valid(&twice), "{n}");
        }
        for wrong in [format!("+{at}"), format!("0{at}"), format!("{at}.0"), format!("{at}000"), "x".into()] {
            assert!(!is_valid(&[all[0].clone(), (WEBHOOK_TIMESTAMP, &wrong), all[2].clone()]), "{wrong}");
        }
    }
}
