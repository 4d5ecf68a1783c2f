//! `settle`: takes an uncertain key and decides about it, as one command.

use sentinel::admin::{NotSettled, SettleRequest, Settlement, settle};
use sentinel::reconcile::ReconcileReply;
use sentinel::record::{Address, Kind, Payload, RecordedResult, Verdict};

use super::context::Context;
use super::decide::{DecisionView, announced, read_all, refusal, typed};
use super::reconcile::not_taken;
use crate::args::Settle;
use crate::exit::{CliError, Exit};
use crate::output::time::rfc3339;

/// Settles the key, or reports why nothing was changed.
pub(crate) async fn run(context: &Context, args: &Settle) -> Result<Exit, CliError> {
    let address = context.address(Kind::Execution, args.key.get()?);
    let settlement = settlement(args)?;
    let sentinel = context.client(context.store().await?)?;
    let request = SettleRequest {
        settlement,
        op_id: announced(&args.decision),
        operator: context.operator.clone(),
        reason: args.decision.reason.clone(),
        expect: args.expect,
        as_is: args.as_is,
    };
    let settled = settle(&sentinel, address.key.as_str(), &request).await?;
    let (state, text) = match request.settlement {
        Settlement::Happened(_) => ("completed", "settled: the response is replayed from now on"),
        Settlement::DidNotHappen => ("free", "settled: the key can run again"),
    };
    match settled {
        Ok(settled) => {
            DecisionView::print(context.style, &address, request.op_id, state, settled.token, text)
        }
        Err(why) => Err(refused(context, &address, &why)),
    }
}

fn settlement(args: &Settle) -> Result<Settlement, CliError> {
    let bytes = match (&args.happened, &args.happened_file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(file)) => read_all(file)?,
        (None, None) => return Ok(Settlement::DidNotHappen),
    };
    let payload: Payload = typed(bytes, args.content_type.as_ref(), args.as_is)?;
    Ok(Settlement::Happened(RecordedResult {
        verdict: Verdict::Success,
        code: Some(0),
        payload,
        omitted: false,
    }))
}

fn refused(context: &Context, address: &Address, why: &NotSettled) -> CliError {
    let why_command = context.command("why", &address.key, &[]);
    match why {
        NotSettled::Absent => {
            CliError::does_not_apply(format!("there is nothing to settle: {address} has no record"))
        }
        NotSettled::TooEarly { until } => CliError::does_not_apply(format!(
            "an effect of the run of {address} may still land until {}, so it is too early to decide that it did not \
             happen; nothing was changed. Settle it after that time",
            rfc3339(*until)
        )),
        NotSettled::NotDecodable { accepts } => CliError::does_not_apply(format!(
            "callers of {address} can only decode {accepts}; nothing was changed. Use --content-type, or record it \
             with --as-is: every caller then gets an error that includes the bytes"
        )),
        NotSettled::NotTaken(reply) => {
            let steps = match reply {
                ReconcileReply::HeldBy { .. } | ReconcileReply::StillAlive { .. } => {
                    format!(". What can be done: {why_command}")
                }
                _ => String::new(),
            };
            CliError::does_not_apply(format!("{}{steps}", not_taken(address, reply)))
        }
        NotSettled::Taken { token, refused } => {
            let error = refusal(address, *token, refused);
            let message =
                format!("{}. The key waits for a decision under token {token}: {why_command}", error.message);
            CliError { message, ..error }
        }
    }
}
