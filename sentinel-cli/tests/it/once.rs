//! `once`: at most one run, its output replayed byte for byte, its doubts reported.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use crate::world::{World, until};

each_store!(the_second_call_replays_and_runs_nothing);
fn the_second_call_replays_and_runs_nothing(world: World) {
    let script = "echo run >> effects; printf 'a\\000b\\377\\n\\n'; echo noise >&2";
    let first = world.once("k", &[], script);
    assert_eq!((first.code(), first.bytes()), (0, &b"a\0b\xff\n\n"[..]));
    assert!(first.err().contains("noise"));
    let second = world.run(&["once", "k", "--", "no-such-command"]);
    assert_eq!((second.code(), second.bytes()), (0, &b"a\0b\xff\n\n"[..]));
    assert_eq!(world.read("effects"), "run\n");
    let seen = world.inspect("k");
    assert_eq!(seen["payload_base64"], "YQBi/woK");
    assert!(seen["payload"].is_null() && seen["exit_code"] == 0 && seen["outcome"] == "success");
}

each_store!(the_caller_defines_what_exit_codes_mean);
fn the_caller_defines_what_exit_codes_mean(world: World) {
    let failed = world.once("f", &["--failed-on", "2,3"], "echo no; exit 3");
    assert_eq!((failed.code(), failed.out().as_str()), (3, "no\n"));
    let again = world.once("f", &[], "touch ran");
    assert_eq!((again.code(), again.out().as_str()), (3, "no\n"));
    assert!(!world.path("ran").exists());

    assert_eq!(world.once("n", &["--nothing-happened-on", "79"], "exit 79").code(), 79);
    assert_eq!(world.inspect("n")["state"], "free");
    assert_eq!(world.once("n", &[], "echo yes").out(), "yes\n");

    for (key, script) in [("d1", "exit 1"), ("d2", "exit 127"), ("d3", "exit 75"), ("d4", "kill -9 $$")] {
        assert_eq!(world.once(key, &[], script).code(), 76, "{script}");
        assert_eq!(world.once(key, &[], "touch ran").code(), 76, "{script}");
        assert_eq!(world.inspect(key)["state"], "uncertain", "{script}");
    }
    assert!(!world.path("ran").exists());
}

each_store!(a_command_that_cannot_be_started_leaves_the_key_free);
fn a_command_that_cannot_be_started_leaves_the_key_free(world: World) {
    std::fs::write(world.path("plain"), "not executable").unwrap();
    for (command, code) in [("no-such-command", 127), ("./plain", 126), ("/", 126), ("", 127)] {
        let ran = world.run(&["once", "k", "--", command]);
        assert_eq!(ran.code(), code, "{command}: {}", ran.err());
        assert_eq!(world.inspect("k")["state"], "free");
        assert_eq!(world.run(&["lease", "k", "--", command]).code(), code);
    }
    assert_eq!(world.once("k", &[], "echo ran").out(), "ran\n");
}

