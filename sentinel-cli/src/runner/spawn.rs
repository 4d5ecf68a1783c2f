//! Starting a command, and the thread that waits for it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus, waitid};
use tokio::sync::{mpsc, oneshot};

use super::command::{CommandSpec, Ended, Output};
use super::guard::{Guard, Orders};
use super::process::this_program;
use super::{inherited, shim};

/// A process that becomes the command when its parent sends *go*.
#[derive(Debug)]
pub(super) struct Spawned {
    /// The command's process, which leads its group.
    pub(super) leader: Pid,
    pub(super) socket: UnixStream,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) guard: Guard,
    pub(super) orders: Orders,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
}

/// A report of the waiting thread.
#[derive(Debug)]
pub(super) enum Event {
    /// The command was stopped by this signal, and may go on.
    Stopped(i32),
    /// The command ended. It stays unreaped, so that its number names nothing else, until the child is waited for.
    Ended(Ended, Child),
}

/// Starts the process, its guard, and the thread that waits for it. The thread lives as long as the command: the
/// parent-death signal comes when the thread that started it ends, not only with the whole process.
pub(super) async fn spawn(spec: CommandSpec, remaining: Duration) -> io::Result<Spawned> {
    let (reply, spawned) = oneshot::channel();
    std::thread::Builder::new().name("command".to_owned()).spawn(move || {
        let (child, leader, rest) = match start(spec, remaining) {
            Ok(started) => started,
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        let (report, events) = mpsc::unbounded_channel();
        let (socket, stdout, guard, orders) = rest;
        let _ = reply.send(Ok(Spawned { leader, socket, stdout, guard, orders, events }));
        wait(child, leader, &report);
    })?;
    spawned.await.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
}

type Rest = (UnixStream, Option<ChildStdout>, Guard, Orders);

fn start(spec: CommandSpec, remaining: Duration) -> io::Result<(Child, Pid, Rest)> {
    let (socket, theirs) = UnixStream::pair()?;
    inherited::mask_as_the_caller();
    let mut child = Command::new(this_program()?)
        .arg0("sentinel")
        .arg(shim::NAME)
        .arg(std::process::id().to_string())
        .args(spec.command)
        .envs(spec.environment)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(if spec.output == Output::Inherited { Stdio::inherit() } else { Stdio::piped() })
        .process_group(0)
        .spawn()?;
    let stdout = child.stdout.take();
    let leader = Pid::from_child(&child);
    // The guard inherits that all signals are blocked. Nothing is sent to this thread in particular.
    inherited::mask_all();
    let orders = Orders::new(leader, remaining);
    match Guard::start(orders) {
        Ok(guard) => Ok((child, leader, (socket, stdout, guard, orders))),
        Err(error) => {
            // It sees the end of its socket and ends without having run anything.
            drop(socket);
            let _ = child.wait();
            Err(error)
        }
    }
}

fn wait(child: Child, leader: Pid, report: &mpsc::UnboundedSender<Event>) {
    let changes = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::Pid(leader), changes) {
            Ok(Some(status)) => {
                if let Some(ended) = ended(&status) {
                    let _ = report.send(Event::Ended(ended, child));
                    return;
                }
                // A stop is reported until the report is taken.
                let _ = waitid(WaitId::Pid(leader), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG);
                let _ = report.send(Event::Stopped(status.stopping_signal().unwrap_or_default()));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            // Nothing else waits for this child, so this cannot happen. If it does, how the child ended is unknown.
            Err(_) => {
                let _ = report.send(Event::Ended(Ended::Unknown, child));
                return;
            }
        }
    }
}

fn ended(status: &WaitIdStatus) -> Option<Ended> {
    let code = status.exit_status().map(Ended::Code);
    code.or_else(|| status.terminating_signal().map(Ended::Signal))
}
