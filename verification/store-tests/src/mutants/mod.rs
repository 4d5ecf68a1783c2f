//! Statements or scripts with one guard less: for each guard that can be removed, checks that notice.
//!
//! A store has a list for each of its texts, beside its test program's `mutants/mod.rs`. In a list
//!
//! ```text
//! # words about the mutants that follow
//! - a piece of the text; spaces and line ends are alike, and comments do not count
//! + what replaces it; nothing without this line
//! = checks, of which one has to fail: laws of the suite, or the store's own
//! ```
//!
//! It is an error if a piece is not in its text exactly once, if the unbroken store fails a check, or if the server
//! does not understand a mutant.

mod list;

use std::any::Any;
use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::future::BoxFuture;
use sentinel_conformance::{LAWS, Law, Sizes, quietly};

pub use list::{Mutant, plain};

/// How much a law does for each mutant.
pub const SIZES: Sizes = Sizes { sequences: 1, histories: 1, law_passes: 1, ..Sizes::DEFAULT };

/// One of a store's own checks, with what follows its name in a list.
pub type Run<H> = for<'a> fn(&'a H, &'a str) -> BoxFuture<'a, ()>;

/// What can notice a mutant: a check that is named in a list.
pub trait Check: Sized {
    /// An open store.
    type Harness;

    /// The check of this name.
    ///
    /// # Panics
    /// If there is none.
    fn named(text: &str) -> Self;

    /// Opens a store for this check, with a mutant of the list or without.
    ///
    /// # Panics
    /// If the mutant does not fit its text.
    fn open(&self, list: &'static str, mutant: Option<&Mutant>) -> Self::Harness;

    /// Runs the check.
    ///
    /// # Panics
    /// If the store fails it.
    fn run(&self, harness: Self::Harness);

    /// Whether a check failed with this message because the server does not understand the mutant. That would prove
    /// nothing about the check.
    fn is_nonsense(message: &str) -> bool;
}

/// The law of this name.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn law(name: &str) -> &'static Law {
    LAWS.iter().find(|law| law.name == name).unwrap_or_else(|| panic!("there is no law {name}"))
}

/// Checks the unbroken store.
pub fn check_unbroken<C: Check>(name: &str) {
    let check = C::named(name);
    check.run(check.open("", None));
}

/// Checks a list: the unbroken store passes every check that the list names, and each mutant fails one of its checks.
#[expect(clippy::print_stdout, reason = "the output of a test, shown on demand")]
pub fn each_is_noticed<C: Check>(list: &'static str, text: &str) {
    let mutants = list::read(text);
    assert!(!mutants.is_empty(), "{list} is empty");
    let named: BTreeSet<&str> = mutants.iter().flat_map(|mutant| &mutant.by).map(String::as_str).collect();
    for name in named {
        let check = C::named(name);
        check.run(check.open(list, None));
    }
    let mut survivors = Vec::new();
    for mutant in &mutants {
        #[expect(clippy::disallowed_methods, reason = "the time is printed and decides nothing")]
        let began = Instant::now();
        let killer = mutant.by.iter().find(|name| notices::<C>(list, name, mutant));
        println!("{list}: {:?} {mutant}: noticed by {killer:?}", began.elapsed());
        if killer.is_none() {
            survivors.push(format!("{mutant}, which {:?} should notice", mutant.by));
        }
    }
    assert!(survivors.is_empty(), "{} survived:\n{}", survivors.len(), survivors.join("\n"));
}

fn notices<C: Check>(list: &'static str, name: &str, mutant: &Mutant) -> bool {
    let check = C::named(name);
    let harness = check.open(list, Some(mutant));
    let Err(panic) = quietly(|| check.run(harness)) else { return false };
    assert!(!C::is_nonsense(message(&*panic)), "{list}: {mutant} is nonsense: {}", message(&*panic));
    true
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// Makes a test of each list: `begin` is read from `begin.txt`, beside the file that uses the macro.
#[macro_export]
macro_rules! mutant_lists {
    ($check:ty: $($list:ident,)*) => {$(
        #[test]
        fn $list() {
            let text = include_str!(concat!(stringify!($list), ".txt"));
            $crate::mutants::each_is_noticed::<$check>(stringify!($list), text);
        }
    )*};
}

/// The constant `OWN_CHECKS`: a store's own checks by name. Each is a function of a module of the test program.
#[macro_export]
macro_rules! own_checks {
    ($harness:ty; $($module:ident { $($name:ident,)* })*) => {
        const OWN_CHECKS: &[(&str, $crate::mutants::Run<$harness>)] =
            &[$($((stringify!($name), |harness, argument| Box::pin($module::$name(harness, argument))),)*)*];
    };
}
