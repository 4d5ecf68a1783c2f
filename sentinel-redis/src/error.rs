//! The errors of commands and of this store, and what each means to a caller.

use sentinel_core::{ErrorKind, StoreError};

/// Why a command has no reply.
#[derive(Debug, Clone)]
pub(crate) enum CommandError {
    /// The server refused it, in its own words, and changed nothing.
    Refused(String),
    /// It was never sent.
    NotSent(String),
    /// It was sent, and no reply came.
    Lost(String),
}

impl CommandError {
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

    fn contains_words(&self, words: &str) -> bool {
        matches!(self, Self::Refused(text) if text.contains(words))
    }

    /// Whether the command belongs to another server.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self.code(), "MOVED" | "ASK")
    }

    /// Whether the server asks for a retry: it is loading its data, or the slot is being moved.
    pub(crate) fn is_passing(&self) -> bool {
        self.is_elsewhere()
            || matches!(self.code(), "TRYAGAIN" | "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY")
    }
}

impl From<CommandError> for StoreError {
    fn from(failure: CommandError) -> Self {
        let error_kind = match failure.code() {
            "" => ErrorKind::Unreachable,
            "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" => ErrorKind::Unreachable,
            // NOSCRIPT: checking the server and loading the script took longer than the deadline.
            // Of a script that failed, the code is lost: these are the words of Redis 7.0, and of 7.2.
            "ERR" if failure.contains_words("user executing the script can't") => {
                ErrorKind::DeploymentRefused
            }
            "ERR" if failure.contains_words("ACL failure in script") => ErrorKind::DeploymentRefused,
            // The script failed on what it read, before it wrote anything.
            "ERR" if failure.contains_words("user_script") => ErrorKind::Corrupt,
            "TRYAGAIN" | "BUSY" | "MOVED" | "ASK" | "NOSCRIPT" => ErrorKind::Busy,
            "NOAUTH" | "WRONGPASS" => ErrorKind::AccessDenied,
            "NOPERM" | "OOM" | "MISCONF" | "READONLY" | "NOREPLICAS" => ErrorKind::DeploymentRefused,
            _ => ErrorKind::BrokenStore,
        };
        match failure {
            CommandError::Refused(text) => {
                Self::not_applied(error_kind, format!("the server refused it: {text}"))
            }
            CommandError::NotSent(why) => Self::not_applied(ErrorKind::Unreachable, why),
            CommandError::Lost(why) => Self::ambiguous(ErrorKind::LostReply, why),
        }
    }
}

/// The details of an error of the driver. It prints errors of the system in their `Debug` form, whose message is
/// extracted here.
pub(crate) fn plain(details: &str) -> String {
    let quoted = ["message: \"", "error: \""].into_iter().find_map(|name| {
        let is_debug = ["Os {", "Custom {"].iter().any(|start| details.starts_with(start));
        details.split_once(name).filter(|_| is_debug)?.1.rsplit_once('"')
    });
    let code = details.strip_prefix("Os { code: ").and_then(|rest| rest.split_once(','));
    match (quoted, code) {
        (Some((message, _)), Some((code, _))) => format!("{message} (os error {code})"),
        (Some((message, _)), None) => message.to_owned(),
        (None, _) => details.to_owned(),
    }
}

/// The script ran, and may have changed something.
pub(crate) fn broken_store(detail: String) -> StoreError {
    StoreError::ambiguous(ErrorKind::BrokenStore, detail)
}

/// The server has lost what was written to it.
pub(crate) fn data_loss(why: &str) -> StoreError {
    StoreError::not_applied(ErrorKind::DataLoss, why)
}

/// The server may have lost its newest writes.
pub(crate) fn possible_data_loss(why: &str) -> StoreError {
    StoreError::not_applied(ErrorKind::PossibleDataLoss, why)
}

#[cfg(test)]
mod tests {
    use sentinel_core::Applied;

    use super::*;

    #[test]
    fn a_refusal_has_its_kind_and_changed_nothing() {
        for (error_kind, texts) in [
            (ErrorKind::Unreachable, &["LOADING it loads", "CLUSTERDOWN no", "MASTERDOWN no"][..]),
            (
                ErrorKind::Busy,
                &["TRYAGAIN later", "BUSY a script", "MOVED 7 h:1", "ASK 7 h:1", "NOSCRIPT none"],
            ),
            (
                ErrorKind::DeploymentRefused,
                &[
                    "NOPERM no",
                    "OOM full",
                    "MISCONF disk",
                    "READONLY replica",
                    "NOREPLICAS none",
                    "ERR The user executing the script can't run this command or subcommand",
                    "ERR ACL failure in script: no",
                ],
            ),
            (ErrorKind::AccessDenied, &["NOAUTH who", "WRONGPASS no"]),
            (ErrorKind::Corrupt, &["ERR user_script:7: attempt to index a nil value"]),
            (ErrorKind::BrokenStore, &["ERR unknown command", "WRONGTYPE a list", "EXECABORT"]),
        ] {
            for text in texts {
                let error = StoreError::from(CommandError::Refused((*text).to_owned()));
                assert_eq!((error.applied(), error.kind()), (Applied::No, error_kind), "{text}");
                assert!(error.to_string().contains(text), "{error}");
            }
        }
    }

    #[test]
    fn an_error_of_the_system_is_its_message() {
        for (details, expected) in [
            (
                "Os { code: 111, kind: ConnectionRefused, message: \"Connection refused\" }",
                "Connection refused (os error 111)",
            ),
            ("Custom { kind: Uncategorized, error: \"no \"such\" host\" }", "no \"such\" host"),
            ("NOAUTH Authentication required.", "NOAUTH Authentication required."),
        ] {
            assert_eq!(plain(details), expected);
        }
    }

    #[test]
    fn an_unsent_command_is_not_applied_and_a_lost_one_is_ambiguous() {
        let left = StoreError::from(CommandError::NotSent("no way".into()));
        assert_eq!((left.applied(), left.kind()), (Applied::No, ErrorKind::Unreachable));
        let lost = StoreError::from(CommandError::Lost("no word".into()));
        assert_eq!((lost.applied(), lost.kind()), (Applied::Ambiguous, ErrorKind::LostReply));
    }
}
