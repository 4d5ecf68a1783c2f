//! What is known of the store, where it changes what a story means.

use sentinel_core::store::Health;
use sentinel_core::{Record, State, StoreError};

use super::catalogue::Id;
use super::facts::Facts;
use super::text::{Slot, Text};

/// The store reported that what it answers may be wrong.
pub(super) fn distrusted(error: &StoreError) -> Text {
    Text::new(Id::StoreDistrusted).with("error", Slot::Text(error.to_string()))
}

/// A deployment that is refused, or that may have lost what would explain the state of this key.
pub(super) fn findings(facts: &Facts) -> Option<Text> {
    let health = facts.health.as_ref()?;
    if !health.accepted {
        let failed = health.checks.iter().find(|check| !check.ok);
        let finding = failed.map_or_else(|| health.deployment.clone(), |check| check.found.clone());
        return Some(Text::new(Id::DeploymentRefused).with("finding", Slot::Text(finding)));
    }
    // A lost begin leaves no record, or a claim; a lost result leaves an uncertain key.
    let absent = Record::absent();
    let record = facts.record.as_ref().unwrap_or(&absent);
    let may_lack = matches!(record.state, State::Free | State::Claimed | State::Executing);
    let finding = loss(health).filter(|_| may_lack)?;
    let text = Text::new(Id::DeploymentMayLose)
        .with("deployment", Slot::Text(health.deployment.clone()))
        .with("finding", Slot::Text(finding.to_owned()));
    Some(text)
}

/// The guarantee that names what may be lost; None: nothing that was acknowledged is.
fn loss(health: &Health) -> Option<&str> {
    let names_loss = |sentence: &&String| {
        ["may lose", "may be gone", "may be lost"].iter().any(|words| sentence.contains(words))
    };
    health.guarantees.iter().find(names_loss).map(String::as_str)
}
