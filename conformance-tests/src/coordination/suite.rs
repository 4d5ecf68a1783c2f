//! The list of laws, which exists once, and what is made of it: named tests and a table.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::coordination::handles::Turn;
use crate::coordination::harness::{DynHarness, Harness};
use crate::coordination::law_context::LawContext;
use crate::messages::LawStart;
use crate::report;
use crate::sizes::Sizes;

/// A law: a named check of one sentence of the contract, for any store.
#[derive(Clone, Copy)]
pub struct Law {
    /// `laws`, `matrix`, `regressions`, ...: the outer module of its test.
    pub layer: &'static str,
    /// The inner module of its test: what the law is about.
    pub group: &'static str,
    /// The name of its test; with spaces, the sentence that it checks.
    pub name: &'static str,
    check: for<'a> fn(&'a LawContext) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

impl Law {
    /// The law's path, as the test runner prints it.
    pub fn path(&self) -> String {
        format!("{}::{}::{}", self.layer, self.group, self.name)
    }

    /// Checks the law against a store.
    ///
    /// # Panics
    /// If the store breaks it.
    pub fn check(&self, harness: Arc<dyn DynHarness>, sizes: Sizes) {
        let start = LawStart::default();
        self.runtime(&start).block_on(self.check_from(&LawContext::new(harness, sizes), &start));
    }

    /// Checks the law; its failure messages count times from now on.
    async fn check_from(&self, context: &LawContext, start: &LawStart) {
        start.is(context.execution("the start of the law").now().await);
        start.applies_here();
        self.check_in(context).await;
        LawStart::is_over();
    }

    /// Checks the law through one handle, and again with each request through another handle than the one before. The
    /// matrix has enough requests to run once, through both handles in turn.
    async fn check_in(&self, context: &LawContext) {
        match (self.layer, self.group) {
            ("matrix", "overlaps") | ("laws", "handles" | "reopen" | "long_times" | "threads") => {
                (self.check)(context).await
            }
            // These send many requests: once, but through both handles.
            (
                "laws",
                "batches" | "names" | "pages" | "results" | "purges" | "decodable" | "causes"
                | "bounded_events",
            ) => self.check_once(context, Turn::Mix).await,
            ("matrix", _) => self.check_once(context, Turn::Mix).await,
            _ if context.sizes().law_passes < 2 => self.check_once(context, Turn::Mix).await,
            _ => {
                (self.check)(context).await;
                if let Some(both) = context.on_two_handles(Turn::Alternate).await {
                    self.check_through_two(&both).await;
                }
            }
        }
    }

    /// Through two handles, if there are two.
    async fn check_once(&self, context: &LawContext, turn: Turn) {
        match context.on_two_handles(turn).await {
            Some(both) => self.check_through_two(&both).await,
            None => (self.check)(context).await,
        }
    }

    async fn check_through_two(&self, context: &LawContext) {
        let note = ThroughTwo;
        (self.check)(context).await;
        std::mem::forget(note);
    }

    /// Races need threads (one of the counterexamples is one); other failures are easier to read without.
    fn runtime(&self, start: &LawStart) -> tokio::runtime::Runtime {
        let mut builder = match self.group {
            "races" | "threads" | "counterexamples" => tokio::runtime::Builder::new_multi_thread(),
            _ => tokio::runtime::Builder::new_current_thread(),
        };
        let start = start.clone();
        builder.on_thread_start(move || start.applies_here());
        builder.worker_threads(4).enable_all().build().expect("a runtime")
    }
}

impl fmt::Debug for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// Prints, if a law fails, that its requests went through two handles.
struct ThroughTwo;

impl Drop for ThroughTwo {
    #[expect(clippy::print_stderr, reason = "the output of a test that fails")]
    fn drop(&mut self) {
        eprintln!("the law failed with its requests going through two handles of the store in turn");
    }
}

/// Reports that a law has ended, also if it failed.
struct Ending<'a> {
    harness: &'static str,
    law: &'a Law,
    context: &'a LawContext,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        report::ended(self.harness, LAWS.len(), &self.law.path(), self.context.unsupported_so_far());
    }
}

