//! Commands over the socket, without `redis-cli`: for arguments of any bytes, and where many are sent.

use std::io::{self, BufRead as _, BufReader, Error, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::Redis;

/// The reply of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A word, a number, or any bytes; nothing is no bytes.
    Bytes(Vec<u8>),
    List(Vec<Reply>),
    Error(String),
}

impl Redis {
    /// Sends a command by the socket, as the user `default`.
    #[track_caller]
    pub(super) fn send(&self, words: &[&[u8]]) -> Reply {
        match self.try_send(words) {
            Ok(Reply::Error(why)) => panic!("{}: {why}", String::from_utf8_lossy(words[0])),
            Ok(reply) => reply,
            Err(why) => panic!("{}: {why}", String::from_utf8_lossy(words[0])),
        }
    }

    /// The same, with the error reply, or why it cannot be reached.
    pub(super) fn try_send(&self, words: &[&[u8]]) -> io::Result<Reply> {
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

impl Reply {
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

fn read(stream: &mut BufReader<impl io::Read>) -> io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let line = line.trim_end();
    let odd = || Error::other(format!("not a reply: {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(odd)?;
    let length = || rest.parse::<i64>().map_err(|_| odd());
    match kind {
        "+" | ":" => Ok(Reply::Bytes(rest.into())),
        "-" => Ok(Reply::Error(rest.to_owned())),
        "$" => {
            let Ok(length) = usize::try_from(length()?) else { return Ok(Reply::Bytes(Vec::new())) };
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(Reply::Bytes(bytes))
        }
        "*" => (0..length()?).map(|_| read(stream)).collect::<io::Result<_>>().map(Reply::List),
        _ => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Reply {
        read(&mut BufReader::new(text.as_bytes())).unwrap()
    }

    #[test]
    fn replies_are_parsed() {
        assert_eq!(parsed("+OK\r\n").text(), "OK");
        assert_eq!(parsed(":7\r\n").text(), "7");
        assert_eq!(parsed("$4\r\na\r\nb\r\n").text(), "a\r\nb");
        assert_eq!(parsed("$-1\r\n").text(), "");
        assert_eq!(parsed("*2\r\n$1\r\na\r\n$0\r\n\r\n").items(), [b"a".to_vec(), vec![]]);
        assert_eq!(parsed("-ERR no\r\n"), Reply::Error("ERR no".into()));
        let mut text = Vec::new();
        command(&mut text, &[b"GET", b"a b"]);
        assert_eq!(text, b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n");
    }
}
