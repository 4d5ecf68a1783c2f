//! `force-complete` and `reset-to-claimed`, and what all decisions share.

use std::future::Future;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use sentinel_core::operation::{Current, ForceCompleteReply, ResetReply, Stamped};
use sentinel_core::operation::{ForceComplete as ForceRequest, ResetToClaimed as ResetRequest};
use sentinel_core::{Address, Kind, Label, OpId, Payload, Recorded, StoreError, Token, Verdict};
use serde::Serialize;

use super::context::Context;
use crate::args::{ForceComplete, ResetToClaimed};
use crate::exit::{Exit, Failure};
use crate::output::time::rfc3339;
use crate::output::{Style, line, note, object};

/// What a decision came to.
#[derive(Debug, Serialize)]
pub(super) struct Decided {
    pub(super) op: String,
    pub(super) namespace: String,
    pub(super) kind: &'static str,
    pub(super) key: String,
    pub(super) state: &'static str,
    pub(super) token: u64,
}

impl Decided {
    /// Prints it: as an object, or as the sentence `text`.
    pub(super) fn print(
        style: Style,
        address: &Address,
        op: OpId,
        state: &'static str,
        token: Token,
        text: &str,
    ) -> Result<Exit, Failure> {
        match style {
            Style::Text => line(text)?,
            Style::Json => object(&Self {
                op: op.to_string(),
                namespace: address.namespace.to_string(),
                kind: address.kind.as_str(),
                key: address.key.to_string(),
                state,
                token: token.get(),
            })?,
        }
        Ok(Exit::OK)
    }
}

/// "It did happen."
pub(crate) async fn force_complete(context: &Context, args: ForceComplete) -> Result<Exit, Failure> {
    let address = context.address(Kind::Execution, args.key.get()?);
    let payload = response(&args)?;
    let store = context.store().await?;
    let op_id = args.decision.op.unwrap_or_else(OpId::random);
    announce(op_id);
    let request = ForceRequest {
        op_id,
        token: args.token,
        operator: operator(context),
        reason: args.decision.reason,
        result: Recorded {
            verdict: if args.failed.is_some() { Verdict::Failure } else { Verdict::Success },
            code: Some(args.failed.map_or(0, i32::from)),
            payload,
            omitted: false,
        },
        as_is: args.as_is,
    };
    match persist(|| store.force_complete(&address, &request)).await?.reply {
        ForceCompleteReply::Completed => {
            let text = "completed: the response is replayed from now on";
            Decided::print(context.style, &address, op_id, "completed", args.token, text)
        }
        ForceCompleteReply::StaleDecision(now) => Err(stale(&address, args.token, now)),
        ForceCompleteReply::NotDecodable { accepts } => Err(Failure::does_not_apply(format!(
            "callers of {address} can only decode {accepts}, and this response is {}; nothing was recorded. \
             Give it with --content-type, or insist with --as-is: every caller then gets an error with the bytes",
            request.result.payload.content_type
        ))),
    }
}

/// What is to be replayed. Bytes that are not what their content type says could be read by no caller.
fn response(args: &ForceComplete) -> Result<Payload, Failure> {
    let bytes = match (&args.response, &args.response_file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(file)) => read_all(file).map_err(|error| {
            Failure::usage(format!("cannot read the response from {}: {error}", file.display()))
        })?,
        (None, None) => Vec::new(),
    };
    let guessed = match std::str::from_utf8(&bytes) {
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => Payload::OCTETS,
    };
    let content_type = args.content_type.as_ref().map_or(guessed, |content_type| content_type.as_str());
    let payload = Payload::new(content_type, bytes);
    match payload.check() {
        Err(invalid) if !args.as_is => Err(Failure::does_not_apply(format!(
            "{invalid}; nothing was recorded. Correct it, or insist with --as-is"
        ))),
        _ => Ok(payload),
    }
}

fn read_all(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match file == Path::new("-") {
        true => io::stdin().lock().read_to_end(&mut bytes)?,
        false => std::fs::File::open(file)?.read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// "It did not happen."
pub(crate) async fn reset_to_claimed(context: &Context, args: &ResetToClaimed) -> Result<Exit, Failure> {
    let address = context.address(Kind::Execution, args.key.get()?);
    let store = context.store().await?;
    let op_id = args.decision.op.unwrap_or_else(OpId::random);
    announce(op_id);
    let request = ResetRequest {
        op_id,
        token: args.token,
        operator: operator(context),
        reason: args.decision.reason.clone(),
        accept_overlap: args.accept_overlap,
    };
    match persist(|| store.reset_to_claimed(&address, &request)).await?.reply {
        ResetReply::Reset { token } => {
            let text = "reset: anyone may run it again";
            Decided::print(context.style, &address, op_id, "free", token, text)
        }
        ResetReply::StaleDecision(now) => Err(stale(&address, args.token, now)),
        ResetReply::EffectsMayLand { until } => Err(Failure::does_not_apply(format!(
            "an effect of the old run of {address} may still land until {}; reset it after that. \
             --accept-overlap does not wait, and two runs may overlap",
            rfc3339(until)
        ))),
    }
}

/// Tells the decision's id before it is sent: whoever loses the answer repeats it with `--op`.
pub(super) fn announce(op_id: OpId) {
    note(&format!("op {op_id}"));
}

/// Who decides: the worker's label if one was given, else user and host.
pub(super) fn operator(context: &Context) -> Label {
    context.operator.clone()
}

/// Where a record stands, in a sentence.
pub(super) fn stands(now: Current) -> String {
    format!("{} at token {}", now.state, now.token)
}

fn stale(address: &Address, presented: Token, now: Current) -> Failure {
    Failure::does_not_apply(format!(
        "{address} is {}: token {presented} is not the current reconcile token, or it was used for another decision",
        stands(now)
    ))
}

/// Sends a request until it is answered, a few times: under its id, several times have the effect of one.
pub(super) async fn persist<R, F>(mut send: impl FnMut() -> F) -> Result<Stamped<R>, StoreError>
where
    F: Future<Output = Result<Stamped<R>, StoreError>>,
{
    let mut pause = Duration::from_millis(50);
    for _ in 0..4 {
        match send().await {
            Err(error) if error.is_worth_repeating() => {
                tokio::time::sleep(pause).await;
                pause *= 4;
            }
            settled => return settled,
        }
    }
    send().await
}
