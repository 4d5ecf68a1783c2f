//! Command lines of the program, as an operator can copy them into a shell.

use serde::{Serialize, Serializer};

/// A part of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// A word, passed as it is.
    Word(String),
    /// A value that the operator supplies, by its name. It is printed without quotes, as `<name>`. A shell then refuses
    /// a line that was copied and not completed.
    Blank(&'static str),
}

impl Arg {
    /// A word.
    pub fn word(text: impl Into<String>) -> Self {
        Self::Word(text.into())
    }

    /// The part as a POSIX shell reads it.
    pub fn quoted(&self) -> String {
        match self {
            Self::Word(text) => quoted(text),
            Self::Blank(name) => format!("<{name}>"),
        }
    }
}

impl Serialize for Arg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Word(text) => serializer.serialize_str(text),
            Self::Blank(name) => serializer.serialize_str(&format!("<{name}>")),
        }
    }
}

/// Quotes a word for a POSIX shell, if it needs quotes.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The key as an argument of a command. A key that begins with a dash would be read as an option.
pub fn key_arg(key: &str) -> Arg {
    Arg::Word(if key.starts_with('-') { format!("--key={key}") } else { key.to_owned() })
}

/// A whole command line. `global` are words that follow the program's name, such as `--store` and its value.
pub fn line(command: &[Arg], global: &[String]) -> String {
    let mut parts: Vec<String> = command.iter().map(Arg::quoted).collect();
    let at = parts.len().min(1);
    parts.splice(at..at, global.iter().map(|word| quoted(word)));
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, expected) in [
            ("order-42", "order-42"),
            ("sqlite:/a/b.db", "sqlite:/a/b.db"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("~x", "'~x'"),
            ("ü", "'ü'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn a_shell_reads_what_was_quoted() {
        let words = ["a b", "it's", "$HOME `id` \"x\" \\", "*", "", "#", "ü\u{202e}", "a\nb"];
        let script = format!("printf '%s\\0' {}", words.map(quoted).join(" "));
        let out = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let read = String::from_utf8(out.stdout).unwrap();
        assert_eq!(read.split_terminator('\0').collect::<Vec<_>>(), words);
    }

    #[test]
    fn a_line_has_the_global_options_after_the_programs_name() {
        let command = [Arg::word("sentinel"), Arg::word("reconcile"), key_arg("-5"), Arg::Blank("reason")];
        let global = ["--namespace".to_owned(), "a b".to_owned()];
        assert_eq!(line(&command, &global), "sentinel --namespace 'a b' reconcile --key=-5 <reason>");
        assert_eq!(line(&command, &[]), "sentinel reconcile --key=-5 <reason>");
    }

    #[test]
    fn a_shell_refuses_a_line_that_was_not_completed() {
        let command = [Arg::word("echo"), Arg::word("ran"), Arg::Blank("result")];
        let out = std::process::Command::new("sh").arg("-c").arg(line(&command, &[])).output().unwrap();
        assert!(!out.status.success() && out.stdout.is_empty(), "{out:?}");
    }
}
