//! What the doctor reports, for each kind of server.

use super::access::Access;
use super::*;
use crate::parts::Names;
use crate::schema;

const FINE: ServerInfo = ServerInfo::FINE;

/// A server of which there is one alone.
fn settings() -> Settings {
    Settings {
        version: "16.4".into(),
        synchronous_commit: "on".into(),
        synchronous_standby_names: String::new(),
        standbys: 0,
        confirming: 0,
        sees_standbys: true,
        isolation: None,
        idle_timeout: Duration::ZERO,
        encryption: None,
    }
}

fn waits() -> (ServerInfo, Settings) {
    let info = ServerInfo { has_synchronous_standby: true, ..FINE };
    (info, Settings { synchronous_standby_names: "second".into(), standbys: 1, confirming: 1, ..settings() })
}

#[track_caller]
fn assert_check(check: &Check, ok: bool, words: &[&str]) {
    assert_eq!(check.ok, ok, "{check:?}");
    assert!(words.iter().all(|word| check.found.contains(word)), "{check:?} does not contain {words:?}");
}

#[test]
fn an_old_server_is_named() {
    assert_check(&server(&FINE, &settings()), true, &["PostgreSQL 16.4"]);
    assert_check(
        &server(&ServerInfo { version: 130_000, ..FINE }, &settings()),
        false,
        &["14 or newer is needed"],
    );
}

#[test]
fn a_standby_and_a_session_that_cannot_write_are_distinguished() {
    let [recovery, transactions] = writable(&FINE);
    assert_check(&recovery, true, &["primary"]);
    assert_check(&transactions, true, &["read and write"]);
    assert_check(&writable(&ServerInfo { in_recovery: true, ..FINE })[0], false, &["use the primary"]);
    assert_check(&writable(&ServerInfo { read_only: true, ..FINE })[1], false, &["read only"]);
}

#[test]
fn settings_that_lose_commits_are_reported_also_if_allowed() {
    for check in durability(&FINE, &settings(), false, false) {
        assert_check(&check, true, &["on"]);
    }
    let lossy = ServerInfo { fsync: false, full_page_writes: false, ..FINE };
    for allowed in [false, true] {
        let word = if allowed { "and allowed" } else { "turn it on" };
        let [fsync, pages, _] = durability(&lossy, &settings(), allowed, false);
        assert_check(&fsync, false, &["off", word, "lose or damage"]);
        assert_check(&pages, false, &["off", word, "half-written"]);
    }
}

#[test]
fn a_commit_that_does_not_wait_for_the_standby_is_a_fault_only_if_there_is_one() {
    let commit = |info, set: &str, pooled| {
        let settings = Settings { synchronous_commit: set.into(), ..settings() };
        let [_, _, commit] = durability(&info, &settings, false, pooled);
        commit
    };
    assert_check(&commit(FINE, "local", false), true, &["local"]);
    assert_check(&commit(waits().0, "local", false), false, &["do not wait for the synchronous standby"]);
    assert_check(&commit(waits().0, "on", false), true, &["on"]);
    assert_check(&commit(FINE, "off", false), true, &["raised to on"]);
    assert_check(&commit(FINE, "on", true), true, &["as the pooler's connections have it"]);
}

#[test]
fn standbys_are_reported_by_whether_commits_wait_for_them() {
    assert_check(&standbys(&FINE, &settings()), true, &["none is connected"]);
    let asynchronous = Settings { standbys: 2, ..settings() };
    assert_check(&standbys(&FINE, &asynchronous), true, &["2 connected, asynchronous", "may lose"]);
    let (info, there) = waits();
    assert_check(&standbys(&info, &there), true, &["wait for second", "1 connected and confirming"]);
    let gone = Settings { standbys: 0, confirming: 0, ..waits().1 };
    assert_check(&standbys(&info, &gone), false, &["none is connected", "nothing can be answered"]);
}

#[test]
fn a_role_that_cannot_read_standbys_is_reported() {
    let (info, there) = waits();
    let hidden = Settings { sees_standbys: false, confirming: 0, ..there };
    assert_check(&standbys(&info, &hidden), true, &["1 connected", "pg_read_all_stats"]);
    let none = Settings { standbys: 0, ..hidden };
    assert_check(&standbys(&info, &none), false, &["0 connected", "pg_read_all_stats"]);
}

