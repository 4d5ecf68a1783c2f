//! One call of a script: sent again where the server says that it did nothing and wants to be asked again, after looking who
//! the server is where it does not know the script or has no marker.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sentinel_core::{Address, ErrorKind, Key, Kind, Namespace, StoreError};
use tokio::time::{Instant, sleep};

use crate::barrier::{Barrier, Durability};
use crate::names::{Bucket, Names};
use crate::script::Script;
use crate::transition::Told;
use crate::trust::{Armed, Trust, amnesia};
use crate::wire::dial::Port;
use crate::wire::{Answer, Command, Failure, Wire};

/// How long to wait before the server is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What a command does, and so what is done when its reply is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It changes nothing: it is sent again.
    Looks,
    /// The same, and it is answered while the store is in doubt, where that was asked for.
    Reads,
    /// Whoever asked has to find out.
    Changes,
    /// The same, and its answer waits for the barrier, if one was asked for.
    ChangesAndWaits,
}

/// Items of one script in one bucket.
pub(crate) struct Group {
    pub(crate) script: Script,
    pub(crate) namespace: Namespace,
    pub(crate) number: u32,
    pub(crate) kind: Kind,
    pub(crate) keys: Vec<Key>,
    pub(crate) args: Vec<Bytes>,
    /// How many of the items are not behind the others.
    pub(crate) ahead: usize,
    pub(crate) barrier: bool,
}

/// What a call needs.
pub(crate) struct Caller {
    pub(crate) trust: Arc<Trust>,
    pub(crate) port: Port,
    pub(crate) barrier: Option<Barrier>,
    pub(crate) offset: Arc<AtomicI64>,
    pub(crate) deadline: Duration,
    /// Zero before anything was armed.
    pub(crate) buckets: Arc<AtomicU32>,
    /// Who is at the end of the link was looked at since this generation of it.
    pub(crate) looked: AtomicU64,
}

impl Caller {
    /// How long a caller waits at most: for what is out, and for its own.
    pub(crate) fn limit(&self) -> Duration {
        self.deadline * 2
    }

    /// What was asked for.
    pub(crate) fn durability(&self) -> Durability {
        self.barrier.as_ref().map_or(Durability::Server, Barrier::durability)
    }

    pub(crate) fn number_of(&self, address: &Address) -> u32 {
        Names::number(address, self.buckets.load(Ordering::Relaxed).max(1))
    }

    pub(crate) fn bucket_of(&self, address: &Address) -> Bucket {
        self.trust.names.bucket(&address.namespace, self.number_of(address), address.kind)
    }

    /// The link, and what is armed, with the namespace made ready.
    pub(crate) async fn ready(
        &self,
        namespace: &Namespace,
    ) -> Result<(Arc<dyn Wire>, Arc<Armed>), StoreError> {
        let link = self.port.link().await?;
        let armed = self.arm(&*link).await?;
        self.trust.prepare(&*link, &armed, namespace).await.map_err(unsent)?;
        Ok((link, armed))
    }

    /// The same for what only reads, without making the namespace: also in doubt, where that was asked for. `known`: the doubt
    /// is known already.
    pub(crate) async fn ready_to_read(
        &self,
        namespace: &Namespace,
        known: Option<&StoreError>,
    ) -> Result<(Arc<dyn Wire>, Arc<Armed>), StoreError> {
        let link = self.port.link().await?;
        let armed = match known {
            Some(known) => Err(known.clone()),
            None => self.arm(&*link).await,
        };
        let why = match armed {
            Ok(armed) => match self.trust.has(&*link, &armed, namespace).await.map_err(unsent) {
                Ok(true) => return Ok((link, armed)),
                Ok(false) => return Ok((link, self.trust.read_only(armed.root.clone()))),
                Err(why) => why,
            },
            Err(why) => why,
        };
        let armed = self.arm_to_read(&*link, why).await?;
        Ok((link, armed))
    }

    /// The link for what reads none of the namespaces' records: also in doubt, where that was asked for.
    pub(crate) async fn link_to_read(&self) -> Result<Arc<dyn Wire>, StoreError> {
        let link = self.port.link().await?;
        if let Err(why) = self.arm(&*link).await {
            self.arm_to_read(&*link, why).await?;
        }
        Ok(link)
    }

    /// What reads need in doubt, or the doubt itself.
    pub(crate) async fn arm_to_read(
        &self,
        link: &dyn Wire,
        why: StoreError,
    ) -> Result<Arc<Armed>, StoreError> {
        let armed = self.trust.to_read(link, why).await.map_err(unsent)?;
        self.has_buckets(&armed)?;
        Ok(armed)
    }

    /// What is armed. A store that was set up anew with another number of buckets keeps its records elsewhere.
    pub(crate) async fn arm(&self, link: &dyn Wire) -> Result<Arc<Armed>, StoreError> {
        let generation = link.generation();
        let armed = match self.looked.load(Ordering::Relaxed) == generation {
            true => self.trust.armed(link).await,
            false => self.trust.armed_anew(link).await,
        };
        let armed = armed.map_err(unsent)?;
        self.looked.store(generation, Ordering::Relaxed);
        self.has_buckets(&armed)?;
        Ok(armed)
    }

