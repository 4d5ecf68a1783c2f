//! Reading and writing the bytes that the scripts pack: big-endian numbers, digits, and texts after their lengths.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use sentinel_core::{ErrorKind, Label, StoreError, StoreTime, Token};

/// Bytes that no script of ours writes.
#[derive(Debug)]
pub(crate) struct Unreadable(pub(crate) String);

impl From<Unreadable> for StoreError {
    fn from(Unreadable(what): Unreadable) -> Self {
        Self::not_applied(ErrorKind::Corrupt, what)
    }
}

pub(crate) fn unreadable<T>(what: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable(what.into()))
}

/// Takes one field after the other.
pub(crate) struct Cursor(pub(crate) Bytes);

impl Cursor {
    pub(crate) fn take(&mut self, bytes: usize) -> Result<Bytes, Unreadable> {
        if self.0.remaining() < bytes {
            return unreadable(format!("{bytes} bytes are missing"));
        }
        Ok(self.0.split_to(bytes))
    }

    pub(crate) fn char(&mut self) -> Result<char, Unreadable> {
        Ok(char::from(self.take(1)?[0]))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Unreadable> {
        match self.char()? {
            '1' => Ok(true),
            '0' => Ok(false),
            other => unreadable(format!("{other:?} is neither 1 nor 0")),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Unreadable> {
        Ok(self.take(8)?.get_u64())
    }

    pub(crate) fn instant(&mut self) -> Result<StoreTime, Unreadable> {
        Ok(StoreTime::from_micros(self.u64()?))
    }

    /// An instant that may not have come: zero then.
    pub(crate) fn time(&mut self) -> Result<Option<StoreTime>, Unreadable> {
        Ok(Some(self.instant()?).filter(|at| *at > StoreTime::ZERO))
    }

    pub(crate) fn micros(&mut self) -> Result<Duration, Unreadable> {
        Ok(Duration::from_micros(self.u64()?))
    }

    pub(crate) fn id(&mut self) -> Result<u128, Unreadable> {
        Ok(self.take(16)?.get_u128())
    }

    /// Sixteen decimal digits.
    pub(crate) fn digits(&mut self) -> Result<u64, Unreadable> {
        let digits = self.take(16)?;
        let number = std::str::from_utf8(&digits).ok().and_then(|text| text.parse().ok());
        number.map_or_else(|| unreadable(format!("{digits:?} is not a number")), Ok)
    }

    pub(crate) fn token(&mut self) -> Result<Token, Unreadable> {
        match self.digits()? {
            number if number > Token::MAX.get() => unreadable(format!("{number} is not a token")),
            number => Ok(Token::from_stored(number)),
        }
    }

    /// Bytes after a length of two bytes.
    pub(crate) fn short(&mut self) -> Result<Bytes, Unreadable> {
        let length = self.take(2)?.get_u16();
        self.take(usize::from(length))
    }

    /// A text after its length; an empty one is none.
    pub(crate) fn text(&mut self) -> Result<Option<String>, Unreadable> {
        let bytes = self.short()?;
        match std::str::from_utf8(&bytes) {
            Ok("") => Ok(None),
            Ok(text) => Ok(Some(text.to_owned())),
            Err(error) => unreadable(error.to_string()),
        }
    }

    pub(crate) fn label(&mut self) -> Result<Option<Label>, Unreadable> {
        let label = self.text()?.map(Label::new).transpose();
        label.or_else(|invalid| unreadable(invalid.to_string()))
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        self.0.split_to(self.0.remaining())
    }
}

/// Puts one field after the other.
#[derive(Default)]
pub(crate) struct Packed(BytesMut);

impl Packed {
    pub(crate) fn char(mut self, char: char) -> Self {
        self.0.put_u8(u8::try_from(char).unwrap_or(b'?'));
        self
    }

    pub(crate) fn flag(self, flag: bool) -> Self {
        self.char(if flag { '1' } else { '0' })
    }

    pub(crate) fn u64(mut self, number: u64) -> Self {
        self.0.put_u64(number);
        self
    }

    pub(crate) fn micros(self, duration: Duration) -> Self {
        self.u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn id(mut self, bits: u128) -> Self {
        self.0.put_u128(bits);
        self
    }

    pub(crate) fn token(self, token: Token) -> Self {
        self.bytes(format!("{:016}", token.get()).as_bytes())
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.put_slice(bytes);
        self
    }

    /// Bytes after a length of two bytes: labels and fingerprints, which are 1024 bytes at most.
    pub(crate) fn text(self, text: &str) -> Self {
        self.short(text.as_bytes())
    }

    /// Bytes after a length of two bytes.
    pub(crate) fn short(mut self, bytes: &[u8]) -> Self {
        self.0.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
        self.bytes(bytes)
    }

    /// Bytes after a length of four bytes.
    pub(crate) fn long(mut self, bytes: &[u8]) -> Self {
        self.0.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.bytes(bytes)
    }

    pub(crate) fn done(self) -> Bytes {
        self.0.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(bytes: &[u8]) -> Cursor {
        Cursor(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn a_token_is_read_within_its_range_only() {
        let read = |number: u64| cursor(format!("{number:016}").as_bytes()).token();
        assert_eq!(read(Token::MAX.get()).unwrap(), Token::MAX);
        assert_eq!(read(0).unwrap(), Token::NONE);
        for beyond in [Token::MAX.get() + 1, 9_999_999_999_999_999] {
            assert!(read(beyond).is_err(), "{beyond}");
        }
        assert!(cursor(b"not sixteen digs").token().is_err());
        assert!(cursor(b"123").token().is_err(), "it is too short");
    }

    #[test]
    fn a_flag_is_one_or_zero() {
        assert!(cursor(b"10").flag().unwrap());
        assert!(!cursor(b"0").flag().unwrap());
        assert!(cursor(b"2").flag().is_err() && cursor(b"").flag().is_err());
    }

    #[test]
    fn an_instant_that_has_not_come_is_none() {
        assert_eq!(cursor(&0_u64.to_be_bytes()).time().unwrap(), None);
        assert_eq!(cursor(&7_u64.to_be_bytes()).time().unwrap(), Some(StoreTime::from_micros(7)));
    }
}
