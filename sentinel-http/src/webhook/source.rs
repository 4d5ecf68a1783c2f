//! The senders of webhooks.

use sentinel_client::sentinel_core::Invalid;

use crate::signature::WebhookSecret;

/// A sender of webhooks: its name, which is a part of each record's key, and its active secrets.
#[derive(Debug, Clone)]
pub struct WebhookSource {
    name: String,
    secrets: Vec<WebhookSecret>,
    dots_in_ids: bool,
}

impl WebhookSource {
    /// A source without secrets. The name is yours; keep it while messages may be repeated, for under another name they
    /// are other messages.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), secrets: Vec::new(), dots_in_ids: false }
    }

    /// Adds an active secret. To replace one, add the new one beside it, and remove the old one when the sender does
    /// not use it any more.
    #[must_use]
    pub fn secret(mut self, secret: WebhookSecret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// Accepts ids that contain a full stop. By default they are refused: a signature is over `id.timestamp.body`, so
    /// that a stranger could read an id with a full stop into a message whose sender meant it as a part of the body.
    #[must_use]
    pub fn dots_in_ids(self) -> Self {
        Self { dots_in_ids: true, ..self }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn secrets(&self) -> &[WebhookSecret] {
        &self.secrets
    }

    pub(super) fn accepts(&self, id: &str) -> bool {
        self.dots_in_ids || !id.contains('.')
    }
}

/// Refuses sources that their secrets could not distinguish.
pub(super) fn check(sources: &[WebhookSource]) -> Result<(), Invalid> {
    if sources.is_empty() {
        return Err(invalid("must be at least one"));
    }
    for (n, source) in sources.iter().enumerate() {
        let (name, others) = (&source.name, &sources[..n]);
        if name.is_empty() || source.secrets.is_empty() {
            return Err(invalid(format!("must have a name and a secret; {name:?} does not")));
        }
        if others.iter().any(|other| other.name == *name) {
            return Err(invalid(format!("must have different names; {name:?} is there twice")));
        }
        let has = |other: &WebhookSource| {
            other.secrets.iter().any(|secret| source.secrets.iter().any(|own| own.is(secret)))
        };
        if let Some(other) = others.iter().find(|other| has(other)) {
            let why = format!("must have different secrets; {:?} and {name:?} share one", other.name);
            return Err(invalid(why));
        }
    }
    Ok(())
}

fn invalid(why: impl Into<String>) -> Invalid {
    Invalid::new("sources of webhooks", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, secrets: &[u8]) -> WebhookSource {
        let secret = |n: &u8| WebhookSecret::from_bytes([*n; 24]).unwrap();
        secrets.iter().map(secret).fold(WebhookSource::new(name), WebhookSource::secret)
    }

    #[test]
    fn sources_differ_in_name_and_in_all_secrets() {
        let refused = |sources: &[WebhookSource]| check(sources).map_err(|error| error.to_string());
        assert_eq!(refused(&[source("a", &[1, 2]), source("b", &[3])]), Ok(()));
        let why = |why: &str| Err(format!("sources of webhooks must {why}"));
        assert_eq!(refused(&[]), why("be at least one"));
        assert_eq!(refused(&[source("", &[1])]), why("have a name and a secret; \"\" does not"));
        assert_eq!(refused(&[source("a", &[])]), why("have a name and a secret; \"a\" does not"));
        let twice = [source("a", &[1]), source("a", &[2])];
        assert_eq!(refused(&twice), why("have different names; \"a\" is there twice"));
        let shared = [source("a", &[1, 2]), source("b", &[3, 2])];
        assert_eq!(refused(&shared), why("have different secrets; \"a\" and \"b\" share one"));
    }
}
