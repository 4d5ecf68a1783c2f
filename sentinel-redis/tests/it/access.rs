//! What a user must be allowed to do: what docs/operations.md lists, and not more.

/// The rules of docs/operations.md, as they stand there, without who they are for.
pub(crate) fn documented_rules() -> String {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    let (_, after) = text.split_once("<!-- the rules -->\n```\n").expect("the page has the rules");
    let rules = after.split_once("```").unwrap().0.split_once(" on >secret ").unwrap().1;
    rules.split_whitespace().collect::<Vec<_>>().join(" ")
}
