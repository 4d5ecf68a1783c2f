//! PgBouncer in front of a server.

use sentinel_testbed::pgbouncer::{Options, PoolMode};
use sentinel_testbed::{PgBouncer, Postgres, postgres};

#[test]
fn it_serves_in_transaction_mode() {
    let bouncer = PgBouncer::start(postgres(), Options::default());
    assert_eq!(bouncer.psql("select 1"), "1");
    let mode = |bouncer: &PgBouncer| {
        let config = bouncer.console("show config");
        config
            .lines()
            .find(|line| line.starts_with("pool_mode|"))
            .unwrap()
            .split('|')
            .nth(1)
            .unwrap()
            .to_owned()
    };
    assert_eq!(mode(&bouncer), "transaction");
    let session = PgBouncer::start(postgres(), Options::default().mode(PoolMode::Session).pool_size(3));
    assert_eq!(mode(&session), "session");
}

#[test]
fn a_role_gets_in_with_its_own_password_only() {
    let server = Postgres::start(sentinel_testbed::postgres::Options::default().role("app", "secret"));
    let bouncer = PgBouncer::start(&server, Options::default());
    let ask = |password: &str| {
        let url = bouncer.url_for("app", password, "postgres");
        server
            .command("psql")
            .args(["-X", "-A", "-t", "-d", &url, "-c", "select current_user"])
            .output()
            .unwrap()
    };
    assert_eq!(ask("secret").stdout, b"app\n");
    assert!(!ask("wrong").status.success());
}

#[test]
fn an_unknown_startup_parameter_is_refused_unless_it_is_ignored() {
    let ask = |options: Options| {
        let bouncer = PgBouncer::start(postgres(), options);
        let mut psql = postgres().command("psql");
        psql.args(["-X", "-A", "-t", "-d", &bouncer.url(), "-c", "select 1"]);
        psql.env("PGOPTIONS", "-c work_mem=7MB").output().unwrap()
    };
    let refused = ask(Options::default());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("unsupported startup parameter"),
        "{refused:?}"
    );
    assert_eq!(ask(Options::default().ignore_startup_parameters("options")).stdout, b"1\n");
}

#[test]
fn it_is_stopped_and_started_again_on_its_port() {
    let bouncer = PgBouncer::start(postgres(), Options::default());
    let (port, pid) = (bouncer.port(), bouncer.pid());
    bouncer.stop();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    bouncer.start_again();
    assert_eq!(bouncer.psql("select 1"), "1");
    assert_eq!((bouncer.port(), bouncer.pid() == pid), (port, false));
}
