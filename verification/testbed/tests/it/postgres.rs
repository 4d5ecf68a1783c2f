//! One server: its ways in, its ends, its beginnings.

use std::process::{Child, Command, Stdio};

use sentinel_testbed::postgres::Options;
use sentinel_testbed::{Mode, Postgres, postgres, until};

/// A connection that prints its backend's number and then waits.
fn waiting(server: &Postgres) -> (Child, u32) {
    let mut psql = server.command("psql");
    psql.args(["-X", "-c", "set application_name = 'waiting'; select pg_sleep(1000)"]);
    let child = psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let query =
        "select pid from pg_stat_activity where application_name = 'waiting' and wait_event = 'PgSleep'";
    until("it waits", || !server.psql(query).is_empty());
    let pid = server.psql(query).parse().unwrap();
    (child, pid)
}

/// By psql alone: what the bed's own `psql` would do by the socket.
fn by_url(server: &Postgres, url: &str, sql: &str) -> (bool, String) {
    let output = server.command("psql").args(["-X", "-A", "-t", "-d", url, "-c", sql]).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.trim().to_owned())
}

#[test]
fn a_query_that_recovery_cancelled_is_sent_again() {
    let server = postgres();
    server.psql("create sequence cancelled");
    // The error of a standby, once. A sequence keeps its value where the statement is rolled back.
    let cancelled = "do $$ begin if nextval('cancelled') = 1 then \
         raise exception 'canceling statement due to conflict with recovery'; end if; end $$; \
         select last_value from cancelled";
    assert_eq!(server.psql(cancelled), "2");
}

#[test]
fn it_serves_by_tcp_and_by_its_socket() {
    let server = postgres();
    let ask = "select current_user, inet_server_port(), current_setting('fsync')";
    assert_eq!(by_url(server, &server.url(), ask), (true, format!("postgres|{}|on", server.port())));
    assert_eq!(by_url(server, &server.socket_url(), ask), (true, "postgres||on".into()));
    assert_eq!(server.psql("select 1; select 2, 'b'"), "1\n2|b");
    assert!(server.version() >= 14);
    assert_eq!(server.psql("show server_version_num").len(), 6);
    let wrong = server.url_for("postgres", "wrong", "postgres");
    let (passed, text) = by_url(server, &wrong, "select 1");
    assert!(!passed && text.contains("password authentication failed"), "{text}");
}

#[test]
#[should_panic(expected = "relation \"nowhere\" does not exist")]
fn a_failed_statement_panics_with_the_servers_error() {
    postgres().psql("select * from nowhere");
}

#[test]
fn a_created_role_may_only_log_in() {
    let server = Postgres::start(Options::default().role("app", "it's \"here\"").conf("work_mem = '7MB'"));
    let url = server.url_for("app", "it's \"here\"", "postgres");
    let (passed, text) = by_url(&server, &url, "show work_mem");
    assert_eq!((passed, text.as_str()), (true, "7MB"));
    let (passed, text) = by_url(&server, &url, "create role another");
    assert!(!passed && text.contains("permission denied"), "{text}");
}

#[test]
fn with_tls_its_certificate_is_signed_by_the_authority() {
    let server = Postgres::start(Options::default().tls().hba("hostnossl all all all reject"));
    let verified =
        format!("{}?sslmode=verify-full&sslrootcert={}", server.url(), server.authority().display());
    let ask = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    assert_eq!(by_url(&server, &verified, ask), (true, "t".into()));
    let (passed, text) = by_url(&server, &format!("{}?sslmode=disable", server.url()), ask);
    assert!(!passed && text.contains("pg_hba.conf rejects"), "{text}");
}

#[test]
fn after_each_way_to_end_a_start_finds_the_same_data() {
    let server = Postgres::start(Options::default());
    let (first, port) = (server.pid(), server.port());
    server.psql("create table kept (n int); insert into kept values (1)");
    server.stop(Mode::Fast);
    server.start_again();
    assert!(server.log().contains("database system was shut down"), "{}", server.log());
    server.psql("insert into kept values (2)");
    server.stop(Mode::Immediate);
    server.start_again();
    server.psql("insert into kept values (3)");
    server.kill9();
    server.start_again();
    assert!(server.log().contains("automatic recovery in progress"), "{}", server.log());
    assert_eq!(server.psql("select string_agg(n::text, ' ' order by n) from kept"), "1 2 3");
    assert_eq!((server.port(), server.pid() == first), (port, false));
}

#[test]
fn a_kill_leaves_no_backend_behind() {
    let server = Postgres::start(Options::default());
    let (mut client, pid) = waiting(&server);
    // It would outlive its postmaster while it is paused.
    server.pause_backend(pid);
    server.kill9();
    assert!(!client.wait().unwrap().success());
    server.start_again();
    assert_eq!(server.psql("select 1"), "1");
}

#[test]
fn a_killed_backend_ends_the_other_connections() {
    let server = Postgres::start(Options::default());
    let ((mut one, pid), postmaster) = (waiting(&server), server.pid());
    server.kill_backend(pid);
    assert!(!one.wait().unwrap().success());
    until("it has recovered", || server.log().matches("ready to accept connections").count() == 2);
    assert_eq!((server.psql("select 1").as_str(), server.pid()), ("1", postmaster));
}

#[test]
#[should_panic(expected = "is no process of this server")]
fn only_processes_of_the_server_are_killed() {
    postgres().kill_backend(std::process::id());
}

/// Whether a process is stopped, from /proc, or `ps` where there is no /proc.
pub(crate) fn is_stopped(pid: u32) -> bool {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        return stat.rsplit_once(") ").unwrap().1.starts_with('T');
    }
    let ps = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8_lossy(&ps.stdout).starts_with('T')
}

#[test]
fn a_paused_server_is_silent_until_it_is_resumed() {
    let server = Postgres::start(Options::default());
    let (mut sleeping, backend) = waiting(&server);
    server.pause();
    let mut asking = server.command("psql");
    asking.args(["-X", "-A", "-t", "-c", "select 1"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut asking = asking.spawn().unwrap();
    // If the server answered, the client would end. The first check alone proves nothing; the last one proves the rest.
    assert!(asking.try_wait().unwrap().is_none());
    assert!(is_stopped(server.pid()) && is_stopped(backend));
    server.resume();
    assert_eq!(asking.wait_with_output().unwrap().stdout, b"1\n");
    until("the backend goes on too", || !is_stopped(backend));
    server.stop(Mode::Fast);
    assert!(!sleeping.wait().unwrap().success());
}
