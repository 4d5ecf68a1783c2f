//! A cause as text: the header `Sentinel-Cause`, which services send to each other, and what stores keep.

use std::fmt;
use std::str::FromStr;

use super::{By, Cause, Parts, Root, TraceId, percent};
use crate::address::{Address, Key, Kind, Namespace};
use crate::error::Invalid;

impl Cause {
    /// The name of the header.
    pub const HEADER: &'static str = "sentinel-cause";

    /// The longest header that is read, in bytes. None that is written is longer.
    pub const MAX_HEADER_BYTES: usize = 4096;

    /// The value of the header `Sentinel-Cause`, a dictionary of RFC 8941:
    /// `root="order-42", by="orders/execution/order-42", t="1795227373939496", hop=2`. The texts are percent-encoded
    /// where they are not visible ASCII. The trace is not in it: `traceparent` carries that.
    pub fn to_header(&self) -> String {
        let Parts { root, by, hop, .. } = &*self.0;
        let mut header = String::from("root=\"");
        percent::encode(&mut header, root.as_str());
        header.push('"');
        if let Some(By { address, token }) = by {
            header.push_str(", by=\"");
            push_address(&mut header, address);
            header.push_str(&format!("\", t=\"{token}\""));
        }
        header + &format!(", hop={hop}")
    }

    /// Reads a header, with the trace of the request. Returns an error for everything but the four members, each at
    /// most once and in any order: `root` and `hop`, and `by` and `t`, both or neither.
    pub fn from_header(header: &str, trace: Option<TraceId>) -> Result<Self, Invalid> {
        if header.len() > Self::MAX_HEADER_BYTES {
            return Err(bad(format!("must be at most {} bytes", Self::MAX_HEADER_BYTES)));
        }
        let (mut members, mut quoted) = (Members::default(), false);
        let ends_member = |c: char| {
            quoted ^= c == '"';
            c == ',' && !quoted
        };
        for member in header.split(ends_member) {
            members.add(member.trim_matches([' ', '\t']))?;
        }
        let Members { root, by, t, hop } = members;
        let missing = |what: &str| bad(format!("has no `{what}`"));
        let root = Root::new(percent::decode(root.ok_or_else(|| missing("root"))?)?)?;
        let hop = read_hop(hop.ok_or_else(|| missing("hop"))?)?;
        let by = match (by, t) {
            (Some(by), Some(t)) => Some(read_by(by, t)?),
            (None, None) => None,
            _ => return Err(bad("must have both `by` and `t`, or neither")),
        };
        Self::from_parts(Parts { root, by, trace, hop })
    }

    /// A claim that follows from the root itself has no run that caused it, and every other claim has one.
    fn from_parts(parts: Parts) -> Result<Self, Invalid> {
        match parts.by.is_some() == (parts.hop > 0) {
            true => Ok(Self(parts.into())),
            false => Err(bad("must have a run that caused it if its hop is above 0, and only then")),
        }
    }
}

/// The values of a dictionary's members, without their quotes.
#[derive(Default)]
struct Members<'h> {
    root: Option<&'h str>,
    by: Option<&'h str>,
    t: Option<&'h str>,
    hop: Option<&'h str>,
}

impl<'h> Members<'h> {
    fn add(&mut self, member: &'h str) -> Result<(), Invalid> {
        let unknown = || bad(format!("may have only `root`, `by`, `t` and `hop`, has {member:?}"));
        let (name, value) = member.split_once('=').ok_or_else(unknown)?;
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let (place, value) = match name {
            "root" => (&mut self.root, quoted),
            "by" => (&mut self.by, quoted),
            "t" => (&mut self.t, quoted),
            "hop" => (&mut self.hop, Some(value)),
            _ => return Err(unknown()),
        };
        let value = value.ok_or_else(|| bad(format!("must have quotes around the value of `{name}`")))?;
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(bad(format!("has `{name}` twice"))),
        }
    }
}

fn bad(why: impl Into<String>) -> Invalid {
    Invalid::new("cause", why)
}

