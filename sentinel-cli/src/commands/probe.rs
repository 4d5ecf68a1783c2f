//! `probe`: decides about uncertain keys with a command that looks up what happened.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use sentinel::reconcile::{AutoReconciler, ProbeResult, UncertainKey};
use sentinel::record::{Kind, Label, RecordedResult, Verdict};
use sentinel::store::CoordinationStore;
use tokio_util::sync::CancellationToken;

use super::context::{Context, environment};
use super::decide::typed;
use crate::args::Probe;
use crate::exit::{CliError, Exit};
use crate::output::{Style, line, note, object};
use crate::runner::{self, Authority, CommandSpec, Ended, Output, Recording, Rest, Signals, stop_requests};

/// The exit code by which the command reports that the work did not happen.
const DID_NOT_HAPPEN: i32 = 3;

/// How long the program waits for open requests before it ends.
const AT_END: Duration = Duration::from_secs(2);

/// One pass over the uncertain keys, or one after the other until a signal arrives.
pub(crate) async fn run(context: &Context, args: Probe) -> Result<Exit, CliError> {
    let unavailable = |error: std::io::Error| CliError::new(Exit::UNAVAILABLE, error.to_string());
    let mut stop = stop_requests().map_err(unavailable)?;
    let signals = Signals::listen().map_err(unavailable)?;
    let store = context.store().await?;
    let sentinel = context.client(store.clone())?;
    let command = Arc::new(ProbeCommand {
        context: context.clone(),
        store,
        signals,
        command: args.command,
        timeout: args.timeout,
        content_type: args.content_type,
    });
    let probe = move |key| {
        let command = command.clone();
        async move { command.run(key).await }
    };
    let mut reconciler = sentinel.reconcile_with(&context.operator, probe).grace(args.grace);
    if let Some(every) = args.every {
        reconciler = reconciler.every(every);
    }
    let end = tokio::select! {
        passed = passes(context, &mut reconciler, args.every) => passed,
        // The keys that were taken stay taken, and the next pass of this operator continues with them.
        number = stop.recv() => Ok(Exit::signal(number)),
    };
    drop(reconciler);
    for left in sentinel.drain(AT_END).await.unfinished {
        note(&left.to_string());
    }
    end
}

async fn passes(
    context: &Context,
    reconciler: &mut AutoReconciler,
    every: Option<Duration>,
) -> Result<Exit, CliError> {
    let Some(every) = every else {
        let decided = reconciler.pass().await?;
        print(context, decided)?;
        return Ok(Exit::OK);
    };
    loop {
        match reconciler.pass().await {
            Ok(0) => {}
            Ok(decided) => print(context, decided)?,
            Err(error) => note(&format!("this pass ended early: {error}")),
        }
        tokio::time::sleep(every).await;
    }
}

fn print(context: &Context, decided: u64) -> Result<(), CliError> {
    match context.style {
        Style::Json => object(&serde_json::json!({ "decided": decided })),
        Style::Text => line(&format!("{decided} {} decided", if decided == 1 { "key" } else { "keys" })),
    }
}

/// The command that looks up what happened.
struct ProbeCommand {
    context: Context,
    store: Arc<dyn sentinel::store::Store>,
    signals: Signals,
    command: Vec<OsString>,
    timeout: Duration,
    content_type: Option<Label>,
}

impl ProbeCommand {
    async fn run(&self, key: UncertainKey) -> ProbeResult {
        let address = self.context.address(Kind::Execution, key.key.clone());
        let name = self.command[0].to_string_lossy().into_owned();
        let spec = CommandSpec {
            command: self.command.clone(),
            environment: environment(&address, key.token, key.idempotency_key.clone(), Ok(None)),
            output: Output::Recorded,
        };
        let authority = Authority::new(CancellationToken::new(), self.timeout, self.timeout);
        let unknown = |why: String| {
            note(&format!("{address}: {why}: still unknown"));
            ProbeResult::StillUnknown
        };
        // The output is recorded only where processes may stay.
        let rest = |ended| if ended == Ended::Code(0) { Rest::MayStay } else { Rest::IsEnded };
        let ran = match runner::run(spec, authority, &self.signals, rest).await {
            Ok(ran) => ran,
            Err(why) => return unknown(format!("{name} did not run: {why}")),
        };
        let evidence = format!("{name} ended with {}", ran.ended);
        match (ran.ended, ran.recording, ran.why) {
            (_, _, Some(_)) => unknown(format!("{evidence}, after it was asked to end")),
            (Ended::Code(0), Some(Recording::Whole(bytes)), None) => match self.result(&address, bytes).await
            {
                Ok(result) => {
                    note(&format!("{address}: {evidence}: it happened"));
                    ProbeResult::Happened { result, evidence: Label::lossy(evidence) }
                }
                Err(why) => unknown(why),
            },
            (Ended::Code(0), _, None) => unknown(format!("{name} printed more than 1 MiB")),
            (Ended::Code(DID_NOT_HAPPEN), _, None) => {
                note(&format!("{address}: {evidence}: it did not happen"));
                ProbeResult::did_not_happen(evidence)
            }
            _ => unknown(evidence),
        }
    }

    /// The result to record, if callers of the key can decode it: it is final.
    async fn result(
        &self,
        address: &sentinel::record::Address,
        bytes: Vec<u8>,
    ) -> Result<RecordedResult, String> {
        let payload = typed(bytes, self.content_type.as_ref(), false).map_err(|error| error.message)?;
        let store: &dyn CoordinationStore = &*self.store;
        let seen = store.inspect(address).await.map_err(|error| error.to_string())?;
        let accepts = seen.record.map(|record| record.accepts);
        match accepts {
            Some(accepts) if !accepts.accepts(payload.content_type.as_str()) => Err(format!(
                "its callers can only decode {accepts}, and the output of the command is {}; use --content-type",
                payload.content_type
            )),
            _ => Ok(RecordedResult { verdict: Verdict::Success, code: Some(0), payload, omitted: false }),
        }
    }
}
