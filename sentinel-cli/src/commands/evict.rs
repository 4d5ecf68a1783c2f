//! `evict`: frees a claim or lease whose holder will not come back.

use sentinel_core::OpId;
use sentinel_core::operation::{Evict as Request, EvictReply};

use super::context::Context;
use super::decide::{Decided, announce, operator, persist, stands};
use crate::args::Evict;
use crate::exit::{Exit, Failure};

/// Frees it, if the token that was seen is still the current one.
pub(crate) async fn run(context: &Context, args: &Evict) -> Result<Exit, Failure> {
    let address = context.address(args.kind.into(), args.key.get()?);
    let store = context.store().await?;
    let op_id = args.decision.op.unwrap_or_else(OpId::random);
    announce(op_id);
    let request = Request {
        op_id,
        operator: operator(context),
        reason: args.decision.reason.clone(),
        expect: args.expect,
    };
    let refusal = match persist(|| store.evict(&address, &request)).await?.reply {
        EvictReply::Evicted { token } => {
            let text = "evicted: anyone may claim it";
            return Decided::print(context.style, &address, op_id, "free", token, text);
        }
        EvictReply::StaleDecision(now) => {
            let expect = args.expect;
            format!("{address} has moved on: it is {}, not at token {expect}; inspect it again", stands(now))
        }
        EvictReply::Executing => format!("{address} began: that is for `sentinel reconcile`"),
        EvictReply::NotClaimed(now) => format!("nobody holds {address}: it is {}", stands(now)),
    };
    Err(Failure::does_not_apply(refusal))
}
