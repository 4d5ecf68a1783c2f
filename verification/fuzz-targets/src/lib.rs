//! Any bytes that are read, from people, from URLs and from servers, must give an error or a sound value, never a
//! panic. What was written must be read back the same.
//!
//! Each target is a function of bytes that panics where its promise is broken. `fuzz/` hands them what libFuzzer makes
//! up (`cargo xtask fuzz`), and `tests/it.rs` the seeds of `fuzz/seeds/`, changed in a few thousand ways.

mod arguments;
mod causes;
mod fences;
mod kernel;
mod made;
mod names;
mod payloads;
mod redis;
mod sound;
mod sqlite;
mod urls;

/// A target: what it is called in `fuzz/`, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("arguments", arguments::arguments),
    ("causes", causes::causes),
    ("fences", fences::fences),
    ("kernel", kernel::kernel),
    ("names", names::names),
    ("payloads", payloads::payloads),
    ("redis_events", redis::events),
    ("redis_records", redis::records),
    ("sqlite_events", sqlite::events),
    ("sqlite_records", sqlite::records),
    ("urls", urls::urls),
];

/// Does what a target does with bytes. For the programs in `fuzz/`, each of which is named for its target.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(found, _)| *found == name);
    let (_, target) = target.unwrap_or_else(|| panic!("there is no target {name}"));
    target(data);
}
