//! The task that owns the listening connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgListener, PgNotification, PgPoolOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::message::{self, Mark, Said};
use super::{Say, Shared};

/// How long the first grant waits for its listening connection: who is done sooner needs none.
const UNHURRIED: Duration = Duration::from_millis(50);

/// How long the connection may be silent before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);

/// The pauses before connecting again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a connection is given up.
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

/// What is to be said, and who waits until it is.
#[derive(Default)]
struct Unsaid {
    wanted: BTreeSet<Mark>,
    changed: BTreeSet<Mark>,
    done: Vec<oneshot::Sender<()>>,
}

impl Unsaid {
    fn take(&mut self, say: Say) {
        match say {
            Say::Wanted(mark) => drop(self.wanted.insert(mark)),
            Say::Changed(mark, done) => {
                self.changed.insert(mark);
                self.done.push(done);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.changed.is_empty()
    }
}

/// Listens, and connects again when the connection is lost, until the store is gone.
pub(super) async fn run(shared: Arc<Shared>, mut says: mpsc::Receiver<Say>) {
    let _started = Started(&shared);
    let mut unsaid = Unsaid::default();
    if let Ok(first) = timeout(UNHURRIED, says.recv()).await {
        match first {
            Some(say) => unsaid.take(say),
            None => return,
        }
    }
    let (mut pause, mut generation) = (FIRST_PAUSE, 0);
    loop {
        let lost = match connect(&shared).await {
            Ok((listener, ours)) => {
                (pause, generation) = (FIRST_PAUSE, generation + 1);
                let mut line = Line { shared: &shared, listener, ours, unsaid: std::mem::take(&mut unsaid) };
                match line.serve(&mut says, generation).await {
                    End::Store => return,
                    End::Lost(error) => error,
                }
            }
            Err(error) => error,
        };
        tracing::debug!(error = %lost, "not listening for changes: those who wait for a run look more often");
        if !rest(&mut says, pause).await {
            return;
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Lets time pass. What is to be said meanwhile is not: what is still wanted is said on the next connection. Whether the
/// store is still there.
async fn rest(says: &mut mpsc::Receiver<Say>, pause: Duration) -> bool {
    let silent = async { while says.recv().await.is_some() {} };
    timeout(pause, silent).await.is_err()
}

async fn connect(shared: &Shared) -> Result<(PgListener, u32), sqlx::Error> {
    let connecting = async {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(shared.dialer.deadline)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(shared.dialer.listening());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        let ours: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut listener).await?;
        listener.listen(&shared.channel).await?;
        Ok((listener, ours.unsigned_abs()))
    };
    timeout(shared.dialer.deadline, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

fn ended() -> sqlx::Error {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}

/// A connection that listens.
struct Line<'s> {
    shared: &'s Shared,
    listener: PgListener,
    /// Its backend: what it says comes back to it.
    ours: u32,
    unsaid: Unsaid,
}

impl Line<'_> {
    async fn serve(&mut self, says: &mut mpsc::Receiver<Say>, generation: u64) -> End {
        let shared = self.shared;
        self.unsaid.wanted.extend(shared.ears.waited_for());
        shared.connected.send_replace(Some(generation));
        let _listening = Connected(shared);
        loop {
            if let Err(end) = self.turn(says).await {
                return end;
            }
        }
    }

    /// Says what there is to say, or waits until there is.
    async fn turn(&mut self, says: &mut mpsc::Receiver<Say>) -> Result<(), End> {
        if !self.unsaid.is_empty() {
            // Who comes in the same turn goes in the same message.
            yield_now().await;
            while let Ok(say) = says.try_recv() {
                self.unsaid.take(say);
            }
            return self.say().await;
        }
        tokio::select! {
            say = says.recv() => self.unsaid.take(say.ok_or(End::Store)?),
            heard = self.listener.try_recv() => {
                let heard = heard?.ok_or_else(ended)?;
                self.hear(&heard);
                while let Some(heard) = self.listener.next_buffered() {
                    self.hear(&heard);
                }
            }
            () = sleep(SILENCE) => {
                self.shared.ears.expire(Instant::now());
                self.send(Vec::new()).await?;
            }
        }
        Ok(())
    }

    async fn say(&mut self) -> Result<(), End> {
        let Unsaid { wanted, changed, done } = std::mem::take(&mut self.unsaid);
        let [wanted, changed] = [wanted, changed].map(|marks| marks.into_iter().collect::<Vec<_>>());
        let texts = message::written(Said::Changed, &changed).chain(message::written(Said::Wanted, &wanted));
        self.send(texts.collect()).await?;
        for done in done {
            // Who does not wait any more has been told soon enough.
            let _ = done.send(());
        }
        Ok(())
    }

    /// Sends messages, in one statement; without any, asks whether the server is still there.
    async fn send(&mut self, texts: Vec<String>) -> Result<(), End> {
        let sql =
            format!("SELECT pg_notify('{}', text) FROM unnest($1::text[]) AS text", self.shared.channel);
        let sending = sqlx::query(AssertSqlSafe(sql)).bind(texts).execute(&mut self.listener);
        timeout(self.shared.dialer.deadline, sending).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        Ok(())
    }

    /// Takes a message, whoever sent it.
    fn hear(&mut self, heard: &PgNotification) {
        if heard.process_id() == self.ours {
            return;
        }
        match message::read(heard.payload()) {
            Some((Said::Wanted, marks)) => {
                let now = Instant::now();
                let just_now = marks.into_iter().filter(|mark| self.shared.ears.want(*mark, now));
                self.unsaid.changed.extend(just_now);
            }
            Some((Said::Changed, marks)) => marks.into_iter().for_each(|mark| {
                self.shared.ears.tell(mark);
            }),
            None => tracing::debug!(channel = self.shared.channel, "a message of somebody else is ignored"),
        }
    }
}

/// However the connection ends: nobody is told any more.
struct Connected<'s>(&'s Shared);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connected.send_replace(None);
        self.0.ears.deafen();
    }
}

/// However the task ends, also with its runtime: it may be started again.
struct Started<'s>(&'s Shared);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.0.started.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn between_two_connections_is_a_pause_in_which_nothing_is_said() {
        let (speaker, mut says) = mpsc::channel(4);
        let (done, told) = oneshot::channel();
        speaker.try_send(Say::Changed(Mark(1), done)).unwrap();
        let before = Instant::now();
        assert!(rest(&mut says, FIRST_PAUSE).await);
        assert_eq!(before.elapsed(), FIRST_PAUSE);
        assert!(told.await.is_err(), "who waits for it to be said is let go");
        drop(speaker);
        assert!(!rest(&mut says, FIRST_PAUSE).await, "the store is gone");
    }
}
