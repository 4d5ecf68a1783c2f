//! A run to send requests for, and a server of which each test scripts every byte.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error};
use sentinel::MemoryStore;
use sentinel_client::sentinel_core::Cause;
use sentinel_client::{Run, Sentinel};
use sentinel_http::SentinelHeaders;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than any test takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A run that lasts until this is dropped.
pub(crate) struct Running {
    pub(crate) run: Run,
    _end: oneshot::Sender<Infallible>,
}

/// Begins a run.
pub(crate) async fn running(key: &str) -> Running {
    running_on(&Sentinel::new(MemoryStore::new()), key).await
}

/// Begins a run on a store that is there already.
pub(crate) async fn running_on(sentinel: &Sentinel, key: &str) -> Running {
    running_for(sentinel, key, None).await
}

/// Begins a run for a cause.
pub(crate) async fn running_for(sentinel: &Sentinel, key: &str, cause: Option<Cause>) -> Running {
    let (send, receive) = oneshot::channel();
    let (_end, ended) = oneshot::channel::<Infallible>();
    let once = sentinel.once::<Infallible>(key).ttl(LONG);
    let once = match cause {
        Some(cause) => once.cause(cause),
        None => once,
    };
    tokio::spawn(once.run(|run| async move {
        let _ = send.send(run);
        let _ = ended.await;
        Ok(())
    }));
    Running { run: receive.await.unwrap(), _end }
}

/// A client with this middleware that follows no redirects.
pub(crate) fn client(headers: SentinelHeaders) -> ClientWithMiddleware {
    client_of(reqwest::Client::builder().redirect(Policy::none()), headers)
}

/// A client with this middleware.
pub(crate) fn client_of(client: reqwest::ClientBuilder, headers: SentinelHeaders) -> ClientWithMiddleware {
    // No proxy of the environment is between a test and its server.
    ClientBuilder::new(client.no_proxy().build().unwrap()).with(headers).build()
}

/// What a server does with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// Closes it before it has read anything.
    Close,
    /// Reads a request, sends these bytes, and closes.
    Answer(Vec<u8>),
    /// Reads a request, sends these bytes, and keeps the connection open.
    Hang(Vec<u8>),
}

/// A server that gives each connection the next script, and the last one to all further ones.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(scripts: impl IntoIterator<Item = Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections): (Arc<Mutex<Vec<_>>>, Arc<Mutex<usize>>) = Default::default();
        let (seen, accepted) = (requests.clone(), connections.clone());
        let mut scripts = scripts.into_iter().collect::<Vec<_>>().into_iter();
        let mut script = scripts.next().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *accepted.lock().unwrap() += 1;
                tokio::spawn(serve(stream, script.clone(), seen.clone()));
                script = scripts.next().unwrap_or(script);
            }
        });
        Self { address, requests, connections, task }
    }

    /// A server that always sends this answer.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        Self::start([Script::Answer(answer.into())]).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/entries", self.address)
    }

    /// The requests that were read, each with its head.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Stops listening: its port refuses connections from here on.
    pub(crate) async fn stop(self) -> String {
        let url = self.url();
        self.task.abort();
        // The listener is closed when the task has ended.
        let _ = self.task.await;
        url
    }
}

async fn serve(mut stream: TcpStream, script: Script, requests: Arc<Mutex<Vec<String>>>) {
    match script {
        Script::Close => {}
        Script::Answer(answer) => {
            let request = read_request(&mut stream).await;
            requests.lock().unwrap().extend(request);
            let _ = stream.write_all(&answer).await;
        }
        Script::Hang(answer) => {
            let request = read_request(&mut stream).await;
            requests.lock().unwrap().extend(request);
            let _ = stream.write_all(&answer).await;
            // Until the client closes.
            let _ = stream.read(&mut [0; 1]).await;
        }
    }
}

/// Reads a request with its body. None: the client has closed before its end.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= field(head, "content-length").map_or(0, |length| length.parse().unwrap())
        {
            return Some(text);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The value of a field of a request.
pub(crate) fn field(request: &str, name: &str) -> Option<String> {
    let mut fields = request.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// An answer in HTTP/1.1.
pub(crate) fn answer(status: u16, fields: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{fields}\r\n{body}", body.len()).into_bytes()
}

/// The result of a request.
pub(crate) type SendResult = Result<reqwest::Response, Error>;
