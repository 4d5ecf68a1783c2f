//! Reading JSON, as cargo prints it: this program has no dependencies.

use std::collections::BTreeMap;

use crate::shell::{Failure, Result};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    /// `null`, `true`, `false` or a number, as it is written.
    Other(String),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader { text, at: 0 };
        reader.value().ok_or_else(|| Failure::from(format!("byte {} of the JSON cannot be read", reader.at)))
    }

    /// The member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of a list; none of anything else.
    pub(crate) fn list(&self) -> &[Self] {
        match self {
            Self::List(values) => values,
            _ => &[],
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Option<Json> {
        match self.peek()? {
            '"' => self.string().map(Json::Text),
            '[' => {
                let mut values = Vec::new();
                self.all('[', ']', |reader| reader.value().map(|value| values.push(value)))?;
                Some(Json::List(values))
            }
            '{' => {
                let mut members = BTreeMap::new();
                self.all('{', '}', |reader| {
                    let name = reader.string()?;
                    reader.take(':')?;
                    members.insert(name, reader.value()?);
                    Some(())
                })?;
                Some(Json::Object(members))
            }
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.find([',', ']', '}']).unwrap_or(rest.len());
                self.at += end;
                Some(Json::Other(rest[..end].trim().to_owned())).filter(|_| end > 0)
            }
        }
    }

    /// Items between two brackets, with commas between them.
    fn all(&mut self, open: char, close: char, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        while self.peek()? != close {
            item(self)?;
            if self.peek()? != close {
                self.take(',')?;
            }
        }
        self.take(close)
    }

    fn string(&mut self) -> Option<String> {
        self.take('"')?;
        let (mut found, mut rest) = (String::new(), self.text[self.at..].chars());
        loop {
            match rest.next()? {
                '"' => break,
                '\\' => found.push(match rest.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'u' => {
                        let code: String = rest.by_ref().take(4).collect();
                        char::from_u32(u32::from_str_radix(&code, 16).ok()?)
                            .unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                    escaped => escaped,
                }),
                c => found.push(c),
            }
        }
        self.at = self.text.len() - rest.as_str().len();
        Some(found)
    }

    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        let found = self.peek()?;
        self.at += found.len_utf8();
        (found == wanted).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let json = Json::parse(r#" {"a": [1, "x\"\n\u00e9", []], "b": null, "c": {"d": true}} "#).unwrap();
        let list = json.get("a").unwrap().list();
        assert_eq!(list, [Json::Other("1".into()), Json::Text("x\"\né".into()), Json::List(vec![])]);
        assert_eq!(json.get("b"), Some(&Json::Other("null".into())));
        assert_eq!(json.get("c").and_then(|c| c.get("d")), Some(&Json::Other("true".into())));
        assert_eq!(list[1].text(), Some("x\"\né"));
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in ["", "{", "[1", "{\"a\" 1}", "\"a", "[,]"] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }
}
