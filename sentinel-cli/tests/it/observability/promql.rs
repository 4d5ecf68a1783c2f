//! Reads from an expression of PromQL which metrics and labels it names. `promtool` checks its syntax.

use std::collections::{BTreeMap, BTreeSet};

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// By metric: the labels of its matchers, and the values that a matcher lists.
    pub(super) metrics: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// The labels by which it is grouped.
    pub(super) grouped: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '"' {
            tokens.push(Token::Text(rest.by_ref().take_while(|c| *c != '"').collect()));
        } else if c == '[' {
            // A range has no name of ours.
            let _ = rest.by_ref().take_while(|c| *c != ']').count();
        } else if c.is_alphabetic() || c == '_' {
            let mut word = String::from(c);
            while let Some(next) = rest.next_if(|c| c.is_alphanumeric() || *c == '_' || *c == ':') {
                word.push(next);
            }
            tokens.push(Token::Word(word));
        } else if c.is_ascii_digit() {
            // 1e-9, 0.05
            while rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '.').is_some() {}
        } else if !c.is_whitespace() {
            tokens.push(Token::Sign(c));
        }
    }
    tokens
}

/// Words before a list of labels.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words between two expressions.
const BETWEEN: [&str; 4] = ["and", "or", "unless", "bool"];

impl Named {
    pub(super) fn of(expression: &str) -> Self {
        let tokens = tokens(expression);
        let mut named = Self::default();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            let Token::Word(word) = token else { continue };
            let next = tokens.get(at);
            if GROUPING.contains(&word.as_str()) {
                let end = until(&tokens, at, ')');
                named.grouped.extend(tokens[at..end].iter().filter_map(|token| match token {
                    Token::Word(label) => Some(label.clone()),
                    _ => None,
                }));
                at = end;
            } else if BETWEEN.contains(&word.as_str()) || is_call(&tokens, at) {
            } else {
                let labels = named.metrics.entry(word.clone()).or_default();
                if next == Some(&Token::Sign('{')) {
                    let end = until(&tokens, at, '}');
                    matchers(&tokens[at + 1..end], labels);
                    at = end;
                }
            }
        }
        named
    }
}

/// Whether a word is a function or an aggregation: `rate(..)`, `sum by (job) (..)`.
fn is_call(tokens: &[Token], at: usize) -> bool {
    match tokens.get(at) {
        Some(Token::Sign('(')) => true,
        Some(Token::Word(word)) => ["by", "without"].contains(&word.as_str()),
        _ => false,
    }
}

fn until(tokens: &[Token], from: usize, end: char) -> usize {
    tokens[from..].iter().position(|token| *token == Token::Sign(end)).map_or(tokens.len(), |at| from + at)
}

fn matchers(tokens: &[Token], labels: &mut BTreeMap<String, BTreeSet<String>>) {
    for matcher in tokens.split(|token| *token == Token::Sign(',')) {
        let [Token::Word(label), .., Token::Text(values)] = matcher else { continue };
        let is_list = !values.contains(['$', '*', '.']);
        let values = values.split('|').filter(|_| is_list).map(str::to_owned);
        labels.entry(label.clone()).or_default().extend(values);
    }
}

#[test]
fn metrics_labels_and_values_are_read_from_an_expression() {
    let named = Named::of(
        r#"sum by (job, le) (rate(a_total{job=~"$job",outcome=~"x|y"}[5m])) / clamp_min(b, 1e-9) > 0.01 and on (c) d"#,
    );
    let values = |list: &[&str]| list.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(named.metrics.keys().collect::<Vec<_>>(), ["a_total", "b", "d"]);
    assert_eq!(named.metrics["a_total"]["outcome"], values(&["x", "y"]));
    assert_eq!(named.metrics["a_total"]["job"], values(&[]));
    assert_eq!(named.grouped, values(&["job", "le", "c"]));
}
