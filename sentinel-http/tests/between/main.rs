//! Services that call each other: the client middleware, fences, and webhooks.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its servers has failed")]

mod causes;
mod certainty;
mod fences;
mod harness;
mod redirects;
mod resend;
mod sent;
mod stores;
mod webhooks;