#[test]
fn a_failover_is_reported_with_its_time_lines() {
    assert_check(&timeline(&FINE, Some(1), None), true, &["1"]);
    assert_check(&timeline(&FINE, None, None), true, &["1"]);
    let second = ServerInfo { timeline: Some(2), ..FINE };
    assert_check(&timeline(&second, Some(1), None), true, &["it was 1 when the schema was made"]);
    assert_check(&timeline(&second, Some(1), Some((1, 2))), false, &["changed from 1 to 2", "a failover"]);
    assert_check(&timeline(&ServerInfo { timeline: None, ..FINE }, Some(1), None), true, &["in recovery"]);
}

#[test]
fn a_session_that_is_cut_off_when_idle_is_a_fault_if_that_comes_soon() {
    let idle = |seconds| {
        let settings = Settings { idle_timeout: Duration::from_secs(seconds), ..settings() };
        sessions(&settings, false).into_iter().find(|check| check.name == "idle_session_timeout")
    };
    assert!(idle(0).is_none());
    assert_check(&idle(9).unwrap(), false, &["9s", "set it to 0"]);
    assert_check(&idle(10).unwrap(), true, &["10s"]);
}

#[test]
fn a_session_is_reported_as_the_server_sees_it() {
    let guarantees_text = |settings: &Settings, pooled| {
        sessions(settings, pooled).into_iter().map(|check| check.found).collect::<Vec<_>>().join("; ")
    };
    let plain = guarantees_text(&settings(), false);
    assert!(
        plain.contains("none: the sessions are Sentinel's own") && plain.contains("kept with each"),
        "{plain}"
    );
    let set =
        Settings { isolation: Some("serializable".into()), encryption: Some("TLSv1.3".into()), ..settings() };
    let other = guarantees_text(&set, true);
    for word in ["in transaction mode", "not used behind a pooler", "serializable is the role's", "TLSv1.3"] {
        assert!(other.contains(word), "{other}");
    }
}

#[test]
fn each_deployment_is_reported_with_its_guarantees() {
    let (info, there) = waits();
    let standby = ServerInfo { in_recovery: true, ..FINE };
    let local = Settings { synchronous_commit: "local".into(), ..waits().1 };
    let beside = Settings { standbys: 1, ..settings() };
    for (info, settings, deployment) in [
        (FINE, settings(), Deployment::OnePrimary),
        (standby, settings(), Deployment::Standby),
        (ServerInfo { fsync: false, ..FINE }, settings(), Deployment::Lossy),
        (info, there, Deployment::Synchronous),
        (info, local, Deployment::Asynchronous),
        (FINE, beside, Deployment::Asynchronous),
    ] {
        assert_eq!(Deployment::of(&info, &settings), deployment);
        let guarantees_text = deployment.guarantees().join("\n");
        // A standby promises nothing: it is refused.
        assert_eq!(
            guarantees_text.contains("At most one execution per key"),
            deployment != Deployment::Standby,
            "{guarantees_text}"
        );
        let by_clock = guarantees_text.contains("as long as the server's clock does");
        assert_eq!(by_clock, deployment == Deployment::Lossy, "{guarantees_text}");
    }
    let names = [
        Deployment::OnePrimary,
        Deployment::Standby,
        Deployment::Lossy,
        Deployment::Synchronous,
        Deployment::Asynchronous,
    ];
    let names: std::collections::BTreeSet<_> = names.map(Deployment::name).into();
    assert_eq!(names.len(), 5);
}

#[test]
fn a_schema_is_reported_with_its_version_and_a_role_with_what_it_lacks() {
    let names = Names::new("orders", "").unwrap();
    let newest = schema::newest();
    let access = |version, missing: &[&str]| {
        let missing = missing.iter().map(|grant| (*grant).to_owned()).collect();
        Access { role: "app".into(), version, timeline: None, missing }
    };
    for (version, ok, words) in [
        (None, false, "cannot be read"),
        (Some(0), false, "not initialised: run `sentinel init`"),
        (Some(newest - 1), false, "`sentinel init`"),
        (Some(newest), true, "version"),
        (Some(newest + 1), false, "upgrade this program"),
    ] {
        let [schema, role] = access(version, &[]).checks(&names);
        assert_check(&schema, ok, &["\"orders\"", words]);
        assert_check(&role, true, &["app"]);
        assert_eq!(access(version, &[]).suffices(), version == Some(newest));
    }
    let lacking = access(Some(newest), &["SELECT on records", "INSERT on events"]);
    assert_check(&lacking.checks(&names)[1], false, &["app lacks SELECT on records, INSERT on events"]);
    assert!(!lacking.suffices());
}