/// Decimal digits without a sign and without a zero in front.
fn is_plain_number(digits: &str) -> bool {
    let canonical = digits == "0" || !digits.starts_with('0');
    canonical && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn read_hop(digits: &str) -> Result<u8, Invalid> {
    let hop = digits.parse().ok().filter(|hop| is_plain_number(digits) && *hop <= Cause::MAX_HOPS);
    hop.ok_or_else(|| {
        Invalid::new("hop of a cause", format!("must be 0 to {}, is {digits:?}", Cause::MAX_HOPS))
    })
}

fn read_by(address: &str, token: &str) -> Result<By, Invalid> {
    if !is_plain_number(token) {
        return Err(bad(format!("must have a token of decimal digits, has {token:?}")));
    }
    // Only a key may contain a slash, so the text is unambiguous.
    let mut parts = address.splitn(3, '/');
    let mut part = || {
        let part =
            parts.next().ok_or_else(|| bad(format!("must have `namespace/kind/key`, has {address:?}")))?;
        percent::decode(part)
    };
    let (namespace, kind, key) = (Namespace::new(part()?)?, part()?, Key::new(part()?)?);
    let kind = [Kind::Execution, Kind::Lease].into_iter().find(|known| known.as_str() == kind);
    let kind = kind.ok_or_else(|| bad(format!("must have `execution` or `lease` in {address:?}")))?;
    Ok(By { address: Address { namespace, kind, key }, token: token.parse()? })
}

fn push_address(out: &mut String, Address { namespace, kind, key }: &Address) {
    out.push_str(&format!("{namespace}/{kind}/"));
    percent::encode(out, key.as_str());
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { root, by, trace, hop } = &*self.0;
        let mut text = format!("{:032x} ", trace.map_or(0, TraceId::bits));
        percent::encode(&mut text, root.as_str());
        text.push_str(&format!(" {hop}"));
        if let Some(By { address, token }) = by {
            text.push(' ');
            push_address(&mut text, address);
            text.push_str(&format!(" {token}"));
        }
        f.write_str(&text)
    }
}

impl FromStr for Cause {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parts: Vec<&str> = text.split(' ').collect();
        let (trace, root, hop, by) = match *parts {
            [trace, root, hop] => (trace, root, hop, None),
            [trace, root, hop, by, token] => (trace, root, hop, Some(read_by(by, token)?)),
            _ => return Err(bad(format!("must have three or five parts, is {text:?}"))),
        };
        let trace = if trace == NO_TRACE { None } else { Some(trace.parse()?) };
        let root = Root::new(percent::decode(root)?)?;
        Self::from_parts(Parts { root, by, trace, hop: read_hop(hop)? })
    }
}

const NO_TRACE: &str = "00000000000000000000000000000000";

