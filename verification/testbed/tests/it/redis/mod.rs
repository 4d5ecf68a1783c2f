//! One Redis server: its ways in, its ends, its beginnings.

mod cluster;
mod replica;
mod sentinel;

use std::path::Path;
use std::process::{Command, Stdio};

use crate::postgres::is_stopped;
use sentinel_testbed::redis::{Fsync, Options};
use sentinel_testbed::{Proxy, Redis, redis, until};

/// By redis-cli and a URL alone, and not by the socket as the bed itself does.
fn by_url(url: &str, command: &[&str]) -> (bool, String) {
    let output = Command::new("redis-cli")
        .args(["-e", "--no-auth-warning", "-u", url])
        .args(command)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap().trim().to_owned())
}

/// The value of a setting, as the server sees it.
fn setting(server: &Redis, name: &str) -> String {
    server.cli(&["CONFIG", "GET", name]).lines().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn it_serves_by_tcp_and_by_its_socket_and_loses_nothing() {
    let server = redis();
    assert_eq!(by_url(&server.url(), &["PING"]), (true, "PONG".into()));
    assert_eq!(
        by_url(&server.url_at(server.port()), &["CONFIG", "GET", "dir"]).1,
        server.cli(&["CONFIG", "GET", "dir"])
    );
    assert_eq!(server.socket_url(), format!("redis+unix://{}", server.socket().display()));
    assert_eq!(server.cli(&["RPUSH", "it:list", "a", "b c"]), "2");
    assert_eq!(server.cli(&["LRANGE", "it:list", "0", "-1"]), "a\nb c");
    assert_eq!(server.info("tcp_port"), server.port().to_string());
    assert_eq!((server.run_id().len(), server.info("nothing")), (40, String::new()));
    assert!(server.version() >= (7, 0));
    for (name, value) in
        [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction"), ("save", "")]
    {
        assert_eq!(setting(server, name), value, "{name}");
    }
}

#[test]
fn its_options_are_its_settings() {
    let options = Options::default().append_only(false).append_fsync(Fsync::EverySecond);
    let options = options.max_memory(50_000_000).max_memory_policy("allkeys-lru");
    let server = Redis::start(options.setting("databases", "4").setting("databases", "5"));
    for (name, value) in [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("maxmemory", "50000000"),
        ("maxmemory-policy", "allkeys-lru"),
        ("databases", "5"),
    ] {
        assert_eq!(setting(&server, name), value, "{name}");
    }
}

#[test]
fn the_password_is_required() {
    let password = "it's \"here\" @ 7/8";
    let server = Redis::start(Options::default().password(password));
    assert_eq!(server.cli(&["PING"]), "PONG");
    assert_eq!(by_url(&server.url(), &["PING"]), (true, "PONG".into()));
    assert_eq!(by_url(&server.url_for("default", password), &["PING"]), (true, "PONG".into()));
    let (_, output) = by_url(&server.url_for("default", "wrong"), &["PING"]);
    assert!(output.contains("WRONGPASS"), "{output}");
    let (passed, output) = by_url(&format!("redis://127.0.0.1:{}", server.port()), &["PING"]);
    assert!(!passed && output.contains("NOAUTH"), "{output}");
}

#[test]
fn with_tls_its_certificate_is_signed_by_the_authority() {
    let server = Redis::start(Options::default().tls().password("secret"));
    assert!(server.url().starts_with("rediss://"));
    let ask = |authority: &Path| {
        let mut cli = Command::new("redis-cli");
        cli.args(["-e", "--no-auth-warning", "-u", &server.url(), "--cacert"]).arg(authority);
        cli.arg("PING").output().unwrap()
    };
    assert_eq!(ask(&server.authority()).stdout, b"PONG\n");
    let other = Redis::start(Options::default().tls());
    let refused = String::from_utf8(ask(&other.authority()).stderr).unwrap();
    assert!(refused.contains("certificate verify failed"), "{refused}");
    let (passed, output) = by_url(&server.url().replace("rediss", "redis"), &["PING"]);
    assert!(!passed, "{output}");
}

#[test]
fn a_user_has_only_the_given_permissions() {
    let server = Redis::start(Options::default().acl("app", "it's \"here\"", "~mine:* +@all -flushall"));
    let url = server.url_for("app", "it's \"here\"");
    assert_eq!(by_url(&url, &["SET", "mine:1", "a"]), (true, "OK".into()));
    for refused in [&["SET", "yours:1", "a"][..], &["FLUSHALL"]] {
        let (passed, output) = by_url(&url, refused);
        assert!(!passed && output.contains("NOPERM"), "{output}");
    }
    assert!(by_url(&server.url_for("app", "wrong"), &["PING"]).1.contains("WRONGPASS"));
    assert_eq!(server.cli(&["GET", "mine:1"]), "a");
}

#[test]
#[should_panic(expected = "ERR unknown command 'NOWHERE'")]
fn a_failed_command_panics_with_the_servers_error() {
    redis().cli(&["NOWHERE"]);
}

#[test]
#[should_panic(expected = "Redis did not start: \n*** FATAL CONFIG FILE ERROR")]
fn a_server_that_does_not_start_panics_with_its_log() {
    Redis::start(Options::default().setting("no-such-setting", "1"));
}

#[test]
fn after_each_way_to_end_a_start_finds_the_same_data() {
    let server = Redis::start(Options::default());
    let (port, pid, run) = (server.port(), server.pid(), server.run_id());
    server.cli(&["RPUSH", "kept", "1"]);
    server.stop();
    assert!(server.try_cli(&["PING"]).unwrap_err().contains("Could not connect"));
    assert!(server.log().contains("ready to exit, bye bye"), "{}", server.log());
    server.start_again();
    server.cli(&["RPUSH", "kept", "2"]);
    server.kill();
    server.start_again_with(&[("appendfsync", "no")]);
    assert_eq!(server.cli(&["LRANGE", "kept", "0", "-1"]), "1\n2");
    assert_eq!(setting(&server, "appendfsync"), "no");
    assert_eq!((server.port(), server.pid() == pid, server.run_id() == run), (port, false, false));
    // What was set at a start stays set.
    server.stop();
    server.start_again();
    assert_eq!(setting(&server, "appendfsync"), "no");
}

#[test]
fn a_server_that_has_started_again_has_loaded_its_data() {
    let slowly = Options::default().setting("key-load-delay", "100");
    let server = Redis::start(slowly.setting("loading-process-events-interval-bytes", "1024"));
    server.cli(&["EVAL", "for i = 1, 5000 do redis.call('SET', 'key' .. i, i) end", "0"]);
    server.cli(&["BGREWRITEAOF"]);
    until("it is rewritten", || server.info("aof_rewrite_in_progress") == "0");
    server.kill();
    server.start_again();
    assert_eq!((server.cli(&["DBSIZE"]).as_str(), server.info("loading").as_str()), ("5000", "0"));
}

#[test]
fn after_a_power_failure_only_the_cut_commands_are_lost() {
    let server = Redis::start(Options::default());
    server.cli(&["SET", "first", "1"]);
    let before = server.append_only_len();
    server.cli(&["SET", "second", "2"]);
    assert!(server.append_only_len() > before);
    server.kill();
    // A torn command is no command.
    server.cut_append_only_file(1);
    server.start_again();
    assert_eq!(server.cli(&["MGET", "first", "second"]), "1\n");
    server.cli(&["SET", "third", "3"]);
    server.stop();
    server.cut_append_only_file_to(before);
    server.start_again();
    assert_eq!(server.cli(&["MGET", "first", "third"]), "1\n");
    server.kill();
    server.forget_append_only_file();
    server.start_again();
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[test]
fn commands_are_cut_from_the_newest_of_its_files() {
    let server = Redis::start(Options::default());
    server.cli(&["SET", "first", "1"]);
    server.cli(&["BGREWRITEAOF"]);
    until("it is rewritten", || server.info("aof_rewrite_in_progress") == "0");
    let empty = server.append_only_len();
    server.cli(&["SET", "second", "2"]);
    server.kill();
    server.cut_append_only_file_to(empty);
    server.start_again();
    assert_eq!(server.cli(&["MGET", "first", "second"]), "1\n");
}

#[test]
#[should_panic(expected = "holds its append-only file open")]
fn the_file_of_a_running_server_is_not_cut() {
    redis().cut_append_only_file(0);
}

#[test]
#[should_panic(expected = "the append-only file has only")]
fn a_file_is_not_cut_beyond_its_end() {
    let server = Redis::start(Options::default());
    server.stop();
    server.cut_append_only_file_to(1 << 40);
}

#[test]
#[should_panic(expected = "the append-only file has only")]
fn no_more_is_cut_than_there_is() {
    let server = Redis::start(Options::default());
    server.stop();
    server.cut_append_only_file(1 << 40);
}

#[test]
fn a_paused_server_is_silent_until_it_is_resumed() {
    let server = Redis::start(Options::default());
    server.pause();
    let mut asking = server.command("redis-cli");
    let asking = asking.arg("PING").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut asking = asking.spawn().unwrap();
    // If the server answered, the client would end. The first check alone proves nothing; the last one proves the rest.
    assert!(asking.try_wait().unwrap().is_none());
    assert!(is_stopped(server.pid()));
    server.resume();
    assert_eq!(asking.wait_with_output().unwrap().stdout, b"PONG\n");
    // A paused server can be stopped.
    server.pause();
    server.stop();
}

#[test]
fn a_reply_lost_in_a_proxy_does_not_undo_its_command() {
    let server = Redis::start(Options::default());
    let proxy = Proxy::start(server.port());
    assert_eq!(by_url(&server.url_at(proxy.port()), &["SET", "key", "1"]), (true, "OK".into()));
    // Counted when it is written, which the client may see first.
    until("it is counted", || (proxy.accepted(), proxy.replies().passed()) == (1, 5));
    proxy.replies().swallow();
    let mut cli = Command::new("redis-cli");
    cli.args(["-u", &server.url_at(proxy.port()), "SET", "key", "2"]).stderr(Stdio::null());
    let mut cli = cli.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    until("the reply is lost", || proxy.replies().swallowed() > 0 && server.cli(&["GET", "key"]) == "2");
    assert!(cli.try_wait().unwrap().is_none());
    proxy.cut();
    let output = cli.wait_with_output().unwrap().stdout;
    assert!(!String::from_utf8(output).unwrap().contains("OK"));
}
