//! Results go to standard output, everything else to standard error.

use std::io::{self, ErrorKind, IsTerminal as _};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;

use crate::args::Global;
use crate::exit::CliError;

pub(crate) mod table;
pub(crate) mod time;

/// The format of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Style {
    /// The format that the options ask for.
    pub(crate) fn of(global: &Global) -> Self {
        if global.json { Self::Json } else { Self::Text }
    }
}

/// Writes a result to standard output. It is no failure if the reader has closed the pipe.
pub(crate) fn answer(bytes: &[u8]) -> io::Result<()> {
    match write_all(io::stdout().lock(), bytes) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes all bytes. If another process has set the file to non-blocking, waits until there is room.
pub(crate) fn write_all(output: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&output, bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&output, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes one line to standard output.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    Ok(answer(format!("{text}\n").as_bytes())?)
}

/// Writes one JSON object to standard output.
pub(crate) fn object(object: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string(object).map_err(io::Error::from)?;
    line(&text)
}

/// Prints one object a line, in one write, so that a reader that closed the pipe is detected once.
pub(crate) fn lines<T: Serialize>(views: impl Iterator<Item = T>) -> Result<(), CliError> {
    let mut text = String::new();
    for view in views {
        text += &serde_json::to_string(&view).map_err(io::Error::from)?;
        text.push('\n');
    }
    Ok(answer(text.as_bytes())?)
}

/// Writes one line to standard error, with secrets masked. A failure to write is ignored.
pub(crate) fn note(text: &str) {
    let _ = write_all(io::stderr().lock(), format!("sentinel: {}\n", crate::secrets::mask(text)).as_bytes());
}

/// The text in colour, if standard output is a terminal that supports it.
pub(crate) fn coloured(text: &str, code: &str) -> String {
    let wanted = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    if wanted { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Makes a text from outside safe for a terminal: control characters, and those that change the direction of writing,
/// are escaped.
pub(crate) fn plain(text: &str) -> String {
    let hidden = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if hidden(c) {
            shown.extend(c.escape_unicode())
        } else {
            shown.push(c)
        }
        shown
    })
}

/// Writes a message of several lines to standard error, with secrets masked.
pub(crate) fn message(text: &str) {
    let _ = write_all(io::stderr().lock(), crate::secrets::mask(text).as_bytes());
}
