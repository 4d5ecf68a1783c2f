//! A story as JSON. The field names are part of the program's contract.

use serde::Serialize;

use crate::command_line::line;
use crate::time::rfc3339;
use crate::why::{Actor, Call, Facts, Gap, Rev, Story, Text};

/// The story of a key. Times are RFC 3339 UTC with microseconds.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the story's")]
pub struct StoryView {
    pub namespace: String,
    pub kind: &'static str,
    pub key: String,
    /// The visible state; `absent` where there is no record.
    pub state: &'static str,
    pub headline: Text,
    /// Who acts next.
    pub acts_next: Actor,
    pub may_still_run: Option<String>,
    pub sentences: Vec<SentenceView>,
    pub next: Vec<StepView>,
    pub gaps: Vec<Gap>,
    pub store_now: String,
}

/// One sentence of a story.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the sentence's")]
pub struct SentenceView {
    pub at: Option<String>,
    pub who: Option<String>,
    #[serde(flatten)]
    pub text: Text,
    pub revs: Vec<Rev>,
}

/// One step of a story.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are the step's")]
pub struct StepView {
    pub act: crate::why::Act,
    pub why: Text,
    pub risk: crate::why::Risk,
    pub possible_from: Option<String>,
    /// The command line, quoted for a shell; null: none.
    pub command: Option<String>,
    pub call: Call,
}

impl StoryView {
    /// The view of a story. `global` are options that each command needs.
    pub fn new(facts: &Facts, story: Story, global: &[String]) -> Self {
        let sentences = story.sentences.into_iter().map(|sentence| SentenceView {
            at: sentence.at.map(rfc3339),
            who: sentence.who.map(|who| who.to_string()),
            text: sentence.text,
            revs: sentence.revs,
        });
        let steps = story.next.into_iter().map(|step| StepView {
            act: step.act,
            why: step.why,
            risk: step.risk,
            possible_from: step.possible_from.map(rfc3339),
            command: (!step.command.is_empty()).then(|| line(&step.command, global)),
            call: step.call,
        });
        let exists = facts.record.as_ref().is_some_and(|record| !record.is_absent());
        Self {
            namespace: facts.address.namespace.to_string(),
            kind: facts.address.kind.as_str(),
            key: facts.address.key.to_string(),
            state: if exists { story.state.as_str() } else { "absent" },
            headline: story.headline.text,
            acts_next: story.headline.next,
            may_still_run: story.may_still_run.map(rfc3339),
            sentences: sentences.collect(),
            next: steps.collect(),
            gaps: story.gaps,
            store_now: rfc3339(facts.now),
        }
    }
}
