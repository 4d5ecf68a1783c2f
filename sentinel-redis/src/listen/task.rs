//! The task that owns the listening connection.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::StoreError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::Shared;
use super::ears::{Ears, LINGER};
use crate::wire::Failure;
use crate::wire::subscriber::{Heard, Subscriber};

/// How long the connection may be silent before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(30);

/// The pauses before connecting again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a connection is given up.
enum End {
    /// The store is gone.
    Store,
    Lost(String),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Lost(StoreError::from(failure).to_string())
    }
}

/// Listens, and connects again when the connection is lost, until the store is gone.
pub(super) async fn run(shared: Arc<Shared>, mut looks: mpsc::Receiver<()>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match Subscriber::dial(&shared.dialer, &shared.own).await {
            Ok(subscriber) => {
                let mut line = Line { shared: &shared, subscriber, spoken: Instant::now() };
                match line.serve(&mut looks, &mut pause).await {
                    End::Store => return,
                    End::Lost(why) => why,
                }
            }
            Err(error) => error.to_string(),
        };
        tracing::debug!(error = lost, "not listening for changes: those who wait for a run look more often");
        if !rest(&shared.ears, &mut looks, pause).await {
            return;
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Lets time pass, and goes on doing so while nobody waits. Whether the store is still there.
async fn rest(ears: &Ears, looks: &mut mpsc::Receiver<()>, pause: Duration) -> bool {
    let silent = async { while looks.recv().await.is_some() {} };
    if timeout(pause, silent).await.is_ok() {
        return false;
    }
    ears.expire(Instant::now());
    !ears.is_empty() || looks.recv().await.is_some()
}

/// A connection that listens.
struct Line<'s> {
    shared: &'s Shared,
    subscriber: Subscriber,
    /// When the server was last asked something that it answered.
    spoken: Instant,
}

impl Line<'_> {
    async fn serve(&mut self, looks: &mut mpsc::Receiver<()>, pause: &mut Duration) -> End {
        let _deaf = Deaf(self.shared);
        loop {
            match self.turn(looks).await {
                Ok(true) => *pause = FIRST_PAUSE,
                Ok(false) => {}
                Err(end) => return end,
            }
        }
    }

    /// Listens on what is waited for, and no more on what is not; or waits until something happens. Whether the server has
    /// taken a subscription.
    async fn turn(&mut self, looks: &mut mpsc::Receiver<()>) -> Result<bool, End> {
        let ears = &self.shared.ears;
        let idle = ears.expire(Instant::now());
        if !idle.is_empty() {
            self.subscriber.unsubscribe(&idle).await?;
        }
        let new = ears.unconfirmed();
        if !new.is_empty() || self.spoken.elapsed() >= SILENCE {
            self.subscriber.subscribe(&new).await?;
            self.spoken = Instant::now();
            ears.confirm(&new);
            return Ok(true);
        }
        tokio::select! {
            look = looks.recv() => look.ok_or(End::Store)?,
            heard = self.subscriber.heard() => match heard {
                Heard::On(channel) => ears.tell(&channel),
                Heard::Missed => ears.tell_all(),
                Heard::Ended(why) => return Err(End::Lost(why)),
            },
            () = sleep(LINGER) => {}
        }
        Ok(false)
    }
}

/// However the connection ends, also with its runtime: nobody is told any more.
struct Deaf<'s>(&'s Shared);

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        self.0.ears.deafen();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn between_two_connections_is_a_pause() {
        let (speaker, mut looks) = mpsc::channel(1);
        let ears = Ears::default();
        let place = ears.wait("waited for".into());
        speaker.try_send(()).unwrap();
        let before = Instant::now();
        assert!(rest(&ears, &mut looks, FIRST_PAUSE).await, "somebody waits");
        assert_eq!(before.elapsed(), FIRST_PAUSE);
        drop((place, speaker));
        assert!(!rest(&ears, &mut looks, FIRST_PAUSE).await, "the store is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_waits_nobody_connects_until_somebody_does() {
        let (speaker, mut looks) = mpsc::channel(1);
        let ears = Ears::default();
        let resting = async { rest(&ears, &mut looks, FIRST_PAUSE).await };
        let coming = async {
            sleep(FIRST_PAUSE * 50).await;
            speaker.send(()).await.unwrap();
        };
        let before = Instant::now();
        assert!(tokio::join!(resting, coming).0);
        assert_eq!(before.elapsed(), FIRST_PAUSE * 50);
        drop(speaker);
        assert!(!rest(&ears, &mut looks, FIRST_PAUSE).await);
    }
}
