//! The replicas of each master: whether each master has one that can take over, and whether that one would be accepted.

use std::time::Duration;

use futures_util::future::join_all;
use sentinel_core::StoreError;
use sentinel_core::store::Check;
use sentinel_store_kit::health::check;

use crate::connection::Connector;
use crate::data_loss::server::{Class, Replica, Server, class};
use crate::durability::Durability;
use crate::schema::To;

/// How long a replica is waited for. It may be where this host cannot reach it.
const WITHIN: Duration = Duration::from_secs(2);

/// How many replicas each master has, and how many have to confirm what is written.
pub(super) fn counted(masters: &[Server], durability: Durability) -> Check {
    let fewest = masters.iter().map(Server::replicas).min().unwrap_or_default();
    let asked = match durability {
        Durability::Server => 0,
        Durability::Replicas(asked) | Durability::Disk { replicas: asked } => asked,
    };
    let connected = match (masters, fewest) {
        ([_], _) => format!("{fewest} connected"),
        _ => masters.iter().map(of_master).collect::<Vec<_>>().join(", "),
    };
    let any = masters.iter().any(|master| master.replicas() > 0);
    let found = match class(masters) {
        _ if fewest < asked => {
            format!("{connected}, and {asked} have to confirm: requests that must be durable get no reply")
        }
        _ if !any => "none is connected".to_owned(),
        Class::Replicated if fewest == 0 => {
            format!(
                "{connected}; the slots of a master without a replica are lost with it, and any replica \
                that takes over may lack what was acknowledged last"
            )
        }
        Class::Replicated => {
            format!("{connected}: one that takes over may lack what was acknowledged last")
        }
        _ => connected,
    };
    check("replicas", fewest >= asked, found)
}

fn of_master(master: &Server) -> String {
    let count = master.replicas();
    let count = if count == 0 { "none".into() } else { count.to_string() };
    format!("{} has {count}", master.address.as_deref().unwrap_or("the master"))
}

/// Checks each replica itself. One that takes over with other settings than its master's would be refused, and then
/// nothing is granted.
pub(super) async fn check_each(connector: &Connector, masters: &[Server], allow_lossy: bool) -> Vec<Check> {
    let replicas = masters.iter().flat_map(Server::each_replica);
    let checks = replicas.map(|replica| async move {
        let asked = ask(connector, &replica).await;
        judge(&replica, asked, allow_lossy)
    });
    join_all(checks).await
}

async fn ask(connector: &Connector, replica: &Replica) -> Result<Server, StoreError> {
    let connection = connector.to_one(&replica.host, replica.port, WITHIN).connect().await?;
    Server::ask(&*connection, To::Slot(0)).await
}

fn judge(replica: &Replica, asked: Result<Server, StoreError>, allow_lossy: bool) -> Check {
    let Replica { host, port, state } = replica;
    let of = |ok, found: String| check("replica", ok, format!("{host}:{port} {found}"));
    let server = match asked {
        Err(error) => return of(true, format!("is {state}, and cannot be asked from here: {error}")),
        Ok(server) => server,
    };
    let old = server.too_old();
    let lossy = server.lossy().filter(|_| !allow_lossy);
    match old.or(lossy) {
        Some(why) => of(false, format!("would be refused if it took over: {why}")),
        None if state != "online" => of(false, format!("is {state}: it could not take over yet")),
        None => of(true, "is online, with settings that are accepted".into()),
    }
}

#[cfg(test)]
mod tests {
    use sentinel_core::ErrorKind;

    use super::*;

    fn replica(state: &str) -> Replica {
        Replica { host: "10.0.0.1".into(), port: 7, state: state.into() }
    }

    fn server(fields: &[(&str, &str)]) -> Server {
        let good = [("redis_version", "7.4.1"), ("aof_enabled", "1"), ("maxmemory_policy", "noeviction")];
        let known = good.into_iter().filter(|(name, _)| fields.iter().all(|(other, _)| other != name));
        Server::reporting(&known.chain(fields.iter().copied()).collect::<Vec<_>>())
    }

    #[test]
    fn a_replica_that_would_be_refused_is_named() {
        for (fields, state, allowed, ok, words) in [
            (&[("role", "slave")][..], "online", false, true, "10.0.0.1:7 is online"),
            (
                &[("aof_enabled", "0")],
                "online",
                false,
                false,
                "would be refused if it took over: appendonly is no",
            ),
            (&[("aof_enabled", "0")], "online", true, true, "is online"),
            (
                &[("maxmemory_policy", "allkeys-lru")],
                "online",
                false,
                false,
                "maxmemory-policy is allkeys-lru",
            ),
            (&[("redis_version", "6.2.1")], "online", true, false, "older than 7.0"),
            (&[], "wait_bgsave", false, false, "could not take over yet"),
        ] {
            let found = judge(&replica(state), Ok(server(fields)), allowed);
            assert!(found.ok == ok && found.found.contains(words), "{found:?}");
        }
        let error = StoreError::not_applied(ErrorKind::Unreachable, "no route");
        let found = judge(&replica("online"), Err(error), false);
        assert!(found.ok && found.found.contains("cannot be asked from here"), "{found:?}");
    }

    #[test]
    fn a_master_without_replicas_is_named() {
        let master = |address: &str, replicas| {
            let mut master = server(&[("cluster_enabled", "1"), ("connected_slaves", replicas)]);
            master.address = Some(address.into());
            master
        };
        let some = [master("one:1", "1"), master("two:2", "0")];
        let found = counted(&some, Durability::Server);
        assert!(found.ok && found.found.contains("one:1 has 1, two:2 has none"), "{found:?}");
        let found = counted(&some, Durability::Replicas(1));
        assert!(!found.ok && found.found.contains("two:2 has none, and 1 have to confirm"), "{found:?}");
        let none = [master("one:1", "0"), master("two:2", "0")];
        assert_eq!(counted(&none, Durability::Server).found, "none is connected");
    }
}
