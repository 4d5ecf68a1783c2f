//! Requests of an attacker: framing, names and fields.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use sentinel::record::Kind;

use crate::harness::{Bed, Front, Handler, StoreKind};

/// A request whose framing is ambiguous, with a second request hidden in it.
fn smuggled(framing: &str, body: &str) -> String {
    format!(
        "POST /charges HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nidempotency-key: outer\r\n{framing}\r\n\r\n{body}POST \
         /charges HTTP/1.1\r\nhost: x\r\nx-tenant: victim\r\nidempotency-key: hidden\r\ncontent-length: 0\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_an_ambiguous_length_is_never_two_requests() {
    for front in [Front::Axum, Front::Tower] {
        let bed = Bed::new(StoreKind::Memory, front).await;
        let app = bed.app(bed.layer(), &Handler::counting());
        let address = app.serve().await;
        for (framing, body) in [
            ("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
            ("transfer-encoding: chunked\r\ncontent-length: 5", "0\r\n\r\n"),
            ("content-length: 0\r\ncontent-length: 4", "abcd"),
            ("transfer-encoding: xchunked", "0\r\n\r\n"),
            ("transfer-encoding: chunked, identity", "0\r\n\r\n"),
            ("content-length: 0\r\n folded: 1", ""),
            ("content-length : 0", ""),
            ("content-length: +0", ""),
            ("content-length: 0x0", ""),
            ("x-a: b\0c\r\ncontent-length: 0", ""),
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(smuggled(framing, body).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            // The server may reset the connection; what it wrote before counts.
            let _ = stream.read_to_end(&mut answer).await;
            let answers = String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count();
            assert!(answers <= 1, "{framing:?}: {}", String::from_utf8_lossy(&answer));
            let hidden = bed.sentinel.inspect(Kind::Execution, "victim/hidden").await.unwrap();
            assert!(hidden.record.is_none(), "{framing:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_cannot_add_a_line_to_an_answer() {
    let bed = Bed::new(StoreKind::Memory, Front::Axum).await;
    let app = bed.app(bed.layer(), &Handler::counting());
    let address = app.serve().await;
    for key in ["k\r\n x: y", "k\n", "\"k\r\nset-cookie: a=b\"", "k\0"] {
        let head = format!(
            "POST /charges HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nidempotency-key: {key}\r\ncontent-length: \
             0\r\nconnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        assert!(!answer.contains("set-cookie") && !answer.contains("x: y"), "{key:?}: {answer}");
    }
}
