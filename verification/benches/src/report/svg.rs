//! The picture: the ratio of each workload to its baseline, drawn by hand so that it needs nothing but a browser.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::table::short;
use super::{Cell, Report};
use crate::target::Target;

const WIDTH: f64 = 920.0;
/// The positions at which bars begin and at which the longest bar ends.
const LEFT: f64 = 250.0;
const RIGHT: f64 = 800.0;
const ROW: f64 = 22.0;
const TOP: f64 = 78.0;
/// The room for the name of a store.
const TITLE: f64 = 30.0;
/// The scale is logarithmic, from this ratio to that: a tenth and ten times are as far from the baseline.
const LEAST: f64 = 0.05;
const MOST: f64 = 20.0;

const STYLE: &str = "\
svg{background:#fff;font:13px system-ui,sans-serif}\
text{fill:#1f2328}.dim{fill:#59636e}.bar{fill:#0969da}.under{fill:#bc4c00}\
.grid{stroke:#d1d9e0}.baseline{stroke:#1f2328;stroke-width:2}.target{stroke:#1a7f37;stroke-width:3}\
.spread{stroke:#59636e;stroke-width:2}\
@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e6edf3}.dim{fill:#9198a1}\
.bar{fill:#4493f8}.under{fill:#db6d28}.grid{stroke:#3d444d}.baseline{stroke:#e6edf3}.target{stroke:#3fb950}\
.spread{stroke:#9198a1}}";

pub(crate) fn write(file: &Path, report: &Report) -> Result<(), String> {
    fs::write(file, draw(report)).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// One picture, self-contained.
fn draw(report: &Report) -> String {
    let groups = groups(report);
    let rows: usize = groups.iter().map(|(_, cells)| cells.len()).sum();
    let height = TOP + groups.len() as f64 * TITLE + rows as f64 * ROW + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Rates of Sentinel, as ratios to the baseline\">\n\
         <style>{STYLE}</style>\n"
    );
    head(&mut svg, report, height);
    let mut y = TOP;
    for (target, cells) in groups {
        y += TITLE;
        text(&mut svg, (16.0, y - 10.0), "", "start", target.name());
        for cell in cells {
            row(&mut svg, cell, y);
            y += ROW;
        }
    }
    svg + "</svg>\n"
}

/// Those cells that have a baseline, by store.
fn groups(report: &Report) -> Vec<(Target, Vec<&Cell>)> {
    let of = |target| report.cells.iter().filter(move |cell| cell.target == target && cell.ratio().is_some());
    let groups = Target::ALL.into_iter().map(|target| (target, of(target).collect::<Vec<_>>()));
    groups.filter(|(_, cells)| !cells.is_empty()).collect()
}

/// Title, legend and scale.
fn head(svg: &mut String, report: &Report, height: f64) {
    let machine = &report.machine;
    text(svg, (16.0, 24.0), "", "start", "Operations a second, as ratios to the baseline of the same run");
    let about = format!("{} cores, {}, {}", machine.cores, machine.servers.join(", "), report.date);
    text(svg, (16.0, 43.0), "dim", "start", &about);
    let legend = "heavy line: the baseline; green: the target; thin line: the lowest and the highest round";
    text(svg, (16.0, 60.0), "dim", "start", legend);
    for ratio in [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0] {
        let class = if ratio == 1.0 { "baseline" } else { "grid" };
        line(svg, class, (x(ratio), TOP + 4.0), (x(ratio), height - 14.0));
        text(svg, (x(ratio), TOP), "dim", "middle", &format!("{ratio}"));
    }
}

