//! Standard output that another process has set to non-blocking.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::world::{World, until};

#[test]
fn a_non_blocking_standard_output_gets_every_byte() {
    let world = World::sqlite();
    let script = "head -c 500000 /dev/zero; echo end > written";
    for _run_and_replay in 0..2 {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut command = world.command(&["once", "k", "--", "sh", "-c", script]);
        command.stdout(Stdio::from(OwnedFd::from(theirs))).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        drop(command);
        // The reader is late: the socket is full by then.
        until("the command has written it all", || !world.read("written").is_empty());
        let mut bytes = Vec::new();
        ours.read_to_end(&mut bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((bytes.len(), output.status.code()), (500_000, Some(0)), "{output:?}");
    }
}
