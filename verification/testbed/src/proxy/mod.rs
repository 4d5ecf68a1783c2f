//! A TCP proxy that delays, loses or cuts what passes it.
//!
//! It has a thread and a runtime of its own: it answers while a test blocks, and keeps real time while a test's clock
//! is paused.

mod flow;
mod pump;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use crate::process::until;

pub use flow::Direction;

/// A proxy on a loopback port, in front of another loopback port. Dropping it cuts all connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the test and the connections have in common.
#[derive(Debug)]
struct Shared {
    target: AtomicU16,
    requests: Direction,
    replies: Direction,
    refusing: AtomicBool,
    accepted: AtomicU64,
    turns: AtomicU64,
    open: Mutex<BTreeSet<u64>>,
    /// Changes when what is open has to be cut.
    cuts: watch::Sender<()>,
}

impl Proxy {
    /// Starts a proxy in front of the server on this port, which need not run yet.
    #[track_caller]
    pub fn start(target: u16) -> Self {
        let shared = Arc::new(Shared {
            target: AtomicU16::new(target),
            requests: Direction::default(),
            replies: Direction::default(),
            refusing: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            open: Mutex::default(),
            cuts: watch::Sender::new(()),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port can be bound");
        let port = listener.local_addr().expect("what is bound has an address").port();
        let (end, ended) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(listener, served, ended));
        Self { port, shared, end: Some(end), thread: Some(thread) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, connections lead to another server, as when a name is given to it; those that were open are cut.
    #[track_caller]
    pub fn lead_to(&self, target: u16) {
        self.shared.target.store(target, Ordering::SeqCst);
        self.cut();
    }

    /// What clients send.
    pub fn requests(&self) -> &Direction {
        &self.shared.requests
    }

    /// What the server sends.
    pub fn replies(&self) -> &Direction {
        &self.shared.replies
    }

    /// Everything passes again, both ways and for new connections.
    pub fn heal(&self) {
        self.shared.refusing.store(false, Ordering::SeqCst);
        self.requests().pass();
        self.replies().pass();
    }

    /// Both ways, whatever is sent is lost, and so is the end of a connection: as behind a firewall that has
    /// dropped the connection. New connections are made, and silent.
    pub fn black_hole(&self) {
        self.requests().swallow();
        self.replies().swallow();
    }

    /// New connections are cut as soon as they are made, until [`heal`](Self::heal).
    pub fn refuse(&self) {
        self.shared.refusing.store(true, Ordering::SeqCst);
    }

    /// Cuts all connections: both ends see a reset. When this returns they are closed.
    #[track_caller]
    pub fn cut(&self) {
        let doomed = self.shared.open().clone();
        self.shared.cuts.send_replace(());
        until("the connections are cut", || self.shared.open().is_disjoint(&doomed));
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.open().len()
    }

    /// How many connections were made so far, refused ones included.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How often a client sent something for the first time, or after a reply: the round trips of all connections,
    /// where a client waits for its answer before it goes on.
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // Its panic message is on stderr.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The proxy's thread. With its runtime, all its connections end.
fn serve(listener: TcpListener, shared: Arc<Shared>, ended: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(async {
        tokio::select! {
            _ = ended => {}
            failed = accept(listener, shared) => failed.expect("a proxy accepts connections"),
        }
    });
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        // A client that has gone again is no reason to stop.
        let Ok((client, _)) = listener.accept().await else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        if shared.refusing.load(Ordering::SeqCst) {
            let _ = client.set_zero_linger();
            continue;
        }
        // In this order: a cut that knows of this connection reaches it.
        let cut = shared.cuts.subscribe();
        shared.open().insert(number);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // Closed first, counted out afterwards.
            connection(client, &shared, cut).await;
            shared.open().remove(&number);
        });
    }
}

/// Serves one connection to its end.
async fn connection(mut client: TcpStream, shared: &Shared, mut cut: watch::Receiver<()>) {
    let Ok(mut server) =
        TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target.load(Ordering::SeqCst))).await
    else {
        // The nearest to the server's own refusal.
        let _ = client.set_zero_linger();
        return;
    };
    // Each side has its own idea of what belongs together.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let whole = {
        let ((client_reads, client_writes), (server_reads, server_writes)) = (client.split(), server.split());
        // Whether the server has sent something since the client did.
        let answered = AtomicBool::new(true);
        // Each returns whether its turn is lost.
        let client_sent = || {
            let first = answered.swap(false, Ordering::SeqCst);
            shared.turns.fetch_add(u64::from(first), Ordering::SeqCst);
            first && shared.requests.is_doomed()
        };
        let server_sent = || !answered.swap(true, Ordering::SeqCst) && shared.replies.is_doomed();
        let requests = pump::pump(client_reads, server_writes, &shared.requests, client_sent);
        let replies = pump::pump(server_reads, client_writes, &shared.replies, server_sent);
        tokio::select! {
            ended = async { tokio::try_join!(requests, replies) } => ended.is_ok(),
            _ = cut.changed() => false,
        }
    };
    if !whole {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}
