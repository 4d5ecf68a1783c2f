//! Circles of modules: files of a crate that use each other, directly or by way of others, cannot be read one after the
//! other. Files are read as text: paths from `crate` and `super`, and a file's uses of its own child modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::shell::{Failure, Result};
use crate::tidy::files::walk;
use crate::workspace::{Member, Workspace, root};

/// A module: the names of its path within the crate.
type Module = Vec<String>;

/// The circles that are known, each by crate and the number of its files. A crate that is not named here has none.
/// Nothing raises a number, and a circle that was opened lowers it.
const KNOWN: [(&str, usize); 0] = [];

/// Refuses a crate whose circles have more files than are known.
pub(super) fn check(workspace: &Workspace, broken: &mut Vec<String>) -> Result {
    for member in &workspace.members {
        let circles = of(member)?;
        let files: usize = circles.iter().map(BTreeSet::len).sum();
        let known = KNOWN.iter().find(|(name, _)| *name == member.name).map_or(0, |(_, files)| *files);
        if files > known {
            let shown: Vec<_> = circles.iter().map(names).collect();
            broken.push(format!(
                "{}: {files} files use each other in a circle, and {known} are known: {}",
                member.name,
                shown.join("; ")
            ));
        } else if files < known {
            broken.push(format!("{}: {files} files are in circles: lower its number in KNOWN", member.name));
        }
    }
    Ok(())
}

fn names(circle: &BTreeSet<Module>) -> String {
    let names: Vec<_> = circle.iter().map(|module| format!("crate::{}", module.join("::"))).collect();
    names.join(", ")
}

/// The circles of a crate.
fn of(member: &Member) -> Result<Vec<BTreeSet<Module>>> {
    let mut paths = Vec::new();
    walk(&member.path().join("src"), &mut paths)?;
    let mut sources = BTreeMap::new();
    for path in paths.iter().filter(|path| path.ends_with(".rs")) {
        let folder = format!("{}/src/", member.folder);
        let Some(module) = path.strip_prefix(&folder).and_then(module_of) else { continue };
        let text = fs::read_to_string(root().join(path))
            .map_err(|error| Failure::from(format!("{path}: {error}")))?;
        sources.insert(module, code_of(&text));
    }
    Ok(circles(&uses(&sources)))
}

/// The module of a file; None: it is compiled for tests only.
fn module_of(path: &str) -> Option<Module> {
    let path = path.strip_suffix(".rs")?;
    let mut names: Module = path.split('/').map(str::to_owned).collect();
    if names.iter().any(|name| name == "tests" || name.ends_with("_tests")) {
        return None;
    }
    if names.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        names.pop();
    }
    Some(names)
}

/// A file without comments, texts and its tests.
fn code_of(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = shipped.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.fold(String::new(), |code, line| code + line + "\n")
}

/// Which modules each module uses.
fn uses(sources: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let mut all = BTreeMap::new();
    for (module, code) in sources {
        let mut used = BTreeSet::new();
        for path in paths(module, code, sources) {
            used.extend(target(&path, sources));
        }
        // A module and the files that it declares are named together: `pub use` of a child is no use of it.
        used.remove(module);
        all.insert(module.clone(), used);
    }
    all
}

/// The paths that code names, from the root of the crate.
fn paths(module: &Module, code: &str, sources: &BTreeMap<Module, String>) -> Vec<Module> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if is_start(code, at) && !is_export(code, at) {
            expand(&[], &code[at + "crate::".len()..], &mut found);
        }
    }
    for (at, _) in code.match_indices("super::") {
        if !is_start(code, at) || is_export(code, at) {
            continue;
        }
        let (mut up, mut rest) = (1, &code[at + "super::".len()..]);
        while let Some(further) = rest.strip_prefix("super::") {
            (up, rest) = (up + 1, further);
        }
        if let Some(base) = module.len().checked_sub(up) {
            expand(&module[..base], rest, &mut found);
        }
    }
    let children =
        sources.keys().filter(|other| other.len() == module.len() + 1 && other.starts_with(module));
    for child in children {
        let name = format!("{}::", child[module.len()]);
        for (at, _) in code.match_indices(&name) {
            if is_start(code, at) && !is_export(code, at) {
                expand(child, &code[at + name.len()..], &mut found);
            }
        }
    }
    found
}

/// Whether a path begins here, and is no part of a longer one.
fn is_start(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| {
        c.is_alphanumeric() || c == '_' || c == ':' || c == '(' && code[..at].ends_with("pub(")
    })
}

