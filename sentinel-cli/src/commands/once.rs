//! `once`: runs a command at most once per key, and replays its output.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sentinel::admin::command_line::Arg;
use sentinel::once::Ending;
use sentinel::record::{Address, Cause, Kind, Label, Payload, RecordedResult, Token, Verdict};
use sentinel::{Failure as Vouched, Outcome, Run, Sentinel};
use tokio::time::Instant;

use super::context::{Context, environment, inherited_cause};
use super::wait::{
    CallResult, Interruption, Progress, Ready, Stage, await_call, errors, ready, report_until,
};
use crate::args::Once;
use crate::exit::{CliError, Exit};
use crate::output::{answer, note};
use crate::parse::Codes;
use crate::runner::{
    self, Authority, CommandSpec, Ended, Flush, NotStarted, Output, Ran, Recording, Rest, Signals, Why,
};

/// A command that did not succeed: the exit code of the program, and why.
#[derive(Debug)]
struct CommandError {
    exit: Exit,
    text: String,
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

type OnceOutcome = Outcome<RecordedResult, CommandError>;

/// Runs the command, or reports why it did not run here.
pub(crate) async fn run(context: &Context, args: Once) -> Result<Exit, CliError> {
    args.check()?;
    let terms = args.terms()?;
    let address = context.address(Kind::Execution, args.key.get()?);
    let Ready { sentinel, signals, deadline } = match ready(context, args.terms.wait).await? {
        Ok(ready) => ready,
        Err(number) => return Ok(Exit::signal(number)),
    };
    let command = GrantedCommand {
        command: args.command,
        address: address.clone(),
        hard_ttl: terms.hard_ttl(),
        signals: signals.clone(),
        meanings: Meanings {
            nothing_happened: args.nothing_happened_on.unwrap_or_default(),
            failed: args.failed_on.unwrap_or_default(),
        },
        flush: Arc::default(),
        progress: Arc::default(),
    };
    let (flush, progress) = (command.flush.clone(), command.progress.clone());
    let mut once = sentinel
        .once::<CommandError>(&address.key)
        .ttl(terms.ttl())
        .hard_ttl(terms.hard_ttl())
        .late_effects(terms.late_effects())
        // Sends the result until it is recorded, or until no attempt can succeed any more.
        .confirm_within(Duration::MAX);
    if let Some(fingerprint) = &args.fingerprint {
        once = once.fingerprint_text(fingerprint);
    }
    if let Some(about) = &args.about {
        once = once.about(about);
    }
    if let Some(cause) = args.cause.map(Cause::new).or_else(inherited_cause) {
        once = once.cause(cause);
    }
    if let Some(retention) = args.retention {
        once = once.retention(retention);
    }
    if let Some(at) = deadline {
        once = once.wait(at.saturating_duration_since(Instant::now()));
    }
    let call = once.run_recorded(move |run| command.run_under(run));
    let exit = match await_call(&sentinel, &progress, &signals, call).await {
        CallResult::Answered(outcome) => {
            let outcome = outcome?;
            report_the_rest(&sentinel, &outcome, terms.hard_ttl(), &signals).await;
            report(context, &address, outcome, &errors(&sentinel))?
        }
        CallResult::Interrupted(Interruption::NotStarted(number)) => Exit::signal(number),
        CallResult::Interrupted(Interruption::Unconfirmed(how)) => {
            note(&unconfirmed(&address, &how, &errors(&sentinel)));
            advise(context, &address, None);
            Exit::DOUBT
        }
    };
    wait_for_output(exit, &flush, &signals).await
}

/// After the hard deadline a result is still sent for as long again as the hard ttl, within these limits.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// How long the program tries to withdraw a claim that will not run while the store cannot be reached.
const WITHDRAW: Duration = Duration::from_secs(60);

/// If the key is to be free again, frees it before the program ends, as far as possible.
async fn report_the_rest(sentinel: &Sentinel, outcome: &OnceOutcome, hard_ttl: Duration, signals: &Signals) {
    match outcome {
        Outcome::Failed(Vouched::NothingHappened(_)) => report_until(sentinel, hard_ttl, signals).await,
        Outcome::NotRun(_) => report_until(sentinel, WITHDRAW, signals).await,
        _ => {}
    }
}

fn unconfirmed(address: &Address, how: &str, reason: &str) -> String {
    format!(
        "the command ran ({how}), and the store did not confirm that this is recorded{reason}; inspect \
            {address}, and settle it if it is uncertain"
    )
}

/// Prints the commands that show and settle a key whose outcome is not known.
fn advise(context: &Context, address: &Address, uncertain: Option<Token>) {
    note(&format!("what is known, and what can be done: {}", context.command("why", &address.key, &[])));
    if let Some(token) = uncertain {
        let expect = [Arg::word("--expect"), Arg::word(token.to_string())];
        let settle =
            |decision: &[Arg]| context.command("settle", &address.key, &[&expect[..], decision].concat());
        note(&format!("if it happened: {}", settle(&[Arg::word("--happened"), Arg::Blank("output")])));
        note(&format!("if it did not happen: {}", settle(&[Arg::word("--did-not-happen")])));
    }
}

/// The meanings of the command's exit codes.
#[derive(Debug)]
struct Meanings {
    nothing_happened: Codes,
    failed: Codes,
}

impl Meanings {
    /// Background processes may stay if the end is recorded as success or as a final failure. Otherwise they are ended,
    /// because a reset or the next run may follow at once.
    fn rest(&self, ended: Ended) -> Rest {
        match ended {
            Ended::Code(code) if code == 0 || is_in(&self.failed, code) => Rest::MayStay,
            Ended::Code(_) | Ended::Signal(_) | Ended::Unknown => Rest::IsEnded,
        }
    }

