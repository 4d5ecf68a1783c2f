//! Drives the compiled program as a shell would.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

#[macro_use]
mod world;

mod answers;
mod arguments;
mod death;
mod decodable;
mod forgotten;
mod group;
mod guard;
mod hidden;
mod inherited;
mod lease;
mod lost;
mod once;
mod operator;
mod outage;
mod output;
mod postgres;
mod redis;
mod store_file;
mod survey;
mod terminal;
