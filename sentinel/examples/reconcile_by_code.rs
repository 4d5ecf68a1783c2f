//! Reconciling by code: a function asks the provider and reports whether the payment happened.
//!
//! `cargo run -p sentinel-coordination --example reconcile_by_code`

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sentinel::prelude::*;
use sentinel::reconcile::{ProbeResult, UncertainKey};

/// A fake of a payment provider that can be queried by idempotency key.
#[derive(Debug, Clone, Default)]
struct Psp(Arc<Mutex<HashMap<String, String>>>);

impl Psp {
    /// Charges, then loses the connection before it answers.
    async fn charge(&self, idempotency_key: String) -> Result<String, std::io::Error> {
        if let Ok(mut charges) = self.0.lock() {
            charges.insert(idempotency_key, "charge 17".to_owned());
        }
        Err(std::io::ErrorKind::ConnectionReset.into())
    }

    async fn find(&self, idempotency_key: &str) -> Option<String> {
        self.0.lock().ok()?.get(idempotency_key).cloned()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sentinel::Error> {
    let (sentinel, psp) = (Sentinel::new(MemoryStore::new()).namespace("billing")?, Psp::default());

    let charging = psp.clone();
    let pay = sentinel.once("invoice-42");
    let outcome = pay.run(|run| async move { charging.charge(run.idempotency_key()).await }).await?;
    println!("the worker: {}", outcome.name());

    // `start()` runs the reconciler until it is stopped; one pass is enough here.
    let mut probe = sentinel.reconcile_with("psp-probe", move |key: UncertainKey| {
        let psp = psp.clone();
        async move {
            match psp.find(&key.idempotency_key).await {
                Some(charge) => ProbeResult::happened(&charge, format!("the provider knows {charge}"))
                    .unwrap_or(ProbeResult::StillUnknown),
                None => ProbeResult::did_not_happen("the provider does not know the idempotency key"),
            }
        }
    });
    println!("the probe decided {}", probe.pass().await?);

    let again = sentinel.once::<std::io::Error>("invoice-42").run(|_| async { Ok(String::new()) }).await?;
    println!("asked again: {again:?}");
    for event in sentinel.history(sentinel::record::Kind::Execution, "invoice-42", 10).await? {
        let reason = event.reason.as_ref().map_or("", |reason| reason.as_str());
        println!("  rev {} {:<16} token {} {reason}", event.rev, event.change.name(), event.token);
    }
    Ok(())
}
