//! The figures for a terminal.

use std::fmt::Write as _;

use crate::report::figures::{Cell, Fact, Goal, Report, Side};

/// The whole report.
pub(crate) fn text(report: &Report) -> String {
    let mut text = head(report);
    if !report.cells.is_empty() {
        text += &format!("\n{}\n", titles());
    }
    let family = |cell: &Cell| cell.workload.split([',', ' ']).next().unwrap_or_default().to_owned();
    for cells in report.cells.chunk_by(|one, next| family(one) == family(next)) {
        for cell in cells {
            text += &format!("{}\n", line(cell));
            cell.others.iter().for_each(|other| text += &format!("{}\n", other_line(cell, other)));
        }
        text.push('\n');
    }
    report.facts.iter().for_each(|fact| text += &format!("{}\n", fact_line(fact)));
    if !report.alternatives.is_empty() {
        text += "\nWhat the others do not do:\n";
    }
    report
        .alternatives
        .iter()
        .for_each(|alternative| text += &format!("- {}: {}\n", alternative.name, alternative.lacks));
    text
}

fn head(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{}: {} cores ({}), {}, a synced page takes {:.0} us",
        report.date, machine.cores, machine.processor, machine.kernel, machine.fsync_us
    );
    if !machine.servers.is_empty() {
        let _ = writeln!(text, "{}", machine.servers.join(", "));
    }
    let how = if report.quick { " (a quick look)" } else { "" };
    let _ = writeln!(
        text,
        "medians of {} interleaved rounds of {} s{how}; ratios of one round each, least and most in brackets",
        report.rounds, report.seconds
    );
    text
}

fn titles() -> String {
    format!(
        "{:<22} {:<14} {:>7} {:>10} {:>10} {:>6} {:<14} {:>8} {:>8} {:>18}  {:<12} baseline",
        "workload",
        "store",
        "callers",
        "ours/s",
        "baseline/s",
        "ratio",
        " (spread)",
        "p50 us",
        "p99 us",
        "at half the rate",
        "target"
    )
}

/// One cell.
pub(crate) fn line(cell: &Cell) -> String {
    let number = |of: Option<f64>| of.map_or_else(|| "-".to_owned(), short);
    let baseline = cell.baseline.as_ref();
    let open = cell.open.map(|open| format!("{} / {}", short(open.latency.p50), short(open.latency.p99)));
    let line = format!(
        "{:<22} {:<14} {:>7} {:>10} {:>10} {:>6} {:<14} {:>8} {:>8} {:>18}  {:<12} {}",
        cell.workload,
        cell.target,
        cell.callers,
        number(cell.ours.rate()),
        number(baseline.and_then(|baseline| baseline.rate())),
        number(cell.ratio()),
        cell.spread().map(|(least, most)| format!("({}..{})", short(least), short(most))).unwrap_or_default(),
        number(cell.latency.map(|latency| latency.p50)),
        number(cell.latency.map(|latency| latency.p99)),
        open.unwrap_or_default(),
        cell.goal.map(|goal| judged(goal, goal.met_by(cell))).unwrap_or_default(),
        baseline.map_or("", |baseline| baseline.name.as_str()),
    );
    line.trim_end().to_owned()
}

/// Another side of a cell, under it.
fn other_line(cell: &Cell, other: &Side) -> String {
    let rate = other.rate().map_or_else(|| "-".to_owned(), short);
    let ratio = cell.ratio_of(other).map_or_else(|| "-".to_owned(), short);
    format!("{:<22} {:<14} {:>7} {rate:>10} {:>10} {ratio:>6}  {}", "", "", "", "", other.name)
}

/// One fact.
pub(crate) fn fact_line(fact: &Fact) -> String {
    let goal = fact.goal.map(|goal| judged(goal, goal.met_by_value(fact.value))).unwrap_or_default();
    let unit = &fact.unit;
    let line = format!(
        "{:<22} {:<14} {:>10} {unit:<10} {}  {goal}",
        fact.workload,
        fact.target,
        short(fact.value),
        fact.what
    );
    line.trim_end().to_owned()
}

