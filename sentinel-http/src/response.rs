//! Responses as they are stored: in the form `message/http` of RFC 9112, which any tool can read.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use sentinel_client::sentinel_core::Payload;

use crate::body::Body;

/// The content type of a stored response.
pub const MESSAGE_HTTP: &str = "message/http";

/// The response field that marks a replay.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The fields that are stored and replayed. [`IdempotencyLayer::replay_header`](crate::IdempotencyLayer::replay_header)
/// adds others.
pub(crate) const REPLAYED: [HeaderName; 15] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_DISPOSITION,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    header::LOCATION,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LINK,
    header::CACHE_CONTROL,
    header::VARY,
    header::RETRY_AFTER,
    HeaderName::from_static("deprecation"),
];

/// The most fields that a stored response may have.
const MAX_FIELDS: usize = 256;

/// Why a field must not be stored: it belongs to one caller, one connection or one moment. None: it may.
pub(crate) fn forbidden(name: &HeaderName) -> Option<&'static str> {
    let name = name.as_str();
    let is_one_of = |names: &[&str]| names.contains(&name);
    if is_one_of(&["set-cookie", "authorization", "www-authenticate"]) || name.starts_with("proxy-") {
        Some("it identifies one caller")
    } else if name.starts_with("access-control-") {
        Some("it depends on the origin of the caller")
    } else if is_one_of(&[
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
    ]) {
        Some("it describes one connection")
    } else if is_one_of(&["date", "server-timing"]) {
        Some("it describes one moment")
    } else if is_reserved(name) {
        Some("the layer sets it itself")
    } else {
        None
    }
}

fn is_reserved(name: &str) -> bool {
    name == "idempotency-replayed" || name.starts_with("sentinel-")
}

/// Removes the fields that only the layer may set, so that a handler which passes on the response of another service
/// passes on no claim of that service.
pub(crate) fn remove_reserved(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_reserved(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// The response as it is stored. `extra` are the fields that are stored besides [`REPLAYED`].
pub(crate) fn encode(parts: &Parts, body: &[u8], extra: &[HeaderName]) -> Payload {
    let mut text = BytesMut::with_capacity(256 + body.len());
    text.put_slice(b"HTTP/1.1 ");
    text.put_slice(parts.status.as_str().as_bytes());
    text.put_u8(b' ');
    text.put_slice(parts.status.canonical_reason().unwrap_or_default().as_bytes());
    text.put_slice(b"\r\n");
    for (name, value) in &parts.headers {
        if REPLAYED.contains(name) || extra.contains(name) {
            text.put_slice(name.as_str().as_bytes());
            text.put_slice(b": ");
            text.put_slice(value.as_bytes().trim_ascii());
            text.put_slice(b"\r\n");
        }
    }
    text.put_slice(b"\r\n");
    text.put_slice(body);
    Payload::new(MESSAGE_HTTP, text.freeze())
}

/// Why a stored response cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is not a complete response in the form message/http")]
    Incomplete,
    #[error("it is not in the form message/http: {0}")]
    Malformed(#[from] httparse::Error),
    #[error("its status or one of its fields is not valid")]
    Invalid,
}

/// The response from its stored form. Fields that must not be stored are left out, because other programs can write to
/// a store.
pub(crate) fn decode(stored: &Bytes) -> Result<Response<Bytes>, Unreadable> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = parsed.parse(stored)? else {
        return Err(Unreadable::Incomplete);
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.filter(|status| !status.is_informational()).ok_or(Unreadable::Invalid)?;
    let mut response = Response::new(stored.slice(length..));
    *response.status_mut() = status;
    for field in parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Unreadable::Invalid)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Unreadable::Invalid)?;
        if forbidden(&name).is_none() {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}

/// A response with its body as the caller gets it.
pub(crate) fn with_body(response: Response<Bytes>) -> Response<Body> {
    response.map(Body::from)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn decoded(payload: &Payload) -> Response<Bytes> {
        decode(&payload.bytes).unwrap()
    }

    fn response(status: u16, fields: &[(HeaderName, Vec<u8>)], body: Vec<u8>) -> Response<Vec<u8>> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in fields {
            response.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        response
    }

    fn stored(response: Response<Vec<u8>>, extra: &[HeaderName]) -> Payload {
        let (parts, body) = response.into_parts();
        encode(&parts, &body, extra)
    }

    #[test]
    fn a_stored_response_is_a_message_that_any_tool_can_read() {
        let fields =
            [(header::CONTENT_TYPE, b"text/plain".to_vec()), (header::LOCATION, b"/charges/7".to_vec())];
        let payload = stored(response(201, &fields, b"made".to_vec()), &[]);
        assert_eq!(payload.content_type.as_str(), MESSAGE_HTTP);
        let text = b"HTTP/1.1 201 Created\r\ncontent-type: text/plain\r\nlocation: /charges/7\r\n\r\nmade";
        assert_eq!(payload.bytes, text[..]);
    }

    #[test]
    fn only_allowed_fields_are_stored_and_those_that_were_named() {
        let own = HeaderName::from_static("x-order-id");
        let fields = [
            (header::SET_COOKIE, b"session=secret".to_vec()),
            (header::DATE, b"now".to_vec()),
            (own.clone(), b"42".to_vec()),
            (header::ETAG, b"\"1\"".to_vec()),
        ];
        let without = stored(response(200, &fields, Vec::new()), &[]);
        assert_eq!(decoded(&without).headers().keys().collect::<Vec<_>>(), [&header::ETAG]);
        let with = decoded(&stored(response(200, &fields, Vec::new()), std::slice::from_ref(&own)));
        assert_eq!(with.headers().get(&own).unwrap(), "42");
        assert!(!with.headers().contains_key(header::SET_COOKIE));
    }

    #[test]
    fn a_field_that_belongs_to_one_caller_or_connection_is_never_read_back() {
        let text = b"HTTP/1.1 200 OK\r\nset-cookie: a\r\ncontent-length: 9\r\nsentinel-fence: x\r\nx-mine: y\r\n\r\n";
        let read = decode(&Bytes::from_static(text)).unwrap();
        assert_eq!(read.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mine"]);
        for name in REPLAYED {
            assert_eq!(forbidden(&name), None, "{name}");
        }
        for name in
            ["set-cookie", "proxy-authenticate", "access-control-allow-origin", "te", "sentinel-receipt"]
        {
            assert!(forbidden(&HeaderName::from_static(name)).is_some(), "{name}");
        }
    }

    #[test]
    fn bytes_that_are_no_response_are_refused() {
        for text in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"{\"a\":1}",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
        ] {
            assert!(decode(&Bytes::copy_from_slice(text)).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            status in 200u16..=999,
            fields in vec((0usize..REPLAYED.len(), vec(prop_oneof![0x20u8..=0x7e, 0x80u8..=0xff], 0..20)), 0..20),
            body in vec(any::<u8>(), 0..200),
        ) {
            let fields: Vec<_> = fields.into_iter().map(|(n, value)| (REPLAYED[n].clone(), value)).collect();
            let read = decoded(&stored(response(status, &fields, body.clone()), &[]));
            prop_assert_eq!(read.status().as_u16(), status);
            prop_assert_eq!(&read.body()[..], &body[..]);
            for name in &REPLAYED {
                let sent: Vec<_> =
                    fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.trim_ascii()).collect();
                let got: Vec<_> = read.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect();
                prop_assert_eq!(got, sent);
            }
        }

        #[test]
        fn no_bytes_end_the_process(bytes in vec(any::<u8>(), 0..300)) {
            let _ = decode(&Bytes::from(bytes));
        }
    }
}
