//! `why`: the story of a key, and its commands, which can be copied into a shell.

use std::process::Command;

use serde_json::Value;

use crate::world::{Ran, SENTINEL, World};

/// Runs a command line that the program printed, as a shell reads it.
pub(crate) fn shell(world: &World, line: &str) -> Ran {
    let folder = std::path::Path::new(SENTINEL).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    world.dress(&mut command);
    command.env("PATH", format!("{}:{path}", folder.display()));
    world.output(command)
}

/// The line of a text that has all these words.
#[track_caller]
pub(crate) fn line_with(text: &str, words: &[&str]) -> String {
    let found = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
    found.unwrap_or_else(|| panic!("no line has {words:?}: {text}")).trim().to_owned()
}

each_store!(the_story_of_an_uncertain_key_ends_with_commands_that_work);
fn the_story_of_an_uncertain_key_ends_with_commands_that_work(world: World) {
    world.doubt("it's -42");
    let story = world.run(&["why", "it's -42"]);
    assert_eq!(story.code(), 0, "{story:?}");
    let text = story.out();
    assert!(text.starts_with("it's -42 in default has been uncertain for "), "{text}");
    for words in
        ["claimed this key and began at once", "sh ended with exit code 9", "[rev 1]", "[rev 2]", "snl_"]
    {
        assert!(text.contains(words), "{text}");
    }
    let settle = line_with(&text, &["sentinel settle", "--did-not-happen"]);
    assert_ne!(shell(&world, &settle).code(), 0, "a line that is not completed does nothing");
    assert_eq!(world.inspect("it's -42")["state"], "uncertain");
    let settled = shell(&world, &settle.replace("<reason>", "asked"));
    assert_eq!((settled.code(), settled.out().as_str()), (0, "settled: the key can run again\n"));
    let text = world.run(&["why", "it's -42"]).out();
    assert!(
        text.contains("One more run is authorised") && text.contains("The provider key stays snl_"),
        "{text}"
    );
    let run = line_with(&text, &["sentinel once"]);
    assert_eq!(shell(&world, &run.replace("<command>", "echo ran")).out(), "ran\n");
    let text = world.run(&["why", "it's -42"]).out();
    assert!(text.contains("was completed") && text.contains("4 bytes of text/plain"), "{text}");
}

each_store!(a_story_is_also_an_object);
fn a_story_is_also_an_object(world: World) {
    assert_eq!(world.once("k", &[], "echo a secret result").code(), 0);
    let ran = world.run(&["why", "k", "--json"]);
    let story = ran.json();
    let names: Vec<&String> = story.as_object().unwrap().keys().collect();
    let expected = "acts_next gaps headline key kind may_still_run namespace next sentences state store_now";
    let mut sorted: Vec<&str> = names.into_iter().map(String::as_str).collect();
    sorted.sort_unstable();
    assert_eq!(sorted.join(" "), expected);
    assert_eq!((story["state"].as_str(), story["acts_next"].as_str()), (Some("completed"), Some("none")));
    let ids: Vec<&str> =
        story["sentences"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(ids[..2], ["claimed-and-began", "completed"], "{story}");
    assert_eq!(story["next"][0]["act"], "nothing");
    assert!(!ran.out().contains("secret"), "{story}");
    let text = world.run(&["why", "k"]).out();
    for sentence in story["sentences"].as_array().unwrap() {
        assert!(text.contains(sentence["text"].as_str().unwrap()), "{text}");
    }
}

each_store!(absent_keys_and_leases_have_stories);
fn absent_keys_and_leases_have_stories(world: World) {
    world.run(&["init"]);
    let absent = world.run(&["why", "k", "--json"]).json();
    assert_eq!((absent["state"].as_str(), absent["next"][0]["act"].as_str()), (Some("absent"), Some("run")));
    assert_eq!(world.run(&["lease", "l", "--", "true"]).code(), 0);
    let lease = world.run(&["why", "l", "--kind", "lease"]).out();
    assert!(lease.contains("took the lease") && lease.contains("released the lease"), "{lease}");
    assert!(lease.contains("sentinel lease l -- <command>"), "{lease}");
}

each_store!(all_keys_that_wait_for_a_decision_have_one_line_each);
fn all_keys_that_wait_for_a_decision_have_one_line_each(world: World) {
    world.run(&["init"]);
    let none = world.run(&["why", "--all"]);
    assert_eq!((none.code(), none.out().as_str()), (0, ""));
    world.doubt("a");
    assert_eq!(world.once("b", &["--namespace", "pay"], "exit 9").code(), 76);
    assert_eq!(world.once("done", &[], "true").code(), 0);
    assert_eq!(world.run(&["reconcile", "b", "--namespace", "pay", "--worker", "ann"]).code(), 0);
    let all = world.run(&["why", "--all"]).out();
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 2, "{all}");
    assert!(
        lines[0].starts_with("a in default has been uncertain") && lines[1].starts_with("ann took b in pay")
    );
    let json = world.run(&["why", "--all", "--json"]).out();
    let stories: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let command = stories[1]["next"][0]["command"].as_str().unwrap();
    assert!(command.starts_with("sentinel --namespace pay force-complete b "), "{command}");
}

