//! `lease`: runs a command while holding a lease.

use sentinel::LeaseOutcome;
use sentinel::admin::command_line::Arg;
use sentinel::lease::{Lease as Held, ReleaseOutcome};
use sentinel::record::{Address, Kind, idempotency_key};
use tokio::time::Instant;

use super::context::{Context, environment, inherited_cause};
use super::wait::{CallResult, Interruption, Progress, Ready, await_call, ready};
use crate::args::Lease;
use crate::exit::{CliError, Exit};
use crate::output::note;
use crate::runner::{self, Authority, CommandSpec, Ended, NotStarted, Output, Ran, Rest};

/// Acquires the lease, runs the command, releases the lease.
pub(crate) async fn run(context: &Context, args: Lease) -> Result<Exit, CliError> {
    let terms = args.terms.get()?;
    let address = context.address(Kind::Lease, args.key.get()?);
    let Ready { sentinel, signals, deadline } = match ready(context, args.terms.wait).await? {
        Ok(ready) => ready,
        Err(number) => return Ok(Exit::signal(number)),
    };
    let mut request = sentinel.lease(&address.key).ttl(terms.ttl()).hard_ttl(terms.hard_ttl());
    if let Some(cause) = inherited_cause() {
        request = request.cause(cause);
    }
    if let Some(at) = deadline {
        request = request.wait(at.saturating_duration_since(Instant::now()));
    }
    let lease = match await_call(&sentinel, &Progress::default(), &signals, request.acquire()).await {
        CallResult::Answered(answer) => answer?,
        CallResult::Interrupted(Interruption::NotStarted(number)) => return Ok(Exit::signal(number)),
        CallResult::Interrupted(Interruption::Unconfirmed(_)) => return Ok(Exit::DOUBT),
    };
    let lease = match lease {
        LeaseOutcome::Held(lease) => lease,
        LeaseOutcome::InProgress(_) => {
            return Err(CliError::new(
                Exit::HELD,
                format!(
                    "another process holds {address}; the command did not run. Try again later, or \
                    wait with --wait"
                ),
            ));
        }
        LeaseOutcome::NotHeld(reason) => return Err(CliError::new(Exit::UNAVAILABLE, reason.to_string())),
    };
    let name = args.command[0].to_string_lossy().into_owned();
    let spec = CommandSpec {
        environment: environment(
            &address,
            lease.token(),
            idempotency_key(&address, lease.token().get()),
            lease.child_cause(),
        ),
        command: args.command,
        output: Output::Inherited,
    };
    let authority = Authority::new(lease.cancelled(), lease.hard_remaining(), terms.hard_ttl());
    let end = runner::run(spec, authority, &signals, rest).await;
    let lost = lease.lost().is_some();
    if end.as_ref().is_ok_and(|ran| ran.left) {
        // The lease lapses by itself. If it were released, the store would grant it to another holder at once.
        std::mem::forget(lease);
        note(&format!(
            "{address} was not released, because processes of the command may still be \
            running; it lapses by itself"
        ));
        return Ok(Exit::DOUBT);
    }
    let was_held = give_back(&address, lease).await;
    Ok(match end {
        Ok(ran) if lost || ran.lost || !was_held => {
            note(&format!(
                "{address} was lost while the command ran: another process may have held it \
                at the same time"
            ));
            let kind = ["--kind", "lease"].map(Arg::word);
            note(&format!("what is known of it: {}", context.command("why", &address.key, &kind)));
            Exit::DOUBT
        }
        Ok(ran) => exit_of(&ran),
        Err(why) => not_started(&name, &why),
    })
}

/// After a command exits, the lease is kept for its background processes: they may do part of the work, and end by
/// themselves. After a command was killed, they are ended.
fn rest(ended: Ended) -> Rest {
    match ended {
        Ended::Code(_) => Rest::IsAwaited,
        Ended::Signal(_) | Ended::Unknown => Rest::IsEnded,
    }
}

/// Releases the lease. Returns whether it was still held, as far as is known.
async fn give_back(address: &Address, lease: Held) -> bool {
    match lease.release().await {
        Ok(ReleaseOutcome::Released) => true,
        Ok(ReleaseOutcome::LostBefore(_)) => false,
        Err(error) => {
            note(&format!("{address} could not be released; it lapses by itself: {error}"));
            true
        }
    }
}

fn exit_of(ran: &Ran) -> Exit {
    match ran.ended {
        Ended::Code(code) => Exit(u8::try_from(code).unwrap_or(1)),
        Ended::Signal(number) => Exit::signal(number),
        Ended::Unknown => Exit::NO,
    }
}

fn not_started(name: &str, why: &NotStarted) -> Exit {
    match why {
        NotStarted::CannotExecute(exit, why) => {
            note(&format!("cannot run {name}: {why}; the lease was released"));
            *exit
        }
        NotStarted::Signalled(number) => Exit::signal(*number),
        NotStarted::TooLate => {
            note(
                "the lease ended before the command could start; the command did not run. Use a longer \
                --ttl",
            );
            Exit::UNAVAILABLE
        }
    }
}
