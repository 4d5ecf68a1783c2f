//! The hidden commands serve `once` and `lease` only. Whatever could end other processes is tried in a PID namespace.

use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Signal;

use crate::world::{SENTINEL, World, namespace, runs, with_default_signals};

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
    let mut of_another = with_default_signals("sh");
    let of_another =
        of_another.args(["-c", "setsid sh -c 'echo $$ > grandchild; exec sleep 600 >&-' & wait"]);
    let mut of_another = of_another.current_dir(world.path("")).process_group(0).spawn().unwrap();
    crate::world::until("it runs", || world.read("grandchild").ends_with('\n'));
    let grandchild: i32 = world.read("grandchild").trim().parse().unwrap();

    assert_eq!(guarded(world.command(&["__guard"]), Some(grandchild)), Some(64));
    assert!(runs(&grandchild.to_string()));
    // Nor its own, although its caller's child leads that.
    let mut own = world.command(&["__guard"]);
    own.process_group(0);
    assert_eq!(guarded(own, None), Some(64));

    crate::world::send(&grandchild.to_string(), Signal::KILL);
    of_another.wait().unwrap();
}

#[test]
fn a_guard_takes_orders_through_its_socket_alone() {
    let world = World::sqlite();
    let child = || Command::new("cat").stdin(Stdio::piped()).process_group(0).spawn().unwrap();
    for (arguments, code, signal) in [(&["__guard", "0"][..], 64, None), (&["__guard"], 0, Some(9))] {
        let mut victim = child();
        let number = i32::try_from(victim.id()).unwrap();
        assert_eq!(guarded(world.command(arguments), Some(number)), Some(code), "{arguments:?}");
        drop(victim.stdin.take());
        assert_eq!(victim.wait().unwrap().signal(), signal, "{arguments:?}");
    }
}

/// Starts a guard with orders to end a group at once: this one, or its own. Its exit code.
fn guarded(mut guard: Command, group: Option<i32>) -> Option<i32> {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let guard = guard.stdin(Stdio::from(OwnedFd::from(theirs))).stderr(Stdio::piped());
    let guard = guard.spawn().unwrap();
    let group = group.unwrap_or_else(|| i32::try_from(guard.id()).unwrap());
    ours.write_all(&[&group.to_be_bytes()[..], &0u64.to_be_bytes()[..]].concat()).unwrap();
    guard.wait_with_output().unwrap().status.code()
}

#[test]
fn a_guard_refuses_orders_through_a_socket_that_its_caller_did_not_make() {
    let world = World::sqlite();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let script = format!(
        "setsid sh -c 'echo $$ > victim; exec sleep 600 <&-' & \
         until [ -s victim ]; do sleep 0.05; done; {SENTINEL} __guard; code=$?; kill -0 $! && exit $code"
    );
    let mut shell = namespace(&world, &["sh", "-c", &script]);
    shell.stdin(Stdio::from(OwnedFd::from(theirs)));
    let shell = world.start_command(shell);
    crate::world::until("it runs", || world.read("victim").ends_with('\n'));
    let victim: i32 = world.read("victim").trim().parse().unwrap();
    // The guard may have ended already.
    let _ = ours.write_all(&[&victim.to_be_bytes()[..], &0u64.to_be_bytes()[..]].concat());
    let ran = shell.ended();
    assert_eq!(ran.code(), 64, "{ran:?}");
    assert!(ran.err().contains("nothing was done"), "{ran:?}");
}

#[test]
fn a_shim_starts_the_command_only_on_the_byte_of_its_own_parent() {
    let own = std::process::id().to_string();
    for (parent, word, code) in [("1", b'g', 126), (&*own, b'x', 126), (&*own, b'g', 0)] {
        let world = World::sqlite();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut shim = world.command(&["__exec", parent, "touch", "ran"]);
        let shim = shim.stdin(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let descriptors = [null.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        // A shim that refuses may have ended already.
        let _ = sendmsg(&ours, &[IoSlice::new(&[word])], &mut control, SendFlags::NOSIGNAL);
        let code_of = shim.wait_with_output().unwrap().status.code();
        assert_eq!((code_of, world.path("ran").exists()), (Some(code), code == 0), "{parent} {word}");
    }
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
    let mut shell = with_default_signals("sh");
    shell.args(["-c", &script]).current_dir(world.path("")).stdin(Stdio::from(OwnedFd::from(theirs)));
    drop(ours);
    let ran = world.output(shell);
    assert_eq!(ran.code(), 64, "{ran:?}");
    assert!(!world.path("ran").exists());
}
