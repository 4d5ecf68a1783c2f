//! One request that a run sends to others.

use crate::attempts::Effect;
use crate::run::Run;

impl Run {
    /// Registers a request that is about to be sent under this label. For middleware of HTTP clients.
    #[doc(hidden)]
    pub fn attempt(&self, label: impl AsRef<str>) -> Attempt {
        let label = label.as_ref().to_owned();
        self.inner.attempts.begin(&label);
        Attempt { run: self.clone(), label, has_ended: false }
    }
}

/// A request that was registered. If it is dropped before [`end`](Self::end), its effect is unknown.
#[derive(Debug)]
pub struct Attempt {
    run: Run,
    label: String,
    has_ended: bool,
}

impl Attempt {
    /// The effect of all requests of the run and label, now that this one has ended with `own`.
    ///
    /// After a request with an unknown effect, the effect stays unknown until one has happened: an earlier copy may
    /// have taken effect although this one was refused or not sent. `is_final`: a request without an effect proves that
    /// its copies have none, because the other side treats requests with one key as one.
    pub fn end(mut self, own: Effect, is_final: bool) -> Effect {
        self.has_ended = true;
        self.run.inner.attempts.end(&self.label, own, is_final)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.has_ended {
            self.run.inner.attempts.end(&self.label, Effect::Unknown, false);
        }
    }
}
