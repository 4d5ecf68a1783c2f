//! Signatures: HMAC-SHA256 over parts that cannot run into each other, and the signatures of
//! [Standard Webhooks](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sentinel_client::sentinel_core::{Invalid, Token};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Base64 as it is written, and read with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The version of a signature and of a receipt.
const VERSION: &str = "v1,";

/// The size of a signature, in bytes.
pub(crate) const SIGNATURE_BYTES: usize = 32;

/// Bytes that only the two parties know. They are never printed.
#[derive(Clone)]
pub(crate) struct SecretBytes(Arc<[u8]>);

impl SecretBytes {
    pub(crate) fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self(bytes.as_ref().into())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether two secrets are equal, in a time that does not depend on where they differ.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// HMAC-SHA256 over parts, each with its length in eight bytes before it: two different lists of parts never have
    /// the same input.
    pub(crate) fn sign_parts(&self, parts: &[&[u8]]) -> [u8; SIGNATURE_BYTES] {
        let mut mac = self.mac();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// HMAC-SHA256 over parts as they are.
    fn sign_joined(&self, parts: &[&[u8]]) -> [u8; SIGNATURE_BYTES] {
        let mut mac = self.mac();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }

    fn mac(&self) -> Hmac<Sha256> {
        Hmac::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Whether two signatures are equal, in a time that does not depend on where they differ.
pub(crate) fn is_equal(expected: &[u8; SIGNATURE_BYTES], given: &[u8]) -> Choice {
    expected.as_slice().ct_eq(given)
}

/// A secret of Standard Webhooks, which the sender and the receiver of a webhook share. Its `Debug` output does not
/// show it.
///
/// ```
/// use sentinel_http::WebhookSecret;
///
/// let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
/// let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, br#"{"test": 2432232314}"#);
/// assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct WebhookSecret(SecretBytes);

impl WebhookSecret {
    /// The shortest secret, in bytes.
    pub const MIN_BYTES: usize = 24;
    /// The longest secret, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// A secret from its bytes. Returns an error if they are fewer than 24 or more than 64.
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Self, Invalid> {
        let secret = SecretBytes::new(bytes);
        if !(Self::MIN_BYTES..=Self::MAX_BYTES).contains(&secret.len()) {
            return Err(invalid(format!("must be 24 to 64 bytes, is {}", secret.len())));
        }
        Ok(Self(secret))
    }

    /// The signature of a message, as one entry of the field `webhook-signature`. `timestamp` is the time of the
    /// attempt, in seconds since 1970 (UTC).
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        self.signature_of(id, &timestamp.to_string(), body)
    }

    fn signature_of(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        format!("{VERSION}{}", BASE64.encode(self.message(id, timestamp, body)))
    }

    fn message(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign_joined(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
    }

    /// Whether one of the signatures of a message was made with this secret. `timestamp` and `signatures` are the
    /// values of the fields `webhook-timestamp` and `webhook-signature`. The time of the message is not checked. Each
    /// signature is compared, in a time that does not depend on where it differs.
    pub fn verifies(&self, id: &str, timestamp: &str, body: &[u8], signatures: &str) -> bool {
        let expected = self.message(id, timestamp, body);
        let given = signatures.split_ascii_whitespace().filter_map(signature_bytes);
        given.fold(Choice::from(0), |found, given| found | is_equal(&expected, &given)).into()
    }

    /// The receipt for a message that was handled: `token` is the one of the run that handled it, `status` and
    /// `response` are what it was answered with. It is the value of the field `Sentinel-Receipt`.
    pub fn receipt(&self, id: &str, token: Token, status: u16, response: &[u8]) -> String {
        format!("{VERSION}{}", BASE64.encode(self.receipt_bytes(id, token, status, response)))
    }

    /// Whether a receipt was made with this secret for these values: the receiver has handled the message, and has
    /// answered it so.
    pub fn verifies_receipt(
        &self,
        receipt: &str,
        id: &str,
        token: Token,
        status: u16,
        response: &[u8],
    ) -> bool {
        let expected = self.receipt_bytes(id, token, status, response);
        signature_bytes(receipt).is_some_and(|given| is_equal(&expected, &given).into())
    }

    fn receipt_bytes(&self, id: &str, token: Token, status: u16, response: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let text = format!("{id}.{token}.{status}.{}", hex(&Sha256::digest(response)));
        self.0.sign_joined(&[text.as_bytes()])
    }

    /// Whether two secrets are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.is(&other.0)
    }
}

impl std::str::FromStr for WebhookSecret {
    type Err = Invalid;

    /// Parses a secret as senders show it: `whsec_` and base64. The prefix may be missing.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let encoded = text.strip_prefix("whsec_").unwrap_or(text);
        // The error of the decoder shows a byte of the secret.
        let bytes = BASE64.decode(encoded).map_err(|_| invalid("must be base64, after the prefix whsec_"))?;
        Self::from_bytes(bytes)
    }
}

fn invalid(why: impl Into<String>) -> Invalid {
    Invalid::new("webhook secret", why)
}

/// The bytes of a signature of version 1; None: it has another version, or is none.
fn signature_bytes(signature: &str) -> Option<Vec<u8>> {
    BASE64.decode(signature.strip_prefix(VERSION)?).ok()
}

/// The digest of a body, as the fingerprint of its message.
pub(crate) fn body_digest(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the libraries of Standard Webhooks test with, at commit b2fa7b8 of
    /// <https://github.com/standard-webhooks/standard-webhooks>: secret, id, timestamp, body, signature.
    const PUBLISHED: [(&str, &str, u64, &[u8], &str); 2] = [
        // libraries/go/webhook_test.go, and the same in C#, Java, JavaScript, PHP, Python and Ruby.
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        // libraries/rust/src/lib.rs
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            br#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ];

    #[test]
    fn the_published_vectors_are_signed_and_verified() {
        for (secret, id, timestamp, body, signature) in PUBLISHED {
            let with: WebhookSecret = secret.parse().unwrap();
            let without: WebhookSecret = secret.trim_start_matches("whsec_").parse().unwrap();
            for secret in [with, without] {
                assert_eq!(secret.sign(id, timestamp, body), signature);
                assert!(secret.verifies(id, &timestamp.to_string(), body, signature));
            }
        }
    }

    #[test]
    fn one_of_several_signatures_is_enough_and_other_versions_do_not_count() {
        let (secret, id, timestamp, body, signature) = PUBLISHED[0];
        let secret: WebhookSecret = secret.parse().unwrap();
        let verifies = |signatures: &str| secret.verifies(id, &timestamp.to_string(), body, signatures);
        let other = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";
        assert!(verifies(&format!("{other} {signature}")) && verifies(&format!("{signature} {other}")));
        assert!(verifies(&format!("v1a,hnO3f9T8Ytu9HwrXslvumlUp {other} {signature}")));
        for wrong in
            ["", "v1", "v1,", other, &signature[..12], &signature.replace("v1", "v2"), &signature[3..]]
        {
            assert!(!verifies(wrong), "{wrong}");
        }
        assert!(!verifies(&signature.replace(',', ", ")));
    }

    #[test]
    fn a_change_of_any_part_is_found() {
        let (secret, id, timestamp, body, signature) = PUBLISHED[0];
        let secret: WebhookSecret = secret.parse().unwrap();
        let timestamp = timestamp.to_string();
        assert!(!secret.verifies("msg_p5jXN8AQM9LWM0D4loKWxJel", &timestamp, body, signature));
        assert!(!secret.verifies(id, "1614265331", body, signature));
        assert!(!secret.verifies(id, &timestamp, br#"{"test": 2432232315}"#, signature));
        let other: WebhookSecret = PUBLISHED[1].0.parse().unwrap();
        assert!(!other.verifies(id, &timestamp, body, signature));
    }

    #[test]
    fn a_receipt_covers_id_token_status_and_response() {
        let secret: WebhookSecret = PUBLISHED[0].0.parse().unwrap();
        let token = Token::new(1_795_227_373_939_496).unwrap();
        let receipt = secret.receipt("msg_1", token, 200, b"ok");
        assert!(receipt.starts_with("v1,") && secret.verifies_receipt(&receipt, "msg_1", token, 200, b"ok"));
        let other_token = Token::new(1_795_227_373_939_497).unwrap();
        let other_secret: WebhookSecret = PUBLISHED[1].0.parse().unwrap();
        assert!(!secret.verifies_receipt(&receipt, "msg_2", token, 200, b"ok"));
        assert!(!secret.verifies_receipt(&receipt, "msg_1", other_token, 200, b"ok"));
        assert!(!secret.verifies_receipt(&receipt, "msg_1", token, 201, b"ok"));
        assert!(!secret.verifies_receipt(&receipt, "msg_1", token, 200, b"no"));
        assert!(!other_secret.verifies_receipt(&receipt, "msg_1", token, 200, b"ok"));
        for wrong in ["", "v1,", "v2,AAAA", "nonsense"] {
            assert!(!secret.verifies_receipt(wrong, "msg_1", token, 200, b"ok"), "{wrong}");
        }
    }

    #[test]
    fn the_definition_of_a_receipt_does_not_change() {
        // Made with OpenSSL: printf 'msg_1.42.200.%s' "$(printf ok | sha256sum | cut -d' ' -f1)" \
        //   | openssl dgst -sha256 -hmac 'twenty-four bytes secret' -binary | base64
        let secret = WebhookSecret::from_bytes(b"twenty-four bytes secret").unwrap();
        assert_eq!(secret.receipt("msg_1", Token::new(42).unwrap(), 200, b"ok"), RECEIPT);
    }

    const RECEIPT: &str = "v1,jRZdjh8yeBKOl8LtX9dtAd6Ds2pQYCitHMxriF1TBgY=";

    #[test]
    fn parts_cannot_run_into_each_other() {
        let secret = SecretBytes::new("k");
        let lists: [&[&[u8]]; 6] =
            [&[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"], &[b"", b"abc"], &[b"abc", b""], &[]];
        let signatures: std::collections::HashSet<_> =
            lists.iter().map(|parts| secret.sign_parts(parts)).collect();
        assert_eq!(signatures.len(), lists.len());
    }

    #[test]
    fn a_secret_of_another_length_is_refused_and_none_is_shown() {
        let of =
            |length: usize| WebhookSecret::from_bytes(vec![7; length]).map(drop).map_err(|e| e.to_string());
        assert_eq!((of(24), of(64)), (Ok(()), Ok(())));
        assert_eq!(of(23), Err("webhook secret must be 24 to 64 bytes, is 23".into()));
        assert!(of(65).is_err() && "whsec_%".parse::<WebhookSecret>().is_err());
        let secret: WebhookSecret = PUBLISHED[0].0.parse().unwrap();
        assert_eq!(format!("{secret:?}"), "WebhookSecret(..)");
    }
}
