//! A story as text for a terminal.

use std::fmt::Write as _;

use sentinel_core::StoreTime;

use super::story::{Rev, Step, Story};
use crate::command_line::line;
use crate::time::clock;

/// The story as lines: the headline, a line for each sentence with its time (UTC) and revs, and the next steps with
/// their commands. `global` are options that each command needs, such as `--store` and its value. `now` is the time of
/// the story.
pub fn layout(story: &Story, now: StoreTime, global: &[String]) -> String {
    let mut text = format!("{}\n", story.headline.text);
    let times: Vec<String> = story
        .sentences
        .iter()
        .map(|sentence| sentence.at.map_or_else(String::new, |at| clock(at, now)))
        .collect();
    let width = times.iter().map(String::len).max().unwrap_or(0);
    for (sentence, time) in story.sentences.iter().zip(times) {
        // Writing to a String cannot fail.
        let indent = if width == 0 { "  ".to_owned() } else { format!("  {time:width$}  ") };
        let _ = writeln!(text, "{indent}{}{}", sentence.text, cited(&sentence.revs));
    }
    text.push_str("Next (times are UTC)\n");
    for (at, step) in story.next.iter().enumerate() {
        text += &step_lines(at + 1, step, now, global);
    }
    text
}

fn cited(revs: &[Rev]) -> String {
    if revs.is_empty() {
        return String::new();
    }
    let list: Vec<String> = revs.iter().map(ToString::to_string).collect();
    format!(" [rev {}]", list.join(", "))
}

fn step_lines(number: usize, step: &Step, now: StoreTime, global: &[String]) -> String {
    let mut text = format!("  {number}. {}", step.why);
    let from = step.possible_from.map(|at| format!("possible from {}", clock(at, now)));
    let notes: Vec<String> = from.into_iter().chain(step.risk.sentence().map(str::to_owned)).collect();
    if !notes.is_empty() {
        let _ = write!(text, " ({})", notes.join("; "));
    }
    text.push('\n');
    if !step.command.is_empty() {
        let _ = writeln!(text, "     {}", line(&step.command, global));
    }
    text
}
