//! The last step before a command: this program again, in the command's process, which becomes the command.
//!
//! What must happen between fork and exec (the parent-death signal) would need unsafe code in the parent. Here it is
//! safe, and it adds what a plain spawn cannot do: the process group is known before the command starts, nothing starts
//! until the parent allows it, and *could not be started* is distinguished from a command that exits with 126 or 127.
//!
//! Standard input is a socket to the parent. The parent sends one byte, *go*, with the real standard input. The shim
//! answers one byte, *ready*, and executes the command, which closes the socket. Bytes after *ready* report a failure.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::exit::Exit;

/// The hidden command: `sentinel __exec PARENT CMD ARG..`.
pub(super) const NAME: &str = "__exec";
const GO: u8 = b'g';
const READY: u8 = b'r';

/// Becomes the command, or reports why not. `None`: it was not started as its parent starts it.
pub(super) fn main(mut socket: UnixStream, arguments: &[OsString]) -> Option<Exit> {
    let [parent, command, rest @ ..] = arguments else { return None };
    if die_with_parent().is_err() || !is_my_parent(parent) {
        return Some(Exit::CANNOT_EXECUTE);
    }
    // The parent is gone, or has decided not to run: nothing happens.
    let Ok(Some(stdin)) = wait_for_go(&socket) else { return Some(Exit::CANNOT_EXECUTE) };
    if rustix::stdio::dup2_stdin(&stdin).is_err() || socket.write_all(&[READY]).is_err() {
        return Some(Exit::CANNOT_EXECUTE);
    }
    drop(stdin);
    let error = Command::new(command).args(rest).exec();
    let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NOT_FOUND } else { Exit::CANNOT_EXECUTE };
    // The parent waits for the end of this stream; if it is gone, there is none to report to.
    let _ = socket.write_all(&[exit.0]).and_then(|()| socket.write_all(error.to_string().as_bytes()));
    Some(exit)
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> rustix::io::Result<()> {
    Ok(())
}

/// A parent that died before it could be watched sends no signal any more.
fn is_my_parent(parent: &OsString) -> bool {
    let parent = parent.to_str().and_then(|text| text.parse::<i32>().ok());
    parent.is_some() && rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) == parent
}

fn wait_for_go(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::empty();
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(descriptors.next().filter(|_| received.bytes == 1 && byte == [GO]))
}

/// The parent's half: hands over standard input, and with it the signal to start.
pub(super) fn go(socket: &UnixStream) -> io::Result<()> {
    let stdin = io::stdin();
    let descriptors = [stdin.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(&[GO])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The parent's half: waits until the command runs, or is known not to. `Err`: exit code and reason.
pub(super) fn started(mut socket: UnixStream) -> Result<(), (Exit, String)> {
    let mut report = Vec::new();
    // What was read before an error counts.
    let _ = socket.read_to_end(&mut report);
    match report.as_slice() {
        [READY] => Ok(()),
        [READY, exit, why @ ..] => Err((Exit(*exit), String::from_utf8_lossy(why).into_owned())),
        _ => Err((Exit::CANNOT_EXECUTE, "its process ended before it could start".to_owned())),
    }
}
