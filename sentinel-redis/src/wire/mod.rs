//! The seam to whatever speaks to the server: commands in, answers out, and for each failure whether the server may have
//! carried the command out. Another client could take fred's place by implementing [`Wire`].

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sentinel_core::{ErrorKind, StoreError};

pub(crate) mod dial;
mod fred;
pub(crate) mod subscriber;

pub(crate) use dial::Dialer;

/// A command, and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<Bytes>,
    pub(crate) to: To,
}

/// Which server of a cluster a command is for. Where there is one server, that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    /// The master that has the slot.
    Slot(u16),
    /// A master, by the address that [`Wire::masters`] told.
    Node(String),
}

impl Command {
    pub(crate) fn new(name: &'static str, to: To) -> Self {
        Self { name, args: Vec::new(), to }
    }

    pub(crate) fn arg(mut self, arg: impl Into<Bytes>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// An argument that is built in.
    pub(crate) fn word(self, word: &'static str) -> Self {
        self.arg(Bytes::from_static(word.as_bytes()))
    }

    pub(crate) fn number(self, number: impl ToString) -> Self {
        self.arg(number.to_string())
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Nil,
    Number(i64),
    Bytes(Bytes),
    List(Vec<Answer>),
    /// An error within a list.
    Error(String),
}

/// Why a command has no answer.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The server refused it, in its own words, and changed nothing.
    Refused(String),
    /// It never left.
    NotSent(String),
    /// It left, and no answer came.
    Lost(String),
}

impl Failure {
    /// The word that a server's refusal begins with.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Refused(text) => text.split([' ', ':']).next().unwrap_or_default(),
            Self::NotSent(_) | Self::Lost(_) => "",
        }
    }

    /// Whether the server may have carried it out.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    fn says(&self, words: &str) -> bool {
        matches!(self, Self::Refused(text) if text.contains(words))
    }

    /// Whether another server has to be asked.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self.code(), "MOVED" | "ASK")
    }

    /// Whether the server asks to be asked again: it loads, or the slot is on its way to another.
    pub(crate) fn is_passing(&self) -> bool {
        self.is_elsewhere()
            || matches!(self.code(), "TRYAGAIN" | "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY")
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let error_kind = match failure.code() {
            "" => ErrorKind::Unreachable,
            "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" => ErrorKind::Unreachable,
            // Not known in time: who the server is was asked, and it was given the script, and all that took too long.
            // Of a script that failed, the code is lost: these are the words of Redis 7.0, and of 7.2.
            "ERR" if failure.says("user executing the script can't") => ErrorKind::DeploymentRefused,
            "ERR" if failure.says("ACL failure in script") => ErrorKind::DeploymentRefused,
            // It stumbled over what it read, before it wrote anything.
            "ERR" if failure.says("user_script") => ErrorKind::Corrupt,
            "TRYAGAIN" | "BUSY" | "MOVED" | "ASK" | "NOSCRIPT" => ErrorKind::Busy,
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "OOM" | "MISCONF" | "READONLY" | "NOREPLICAS" => {
                ErrorKind::DeploymentRefused
            }
            _ => ErrorKind::BrokenStore,
        };
        match failure {
            Failure::Refused(text) => Self::not_applied(error_kind, format!("the server refused it: {text}")),
            Failure::NotSent(why) => Self::not_applied(ErrorKind::Unreachable, why),
            Failure::Lost(why) => Self::ambiguous(ErrorKind::LostReply, why),
        }
    }
}

