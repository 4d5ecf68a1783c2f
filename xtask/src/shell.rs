//! Running other programs, and measuring how long that took.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What went wrong, for the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failure(String);

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A command that is printed before it runs, and that fails loudly.
pub(crate) struct Run {
    command: Command,
}

/// The cargo that runs this program.
pub(crate) fn cargo(args: &[&str]) -> Run {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(crate::root::root());
    Run { command }
}

/// Any other program.
pub(crate) fn program(name: &str, args: &[&str]) -> Run {
    let mut command = Command::new(name);
    command.args(args).current_dir(crate::root::root());
    Run { command }
}

impl Run {
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it on this terminal.
    pub(crate) fn run(mut self) -> Result {
        self.announce();
        let status = self.command.status().map_err(|e| self.cannot_start(&e))?;
        if status.success() { Ok(()) } else { Err(format!("{self} ended with {status}").into()) }
    }

    /// Runs it and gives what it prints to stdout.
    pub(crate) fn read(mut self) -> Result<String> {
        self.command.stderr(Stdio::inherit());
        let output = self.command.output().map_err(|e| self.cannot_start(&e))?;
        if !output.status.success() {
            return Err(format!("{self} ended with {}", output.status).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it and hands over each line of stdout and stderr, in the order in which they were written.
    pub(crate) fn each_line(mut self, mut line: impl FnMut(&str)) -> Result {
        self.announce();
        let (reader, writer) = std::io::pipe()?;
        self.command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = self.command.spawn().map_err(|e| self.cannot_start(&e))?;
        let text = self.to_string();
        // The command holds the writing end too: the pipe would never end.
        drop(self.command);
        for found in BufReader::new(reader).split(b'\n') {
            line(String::from_utf8_lossy(&found?).trim_end_matches('\r'));
        }
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{text} ended with {status}").into()) }
    }

    /// Whether it can be run at all and succeeds; its output is discarded.
    pub(crate) fn works(mut self) -> bool {
        let quiet = self.command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    }

    fn announce(&self) {
        println!("$ {self}");
    }

    fn cannot_start(&self, error: &std::io::Error) -> Failure {
        format!("cannot start {self}: {error}").into()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = std::path::Path::new(self.command.get_program());
        write!(f, "{}", program.file_name().unwrap_or_default().to_string_lossy())?;
        self.command.get_args().try_for_each(|arg| write!(f, " {}", arg.to_string_lossy()))
    }
}

/// Named stages, each with its time. All of them run, so that one round reports everything that is wrong.
#[derive(Default)]
pub(crate) struct Stages {
    done: Vec<(String, Duration, Option<Failure>)>,
}

impl Stages {
    pub(crate) fn stage(&mut self, name: impl Into<String>, stage: impl FnOnce() -> Result) {
        let name = name.into();
        println!("\n== {name}");
        let (outcome, took) = timed(stage);
        if let Err(failure) = &outcome {
            println!("{failure}");
        }
        self.done.push((name, took, outcome.err()));
    }

    /// Prints the times; fails if a stage failed.
    pub(crate) fn finish(self) -> Result {
        println!();
        for (name, took, failure) in &self.done {
            let word = if failure.is_some() { "FAILED" } else { "ok" };
            println!("{word:>6} {:>8.1} s  {name}", took.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|(_, took, _)| *took).sum();
        println!("{:>6} {:>8.1} s", "total", total.as_secs_f64());
        let failed: Vec<&str> =
            self.done.iter().filter(|(.., f)| f.is_some()).map(|(name, ..)| name.as_str()).collect();
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
    }
}

#[expect(clippy::disallowed_methods, reason = "a stage's wall time is printed")]
fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = what();
    (result, start.elapsed())
}
