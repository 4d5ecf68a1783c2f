//! A decision is final, so its response has to be one that callers of the key can read.

use std::io::Write as _;
use std::process::Stdio;

use sentinel::{Outcome, Sentinel, SqliteStore};
use serde::{Deserialize, Serialize};

use crate::world::World;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    receipt: String,
}

/// What a Rust service does with the key: it decodes JSON.
async fn charge(world: &World, fails: bool) -> Outcome<Receipt, String> {
    let path = world.store().strip_prefix("sqlite:").unwrap();
    let sentinel = Sentinel::new(SqliteStore::open(path).await.unwrap());
    let run = async move |_| match fails {
        true => Err("connection reset".to_owned()),
        false => Ok(Receipt { receipt: "1".to_owned() }),
    };
    sentinel.once("k").late_effects(std::time::Duration::ZERO).run(run).await.unwrap()
}

fn taken(world: &World) -> String {
    let taken = world.run(&["reconcile", "k"]);
    assert_eq!(taken.code(), 0, "{taken:?}");
    taken.out().trim().to_owned()
}

#[tokio::test]
async fn a_response_that_callers_cannot_decode_is_refused_and_one_that_they_can_is_replayed() {
    let world = World::sqlite();
    assert!(matches!(charge(&world, true).await, Outcome::RanUncertain(_)));
    let token = taken(&world);
    let decide = ["force-complete", "k", "--token", &token];
    let refused = world.run(&[&decide[..], &["--response", "charged, receipt 7781"]].concat());
    assert_eq!(refused.code(), 65);
    assert!(refused.err().contains("application/json"), "the accepted types are named: {refused:?}");
    let broken = ["--response", "{\"receipt\":", "--content-type", "application/json"];
    assert_eq!(world.run(&[&decide[..], &broken].concat()).code(), 65, "labelled JSON, and none");
    assert_eq!(world.inspect("k")["state"].as_str(), Some("reconciling"), "nothing was recorded");
    let json = ["--response", "{\"receipt\":\"7781\"}", "--content-type", "application/json"];
    assert_eq!(world.run(&[&decide[..], &json].concat()).code(), 0);
    let receipt = Receipt { receipt: "7781".to_owned() };
    assert!(matches!(charge(&world, false).await, Outcome::Replayed(it) if it == receipt));
}

#[tokio::test]
async fn as_is_records_a_response_that_callers_cannot_decode() {
    let world = World::sqlite();
    assert!(matches!(charge(&world, true).await, Outcome::RanUncertain(_)));
    let token = taken(&world);
    let as_is = ["force-complete", "k", "--token", &token, "--response", "charged", "--as-is"];
    assert_eq!(world.run(&as_is).code(), 0);
    assert_eq!(world.inspect("k")["payload"].as_str(), Some("charged"));
}

each_store!(any_bytes_are_replayed_from_a_file_and_from_standard_input);
fn any_bytes_are_replayed_from_a_file_and_from_standard_input(world: World) {
    let bytes = b"\xff\x00 raw \r\n";
    for (key, file) in [("from-a-file", "response"), ("from-stdin", "-")] {
        world.doubt(key);
        let token = world.run(&["reconcile", key]).out();
        std::fs::write(world.path("response"), bytes).unwrap();
        let decide = ["force-complete", key, "--token", token.trim(), "--response-file", file];
        let mut decide = world.command(&decide).stdin(Stdio::piped()).spawn().unwrap();
        decide.stdin.take().unwrap().write_all(bytes).unwrap();
        assert!(decide.wait().unwrap().success());
        assert_eq!(world.command(&["once", key, "--", "true"]).output().unwrap().stdout, bytes);
        assert_eq!(world.inspect(key)["content_type"].as_str(), Some("application/octet-stream"));
    }
}

#[test]
fn a_response_is_given_once() {
    let world = World::sqlite();
    let decide = ["force-complete", "k", "--token", "7"];
    assert_eq!(world.run(&decide).code(), 64);
    let both = [&decide[..], &["--response", "a", "--response-file", "b"]].concat();
    assert_eq!(world.run(&both).code(), 64);
    let missing = [&decide[..], &["--response-file", "not-there"]].concat();
    assert_eq!(world.run(&missing).code(), 64);
}