/// A connection to each server, shared by all who use it. A caller that goes away drops an answer, never a command.
#[async_trait]
pub(crate) trait Wire: Debug + Send + Sync + 'static {
    /// Sends a command, and where a server says that another one has its slot, again to that one.
    async fn call(&self, command: Command) -> Result<Answer, Failure>;

    /// Sends commands to one server, one after the other on one connection, without waiting in between. None of them
    /// follows its slot: what comes after it would not.
    async fn pipeline(&self, commands: Vec<Command>) -> Vec<Result<Answer, Failure>>;

    /// The masters that there are: one, or those of the cluster.
    fn masters(&self) -> Vec<To>;

    /// Whether whatever drives the connection is still there, which ends with its runtime, and is let in by the server.
    fn is_alive(&self) -> bool;

    /// Another number after each connection that was made, never one of another link: since then, there may be another
    /// server at its end. It has changed before anything is sent on the new one.
    fn generation(&self) -> u64;
}

pub(crate) type Link = Arc<dyn Wire>;

impl Answer {
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn list(self) -> Result<Vec<Answer>, StoreError> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(odd(&other)),
        }
    }

    /// What `TIME` answers.
    pub(crate) fn micros(self) -> Result<u64, StoreError> {
        let parts = self.list()?;
        let number = |n: usize| parts.get(n).and_then(Answer::text).and_then(|text| text.parse::<u64>().ok());
        match (number(0), number(1)) {
            (Some(seconds), Some(micros)) => Ok(seconds * 1_000_000 + micros),
            _ => Err(odd(&Answer::List(parts))),
        }
    }

    pub(crate) fn number(&self) -> Result<i64, StoreError> {
        match self {
            Self::Number(number) => Ok(*number),
            other => Err(odd(other)),
        }
    }
}

/// An answer that the command cannot have.
pub(crate) fn odd(answer: &Answer) -> StoreError {
    StoreError::ambiguous(ErrorKind::BrokenStore, format!("the server answered {answer:?}"))
}

#[cfg(test)]
mod tests {
    use sentinel_core::Applied;

    use super::*;

    #[test]
    fn a_refusal_says_who_can_help_and_changed_nothing() {
        for (error_kind, texts) in [
            (ErrorKind::Unreachable, &["LOADING it loads", "CLUSTERDOWN no", "MASTERDOWN no"][..]),
            (
                ErrorKind::Busy,
                &["TRYAGAIN later", "BUSY a script", "MOVED 7 h:1", "ASK 7 h:1", "NOSCRIPT none"],
            ),
            (
                ErrorKind::DeploymentRefused,
                &[
                    "NOAUTH who",
                    "WRONGPASS no",
                    "NOPERM no",
                    "OOM full",
                    "MISCONF disk",
                    "READONLY replica",
                    "NOREPLICAS none",
                    "ERR The user executing the script can't run this command or subcommand",
                    "ERR ACL failure in script: no",
                ],
            ),
            (ErrorKind::Corrupt, &["ERR user_script:7: attempt to index a nil value"]),
            (ErrorKind::BrokenStore, &["ERR unknown command", "WRONGTYPE a list", "EXECABORT"]),
        ] {
            for text in texts {
                let error = StoreError::from(Failure::Refused((*text).to_owned()));
                assert_eq!((error.applied(), error.kind()), (Applied::No, error_kind), "{text}");
                assert!(error.to_string().contains(text), "{error}");
            }
        }
    }

    #[test]
    fn what_never_left_is_not_applied_and_what_was_lost_may_be() {
        let left = StoreError::from(Failure::NotSent("no way".into()));
        assert_eq!((left.applied(), left.kind()), (Applied::No, ErrorKind::Unreachable));
        let lost = StoreError::from(Failure::Lost("no word".into()));
        assert_eq!((lost.applied(), lost.kind()), (Applied::Ambiguous, ErrorKind::LostReply));
    }

    #[test]
    fn an_instant_is_seconds_and_microseconds() {
        let list = |parts: &[&str]| {
            Answer::List(
                parts.iter().map(|part| Answer::Bytes(Bytes::copy_from_slice(part.as_bytes()))).collect(),
            )
        };
        assert_eq!(list(&["3", "7"]).micros().unwrap(), 3_000_007);
        assert!(list(&["3"]).micros().is_err() && list(&["3", "x"]).micros().is_err());
        assert!(Answer::Number(3).micros().is_err());
    }
}