/// Whether the statement only exports: `pub use`, `pub(crate) use`.
fn is_export(code: &str, at: usize) -> bool {
    let statement = code[..at].rsplit([';', '}']).next().unwrap_or_default().trim_start();
    let statement =
        statement.rsplit('\n').find(|line| !line.trim().is_empty()).unwrap_or_default().trim_start();
    statement.starts_with("pub use") || statement.starts_with("pub(") && statement.contains(") use")
}

/// The paths below a base: one, or those of a group in braces.
fn expand(base: &[String], rest: &str, found: &mut Vec<Module>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        let (mut depth, mut item) = (0, String::new());
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                ',' if depth == 0 => expand(base, &std::mem::take(&mut item), found),
                _ => {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    item.push(c);
                }
            }
        }
        if !item.trim().is_empty() {
            expand(base, &item, found);
        }
        return;
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    let path = [base, &[name.to_owned()]].concat();
    match after.strip_prefix("::") {
        Some(further) if further.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '{') => {
            expand(&path, further, found);
        }
        _ => found.push(path),
    }
}

/// The module that a path leads to: the longest part of it that is one. A name that a parent only exports leads
/// nowhere.
fn target(path: &Module, sources: &BTreeMap<Module, String>) -> Option<Module> {
    let module =
        (0..=path.len()).rev().map(|length| &path[..length]).find(|part| sources.contains_key(*part))?;
    let name = path.get(module.len())?;
    let code = &sources[module];
    let kinds = ["struct", "enum", "trait", "fn", "type", "const", "static", "union"];
    let defines = kinds.iter().any(|kind| {
        code.match_indices(&format!("{kind} {name}"))
            .any(|(at, text)| !code[at + text.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    });
    let has_children = sources.keys().any(|other| other.len() > module.len() && other.starts_with(module));
    (defines || !has_children).then(|| module.to_vec())
}

/// The groups of modules of which each reaches each other one.
fn circles(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        uses.keys().map(|from| (from, reach(from, uses))).collect();
    let mut circles: Vec<BTreeSet<Module>> = Vec::new();
    for (from, all) in &reached {
        if !all.contains(*from) || circles.iter().any(|circle| circle.contains(*from)) {
            continue;
        }
        let circle = all.iter().filter(|other| reached[**other].contains(*from));
        circles.push(circle.map(|module| (*module).clone()).collect());
    }
    circles
}

/// All that a module uses, directly or by way of others.
fn reach<'a>(from: &'a Module, uses: &'a BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(uses.get(module).into_iter().flatten().filter(|used| reached.insert(*used)));
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_tree_has_no_circle_that_is_not_known() {
        let mut broken = Vec::new();
        check(&Workspace::load().unwrap(), &mut broken).unwrap();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    fn crate_of(files: &[(&str, &str)]) -> Vec<BTreeSet<Module>> {
        let sources = files.iter().map(|(path, text)| (module_of(path).unwrap(), code_of(text))).collect();
        circles(&uses(&sources))
    }

    fn module(path: &str) -> Module {
        path.split("::").map(str::to_owned).collect()
    }

    #[test]
    fn files_that_use_each_other_are_a_circle() {
        let circles = crate_of(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;\n"),
            ("a.rs", "use crate::b::B;\npub struct A;\n"),
            ("b/mod.rs", "mod d;\npub struct B;\nfn f() { crate::c::C::new() }\n"),
            ("b/d.rs", "// crate::a::A\nuse super::B;\n"),
            (
                "c.rs",
                "use crate::{a::A, b};\npub struct C;\n#[cfg(test)]\nmod tests { use crate::b::d::X; }\n",
            ),
        ]);
        assert_eq!(circles, [["a", "b", "c"].map(module).into_iter().collect()]);
    }

    #[test]
    fn a_child_that_uses_what_its_parent_defines_is_in_a_circle_if_the_parent_uses_it() {
        let child = ("a/b.rs", "use super::A;\npub fn f() {}\n");
        assert_eq!(crate_of(&[("a/mod.rs", "mod b;\npub struct A;\nfn g() { b::f() }\n"), child]).len(), 1);
        assert_eq!(crate_of(&[("a/mod.rs", "mod b;\npub use b::f;\npub struct A;\n"), child]).len(), 0);
    }

    #[test]
    fn what_a_root_exports_leads_to_no_module() {
        let root = ("lib.rs", "mod a;\nmod b;\npub use a::A;\nfn g() { b::h() }\n");
        assert_eq!(
            crate_of(&[root, ("a.rs", "pub struct A;"), ("b.rs", "use crate::A;\nfn h() {}")]).len(),
            0
        );
    }
}
