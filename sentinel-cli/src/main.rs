//! `sentinel`: runs a command at most once per key, replays its result, and reports an unknown outcome. For any
//! language, cron line or deploy script.

mod args;
mod commands;
mod exit;
mod names;
mod output;
mod parse;
mod runner;
mod secrets;
mod signals_args;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::args::Cli;
use crate::exit::{CliError, Exit};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(exit) = runner::hidden::run(&arguments) {
        return exit.into();
    }
    secrets::remember(&arguments[1..], std::env::var_os("SENTINEL_STORE").as_deref());
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return print_error(&CliError::new(Exit::UNAVAILABLE, error.to_string())).into(),
    };
    let exit = runtime.block_on(async {
        runner::inherited::reset_signals()
            .map_err(|error| CliError::new(Exit::UNAVAILABLE, error.to_string()))?;
        commands::run(cli).await
    });
    let exit = exit.unwrap_or_else(|error| print_error(&error));
    // A thread that waits for a pipe that may never be closed must not delay the program's exit.
    runtime.shutdown_background();
    exit.into()
}

fn print_error(error: &CliError) -> Exit {
    output::note(&error.message);
    error.exit
}

/// Help and version exit with 0. Everything else is a bad argument, with this program's code instead of clap's 2.
fn usage(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => print_error(&why.into()),
            _ => Exit::OK,
        };
    }
    output::message(&error.render().to_string());
    Exit::USAGE
}
