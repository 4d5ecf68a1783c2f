//! The kinds of deployment, and what each guarantees: the rows of the table in spec §7 that are PostgreSQL's.

use super::settings::Settings;
use crate::connection::server_info::ServerInfo;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deployment {
    Standby,
    Lossy,
    OnePrimary,
    Synchronous,
    Asynchronous,
}

impl Deployment {
    pub(super) fn of(info: &ServerInfo, settings: &Settings) -> Self {
        let waits = info.has_synchronous_standby && settings.synchronous_commit != "local";
        match () {
            () if info.in_recovery => Self::Standby,
            () if info.is_lossy() => Self::Lossy,
            () if waits => Self::Synchronous,
            () if settings.standbys > 0 || info.has_synchronous_standby => Self::Asynchronous,
            () => Self::OnePrimary,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Standby => "PostgreSQL, a standby: use its primary",
            Self::Lossy => "PostgreSQL, with settings that lose commits when the host crashes",
            Self::OnePrimary => "PostgreSQL, one primary",
            Self::Synchronous => "PostgreSQL with a synchronous standby, failover only to it",
            Self::Asynchronous => "PostgreSQL, asynchronous failover",
        }
    }

    pub(super) fn guarantees(self) -> Vec<String> {
        let once = "At most one execution per key, across all processes that use this database, until an operator \
                    decides otherwise";
        let tokens =
            "Fencing tokens increase strictly for each key, through release, purge, restart and failover.";
        let sentences: &[&str] = match self {
            Self::Standby => &[],
            Self::Lossy => &[
                ": as long as the host does not crash. A kill -9 of the server does no harm.",
                "A crash of the host or a power loss may lose begins, results and decisions that were \
                acknowledged, or damage all that is stored: keys may run again without any report.",
            ],
            Self::OnePrimary => &[
                ": through kill -9, and through power loss as far as the disk keeps what it has synced.",
                "An acknowledged begin, result or decision does not disappear: it is on the disk before \
                it is acknowledged.",
                "This holds for this one server. A failover to an asynchronous standby, or a restored \
                backup, loses what it had not received.",
            ],
            Self::Synchronous => &[
                ": through the loss of the primary, as long as only a synchronous standby takes over.",
                "An acknowledged begin, result, decision or replay does not disappear: it is confirmed by the \
                 synchronous standby before it is acknowledged. While none is connected, nothing is.",
            ],
            Self::Asynchronous => &[
                ": as long as this primary stays the primary.",
                "After a failover to an asynchronous standby, what was acknowledged shortly before may be \
                lost: its keys may run again. The changed time line is detected and reported.",
            ],
        };
        let mut guarantees: Vec<String> = sentences.iter().map(|text| (*text).to_owned()).collect();
        if let Some(first) = guarantees.first_mut() {
            first.insert_str(0, once);
            let about_tokens = if self == Self::Lossy {
                "Fencing tokens increase strictly for each key as long as the server's clock does."
            } else {
                tokens
            };
            guarantees.push(about_tokens.to_owned());
        }
        guarantees
    }
}