/// The name, the bar from the baseline, the spread, the goal, the figure.
fn row(svg: &mut String, cell: &Cell, y: f64) {
    let Some(ratio) = cell.ratio() else { return };
    let (middle, baseline, end) = (y + ROW / 2.0 - 2.0, x(1.0), x(ratio));
    let name = format!("{}, {}", cell.workload, cell.callers);
    text(svg, (LEFT - 10.0, middle + 4.0), "", "end", &name);
    let class = if ratio < 1.0 { "under" } else { "bar" };
    let (from, width) = (baseline.min(end), (baseline - end).abs().max(1.0));
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"12\"/>",
        middle - 6.0
    );
    if let Some((least, most)) = cell.spread() {
        line(svg, "spread", (x(least), middle), (x(most), middle));
    }
    if let Some(goal) = cell.goal.and_then(super::Goal::ratio) {
        line(svg, "target", (x(goal), middle - 9.0), (x(goal), middle + 9.0));
    }
    text(svg, (RIGHT + 10.0, middle + 4.0), "", "start", &short(ratio));
}

/// The position of a ratio.
fn x(ratio: f64) -> f64 {
    let within = ratio.clamp(LEAST, MOST);
    LEFT + (RIGHT - LEFT) * (within / LEAST).ln() / (MOST / LEAST).ln()
}

fn line(svg: &mut String, class: &str, from: (f64, f64), to: (f64, f64)) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
    );
}

fn text(svg: &mut String, at: (f64, f64), class: &str, anchor: &str, what: &str) {
    let (x, y) = at;
    let _ = writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escaped(what)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::tests::sample;

    /// Reads what an XML parser would: tags that are closed in the order in which they were opened, attributes in
    /// quotes, no stray `<`, `>` or `&`.
    fn well_formed(mut text: &str) -> Result<(), String> {
        let mut open = Vec::new();
        while let Some((before, rest)) = text.split_once('<') {
            plain(before)?;
            let (tag, rest) = rest.split_once('>').ok_or("a tag that does not end")?;
            text = rest;
            if let Some(name) = tag.strip_prefix('/') {
                let last = open.pop();
                if last != Some(name) {
                    return Err(format!("{last:?} is closed by {name:?}"));
                }
                continue;
            }
            let alone = tag.ends_with('/');
            let (name, attributes) = tag.trim_end_matches('/').split_once(' ').unwrap_or((tag, ""));
            let quotes = attributes.matches('"').count();
            if quotes % 2 != 0 || quotes / 2 != attributes.matches("=\"").count() || tag.contains('<') {
                return Err(format!("attributes {attributes:?}"));
            }
            open.extend((!alone).then_some(name));
        }
        plain(text)?;
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?} is never closed")) }
    }

    fn plain(text: &str) -> Result<(), String> {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;"];
        let strays = known.iter().fold(text.to_owned(), |text, name| text.replace(name, ""));
        if strays.contains(['&', '>']) { Err(format!("{text:?} is not escaped")) } else { Ok(()) }
    }

    #[test]
    fn the_check_finds_what_is_wrong() {
        assert_eq!(well_formed("<a><b c=\"d\"/>e &amp; f</a>\n"), Ok(()));
        for wrong in ["<a><b></a></b>", "<a>", "a & b", "<a b=\"c/>", "<a b=c\"d\"/>", "a > b", "<a"] {
            assert!(well_formed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_picture_is_well_formed() {
        let mut report = sample();
        report.cells[0].workload = "fresh <\"1 & 2\">".into();
        let svg = draw(&report);
        assert_eq!(well_formed(&svg), Ok(()), "{svg}");
        assert!(svg.contains("fresh &lt;&quot;1 &amp; 2&quot;&gt;, 128"));
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn a_cell_without_a_baseline_has_no_bar() {
        let svg = draw(&sample());
        assert_eq!(svg.matches("<rect").count(), 1);
        assert_eq!(svg.matches("class=\"target\"").count(), 1);
        assert!(!svg.contains("memory"));
    }

    #[test]
    fn ratios_stand_in_order_and_stay_within() {
        let at = [0.0001, 0.1, 0.5, 1.0, 2.0, 10.0, 1e6].map(x);
        assert!(at.is_sorted() && at[0] == LEFT && at[6] == RIGHT, "{at:?}");
        // Half and double are as far from the baseline.
        assert!((at[3] - at[2] - (at[4] - at[3])).abs() < 1e-9);
    }
}
