//! One call of a script. It is sent again where the server changed nothing and asks for a retry. Where the server
//! does not know the script or has no marker, its identity is checked first.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::{Address, ErrorKind, Key, Kind, Namespace, StoreError};
use tokio::time::{Instant, sleep};

use super::reply::ScriptReply;
use crate::connection::barrier::Barrier;
use crate::connection::connector::LazyConnection;
use crate::connection::{Command, Connection, Reply};
use crate::data_loss::{DataLossGuard, Registered};
use crate::durability::Durability;
use crate::error::{self, CommandError};
use crate::schema::{Bucket, Names};
use crate::script::Script;

/// How long to wait before the command is sent again.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What a command does, and so what is done when its reply is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallMode {
    /// It changes nothing: it is sent again.
    Read,
    /// The same, and it is answered while the store is in doubt, if the builder allowed that.
    ReadInDoubt,
    /// If the reply is lost, the outcome is unknown to the caller.
    Write,
    /// The same, and its reply waits for the barrier, if the store has one.
    DurableWrite,
}

/// Items of one script in one bucket.
pub(crate) struct Group {
    pub(crate) script: Script,
    pub(crate) namespace: Namespace,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) keys: Vec<Key>,
    pub(crate) args: Vec<Bytes>,
    /// How many of the items come before those that come last.
    pub(crate) first: usize,
    pub(crate) barrier: bool,
}

/// The arguments of a call.
pub(crate) struct Caller {
    pub(crate) data_loss: Arc<DataLossGuard>,
    pub(crate) connection: LazyConnection,
    pub(crate) barrier: Option<Barrier>,
    pub(crate) offset: Arc<AtomicI64>,
    pub(crate) deadline: Duration,
    /// Zero before the store's metadata was read.
    pub(crate) buckets: Arc<AtomicU32>,
    /// The generation of the connection for which the server's identity was checked.
    pub(crate) checked: AtomicU64,
}

impl Caller {
    /// How long a caller waits at most: for calls in flight, and for its own.
    pub(crate) fn limit(&self) -> Duration {
        self.deadline * 2
    }

    /// The durability that the builder asked for.
    pub(crate) fn durability(&self) -> Durability {
        self.barrier.as_ref().map_or(Durability::Server, Barrier::durability)
    }

    pub(crate) fn number_of(&self, address: &Address) -> u32 {
        Names::number(address, self.buckets.load(Ordering::Relaxed).max(1))
    }

    pub(crate) fn bucket_of(&self, address: &Address) -> Bucket {
        self.data_loss.names.bucket(&address.namespace, self.number_of(address), address.kind)
    }

    /// The connection and the registered store, with the namespace made ready.
    pub(crate) async fn ready(
        &self,
        namespace: &Namespace,
    ) -> Result<(Arc<dyn Connection>, Arc<Registered>), StoreError> {
        let connection = self.connection.get().await?;
        let registered = self.register(&*connection).await?;
        self.data_loss.prepare(&*connection, &registered, namespace).await.map_err(unsent)?;
        Ok((connection, registered))
    }

    /// The same for reads, without making the namespace: also in doubt, if the builder allowed that. `known`: the
    /// doubt, if it is known already.
    pub(crate) async fn ready_to_read(
        &self,
        namespace: &Namespace,
        known: Option<&StoreError>,
    ) -> Result<(Arc<dyn Connection>, Arc<Registered>), StoreError> {
        let connection = self.connection.get().await?;
        let registered = match known {
            Some(known) => Err(known.clone()),
            None => self.register(&*connection).await,
        };
        let why = match registered {
            Ok(registered) => {
                match self.data_loss.has(&*connection, &registered, namespace).await.map_err(unsent) {
                    Ok(true) => return Ok((connection, registered)),
                    Ok(false) => {
                        return Ok((connection, self.data_loss.read_only(registered.metadata.clone())));
                    }
                    Err(why) => why,
                }
            }
            Err(why) => why,
        };
        let registered = self.register_to_read(&*connection, why).await?;
        Ok((connection, registered))
    }

    /// The connection for reads that touch no namespace's records: also in doubt, if the builder allowed that.
    pub(crate) async fn connection_to_read(&self) -> Result<Arc<dyn Connection>, StoreError> {
        let connection = self.connection.get().await?;
        if let Err(why) = self.register(&*connection).await {
            self.register_to_read(&*connection, why).await?;
        }
        Ok(connection)
    }

    /// What reads need in doubt, or the doubt itself.
    pub(crate) async fn register_to_read(
        &self,
        connection: &dyn Connection,
        why: StoreError,
    ) -> Result<Arc<Registered>, StoreError> {
        let registered = self.data_loss.to_read(connection, why).await.map_err(unsent)?;
        self.has_buckets(&registered)?;
        Ok(registered)
    }

    /// The registered store. A store that was set up anew with another number of buckets keeps its records elsewhere.
    pub(crate) async fn register(&self, connection: &dyn Connection) -> Result<Arc<Registered>, StoreError> {
        let generation = connection.generation();
        let registered = match self.checked.load(Ordering::Relaxed) == generation {
            true => self.data_loss.registered(connection).await,
            false => self.data_loss.registered_anew(connection).await,
        };
        let registered = registered.map_err(unsent)?;
        self.checked.store(generation, Ordering::Relaxed);
        self.has_buckets(&registered)?;
        Ok(registered)
    }

