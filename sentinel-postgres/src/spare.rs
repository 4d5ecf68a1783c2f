//! The link that a store was opened with. A connection takes a while to make, and a claim's ttl runs meanwhile.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Handle, Id};

use crate::link::{Link, Patience};

/// A link that nobody uses, if there is one. It lives on the runtime that it was made on, and must not be waited for on
/// another.
#[derive(Debug, Default)]
pub(crate) struct Spare(Mutex<Option<(Link, Id)>>);

impl Spare {
    /// Keeps a link that did what it was made for.
    pub(crate) fn keep(&self, link: Link) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((link, Handle::current().id()));
    }

    /// The link that was kept, if it is of any use here.
    pub(crate) async fn take(&self, patience: Patience) -> Option<Link> {
        let (mut link, runtime) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (runtime == Handle::current().id() && link.suit(patience).await).then_some(link)
    }
}
