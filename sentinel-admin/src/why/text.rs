//! A sentence of the catalogue with its slots filled.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sentinel_core::{Label, RecordedResult, StoreTime, Token, Verdict};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::catalogue::Id;
use crate::time::{clock, span};

/// What a slot of a sentence can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// A worker or an operator; None: without a name.
    Who(Option<Label>),
    /// A reason or a cause of doubt, quoted after a colon; None: nothing.
    Reason(Option<Label>),
    /// An instant, and the instant of the story, from which it takes its date.
    At(StoreTime, StoreTime),
    /// About when the last of several things happened, and the instant of the story; None: not known.
    LastAbout(Option<StoreTime>, StoreTime),
    /// Until when a result is kept, and the instant of the story; None: without an end.
    KeptUntil(Option<StoreTime>, StoreTime),
    /// A duration that a caller set.
    Span(Duration),
    /// A duration that was measured, in whole seconds.
    Age(Duration),
    /// A number of things, with their name in the singular.
    Count(u64, &'static str),
    /// A number.
    Number(u64),
    /// A token.
    Token(Token),
    /// A name: a key, a namespace, an idempotency key.
    Name(String),
    /// A text of an error or a check.
    Text(String),
    /// Whether a claim began at once.
    BeganAtOnce(bool),
    /// A recorded result, without its bytes.
    Recorded(Recorded),
}

/// What is shown of a result: never its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Success, or a final failure.
    pub verdict: Verdict,
    /// The code of a failure.
    pub code: Option<i32>,
    /// The number of bytes and their content type; None: not known any more.
    pub payload: Option<(u64, Label)>,
    /// The bytes were too large, or could not be encoded.
    pub omitted: bool,
}

impl Recorded {
    /// Of the record's result.
    pub fn of(result: &RecordedResult) -> Self {
        let RecordedResult { verdict, code, payload, omitted } = result;
        let size = u64::try_from(payload.bytes.len()).unwrap_or(u64::MAX);
        let payload = (!omitted).then(|| (size, payload.content_type.clone()));
        Self { verdict: *verdict, code: *code, payload, omitted: *omitted }
    }

    /// Of an event, whose bytes are not kept.
    pub fn earlier(verdict: Verdict, code: Option<i32>) -> Self {
        Self { verdict, code, payload: None, omitted: false }
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.verdict, self.code) {
            (Verdict::Success, _) => f.write_str("the result")?,
            (Verdict::Failure, Some(code)) => write!(f, "a final failure with code {code}")?,
            (Verdict::Failure, None) => f.write_str("a final failure")?,
        }
        match &self.payload {
            Some((1, kind)) => write!(f, " (1 byte of {kind})"),
            Some((size, kind)) => write!(f, " ({size} bytes of {kind})"),
            None if self.omitted => f.write_str(" (its bytes were not stored)"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Who(Some(name)) => write!(f, "{name}"),
            Self::Who(None) => f.write_str("An unnamed worker"),
            Self::Reason(Some(reason)) => write!(f, ": “{reason}”"),
            Self::Reason(None) | Self::LastAbout(None, _) | Self::BeganAtOnce(false) => Ok(()),
            Self::At(at, now) => f.write_str(&clock(*at, *now)),
            Self::LastAbout(Some(at), now) => write!(f, ", the last at about {}", clock(*at, *now)),
            Self::KeptUntil(Some(at), now) => write!(f, " until {}", clock(*at, *now)),
            Self::KeptUntil(None, _) => f.write_str(", without an end"),
            Self::Span(duration) => f.write_str(&span(*duration)),
            Self::Age(age) if age.as_secs() == 0 => f.write_str("less than a second"),
            Self::Age(age) => f.write_str(&span(Duration::from_secs(age.as_secs()))),
            Self::Count(1, what) => write!(f, "1 {what}"),
            Self::Count(count, what) => write!(f, "{count} {what}s"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Token(token) => write!(f, "{token}"),
            Self::Name(text) | Self::Text(text) => f.write_str(text),
            Self::BeganAtOnce(true) => f.write_str(" and began at once"),
            Self::Recorded(recorded) => write!(f, "{recorded}"),
        }
    }
}

/// A sentence: an id of the catalogue, and its slots by name. `Display` is the sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    id: Id,
    slots: Vec<(&'static str, Slot)>,
}

impl Text {
    /// A sentence without slots.
    pub fn new(id: Id) -> Self {
        Self { id, slots: Vec::new() }
    }

    /// Fills a slot. A slot that the sentence does not have is left out.
    #[must_use]
    pub fn with(mut self, name: &'static str, slot: Slot) -> Self {
        if self.id.template().contains(&format!("{{{name}}}")) {
            self.slots.push((name, slot));
        }
        self
    }

    /// The id.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The slots that the sentence has, by name.
    pub fn slots(&self) -> &[(&'static str, Slot)] {
        &self.slots
    }

    fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|(found, _)| *found == name).map(|(_, slot)| slot)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.id.template();
        while let Some((before, after)) = rest.split_once('{') {
            f.write_str(before)?;
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            match self.slot(name) {
                Some(Slot::Who(None)) if !before.is_empty() => f.write_str("an unnamed worker")?,
                Some(slot) => write!(f, "{slot}")?,
                None => write!(f, "{{{name}}}")?,
            }
            rest = after;
        }
        f.write_str(rest)
    }
}

/// `id`, `text`, and `slots` as an object of texts.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let slots: BTreeMap<&str, String> =
            self.slots.iter().map(|(name, slot)| (*name, slot.to_string())).collect();
        let mut text = serializer.serialize_struct("Text", 3)?;
        text.serialize_field("id", self.id.name())?;
        text.serialize_field("text", &self.to_string())?;
        text.serialize_field("slots", &slots)?;
        text.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_filled_once_even_if_its_text_looks_like_a_slot() {
        let text = Text::new(Id::Began).with("who", Slot::Who(Some(Label::lossy("{token}"))));
        assert_eq!(text.to_string(), "{token} began. From then on the effect may have happened.");
    }

    #[test]
    fn a_worker_without_a_name_is_a_word_of_the_sentence() {
        let text = |id| Text::new(id).with("who", Slot::Who(None));
        assert!(text(Id::Began).to_string().starts_with("An unnamed worker began"));
        assert!(text(Id::Withdrawn).to_string().starts_with("The call of an unnamed worker was"));
    }

    #[test]
    fn a_result_is_shown_without_its_bytes() {
        let result = RecordedResult::success(sentinel_core::Payload::new("text/plain", "secret"));
        assert_eq!(Recorded::of(&result).to_string(), "the result (6 bytes of text/plain)");
        let failed = Recorded::earlier(Verdict::Failure, Some(3));
        assert_eq!(failed.to_string(), "a final failure with code 3");
    }
}
