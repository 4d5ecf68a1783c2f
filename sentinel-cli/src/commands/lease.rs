//! `lease`: runs a command while holding a lease.

use sentinel_core::client::{Lease as Held, LeaseOutcome, ReleaseOutcome, Sentinel};
use sentinel_core::{Address, Kind, idempotency_key};
use tokio::time::Instant;

use super::wait::wait_for_turn;
use super::{Context, environment};
use crate::args::Lease;
use crate::exit::{Exit, Failure};
use crate::output::note;
use crate::runner::{self, Authority, Ended, Job, NotStarted, Ran, Signals};

/// Takes the lease, runs the command, gives the lease back.
pub(crate) async fn run(context: &Context, args: Lease) -> Result<Exit, Failure> {
    let terms = args.terms.get()?;
    let address = context.address(Kind::Lease, args.key.get()?);
    let signals = Signals::listen().map_err(|error| Failure::new(Exit::UNAVAILABLE, error.to_string()))?;
    let store = context.store_or_new().await?;
    let sentinel = Sentinel::from_arc(store.clone());
    let sentinel = sentinel.namespace(&context.namespace)?.worker(&context.worker)?;
    let sentinel = sentinel.patience(context.url.patience());
    let deadline = args.terms.wait.map(|wait| Instant::now() + wait);
    let lease = loop {
        if let Some(number) = signals.pending() {
            return Ok(Exit::signal(number));
        }
        let request = sentinel.lease(&address.key).ttl(terms.ttl()).hard_ttl(terms.hard_ttl());
        match request.acquire().await? {
            LeaseOutcome::Held(lease) => break lease,
            LeaseOutcome::InProgress(_) if deadline.is_some_and(|at| Instant::now() < at) => {
                wait_for_turn(&*store, &address, deadline, &signals).await?;
            }
            LeaseOutcome::InProgress(_) => {
                return Err(Failure::new(
                    Exit::HELD,
                    format!("{address} is held by somebody else; nothing ran"),
                ));
            }
            LeaseOutcome::NotHeld(reason) => return Err(Failure::new(Exit::UNAVAILABLE, reason.to_string())),
        }
    };
    let name = args.command[0].to_string_lossy().into_owned();
    let job = Job {
        environment: environment(&address, lease.token(), idempotency_key(&address, lease.token().get())),
        command: args.command,
        record: false,
    };
    let authority = Authority::new(lease.cancelled(), lease.hard_remaining(), terms.hard_ttl());
    let end = runner::run(job, authority, &signals, |_| true).await;
    let lost = lease.lost().is_some();
    let was_held = give_back(&address, lease).await;
    Ok(match end {
        Ok(ran) if lost || ran.lost || !was_held => {
            note(&format!("{address} was lost while the command ran"));
            Exit::DOUBT
        }
        Ok(ran) => exit_of(&ran),
        Err(why) => not_started(&name, &why),
    })
}

/// Gives the lease back; whether it was still held, as far as anybody knows.
async fn give_back(address: &Address, lease: Held) -> bool {
    match lease.release().await {
        Ok(ReleaseOutcome::Released) => true,
        Ok(ReleaseOutcome::LostBefore(_)) => false,
        Err(error) => {
            note(&format!("{address} could not be released, it lapses by itself: {error}"));
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
            note(&format!("cannot run {name}: {why}"));
            *exit
        }
        NotStarted::Signalled(number) => Exit::signal(*number),
        NotStarted::TooLate => {
            note("the lease was over before the command could start; ask for a longer ttl");
            Exit::UNAVAILABLE
        }
    }
}
