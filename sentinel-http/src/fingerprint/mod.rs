//! What identifies a request: two requests with one key and different fingerprints are a mistake of the client.

mod json;

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::request::Parts;
use http::{HeaderName, header};
use sha2::{Digest as _, Sha256};

use crate::scope::hex;

/// The version of this definition, the first part of each digest. A version is frozen: a record that was written by an
/// older release must match the retries of its request.
const VERSION: &[u8] = b"h1";

/// A fingerprint of the route's own.
pub(crate) type Custom = Arc<dyn Fn(&Parts, &[u8]) -> Vec<u8> + Send + Sync>;

/// What the body contributes to a fingerprint.
#[derive(Clone, Default)]
pub(crate) enum Identity {
    /// Its bytes.
    #[default]
    Bytes,
    /// Its one form as JSON.
    Json,
    /// What the route makes of request and body.
    Custom(Custom),
    /// The fields that describe it: the body is not read.
    Described,
}

/// What a fingerprint is made of besides method, path, query and media type.
#[derive(Clone, Default)]
pub(crate) struct FingerprintOptions {
    /// Fields whose values are a part of it, in the order in which they were named.
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) body: Identity,
    /// With a secret the fingerprint is an HMAC, from which a body cannot be guessed.
    pub(crate) secret: Option<Arc<[u8]>>,
}

impl fmt::Debug for FingerprintOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = match self.body {
            Identity::Bytes => "bytes",
            Identity::Json => "json",
            Identity::Custom(_) => "custom",
            Identity::Described => "described",
        };
        let secret = self.secret.is_some();
        f.debug_struct("FingerprintOptions")
            .field("headers", &self.headers)
            .field("body", &body)
            .field("secret", &secret)
            .finish()
    }
}

/// The fingerprint of a request: hexadecimal digits of a digest over parts that each have their length before them. The
/// path is the one that was received, before a router removed a prefix.
pub(crate) fn fingerprint(parts: &Parts, path: &str, body: &[u8], options: &FingerprintOptions) -> String {
    let mut digest = Digest::new(options.secret.as_deref());
    digest.part(VERSION);
    digest.part(parts.method.as_str().as_bytes());
    digest.part(path.as_bytes());
    // An absent query differs from an empty one.
    digest.optional(parts.uri.query().map(str::as_bytes));
    digest.part(media_type(parts).as_bytes());
    match &options.body {
        Identity::Bytes => digest.part(body),
        Identity::Json => digest.part(json::canonical(body).as_deref().unwrap_or(body)),
        Identity::Custom(custom) => digest.part(&custom(parts, body)),
        Identity::Described => {
            digest.field(parts, &header::CONTENT_LENGTH);
            digest.field(parts, &HeaderName::from_static("content-digest"));
        }
    }
    options.headers.iter().for_each(|name| digest.field(parts, name));
    digest.finish()
}

