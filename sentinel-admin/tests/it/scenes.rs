//! Stories that are written down, one file each. `SENTINEL_UPDATE_STORIES=1` writes the files anew: then read the
//! difference.

use std::path::PathBuf;

use sentinel_admin::why::{Facts, LeaseFacts, Link};
use sentinel_core::store::Health;
use sentinel_core::{
    Accepts, Address, Cause, Change, ClaimId, ErrorKind, Key, Label, Payload, Record, RecordedResult, Root,
    State, StoreError, Terms,
};

use crate::scene::{Scene, secs, story};

/// Compares a story with its file.
#[track_caller]
fn is_as_written(name: &str, story: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/stories").join(format!("{name}.txt"));
    if std::env::var_os("SENTINEL_UPDATE_STORIES").is_some() {
        std::fs::write(&path, story).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(story, written, "{} differs; SENTINEL_UPDATE_STORIES=1 writes it anew", path.display());
}

macro_rules! scenes {
    ($($name:ident $body:expr;)*) => {$(
        #[test]
        fn $name() {
            let mut scene = Scene::new();
            let play: fn(&mut Scene) = $body;
            play(&mut scene);
            is_as_written(stringify!($name), &scene.story());
        }
    )*};
}

fn json(text: &'static str) -> RecordedResult {
    RecordedResult::success(Payload::new(Payload::JSON, text))
}

scenes! {
    absent |_| {};
    claimed |scene| {
        let grant = scene.claims("web1:8742");
        scene.beats(grant, 2);
    };
    claim_lapsed |scene| {
        scene.claims("web1:8742");
        scene.wait(secs(60));
    };
    took_over |scene| {
        scene.claims("web1:8742");
        scene.wait(secs(60)).runs("web2:17");
        scene.wait(secs(1));
    };
    executing |scene| {
        let grant = scene.claims("web1:8742");
        scene.wait(secs(1)).begins(grant).beats(grant, 40);
    };
    completed |scene| {
        let grant = scene.runs("web1:8742");
        scene.beats(grant, 2).completes(grant, "receipt 7781").wait(secs(3600));
    };
    completed_within_retention |scene| {
        scene.retention = Some(secs(86_400));
        let grant = scene.runs("web1:8742");
        scene.completes(grant, "receipt 7781").wait(secs(3600));
    };
    past_retention |scene| {
        scene.retention = Some(secs(60));
        let grant = scene.runs("web1:8742");
        scene.completes(grant, "receipt 7781").wait(secs(3600));
    };
    ran_anew_after_retention |scene| {
        scene.retention = Some(secs(60));
        let grant = scene.runs("web1:8742");
        let again = scene.completes(grant, "receipt 7781").wait(secs(3600)).runs("web2:17");
        scene.completes(again, "receipt 7782");
    };
    failed_for_good |scene| {
        let grant = scene.runs("web1:8742");
        scene.records(grant, RecordedResult::failure(Some(3), Payload::new("text/plain", "declined")));
    };
    result_not_stored |scene| {
        let grant = scene.runs("web1:8742");
        scene.records(grant, RecordedResult { omitted: true, ..RecordedResult::success(Payload::empty()) });
    };
    worker_was_killed |scene| {
        let grant = scene.runs("web1:8742");
        scene.beats(grant, 2).wait(secs(14 * 60));
    };
    worker_was_killed_long_ago |scene| {
        scene.accepts = Accepts::json();
        let grant = scene.runs("web1:8742");
        scene.beats(grant, 2).wait(secs(2 * 86_400));
    };
    heartbeats_up_to_the_hard_deadline |scene| {
        scene.terms = Terms::new(secs(3), secs(6)).unwrap();
        let grant = scene.runs("web1:8742");
        scene.beats(grant, 3).wait(secs(300));
    };
    late_result |scene| {
        let grant = scene.runs("web1:8742");
        scene.beats(grant, 2).wait(secs(840)).completes(grant, "receipt 7781").wait(secs(5));
    };
    provider_timed_out |scene| {
        let grant = scene.runs("web1:8742");
        scene.wait(secs(2)).abandons(grant, "the provider did not answer", secs(60)).wait(secs(30));
    };
    provider_timed_out_and_effects_landed |scene| {
        let grant = scene.runs("web1:8742");
        scene.wait(secs(2)).abandons(grant, "the provider did not answer", secs(60)).wait(secs(60));
    };
    abandoned_and_then_completed |scene| {
        let grant = scene.runs("web1:8742");
        scene.wait(secs(2)).abandons(grant, "it panicked", secs(60));
        scene.wait(secs(5)).completes(grant, "receipt 7781");
    };
    being_reconciled |scene| {
        scene.runs("web1:8742");
        scene.wait(secs(300)).takes("ada", Some("asking the bank")).wait(secs(120));
    };
    being_reconciled_after_all_effects |scene| {
        scene.runs("web1:8742");
        scene.wait(secs(7200)).takes("ada", None).wait(secs(120));
    };
    taken_while_alive |scene| {
        let grant = scene.runs("web1:8742");
        scene.beats(grant, 2).wait(secs(1)).takes("ada", Some("it hangs")).wait(secs(1));
    };
    stolen |scene| {
        scene.runs("web1:8742");
        scene.wait(secs(300)).takes("ada", Some("asking the bank"));
        scene.wait(secs(9000)).takes("grace", Some("ada is away")).wait(secs(1));
    };
    forced |scene| {
        scene.accepts = Accepts::json();
        scene.runs("web1:8742");
        scene.wait(secs(300)).takes("ada", Some("asking the bank"));
        scene.wait(secs(60)).forces("ada", json("{\"receipt\":7781}")).wait(secs(1));
    };
    reset |scene| {
        scene.runs("web1:8742");
        scene.wait(secs(7200)).takes("ada", None).wait(secs(1)).resets("ada", false).wait(secs(1));
    };
    reset_and_second_run |scene| {
        scene.runs("web1:8742");
        scene.wait(secs(7200)).takes("ada", None).wait(secs(1)).resets("ada", false);
        let grant = scene.wait(secs(60)).runs("web2:17");
        scene.beats(grant, 1).completes(grant, "receipt 7781");
    };
    reset_with_overlap |scene| {
        scene.runs("web1:8742");
        scene.wait(secs(300)).takes("ada", None).wait(secs(1)).resets("ada", true).runs("web2:17");
        scene.wait(secs(1));
    };
    reset_before_the_effects_landed |scene| {
        scene.runs("web1:8742");
        scene.wait(secs(3605)).takes("ada", None).wait(secs(1)).resets("ada", true).wait(secs(1));
    };
    evicted |scene| {
        scene.claims("web1:8742");
        scene.wait(secs(1)).evicts("ada", "the host is being replaced").wait(secs(1));
    };
    nothing_happened |scene| {
        let grant = scene.runs("web1:8742");
        scene.wait(secs(1)).releases(grant, true).wait(secs(1));
    };
    withdrawn |scene| {
        let grant = scene.runs("web1:8742");
        scene.wait(secs(1)).cancels(grant.claim_id).cancels(ClaimId::from_bits(99)).wait(secs(1));
    };
    given_back |scene| {
        let grant = scene.claims("web1:8742");
        scene.wait(secs(1)).releases(grant, false).wait(secs(1));
    };
    purged |scene| {
        let grant = scene.runs("web1:8742");
        scene.releases(grant, true).wait(secs(7200)).purges().wait(secs(60));
    };
    purged_and_new_life |scene| {
        let grant = scene.runs("web1:8742");
        scene.releases(grant, true).wait(secs(7200)).purges();
        let grant = scene.wait(secs(60)).runs("web2:17");
        scene.beats(grant, 2).completes(grant, "receipt 7781");
    };
    released_many_times |scene| {
        for _ in 0..500 {
            let grant = scene.runs("web1:8742");
            scene.beats(grant, 1).releases(grant, true).wait(secs(60));
        }
        scene.runs("web1:8742");
    };
    lapsed_many_times |scene| {
        for host in 0..5 {
            scene.claims(&format!("web{host}:1"));
            scene.wait(secs(60));
        }
    };
    events_were_dropped |scene| {
        for _ in 0..4 {
            let grant = scene.runs("web1:8742");
            scene.wait(secs(1)).releases(grant, true).wait(secs(60));
        }
        scene.runs("web1:8742");
        scene.drops_events();
    };
    record_and_events_differ |scene| {
        let grant = scene.runs("web1:8742");
        scene.completes(grant, "receipt 7781").wait(secs(1));
        scene.record.state = State::Free;
    };
    key_that_a_shell_would_read |scene| {
        scene.address.key = Key::new("-it's $HOME").unwrap();
        scene.runs("web1:8742");
        scene.wait(secs(300));
    };
}

#[test]
fn lease_held() {
    let mut scene = Scene::lease();
    let grant = scene.claims("cron1:5");
    scene.beats(grant, 3).wait(secs(1));
    is_as_written("lease_held", &scene.story());
}

#[test]
fn lease_taken_over_and_released() {
    let mut scene = Scene::lease();
    scene.claims("cron1:5");
    let grant = scene.wait(secs(60)).claims("cron2:6");
    scene.beats(grant, 1).releases(grant, false).wait(secs(1));
    is_as_written("lease_taken_over_and_released", &scene.story());
}

#[test]
fn lease_evicted() {
    let mut scene = Scene::lease();
    scene.claims("cron1:5");
    scene.wait(secs(1)).evicts("ada", "it hangs").wait(secs(1));
    is_as_written("lease_evicted", &scene.story());
}

fn uncertain() -> Facts {
    let mut scene = Scene::new();
    scene.runs("web1:8742");
    scene.wait(secs(300)).facts()
}

#[test]
fn store_may_have_lost_data() {
    let error = StoreError::not_applied(ErrorKind::PossibleDataLoss, "the server was restarted at 02:14");
    is_as_written("store_may_have_lost_data", &story(&Facts { store: Err(error), ..uncertain() }));
}

#[test]
fn reconciler_by_code_works() {
    let facts = uncertain();
    let reconciler =
        LeaseFacts { holder: Some(Label::lossy("psp-reconciler")), until: facts.now.plus(secs(30)) };
    is_as_written("reconciler_by_code_works", &story(&Facts { reconciler: Some(reconciler), ..facts }));
}

#[test]
fn deployment_can_lose_writes() {
    let health = Health {
        deployment: "Redis standalone, AOF everysec, noeviction".into(),
        checks: Vec::new(),
        guarantees: vec!["If it is killed, about the last two seconds may be gone.".into()],
        accepted: true,
    };
    let facts = Scene::new().facts();
    is_as_written("deployment_can_lose_writes", &story(&Facts { health: Some(health), ..facts }));
}

#[test]
fn only_the_newest_events_were_read() {
    let facts = uncertain();
    let mut scene = Scene::new();
    for _ in 0..4 {
        let grant = scene.runs("web1:8742");
        scene.wait(secs(1)).releases(grant, true).wait(secs(60));
    }
    let events = scene.events.split_off(4);
    is_as_written(
        "only_the_newest_events_were_read",
        &story(&Facts { events, complete: false, ..scene.facts() }),
    );
    is_as_written("no_events_were_read", &story(&Facts { events: Vec::new(), complete: false, ..facts }));
}

#[test]
fn another_key_has_the_same_cause() {
    let facts = uncertain();
    let address = Address { key: Key::new("mail-42").unwrap(), ..facts.address.clone() };
    let (mut facts, root) = (facts, Root::new("basket 7").unwrap());
    let (of_root, about_it) = (Some(Cause::new(root)), Some(Label::new("the order of May").unwrap()));
    if let Change::Claimed { cause, about, .. } = &mut facts.events[0].change {
        (*cause, *about) = (of_root.clone(), about_it.clone());
    }
    let record = Record { cause: of_root, about: about_it, ..facts.record.clone().unwrap() };
    is_as_written(
        "another_key_has_the_same_cause",
        &story(&Facts { record: Some(record), because: vec![Link { address }], ..facts }),
    );
}

/// No scene's story contains a result.
#[test]
fn no_payload_appears() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/stories");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("receipt") && !text.contains("declined"), "{text}");
        count += 1;
    }
    assert!(count >= 30, "{count} stories");
}

/// Each kind of change, each state and each decision has a sentence that a scene shows.
#[test]
fn each_sentence_is_in_a_scene_or_is_named_here() {
    use sentinel_admin::why::Id;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/stories");
    let files = std::fs::read_dir(folder).unwrap();
    let all: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let longest = |id: &Id| {
        let template = id.template();
        let parts = template.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
        parts.max_by_key(|part| part.len()).unwrap_or_default().to_owned()
    };
    let missing: Vec<&Id> = Id::ALL.iter().filter(|id| !all.contains(&longest(id))).collect();
    let known = [
        Id::CompletedAfterLapse,
        Id::ForcedFailure,
        Id::FoldedReleased,
        Id::FoldedLeases,
        Id::FoldedWithdrawn,
        Id::FoldedCompleted,
        Id::DeploymentRefused,
        Id::IsLeaseAbsent,
        Id::IsLeaseLapsed,
        Id::LeaseLapsed,
    ];
    let unexpected: Vec<_> = missing.iter().filter(|id| !known.contains(**id)).collect();
    assert!(unexpected.is_empty(), "no scene shows {unexpected:?}");
}
