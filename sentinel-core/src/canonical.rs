//! JSON with the keys of every object in byte order. Numbers and strings are copied as they are written. They are never
//! decoded, so nothing is rounded.

/// Sorts the objects of a JSON text that has no white space, as `serde_json` writes it.
pub(crate) fn canonical_json(json: &[u8]) -> Vec<u8> {
    let mut sorted = Vec::with_capacity(json.len());
    Reader { rest: json }.value(&mut sorted);
    sorted
}

struct Reader<'j> {
    rest: &'j [u8],
}

impl<'j> Reader<'j> {
    fn value(&mut self, out: &mut Vec<u8>) {
        match self.rest.first() {
            Some(b'{') => self.object(out),
            Some(b'[') => self.array(out),
            Some(b'"') => out.extend_from_slice(self.text()),
            _ => {
                let end = self.rest.iter().position(|byte| b",]}".contains(byte));
                out.extend_from_slice(self.take(end.unwrap_or(self.rest.len())));
            }
        }
    }

    fn object(&mut self, out: &mut Vec<u8>) {
        self.take(1);
        let mut members = Vec::new();
        while self.rest.first().is_some_and(|byte| *byte != b'}') {
            let key = self.text();
            self.take(1);
            let mut value = Vec::new();
            self.value(&mut value);
            members.push((key, value));
            self.comma();
        }
        self.take(1);
        // The sort is stable: members with the same name keep their order. A struct with a flattened map can have such
        // members.
        members.sort_by_key(|(key, _)| *key);
        out.push(b'{');
        for (n, (key, value)) in members.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b"" } else { b"," });
            out.extend_from_slice(key);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
    }

    fn array(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.take(1));
        while self.rest.first().is_some_and(|byte| *byte != b']') {
            self.value(out);
            out.extend_from_slice(self.comma());
        }
        out.extend_from_slice(self.take(1));
    }

    /// Takes a string with its quotation marks.
    fn text(&mut self) -> &'j [u8] {
        let mut end = 1;
        while let Some(byte) = self.rest.get(end) {
            match byte {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        self.take(end + 1)
    }

    fn comma(&mut self) -> &'j [u8] {
        self.take(usize::from(self.rest.first() == Some(&b',')))
    }

    fn take(&mut self, bytes: usize) -> &'j [u8] {
        let (taken, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::*;
    use crate::Fingerprint;

    fn sorted(json: &str) -> String {
        String::from_utf8(canonical_json(json.as_bytes())).unwrap()
    }

    #[test]
    fn keys_are_sorted_on_every_level_and_nothing_else_changes() {
        assert_eq!(
            sorted(r#"{"b":[{"z":1,"a":2},3,[]],"a":{"y":{},"x":"}\",{"},"":null}"#),
            r#"{"":null,"a":{"x":"}\",{","y":{}},"b":[{"a":2,"z":1},3,[]]}"#
        );
        let same = [
            "1e999",
            "null",
            r#""a\\""#,
            r#""\u0000""#,
            "[]",
            "{}",
            "[[],[1,2]]",
            "340282366920938463463374607431768211455",
            "-0.0",
            "[true,false]",
            r#"{"a":[1,{"b":2}]}"#,
        ];
        for json in same {
            assert_eq!(sorted(json), json);
        }
    }

    #[test]
    fn equal_maps_have_equal_fingerprints_and_different_maps_have_different_ones() {
        let of = |request: &HashMap<String, u128>| Fingerprint::of_json(request).unwrap();
        let pairs = || (0..50u128).map(|n| (format!("key {n}"), u128::MAX - n));
        let expected = of(&pairs().collect());
        for _ in 0..20 {
            assert_eq!(of(&pairs().collect()), expected);
        }
        assert_eq!(Fingerprint::of_json(&pairs().collect::<BTreeMap<_, _>>()).unwrap(), expected);
        let changed = pairs().map(|(key, n)| (key, if n == u128::MAX { n - 1 } else { n }));
        assert_ne!(of(&changed.collect()), expected, "numbers are not rounded");
        assert_ne!(Fingerprint::of_json(&[1, 2]).unwrap(), Fingerprint::of_json(&[2, 1]).unwrap());
    }
}
