//! Talking to a server without a program in between: where a command holds any bytes, or many are sent.

use std::io::{self, BufRead as _, BufReader, Error, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::Redis;

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A word, a number, or any bytes; nothing is no bytes.
    Bytes(Vec<u8>),
    List(Vec<Said>),
    Error(String),
}

impl Redis {
    /// Sends a command by the socket, as the user `default`.
    #[track_caller]
    pub(super) fn say(&self, words: &[&[u8]]) -> Said {
        match self.try_say(words) {
            Ok(Said::Error(why)) => panic!("{}: {why}", String::from_utf8_lossy(words[0])),
            Ok(said) => said,
            Err(why) => panic!("{}: {why}", String::from_utf8_lossy(words[0])),
        }
    }

    /// The same, with what it says when it refuses, or why it cannot be reached.
    pub(super) fn try_say(&self, words: &[&[u8]]) -> io::Result<Said> {
        let mut stream = UnixStream::connect(self.socket())?;
        let mut text = Vec::new();
        if let Some(password) = &self.password {
            command(&mut text, &[b"AUTH", password.as_bytes()]);
        }
        command(&mut text, words);
        stream.write_all(&text)?;
        let mut stream = BufReader::new(stream);
        if self.password.is_some() {
            read(&mut stream)?;
        }
        read(&mut stream)
    }
}

impl Said {
    pub(super) fn text(self) -> String {
        match self {
            Self::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    /// The items of a list.
    pub(super) fn items(self) -> Vec<Vec<u8>> {
        let Self::List(items) = self else { return Vec::new() };
        let bytes = |item| if let Self::Bytes(bytes) = item { Some(bytes) } else { None };
        items.into_iter().filter_map(bytes).collect()
    }
}

fn command(text: &mut Vec<u8>, words: &[&[u8]]) {
    text.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        text.extend(format!("${}\r\n", word.len()).bytes());
        text.extend_from_slice(word);
        text.extend(b"\r\n");
    }
}

fn read(stream: &mut BufReader<impl io::Read>) -> io::Result<Said> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let odd = || Error::other(format!("it said {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(odd)?;
    let length = || rest.parse::<i64>().map_err(|_| odd());
    match kind {
        "+" | ":" => Ok(Said::Bytes(rest.into())),
        "-" => Ok(Said::Error(rest.to_owned())),
        "$" => {
            let Ok(length) = usize::try_from(length()?) else { return Ok(Said::Bytes(Vec::new())) };
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(Said::Bytes(bytes))
        }
        "*" => (0..length()?).map(|_| read(stream)).collect::<io::Result<_>>().map(Said::List),
        _ => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        read(&mut BufReader::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn what_a_server_says_is_read() {
        assert_eq!(said("+OK\r\n").text(), "OK");
        assert_eq!(said(":7\r\n").text(), "7");
        assert_eq!(said("$4\r\na\r\nb\r\n").text(), "a\r\nb");
        assert_eq!(said("$-1\r\n").text(), "");
        assert_eq!(said("*2\r\n$1\r\na\r\n$0\r\n\r\n").items(), [b"a".to_vec(), vec![]]);
        assert_eq!(said("-ERR no\r\n"), Said::Error("ERR no".into()));
        let mut text = Vec::new();
        command(&mut text, &[b"GET", b"a b"]);
        assert_eq!(text, b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
    }
}
