//! What a user must be allowed to do: what docs/operations.md lists, and not more.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The rules of docs/operations.md, as written there, without the user's name.
pub(crate) fn documented_rules() -> String {
    let text = page();
    let (_, after) = text.split_once("<!-- the rules -->\n```\n").expect("the page has the rules");
    let rules = after.split_once("```").unwrap().0.split_once(" on >secret ").unwrap().1;
    rules.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn page() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap()
}

/// Sends each command to find out whether the user may. What only this file sends needs no right.
const TRIES_RIGHTS: &str = "src/doctor/access.rs";

/// All text of a folder of this crate, without the file that tries the rights.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| match path.is_dir() {
        true => sources(&path),
        false if path.ends_with(TRIES_RIGHTS) => String::new(),
        false => fs::read_to_string(path).unwrap(),
    };
    entries.map(text).collect()
}

/// The words in quotes after a given text.
fn quoted_after<'t>(text: &'t str, before: &str, quote: char) -> impl Iterator<Item = &'t str> {
    let word = move |(_, rest): (usize, &'t str)| rest.split_once(quote).unwrap().0;
    let at: Vec<usize> = text.match_indices(before).map(|(at, found)| at + found.len()).collect();
    at.into_iter().map(move |at| word((at, &text[at..])))
}

#[test]
fn each_command_that_is_sent_is_documented_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(root.join(TRIES_RIGHTS).is_file(), "{TRIES_RIGHTS} has moved");
    let (rust, lua) = (sources(&root.join("src")), sources(&root.join("lua")));
    // The tables list the commands that are called later.
    let calls = ["redis.call('", "redis.pcall('", "= { '"];
    let called = calls.iter().flat_map(|call| quoted_after(&lua, call, '\''));
    let called = called.chain(quoted_after(&rust, "Command::new(\"", '"'));
    let rights = called.map(|name| match name {
        "CONFIG" => "+config|get".to_owned(),
        "SCRIPT" => "+script|load".to_owned(),
        name => format!("+{}", name.to_lowercase()),
    });
    let (some, all): (BTreeSet<String>, BTreeSet<String>) =
        rights.partition(|right| ["+config|get", "+wait", "+waitaof"].contains(&right.as_str()));
    let listed = documented_rules();
    let listed: BTreeSet<String> =
        listed.split(' ').filter(|rule| rule.starts_with('+')).map(str::to_owned).collect();
    assert_eq!(all, listed);
    // The commands that only some deployments need are in a table below.
    assert_eq!(some.len(), 3);
    assert!(some.iter().all(|right| page().contains(&right.replace('|', "\\|"))), "{some:?}");
}
