//! What can be done about a key now, or from a time on: one row for each state and time. Tests run each step through
//! the kernel, and check that each decision which the kernel accepts is here.

use sentinel_core::{Kind, Payload, Record, State, StoreTime, Token};

use super::catalogue::Id;
use super::facts::Facts;
use super::story::{Act, Call, Risk, Step};
use super::text::{Recorded, Slot, Text};
use crate::command_line::{Arg, key_arg};

/// The steps for a key whose record can be trusted.
pub(super) fn steps(facts: &Facts) -> Vec<Step> {
    let absent = Record::absent();
    let record = facts.record.as_ref().unwrap_or(&absent);
    let table = Table { facts, record };
    match record.state {
        State::Free => vec![table.run()],
        State::Claimed => table.claimed(),
        State::Executing if record.is_live(facts.now) => table.executing(),
        State::Executing => table.uncertain(),
        State::Reconciling => table.reconciling(),
        State::Completed if record.is_past_retention(facts.now) => vec![table.run()],
        State::Completed => table.completed(),
    }
}

/// The steps for a key about which nothing can be decided here.
pub(super) fn no_decision(lost_data: bool) -> Vec<Step> {
    let doctor = [Arg::word("sentinel"), Arg::word("doctor")].into();
    let step = |act, id, risk, command| Step {
        act,
        why: Text::new(id),
        risk,
        possible_from: None,
        command,
        call: Call::None,
    };
    if !lost_data {
        return vec![step(Act::Doctor, Id::StepReport, Risk::DecideNothing, doctor)];
    }
    vec![
        step(Act::Doctor, Id::StepDoctor, Risk::None, doctor),
        step(Act::Compare, Id::StepCompare, Risk::DecideNothing, Vec::new()),
        step(Act::Init, Id::StepInit, Risk::AcceptsLoss, [Arg::word("sentinel"), Arg::word("init")].into()),
    ]
}

struct Table<'a> {
    facts: &'a Facts,
    record: &'a Record,
}

