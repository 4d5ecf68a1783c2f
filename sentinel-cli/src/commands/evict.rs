//! `evict`: frees a claim or lease whose holder will not come back.

use sentinel::store::operation::EvictReply;

use super::context::Context;
use super::decide::{DecisionView, announced, client, send_until_answered, state_of};
use crate::args::Evict;
use crate::exit::{CliError, Exit};

/// Frees it if the expected token is still the current one.
pub(crate) async fn run(context: &Context, args: &Evict) -> Result<Exit, CliError> {
    let address = context.address(args.kind.into(), args.key.get()?);
    let sentinel = client(context).await?;
    let op_id = announced(&args.decision);
    let evict = || {
        let eviction = sentinel.evict(address.kind, &address.key, args.expect);
        let eviction = eviction.op_id(op_id).operator(&context.operator);
        match &args.decision.reason {
            Some(reason) => eviction.reason(reason).evict(),
            None => eviction.evict(),
        }
    };
    let (_, reply) = send_until_answered(evict).await?;
    let refusal = match reply {
        EvictReply::Evicted { token } => {
            let text = "evicted: any caller can claim it";
            return DecisionView::print(context.style, &address, op_id, "free", token, text);
        }
        EvictReply::StaleDecision(now) => {
            let expect = args.expect;
            format!(
                "{address} has changed: it is {}, not at token {expect}; nothing was changed. Inspect \
                    it again",
                state_of(now)
            )
        }
        EvictReply::Executing => format!(
            "{address} began to execute; nothing was changed. Use \
            `sentinel reconcile`"
        ),
        EvictReply::NotClaimed(now) => format!(
            "{address} is not claimed: it is {}; nothing was \
            changed",
            state_of(now)
        ),
    };
    Err(CliError::does_not_apply(refusal))
}
