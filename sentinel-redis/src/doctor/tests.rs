//! What is reported about servers, for each kind of deployment.

use super::*;

const ALONE: [(&str, &str); 4] = [
    ("aof_enabled", "1"),
    ("maxmemory_policy", "noeviction"),
    ("role", "master"),
    ("redis_version", "7.4.1"),
];

fn server(fields: &[(&str, &str)], fsync: Option<&str>) -> Server {
    let known = ALONE.into_iter().filter(|(name, _)| fields.iter().all(|(other, _)| other != name));
    let fields: Vec<_> = known.chain(fields.iter().copied()).collect();
    let mut server = Server::reporting(&fields);
    server.appendfsync = fsync.map(str::to_owned);
    server
}

#[track_caller]
fn assert_finding(check: &Check, ok: bool, words: &[&str]) {
    assert_eq!(check.ok, ok, "{check:?}");
    assert!(words.iter().all(|word| check.found.contains(word)), "{check:?} does not contain {words:?}");
}

#[test]
fn settings_that_lose_records_are_reported_also_where_allowed() {
    for check in of_server(&server(&[], Some("always")), false) {
        assert!(check.ok, "{check:?}");
    }
    let careless = [("aof_enabled", "0"), ("maxmemory_policy", "allkeys-lru")];
    for allowed in [false, true] {
        let [_, _, policy, appends, fsync] = of_server(&server(&careless, Some("no")), allowed);
        let remedy = |what: &'static str| if allowed { "and allowed" } else { what };
        assert_finding(&policy, false, &["allkeys-lru", "drops records", remedy("set noeviction")]);
        assert_finding(&appends, false, &["loses everything", remedy("set appendonly yes")]);
        assert_finding(&fsync, false, &["loses what it acknowledged", remedy("set everysec or always")]);
    }
    let fsync = |set| of_server(&server(&[], set), false)[4].clone();
    assert_finding(&fsync(Some("everysec")), true, &["newest two seconds"]);
    assert_finding(&fsync(None), true, &["treated as everysec"]);
}

#[test]
fn an_old_server_and_a_replica_are_named() {
    assert_finding(&version(&server(&[], None)), true, &["Redis 7.4.1"]);
    assert_finding(
        &version(&server(&[("redis_version", "6.2.1")], None)),
        false,
        &["7.0 or newer is needed"],
    );
    assert_finding(&role(&server(&[], None)), true, &["master"]);
    let replica = server(&[("role", "slave"), ("master_host", "one"), ("master_port", "7")], None);
    assert_finding(&role(&replica), false, &["use its master, one:7"]);
}

#[test]
fn replicas_are_checked_against_the_durability() {
    let replicas = |connected: &str, durability| {
        let server = server(&[("connected_slaves", connected)], Some("always"));
        together(&[server], durability).pop().unwrap()
    };
    assert_finding(&replicas("0", Durability::Server), true, &["none is connected"]);
    assert_finding(&replicas("2", Durability::Server), true, &["2 connected", "may lack"]);
    assert_finding(&replicas("2", Durability::Replicas(2)), true, &["2 connected"]);
    assert_finding(&replicas("1", Durability::Replicas(2)), false, &["1 connected, and 2 have to confirm"]);
    assert_finding(
        &replicas("0", Durability::Disk { replicas: 1 }),
        false,
        &["0 connected, and 1 have to confirm"],
    );
    // One that takes over is as lossy as the rest of it.
    let lossy = server(&[("connected_slaves", "1"), ("aof_enabled", "0")], None);
    let found = together(&[lossy], Durability::Server).pop().unwrap();
    assert!(found.ok && !found.found.contains("may lack"), "{found:?}");
}

#[test]
fn a_cluster_is_as_well_replicated_as_its_worst_master() {
    let master = |replicas| server(&[("cluster_enabled", "1"), ("connected_slaves", replicas)], None);
    let report = together(&[master("2"), master("1")], Durability::Replicas(2));
    assert_finding(&report[0], true, &["2 masters"]);
    assert_finding(&report[1], false, &["has 2", "has 1", "2 have to confirm"]);
}

#[test]
fn each_deployment_is_reported_with_its_guarantees() {
    for (fields, fsync, deployment, tokens) in [
        (&[][..], Some("always"), Deployment::Always, "restart and power loss"),
        (&[], Some("everysec"), Deployment::EverySecond, "restart and power loss"),
        (&[("connected_slaves", "1")], Some("always"), Deployment::WithReplicas, "the hosts' clocks agree"),
        (&[("cluster_enabled", "1")], None, Deployment::Cluster, "the hosts' clocks agree"),
        (&[("aof_enabled", "0")], None, Deployment::Lossy, "as long as the server's clock does"),
    ] {
        assert_eq!(Deployment::of(&[server(fields, fsync)]), deployment);
        let report = deployment.guarantees(Durability::Server).join("\n");
        assert!(
            report.contains("At most one execution per key") && report.contains(tokens),
            "{deployment:?}: {report}"
        );
        assert!(!report.contains("before it is acknowledged: a failover loses less"), "{report}");
    }
    let replica = Deployment::of(&[server(&[("role", "slave")], None)]);
    assert_eq!((replica, replica.guarantees(Durability::Server)), (Deployment::Replica, Vec::new()));
}

#[test]
fn durability_is_among_the_guarantees() {
    let report = |durability| Deployment::WithReplicas.guarantees(durability).join("\n");
    assert!(report(Durability::Replicas(2)).contains("with 2 replicas before it is acknowledged"));
    assert!(
        report(Durability::Disk { replicas: 0 }).contains("on the server's disk before it is acknowledged")
    );
    assert!(report(Durability::Disk { replicas: 3 }).contains("of the server and 3 replicas before"));
}
