//! The parts that scripts share, and how a script is linked with those that it uses.

const CONSTANTS: &str = include_str!("../lua/parts/constants.lua");
const BEFORE: &str = include_str!("../lua/parts/before.lua");
const HELPERS: &str = include_str!("../lua/parts/helpers.lua");
pub(crate) const AFTER: &str = include_str!("../lua/parts/after.lua");
pub(crate) const LOOP: &str = include_str!("../lua/parts/loop.lua");

/// A script with the functions that it uses in front of it, and constants in place of their names. A script makes all
/// its functions anew each time it runs: those that it does not use would cost as much as those that it does.
pub(crate) fn linked(body: &str) -> String {
    let mut body = body.to_owned();
    for (name, function) in functions().iter().rev() {
        let own = body.contains(&format!("local function {name}("));
        if !own && words(&body).any(|(_, word)| word == *name) {
            body = format!("{function}\n{body}");
        }
    }
    let text = format!("{BEFORE}{body}");
    let (mut linked, mut copied) = (String::with_capacity(text.len()), 0);
    for (at, word) in words(&text) {
        if let Some((_, value)) = constants().find(|(name, _)| *name == word) {
            linked.push_str(&text[copied..at]);
            linked.push_str(value);
            copied = at + word.len();
        }
    }
    linked.push_str(&text[copied..]);
    linked
}

/// The helpers: each from its first line to an `end` at the start of a line.
fn functions() -> Vec<(&'static str, &'static str)> {
    let starts = HELPERS.match_indices("\nlocal function ").map(|(at, _)| at + 1);
    let function = |at: usize| {
        let text = &HELPERS[at..];
        let end = text.find("\nend\n").map_or(text.len(), |end| end + 5);
        let name = text["local function ".len()..].split('(').next().unwrap_or_default();
        (name, &text[..end])
    };
    starts.map(function).collect()
}

fn constants() -> impl Iterator<Item = (&'static str, &'static str)> {
    let line = |line: &'static str| line.strip_prefix("local ")?.split_once(" = ");
    CONSTANTS.lines().filter_map(line)
}

/// The names in a text, and their positions.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(part)?;
        let end = text[start..].find(|c| !part(c)).map_or(text.len(), |length| start + length);
        at = end;
        Some((start, &text[start..end]))
    })
}
