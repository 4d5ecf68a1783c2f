//! Decisions: what applies, what does not, and what a repeated one answers.

use rustix::process::Signal;

use crate::world::{World, until};

const OP: &str = "0123456789abcdef0123456789abcdef";

each_store!(force_complete_records_a_response_that_is_replayed);
fn force_complete_records_a_response_that_is_replayed(world: World) {
    world.doubt("k");
    let expect = world.token("k");
    let taken = world.run(&["reconcile", "k", "--reason", "the provider shows a charge", "--worker", "ann"]);
    let token = taken.out();
    assert!(
        taken.code() == 0 && token.ends_with('\n') && token.trim().parse::<u64>().unwrap() > 0,
        "{taken:?}"
    );
    assert!(taken.err().contains("reset-to-claimed"));
    assert_ne!(token.trim(), expect);
    assert_eq!(world.once("k", &["--wait", "60s"], "touch ran").code(), 76);
    let seen = world.inspect("k");
    assert_eq!((seen["state"].as_str(), seen["decided_by"].as_str()), (Some("reconciling"), Some("ann")));

    let decide = ["force-complete", "k", "--token", token.trim(), "--response", "charged 42", "--op", OP];
    assert_eq!(world.run(&decide).code(), 0);
    assert_eq!(world.run(&decide).code(), 0, "repeated");
    let other = ["force-complete", "k", "--token", token.trim(), "--response", "other", "--op", OP];
    assert_eq!(world.run(&other).code(), 65);
    assert_eq!(
        world.run(&["force-complete", "k", "--token", token.trim(), "--response", "charged 42"]).code(),
        65
    );
    let replay = world.once("k", &[], "touch ran");
    assert_eq!((replay.code(), replay.out().as_str()), (0, "charged 42"));
    assert!(!world.path("ran").exists() && world.inspect("k")["decided_by"].is_string());
    let history = world.run(&["history", "k", "--json"]).out();
    assert!(
        history.contains("the provider shows a charge") && history.contains("force_completed"),
        "{history}"
    );
}

each_store!(force_complete_records_a_failure_that_is_replayed);
fn force_complete_records_a_failure_that_is_replayed(world: World) {
    world.doubt("k");
    let token = world.run(&["reconcile", "k"]).out();
    let decide =
        ["force-complete", "k", "--token", token.trim(), "--response", "declined", "--failed", "3", "--json"];
    let decided = world.run(&decide).json();
    assert_eq!(
        (decided["state"].as_str(), decided["op"].as_str().map(str::len)),
        (Some("completed"), Some(32))
    );
    let replay = world.once("k", &[], "true");
    assert_eq!((replay.code(), replay.out().as_str()), (3, "declined"));
}

each_store!(after_a_reset_the_command_runs_again);
fn after_a_reset_the_command_runs_again(world: World) {
    world.doubt("k");
    let taken = world.run(&["reconcile", "k", "--json"]);
    let view = taken.json();
    let mut names: Vec<_> = view.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["begun_at", "since", "token", "worker"]);
    let token = view["token"].to_string();
    let decide = ["reset-to-claimed", "k", "--token", &token, "--op", OP];
    let reset = world.run(&decide);
    assert_eq!((reset.code(), reset.op().as_str()), (0, OP));
    assert_eq!(world.once("k", &[], "echo ran").out(), "ran\n");
    assert_eq!(world.run(&decide).code(), 0, "a repeated decision answers the same");
    assert_eq!(world.once("k", &[], "touch twice").out(), "ran\n");
    assert!(!world.path("twice").exists());
    assert_eq!(world.run(&["reset-to-claimed", "k", "--token", &token]).code(), 65);
}

each_store!(a_reconcile_is_repeated_under_its_id_and_refused_under_another);
fn a_reconcile_is_repeated_under_its_id_and_refused_under_another(world: World) {
    world.doubt("k");
    let expect = world.token("k");
    let first = world.run(&["reconcile", "k", "--op", OP]);
    assert_eq!(first.code(), 0);
    assert_eq!(world.run(&["reconcile", "k", "--op", OP]).out(), first.out());
    assert_eq!(world.run(&["reconcile", "k", "--op", OP, "--expect", &expect]).out(), first.out());
    let other = world.run(&["reconcile", "k"]);
    assert_eq!((other.code(), other.out().as_str()), (65, ""));
    assert_eq!(world.run(&["reconcile", "k", "--expect", &expect]).code(), 65, "another token");
    let stolen = world.run(&["reconcile", "k", "--steal", "--expect", first.out().trim()]);
    assert_eq!(stolen.code(), 0, "{stolen:?}");
    assert_eq!(world.run(&["reset-to-claimed", "k", "--token", first.out().trim()]).code(), 65);
    assert_eq!(world.run(&["reset-to-claimed", "k", "--token", stolen.out().trim()]).code(), 0);
}

