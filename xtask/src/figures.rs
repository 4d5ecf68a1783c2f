//! Counting what `cargo test` prints, so that a run ends with what was tested.

use std::collections::BTreeMap;

/// How many tests passed, failed and were left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// The counts of each test program.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    program: String,
    counts: BTreeMap<String, Count>,
    /// What tests wrote down about themselves.
    pub(crate) notes: Vec<String>,
}

impl Figures {
    /// Takes a line of output; whether a person wants to see it. Passed tests are counted, not shown.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        let trimmed = line.trim_start();
        if let Some(program) = program(trimmed) {
            self.program = program;
            return true;
        }
        let Some(test) = trimmed.strip_prefix("test ") else { return !is_announcement(trimmed) };
        let Some((name, outcome)) = test.rsplit_once(" ... ") else { return true };
        let count = self.counts.entry(group(&self.program, name)).or_default();
        match outcome.split_whitespace().next() {
            Some("ok") => count.passed += 1,
            Some("ignored") => count.ignored += 1,
            Some("FAILED") => count.failed += 1,
            _ => return true,
        }
        outcome.trim() != "ok"
    }

    /// The end of the run: one line for each group, and all.
    pub(crate) fn print(&self) {
        println!("\n== figures");
        let mut all = Count::default();
        for (group, count) in &self.counts {
            println!("{}  {group}", count.text());
            all.passed += count.passed;
            all.failed += count.failed;
            all.ignored += count.ignored;
        }
        println!("{}  in all", all.text());
        self.notes.iter().for_each(|note| println!("{note}"));
    }
}

impl Count {
    fn text(self) -> String {
        let mut text = format!("{:>6} passed", self.passed);
        if self.failed > 0 {
            text += &format!(", {} failed", self.failed);
        }
        if self.ignored > 0 {
            text += &format!(", {} ignored", self.ignored);
        }
        text
    }
}

/// "running 12 tests": the result repeats it.
fn is_announcement(line: &str) -> bool {
    line.strip_prefix("running ").is_some_and(|rest| rest.ends_with(" tests") || rest.ends_with(" test"))
}

/// "Running tests/it.rs (target/debug/deps/it-0123)" is the program `it`; "Doc-tests name" are the doctests of `name`.
fn program(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} (doctests)"));
    }
    let (what, path) = line.strip_prefix("Running ")?.split_once(" (")?;
    let file = path.trim_end_matches(')').rsplit(['/', '\\']).next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    Some(match what.strip_prefix("unittests ") {
        Some(_) => format!("{name} (unit tests)"),
        None => name.to_owned(),
    })
}

/// The layers of the conformance suite are counted apart, for each store: `it: memory::laws`.
fn group(program: &str, test: &str) -> String {
    const LAYERS: [&str; 8] =
        ["laws", "matrix", "regressions", "sequences", "histories", "faults", "controls", "model"];
    let segments: Vec<&str> = test.split("::").collect();
    match segments.iter().rposition(|segment| LAYERS.contains(segment)) {
        Some(at) if !program.ends_with(')') => format!("{program}: {}", segments[..=at].join("::")),
        _ => program.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_counted() {
        let mut figures = Figures::default();
        let shown: Vec<&str> = [
            "     Running tests/it.rs (target/debug/deps/it-0a1b2c)",
            "running 3 tests",
            "test memory::laws::one ... ok",
            "test memory::laws::two ... FAILED",
            "test other ... ok",
            "   Doc-tests sentinel_core",
            "test src/lib.rs - a (line 3) ... ok",
        ]
        .into_iter()
        .filter(|line| figures.line(line))
        .collect();
        assert_eq!(shown.len(), 3);
        let found: Vec<(&str, usize, usize)> =
            figures.counts.iter().map(|(g, c)| (g.as_str(), c.passed, c.failed)).collect();
        let expected = [("it", 1, 0), ("it: memory::laws", 1, 1), ("sentinel_core (doctests)", 1, 0)];
        assert_eq!(found, expected);
    }
}
