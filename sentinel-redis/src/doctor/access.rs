//! What the user may do. There is no harmless way to ask, so each command is tried where it has no effect: a server judges
//! the user before it looks at keys. docs/operations.md lists the same.

use bytes::Bytes;
use sentinel_core::StoreError;
use sentinel_core::store::Check;

use super::check::check;
use crate::connection::{Command, Connection};
use crate::durability::Durability;
use crate::error::CommandError;
use crate::schema::{KeyRef, Names};

/// A key of a string stands at `scratch` while the others are tried, and goes by itself.
const MILLIS: u32 = 60_000;

pub(super) struct Access {
    user: String,
    missing: Vec<String>,
}

/// A command as ACL rules name it, and one that changes nothing.
type Trial = (&'static str, Command);

pub(super) async fn try_commands(
    connection: &dyn Connection,
    names: &Names,
    user: String,
    durability: Durability,
) -> Result<Access, StoreError> {
    let place = names.scratch();
    let mut access = Access { user, missing: Vec::new() };
    let scratch = Command::new("SET", place.to.clone()).arg(place.name.clone()).word("1");
    let stands = access.try_all(connection, names, vec![("set", scratch.word("PX").number(MILLIS))]).await?;
    let mut trials = looks(&place);
    trials.extend(changes(&place));
    if stands {
        trials.extend(additions(&place));
    }
    trials.extend(waits(&place, durability));
    trials.push(("del", on("DEL", &place)));
    access.try_all(connection, names, trials).await?;
    Ok(access)
}

impl Access {
    /// Whether all of it was carried out, or refused for other reasons than rights.
    async fn try_all(
        &mut self,
        connection: &dyn Connection,
        names: &Names,
        trials: Vec<Trial>,
    ) -> Result<bool, StoreError> {
        let (rights, commands): (Vec<_>, Vec<_>) = trials.into_iter().unzip();
        let mut all = true;
        for (right, answer) in rights.into_iter().zip(connection.pipeline(commands).await) {
            all &= answer.is_ok();
            match answer {
                Ok(_) => {}
                Err(CommandError::Refused(why)) if why.starts_with("NOPERM") => {
                    self.lacks(right, names, &why)
                }
                Err(CommandError::Refused(_)) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(all)
    }

    fn lacks(&mut self, right: &str, names: &Names, why: &str) {
        let missing = match () {
            () if why.contains(" run ") => format!("+{right}"),
            () if why.contains("channel") => format!("&{}:*", names.prefix()),
            () => format!("~{}:*", names.prefix()),
        };
        if !self.missing.contains(&missing) {
            self.missing.push(missing);
        }
    }

    pub(super) fn suffices(&self) -> bool {
        self.missing.is_empty()
    }

    pub(super) fn check(&self) -> Check {
        let found = match self.missing.as_slice() {
            [] => self.user.clone(),
            missing => format!("{} lacks {}; grant it by ACL SETUSER", self.user, missing.join(" ")),
        };
        check("user", self.suffices(), found)
    }
}

fn on(name: &'static str, place: &KeyRef) -> Command {
    Command::new(name, place.to.clone()).arg(place.name.clone())
}

/// Those that only read.
fn looks(place: &KeyRef) -> Vec<Trial> {
    let to = || place.to.clone();
    let unknown = Bytes::from_static(b"0000000000000000000000000000000000000000");
    let evalsha = Command::new("EVALSHA", to()).arg(unknown).number(1).arg(place.name.clone());
    vec![
        ("info", Command::new("INFO", to()).word("server")),
        ("script|load", Command::new("SCRIPT", to()).word("LOAD").word("return 0")),
        ("evalsha", evalsha),
        ("time", Command::new("TIME", to())),
        ("get", on("GET", place)),
        ("mget", on("MGET", place)),
        ("getrange", on("GETRANGE", place).number(0).number(0)),
        ("hgetall", on("HGETALL", place)),
        ("sismember", on("SISMEMBER", place).word("x")),
        ("smembers", on("SMEMBERS", place)),
        ("llen", on("LLEN", place)),
        ("lrange", on("LRANGE", place).number(0).number(0)),
        ("zrangebylex", on("ZRANGEBYLEX", place).word("-").word("+")),
        ("zrangebyscore", on("ZRANGEBYSCORE", place).number(0).number(0)),
        ("zscore", on("ZSCORE", place).word("x")),
    ]
}

/// Those that change nothing, or nothing that matters, whether there is a key or not.
fn changes(place: &KeyRef) -> Vec<Trial> {
    let absent = [place.name.as_ref(), b":absent"].concat();
    vec![
        // One argument too few, which is found out later.
        ("mset", on("MSET", place).word("1").arg(place.name.clone())),
        ("setrange", on("SETRANGE", place).number(0).word("")),
        ("pexpire", on("PEXPIRE", place).number(MILLIS)),
        ("persist", Command::new("PERSIST", place.to.clone()).arg(absent)),
        ("hdel", on("HDEL", place).word("x")),
        ("lset", on("LSET", place).number(0).word("")),
        ("ltrim", on("LTRIM", place).number(0).number(0)),
        ("zrem", on("ZREM", place).word("x")),
        ("publish", on("PUBLISH", place).word("")),
    ]
}

/// Those that would create a key, and cannot where there is one of another kind.
fn additions(place: &KeyRef) -> Vec<Trial> {
    vec![
        ("hset", on("HSET", place).word("x").word("x")),
        ("hsetnx", on("HSETNX", place).word("x").word("x")),
        ("sadd", on("SADD", place).word("x")),
        ("rpush", on("RPUSH", place).word("x")),
        ("zadd", on("ZADD", place).number(0).word("x")),
    ]
}

/// Those that only some need.
fn waits(place: &KeyRef, durability: Durability) -> Vec<Trial> {
    let none = |name| Command::new(name, place.to.clone()).number(0).number(0);
    match durability {
        Durability::Server => Vec::new(),
        Durability::Replicas(_) => vec![("wait", none("WAIT"))],
        Durability::Disk { .. } => vec![("waitaof", none("WAITAOF").number(0))],
    }
}
