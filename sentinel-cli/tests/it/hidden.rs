//! The hidden commands serve `once` and `lease` only. Whatever could end other processes is tried in a PID namespace.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::world::{World, namespace, runs};

#[test]
fn a_guard_that_a_user_starts_ends_no_process() {
    let world = World::sqlite();
    for arguments in ["1 0", "0 0", "-1 0", "$victim 0", ""] {
        for input in ["/dev/null", "fifo"] {
            let script = format!(
                "mkfifo -m 600 fifo 2>&1; sleep 600 & victim=$!; sleep 600 <>fifo & \
                 {} __guard {arguments} <>{input}; code=$?; kill -0 $victim && exit $code",
                env!("CARGO_BIN_EXE_sentinel"),
            );
            let ran = world.output(namespace(&world, &["sh", "-c", &script]));
            assert_eq!(ran.code(), 64, "{arguments}: {ran:?}");
            assert!(ran.err().contains("nothing was done"), "{ran:?}");
        }
    }
}

#[test]
fn a_guard_refuses_a_group_that_no_child_of_its_caller_leads() {
    let world = World::sqlite();
    let mut of_another = Command::new("sh");
    let of_another = of_another.args(["-c", "sleep 600 >&- & echo $! > grandchild; wait"]);
    let mut of_another = of_another.current_dir(world.path("")).process_group(0).spawn().unwrap();
    crate::world::until("it runs", || world.read("grandchild").ends_with('\n'));
    let grandchild: i32 = world.read("grandchild").trim().parse().unwrap();

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut guard = world.command(&["__guard"]);
    let guard = guard.stdin(Stdio::from(OwnedFd::from(theirs))).stderr(Stdio::piped()).spawn().unwrap();
    let orders = [&grandchild.to_be_bytes()[..], &0u64.to_be_bytes()[..]].concat();
    std::io::Write::write_all(&mut ours, &orders).unwrap();
    assert_eq!(guard.wait_with_output().unwrap().status.code(), Some(64));
    assert!(runs(&grandchild.to_string()));

    let _ = rustix::process::kill_process_group(
        rustix::process::Pid::from_child(&of_another),
        rustix::process::Signal::KILL,
    );
    of_another.wait().unwrap();
}

#[test]
fn a_shim_that_a_user_starts_runs_nothing() {
    let world = World::sqlite();
    let own = std::process::id().to_string();
    for arguments in [&["__exec"][..], &["__exec", &own], &["__exec", &own, "touch", "ran"]] {
        let ran = world.run(arguments);
        assert_eq!(ran.code(), 64, "{ran:?}");
    }
    // A socket that another process has made: here this test's, with a shell between the test and the shim.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let script = format!("{} __exec $$ touch ran; exit $?", env!("CARGO_BIN_EXE_sentinel"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(world.path("")).stdin(Stdio::from(OwnedFd::from(theirs)));
    drop(ours);
    let ran = world.output(shell);
    assert_eq!(ran.code(), 64, "{ran:?}");
    assert!(!world.path("ran").exists());
}