each_store!(the_command_gets_standard_input_and_its_grant);
fn the_command_gets_standard_input_and_its_grant(world: World) {
    let script =
        "cat; echo \"$SENTINEL_KEY_NAMESPACE $SENTINEL_KEY $SENTINEL_TOKEN\"; echo $SENTINEL_IDEMPOTENCY_KEY";
    let mut command = world.command(&["once", "a key", "--", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin\n").unwrap();
    let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "from stdin");
    assert_eq!(lines[1], format!("default a key {}", world.token("a key")));
    assert!(lines[2].starts_with("snl_"));
}

each_store!(output_over_a_mebibyte_completes_without_being_stored);
fn output_over_a_mebibyte_completes_without_being_stored(world: World) {
    let whole = world.once("whole", &[], "head -c 1048576 /dev/zero");
    assert_eq!((whole.code(), whole.bytes().len()), (0, 1 << 20));
    assert_eq!(world.once("whole", &[], "true").bytes(), whole.bytes());
    let large = world.once("large", &[], "head -c 9000000 /dev/zero");
    assert_eq!((large.code(), large.bytes().len()), (0, 9_000_000));
    assert!(large.err().contains("not stored, so a later call prints nothing"), "{}", large.err());
    let again = world.once("large", &[], "touch ran");
    assert_eq!((again.code(), again.bytes().len()), (0, 0));
    assert!(again.err().contains("too large") && !world.path("ran").exists());
    assert_eq!(world.inspect("large")["state"], "completed");
}

each_store!(a_child_in_the_background_does_not_delay_the_result);
fn a_child_in_the_background_does_not_delay_the_result(world: World) {
    let script =
        "(trap '' HUP; until [ -e stop ]; do sleep 0.1; done; touch stopped) 2>/dev/null & echo started";
    let ran = world.once("k", &[], script);
    assert_eq!((ran.code(), ran.out().as_str()), (0, "started\n"));
    assert_eq!(world.once("k", &[], "true").out(), "started\n");
    std::fs::write(world.path("stop"), "").unwrap();
    until("the child in the background ended by itself", || world.path("stopped").exists());
}

each_store!(a_reader_that_goes_away_does_not_end_the_command);
fn a_reader_that_goes_away_does_not_end_the_command(world: World) {
    let script = "head -c 300000 /dev/zero; until [ -e go ]; do sleep 0.05; done; echo more; echo x > effect";
    let mut command = world.command(&["once", "k", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(world.read("effect"), "x\n");
    assert_eq!(world.once("k", &[], "true").bytes().len(), 300_005);
}

each_store!(of_24_processes_one_runs);
fn of_24_processes_one_runs(world: World) {
    let script = "echo run >> effects; until [ -e go ]; do sleep 0.05; done; echo done";
    let arguments = ["once", "k", "--ttl", "5m", "--wait", "60s", "--", "sh", "-c", script];
    let racing: Vec<_> = (0..24).map(|_| world.start(&arguments)).collect();
    until("one of them runs", || world.path("effects").exists());
    assert_eq!(world.once("k", &[], "touch ran").code(), 75);
    std::fs::write(world.path("go"), "").unwrap();
    for one in racing {
        let ran = one.ended();
        assert_eq!((ran.code(), ran.out().as_str()), (0, "done\n"), "{}", ran.err());
    }
    assert_eq!(world.read("effects"), "run\n");
    assert!(!world.path("ran").exists());
}

each_store!(of_24_processes_that_do_not_wait_one_runs);
fn of_24_processes_that_do_not_wait_one_runs(world: World) {
    let racing: Vec<_> = (0..24)
        .map(|_| world.start(&["once", "k", "--", "sh", "-c", "echo run >> effects; echo done"]))
        .collect();
    for one in racing {
        let ran = one.ended();
        assert!(matches!((ran.code(), ran.out().as_str()), (0, "done\n") | (75, "")), "{ran:?}");
    }
    assert_eq!(world.read("effects"), "run\n");
}

each_store!(waiting_ends_when_the_other_run_ends);
fn waiting_ends_when_the_other_run_ends(world: World) {
    let hold = |key: &str, script: &str| {
        let running = world.start(&["once", key, "--nothing-happened-on", "3", "--", "sh", "-c", script]);
        // Until it executes, the store may not be set up either.
        until("it executes", || world.run(&["inspect", key, "--json"]).out().contains("\"executing\""));
        running
    };
    for (end, code, out) in [("exit 9", 76, ""), ("exit 3", 0, "mine\n"), ("echo theirs", 0, "theirs\n")] {
        let key = end.replace(' ', "-");
        let script = format!("until [ -e go-{key} ]; do sleep 0.05; done; {end}");
        let running = hold(&key, &script);
        let waiting = world.start(&["once", &key, "--wait", "60s", "--", "echo", "mine"]);
        std::fs::write(world.path(&format!("go-{key}")), "").unwrap();
        let waited = waiting.ended();
        assert_eq!((waited.code(), waited.out().as_str()), (code, out), "{end}: {}", waited.err());
        running.ended();
    }
    let running = hold("k", "until [ -e go ]; do sleep 0.05; done");
    assert_eq!(world.once("k", &["--wait", "300ms"], "touch ran").code(), 75);
    std::fs::write(world.path("go"), "").unwrap();
    assert_eq!(running.ended().code(), 0);
}

each_store!(another_fingerprint_is_refused);
fn another_fingerprint_is_refused(world: World) {
    assert_eq!(world.once("k", &["--fingerprint", "42 EUR"], "echo secret").code(), 0);
    let other = world.once("k", &["--fingerprint", "43 EUR"], "touch ran");
    assert_eq!((other.code(), other.out().as_str()), (65, ""));
    assert_eq!(world.once("k", &["--fingerprint", "42 EUR"], "touch ran").out(), "secret\n");
    assert_eq!(world.once("k", &[], "touch ran").out(), "secret\n");
    assert!(!world.path("ran").exists());
}

each_store!(unusual_keys_are_accepted);
fn unusual_keys_are_accepted(world: World) {
    let long = "k".repeat(512);
    let keys = [
        " ",
        "a b",
        "ü€😀",
        "a:b",
        "a/../b",
        "%s",
        "'; DROP TABLE x --",
        "{}",
        "*",
        "\u{202e}abc",
        "e\u{301}",
        "é",
        &long,
    ];
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(world.once(key, &[], &format!("echo {number}")).code(), 0, "{key}");
    }
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(world.once(key, &[], "touch ran").out(), format!("{number}\n"), "{key}");
        assert_eq!(world.inspect(key)["key"], *key);
    }
    assert_eq!(world.run(&["once", &format!("--key={}", "-5"), "--", "echo", "dash"]).out(), "dash\n");
    assert_eq!(world.run(&["inspect", "--json", "--", "-5"]).json()["state"], "completed");
    let listed = world.run(&["list", "--json"]).out();
    assert_eq!(listed.lines().count(), keys.len() + 1);
    assert!(world.run(&["list"]).code() == 0 && !world.path("ran").exists());
}

each_store!(past_its_retention_a_key_may_run_again);
fn past_its_retention_a_key_may_run_again(world: World) {
    assert_eq!(world.once("k", &["--retention", "1ms"], "echo one").out(), "one\n");
    assert_eq!(world.once("k", &[], "echo two").out(), "two\n");
    assert_eq!(world.once("k", &[], "echo three").out(), "two\n");
}

each_store!(exit_code_75_can_mean_that_nothing_happened);
fn exit_code_75_can_mean_that_nothing_happened(world: World) {
    let ran = world.once("k", &["--nothing-happened-on", "3,75"], "exit 75");
    assert_eq!((ran.code(), &world.inspect("k")["state"]), (75, &"free".into()), "{ran:?}");
    assert_eq!(world.once("k", &[], "echo ran").out(), "ran\n");
}
