//! The task that owns the listening connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sentinel_store_kit::discard_for;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::message::{self, AddressHash, MessageKind};
use super::shared::{Outgoing, Shared};

/// How long the task waits before it connects: a process that ends sooner needs no listening connection.
const CONNECT_DELAY: Duration = Duration::from_millis(50);

/// How long the connection may be silent before it is checked.
const SILENCE: Duration = Duration::from_secs(30);

/// The pauses before connecting again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a connection is closed.
enum End {
    /// The store is gone.
    Store,
    Lost(sqlx::Error),
}

impl From<sqlx::Error> for End {
    fn from(error: sqlx::Error) -> Self {
        Self::Lost(error)
    }
}

/// What is to be sent, and the callers that wait until it is.
#[derive(Default)]
struct Outbox {
    wanted: BTreeSet<AddressHash>,
    changed: BTreeSet<AddressHash>,
    done: Vec<oneshot::Sender<()>>,
}

impl Outbox {
    fn take(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Wanted(hash) => drop(self.wanted.insert(hash)),
            Outgoing::Changed(hash, done) => {
                self.changed.insert(hash);
                self.done.push(done);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.changed.is_empty()
    }
}

/// Listens, and connects again when the connection is lost, until the store is gone.
pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Outgoing>) {
    let _started = Started(&shared);
    let mut outbox = Outbox::default();
    if let Ok(first) = timeout(CONNECT_DELAY, queue.recv()).await {
        match first {
            Some(outgoing) => outbox.take(outgoing),
            None => return,
        }
    }
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match connect(&shared).await {
            Ok((listener, own_backend)) => {
                pause = FIRST_PAUSE;
                let mut connection = NotifyConnection {
                    shared: &shared,
                    listener,
                    own_backend,
                    outbox: std::mem::take(&mut outbox),
                };
                match connection.serve(&mut queue).await {
                    End::Store => return,
                    End::Lost(error) => error,
                }
            }
            Err(error) => error,
        };
        tracing::debug!(error = %lost, "not notified of changes: callers that wait for a run poll more often");
        // Messages that arrive meanwhile are dropped: what is still wanted is sent on the next connection.
        if !discard_for(&mut queue, pause).await {
            return;
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

async fn connect(shared: &Shared) -> Result<(PgListener, u32), sqlx::Error> {
    let connecting = async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(shared.connector.deadline)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(shared.connector.listening());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        let own_backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut listener).await?;
        listener.listen(&shared.channel).await?;
        Ok((listener, own_backend.unsigned_abs()))
    };
    timeout(shared.connector.deadline, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn ended() -> sqlx::Error {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}

/// A connection that listens.
struct NotifyConnection<'s> {
    shared: &'s Shared,
    listener: PgListener,
    /// Its backend: it receives its own messages, too.
    own_backend: u32,
    outbox: Outbox,
}

impl NotifyConnection<'_> {
    async fn serve(&mut self, queue: &mut mpsc::Receiver<Outgoing>) -> End {
        let shared = self.shared;
        self.outbox.wanted.extend(shared.waiters.keys(|()| true));
        shared.listening.send_replace(true);
        let _listening = Listening(shared);
        loop {
            if let Err(end) = self.step(queue).await {
                return end;
            }
        }
    }

    /// Sends what is in the outbox, or waits until there is something to do.
    async fn step(&mut self, queue: &mut mpsc::Receiver<Outgoing>) -> Result<(), End> {
        if !self.outbox.is_empty() {
            // What arrives meanwhile is sent in the same message.
            yield_now().await;
            while let Ok(outgoing) = queue.try_recv() {
                self.outbox.take(outgoing);
            }
            return self.send_outbox().await;
        }
        tokio::select! {
            outgoing = queue.recv() => self.outbox.take(outgoing.ok_or(End::Store)?),
            notification = self.listener.try_recv() => {
                let notification = notification?.ok_or_else(ended)?;
                self.receive(&notification);
                while let Some(notification) = self.listener.next_buffered() {
                    self.receive(&notification);
                }
            }
            () = sleep(SILENCE) => {
                self.shared.wanted.expire(Instant::now());
                self.send(Vec::new()).await?;
            }
        }
        Ok(())
    }

    async fn send_outbox(&mut self) -> Result<(), End> {
        let Outbox { wanted, changed, done } = std::mem::take(&mut self.outbox);
        let [wanted, changed] = [wanted, changed].map(|hashes| hashes.into_iter().collect::<Vec<_>>());
        let texts = message::encode(MessageKind::Changed, &changed)
            .chain(message::encode(MessageKind::Wanted, &wanted));
        self.send(texts.collect()).await?;
        for done in done {
            // A caller that no longer waits needs no reply.
            let _ = done.send(());
        }
        Ok(())
    }

    /// Sends messages, in one statement; without any, asks whether the server is still there.
    async fn send(&mut self, texts: Vec<String>) -> Result<(), End> {
        let sql =
            format!("SELECT pg_notify('{}', text) FROM unnest($1::text[]) AS text", self.shared.channel);
        let sending = sqlx::query(AssertSqlSafe(sql)).bind(texts).execute(&mut self.listener);
        timeout(self.shared.connector.deadline, sending).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        Ok(())
    }

    /// Receives a message.
    fn receive(&mut self, notification: &PgNotification) {
        if notification.process_id() == self.own_backend {
            return;
        }
        match message::decode(notification.payload()) {
            Some((MessageKind::Wanted, hashes)) => {
                let now = Instant::now();
                let just_now = hashes.into_iter().filter(|hash| self.shared.wanted.insert(*hash, now));
                self.outbox.changed.extend(just_now);
            }
            Some((MessageKind::Changed, hashes)) => {
                hashes.into_iter().for_each(|hash| self.shared.change_received(hash));
            }
            None => tracing::debug!(channel = self.shared.channel, "a message of another client is ignored"),
        }
    }
}

/// However the connection ends: other processes are no longer notified.
struct Listening<'s>(&'s Shared);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.listening.send_replace(false);
        self.0.wanted.clear();
    }
}

/// However the task ends, also with its runtime: it may be started again.
struct Started<'s>(&'s Shared);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.started.store(false, Ordering::Relaxed);
    }
}
