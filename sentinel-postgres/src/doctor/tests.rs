//! What is said of a server, for each kind of server that there may be.

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
fn says(check: &Check, ok: bool, words: &[&str]) {
    assert_eq!(check.ok, ok, "{check:?}");
    assert!(words.iter().all(|word| check.found.contains(word)), "{check:?} does not say {words:?}");
}

#[test]
fn an_old_server_is_named() {
    says(&server(&FINE, &settings()), true, &["PostgreSQL 16.4"]);
    says(&server(&ServerInfo { version: 130_000, ..FINE }, &settings()), false, &["14 or newer is needed"]);
}

#[test]
fn a_standby_and_a_session_that_cannot_write_are_distinguished() {
    let [recovery, transactions] = writable(&FINE);
    says(&recovery, true, &["primary"]);
    says(&transactions, true, &["read and write"]);
    says(&writable(&ServerInfo { in_recovery: true, ..FINE })[0], false, &["use the primary"]);
    says(&writable(&ServerInfo { read_only: true, ..FINE })[1], false, &["read only"]);
}

#[test]
fn settings_that_lose_commits_are_reported_also_if_allowed() {
    for check in durability(&FINE, &settings(), false, false) {
        says(&check, true, &["on"]);
    }
    let lossy = ServerInfo { fsync: false, full_page_writes: false, ..FINE };
    for allowed in [false, true] {
        let word = if allowed { "and allowed" } else { "turn it on" };
        let [fsync, pages, _] = durability(&lossy, &settings(), allowed, false);
        says(&fsync, false, &["off", word, "lose or damage"]);
        says(&pages, false, &["off", word, "half-written"]);
    }
}

#[test]
fn a_commit_that_does_not_wait_for_the_standby_is_a_fault_only_if_there_is_one() {
    let commit = |info, set: &str, pooled| {
        let settings = Settings { synchronous_commit: set.into(), ..settings() };
        let [_, _, commit] = durability(&info, &settings, false, pooled);
        commit
    };
    says(&commit(FINE, "local", false), true, &["local"]);
    says(&commit(waits().0, "local", false), false, &["do not wait for the synchronous standby"]);
    says(&commit(waits().0, "on", false), true, &["on"]);
    says(&commit(FINE, "off", false), true, &["raised to on"]);
    says(&commit(FINE, "on", true), true, &["as the pooler's connections have it"]);
}

#[test]
fn standbys_are_reported_by_whether_commits_wait_for_them() {
    says(&standbys(&FINE, &settings()), true, &["none is connected"]);
    let asynchronous = Settings { standbys: 2, ..settings() };
    says(&standbys(&FINE, &asynchronous), true, &["2 connected, asynchronous", "may lose"]);
    let (info, there) = waits();
    says(&standbys(&info, &there), true, &["wait for second", "1 connected and confirming"]);
    let gone = Settings { standbys: 0, confirming: 0, ..waits().1 };
    says(&standbys(&info, &gone), false, &["none is connected", "nothing can be answered"]);
}

#[test]
fn a_role_that_cannot_read_standbys_is_reported() {
    let (info, there) = waits();
    let hidden = Settings { sees_standbys: false, confirming: 0, ..there };
    says(&standbys(&info, &hidden), true, &["1 connected", "pg_read_all_stats"]);
    let none = Settings { standbys: 0, ..hidden };
    says(&standbys(&info, &none), false, &["0 connected", "pg_read_all_stats"]);
}

#[test]
fn a_failover_is_reported_with_its_time_lines() {
    says(&timeline(&FINE, Some(1), None), true, &["1"]);
    says(&timeline(&FINE, None, None), true, &["1"]);
    let second = ServerInfo { timeline: Some(2), ..FINE };
    says(&timeline(&second, Some(1), None), true, &["it was 1 when the schema was made"]);
    says(&timeline(&second, Some(1), Some((1, 2))), false, &["changed from 1 to 2", "a failover"]);
    says(&timeline(&ServerInfo { timeline: None, ..FINE }, Some(1), None), true, &["in recovery"]);
}

#[test]
fn a_session_that_is_cut_off_when_idle_is_a_fault_if_that_comes_soon() {
    let idle = |seconds| {
        let settings = Settings { idle_timeout: Duration::from_secs(seconds), ..settings() };
        sessions(&settings, false).into_iter().find(|check| check.name == "idle_session_timeout")
    };
    assert!(idle(0).is_none());
    says(&idle(9).unwrap(), false, &["9s", "set it to 0"]);
    says(&idle(10).unwrap(), true, &["10s"]);
}

#[test]
fn a_session_is_reported_as_the_server_sees_it() {
    let told = |settings: &Settings, pooled| {
        sessions(settings, pooled).into_iter().map(|check| check.found).collect::<Vec<_>>().join("; ")
    };
    let plain = told(&settings(), false);
    assert!(
        plain.contains("none: the sessions are Sentinel's own") && plain.contains("kept with each"),
        "{plain}"
    );
    let set =
        Settings { isolation: Some("serializable".into()), encryption: Some("TLSv1.3".into()), ..settings() };
    let other = told(&set, true);
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
        let told = deployment.guarantees().join("\n");
        // A standby promises nothing: it is refused.
        assert_eq!(
            told.contains("At most one execution per key"),
            deployment != Deployment::Standby,
            "{told}"
        );
        let by_clock = told.contains("as long as the server's clock does");
        assert_eq!(by_clock, deployment == Deployment::Lossy, "{told}");
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
fn a_clock_that_is_a_minute_off_is_reported_with_its_direction() {
    let minute = 60_000_000;
    let at = |server| drift(server, 100 * minute, Duration::ZERO);
    says(&at(101 * minute), true, &["60s ahead of"]);
    says(&at(99 * minute), true, &["60s behind"]);
    says(&at(101 * minute + 1), false, &["ahead of"]);
    says(&at(99 * minute - 1), false, &["behind"]);
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
        says(&schema, ok, &["\"orders\"", words]);
        says(&role, true, &["app"]);
        assert_eq!(access(version, &[]).suffices(), version == Some(newest));
    }
    let lacking = access(Some(newest), &["SELECT on records", "INSERT on events"]);
    says(&lacking.checks(&names)[1], false, &["app lacks SELECT on records, INSERT on events"]);
    assert!(!lacking.suffices());
}
