//! `completions` and `man`.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::exit::{CliError, Exit};
use crate::output::answer;

/// A completion script.
pub(crate) fn completions(shell: Shell) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sentinel", &mut script);
    answer(&script)?;
    Ok(Exit::OK)
}

/// One page for the program and all its commands, or for one command.
pub(crate) fn man(only: Option<&str>) -> Result<Exit, CliError> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    if let Some(name) = only {
        let named = command.find_subcommand(name).ok_or_else(|| unknown(&command, name))?;
        // Its page has the name under which it is called, as `man` expects it.
        let page_name = format!("sentinel-{name}");
        Man::new(named.clone()).title(page_name).render(&mut page)?;
        answer(&page)?;
        return Ok(Exit::OK);
    }
    Man::new(command.clone()).render(&mut page)?;
    for subcommand in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        section(subcommand, &mut page)?;
    }
    answer(&page)?;
    Ok(Exit::OK)
}

fn unknown(command: &Command, name: &str) -> CliError {
    let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    CliError::usage(format!("there is no command {name:?}; the commands are {}", names.join(", ")))
}

/// A command's part of the page: its sections under a heading with its name.
fn section(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let name = command.get_name().to_uppercase();
    // The global options are at the top of the page.
    let own = command.clone().mut_args(|arg| if arg.is_global_set() { arg.hide(true) } else { arg });
    let man = Man::new(own);
    let mut body = Vec::new();
    man.render_synopsis_section(&mut body)?;
    man.render_description_section(&mut body)?;
    man.render_options_section(&mut body)?;
    man.render_extra_section(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    page.extend(format!(".SH \"COMMAND {name}\"\n").into_bytes());
    // Sections of a page become sub-sections of the command.
    page.extend(body.replace(".SH ", ".SS ").into_bytes());
    Ok(())
}
