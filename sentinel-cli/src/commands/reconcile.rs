//! `reconcile`: takes an uncertain key for an operator.

use sentinel_core::operation::{Reconcile as Request, ReconcileReply};
use sentinel_core::{Address, CoordinationStore, Kind, OpId, StoreError, StoreTime, Token};
use serde::Serialize;

use super::context::Context;
use super::decide::{announce, operator, persist, stands};
use crate::args::Reconcile;
use crate::exit::{Exit, Failure};
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
pub(crate) async fn run(context: &Context, args: &Reconcile) -> Result<Exit, Failure> {
    let address = context.address(Kind::Execution, args.key.get()?);
    let store = context.store().await?;
    let expect = match args.expect {
        Some(token) => token,
        None => current_token(&*store, &address).await?,
    };
    let op_id = args.decision.op.unwrap_or_else(OpId::random);
    announce(op_id);
    let request = Request {
        op_id,
        operator: operator(context),
        reason: args.decision.reason.clone(),
        expect,
        even_if_alive: args.even_if_alive,
        steal: args.steal,
    };
    let reply = persist(|| store.reconcile(&address, &request)).await?;
    let (token, since, effects_until, begun_at, worker) = match reply.reply {
        ReconcileReply::Taken { token, since, effects_until, begun_at, worker } => {
            (token, since, effects_until, begun_at, worker)
        }
        refusal => return Err(refused(&address, expect, &refusal)),
    };
    match context.style {
        Style::Text => line(&token.to_string())?,
        Style::Json => object(&View {
            token: token.get(),
            since: rfc3339(since),
            worker: worker.as_ref().map(ToString::to_string),
            begun_at: begun_at.map(rfc3339),
        })?,
    }
    tell_reset(effects_until, reply.stamp.now);
    Ok(Exit::OK)
}

async fn current_token(store: &dyn CoordinationStore, address: &Address) -> Result<Token, Failure> {
    match store.inspect(address).await.map_err(StoreError::of_a_read)?.record {
        Some(record) => Ok(record.token),
        None => Err(Failure::does_not_apply(format!("there is nothing to reconcile: {address} is absent"))),
    }
}

fn tell_reset(effects_until: StoreTime, now: StoreTime) {
    if now < effects_until {
        let at = rfc3339(effects_until);
        note(&format!("reset-to-claimed becomes possible at {at}, or at once with --accept-overlap"));
    } else {
        note("reset-to-claimed is possible now");
    }
}

fn refused(address: &Address, expect: Token, refusal: &ReconcileReply) -> Failure {
    Failure::does_not_apply(match refusal {
        ReconcileReply::Taken { .. } => format!("{address} is taken"),
        ReconcileReply::StaleDecision(now) => {
            format!("{address} has moved on: it is {}, not at token {expect}; inspect it again", stands(*now))
        }
        ReconcileReply::HeldBy { op_id, operator, since } => format!(
            "{address} is being reconciled by {operator} since {} (op {op_id}); \
             --steal with --expect takes it from them",
            rfc3339(*since)
        ),
        ReconcileReply::StillAlive { until } => format!(
            "{address} is still running: its worker gave a sign of life, and its lease holds until {}",
            rfc3339(*until)
        ),
        ReconcileReply::AlreadyCompleted => {
            format!("{address} is completed: there is no doubt, and its result is final")
        }
        ReconcileReply::NotExecuting(now) => {
            format!("there is nothing to reconcile: {address} is {}, and nothing began", stands(*now))
        }
    })
}
