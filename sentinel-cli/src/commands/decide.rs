//! `force-complete` and `reset-to-claimed`, and the code that all decisions share.

use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use sentinel::reconcile::{DecisionOutcome, Reconciler, Refused};
use sentinel::record::{Address, Kind, Label, OpId, Payload, RecordedResult, Token, Verdict};
use sentinel::store::operation::Current;
use sentinel::{Error, Sentinel};
use serde::Serialize;

use super::context::Context;
use crate::args::{DecisionArg, ForceComplete, ResetToClaimed};
use crate::exit::{CliError, Exit};
use crate::output::time::rfc3339;
use crate::output::{Style, line, note, object};

/// A decision that was applied, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct DecisionView {
    pub(super) op: String,
    pub(super) namespace: String,
    pub(super) kind: &'static str,
    pub(super) key: String,
    pub(super) state: &'static str,
    pub(super) token: u64,
}

impl DecisionView {
    /// Prints it: as an object, or as the sentence `text`.
    pub(super) fn print(
        style: Style,
        address: &Address,
        op: OpId,
        state: &'static str,
        token: Token,
        text: &str,
    ) -> Result<Exit, CliError> {
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

/// Records the decision that the work happened.
pub(crate) async fn force_complete(context: &Context, args: ForceComplete) -> Result<Exit, CliError> {
    let address = context.address(Kind::Execution, args.key.get()?);
    let payload = response(&args)?;
    let sentinel = client(context).await?;
    let op_id = announced(&args.decision);
    let held = by(context, &args.decision, op_id, sentinel.reconciler(&address.key).resume(args.token));
    let held = if args.as_is { held.as_is() } else { held };
    let (verdict, code) = end(&args);
    let result = RecordedResult { verdict, code: Some(code), payload, omitted: false };
    match send_until_answered(|| held.force_complete_recorded(result.clone())).await? {
        DecisionOutcome::Done { .. } => {
            let text = "completed: the response is replayed from now on";
            DecisionView::print(context.style, &address, op_id, "completed", args.token, text)
        }
        DecisionOutcome::Refused(Refused::NotDecodable { accepts }) => {
            Err(CliError::does_not_apply(format!(
                "callers of {address} can only decode {accepts}, and this response is {}; nothing was recorded. \
             Use --content-type, or record it with --as-is: every caller then gets an error that \
             includes the bytes",
                result.payload.content_type
            )))
        }
        DecisionOutcome::Refused(refused) => Err(refusal(&address, args.token, &refused)),
    }
}

/// Whether it is a failure, and its exit code or HTTP status.
fn end(args: &ForceComplete) -> (Verdict, i32) {
    match (args.failed, args.status) {
        (Some(code), _) => (Verdict::Failure, code.into()),
        (None, Some(status)) if status >= 400 => (Verdict::Failure, status.into()),
        (None, Some(status)) => (Verdict::Success, status.into()),
        (None, None) => (Verdict::Success, 0),
    }
}

/// The response to replay.
fn response(args: &ForceComplete) -> Result<Payload, CliError> {
    let bytes = match (&args.response, &args.response_file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(file)) => read_all(file)?,
        (None, None) => Vec::new(),
    };
    typed(bytes, args.content_type.as_ref(), args.as_is)
}

/// A response with its content type. It must match the type, or no caller could decode it.
pub(super) fn typed(bytes: Vec<u8>, content_type: Option<&Label>, as_is: bool) -> Result<Payload, CliError> {
    let guessed = match std::str::from_utf8(&bytes) {
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => Payload::OCTETS,
    };
    let content_type = content_type.map_or(guessed, |content_type| content_type.as_str());
    let payload = Payload::new(content_type, bytes);
    match payload.check() {
        Err(invalid) if !as_is => Err(CliError::does_not_apply(format!(
            "{invalid}; nothing was recorded. Correct the response, or record it with --as-is"
        ))),
        _ => Ok(payload),
    }
}

/// The bytes of a file; `-` is standard input.
pub(super) fn read_all(file: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let read = match file == Path::new("-") {
        true => io::stdin().lock().read_to_end(&mut bytes),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    let unreadable =
        |error| CliError::usage(format!("cannot read the response from {}: {error}", file.display()));
    read.map(|_| bytes).map_err(unreadable)
}

/// Records the decision that the work did not happen.
pub(crate) async fn reset_to_claimed(context: &Context, args: &ResetToClaimed) -> Result<Exit, CliError> {
    let address = context.address(Kind::Execution, args.key.get()?);
    let sentinel = client(context).await?;
    let op_id = announced(&args.decision);
    let held = by(context, &args.decision, op_id, sentinel.reconciler(&address.key).resume(args.token));
    let held = if args.accept_overlap { held.accept_overlap() } else { held };
    match send_until_answered(|| held.reset_to_claimed()).await? {
        DecisionOutcome::Done { token, .. } => {
            let text = "reset: the key can run again";
            DecisionView::print(context.style, &address, op_id, "free", token, text)
        }
        DecisionOutcome::Refused(refused) => Err(refusal(&address, args.token, &refused)),
    }
}

/// The client that sends decisions. It sends each request once; [`send_until_answered`] sends it again.
pub(super) async fn client(context: &Context) -> Result<Sentinel, CliError> {
    Ok(context.client(context.store().await?)?.retry_timeout(Duration::ZERO))
}

/// The id of the decision, printed before the decision is sent: if the reply is lost, `--op` repeats the decision.
pub(super) fn announced(decision: &DecisionArg) -> OpId {
    let op_id = decision.op.unwrap_or_else(OpId::random);
    note(&format!("op {op_id}"));
    op_id
}

/// The decision with its id, its operator and its reason.
pub(super) fn by<S>(
    context: &Context,
    decision: &DecisionArg,
    op_id: OpId,
    reconciler: Reconciler<S>,
) -> Reconciler<S> {
    let reconciler = reconciler.op_id(op_id).operator(&context.operator);
    match &decision.reason {
        Some(reason) => reconciler.reason(reason),
        None => reconciler,
    }
}

/// The state of a record, for a message.
pub(super) fn state_of(now: Current) -> String {
    format!("{} at token {}", now.state, now.token)
}

/// Why a decision about a key that is held does not apply.
pub(super) fn refusal(address: &Address, presented: Token, refused: &Refused) -> CliError {
    match refused {
        Refused::StaleDecision(now) => stale(address, presented, *now),
        Refused::EffectsMayLand { until } => CliError::does_not_apply(format!(
            "an effect of the old run of {address} may still land until {}; nothing was changed. Reset it \
            after that time, or use --accept-overlap: two runs may then overlap",
            rfc3339(*until)
        )),
        Refused::NotDecodable { .. } => CliError::does_not_apply(refused.to_string()),
    }
}

fn stale(address: &Address, presented: Token, now: Current) -> CliError {
    CliError::does_not_apply(format!(
        "{address} is {}: token {presented} is not the current reconcile token, or it was used for \
            another decision; nothing was changed",
        state_of(now)
    ))
}

/// Sends a request until it is answered, at most five times. Its op id makes all of them one decision.
pub(super) async fn send_until_answered<R, F>(mut send: impl FnMut() -> F) -> Result<R, Error>
where
    F: Future<Output = Result<R, Error>>,
{
    let mut pause = Duration::from_millis(50);
    for _ in 0..4 {
        match send().await {
            Err(Error::Store(error)) if error.is_worth_repeating() => {
                tokio::time::sleep(pause).await;
                pause *= 4;
            }
            answered => return answered,
        }
    }
    send().await
}
