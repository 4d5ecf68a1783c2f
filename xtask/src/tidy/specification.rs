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

/// Whether a line names the specification.
fn names_it(line: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric());
    words.any(|word| ["spec", "specification"].iter().any(|name| word.eq_ignore_ascii_case(name)))
}

/// The sections that a line refers to. On a line that names the specification, each `§` is of it.
fn references(line: &str) -> impl Iterator<Item = Reference<'_>> {
    let names_it = names_it(line);
    line.match_indices('§').filter(move |_| names_it).filter_map(|(at, sign)| {
        let rest = line[at + sign.len()..].trim_start();
        let section = leading_number(rest);
        let target = rest[section.len()..].strip_prefix("](").and_then(|rest| rest.split(')').next());
        let anchor =
            target.and_then(|target| target.split_once("specification.md#")).map(|(_, anchor)| anchor);
        (!section.is_empty()).then_some(Reference { section, anchor })
    })
}

/// The forms of a reference that this check does not read.
fn old_form(line: &str) -> Option<String> {
    let lower = line.to_lowercase();
    let is_word = ["spec ", "specification "].iter().any(|name| {
        let mut after = lower.match_indices(name).map(|(at, _)| &lower[at + name.len()..]);
        after.any(|rest| rest.starts_with("section ") || rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    (is_word || has_list(line)).then(|| {
        "each section of the specification is referred to as `spec §N`, a further one as `§N`".to_owned()
    })
}

/// Whether a reference goes on with a number that has no sign of its own: a list or a range.
fn has_list(line: &str) -> bool {
    let mut after = line.match_indices('§').map(|(at, sign)| line[at + sign.len()..].trim_start());
    let separators = [",", "-", "–", "—", "/", "and ", "or ", "to "];
    let goes_on = |rest: &str| {
        let rest = rest[leading_number(rest).len()..].trim_start();
        let further = separators.iter().find_map(|separator| rest.strip_prefix(separator));
        further.is_some_and(|rest| rest.trim_start().starts_with(|c: char| c.is_ascii_digit()))
    };
    names_it(line) && after.any(|rest| !leading_number(rest).is_empty() && goes_on(rest))
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
    fn every_form_of_a_reference_is_checked_or_refused() {
        for form in ["SP_EC §N", "sp_ec, §N", "sp_ec (§N)", "sp_ec § N", "§N of the sp_ecification"] {
            let line = form.replace('_', "");
            assert_eq!(wrong(&line.replace('N', "9"), &["1"]).count(), 1, "{line}");
            assert_eq!(wrong(&line.replace('N', "1"), &["1"]).count(), 0, "{line}");
        }
        for form in ["sp_ec §1, 9", "sp_ec §1-9", "sp_ec §1–9", "sp_ec §1 and 9", "sp_ec section 9"] {
            assert_eq!(wrong(&form.replace('_', ""), &["1"]).count(), 1, "{form}");
        }
        assert_eq!(wrong("RFC 9110 §4, 5, which we inspect", &["1"]).count(), 0);
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
