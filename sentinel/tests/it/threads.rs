//! No thread for heartbeats: nothing is claimed, nothing runs, and nothing panics.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sentinel::outcome::NotRun;
use sentinel::prelude::*;
use sentinel::record::Kind;

use crate::Lied;
use crate::keeper::Counting;

/// Set in a copy of this test program that may limit itself.
const COPY: &str = "SENTINEL_TEST_WITHOUT_THREADS";

/// In a separate process, because the limit applies to the whole process.
#[test]
fn without_a_thread_for_heartbeats_nothing_runs_and_the_key_is_free() {
    let mut copy = Command::new(std::env::current_exe().unwrap());
    let copy = copy.args(["--exact", "threads::copy", "--nocapture"]).env(COPY, "1").output().unwrap();
    let text = String::from_utf8_lossy(&copy.stdout).into_owned() + &String::from_utf8_lossy(&copy.stderr);
    assert!(copy.status.success() && text.contains("the test passed"), "{text}");
}

#[test]
fn copy() {
    if std::env::var_os(COPY).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Counting::new(false);
    let sentinel = Sentinel::new(store.clone());
    runtime.block_on(async {
        let unlimited = getrlimit(Resource::As);
        let call = || sentinel.once("k").run(|_| async { Ok::<_, Lied>(7) });
        // There is no room for the stack of a thread.
        setrlimit(Resource::As, Rlimit { current: Some(address_space() + (1 << 20)), ..unlimited }).unwrap();
        let outcome = call().await;
        let lease = sentinel.lease("l").acquire().await;
        setrlimit(Resource::As, unlimited).unwrap();
        let Ok(Outcome::NotRun(why @ NotRun::NoHeartbeats(_))) = outcome else { panic!("{outcome:?}") };
        assert!(why.to_string().starts_with("nothing ran: no thread for heartbeats"), "{why}");
        assert!(matches!(lease, Ok(LeaseOutcome::NotHeld(NotRun::NoHeartbeats(_)))), "{lease:?}");
        for (kind, key) in [(Kind::Execution, "k"), (Kind::Lease, "l")] {
            assert_eq!(sentinel.inspect(kind, key).await.unwrap().record, None, "nothing was sent");
        }
        // Without the limit the call succeeds.
        assert!(matches!(call().await.unwrap(), Outcome::Completed(7)));
    });
    let text = "the test passed\n";
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).unwrap();
}

/// What this process uses, in bytes.
fn address_space() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}
