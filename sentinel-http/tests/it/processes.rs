//! H7, H27: services as processes, which are killed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use sentinel::policy::Policy;
use sentinel::record::Kind;
use sentinel::{Deployment, Sentinel};
use tokio::net::TcpStream;

use crate::harness::{App, Front, Got, Handler, layer, text, until};

/// Makes a child of this test program a service.
const SERVES: &str = "SENTINEL_HTTP_TEST_SERVES";

/// Not a check: the program of the child processes. It does nothing in a run of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_in_a_child_process() {
    let Ok(settings) = std::env::var(SERVES) else { return };
    let [url, namespace, ledger] = settings.split('|').collect::<Vec<_>>().try_into().unwrap();
    let store = Deployment::parse(url).unwrap().open().await.unwrap();
    let sentinel = Sentinel::from_arc(store).namespace(namespace).unwrap();
    let (ledger, policy) = (PathBuf::from(ledger), Policy::new().ttl(Duration::from_millis(500)));
    let handler = Handler::new(move |request: http::Request<bytes::Bytes>, _| {
        let ledger = ledger.clone();
        async move {
            append(&ledger, "begun\n");
            if request.body() == "slow" {
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
            text(201, "done")
        }
    });
    let app = App::new(Front::Axum, layer(sentinel).policy(policy.late_effects(Duration::ZERO)), handler);
    let address = app.serve().await;
    println!("serves {address}");
    std::future::pending().await
}

fn append(ledger: &Path, line: &str) {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(ledger).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

/// A service in a process of its own, which is killed at the latest when this is dropped.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    fn start(url: &str, namespace: &str, ledger: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["processes::serve_in_a_child_process", "--exact", "--nocapture"])
            .env(SERVES, format!("{url}|{namespace}|{}", ledger.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.filter_map(|line| line.rsplit_once("serves ")?.1.parse().ok()).next();
        Self { child, address: address.expect("the service prints its address") }
    }

    fn kill(&mut self) {
        // SIGKILL.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Posts over a socket; None: the connection ended without an answer.
async fn post(address: SocketAddr, key: &str, body: &'static str) -> Option<Got> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = http::Request::post("/charges")
        .header("host", "x")
        .header("x-tenant", "acme")
        .header("idempotency-key", key)
        .body(Full::new(bytes::Bytes::from(body)))
        .unwrap();
    let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Got { status: parts.status.as_u16(), headers: parts.headers, body })
}

fn begun(ledger: &Path) -> usize {
    std::fs::read_to_string(ledger).unwrap_or_default().lines().count()
}

async fn a_killed_service_leaves_an_uncertain_key(url: String) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let namespace = format!("http-killed-{}", std::process::id());
    let (store, _) = Deployment::parse(&url).unwrap().init().await.unwrap();
    let sentinel = Sentinel::from_arc(store).namespace(&namespace).unwrap();
    let mut first = Service::start(&url, &namespace, &ledger);
    let second = Service::start(&url, &namespace, &ledger);
    let cut = tokio::spawn(post(first.address, "k", "slow"));
    until("the handler runs", async || begun(&ledger) == 1).await;
    first.kill();
    assert_eq!(cut.await.unwrap(), None);
    // The other process waits while the lease lasts, and never runs it.
    until("the key is uncertain", async || {
        let got = post(second.address, "k", "slow").await.unwrap();
        assert!([409, 500].contains(&got.status), "{got:?}");
        got.status == 500
    })
    .await;
    for _ in 0..50 {
        post(second.address, "k", "slow").await.unwrap().assert_problem(500, "uncertain");
    }
    assert_eq!(begun(&ledger), 1);
    let record = sentinel.inspect(Kind::Execution, "acme/k").await.unwrap().record.unwrap();
    let got = post(second.address, "k", "slow").await.unwrap();
    assert_eq!(got.header("sentinel-support").unwrap().replace('-', ""), record.token.get().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_leaves_an_uncertain_key_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    a_killed_service_leaves_an_uncertain_key(format!("sqlite:{}", folder.path().join("s.db").display()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_leaves_an_uncertain_key_on_postgresql() {
    a_killed_service_leaves_an_uncertain_key(sentinel_testbed::postgres().url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_leaves_an_uncertain_key_on_redis() {
    a_killed_service_leaves_an_uncertain_key(sentinel_testbed::redis().url()).await;
}