impl Table<'_> {
    fn claimed(&self) -> Vec<Step> {
        let (record, until) = (self.record, self.record.lease_until);
        let live = record.is_live(self.facts.now);
        let wait = Text::new(Id::StepWaitClaim).with("until", self.at(until));
        let evict = Text::new(Id::StepEvict).with("who", Slot::Who(record.worker.clone()));
        let take_over = Step { possible_from: live.then_some(until), ..self.claim(Id::StepTakeOver) };
        let mut steps = Vec::new();
        if live {
            steps.push(outside(Act::Wait, wait));
        }
        steps.push(take_over);
        steps.push(Step {
            act: Act::Evict,
            why: evict,
            risk: Risk::EndsClaim,
            possible_from: None,
            command: self.command("evict", &[("--expect", &self.token())], Some("reason")),
            call: Call::Evict { expect: record.token },
        });
        steps
    }

    fn executing(&self) -> Vec<Step> {
        let wait = Text::new(Id::StepWaitRun).with("until", self.at(self.record.lease_until));
        vec![
            outside(Act::Wait, wait),
            Step {
                why: Text::new(Id::StepReconcileLapsed),
                possible_from: Some(self.record.lease_until),
                ..self.reconcile()
            },
            Step {
                act: Act::ReconcileAlive,
                why: Text::new(Id::StepReconcileAlive),
                risk: Risk::WorkerAlive,
                possible_from: None,
                command: self.take(&["--even-if-alive"]),
                call: Call::Reconcile { expect: self.record.token, even_if_alive: true, steal: false },
            },
        ]
    }

    fn uncertain(&self) -> Vec<Step> {
        let record = self.record;
        let (wait_id, may_land) = match record.is_abandoned() {
            true => (Id::StepWaitEffects, record.effects_may_land(self.facts.now)),
            false => (Id::StepWaitResult, record.effects_may_land(self.facts.now)),
        };
        let expect = self.token();
        let reset_from = may_land.then_some(record.effects_until);
        let mut steps = vec![self.ask_provider()];
        if may_land {
            let wait = Text::new(wait_id)
                .with("who", Slot::Who(record.worker.clone()))
                .with("until", self.at(record.effects_until));
            steps.push(outside(Act::Wait, wait));
        }
        let mut happened = vec![("--expect", expect.as_str())];
        let content_type = self.content_type();
        happened.extend(content_type.iter().map(|kind| ("--content-type", kind.as_str())));
        steps.push(Step {
            act: Act::SettleHappened,
            why: Text::new(Id::StepHappened),
            risk: Risk::Final,
            possible_from: None,
            command: self.settle(&happened, Arg::word("--happened"), Some("result")),
            call: Call::SettleHappened { expect: record.token, content_type: self.decodable() },
        });
        steps.push(Step {
            act: Act::SettleDidNotHappen,
            why: Text::new(Id::StepDidNotHappen),
            risk: Risk::RunsAgain,
            possible_from: reset_from,
            command: self.settle(&[("--expect", &expect)], Arg::word("--did-not-happen"), None),
            call: Call::SettleDidNotHappen { expect: record.token },
        });
        steps.push(self.reconcile());
        steps.extend(self.wait_for_reconciler());
        steps
    }

    fn reconciling(&self) -> Vec<Step> {
        let (record, token) = (self.record, self.token());
        let may_land = record.effects_may_land(self.facts.now);
        let mut force = vec![("--token", token.as_str())];
        let content_type = self.content_type();
        force.extend(content_type.iter().map(|kind| ("--content-type", kind.as_str())));
        let mut force = self.command("force-complete", &force, None);
        force.extend([Arg::word("--response"), Arg::Blank("result")]);
        let mut steps = vec![
            Step {
                act: Act::ForceComplete,
                why: Text::new(Id::StepForce),
                risk: Risk::Final,
                possible_from: None,
                command: force,
                call: Call::ForceComplete { token: record.token, content_type: self.decodable() },
            },
            Step {
                act: Act::Reset,
                why: Text::new(Id::StepReset),
                risk: Risk::RunsAgain,
                possible_from: may_land.then_some(record.effects_until),
                command: self.command("reset-to-claimed", &[("--token", &token)], None),
                call: Call::Reset { token: record.token, accept_overlap: false },
            },
        ];
        if may_land {
            let mut command = self.command("reset-to-claimed", &[("--token", &token)], None);
            command.push(Arg::word("--accept-overlap"));
            steps.push(Step {
                act: Act::ResetWithOverlap,
                why: Text::new(Id::StepResetOverlap),
                risk: Risk::MayOverlap,
                possible_from: None,
                command,
                call: Call::Reset { token: record.token, accept_overlap: true },
            });
        }
        let operator = record.decision.as_ref().map(|decision| decision.operator.clone());
        let since = record.decision.as_ref().map_or(record.last_now, |decision| decision.at);
        let ask = Text::new(Id::StepAskOperator).with("since", self.at(since));
        steps.push(outside(Act::AskOperator, ask.with("operator", Slot::Who(operator.clone()))));
        steps.push(Step {
            act: Act::Steal,
            why: Text::new(Id::StepSteal).with("operator", Slot::Who(operator)),
            risk: Risk::TakesOver,
            possible_from: None,
            command: self.take(&["--steal"]),
            call: Call::Reconcile { expect: record.token, even_if_alive: false, steal: true },
        });
        steps
    }

    fn completed(&self) -> Vec<Step> {
        let (record, now) = (self.record, self.facts.now);
        let ends = record.retention_left(now).map(|left| now.plus(left));
        let replayed = Text::new(Id::StepReplayed).with("kept", Slot::KeptUntil(ends, now));
        let recorded = record.result.as_ref().map(Recorded::of);
        let recorded = recorded.unwrap_or_else(|| Recorded::earlier(sentinel_core::Verdict::Success, None));
        let mut steps = vec![outside(Act::Nothing, replayed.with("result", Slot::Recorded(recorded)))];
        if ends.is_some() {
            steps.push(Step { possible_from: ends, ..self.claim(Id::StepRunAgain) });
        }
        steps
    }

    /// Any caller can run it now.
    fn run(&self) -> Step {
        let is_reset = self.record.state == State::Free && self.record.after_reset;
        if !is_reset {
            return self.claim(Id::StepRun);
        }
        let step = self.claim(Id::StepRunAfterReset);
        let key = self.record.idempotency_key(&self.facts.address);
        Step { why: step.why.with("idempotency_key", Slot::Name(key)), ..step }
    }

    fn claim(&self, id: Id) -> Step {
        let name = if self.is_lease() { "lease" } else { "once" };
        let key = key_arg(self.facts.address.key.as_str());
        let command =
            vec![Arg::word("sentinel"), Arg::word(name), key, Arg::word("--"), Arg::Blank("command")];
        let (act, risk) = (Act::Run, Risk::Runs);
        Step { act, why: Text::new(id), risk, possible_from: None, command, call: Call::Claim }
    }

    fn reconcile(&self) -> Step {
        Step {
            act: Act::Reconcile,
            why: Text::new(Id::StepReconcile),
            risk: Risk::Fences,
            possible_from: None,
            command: self.take(&[]),
            call: Call::Reconcile { expect: self.record.token, even_if_alive: false, steal: false },
        }
    }

    fn ask_provider(&self) -> Step {
        let key = self.record.idempotency_key(&self.facts.address);
        let text = Text::new(Id::StepAskProvider).with("idempotency_key", Slot::Name(key));
        outside(Act::AskProvider, text)
    }

    fn wait_for_reconciler(&self) -> Option<Step> {
        let reconciler = self.facts.reconciler.as_ref()?;
        let text = Text::new(Id::StepWaitReconciler).with("who", Slot::Who(reconciler.holder.clone()));
        Some(outside(Act::WaitForReconciler, text))
    }

    fn is_lease(&self) -> bool {
        self.facts.address.kind == Kind::Lease
    }

    fn at(&self, at: StoreTime) -> Slot {
        Slot::At(at, self.facts.now)
    }

    fn token(&self) -> String {
        Token::to_string(&self.record.token)
    }

    /// A content type that callers can decode; None: the default of the program is one.
    fn content_type(&self) -> Option<String> {
        let kind = self.decodable();
        (kind != TEXT).then_some(kind)
    }

    /// The first content type that callers can decode.
    fn decodable(&self) -> String {
        let accepts = &self.record.accepts;
        if accepts.accepts(TEXT) {
            return TEXT.to_owned();
        }
        let first = accepts.as_str().split(',').next().unwrap_or(Payload::OCTETS);
        first.to_owned()
    }

    fn command(&self, name: &str, options: &[(&str, &str)], blank: Option<&'static str>) -> Vec<Arg> {
        let mut command =
            vec![Arg::word("sentinel"), Arg::word(name), key_arg(self.facts.address.key.as_str())];
        if self.is_lease() {
            command.extend(["--kind", "lease"].map(Arg::word));
        }
        for (option, value) in options {
            command.extend([*option, *value].map(Arg::word));
        }
        command.extend(blank.into_iter().flat_map(|name| [Arg::word(format!("--{name}")), Arg::Blank(name)]));
        command
    }

    /// `reconcile` with the token that the record has.
    fn take(&self, flags: &[&str]) -> Vec<Arg> {
        let mut command = self.command("reconcile", &[("--expect", &self.token())], None);
        command.extend(flags.iter().map(|flag| Arg::word(*flag)));
        command.extend([Arg::word("--reason"), Arg::Blank("reason")]);
        command
    }

    fn settle(&self, options: &[(&str, &str)], decision: Arg, blank: Option<&'static str>) -> Vec<Arg> {
        let mut command = self.command("settle", options, None);
        command.push(decision);
        command.extend(blank.map(Arg::Blank));
        command.extend([Arg::word("--reason"), Arg::Blank("reason")]);
        command
    }
}

/// The content type that the program gives to a text.
const TEXT: &str = "text/plain; charset=utf-8";

/// A step that sends no request.
fn outside(act: Act, why: Text) -> Step {
    Step { act, why, risk: Risk::None, possible_from: None, command: Vec::new(), call: Call::None }
}
