//! The facade's examples: each has to run to its end by itself, and services when they are asked to.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::shell::{Result, cargo, program};
use crate::workspace::Workspace;

/// Examples that serve until SIGTERM: they listen at the address `LISTEN`, and print a line when they do.
const SERVICES: [&str; 1] = ["axum_payment"];

/// The names of all examples, in order.
fn names(workspace: &Workspace) -> Result<Vec<String>> {
    let folders =
        workspace.members.iter().map(|member| member.path().join("examples")).filter(|f| f.is_dir());
    let mut names = vec![];
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let is_one = path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").is_file();
            names.extend(is_one.then(|| path.file_stem().unwrap_or_default().to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Runs them all; gives how many.
pub(crate) fn run(workspace: &Workspace) -> Result<usize> {
    let names = names(workspace)?;
    // Built like the tests, for the whole workspace: nothing is built twice.
    cargo(&["build", "--quiet", "--workspace", "--all-features", "--examples"]).run()?;
    // Beside this program, wherever the target folder is.
    let built = std::env::current_exe()?.with_file_name("examples");
    for name in &names {
        match SERVICES.contains(&name.as_str()) {
            true => serve(&built.join(name))?,
            false => program(&built.join(name).to_string_lossy(), &[]).run()?,
        }
    }
    Ok(names.len())
}

/// Starts a service, and asks it to end once it listens.
fn serve(service: &Path) -> Result {
    println!("$ {}", service.display());
    let mut running = Command::new(service).env("LISTEN", "127.0.0.1:0").stdout(Stdio::piped()).spawn()?;
    let lines = running.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let listens = lines.map_while(std::result::Result::ok).any(|line| line.contains("listening on"));
    if listens {
        Command::new("kill").args(["-TERM", &running.id().to_string()]).status()?;
    }
    let ended = running.wait()?;
    match listens && ended.success() {
        true => Ok(()),
        false => Err(format!("{}: listened: {listens}, ended with {ended}", service.display()).into()),
    }
}
