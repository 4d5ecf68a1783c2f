//! Causes: what a record is about, which root it has, and what followed from a root.

use crate::world::{SENTINEL, World};

/// A script that runs the program for a key.
fn nested(key: &str, script: &str) -> String {
    format!("{SENTINEL} once {key} -- sh -c '{script}'")
}

#[test]
fn a_record_shows_what_it_is_about_and_why_it_was_claimed() {
    let world = World::sqlite();
    let options = ["--about", "the invoice of May", "--cause", "order-42"];
    assert_eq!(world.once("k", &options, "exit 9").code(), 76);
    let record = world.inspect("k");
    assert_eq!(
        (&record["about"], &record["cause"]["root"]),
        (&"the invoice of May".into(), &"order-42".into())
    );
    assert!(record["cause"]["by"].is_null() && record["cause"]["hop"] == 0, "{record}");
    let text = world.run(&["inspect", "k"]).out();
    assert!(text.contains("the invoice of May") && text.contains("order-42"), "{text}");
    let story = world.run(&["why", "k"]).out();
    assert!(
        story.contains("It is about the invoice of May.") && story.contains("because of order-42."),
        "{story}"
    );
    let events = world.run(&["history", "k", "--json"]).out();
    let claimed: serde_json::Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&claimed["about"], &claimed["cause"]["root"]),
        (&"the invoice of May".into(), &"order-42".into())
    );
    let listed = world.run(&["list", "--json"]).json();
    assert_eq!(listed["cause"]["root"], "order-42");
    let long = "x".repeat(1025);
    assert_eq!(world.once("l", &["--about", &long], "true").code(), 64);
    assert_eq!(world.once("l", &["--about", &long[1..]], "true").code(), 0);
}

#[test]
fn a_command_passes_the_cause_of_its_run_on() {
    let world = World::sqlite();
    let ran = world.once("first", &["--cause", "order-42"], &nested("second", "exit 0"));
    assert_eq!(ran.code(), 0, "{ran:?}");
    let (first, second) = (world.inspect("first"), world.inspect("second"));
    let cause = &second["cause"];
    assert_eq!((&cause["root"], &cause["hop"]), (&"order-42".into(), &1.into()), "{second}");
    assert_eq!((&cause["by"]["key"], &cause["by"]["token"]), (&"first".into(), &first["token"]));
    let story = world.run(&["why", "second"]).out();
    assert!(story.contains("the same cause as first in default"), "{story}");

    let lease = format!("{SENTINEL} lease held -- {SENTINEL} once third -- true");
    assert_eq!(world.once("again", &["--cause", "order-43"], &lease).code(), 0);
    let third = world.inspect("third");
    assert_eq!(
        (&third["cause"]["hop"], &third["cause"]["by"]["kind"]),
        (&2.into(), &"lease".into()),
        "{third}"
    );
}

#[test]
fn an_own_cause_wins_over_the_one_of_the_environment() {
    let world = World::sqlite();
    let mut command = world.command(&["once", "k", "--cause", "mine", "--", "true"]);
    command.env("SENTINEL_CAUSE", "root=\"order-42\", hop=0");
    assert_eq!(world.output(command).code(), 0);
    assert_eq!(world.inspect("k")["cause"]["root"], "mine");
}

#[test]
fn a_cause_that_is_none_is_ignored_with_a_note() {
    let world = World::sqlite();
    for (key, value) in [("a", "order-42"), ("b", "root=\"r\", hop=33"), ("c", "\u{1b}[31m")] {
        let mut command = world.command(&["once", key, "--", "sh", "-c", "printf %s \"$SENTINEL_CAUSE\""]);
        command.env("SENTINEL_CAUSE", value);
        let ran = world.output(command);
        assert_eq!((ran.code(), ran.out().as_str()), (0, ""), "the command does not get it either: {ran:?}");
        assert!(ran.err().contains("SENTINEL_CAUSE is ignored") && !ran.err().contains('\u{1b}'), "{ran:?}");
        assert!(world.inspect(key)["cause"].is_null());
    }
    let mut command = world.command(&["once", "d", "--", "true"]);
    command.env("SENTINEL_CAUSE", "");
    let ran = world.output(command);
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""), "an empty one counts as not set");
}

#[test]
fn a_command_past_the_last_hop_gets_no_cause() {
    let world = World::sqlite();
    let mut command = world.command(&["once", "k", "--", "sh", "-c", "printf %s \"$SENTINEL_CAUSE\""]);
    command.env("SENTINEL_CAUSE", "root=\"r\", by=\"default/execution/x\", t=\"5\", hop=32");
    let ran = world.output(command);
    assert_eq!((ran.code(), ran.out().as_str()), (0, ""), "not the cause of this run: {ran:?}");
    assert_eq!(world.inspect("k")["cause"]["hop"], 32);
}

#[test]
fn the_tree_of_a_root_shows_what_waits() {
    let world = World::sqlite();
    assert_eq!(world.once("a", &["--cause", "order-42"], &nested("b", "exit 9")).code(), 76);
    assert_eq!(world.once("other", &["--cause", "order-43"], "true").code(), 0);
    let ran = world.run(&["because", "order-42"]);
    let text = ran.out();
    assert_eq!(ran.code(), 0, "{ran:?}");
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("because of order-42") && first.contains("default/b (uncertain)"), "{text}");
    assert!(text.contains("\ndefault/a ") && text.contains("\n└─ default/b "), "{text}");
    assert!(text.contains("UNCERTAIN") && text.contains("← settle") && !text.contains("other"), "{text}");
    let view = world.run(&["because", "order-42", "--json"]).json();
    assert_eq!((&view["nodes"][1]["key"], &view["nodes"][1]["parent"]), (&"b".into(), &0.into()), "{view}");
    assert_eq!(view["nodes"][1]["found"]["state"], "uncertain");
    assert_eq!(
        (world.run(&["because", "order-44"]).code(), world.run(&["because", "order-43"]).code()),
        (1, 0)
    );
}

#[test]
fn a_tree_spans_two_stores() {
    let (shop, ledger) = (World::sqlite(), World::sqlite());
    let booked = format!("SENTINEL_STORE={} {}", ledger.store(), nested("book", "exit 0"));
    assert_eq!(shop.once("order", &["--cause", "order-42"], &booked).code(), 0);
    let named = [format!("--store=shop={}", shop.store()), format!("--store=ledger={}", ledger.store())];
    let both = shop.run(&["because", "order-42", &named[0], &named[1]]);
    let text = both.out();
    assert_eq!(both.code(), 0, "{both:?}");
    assert!(text.starts_with("because of order-42   waits for nothing\n"), "{text}");
    assert!(
        text.lines().any(|line| line.starts_with("default/order ") && line.ends_with("(shop)")),
        "{text}"
    );
    assert!(
        text.lines().any(|line| line.starts_with("└─ default/book ") && line.ends_with("(ledger)")),
        "{text}"
    );
    let one = shop.run(&["because", "order-42", &named[1]]).out();
    assert!(one.contains("? outside: default/order, in no store that was asked\n└─ default/book"), "{one}");
    let gone = format!("--store=gone=sqlite:{}", shop.path("none.db").display());
    let partly = shop.run(&["because", "order-42", &named[0], &gone]);
    assert!(partly.code() == 69 && partly.out().contains("default/order"), "{partly:?}");
    assert!(partly.err().contains("gone was not read"), "{partly:?}");
}
