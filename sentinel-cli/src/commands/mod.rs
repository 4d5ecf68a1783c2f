//! One file for each command, or for a few related ones.

use crate::args::{Cli, Command};
use crate::exit::{CliError, Exit};

mod because;
mod context;
mod decide;
mod deployment;
mod evict;
mod lease;
mod once;
mod probe;
mod read;
mod reconcile;
mod settle;
mod shell;
mod signals;
mod wait;
mod why;

use context::Context;

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> Result<Exit, CliError> {
    match &cli.command {
        Command::Completions { shell } => return shell::completions(*shell),
        Command::Observability { file } => return signals::observability(*file),
        Command::Man { command } => return shell::man(command.as_deref()),
        _ => {}
    }
    if let Command::Because(args) = &cli.command {
        return because::run(&cli.global, args).await;
    }
    let context = Context::new(&cli.global)?;
    match cli.command {
        Command::Once(args) => once::run(&context, args).await,
        Command::Lease(args) => lease::run(&context, args).await,
        Command::Inspect(args) => read::inspect(&context, &args).await,
        Command::History(args) => read::history(&context, &args).await,
        Command::List(args) => read::list(&context, &args).await,
        Command::Namespaces => read::namespaces(&context).await,
        Command::Why(args) => why::run(&context, &args).await,
        Command::Settle(args) => settle::run(&context, &args).await,
        Command::Probe(args) => probe::run(&context, args).await,
        Command::Reconcile(args) => reconcile::run(&context, &args).await,
        Command::ForceComplete(args) => decide::force_complete(&context, args).await,
        Command::ResetToClaimed(args) => decide::reset_to_claimed(&context, &args).await,
        Command::Evict(args) => evict::run(&context, &args).await,
        Command::Purge(args) => deployment::purge(&context, &args).await,
        Command::Init(args) => deployment::init(&context, &args).await,
        Command::Doctor => deployment::doctor(&context).await,
        Command::Metrics(args) => signals::metrics(&context, &args).await,
        Command::Because(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Observability { .. } => Ok(Exit::OK),
    }
}
