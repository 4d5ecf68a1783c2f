//! Which modules of a crate name which others. Files are read as text: paths from `crate`, `super` and `self`, paths
//! from modules that were imported by name, and a file's uses of its own child modules. `spellings` refuses what this
//! cannot follow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::shell::{Failure, Result};
use crate::tidy::files::walk;
use crate::workspace::{Member, root};

/// A module: the names of its path within the crate.
pub(super) type Module = Vec<String>;

/// The code of a crate's modules.
#[derive(Debug)]
pub(super) struct Sources(BTreeMap<Module, String>);

/// What each module names.
type Names<'a> = BTreeMap<&'a Module, Vec<Named>>;

/// How many imports of one name are followed, one after the other.
const MOST_STEPS: usize = 8;

/// A path that code names, from the root of the crate.
#[derive(Debug, Clone, PartialEq)]
struct Named {
    path: Module,
    /// The name that an import gives it: the last one, or the one after `as`.
    alias: String,
    /// Whether the statement only exports it: `pub use`.
    is_export: bool,
}

impl Sources {
    /// The modules of a crate's library or program.
    pub(super) fn load(member: &Member) -> Result<Self> {
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
        Ok(Self(sources))
    }

    /// The modules of files given by path and text.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (module_of(path).unwrap(), code_of(text))).collect())
    }

    /// Which modules each module uses. What it only exports is not used.
    pub(super) fn uses(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let names: Names<'_> =
            self.0.iter().map(|(module, code)| (module, self.named(module, code))).collect();
        let mut all = BTreeMap::new();
        for (module, named) in &names {
            let mut used: BTreeSet<Module> = named
                .iter()
                .filter(|named| !named.is_export)
                .filter_map(|named| self.target(&named.path, &names, MOST_STEPS, false))
                .collect();
            // A module and the files that it declares are named together: `pub use` of a child is no use of it.
            used.remove(*module);
            all.insert((*module).clone(), used);
        }
        all
    }

    /// The paths that each module names, exports included.
    pub(super) fn paths(&self) -> BTreeMap<&Module, Vec<Module>> {
        let paths = |module, code| self.named(module, code).into_iter().map(|named| named.path).collect();
        self.0.iter().map(|(module, code)| (module, paths(module, code))).collect()
    }

    /// The code of each module.
    pub(super) fn code(&self) -> impl Iterator<Item = (&Module, &str)> {
        self.0.iter().map(|(module, code)| (module, code.as_str()))
    }

    /// Whether the root of the crate has this module.
    pub(super) fn has_module(&self, name: &str) -> bool {
        self.0.keys().any(|module| module.first().is_some_and(|first| first == name))
    }

    /// The paths that a module names.
    fn named(&self, module: &Module, code: &str) -> Vec<Named> {
        let mut found = Vec::new();
        for (base, at) in starts(module, code) {
            expand(&base, &code[at..], is_export(code, at), &mut found);
        }
        let children =
            self.0.keys().filter(|other| other.len() == module.len() + 1 && other.starts_with(module));
        for child in children {
            follow(child, &child[module.len()], code, &mut found);
        }
        // `use crate::a;` names what `a::..` leads to.
        let imported: Vec<Named> =
            found.iter().filter(|named| self.0.contains_key(&named.path)).cloned().collect();
        for import in imported {
            follow(&import.path, &import.alias, code, &mut found);
        }
        found
    }

    /// The module that defines what a path leads to. The longest part of the path that is a module defines it, or
    /// imports it from where it is looked for next; what a glob may import counts only where it is defined. A name that
    /// comes from another crate leads nowhere.
    fn target(&self, path: &[String], names: &Names<'_>, steps: usize, is_glob: bool) -> Option<Module> {
        let steps = steps.checked_sub(1)?;
        let module =
            (0..=path.len()).rev().map(|length| &path[..length]).find(|part| self.0.contains_key(*part))?;
        let (name, rest) = path[module.len()..].split_first()?;
        if defines(&self.0[module], name) {
            return Some(module.to_vec());
        }
        let imports = names.get(&module.to_vec()).into_iter().flatten();
        let mut imported = imports.filter_map(|import| match import.alias.as_str() {
            "*" => Some(([&import.path[..import.path.len() - 1], &path[module.len()..]].concat(), true)),
            alias if alias == name => Some(([&import.path[..], rest].concat(), is_glob)),
            _ => None,
        });
        let is_leaf =
            !is_glob && !self.0.keys().any(|other| other.len() > module.len() && other.starts_with(module));
        imported
            .find_map(|(path, is_glob)| self.target(&path, names, steps, is_glob))
            .or_else(|| is_leaf.then(|| module.to_vec()))
    }
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

