//! What `sentinel doctor` prints: what is there, how it is set, what it guarantees. Nothing here changes anything.

use std::time::Duration;

use sentinel_core::StoreError;
use sentinel_core::store::{Check, Health};
use sentinel_store_kit::health::{TimeRequest, check};
use sqlx::Row as _;

use crate::connection::connector::Connector;
use crate::connection::notices;
use crate::connection::server_info::ServerInfo;
use crate::connection::session::{Connection, LockTimeout};
use crate::error::unreachable;
use crate::parts::Names;

mod access;
mod database;
mod deployment;
mod settings;
#[cfg(test)]
mod tests;

use database::Database;
use deployment::Deployment;
use settings::Settings;

pub(crate) async fn health(
    connector: &Connector,
    names: &Names,
    lock_timeout: LockTimeout,
) -> Result<Health, StoreError> {
    let (mut connection, info) = connector.handshake(lock_timeout).await?;
    let is_pooled = connector.is_pooled();
    let settings = Settings::read(&mut connection).await?;
    let access = access::read(&mut connection, names).await?;
    let database = Database::read(&mut connection, names).await?;
    let mut checks = vec![server(&info, &settings)];
    checks.extend(access.checks(names));
    checks.extend(database.checks(names, access.version));
    checks.extend(writable(&info));
    checks.extend(durability(&info, &settings, connector.allow_lossy, is_pooled));
    checks.push(standbys(&info, &settings));
    checks.push(timeline(&info, access.timeline, connector.timeline.changed()));
    checks.extend(sessions(&settings, is_pooled));
    checks.extend(clock(&mut connection).await?);
    let accepted = info.refusal(connector.allow_lossy).is_none() && access.suffices() && database.suffices();
    let deployment = Deployment::of(&info, &settings);
    let guarantees = if accepted { deployment.guarantees() } else { Vec::new() };
    Ok(Health { deployment: deployment.name().into(), checks, guarantees, accepted })
}

fn server(info: &ServerInfo, settings: &Settings) -> Check {
    let hint = if info.is_old() { ": PostgreSQL 14 or newer is needed" } else { "" };
    check("version", !info.is_old(), format!("PostgreSQL {}{hint}", settings.version))
}

fn writable(info: &ServerInfo) -> [Check; 2] {
    let recovery = if info.in_recovery { "in recovery: a standby; use the primary" } else { "primary" };
    let read_only =
        if info.read_only { "read only, by the server, the database or the role" } else { "read and write" };
    [check("recovery", !info.in_recovery, recovery), check("transactions", !info.read_only, read_only)]
}

fn durability(info: &ServerInfo, settings: &Settings, allow_lossy: bool, is_pooled: bool) -> [Check; 3] {
    let found_of = |on: bool, loss: &str| match (on, allow_lossy) {
        (true, _) => "on".to_owned(),
        (false, true) => format!("off, and allowed: {loss}"),
        (false, false) => format!("off: {loss}; turn it on"),
    };
    let fsync = "a crash of the host may lose or damage what was acknowledged";
    let pages = "a crash of the host may leave half-written pages";
    let commit = &settings.synchronous_commit;
    let found = match commit.as_str() {
        "off" => "off for this role, and raised to on in each of Sentinel's transactions".to_owned(),
        "local" if info.has_synchronous_standby => {
            "local: Sentinel's commits do not wait for the synchronous standby".to_owned()
        }
        _ if is_pooled => format!("{commit}, as the pooler's connections have it"),
        _ => commit.clone(),
    };
    [
        check("fsync", info.fsync, found_of(info.fsync, fsync)),
        check("full_page_writes", info.full_page_writes, found_of(info.full_page_writes, pages)),
        check("synchronous_commit", !(commit == "local" && info.has_synchronous_standby), found),
    ]
}

fn standbys(info: &ServerInfo, settings: &Settings) -> Check {
    let connected = settings.standbys;
    if !info.has_synchronous_standby {
        let found = match connected {
            0 => "none is connected".into(),
            _ => format!(
                "{connected} connected, asynchronous: a failover to one may lose what was acknowledged"
            ),
        };
        return check("standbys", true, found);
    }
    let names = &settings.synchronous_standby_names;
    if !notices::are_captured() {
        let found = format!(
            "{names}; this program was built without tracing's warnings, so it would not notice when \
            another client cancels a wait for the standby"
        );
        return check("standbys", false, found);
    }
    match (settings.confirming, settings.sees_standbys) {
        (0, true) => {
            let found = format!("commits wait for {names}, and none is connected: nothing can be answered");
            check("standbys", false, found)
        }
        (0, false) => {
            let found = format!(
                "commits wait for {names}; {connected} connected, and this role may not see which (grant it \
                 pg_read_all_stats)"
            );
            check("standbys", connected > 0, found)
        }
        (confirming, _) => check(
            "standbys",
            true,
            format!("commits wait for {names}; {confirming} connected and confirming"),
        ),
    }
}

/// `at_init`: the one on which the schema was made. `changed`: what the connections of this process have met.
fn timeline(info: &ServerInfo, at_init: Option<i32>, changed: Option<(i32, i32)>) -> Check {
    let Some(now) = info.timeline else {
        return check("time line", true, "a server in recovery does not report it");
    };
    let found = match (changed, at_init) {
        (Some((first, last)), _) => format!(
            "{now}; it changed from {first} to {last} while this process ran: a failover. Unless the \
            standby was synchronous, acknowledged begins, results and decisions may be lost"
        ),
        (None, Some(init)) if init != now => format!(
            "{now}; it was {init} when the schema was made: since then a standby took over, or a backup \
            was restored"
        ),
        _ => now.to_string(),
    };
    check("time line", changed.is_none(), found)
}

fn sessions(settings: &Settings, is_pooled: bool) -> Vec<Check> {
    let (pooler, prepared) = match is_pooled {
        true => {
            ("in transaction mode, found between this process and the server", "not used behind a pooler")
        }
        false => ("none: the sessions are Sentinel's own", "kept with each connection"),
    };
    let isolation = match &settings.isolation {
        Some(set) => format!("read committed in Sentinel's transactions; {set} is the role's default"),
        None => "read committed".into(),
    };
    let encryption = settings.encryption.as_deref().unwrap_or("none, as the server sees its connection");
    let mut checks = vec![
        check("pooler", true, pooler),
        check("prepared statements", true, prepared),
        check("isolation", true, isolation),
        check("encryption", true, encryption),
    ];
    let idle = settings.idle_timeout;
    if !idle.is_zero() {
        // A connection that is idle for that long is asked first whether it is still there.
        let found = format!("{idle:?}: shorter than 10s, it cuts requests off; set it to 0 for this role");
        let ok = idle >= Duration::from_secs(10);
        checks.push(check("idle_session_timeout", ok, if ok { format!("{idle:?}") } else { found }));
    }
    checks
}

async fn clock(connection: &mut Connection) -> Result<[Check; 2], StoreError> {
    const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8";
    let request = TimeRequest::start();
    let server = connection.query_one(CLOCK.into()).await?.try_get(0).map_err(unreachable)?;
    let round_trip = request.replied();
    Ok([round_trip.clock(server), round_trip.check()])
}
