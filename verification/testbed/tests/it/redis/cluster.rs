//! Clusters, and slots on their way.

use std::process::Command;

use sentinel_testbed::RedisCluster;
use sentinel_testbed::redis::Options;

/// By redis-cli as a client of a cluster, which goes where it is sent.
fn ask(cluster: &RedisCluster, command: &[&str]) -> String {
    let mut cli = Command::new("redis-cli");
    let output = cli.args(["-c", "-e", "-u", &cluster.nodes()[0].url()]).args(command).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap().trim().to_owned()
}

#[test]
fn each_node_has_a_share_of_the_slots() {
    let cluster = RedisCluster::start(3, Options::default());
    let nodes = cluster.nodes();
    let ports: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    assert_eq!(cluster.url(), format!("redis-cluster://{}?node={}&node={}", ports[0], ports[1], ports[2]));
    assert_eq!([0, 5460, 5461, 10921, 10922, 16383].map(|slot| cluster.owner(slot)), [0, 0, 1, 1, 2, 2]);
    for n in 0..20 {
        let key = format!("key{n}");
        assert_eq!(ask(&cluster, &["SET", &key, "1"]), "OK");
        assert_eq!(nodes[cluster.owner(cluster.slot(&key))].cli(&["GET", &key]), "1");
    }
    assert!(nodes.iter().all(|node| node.cli(&["DBSIZE"]) != "0"));
    assert!(nodes[0].try_cli(&["GET", "{b}"]).is_ok() != nodes[1].try_cli(&["GET", "{b}"]).is_ok());
}

#[test]
fn a_slot_moves_with_all_its_keys_while_it_is_used() {
    let cluster = RedisCluster::start(3, Options::default().password("it's"));
    let (slot, from, to) = (cluster.slot("{a}"), cluster.owner(cluster.slot("{a}")), 0);
    assert_ne!(from, to);
    let (old, new) = (&cluster.nodes()[from], &cluster.nodes()[to]);
    for name in ["{a}", "{a} \"two\"\n3", "{a}\\x", "{a}4"] {
        old.cli(&["SET", name, name]);
    }
    let moving = cluster.begin_move(slot, to);
    assert_eq!((moving.move_keys(3), cluster.owner(slot)), (3, from));
    assert_eq!((old.cli(&["DBSIZE"]), new.cli(&["DBSIZE"])), ("1".into(), "3".into()));
    assert!(old.try_cli(&["SET", "{a}new", "1"]).unwrap_err().starts_with("ASK"));
    moving.finish();
    assert_eq!((cluster.owner(slot), old.cli(&["DBSIZE"]).as_str()), (to, "0"));
    for name in ["{a}", "{a} \"two\"\n3", "{a}\\x", "{a}4"] {
        assert_eq!(new.cli(&["GET", name]), name);
    }
    for node in [&cluster.nodes()[1], &cluster.nodes()[2]] {
        let sent = node.try_cli(&["GET", "{a}"]).unwrap_err();
        assert_eq!(sent, format!("MOVED {slot} 127.0.0.1:{}", new.port()));
    }
}

#[test]
fn a_moved_slot_stays_there_after_a_restart_of_the_cluster() {
    let cluster = RedisCluster::start(3, Options::default());
    let slot = cluster.slot("a");
    assert_ne!(cluster.owner(slot), 0);
    ask(&cluster, &["SET", "a", "1"]);
    cluster.move_slot(slot, 0);
    cluster.nodes()[0].kill();
    cluster.nodes()[0].start_again();
    cluster.wait_ok();
    assert_eq!((cluster.owner(slot), ask(&cluster, &["GET", "a"]).as_str()), (0, "1"));
}

#[test]
fn with_tls_its_nodes_trust_each_other() {
    let cluster = RedisCluster::start(2, Options::default().tls());
    let key = ["a", "b", "c"].into_iter().find(|key| cluster.owner(cluster.slot(key)) == 1).unwrap();
    cluster.nodes()[1].cli(&["SET", key, "1"]);
    cluster.move_slot(cluster.slot(key), 0);
    assert_eq!(cluster.nodes()[0].cli(&["GET", key]), "1");
    assert!(cluster.url().starts_with("rediss-cluster://"));
}
