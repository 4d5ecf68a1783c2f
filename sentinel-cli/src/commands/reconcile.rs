//! `reconcile`: takes an uncertain key for an operator.

use sentinel::Sentinel;
use sentinel::reconcile::ReconcileOutcome;
use sentinel::record::{Address, Kind, Token};
use sentinel::store::operation::ReconcileReply;
use sentinel::store::{StoreError, StoreTime};
use serde::Serialize;

use super::context::Context;
use super::decide::{announced, by, client, send_until_answered, state_of};
use crate::args::Reconcile;
use crate::exit::{CliError, Exit};
use crate::output::time::rfc3339;
use crate::output::{Style, line, note, object};

#[derive(Debug, Serialize)]
struct View {
    token: u64,
    since: String,
    worker: Option<String>,
    begun_at: Option<String>,
}

/// Takes the key and prints the reconcile token.
pub(crate) async fn run(context: &Context, args: &Reconcile) -> Result<Exit, CliError> {
    let address = context.address(Kind::Execution, args.key.get()?);
    let sentinel = client(context).await?;
    let expect = match args.expect {
        Some(token) => token,
        None => current_token(&sentinel, &address).await?,
    };
    let op_id = announced(&args.decision);
    let reconcile = || {
        let seeking = by(context, &args.decision, op_id, sentinel.reconciler(&address.key)).expect(expect);
        let seeking = if args.even_if_alive { seeking.even_if_alive() } else { seeking };
        let seeking = if args.steal { seeking.steal() } else { seeking };
        seeking.reconcile()
    };
    let held = match send_until_answered(reconcile).await? {
        ReconcileOutcome::Taken(held) => held,
        ReconcileOutcome::Refused(reply) => return Err(refused(&address, expect, &reply)),
    };
    let since = held.since().unwrap_or(StoreTime::ZERO);
    // A request that is repeated with `--op` may have taken the key much earlier.
    let now = match args.decision.op {
        Some(_) => store_now(&sentinel, &address).await.unwrap_or(since).max(since),
        None => since,
    };
    match context.style {
        Style::Text => line(&held.token().to_string())?,
        Style::Json => object(&View {
            token: held.token().get(),
            since: rfc3339(since),
            worker: held.worker().map(ToString::to_string),
            begun_at: held.begun_at().map(rfc3339),
        })?,
    }
    note_reset(held.effects_until().unwrap_or(StoreTime::ZERO), now);
    Ok(Exit::OK)
}

async fn current_token(sentinel: &Sentinel, address: &Address) -> Result<Token, CliError> {
    match sentinel.store().inspect(address).await.map_err(StoreError::of_a_read)?.record {
        Some(record) => Ok(record.token),
        None => Err(CliError::does_not_apply(format!("there is nothing to reconcile: {address} is absent"))),
    }
}

/// The store's clock; None: the store does not answer.
async fn store_now(sentinel: &Sentinel, address: &Address) -> Option<StoreTime> {
    sentinel.store().inspect(address).await.ok().map(|found| found.now)
}

/// Prints when a reset is possible.
fn note_reset(effects_until: StoreTime, now: StoreTime) {
    if now < effects_until {
        let at = rfc3339(effects_until);
        note(&format!("reset-to-claimed becomes possible at {at}, or at once with --accept-overlap"));
    } else {
        note("reset-to-claimed is possible now");
    }
}

fn refused(address: &Address, expect: Token, refusal: &ReconcileReply) -> CliError {
    let hint = match refusal {
        ReconcileReply::StaleDecision(_) => format!(", not at token {expect}; inspect it again"),
        ReconcileReply::HeldBy { .. } => {
            ". --steal with --expect takes the key from that operator".to_owned()
        }
        ReconcileReply::StillAlive { .. } => {
            ". --even-if-alive with --expect takes the key all the same".to_owned()
        }
        _ => String::new(),
    };
    CliError::does_not_apply(format!("{}{hint}", not_taken(address, refusal)))
}

/// Why a key was not taken.
pub(super) fn not_taken(address: &Address, refusal: &ReconcileReply) -> String {
    match refusal {
        ReconcileReply::Taken { .. } => format!("{address} is taken"),
        ReconcileReply::StaleDecision(now) => {
            format!("{address} has changed, and nothing was changed now: it is {}", state_of(*now))
        }
        ReconcileReply::HeldBy { op_id, operator, since } => format!(
            "{operator} has been reconciling {address} since {} (op {op_id}); nothing was changed",
            rfc3339(*since)
        ),
        ReconcileReply::StillAlive { until } => format!(
            "{address} is still running: its worker sent a heartbeat, and its lease lasts until {}; nothing was \
             changed",
            rfc3339(*until)
        ),
        ReconcileReply::AlreadyCompleted => {
            format!("{address} is completed, and its result is final: there is nothing to decide")
        }
        ReconcileReply::NotExecuting(now) => {
            format!("there is nothing to reconcile: {address} is {}, and nothing began", state_of(*now))
        }
    }
}
