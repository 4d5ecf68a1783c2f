//! Passwords and certificates change while a program runs: each new connection takes those of the moment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sentinel_client::{LeaseOutcome, ReleaseOutcome, Sentinel};
use sentinel_core::{Address, CoordinationStore as _, Key, Namespace};
use sentinel_postgres::PostgresStore;
use sentinel_testbed::Postgres;
use sentinel_testbed::postgres::Options;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

/// In the environment of the program that runs on while its password changes.
const URL: &str = "SENTINEL_TEST_ROTATION_URL";

fn server() -> Postgres {
    let server = Postgres::start(Options::default().role("app", "one").hba("host all app all scram-sha-256"));
    server.psql("CREATE SCHEMA sentinel AUTHORIZATION app");
    server
}

/// Changes the password, and closes the connections that were made with the one before.
fn rotate(server: &Postgres, password: &str) {
    server.psql(&format!("ALTER ROLE app PASSWORD '{password}'"));
    server.psql("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = 'app'");
}

fn write_pgpass(path: &Path, server: &Postgres, password: &str) {
    std::fs::write(path, format!("127.0.0.1:{}:*:app:{password}\n", server.port())).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Holds a lease, reports that, and releases it on request.
#[expect(clippy::print_stdout, reason = "the program that started it reads this")]
async fn hold(url: &str) {
    let sentinel = Sentinel::new(PostgresStore::builder(url).init().await.unwrap()).namespace("n").unwrap();
    let LeaseOutcome::Held(lease) = sentinel.lease("k").acquire().await.unwrap() else { panic!("not held") };
    println!("\nheld");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    assert_eq!(lease.release().await.unwrap(), ReleaseOutcome::Released);
    println!("\nreleased");
}

#[test]
fn a_running_program_reads_a_new_password_from_its_file() {
    if let Ok(url) = std::env::var(URL) {
        tokio::runtime::Runtime::new().unwrap().block_on(hold(&url));
        return;
    }
    let server = server();
    let file = server.folder().join("pgpass");
    write_pgpass(&file, &server, "one");
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "rotation::a_running_program_reads_a_new_password_from_its_file", "--nocapture"])
        .env(URL, format!("postgres://app@127.0.0.1:{}/postgres", server.port()))
        .env("PGPASSFILE", &file)
        .env_remove("PGPASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "held"));
    write_pgpass(&file, &server, "two");
    rotate(&server, "two");
    program.stdin.take().unwrap().write_all(b"\n").unwrap();
    let released = lines.any(|line| line == "released");
    assert!(program.wait().unwrap().success() && released);
}

#[tokio::test]
async fn a_store_of_a_pool_takes_the_pools_new_options() {
    let server = server();
    let with = |password: &str| {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(server.port());
        options.username("app").database("postgres").password(password)
    };
    let pool = PgPoolOptions::new().connect_lazy_with(with("one"));
    let store = PostgresStore::builder_from_pool(&pool).init().await.unwrap();
    let address = Address::lease(Namespace::new("n").unwrap(), Key::new("k").unwrap());
    store.inspect(&address).await.unwrap();
    pool.set_connect_options(with("two"));
    rotate(&server, "two");
    let mut seen = store.inspect(&address).await;
    if seen.is_err() {
        // The first request may have met a connection that had just been closed.
        seen = store.inspect(&address).await;
    }
    seen.unwrap();
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_running_program_reads_a_new_certificate_authority_from_its_file() {
    let reject = "hostnossl all all all reject";
    let (server, other) =
        (Postgres::start(Options::default().tls().hba(reject)), Postgres::start(Options::default().tls()));
    let file = server.folder().join("trusted.crt");
    std::fs::copy(server.authority(), &file).unwrap();
    let url = format!("{}?sslmode=verify-full&sslrootcert={}", server.url(), file.display());
    let store = PostgresStore::builder(&url).init().await.unwrap();
    let address = Address::lease(Namespace::new("n").unwrap(), Key::new("k").unwrap());
    store.inspect(&address).await.unwrap();
    for name in ["server.crt", "server.key"] {
        std::fs::copy(other.folder().join("data").join(name), server.folder().join("data").join(name))
            .unwrap();
    }
    server.stop(sentinel_testbed::postgres::Mode::Fast);
    server.start_again();
    assert!(store.inspect(&address).await.is_err(), "the authority of before does not vouch for it");
    std::fs::copy(other.authority(), &file).unwrap();
    store.inspect(&address).await.unwrap();
}
