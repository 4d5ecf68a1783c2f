//! Every reference to the specification (`spec §N`) names a section that exists in it.

use super::Findings;
use super::files::File;

const SPECIFICATION: &str = "docs/specification.md";

pub(crate) fn check(files: &[File], found: &mut Findings) {
    let Some(page) = files.iter().find(|file| file.path == SPECIFICATION) else {
        found.push(format!("{SPECIFICATION}: is missing"));
        return;
    };
    let sections: Vec<&str> = page.text.lines().filter_map(section).collect();
    if sections.is_empty() {
        found.push(format!("{SPECIFICATION}: has no numbered section (`## 1. Title`)"));
    }
    for file in files {
        for (number, line) in file.lines() {
            found.extend(wrong(line, &sections).map(|why| format!("{}:{number}: {why}", file.path)));
        }
    }
}

/// What is wrong with the references of a line.
fn wrong(line: &str, sections: &[&str]) -> impl Iterator<Item = String> {
    let missing = references(line).filter(|reference| !sections.contains(&reference.section));
    let missing = missing.map(|reference| {
        format!(
            "spec §{} is no section of {SPECIFICATION}, which has {}",
            reference.section,
            sections.join(", ")
        )
    });
    let elsewhere = references(line).filter(|reference| !reference.link_matches());
    let elsewhere =
        elsewhere.map(|reference| format!("spec §{} is a link to another section", reference.section));
    missing.chain(elsewhere).chain(old_form(line)).collect::<Vec<_>>().into_iter()
}

/// The number of a heading: `## 3. Title` has 3, `### 3.1 Title` has 3.1.
fn section(line: &str) -> Option<&str> {
    let number = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with("##"))?;
    Some(leading_number(number)).filter(|number| !number.is_empty())
}

/// The number at the start of a text: digits, with dots between them.
fn leading_number(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

/// A section that a text refers to.
struct Reference<'a> {
    section: &'a str,
    /// The anchor in the specification that it is a link to.
    anchor: Option<&'a str>,
}

impl Reference<'_> {
    /// Whether the link, if there is one, leads to this section.
    fn link_matches(&self) -> bool {
        let prefix = format!("{}-", self.section.replace('.', ""));
        self.anchor.is_none_or(|anchor| anchor.starts_with(&prefix))
    }
}

/// The sections that a line refers to. On a line with `spec §1`, a further `§2` is of the specification, too.
fn references(line: &str) -> impl Iterator<Item = Reference<'_>> {
    let names_it = ["spec §", "Spec §"].iter().any(|form| line.contains(form));
    line.match_indices('§').filter(move |_| names_it).filter_map(|(at, sign)| {
        let rest = &line[at + sign.len()..];
        let section = leading_number(rest);
        let target = rest[section.len()..].strip_prefix("](").and_then(|rest| rest.split(')').next());
        let anchor =
            target.and_then(|target| target.split_once("specification.md#")).map(|(_, anchor)| anchor);
        (!section.is_empty()).then_some(Reference { section, anchor })
    })
}

/// The forms of a reference that this check does not read.
fn old_form(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(concat!("SP", "EC "))?;
    let is_reference = rest.starts_with("section") || rest.starts_with(|c: char| c.is_ascii_digit());
    is_reference.then(|| "a section of the specification is referred to as `spec §N`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[test]
    fn sections_are_the_numbered_headings() {
        let page = "# 9. The page\n## 1. Idea\n### 1.2 Part\n### Without\n1. item\n## 10. Last";
        assert_eq!(page.lines().filter_map(section).collect::<Vec<_>>(), ["1", "1.2", "10"]);
    }

    #[test]
    fn references_are_found_with_their_links() {
        let sections =
            |line| references(line).map(|reference| reference.section.to_owned()).collect::<Vec<_>>();
        assert_eq!(sections(concat!("see sp", "ec §3, heartbeat, §4.1 and (§7).")), ["3", "4.1", "7"]);
        assert_eq!(sections(concat!("Sp", "ec §2.")), ["2"]);
        assert_eq!(sections("RFC 9110 §4"), [""; 0]);
        assert_eq!(sections(concat!("`sp", "ec §N`")), [""; 0]);
        let link = concat!("[sp", "ec §3](../docs/specification.md#3-transitions)");
        assert_eq!(wrong(link, &["3"]).count(), 0);
        assert_eq!(wrong(&link.replace("#3-", "#4-"), &["3"]).count(), 1);
    }

    #[test]
    fn a_reference_to_no_section_is_found() {
        let page = file(SPECIFICATION, "## 1. Idea\n## 2. Words\n");
        let right = file("a.rs", concat!("//! Sp", "ec §1 and §2.\n"));
        let wrong = file("b.sql", concat!("-- one\n-- sp", "ec §3\n"));
        let old = file("c.lua", concat!("-- SP", "EC section 1\n"));
        let mut found = vec![];
        check(&[page, right, wrong, old], &mut found);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with(concat!("b.sql:2: sp", "ec §3 is no section")), "{found:?}");
        assert!(found[1].starts_with("c.lua:1: "), "{found:?}");
    }

    #[test]
    fn a_specification_that_is_missing_or_has_no_sections_is_found() {
        for files in [vec![], vec![file(SPECIFICATION, "## Idea\n")]] {
            let mut found = vec![];
            check(&files, &mut found);
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }
}