impl TryFrom<String> for Cause {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Cause> for String {
    fn from(cause: Cause) -> Self {
        cause.to_string()
    }
}

impl super::CauseQuery {
    /// The root or the trace as the text of a cause has it. Stores compare it with that part.
    pub fn encoded(&self) -> String {
        match self {
            Self::Root(root) => {
                let mut encoded = String::new();
                percent::encode(&mut encoded, root.as_str());
                encoded
            }
            Self::Trace(trace) => trace.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CauseQuery;
    use super::super::tests::run;
    use super::*;
    use crate::Token;

    fn root(text: &str) -> Root {
        Root::new(text).unwrap()
    }

    /// A cause at each end of each length.
    fn causes() -> Vec<Cause> {
        let trace = TraceId::from_bits(u128::MAX).unwrap();
        let roots = ["order-42", "a \"quoted\", 100% \\ € root", &"€".repeat(42), "%"];
        let keys = ["order-42", "a/b/c d,e", &"ü".repeat(256)];
        let mut all = Vec::new();
        for text in roots {
            let first = Cause::new(root(text));
            all.extend([first.clone(), first.clone().with_trace(trace)]);
            for key in keys {
                let child = first.child(run(key, Token::MAX.get())).unwrap().with_trace(trace);
                let last = (1..Cause::MAX_HOPS)
                    .fold(child.clone(), |cause, n| cause.child(run(key, n.into())).unwrap());
                all.extend([child, last]);
            }
        }
        all
    }

    #[test]
    fn the_header_is_the_one_of_the_specification() {
        let cause = Cause::new(root("order-42")).child(run("first", 9)).unwrap();
        let cause = cause.child(run("order-42", 1_795_227_373_939_496)).unwrap();
        let header = "root=\"order-42\", by=\"orders/execution/order-42\", t=\"1795227373939496\", hop=2";
        assert_eq!(cause.to_header(), header);
        assert_eq!(Cause::from_header(header, None).unwrap(), cause);
        assert_eq!(Cause::new(root("a b")).to_header(), "root=\"a%20b\", hop=0");
    }

    #[test]
    fn a_header_and_a_stored_text_are_read_back() {
        for cause in causes() {
            let (header, text) = (cause.to_header(), cause.to_string());
            assert!(header.len() <= Cause::MAX_HEADER_BYTES, "{} bytes", header.len());
            assert_eq!(Cause::from_header(&header, cause.trace()).unwrap(), cause, "{header}");
            assert_eq!(text.parse::<Cause>().unwrap(), cause, "{text}");
            let parts: Vec<_> = text.split(' ').collect();
            assert_eq!(parts[1], CauseQuery::Root(cause.root().clone()).encoded());
            let trace = cause.trace().map(|trace| CauseQuery::Trace(trace).encoded());
            assert_eq!(parts[0], trace.as_deref().unwrap_or(NO_TRACE));
        }
    }

    #[test]
    fn members_come_in_any_order_with_blanks_between_them() {
        let cause = Cause::new(root("a")).child(run("k", 5)).unwrap();
        for header in [
            "hop=1,t=\"5\",by=\"orders/execution/k\",root=\"a\"",
            " root=\"%61\" ,\t hop=1 , by=\"orders/execution/%6B\", t=\"5\" ",
        ] {
            assert_eq!(Cause::from_header(header, None).unwrap(), cause, "{header}");
        }
    }

    #[test]
    fn a_comma_within_quotes_ends_no_member() {
        let cause = Cause::from_header("root=\"a,b=,hop=3\", hop=0", None).unwrap();
        assert_eq!(cause, Cause::new(root("a,b=,hop=3")));
    }

    #[test]
    fn a_header_that_is_not_exactly_one_is_refused() {
        let long = format!("root=\"a\", hop=0{}", " ".repeat(Cause::MAX_HEADER_BYTES));
        for header in [
            "",
            "root=\"a\"",
            "hop=0",
            "root=\"a\", hop=0,",
            "root=\"a\", hop=0, x=1",
            "root=\"a\", hop=0, root=\"a\"",
            "root=\"a\", hop=00",
            "root=\"a\", hop=+1",
            "root=\"a\", hop=33",
            "root=\"a\", hop=256",
            "root=\"a\", hop=\"0\"",
            "root=\"a\";x, hop=0",
            "root=a, hop=0",
            "root=\"\", hop=0",
            "root=\"%0A\", hop=0",
            "root=\"a\\\"b\", hop=0",
            "root=\"a b\", hop=0",
            "root=\"é\", hop=0",
            "root =\"a\", hop=0",
            "root=\"a\", hop=1",
            "root=\"a\", hop=1, t=\"5\"",
            "root=\"a\", hop=1, by=\"orders/execution/k\"",
            "root=\"a\", hop=0, by=\"orders/execution/k\", t=\"5\"",
            "root=\"a\", hop=1, by=\"orders/execution/k\", t=\"0\"",
            "root=\"a\", hop=1, by=\"orders/execution/k\", t=\"05\"",
            "root=\"a\", hop=1, by=\"orders/execution/k\", t=\"9007199254740992\"",
            "root=\"a\", hop=1, by=\"orders/job/k\", t=\"5\"",
            "root=\"a\", hop=1, by=\"orders/execution\", t=\"5\"",
            "root=\"a\", hop=1, by=\"Orders/execution/k\", t=\"5\"",
            &long,
        ] {
            assert!(Cause::from_header(header, None).is_err(), "{header}");
        }
    }

    #[test]
    fn a_stored_text_that_is_no_cause_is_refused() {
        for text in
            ["", "a", &format!("{NO_TRACE} a"), &format!("{NO_TRACE} a 1"), &format!("{NO_TRACE} a 0 b")]
        {
            assert!(text.parse::<Cause>().is_err(), "{text}");
        }
        assert!(format!("{NO_TRACE} a 0").parse::<Cause>().is_ok());
    }
}
