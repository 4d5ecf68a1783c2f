//! A command, and the server's reply to it.

use bytes::Bytes;
use sentinel_core::{ErrorKind, StoreError};

use crate::schema::To;

/// A command, and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<Bytes>,
    pub(crate) to: To,
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

/// A server's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Number(i64),
    Bytes(Bytes),
    List(Vec<Reply>),
    /// An error within a list.
    Error(String),
}

impl Reply {
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn list(self) -> Result<Vec<Reply>, StoreError> {
        match self {
            Self::List(list) => Ok(list),
            other => Err(unexpected_reply(&other)),
        }
    }

    /// The reply to `TIME`.
    pub(crate) fn micros(self) -> Result<u64, StoreError> {
        let parts = self.list()?;
        let number = |n: usize| parts.get(n).and_then(Reply::text).and_then(|text| text.parse::<u64>().ok());
        match (number(0), number(1)) {
            (Some(seconds), Some(micros)) => Ok(seconds * 1_000_000 + micros),
            _ => Err(unexpected_reply(&Reply::List(parts))),
        }
    }

    pub(crate) fn number(&self) -> Result<i64, StoreError> {
        match self {
            Self::Number(number) => Ok(*number),
            other => Err(unexpected_reply(other)),
        }
    }
}

/// The error for a reply that the command cannot have.
pub(crate) fn unexpected_reply(reply: &Reply) -> StoreError {
    StoreError::ambiguous(ErrorKind::BrokenStore, format!("the server answered {reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_seconds_and_microseconds() {
        let list = |parts: &[&str]| {
            Reply::List(
                parts.iter().map(|part| Reply::Bytes(Bytes::copy_from_slice(part.as_bytes()))).collect(),
            )
        };
        assert_eq!(list(&["3", "7"]).micros().unwrap(), 3_000_007);
        assert!(list(&["3"]).micros().is_err() && list(&["3", "x"]).micros().is_err());
        assert!(Reply::Number(3).micros().is_err());
    }
}
