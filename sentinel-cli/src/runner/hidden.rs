//! The hidden commands, which serve only the process that started them.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use rustix::process::getppid;

use super::{guard, shim};
use crate::exit::Exit;
use crate::output::note;

/// If this process was started as the shim or the guard of a command, does that work.
pub(crate) fn run(arguments: &[OsString]) -> Option<Exit> {
    let name = arguments.get(1)?.to_str()?;
    let rest = &arguments[2..];
    let exit = match name {
        shim::NAME => from_parent().and_then(|socket| shim::main(socket, rest)),
        guard::NAME => from_parent().and_then(|socket| guard::main(socket, rest)),
        _ => return None,
    };
    Some(exit.unwrap_or_else(|| {
        note(&format!("only `sentinel once` and `sentinel lease` may start `{name}`; nothing was done"));
        Exit::USAGE
    }))
}

/// The socket on standard input, if the parent of this process made it.
fn from_parent() -> Option<UnixStream> {
    let stdin = io::stdin();
    let stdin = stdin.as_fd();
    is_of_parent(stdin).then(|| stdin.try_clone_to_owned().ok().map(UnixStream::from))?
}

/// The system names the process that made a pair of sockets.
#[cfg(target_os = "linux")]
fn is_of_parent(socket: std::os::fd::BorrowedFd<'_>) -> bool {
    use rustix::net::{AddressFamily, sockopt};
    sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_peercred(socket).is_ok_and(|peer| Some(peer.pid) == getppid())
}

/// Here the system does not name it: a connected socket without an address is what a pair consists of.
#[cfg(not(target_os = "linux"))]
fn is_of_parent(socket: std::os::fd::BorrowedFd<'_>) -> bool {
    rustix::net::getpeername(socket).is_ok() && getppid().is_some()
}
