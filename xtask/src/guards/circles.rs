//! Circles of modules: files of a crate that use each other, directly or by way of others, cannot be read one after the
//! other.

use std::collections::{BTreeMap, BTreeSet};

use crate::shell::Result;
use crate::workspace::Workspace;

use super::imports::{Module, Sources};

/// Refuses a crate that has files which use each other in a circle.
pub(super) fn check(workspace: &Workspace, broken: &mut Vec<String>) -> Result {
    for member in &workspace.members {
        for circle in circles(&Sources::load(member)?.uses()) {
            broken.push(format!(
                "{}: these files use each other in a circle: {}",
                member.folder,
                names(&circle)
            ));
        }
    }
    Ok(())
}

fn names(circle: &BTreeSet<Module>) -> String {
    let names: Vec<_> = circle.iter().map(|module| format!("crate::{}", module.join("::"))).collect();
    names.join(", ")
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
        circles(&Sources::of(files).uses())
    }

    fn module(path: &str) -> Module {
        path.split("::").map(str::to_owned).collect()
    }

    #[test]
    fn a_module_that_is_imported_by_name_is_used() {
        let a = ("a.rs", "use crate::b;\npub fn f() { b::g() }\n");
        assert_eq!(crate_of(&[a, ("b.rs", "use crate::{a};\npub fn g() { a::f() }\n")]).len(), 1);
        assert_eq!(crate_of(&[a, ("b.rs", "pub fn g() {}\n")]).len(), 0);
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
    fn what_a_root_exports_leads_to_the_file_that_defines_it() {
        let root = ("lib.rs", "mod a;\nmod b;\npub use a::A;\nfn g() { b::h() }\n");
        let b = ("b.rs", "use crate::A;\nfn h() {}");
        assert_eq!(crate_of(&[root, ("a.rs", "pub struct A;"), b]).len(), 0);
        let circles = crate_of(&[root, ("a.rs", "use crate::b::h;\npub struct A;"), b]);
        assert_eq!(circles, [["a", "b"].map(module).into_iter().collect()]);
    }

    #[test]
    fn what_a_parent_imports_is_followed_through_other_names_and_globs() {
        let d = ("a/d.rs", "use crate::c::f;\npub struct D;\n");
        for import in ["pub(crate) use d::D as X;", "use self::d::D as X;", "pub use e::*;"] {
            let parent = format!("mod d;\nmod e;\n{import}\n");
            let e = ("a/e.rs", "pub use super::d::D as X;\n");
            let c = ("c.rs", "use crate::a::X;\npub fn f() {}\n");
            let circles = crate_of(&[("lib.rs", "mod a;\nmod c;\n"), ("a/mod.rs", &parent), d, e, c]);
            assert_eq!(circles, [["a::d", "c"].map(module).into_iter().collect()], "{import}");
        }
    }
}