/// The goal, and whether it is met.
fn judged(goal: Goal, met: Option<bool>) -> String {
    let goal = match goal {
        Goal::RatioAtLeast(limit) | Goal::AtLeast(limit) => format!(">= {limit}"),
        Goal::CostAtMost(limit) => format!("<= {limit} x"),
        Goal::NanosAtMost(limit) => format!("<= {limit} ns"),
        Goal::AtMost(limit) => format!("<= {limit}"),
    };
    match met {
        Some(true) => format!("{goal} met"),
        Some(false) => format!("{goal} NOT MET"),
        None => format!("{goal} ?"),
    }
}

/// Three significant digits.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => thousands(value),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// 12345 as 12,345.
fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::report::{Alternative, Latency, Machine, Open};
    use crate::target::Target;

    /// A report with one of everything.
    pub(crate) fn sample() -> Report {
        let side = |name: &str, rates: [f64; 3]| Side { name: name.into(), rates: rates.into() };
        let cell = Cell {
            workload: "fresh".into(),
            target: Target::Postgres,
            callers: 128,
            ours: side("once", [21_000.0, 44_000.0, 30_000.0]),
            baseline: Some(side("pgbench INSERT", [10_000.0, 20_000.0, 20_000.0])),
            others: vec![side("upsert & two transactions", [5_000.0, 5_000.0, 5_000.0])],
            latency: Some(Latency { p50: 2614.0, p99: 4326.0 }),
            open: Some(Open { rate: 15_000.0, latency: Latency { p50: 900.0, p99: 1800.5 } }),
            goal: Some(Goal::RatioAtLeast(2.0)),
        };
        let lone =
            Cell { baseline: None, others: vec![], goal: None, target: Target::Memory, ..cell.clone() };
        let fact = Fact {
            workload: "heartbeat".into(),
            target: Target::Postgres,
            what: "of one core by 10,000 live leases".into(),
            value: 3.0,
            unit: "%".into(),
            goal: Some(Goal::AtMost(2.0)),
        };
        Report {
            date: "2026-01-01T00:00:00Z".into(),
            machine: Machine {
                cores: 2,
                processor: "a processor".into(),
                kernel: "6.1".into(),
                fsync_us: 120.0,
                servers: vec!["PostgreSQL 15.18".into()],
            },
            quick: false,
            rounds: 3,
            seconds: 2.0,
            cells: vec![cell, lone],
            facts: vec![fact],
            alternatives: vec![Alternative {
                name: "upsert & two transactions".into(),
                lacks: "It runs again.".into(),
            }],
        }
    }

    #[test]
    fn a_goal_is_judged() {
        let mut report = sample();
        assert_eq!(report.cells[0].ratio(), Some(2.1));
        assert!(line(&report.cells[0]).contains("2.10 (1.50..2.20)"), "{}", line(&report.cells[0]));
        assert!(line(&report.cells[0]).contains(">= 2 met"));
        report.cells[0].goal = Some(Goal::RatioAtLeast(2.2));
        assert!(line(&report.cells[0]).contains(">= 2.2 NOT MET"));
        report.cells[0].goal = Some(Goal::CostAtMost(0.48));
        assert!(line(&report.cells[0]).contains("<= 0.48 x met"));
        report.cells[0].goal = Some(Goal::NanosAtMost(4_000_000.0));
        assert!(line(&report.cells[0]).contains("NOT MET"));
        assert!(fact_line(&report.facts[0]).contains("<= 2 NOT MET"));
    }

    #[test]
    fn all_parts_are_printed() {
        let text = text(&sample());
        for part in ["PostgreSQL 15.18", "fresh", "30,000", "upsert & two", "It runs again."] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.lines().any(|line| line.ends_with(' ')), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        let shown = [1_234_567.0, 999.6, 12.34, 1.234, 0.0123, 0.0, -1234.0].map(short);
        assert_eq!(shown, ["1,234,567", "1,000", "12.3", "1.23", "0.0123", "0.00", "-1,234"]);
    }
}
