//! A connection that receives notifications of changes. It never reconnects on its own: when it ends, its owner is
//! notified.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use fred::types::config::{ReconnectPolicy, Server};
use fred::types::{ClusterHash, ConnectHandle, CustomCommand, Key, Message, RespVersion, Value};
use fred::util::redis_keyslot;
use sentinel_core::{ClaimId, ErrorKind, StoreError};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::timeout;

use super::Connector;
use crate::error::CommandError;

/// How many messages are buffered. If more arrive before they are read, [`Received::Missed`] reports that.
const MESSAGE_CAPACITY: usize = 1 << 12;

/// A connection in the server's mode of publishing and subscribing.
pub(crate) struct Subscriber {
    client: Client,
    driver: ConnectHandle,
    messages: Receiver<Message>,
    errors: Receiver<(fred::error::Error, Option<Server>)>,
    /// Channels of ours alone begin with it.
    own: String,
    asked: u64,
    deadline: Duration,
}

/// A received message.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message on a channel. Its content does not matter: any client could have published it.
    On(Bytes),
    /// Some messages were missed.
    Missed,
    /// The connection has ended.
    Ended(String),
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Subscriber {
    /// Connects. `own` is what the names of its own channels begin with.
    pub(crate) async fn connect(connector: &Connector, own: &str) -> Result<Self, StoreError> {
        let mut builder = connector.builder()?;
        // One that ends is not connected again, so that whatever was subscribed to is as known here as it is there.
        // Commands and messages share it, which the older protocol does not know.
        builder
            .set_policy(ReconnectPolicy::new_constant(1, 1))
            .with_config(|config| config.version = RespVersion::RESP3)
            .with_performance_config(|performance| performance.broadcast_channel_capacity = MESSAGE_CAPACITY);
        let client = builder
            .build()
            .map_err(|error| StoreError::not_applied(ErrorKind::InvalidRequest, error.to_string()))?;
        let (messages, errors) = (client.message_rx(), client.error_rx());
        let driver = connector.start(&client).await?;
        let own = format!("{own}{:032x}:", ClaimId::random().bits());
        Ok(Self { client, driver, messages, errors, own, asked: 0, deadline: connector.deadline })
    }

    /// Subscribes to channels. Succeeds when the server confirms it; without channels, when the server replies.
    ///
    /// fred does not report whether a subscription was refused. The server takes or refuses all channels of a
    /// command, so one more channel of our own is subscribed to with them: a message published there afterwards is
    /// received only if the subscription was accepted.
    pub(crate) async fn subscribe(&mut self, channels: &[Bytes]) -> Result<(), CommandError> {
        self.asked += 1;
        let probe_channel = Bytes::from(format!("{}{}", self.own, self.asked));
        let all: Vec<Key> = channels.iter().chain([&probe_channel]).cloned().map(Key::from).collect();
        let reply = timeout(self.deadline, async {
            self.client.subscribe(all).await?;
            let reached = self.publish(&probe_channel).await?;
            self.client.unsubscribe(Key::from(probe_channel)).await?;
            Ok::<_, fred::error::Error>(reached)
        });
        match reply.await {
            Ok(Ok(reached)) => check_subscribed(reached),
            Ok(Err(error)) => Err(CommandError::Lost(error.to_string())),
            Err(_) => Err(CommandError::Lost(format!("no reply arrived within {:?}", self.deadline))),
        }
    }

    /// How many subscribers received a message, at the server that subscriptions go to.
    async fn publish(&self, channel: &Bytes) -> Result<i64, fred::error::Error> {
        let slot = ClusterHash::Custom(redis_keyslot(self.client.id().as_bytes()));
        let command = CustomCommand::new_static("PUBLISH", slot, false);
        let args = vec![Value::Bytes(channel.clone()), Value::Bytes(Bytes::new())];
        self.client.custom(command, args).await
    }

    /// Unsubscribes from channels.
    pub(crate) async fn unsubscribe(&mut self, channels: &[Bytes]) -> Result<(), CommandError> {
        let all: Vec<Key> = channels.iter().cloned().map(Key::from).collect();
        match timeout(self.deadline, self.client.unsubscribe(all)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(CommandError::Lost(error.to_string())),
            Err(_) => Err(CommandError::Lost(format!("nothing was sent within {:?}", self.deadline))),
        }
    }

    /// Waits until something is received. A wait that is dropped loses nothing.
    pub(crate) async fn receive(&mut self) -> Received {
        tokio::select! {
            biased;
            message = self.messages.recv() => match message {
                Ok(message) => Received::On(message.channel.inner().clone()),
                Err(RecvError::Lagged(_)) => Received::Missed,
                Err(RecvError::Closed) => Received::Ended("its messages have ended".into()),
            },
            error = self.errors.recv() => Received::Ended(match error {
                Ok((error, _)) => error.to_string(),
                Err(error) => error.to_string(),
            }),
            _ = &mut self.driver => Received::Ended("its driver has ended".into()),
        }
    }
}

/// Whether the subscription was accepted, by how many subscribers a message on our own channel reached.
fn check_subscribed(reached: i64) -> Result<(), CommandError> {
    match reached {
        1 => Ok(()),
        _ => Err(CommandError::Refused("NOPERM the subscription was refused".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_that_receives_nothing_of_its_own_was_refused() {
        assert!(check_subscribed(1).is_ok());
        assert_eq!(check_subscribed(0).unwrap_err().code(), "NOPERM");
    }
}