#[test]
fn commands_repeat_the_options_for_store_and_namespace_and_no_password() {
    let world = World::sqlite();
    let file = format!("sqlite:{}", world.path("it's.db").display());
    let options = ["--store", &file, "--namespace", "pay"];
    let ran = world.run(&[&["once", "k"], &options[..], &["--", "sh", "-c", "exit 9"]].concat());
    assert_eq!(ran.code(), 76);
    let why = line_with(&ran.err(), &["what is known"]);
    let why = why.split_once("done: ").unwrap().1;
    assert!(why.contains("--namespace pay why k"), "{why}");
    let story = shell(&world, why);
    assert!(story.out().starts_with("k in pay has been uncertain"), "{story:?}");
    let settle = line_with(&story.out(), &["--happened"]);
    assert!(
        settle.starts_with("sentinel --store ") && settle.contains(" --namespace pay settle k "),
        "{settle}"
    );
    let server = crate::world::server();
    let world = World::at(server);
    let url = world.store().to_owned();
    assert_eq!(world.run(&["init", "--store", &url]).code(), 0);
    let ran = world.run(&["once", "k", "--store", &url, "--", "sh", "-c", "exit 9"]);
    let line = line_with(&ran.err(), &["what is known"]);
    let password = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'))
        .and_then(|(user, _)| user.split_once(':'));
    assert!(password.is_none_or(|(_, password)| !line.contains(&format!(":{password}@"))), "{line}");
    assert!(line.contains(&format!("sentinel_schema={}", world.schema())), "{line}");
}

each_store!(exit_76_names_the_commands_that_settle_the_key);
fn exit_76_names_the_commands_that_settle_the_key(world: World) {
    for ran in [world.once("k", &["--late-effects", "0s"], "exit 9"), world.once("k", &[], "true")] {
        assert_eq!(ran.code(), 76);
        line_with(&ran.err(), &["what can be done: sentinel why k"]);
        line_with(&ran.err(), &["if it did not happen: sentinel settle k --expect ", "--did-not-happen"]);
        let happened =
            line_with(&ran.err(), &["if it happened: sentinel settle k --expect ", "--happened <output>"]);
        let token = world.token("k");
        assert!(happened.contains(&token), "{happened}");
    }
    let ran = world.once("k", &[], "true");
    let line = line_with(&ran.err(), &["if it happened"]).replace("<output>", "'it did'");
    let command = line.split_once("happened: ").unwrap().1;
    assert_eq!(shell(&world, command).code(), 0);
    assert_eq!(world.once("k", &[], "true").out(), "it did");
}