/// A file without comments and its tests.
fn code_of(text: &str) -> String {
    let (mut code, mut is_test, mut in_tests) = (String::new(), false, false);
    for line in text.lines() {
        if in_tests {
            // The module's own closing brace is the first that is not indented.
            in_tests = !line.starts_with('}');
            continue;
        }
        let is_attribute = line.starts_with("#[");
        let opens_tests = is_test && line.starts_with("mod ") && line.contains('{');
        let is_for_tests = ["#[cfg(test)]", "#[cfg(all(test,"].iter().any(|form| line.starts_with(form));
        is_test = is_attribute && (is_test || is_for_tests);
        if opens_tests {
            in_tests = !line.ends_with('}');
            continue;
        }
        code.push_str(line.split_once("//").map_or(line, |(code, _)| code));
        code.push('\n');
    }
    code
}

/// Whether code defines an item of this name.
fn defines(code: &str, name: &str) -> bool {
    let kinds = ["struct", "enum", "trait", "fn", "type", "const", "static", "union", "macro_rules!", "mod"];
    kinds.iter().any(|kind| {
        code.match_indices(&format!("{kind} {name}"))
            .any(|(at, text)| !begins_with_name(&code[at + text.len()..]))
    })
}

/// Where paths from `crate`, `super` and `self` begin: the module that they begin at, and what follows it.
fn starts(module: &Module, code: &str) -> Vec<(Module, usize)> {
    let mut found = Vec::new();
    for (root, up) in [("crate::", module.len()), ("self::", 0), ("super::", 1)] {
        for (at, _) in code.match_indices(root).filter(|(at, _)| is_start(code, *at)) {
            let (mut up, mut end) = (up, at + root.len());
            while let Some(rest) = code[end..].strip_prefix("super::") {
                (up, end) = (up + 1, code.len() - rest.len());
            }
            if let Some(depth) = module.len().checked_sub(up) {
                found.push((module[..depth].to_vec(), end));
            }
        }
    }
    found
}

/// Adds the paths that begin with the name of a module in scope.
fn follow(module: &Module, name: &str, code: &str, found: &mut Vec<Named>) {
    let name = format!("{name}::");
    for (at, _) in code.match_indices(&name).filter(|(at, _)| is_start(code, *at)) {
        let end = at + name.len();
        expand(module, &code[end..], is_export(code, end), found);
    }
}

/// Whether a path begins here, and is no part of a longer one.
fn is_start(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| is_of_name(c) || c == ':' || c == '(' && code[..at].ends_with("pub("))
}

/// Whether the statement only exports: `pub use`, `pub(crate) use`.
fn is_export(code: &str, at: usize) -> bool {
    let statement = code[..at].rsplit([';', '}']).next().unwrap_or_default();
    let line = statement.rsplit('\n').find(|line| !line.trim().is_empty()).unwrap_or_default().trim_start();
    line.starts_with("pub use") || line.starts_with("pub(") && line.contains(") use")
}