    fn ending(&self, name: &str, ran: Ran) -> Ending<RecordedResult, CommandError> {
        let why = match ran.why {
            Some(Why::Lost) => "; its authority had been lost",
            Some(Why::Deadline) => "; its hard deadline had passed",
            Some(Why::Notice) => "; it was asked to end because its hard deadline was near",
            Some(Why::LeftBehind) | None => "",
        };
        let left = if ran.left { "; some of its processes may still be running" } else { "" };
        let error = |exit, text: String| CommandError { exit, text: format!("{name} {text}{why}{left}") };
        match ran.ended {
            Ended::Code(0) => {
                let recorded = recorded(Verdict::Success, 0, ran.recording);
                Ending::Success(recorded.clone(), recorded)
            }
            Ended::Code(code) => {
                let text = format!("ended with exit code {code}");
                let error = error(Exit(u8::try_from(code).unwrap_or(1)), text);
                if is_in(&self.failed, code) {
                    Ending::FailedForGood(error, recorded(Verdict::Failure, code, ran.recording))
                } else if is_in(&self.nothing_happened, code) && !ran.left {
                    Ending::NothingHappened(error)
                } else {
                    unknown(error)
                }
            }
            Ended::Signal(number) => {
                unknown(error(Exit::signal(number), format!("was killed by signal {number}")))
            }
            Ended::Unknown => unknown(error(Exit::DOUBT, "ended, and the system did not report how".into())),
        }
    }
}

fn is_in(codes: &Codes, code: i32) -> bool {
    u8::try_from(code).is_ok_and(|code| codes.contains(code))
}

fn unknown(error: CommandError) -> Ending<RecordedResult, CommandError> {
    Ending::Unknown(Label::lossy(&error.text), Some(error))
}

fn recorded(verdict: Verdict, code: i32, recording: Option<Recording>) -> RecordedResult {
    let (bytes, omitted) = match recording {
        Some(Recording::Whole(bytes)) => (bytes, false),
        Some(Recording::TooLarge) | None => (Vec::new(), true),
    };
    let text = std::str::from_utf8(&bytes).is_ok();
    let content_type = if text { "text/plain; charset=utf-8" } else { Payload::OCTETS };
    RecordedResult { verdict, code: Some(code), payload: Payload::new(content_type, bytes), omitted }
}

/// Runs the command under a grant.
struct GrantedCommand {
    command: Vec<std::ffi::OsString>,
    address: Address,
    hard_ttl: Duration,
    signals: Signals,
    meanings: Meanings,
    flush: Arc<Mutex<Option<Flush>>>,
    progress: Arc<Progress>,
}

impl GrantedCommand {
    async fn run_under(self, run: Run) -> Ending<RecordedResult, CommandError> {
        let name = self.command[0].to_string_lossy().into_owned();
        let spec = CommandSpec {
            command: self.command,
            environment: environment(&self.address, run.token(), run.idempotency_key(), run.child_cause()),
            output: Output::Copied,
        };
        let authority = Authority::new(run.cancelled(), run.hard_remaining(), self.hard_ttl);
        let rest = |ended| self.meanings.rest(ended);
        self.progress.reach(Stage::Running);
        let ran = runner::run(spec, authority, &self.signals, rest).await;
        match ran {
            Ok(mut ran) => {
                let until = Instant::now() + run.hard_remaining() + self.hard_ttl.clamp(SHORTEST, LONGEST);
                self.progress.reach(Stage::Ended(ran.ended.to_string(), until));
                *self.flush.lock().unwrap_or_else(PoisonError::into_inner) = ran.flush.take();
                self.meanings.ending(&name, ran)
            }
            Err(why) => Ending::NothingHappened(not_started(&name, why)),
        }
    }
}

fn not_started(name: &str, why: NotStarted) -> CommandError {
    match why {
        NotStarted::CannotExecute(exit, why) => {
            CommandError { exit, text: format!("cannot run {name}: {why}") }
        }
        NotStarted::Signalled(number) => CommandError {
            exit: Exit::signal(number),
            text: format!("signal {number} arrived before {name} had started"),
        },
        NotStarted::TooLate => CommandError {
            exit: Exit::UNAVAILABLE,
            text: format!("the claim ended before {name} could start; use a longer --ttl"),
        },
    }
}

/// Prints a replay, or reports the outcome on standard error.
fn report(
    context: &Context,
    address: &Address,
    outcome: OnceOutcome,
    reason: &str,
) -> Result<Exit, CliError> {
    let uncertain = match &outcome {
        Outcome::Uncertain(uncertain) => Some(uncertain.token),
        Outcome::RanUncertain(uncertain) => Some(uncertain.token),
        _ => None,
    };
    let doubt = |text: String| Ok((Exit::DOUBT, text));
    let printed: Result<(Exit, String), CliError> = match outcome {
        Outcome::Completed(recorded) => {
            if recorded.omitted {
                note(
                    "the command completed; its output is larger than 1 MiB and was not stored, so a \
                        later call prints nothing",
                );
            }
            return Ok(Exit::OK);
        }
        // The program records bytes, so only a store that refuses them leaves them out.
        Outcome::CompletedNotStored(_, why) => {
            note(&format!(
                "the command completed, but its output was not stored, so a later call prints \
                nothing: {why}"
            ));
            return Ok(Exit::OK);
        }
        Outcome::Replayed(recorded) => return replay(&recorded),
        Outcome::Failed(Vouched::Replayed(failure)) => return replay(&failure.recorded),
        Outcome::Failed(Vouched::ForGood(error)) => {
            Ok((error.exit, format!("{error}: recorded as a final failure")))
        }
        Outcome::Failed(Vouched::NothingHappened(error) | Vouched::Preparation(error)) => {
            Ok((error.exit, format!("{error}: nothing happened, and the key is free; you can run it again")))
        }
        Outcome::InProgress(other) => Ok((
            Exit::HELD,
            format!(
                "{address} is in progress ({}); the command did not run. Try again later, or wait with --wait",
                other.state
            ),
        )),
        Outcome::Reconciling(by) => doubt(format!(
            "{} is reconciling {address}; the command did not run. Try again after the \
                decision",
            by.operator
        )),
        Outcome::Uncertain(uncertain) => doubt(format!(
            "{address} is uncertain: {} began it, and whether it happened is not known (token {}). The \
                command did not run now",
            uncertain.worker.as_ref().map_or("an unnamed worker", |worker| worker.as_str()),
            uncertain.token,
        )),
        Outcome::NotRun(reason) => Ok((Exit::UNAVAILABLE, reason.to_string())),
        Outcome::RanUncertain(uncertain) => {
            doubt(format!("{}: whether it happened is not known, so {address} is uncertain", uncertain.cause))
        }
        Outcome::Unconfirmed(result) => doubt(unconfirmed(address, &end_of(&result), reason)),
        Outcome::Superseded(result, now) => doubt(format!(
            "the command ran ({}), but an operator had decided about {address} in the meantime: it is \
                {} at token {}. Compare the decision with what the command did",
            end_of(&result),
            now.state,
            now.token
        )),
    };
    let (exit, text) = printed?;
    note(&text);
    if exit == Exit::DOUBT {
        advise(context, address, uncertain);
    }
    Ok(exit)
}

fn end_of(result: &Result<RecordedResult, CommandError>) -> String {
    result.as_ref().map_or_else(ToString::to_string, |_| "exit code 0".to_owned())
}

/// Prints what was recorded, byte for byte.
fn replay(recorded: &RecordedResult) -> Result<Exit, CliError> {
    if recorded.omitted {
        note("the key was completed earlier; its output was too large to be stored, so nothing is printed");
    } else {
        answer(&recorded.payload.bytes)?;
    }
    Ok(match recorded.verdict {
        Verdict::Success => Exit::OK,
        Verdict::Failure => Exit::recorded_failure(recorded.code),
    })
}

/// Waits until the command's output is written, unless a signal asks the program to end: the result is recorded
/// already.
async fn wait_for_output(
    exit: Exit,
    flush: &Mutex<Option<Flush>>,
    signals: &Signals,
) -> Result<Exit, CliError> {
    let flush = flush.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(flush) = flush else { return Ok(exit) };
    tokio::select! {
        written = flush.written() => match written {
            Err(error) if exit == Exit::OK => Err(error.into()),
            Err(error) => {
                note(&format!("cannot write to standard output: {error}"));
                Ok(exit)
            }
            Ok(()) => Ok(exit),
        },
        _ = signals.next() => Ok(exit),
    }
}