each_store!(what_is_not_in_doubt_is_not_reconciled);
fn what_is_not_in_doubt_is_not_reconciled(world: World) {
    world.run(&["init"]);
    assert_eq!(world.run(&["reconcile", "absent"]).code(), 65);
    assert_eq!(world.run(&["reconcile", "absent", "--expect", "7"]).code(), 65);
    assert_eq!(world.run(&["force-complete", "absent", "--token", "7", "--response", ""]).code(), 65);
    assert_eq!(world.run(&["reset-to-claimed", "absent", "--token", "7"]).code(), 65);
    assert_eq!(world.run(&["evict", "absent", "--expect", "7"]).code(), 65);
    world.once("done", &[], "true");
    assert_eq!(world.run(&["reconcile", "done"]).code(), 65);
    world.once("free", &["--nothing-happened-on", "1"], "exit 1");
    assert_eq!(world.run(&["reconcile", "free"]).code(), 65);
}

each_store!(a_live_run_is_reconciled_only_with_even_if_alive_and_reset_only_past_its_hard_deadline);
fn a_live_run_is_reconciled_only_with_even_if_alive_and_reset_only_past_its_hard_deadline(world: World) {
    let script = "trap 'echo asked > asked; exit 0' TERM; echo $$ > pid; while :; do sleep 0.05; done";
    let running = world.start(&["once", "k", "--ttl", "5s", "--", "sh", "-c", script]);
    until("it runs", || !world.read("pid").is_empty());
    assert_eq!(world.run(&["reconcile", "k"]).code(), 65);
    let token = world.token("k");
    assert_eq!(world.run(&["evict", "k", "--expect", &token]).code(), 65, "an execution is for reconcile");
    let taken = world.run(&["reconcile", "k", "--even-if-alive", "--expect", &token]);
    assert_eq!(taken.code(), 0, "{taken:?}");
    let early = world.run(&["reset-to-claimed", "k", "--token", taken.out().trim()]);
    assert_eq!(early.code(), 65, "before the hard deadline");
    // The command is asked to end; that it ended with 0 does not count any more.
    let ran = running.ended();
    assert_eq!(ran.code(), 76, "{ran:?}");
    assert_eq!(world.read("asked"), "asked\n");
    assert_eq!(world.inspect("k")["state"], "reconciling");
    let reset = world.run(&["reset-to-claimed", "k", "--accept-overlap", "--token", taken.out().trim()]);
    assert_eq!(reset.code(), 0, "{reset:?}");
    assert_eq!(world.once("k", &[], "echo again").out(), "again\n");
}

each_store!(a_lease_whose_holder_is_gone_is_evicted);
fn a_lease_whose_holder_is_gone_is_evicted(world: World) {
    let holder = world.start(&["lease", "k", "--ttl", "1h", "--", "sh", "-c", "echo $$ > pid; sleep 600"]);
    until("it is held", || !world.read("pid").is_empty());
    holder.send(Signal::KILL);
    let seen = world.run(&["inspect", "k", "--kind", "lease", "--json"]).json();
    assert_eq!((seen["state"].as_str(), seen["live"].as_bool()), (Some("claimed"), Some(true)));
    assert_eq!(world.run(&["lease", "k", "--", "true"]).code(), 75);
    let token = seen["token"].to_string();
    assert_eq!(world.run(&["evict", "k", "--kind", "lease", "--expect", "1"]).code(), 65);
    let evict = ["evict", "k", "--kind", "lease", "--expect", &token, "--op", OP, "--reason", "host burnt"];
    assert_eq!(world.run(&evict).code(), 0);
    assert_eq!(world.run(&evict).code(), 0, "repeated");
    assert_eq!(world.run(&["lease", "k", "--", "true"]).code(), 0);
}

#[test]
fn a_decision_names_the_user_and_a_run_names_its_process() {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let cases = [
        (["USER=ada", "SUDO_USER="], &[][..], format!("ada@{host}")),
        (["USER=root", "SUDO_USER=grace"], &[], format!("grace@{host}")),
        (["USER=root", "SUDO_USER=grace"], &["--worker", "on call"], "on call".to_owned()),
    ];
    for (variables, options, name) in cases {
        let world = World::sqlite();
        world.doubt("k");
        let mut reconcile = world.command(&[&["reconcile", "k"], options].concat());
        reconcile.envs(variables.iter().filter_map(|variable| variable.split_once('=')));
        assert_eq!(world.output(reconcile).code(), 0);
        let events = world.run(&["history", "k", "--json"]).out();
        let events: Vec<serde_json::Value> =
            events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.last().unwrap()["operator"], name.as_str());
        let worker = events[0]["worker"].as_str().unwrap().to_owned();
        let number = worker.strip_prefix(&format!("{host}:")).unwrap();
        assert!(number.parse::<u32>().is_ok(), "{worker}");
    }
}
