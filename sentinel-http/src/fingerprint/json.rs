//! One form for equal JSON documents: members sorted, no white space, escapes decoded, numbers as they were written.

use serde::de::IgnoredAny;

/// The deepest document that is brought into the form.
const MAX_DEPTH: usize = 128;

/// The document in its one form. None: it is not JSON, has an object with a member twice, or is too deep; then only
/// equal bytes are equal.
pub(super) fn canonical(body: &[u8]) -> Option<Vec<u8>> {
    // One pass of the library checks the syntax, and refuses a deeper document. So what follows reads valid JSON.
    let text = std::str::from_utf8(body).ok()?;
    let _: IgnoredAny = serde_json::from_str(text).ok()?;
    let mut out = Vec::with_capacity(text.len());
    Document { text, at: 0 }.value(0, &mut out)?;
    Some(out)
}

/// A position in a valid document.
struct Document<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Document<'a> {
    /// Writes the next value.
    fn value(&mut self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.next()? {
            b'{' => self.object(depth, out),
            b'[' => self.array(depth, out),
            b'"' => self.string().map(|text| write_string(&text, out)),
            // A number keeps its text: `1.0` differs from `1`.
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                self.at += end;
                out.extend(&rest.as_bytes()[..end]);
                Some(())
            }
        }
    }

    fn object(&mut self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        self.at += 1;
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        while self.next()? != b'}' {
            if !members.is_empty() {
                self.expect(b',')?;
            }
            self.next()?;
            let name = self.string()?;
            self.expect(b':')?;
            let mut value = Vec::new();
            self.value(depth + 1, &mut value)?;
            members.push((name, value));
        }
        self.at += 1;
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        out.push(b'{');
        for (n, (name, value)) in members.iter().enumerate() {
            separate(n, out);
            write_string(name, out);
            out.push(b':');
            out.extend(value);
        }
        out.push(b'}');
        Some(())
    }

    fn array(&mut self, depth: usize, out: &mut Vec<u8>) -> Option<()> {
        self.at += 1;
        out.push(b'[');
        let mut items = 0;
        while self.next()? != b']' {
            if items > 0 {
                self.expect(b',')?;
            }
            separate(items, out);
            self.value(depth + 1, out)?;
            items += 1;
        }
        self.at += 1;
        out.push(b']');
        Some(())
    }

    /// The string that begins here, decoded.
    fn string(&mut self) -> Option<String> {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })? + 2;
        self.at += end;
        serde_json::from_str(&rest[..end]).ok()
    }

    /// The next byte that is not white space; the position moves to it.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| !b" \t\n\r".contains(byte))?;
        self.text.as_bytes().get(self.at).copied()
    }

    /// Moves past the next byte, which must be this one.
    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.next()? == byte;
        self.at += 1;
        found.then_some(())
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    // A string is always encoded, and a vector accepts all bytes.
    let _ = serde_json::to_writer(out, text);
}

fn separate(n: usize, out: &mut Vec<u8>) {
    if n > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &str) -> Option<String> {
        canonical(document.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn members_are_sorted_at_each_level_and_numbers_keep_their_text() {
        let written = " { \"b\" : [ 1.0, 1e2, -0 ] , \"a\" : { \"d\":null, \"c\":\"\\u00e4\\/\" } } ";
        let expected = "{\"a\":{\"c\":\"ä/\",\"d\":null},\"b\":[1.0,1e2,-0]}";
        assert_eq!(text(written).as_deref(), Some(expected));
        // Numbers beyond any type of ours, too.
        let long = "[123456789012345678901234567890.10]";
        assert_eq!(text(long).as_deref(), Some(long));
    }

    #[test]
    fn what_has_no_one_form_is_compared_as_bytes() {
        for document in [
            "",
            "{",
            "[1,]",
            "tru",
            "01",
            "NaN",
            "{\"a\":1}x",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"x\":{\"a\":1,\"a\":2}}",
            "\"\\ud800\"",
        ] {
            assert_eq!(text(document), None, "{document}");
        }
        assert_eq!(canonical(b"\"\xff\""), None);
    }

    #[test]
    fn a_document_that_is_too_deep_has_no_form_and_does_not_end_the_process() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(text(&nested(100)).is_some());
        assert_eq!(text(&nested(200)), None);
        assert_eq!(text(&nested(1_000_000)), None);
    }
}
