//! Drives the compiled program as a shell would.

mod answers;
mod arguments;
mod death;
mod lease;
mod lost;
mod once;
mod operator;
mod world;
