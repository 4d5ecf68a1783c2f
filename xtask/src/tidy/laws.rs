//! Every law of the conformance suite is documented: the sentence that a store has broken when it fails.

use super::Findings;
use super::files::File;

/// The folder that holds a contract's list of laws, in each contract of the suite.
const LIST: &str = "/list/";

/// The sources of the suite.
const SUITE: &str = "conformance-tests/src/";

pub(crate) fn check(files: &[File], found: &mut Findings) {
    let sources = files.iter().filter(|file| file.path.starts_with(SUITE)).collect::<Vec<_>>();
    let lists = sources.iter().filter(|file| file.path.contains(LIST));
    let laws: Vec<_> = lists.flat_map(|list| names(&list.text).map(|law| (&list.path, law))).collect();
    if laws.is_empty() && !sources.is_empty() {
        found.push(format!(
            "{SUITE}: no law was found in a folder `list`: if the list has moved, change this path"
        ));
    }
    for (list, law) in laws {
        let documented = sources.iter().filter_map(|file| is_documented(&file.text, law)).collect::<Vec<_>>();
        match documented.as_slice() {
            [] => found.push(format!("{list}: the law {law} is not written")),
            all if all.contains(&false) => found.push(format!("{list}: the law {law} is not documented")),
            _ => {}
        }
    }
}

/// The names in the list: a line each, a word in small letters and a comma.
fn names(list: &str) -> impl Iterator<Item = &str> {
    let words = list.lines().filter_map(|line| line.trim().strip_suffix(','));
    words.filter(|word| {
        word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

/// Whether the function of this name has a documentation; None: it is not here.
fn is_documented(source: &str, law: &str) -> Option<bool> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.contains(&format!("fn {law}(")))?;
    let above = lines[..at].iter().rev().find(|line| !line.starts_with("#["));
    Some(above.is_some_and(|line| line.starts_with("///")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undocumented_law_is_found() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let list = file(
            "conformance-tests/src/coordination/list/laws.rs",
            "laws {\n  claims {\n    a_b,\n    c_d,\n    e_f,\n  }\n}\nnot_this\n",
        );
        let laws = file(
            "conformance-tests/src/coordination/laws/claims.rs",
            "/// Why.\nasync fn a_b() {}\n\nasync fn c_d() {}\n",
        );
        let mut found = vec![];
        check(&[list, laws], &mut found);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("c_d is not documented") && found[1].contains("e_f is not written"));
    }
}
