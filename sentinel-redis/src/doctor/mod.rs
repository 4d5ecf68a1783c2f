//! What `sentinel doctor` prints: the servers, their settings and their guarantees. Nothing that this writes stays.

use sentinel_core::store::{Check, Health};
use sentinel_core::{ErrorKind, StoreError};
use sentinel_store_kit::health::{TimeRequest, check};

use crate::batch::call::Caller;
use crate::connection::{Command, Connection};
use crate::data_loss::server::{OLDEST, Server};
use crate::durability::Durability;

mod access;
mod deployment;
mod replicas;
mod store_state;
#[cfg(test)]
mod tests;

use access::Access;
use deployment::Deployment;
use store_state::StoreState;

pub(crate) async fn health(caller: &Caller) -> Result<Health, StoreError> {
    let connection = caller.connection.get().await?;
    let (data_loss, durability) = (&caller.data_loss, caller.durability());
    let access =
        access::try_commands(&*connection, &data_loss.names, caller.connection.user(), durability).await?;
    let servers = match Server::ask_all(&*connection).await {
        Err(error) if error.kind() == ErrorKind::DeploymentRefused => return Ok(unknown(&access, &error)),
        servers => servers?,
    };
    let state = StoreState::read(&*connection, data_loss, &servers, &access).await?;
    let accepted = data_loss.acceptable(&servers).is_ok() && state.suffices() && access.suffices();
    let mut checks = Vec::new();
    for server in &servers {
        checks.extend(of_server(server, data_loss.allow_lossy));
    }
    checks.extend(together(&servers, durability));
    checks.extend(replicas::check_each(caller.connection.connector(), &servers, data_loss.allow_lossy).await);
    checks.extend(state.checks());
    checks.push(access.check());
    checks.push(encryption(caller.connection.is_encrypted()));
    checks.extend(clock(&*connection, caller).await?);
    let deployment = Deployment::of(&servers);
    let guarantees = if accepted { deployment.guarantees(durability) } else { Vec::new() };
    Ok(Health { deployment: deployment.name().into(), checks, guarantees, accepted })
}

/// A server that does not allow its state to be read.
fn unknown(access: &Access, error: &StoreError) -> Health {
    let checks = vec![check("server", false, error.to_string()), access.check()];
    let deployment = "Redis, whose settings may not be read".into();
    Health { deployment, checks, guarantees: Vec::new(), accepted: false }
}

/// How a server is set.
fn of_server(server: &Server, allow_lossy: bool) -> [Check; 5] {
    let policy = server.field("maxmemory_policy");
    let describe = |good: bool, found: &str, loss: &str, remedy: &str| match (good, allow_lossy) {
        (true, _) => found.to_owned(),
        (false, true) => format!("{found}, and allowed: {loss}"),
        (false, false) => format!("{found}: {loss}; set {remedy}"),
    };
    let dropped = "it drops records when memory is short, and keys would run again";
    let forgotten = "a restart loses everything, and keys would run again";
    let fsync = match server.appendfsync.as_deref() {
        Some("always") => "always".into(),
        Some("no") => {
            describe(false, "no", "a crash of the host loses what it acknowledged", "everysec or always")
        }
        Some("everysec") => {
            "everysec: the newest two seconds may be lost if the server or its host dies".into()
        }
        Some(other) => other.to_owned(),
        None => "CONFIG is not allowed: treated as everysec".into(),
    };
    let (keeps, appends) = (!server.evicts(), server.appends());
    let on = if appends { "yes" } else { "no" };
    [
        version(server),
        role(server),
        check("maxmemory-policy", keeps, describe(keeps, policy, dropped, "noeviction")),
        check("appendonly", appends, describe(appends, on, forgotten, "appendonly yes")),
        check("appendfsync", server.appendfsync.as_deref() != Some("no"), fsync),
    ]
}

fn version(server: &Server) -> Check {
    let is_new = server.version() >= OLDEST;
    let hint = match is_new {
        true => String::new(),
        false => format!(": {}.{} or newer is needed", OLDEST.0, OLDEST.1),
    };
    check("version", is_new, format!("Redis {}{hint}", server.field("redis_version")))
}

fn role(server: &Server) -> Check {
    let found = match server.is_master() {
        true => "master".to_owned(),
        false => {
            let master = (server.field("master_host"), server.field("master_port"));
            format!("a replica: use its master, {}:{}", master.0, master.1)
        }
    };
    check("role", server.is_master(), found)
}

/// What the servers are together.
fn together(servers: &[Server], durability: Durability) -> Vec<Check> {
    let mut checks = Vec::new();
    if servers.iter().any(Server::is_clustered) {
        checks.push(check("cluster", true, format!("{} masters with slots", servers.len())));
    }
    checks.push(replicas::counted(servers, durability));
    checks
}

fn encryption(is_encrypted: bool) -> Check {
    check("encryption", true, if is_encrypted { "TLS" } else { "none" })
}

async fn clock(connection: &dyn Connection, caller: &Caller) -> Result<[Check; 2], StoreError> {
    let request = TimeRequest::start();
    let time = connection.call(Command::new("TIME", caller.data_loss.names.metadata().to)).await;
    let round_trip = request.replied();
    let clock = match time {
        Ok(time) => round_trip.clock(i64::try_from(time.micros()?).unwrap_or(i64::MAX)),
        // Where TIME is not allowed, the check of the user reports the missing right.
        Err(_) => check("clock", false, "cannot be asked"),
    };
    Ok([clock, round_trip.check()])
}
