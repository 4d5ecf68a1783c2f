//! Drives the compiled program as a shell would.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its start state has failed")]

#[macro_use]
mod world;

mod answers;
mod arguments;
mod because;
mod broken_server;
mod data_loss;
mod decodable;
mod group;
mod guard;
mod hidden;
mod inherited;
mod lease;
mod messages;
mod observability;
mod once;
mod operator;
mod outage;
mod output;
mod postgres;
mod probe;
mod redis;
mod settle;
mod store_file;
mod survey;
mod terminal;
mod termination;
mod unusable_store;
mod why;