/// The media type without parameters, in lower case; empty if there is none.
fn media_type(parts: &Parts) -> String {
    let field =
        parts.headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let kind = field.as_deref().and_then(|text| text.split(';').next()).unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// A digest of parts that cannot run into each other.
enum Digest {
    Plain(Sha256),
    Keyed(Box<Hmac<Sha256>>),
}

impl Digest {
    fn new(secret: Option<&[u8]>) -> Self {
        // Bytes of any length are a key.
        match secret.and_then(|secret| Hmac::new_from_slice(secret).ok()) {
            Some(keyed) => Self::Keyed(Box::new(keyed)),
            None => Self::Plain(Sha256::new()),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(digest) => digest.update(bytes),
            Self::Keyed(digest) => digest.update(bytes),
        }
    }

    fn number(&mut self, number: usize) {
        self.bytes(&(number as u64).to_be_bytes());
    }

    fn part(&mut self, part: &[u8]) {
        self.number(part.len());
        self.bytes(part);
    }

    fn optional(&mut self, part: Option<&[u8]>) {
        self.number(usize::from(part.is_some()));
        if let Some(part) = part {
            self.part(part);
        }
    }

    /// All values of a field, in their order.
    fn field(&mut self, parts: &Parts, name: &HeaderName) {
        let values = parts.headers.get_all(name);
        self.number(values.iter().count());
        values.iter().for_each(|value| self.part(value.as_bytes()));
    }

    fn finish(self) -> String {
        match self {
            Self::Plain(digest) => hex(&digest.finalize()),
            Self::Keyed(digest) => hex(&digest.finalize().into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(method: &str, uri: &str, kind: Option<&str>, body: &[u8], options: &FingerprintOptions) -> String {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let path = parts.uri.path().to_owned();
        fingerprint(&parts, &path, body, options)
    }

    fn plain(method: &str, uri: &str, kind: Option<&str>, body: &[u8]) -> String {
        of(method, uri, kind, body, &FingerprintOptions::default())
    }

    #[test]
    fn each_part_of_a_request_is_a_part_of_its_fingerprint() {
        let base = plain("POST", "/charges?a=1", Some("application/json"), b"{}");
        for other in [
            plain("PATCH", "/charges?a=1", Some("application/json"), b"{}"),
            plain("POST", "/charge?a=1", Some("application/json"), b"{}"),
            plain("POST", "/charges?a=2", Some("application/json"), b"{}"),
            plain("POST", "/charges?", Some("application/json"), b"{}"),
            plain("POST", "/charges", Some("application/json"), b"{}"),
            plain("POST", "/charges?a=1", Some("text/plain"), b"{}"),
            plain("POST", "/charges?a=1", None, b"{}"),
            plain("POST", "/charges?a=1", Some("application/json"), b"{} "),
            plain("POST", "/charges?a=1", Some("application/json"), b""),
        ] {
            assert_ne!(base, other);
        }
        assert_ne!(plain("POST", "/a?", None, b""), plain("POST", "/a", None, b""));
        assert_ne!(plain("POST", "/ab", None, b"c"), plain("POST", "/a", None, b"bc"));
    }

    #[test]
    fn parameters_and_case_of_the_media_type_are_no_part() {
        let base = plain("POST", "/", Some("application/json"), b"{}");
        for kind in ["application/json; charset=utf-8", "Application/JSON", " application/json ;x"] {
            assert_eq!(plain("POST", "/", Some(kind), b"{}"), base, "{kind}");
        }
    }

    #[test]
    fn equal_documents_are_equal_if_the_route_compares_json() {
        let json = FingerprintOptions { body: Identity::Json, ..FingerprintOptions::default() };
        let kind = Some("application/json");
        let base = of("POST", "/", kind, br#"{"a":1,"b":[true,null,"x"]}"#, &json);
        for same in [&br#"{ "b" : [true, null, "\u0078"], "a":1 }"#[..], br#"{"b":[true,null,"x"],"a":1}"#] {
            assert_eq!(of("POST", "/", kind, same, &json), base);
        }
        for other in [&br#"{"a":1.0,"b":[true,null,"x"]}"#[..], br#"{"a":1,"b":[null,true,"x"]}"#] {
            assert_ne!(of("POST", "/", kind, other, &json), base);
        }
    }

    #[test]
    fn named_fields_are_a_part_with_all_their_values() {
        let options =
            FingerprintOptions { headers: vec![HeaderName::from_static("x-version")], ..Default::default() };
        let with = |values: &[&str]| {
            let mut request = Request::builder().method("POST").uri("/");
            for value in values {
                request = request.header("x-version", *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            fingerprint(&parts, "/", b"", &options)
        };
        let all = [with(&[]), with(&[""]), with(&["1"]), with(&["1", "2"]), with(&["2", "1"]), with(&["12"])];
        for (n, one) in all.iter().enumerate() {
            assert!(!all[..n].contains(one), "{n}");
        }
    }

    /// The definition is frozen: a record that was written under an older release must match its retries.
    #[test]
    fn the_first_version_never_changes() {
        let vector =
            plain("POST", "/charges?a=1", Some("application/json; charset=utf-8"), b"{\"cents\":4200}");
        assert_eq!(vector, independent());
    }

    /// The same, written out: lengths of eight bytes before each part, and 1 before a query that is there.
    fn independent() -> String {
        let mut bytes = Vec::new();
        for part in [&b"h1"[..], b"POST", b"/charges"] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        bytes.extend(1u64.to_be_bytes());
        for part in [&b"a=1"[..], b"application/json", b"{\"cents\":4200}"] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
        hex(&Sha256::digest(bytes))
    }
}