    fn has_buckets(&self, registered: &Registered) -> Result<(), StoreError> {
        let before = self.buckets.swap(registered.metadata.buckets, Ordering::Relaxed);
        if before != 0 && before != registered.metadata.buckets {
            let detail = "the store was set up again with another number of buckets after this process \
                opened it";
            return Err(StoreError::not_applied(ErrorKind::Closed, detail));
        }
        Ok(())
    }

    /// Calls the script, and returns one reply for each item.
    pub(crate) async fn call(&self, group: &Group) -> Result<Vec<ScriptReply>, StoreError> {
        let mode = match group.script {
            Script::Read => CallMode::Read,
            Script::Inspect | Script::Heads => CallMode::ReadInDoubt,
            _ if group.barrier => CallMode::DurableWrite,
            _ => CallMode::Write,
        };
        self.send_until_answered(&group.namespace, mode, |registered| self.command(group, registered))
            .await
            .and_then(ScriptReply::all)
    }

    /// Sends a command made for the registered store until the server has carried it out, or the deadline has passed.
    pub(crate) async fn send_until_answered(
        &self,
        namespace: &Namespace,
        mode: CallMode,
        make: impl Fn(&Registered) -> Command,
    ) -> Result<Reply, StoreError> {
        let until = Instant::now() + self.deadline;
        let (mut pause, mut checked_again, mut in_doubt) = (FIRST_PAUSE, false, None);
        let reads_only = matches!(mode, CallMode::Read | CallMode::ReadInDoubt);
        loop {
            let (connection, registered) = match mode {
                CallMode::ReadInDoubt => self.ready_to_read(namespace, in_doubt.as_ref()).await?,
                _ => self.ready(namespace).await?,
            };
            let failure = match self.once(&*connection, make(&registered), mode).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            match failure.code() {
                "NOSCRIPT" if registered.read_only => {
                    self.data_loss.load_to_read(&*connection, &registered).await.map_err(unsent)?;
                }
                "NOSCRIPT" => match self.data_loss.renew(&*connection, &registered).await {
                    Ok(registered) => self.data_loss.load(&*connection, &registered).await.map_err(unsent)?,
                    Err(why) => in_doubt = Some(continue_if_read(mode, why)?),
                },
                "SENTINELAMNESIA" => {
                    let again = if checked_again {
                        Ok(registered.clone())
                    } else {
                        self.data_loss.renew(&*connection, &registered).await
                    };
                    let forgot = || error::data_loss(&forgot(namespace, &failure));
                    let why = match again {
                        Ok(again) if again.metadata.store != registered.metadata.store => None,
                        Ok(_) => Some(forgot()),
                        Err(why) => Some(why),
                    };
                    in_doubt = why.map(|why| continue_if_read(mode, why)).transpose()?;
                    checked_again = true;
                }
                _ if failure.is_passing() || (reads_only && failure.is_lost()) => {
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                _ => return Err(failure.into()),
            }
            if Instant::now() >= until {
                return Err(if reads_only { unsent(failure.into()) } else { failure.into() });
            }
        }
    }

    async fn once(
        &self,
        connection: &dyn Connection,
        command: Command,
        mode: CallMode,
    ) -> Result<Reply, CommandError> {
        match &self.barrier {
            Some(guarded) if mode == CallMode::DurableWrite => guarded.call(command).await,
            _ => connection.call(command).await,
        }
    }

    fn command(&self, group: &Group, registered: &Registered) -> Command {
        let bucket = self.data_loss.names.bucket(&group.namespace, group.number, group.kind);
        let keys = group.keys.iter().flat_map(|key| {
            let key = key.as_str();
            [bucket.record(key), bucket.events(key)]
        });
        let barrier = group.barrier && self.barrier.is_some();
        let command = script(registered, group.script, &bucket, keys.collect(), self.offset(), barrier);
        let command = group.args.iter().cloned().fold(command, Command::arg);
        match group.script {
            Script::Run => command.number(group.first),
            _ => command,
        }
    }

    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }
}

/// A script's call, up to the arguments that are its own.
pub(crate) fn script(
    registered: &Registered,
    script: Script,
    bucket: &Bucket,
    keys: Vec<Bytes>,
    offset: i64,
    flag: bool,
) -> Command {
    let command =
        Command::new("EVALSHA", bucket.to()).arg(registered.scripts.sha(script)).number(7 + keys.len());
    let command = bucket.keys().into_iter().chain(keys).fold(command, Command::arg);
    command.number(offset).word(if flag { "1" } else { "0" }).number(bucket.before_key())
}

/// Decides what follows when the servers are not trusted: a read continues as [`DataLossGuard::to_read`] allows,
/// everything else is refused.
fn continue_if_read(mode: CallMode, why: StoreError) -> Result<StoreError, StoreError> {
    if mode == CallMode::ReadInDoubt { Ok(why) } else { Err(unsent(why)) }
}

/// Only a read was lost: nothing that changes a record was sent.
fn unsent(error: StoreError) -> StoreError {
    match error.kind() {
        ErrorKind::LostReply => {
            let detail = "the server did not answer a request that only reads";
            StoreError::not_applied(ErrorKind::Unreachable, detail).caused_by(error)
        }
        _ => error,
    }
}

fn forgot(namespace: &Namespace, failure: &CommandError) -> String {
    format!("a part of namespace {:?} has no marker ({failure:?})", namespace.as_str())
}