    fn has_buckets(&self, armed: &Armed) -> Result<(), StoreError> {
        let before = self.buckets.swap(armed.root.buckets, Ordering::Relaxed);
        if before != 0 && before != armed.root.buckets {
            let detail = "it was set up anew, with another number of buckets, since this process opened it";
            return Err(StoreError::not_applied(ErrorKind::Closed, detail));
        }
        Ok(())
    }

    /// Calls the script, and answers one answer for each item.
    pub(crate) async fn call(&self, group: &Group) -> Result<Vec<Told>, StoreError> {
        let way = match group.script {
            Script::Look => Way::Looks,
            Script::Inspect | Script::Heads => Way::Reads,
            _ if group.barrier => Way::ChangesAndWaits,
            _ => Way::Changes,
        };
        self.insist(&group.namespace, way, |armed| self.command(group, armed)).await.and_then(Told::all)
    }

    /// Sends a command made for what is armed, until the server has carried it out, or has not by the deadline.
    pub(crate) async fn insist(
        &self,
        namespace: &Namespace,
        way: Way,
        make: impl Fn(&Armed) -> Command,
    ) -> Result<Answer, StoreError> {
        let until = Instant::now() + self.deadline;
        let (mut pause, mut looked, mut in_doubt) = (FIRST_PAUSE, false, None);
        let only_looks = matches!(way, Way::Looks | Way::Reads);
        loop {
            let (link, armed) = match way {
                Way::Reads => self.ready_to_read(namespace, in_doubt.as_ref()).await?,
                _ => self.ready(namespace).await?,
            };
            let failure = match self.once(&*link, make(&armed), way).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure.code() {
                "NOSCRIPT" if armed.read_only => {
                    self.trust.load_to_read(&*link, &armed).await.map_err(unsent)?;
                }
                "NOSCRIPT" => match self.trust.renew(&*link, &armed).await {
                    Ok(armed) => self.trust.load(&*link, &armed).await.map_err(unsent)?,
                    Err(why) => in_doubt = Some(refused_unless_read(way, why)?),
                },
                "SENTINELAMNESIA" => {
                    let again =
                        if looked { Ok(armed.clone()) } else { self.trust.renew(&*link, &armed).await };
                    let forgot = || amnesia(&forgot(namespace, &failure));
                    let why = match again {
                        Ok(again) if again.root.store != armed.root.store => None,
                        Ok(_) => Some(forgot()),
                        Err(why) => Some(why),
                    };
                    in_doubt = why.map(|why| refused_unless_read(way, why)).transpose()?;
                    looked = true;
                }
                _ if failure.is_passing() || (only_looks && failure.is_lost()) => {
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                _ => return Err(failure.into()),
            }
            if Instant::now() >= until {
                return Err(if only_looks { unsent(failure.into()) } else { failure.into() });
            }
        }
    }

    async fn once(&self, link: &dyn Wire, command: Command, way: Way) -> Result<Answer, Failure> {
        match &self.barrier {
            Some(guarded) if way == Way::ChangesAndWaits => guarded.call(command).await,
            _ => link.call(command).await,
        }
    }

    fn command(&self, group: &Group, armed: &Armed) -> Command {
        let bucket = self.trust.names.bucket(&group.namespace, group.number, group.kind);
        let keys = group.keys.iter().flat_map(|key| {
            let key = key.as_str();
            [bucket.record(key), bucket.events(key)]
        });
        let barrier = group.barrier && self.barrier.is_some();
        let command = script(armed, group.script, &bucket, keys.collect(), self.offset(), barrier);
        let command = group.args.iter().cloned().fold(command, Command::arg);
        match group.script {
            Script::Run => command.number(group.ahead),
            _ => command,
        }
    }

    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }
}

/// A script's call, up to the arguments that are its own.
pub(crate) fn script(
    armed: &Armed,
    script: Script,
    bucket: &Bucket,
    keys: Vec<Bytes>,
    offset: i64,
    flag: bool,
) -> Command {
    let command = Command::new("EVALSHA", bucket.to()).arg(armed.scripts.sha(script)).number(6 + keys.len());
    let command = bucket.keys().into_iter().chain(keys).fold(command, Command::arg);
    command.number(offset).word(if flag { "1" } else { "0" }).number(bucket.before_key())
}

/// The store is in doubt, say: a read goes on if it may, as [`Trust::to_read`] has it; nothing else does.
fn refused_unless_read(way: Way, why: StoreError) -> Result<StoreError, StoreError> {
    if way == Way::Reads { Ok(why) } else { Err(unsent(why)) }
}

/// What was lost on the way was a look, and nothing that changes anything has left.
fn unsent(error: StoreError) -> StoreError {
    match error.kind() {
        ErrorKind::LostReply => {
            let detail = "the server was asked something that changes nothing, and did not answer";
            StoreError::not_applied(ErrorKind::Unreachable, detail).caused_by(error)
        }
        _ => error,
    }
}

fn forgot(namespace: &Namespace, failure: &Failure) -> String {
    format!("a part of namespace {:?} has no marker ({failure:?})", namespace.as_str())
}