/// Checks one law of the list against a store that the harness opens. What each test of [`suite!`](crate::suite!)
/// calls.
///
/// # Panics
/// If the store breaks the law, or if there is no such law.
pub fn check<H: Harness>(layer: &str, group: &str, name: &str, sizes: Sizes) {
    let named = |law: &&Law| (law.layer, law.group, law.name) == (layer, group, name);
    let law = LAWS.iter().find(named).expect("the tests are made from the same list");
    let start = LawStart::default();
    let runtime = law.runtime(&start);
    runtime.block_on(async {
        let harness: Arc<dyn DynHarness> = Arc::new(H::open().await);
        let context = LawContext::new(harness, sizes);
        let _ending = Ending { harness: std::any::type_name::<H>(), law, context: &context };
        law.check_from(&context, &start).await;
    });
}

macro_rules! table {
    (() $($layer:ident { $($group:ident { $($name:ident,)* })* })*) => {
        /// All laws: what [`suite!`](crate::suite!) makes tests of.
        pub const LAWS: &[Law] = &[$($($(Law {
            layer: stringify!($layer),
            group: stringify!($group),
            name: stringify!($name),
            check: |context| Box::pin(crate::coordination::$layer::$group::$name(context)),
        },)*)*)*];
    };
}

crate::__laws!(table, ());

/// Checks a store: one line makes one named `#[test]` of each law, and one of each generated layer: sequences,
/// histories (a quarter as many again for the independent checker), histories over a faulty network (half as many).
///
/// ```text
/// sentinel_conformance::suite!(MyHarness);
/// sentinel_conformance::suite!(MyHarness, sequences = 1000, histories = 200);
/// ```
///
/// The tests are in modules named for their layer and group, such as `laws::claims::an_absent_key_is_granted`, in the
/// module of the line. For several harnesses in one file, put each line into a module of its own.
#[macro_export]
macro_rules! suite {
    ($harness:ty $(, $size:ident = $count:expr)* $(,)?) => {
        #[cfg(test)]
        #[doc(hidden)]
        type SentinelHarness = $harness;
        #[cfg(test)]
        #[doc(hidden)]
        const SENTINEL_SIZES: $crate::Sizes = {
            #[allow(unused_mut)]
            let mut sizes = $crate::Sizes::DEFAULT;
            $(sizes.$size = $count;)*
            sizes
        };
        $crate::__laws!($crate::__tests, ());
        #[cfg(test)]
        mod sequences {
            #[test]
            fn generated_sequences_agree_with_the_kernel() {
                $crate::sequences::<super::SentinelHarness>(super::SENTINEL_SIZES.sequences);
            }
        }
        #[cfg(test)]
        mod histories {
            #[test]
            fn concurrent_histories_are_explained_by_their_stamps() {
                $crate::histories::<super::SentinelHarness>(super::SENTINEL_SIZES.histories);
            }

            #[test]
            fn a_sample_of_histories_is_linearizable_without_its_stamps() {
                $crate::linearizable::<super::SentinelHarness>(super::SENTINEL_SIZES.histories.div_ceil(4));
            }
        }
        #[cfg(test)]
        mod faults {
            #[test]
            fn histories_over_a_faulty_network_are_explained_by_their_stamps() {
                $crate::faulty_histories::<super::SentinelHarness>(super::SENTINEL_SIZES.histories.div_ceil(2));
            }
        }
    };
}

/// Makes the tests.
#[macro_export]
#[doc(hidden)]
macro_rules! __tests {
    (() $($layer:ident { $($group:ident { $($name:ident,)* })* })*) => {$(
        #[cfg(test)]
        mod $layer {$(
            mod $group {$(
                #[test]
                fn $name() {
                    $crate::check::<super::super::SentinelHarness>(
                        stringify!($layer),
                        stringify!($group),
                        stringify!($name),
                        super::super::SENTINEL_SIZES,
                    );
                }
            )*}
        )*}
    )*};
}
