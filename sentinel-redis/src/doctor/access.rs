//! What the user may do. Redis has no harmless command to ask, so each command is tried where it has no effect: a
//! server checks the user before it reads keys. docs/operations.md lists the same.

use bytes::Bytes;
use sentinel_core::StoreError;
use sentinel_core::store::Check;
use sentinel_store_kit::health::check;

use crate::connection::{Command, Connection};
use crate::durability::Durability;
use crate::error::CommandError;
use crate::schema::{KeyRef, Names};

/// How long the string at `scratch` lives while the other commands are tried.
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
    let key = names.scratch();
    let mut access = Access { user, missing: Vec::new() };
    let scratch = Command::new("SET", key.to.clone()).arg(key.name.clone()).word("1");
    let is_set = access.try_all(connection, names, vec![("set", scratch.word("PX").number(MILLIS))]).await?;
    let mut trials = reading_commands(&key);
    trials.extend(harmless_writes(&key));
    if is_set {
        trials.extend(creating_commands(&key));
    }
    trials.extend(waiting_commands(&key, durability));
    trials.push(("del", on("DEL", &key)));
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
        for (right, reply) in rights.into_iter().zip(connection.pipeline(commands).await) {
            all &= reply.is_ok();
            match reply {
                Ok(_) => {}
                Err(CommandError::Refused(why)) if why.starts_with("NOPERM") => {
                    self.record_missing(right, names, &why)
                }
                Err(CommandError::Refused(_)) => {}
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(all)
    }

    fn record_missing(&mut self, right: &str, names: &Names, why: &str) {
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

fn on(name: &'static str, key: &KeyRef) -> Command {
    Command::new(name, key.to.clone()).arg(key.name.clone())
}

/// Those that only read.
fn reading_commands(key: &KeyRef) -> Vec<Trial> {
    let to = || key.to.clone();
    let unknown = Bytes::from_static(b"0000000000000000000000000000000000000000");
    let evalsha = Command::new("EVALSHA", to()).arg(unknown).number(1).arg(key.name.clone());
    vec![
        ("info", Command::new("INFO", to()).word("server")),
        ("script|load", Command::new("SCRIPT", to()).word("LOAD").word("return 0")),
        ("evalsha", evalsha),
        ("time", Command::new("TIME", to())),
        ("get", on("GET", key)),
        ("mget", on("MGET", key)),
        ("getrange", on("GETRANGE", key).number(0).number(0)),
        ("hgetall", on("HGETALL", key)),
        ("sismember", on("SISMEMBER", key).word("x")),
        ("smembers", on("SMEMBERS", key)),
        ("llen", on("LLEN", key)),
        ("lrange", on("LRANGE", key).number(0).number(0)),
        ("zrangebylex", on("ZRANGEBYLEX", key).word("-").word("+")),
        ("zrangebyscore", on("ZRANGEBYSCORE", key).number(0).number(0)),
        ("zscore", on("ZSCORE", key).word("x")),
    ]
}

/// Those that change nothing, or nothing that matters, whether there is a key or not.
fn harmless_writes(key: &KeyRef) -> Vec<Trial> {
    let absent = [key.name.as_ref(), b":absent"].concat();
    vec![
        // One argument too few, which is found out later.
        ("mset", on("MSET", key).word("1").arg(key.name.clone())),
        ("setrange", on("SETRANGE", key).number(0).word("")),
        ("pexpire", on("PEXPIRE", key).number(MILLIS)),
        ("persist", Command::new("PERSIST", key.to.clone()).arg(absent)),
        ("hdel", on("HDEL", key).word("x")),
        ("lset", on("LSET", key).number(0).word("")),
        ("ltrim", on("LTRIM", key).number(0).number(0)),
        ("zrem", on("ZREM", key).word("x")),
        ("publish", on("PUBLISH", key).word("")),
    ]
}

/// Those that would create a key, and cannot where there is one of another kind.
fn creating_commands(key: &KeyRef) -> Vec<Trial> {
    vec![
        ("hset", on("HSET", key).word("x").word("x")),
        ("hsetnx", on("HSETNX", key).word("x").word("x")),
        ("sadd", on("SADD", key).word("x")),
        ("rpush", on("RPUSH", key).word("x")),
        ("zadd", on("ZADD", key).number(0).word("x")),
    ]
}

/// Those that only some need.
fn waiting_commands(key: &KeyRef, durability: Durability) -> Vec<Trial> {
    let none = |name| Command::new(name, key.to.clone()).number(0).number(0);
    match durability {
        Durability::Server => Vec::new(),
        Durability::Replicas(_) => vec![("wait", none("WAIT"))],
        Durability::Disk { .. } => vec![("waitaof", none("WAITAOF").number(0))],
    }
}
