//! What `inspect`, `list`, `history`, `purge`, `init` and `doctor` answer.

use std::process::Stdio;

use serde_json::Value;

use crate::world::World;

const RECORD: &str = "namespace kind key idempotency_key state live token rev worker claimed_at begun_at lease_until \
                      hard_until completed_at outcome exit_code content_type payload payload_base64 fingerprint doubt \
                      decided_by store_now about cause";
const EVENT: &str = "rev event from to token worker operator reason at about cause";

#[track_caller]
fn fields(line: &str, expected: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap();
    let mut found: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    let mut expected: Vec<_> = expected.split_whitespace().map(str::to_owned).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    value
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == "2025-01-01T00:00:00.000000Z".len() && text.ends_with('Z') && &text[19..20] == "."
}

each_store!(inspect_of_an_absent_record_prints_that_it_is_absent);
fn inspect_of_an_absent_record_prints_that_it_is_absent(world: World) {
    world.run(&["init"]);
    let ran = world.run(&["inspect", "k", "--json", "--kind", "lease"]);
    let absent = fields(&ran.out(), RECORD);
    assert_eq!((ran.code(), &absent["state"], &absent["kind"]), (1, &"absent".into(), &"lease".into()));
    assert!(absent["live"] == false && is_time(&absent["store_now"]));
    let present = ["namespace", "kind", "key", "state", "live", "store_now"];
    let others = absent.as_object().unwrap().iter().filter(|(name, _)| !present.contains(&name.as_str()));
    assert!(others.clone().count() > 10 && others.clone().all(|(_, value)| value.is_null()));
    let text = world.run(&["inspect", "k"]);
    assert!(text.code() == 1 && text.out().contains("absent"));
}

each_store!(inspect_prints_every_field_of_a_record);
fn inspect_prints_every_field_of_a_record(world: World) {
    let options = ["--fingerprint", "f", "--worker", "me"];
    assert_eq!(world.once("k", &options, "echo done").code(), 0);
    let ran = world.run(&["inspect", "k", "--json"]);
    let seen = fields(&ran.out(), RECORD);
    assert_eq!((ran.code(), seen["payload"].as_str()), (0, Some("done\n")));
    assert!(seen["token"].is_u64() && seen["rev"].is_u64() && seen["payload_base64"].is_null());
    assert_eq!((seen["fingerprint"].as_str(), seen["worker"].as_str()), (Some("f"), Some("me")));
    assert!(is_time(&seen["completed_at"]) && is_time(&seen["claimed_at"]) && is_time(&seen["begun_at"]));
    assert!(seen["lease_until"].is_null() && seen["doubt"].is_null() && seen["decided_by"].is_null());
    assert!(world.run(&["inspect", "k"]).out().contains("done"));

    world.doubt("d");
    let doubted = world.inspect("d");
    assert_eq!((doubted["state"].as_str(), doubted["live"].as_bool()), (Some("uncertain"), Some(false)));
    assert!(doubted["doubt"].as_str().unwrap().contains("exit code 9") && is_time(&doubted["hard_until"]));
}

each_store!(list_prints_a_page_in_byte_order_without_payloads);
fn list_prints_a_page_in_byte_order_without_payloads(world: World) {
    for key in ["b", "a", "ü", "B"] {
        assert_eq!(world.once(key, &[], "echo x").code(), 0);
    }
    world.doubt("c");
    assert_eq!(world.once("gone", &["--nothing-happened-on", "1"], "exit 1").code(), 1);
    let keys = |arguments: &[&str]| -> Vec<String> {
        let ran = world.run(&[&["list", "--json"], arguments].concat());
        assert_eq!(ran.code(), 0);
        ran.out().lines().map(|line| fields(line, RECORD)["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&[]), ["B", "a", "b", "c", "ü"]);
    assert_eq!(keys(&["--limit", "2"]), ["B", "a"]);
    assert_eq!(keys(&["--limit", "2", "--after", "a"]), ["b", "c"]);
    assert_eq!(keys(&["--state", "uncertain"]), ["c"]);
    assert_eq!(keys(&["--state", "free"]), ["gone"]);
    assert_eq!(keys(&["--kind", "lease"]), [""; 0]);
    assert_eq!(keys(&["--namespace", "other"]), [""; 0]);
    let first = world.run(&["list", "--json", "--limit", "1"]).json();
    assert!(first["payload"].is_null() && first["payload_base64"].is_null() && first["outcome"] == "success");
    let table = world.run(&["list", "--limit", "2"]);
    assert!(
        table.out().contains("KEY") && table.out().contains("completed") && table.err().contains("--after")
    );
    assert!(!table.out().contains('\u{1b}'), "colours without a terminal");
}

each_store!(history_prints_the_newest_events_oldest_first);
fn history_prints_the_newest_events_oldest_first(world: World) {
    for _ in 0..3 {
        world.once("k", &["--nothing-happened-on", "1"], "exit 1");
    }
    world.once("k", &[], "true");
    let ran = world.run(&["history", "k", "--json"]);
    let events: Vec<Value> = ran.out().lines().map(|line| fields(line, EVENT)).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected =
        ["claimed", "released", "claimed", "released", "claimed", "released", "claimed", "completed"];
    assert_eq!(names, expected);
    assert!(events.iter().all(|event| is_time(&event["at"]) && event["token"].is_u64()));
    assert_eq!((events[1]["from"].as_str(), events[1]["to"].as_str()), (Some("executing"), Some("free")));
    let newest = world.run(&["history", "k", "--limit", "2", "--json"]).out();
    assert_eq!(newest.lines().collect::<Vec<_>>(), ran.out().lines().skip(6).collect::<Vec<_>>());
    let none = world.run(&["history", "other"]);
    assert_eq!((none.code(), none.out().as_str()), (0, ""));
    assert!(world.run(&["history", "k"]).out().contains("released"));
}

each_store!(purge_init_and_doctor_print_json);
fn purge_init_and_doctor_print_json(world: World) {
    assert_eq!(world.run(&["init"]).code(), 0);
    assert_eq!(world.run(&["init", "--json"]).json()["initialised"], true);
    assert_eq!(world.run(&["purge"]).out(), "0 records purged\n");
    assert_eq!(world.run(&["purge", "--dry-run", "--json"]).json()["purged"], 0);
    let doctor = world.run(&["doctor"]);
    assert!(doctor.code() == 0 && doctor.out().contains("guarantees"), "{doctor:?}");
    let doctor = world.run(&["doctor", "--json"]).json();
    assert!(doctor["accepted"] == true && !doctor["guarantees"].as_array().unwrap().is_empty());
    assert!(is_time(&doctor["store_now"]) && doctor["latency_us"].is_u64());
}

each_store!(list_succeeds_although_its_reader_closes_the_pipe);
fn list_succeeds_although_its_reader_closes_the_pipe(world: World) {
    world.once("k", &[], "true");
    let mut child = world.command(&["list", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
