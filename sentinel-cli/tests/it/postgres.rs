//! What is PostgreSQL's own: setting it up, and a server that is not there.

use sentinel_testbed::{Postgres, postgres::Options};

use crate::unusable_store::{all_refuse, needs_init};
use crate::world::{World, server};

#[test]
fn before_init_every_command_but_doctor_exits_69_and_names_init() {
    let world = World::at(server());
    needs_init(&world, || server().psql(&format!("SELECT to_regnamespace('{}')", world.schema())));
}

#[test]
fn init_at_once_from_eight_programs_sets_up_one_schema() {
    let world = World::at(server());
    let racing: Vec<_> = (0..8).map(|_| world.start(&["init"])).collect();
    for one in racing {
        let ran = one.ended();
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert!(ran.out().starts_with("initialised: postgres://127.0.0.1:"), "{ran:?}");
    }
    assert_eq!(server().psql(&format!("SELECT version FROM {}.migrations", world.schema())), "1");
    assert_eq!(world.once("k", &[], "echo ran").out(), "ran\n");
}

#[test]
fn printed_sql_does_by_hand_what_init_does() {
    let [by_init, by_hand] = [World::postgres(), World::at(server())];
    // Nothing listens there: it connects to nothing.
    let url = format!("postgres://me:hunter2@127.0.0.1:1/db?sentinel_schema={}", by_hand.schema());
    let printed = by_hand.run(&["init", "--print-sql", "--store", &url]);
    assert!(printed.code() == 0 && printed.err().is_empty(), "{printed:?}");
    let json = by_hand.run(&["init", "--print-sql", "--json", "--store", &url]).json();
    assert_eq!(json["sql"], printed.out());
    assert!(!json.to_string().contains("hunter2"));

    server().psql(&printed.out());
    assert_eq!(by_hand.once("k", &[], "echo ran").out(), "ran\n");
    server().psql(&printed.out());
    assert_eq!(by_hand.run(&["init"]).code(), 0);
    assert_eq!(by_hand.once("k", &[], "touch ran").out(), "ran\n", "a second time changes nothing");
    assert_eq!(dump(by_hand.schema()), dump(by_init.schema()));
}

/// All that is in a schema but its data, under another name.
fn dump(schema: &str) -> Vec<String> {
    let mut dump = server().command("pg_dump");
    let dump = dump.args(["--schema-only", "--no-owner", "--schema", schema]).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    let text = String::from_utf8(dump.stdout).unwrap();
    // A newer pg_dump puts a random word around what it prints.
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with(['-', '\\']));
    lines.map(|line| line.replace(schema, "the_schema")).collect()
}

#[test]
fn schema_and_prefix_separate_the_stores_of_one_database() {
    let first = World::postgres();
    let second = World::on(&format!("{}&sentinel_table_prefix=second_", first.store()));
    assert_eq!(second.run(&["inspect", "k"]).code(), 69);
    assert_eq!(second.run(&["init", "--json"]).json()["store"], shown(second.store()));
    assert_eq!(first.once("k", &[], "echo first").out(), "first\n");
    assert_eq!(second.once("k", &[], "echo second").out(), "second\n");
    assert_eq!(first.once("k", &[], "touch ran").out(), "first\n");
}

/// A URL without user and password.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    format!("{scheme}://{}", rest.rsplit_once('@').unwrap().1)
}

#[test]
fn a_newer_schema_is_refused() {
    let world = World::postgres();
    server().psql(&format!("INSERT INTO {}.migrations (version) VALUES (99)", world.schema()));
    for ran in all_refuse(&world, world.store()) {
        assert!(ran.err().contains("version 99") && ran.err().contains("upgrade"), "{ran:?}");
    }
    assert_eq!(world.run(&["doctor"]).code(), 1);
}

#[test]
fn a_role_without_rights_gets_an_error() {
    let world = World::at(server());
    let role = format!("role_of_{}", world.schema());
    server().psql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'"));
    let url = server().url_for(&role, "hunter2", "postgres");
    let url = format!("{url}?sentinel_schema={}", world.schema());
    let init = world.run(&["init", "--store", &url]);
    assert!(init.code() == 69 && init.err().contains("permission denied"), "{init:?}");
    assert!(!format!("{init:?}").contains("hunter2"));
    assert_eq!(world.run(&["init"]).code(), 0);
    let once = world.run(&["once", "k", "--store", &url, "--", "touch", "ran"]);
    assert!(once.code() == 69 && once.err().contains("permission denied"), "{once:?}");
    assert!(!world.path("ran").exists());
}

#[test]
fn a_wrong_password_is_69_and_not_shown() {
    let world = World::on(&server().url_for("postgres", "hunter2", "postgres"));
    for ran in all_refuse(&world, world.store()) {
        assert!(ran.err().contains("password authentication failed"), "{ran:?}");
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code() == 69 && !format!("{doctor:?}").contains("hunter2"), "{doctor:?}");
}

#[test]
fn a_server_that_is_not_there() {
    let world = World::on("postgres://me@127.0.0.1:1/db");
    all_refuse(&world, world.store());
    assert_eq!(world.run(&["doctor"]).code(), 69);
}

#[test]
fn tls_is_built_in() {
    let server = Postgres::start(Options::default().tls());
    let world = World::at(&server);
    let authority = server.authority();
    let url = |mode: &str| format!("{}&sslmode={mode}", world.store());
    let trusted = format!("{}&sslrootcert={}", url("verify-full"), authority.display());
    let init = world.run(&["init", "--store", &trusted]);
    assert_eq!(init.code(), 0, "{init:?}");
    let stranger = world.run(&["once", "k", "--store", &url("verify-full"), "--", "touch", "ran"]);
    assert!(stranger.code() == 69 && stranger.err().contains("certificate"), "{stranger:?}");
    assert!(!world.path("ran").exists());
}

/// What is due is set by hand: a record rests for an hour before it is purged.
#[test]
fn purge_goes_through_every_namespace_that_there_is() {
    let world = World::postgres();
    for namespace in ["billing", "mail", "reports"] {
        let ran = world.once("k", &["--namespace", namespace, "--retention", "1s"], "echo done");
        assert_eq!(ran.code(), 0, "{ran:?}");
    }
    let records = format!("{}.records", world.schema());
    server().psql(&format!("UPDATE {records} SET purge_at = 1 WHERE namespace <> 'reports'"));
    let purged = |arguments: &[&str]| {
        let ran = world.run(&[&["purge", "--json"], arguments].concat());
        assert_eq!(ran.code(), 0, "{ran:?}");
        ran.json()["purged"].as_u64().unwrap()
    };
    assert_eq!(purged(&["--all-namespaces", "--dry-run"]), 2);
    assert_eq!(purged(&["--namespace", "reports"]), 0);
    assert_eq!(purged(&["--namespace", "mail"]), 1);
    assert_eq!(purged(&["--all-namespaces"]), 1);
    assert_eq!(purged(&["--all-namespaces"]), 0);
}