/// The paths below a base: one, or those of a group in braces.
fn expand(base: &[String], rest: &str, is_export: bool, found: &mut Vec<Named>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        for item in items(group) {
            expand(base, &item, is_export, found);
        }
        return;
    }
    let end =
        if rest.starts_with('*') { 1 } else { rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len()) };
    let (name, after) = rest.split_at(end);
    // `self` in a group is the module itself.
    let path = if name == "self" { base.to_vec() } else { [base, &[name.to_owned()]].concat() };
    match after.strip_prefix("::") {
        Some(further) if further.starts_with('{') || begins_with_name(further) => {
            expand(&path, further, is_export, found);
        }
        Some(further) if further.starts_with('*') => {
            found.push(Named { path: [&path[..], &["*".to_owned()]].concat(), alias: "*".into(), is_export });
        }
        _ => {
            let alias = after.strip_prefix(" as ").unwrap_or_default();
            let alias: String = alias.chars().take_while(|c| is_of_name(*c)).collect();
            let alias = if alias.is_empty() { path.last().cloned().unwrap_or_default() } else { alias };
            found.push(Named { path, alias, is_export });
        }
    }
}

/// The items of a group, up to its closing brace.
fn items(group: &str) -> Vec<String> {
    let (mut depth, mut items) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                items.last_mut().into_iter().for_each(|item| item.push(c));
            }
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

fn begins_with_name(text: &str) -> bool {
    text.starts_with(is_of_name)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(module: &str, files: &[(&str, &str)]) -> Vec<String> {
        let sources = Sources::of(files);
        let module: Module = module.split("::").map(str::to_owned).collect();
        let mut paths: Vec<String> = sources.paths()[&module].iter().map(|path| path.join("::")).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    #[test]
    fn every_form_of_a_path_is_read() {
        let files = [
            (
                "a/mod.rs",
                "use super::b::X;\nuse self::c::Y;\nuse crate::{d::{self, Z as W}, e};\nfn f() { d::g(c::h()) }\n",
            ),
            ("a/c.rs", "use super::super::b::V;\npub(crate) use crate::e::U;\n"),
            ("b.rs", ""),
            ("d.rs", ""),
            ("e.rs", ""),
        ];
        assert_eq!(paths("a", &files), ["a::c::Y", "a::c::h", "b::X", "d", "d::Z", "d::g", "e"]);
        assert_eq!(paths("a::c", &files), ["b::V", "e::U"]);
    }

    #[test]
    fn tests_and_comments_are_no_code() {
        let tests = "#[cfg(all(test, unix))]\n#[allow(unused)]\nmod tests {\n    use super::*;\n}\n";
        let text = format!("// a\nuse b; // c\n#[cfg(test)]\nmod d_tests;\n{tests}use e;\n");
        let code = code_of(&text);
        assert!(code.contains("use b;") && code.contains("use e;"), "{code}");
        assert!(!code.contains("super") && !code.contains("// "), "{code}");
    }

    #[test]
    fn only_modules_that_tests_alone_compile_are_left_out() {
        for attribute in ["cfg(not(test))", "cfg(feature = \"testing\")", "cfg(any(test, unix))"] {
            let text = format!("#[{attribute}]\nmod a {{\n    use crate::b;\n}}\n");
            assert!(code_of(&text).contains("crate::b"), "{attribute}");
        }
    }

    #[test]
    fn an_imported_module_is_used_where_its_items_are_named() {
        let uses = |text| Sources::of(&[("a.rs", text), ("b.rs", "pub fn f() {}\n")]).uses();
        let (a, b) = (vec!["a".to_owned()], vec!["b".to_owned()]);
        for text in [
            "use crate::b;\nfn g() { b::f() }",
            "use crate::{b as c};\nfn g() { c::f() }",
            "use crate::b::f;",
        ] {
            assert!(uses(text)[&a].contains(&b), "{text}");
        }
        for text in ["use crate::b;", "pub use crate::b::f;", "fn g() { other::b::f() }"] {
            assert!(!uses(text)[&a].contains(&b), "{text}");
        }
    }
}
