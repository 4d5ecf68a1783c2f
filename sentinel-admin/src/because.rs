//! What followed from a root: the records of any number of stores as one tree, and its text.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use sentinel_core::store::VisibleState;
use sentinel_core::{Address, Kind, Record, Root, StoreTime, Verdict};

use crate::time::{clock, span};

/// A record whose last claim has the root, as one store has it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The place of its store among those that were asked.
    pub store: usize,
    /// Its address.
    pub address: Address,
    /// The record.
    pub record: Record,
    /// A reading of that store's clock.
    pub now: StoreTime,
}

/// What followed from a root.
#[derive(Debug, Clone)]
pub struct Because {
    /// The root.
    pub root: Root,
    /// The names of the stores that were asked.
    pub stores: Vec<String>,
    /// The keys, each after the one that caused it.
    pub nodes: Vec<Node>,
    /// The keys that wait, the most urgent first. Those below [`MAX_DEPTH`] are among them.
    pub waits_for: Vec<Found>,
    /// Whether more than [`MAX_NODES`] records have the root. The others are in neither list.
    pub more: bool,
}

/// A key in the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its address.
    pub address: Address,
    /// Its record; None: it is *outside*, because no store that was asked has it with this root.
    pub found: Option<Found>,
    /// The place of the key that caused it.
    pub parent: Option<usize>,
    /// The number of keys above it.
    pub depth: usize,
    /// Whether it was caused by a key below it. The tree leaves this edge out.
    pub cycle: bool,
    /// The number of keys below it that are left out, because they are too deep.
    pub deeper: usize,
}

/// The largest number of records in a tree.
pub const MAX_NODES: usize = 500;

/// The largest number of keys above another one.
pub const MAX_DEPTH: usize = 32;

/// The most keys that the first line names.
const NAMED: usize = 5;

/// Makes the tree of these records. Who caused what decides about the order, never the clocks of two stores.
pub fn because(root: Root, stores: Vec<String>, mut found: Vec<Found>) -> Because {
    let more = found.len() > MAX_NODES;
    found.truncate(MAX_NODES);
    let of_one_store = |found: &Found| (found.store, found.record.claimed_at, found.address.clone());
    found.sort_by_key(of_one_store);
    let mut waits_for: Vec<_> = found.iter().filter(|found| urgency(found).is_some()).cloned().collect();
    waits_for.sort_by_key(urgency);
    let edges = Edges::of(&found);
    let mut tree = Because { root, stores, nodes: Vec::new(), waits_for, more };
    for top in &edges.tops {
        edges.write(*top, None, 0, &found, &mut tree.nodes);
    }
    for (address, caused) in &edges.outside {
        let parent = tree.nodes.len();
        let address = (*address).clone();
        tree.nodes.push(Node { address, found: None, parent: None, depth: 0, cycle: false, deeper: 0 });
        for child in caused {
            edges.write(*child, Some(parent), 1, &found, &mut tree.nodes);
        }
    }
    tree
}

/// Which record caused which.
struct Edges<'a> {
    /// Those that follow from the root itself, and those whose edge was cut.
    tops: Vec<usize>,
    /// Causes that were not found, and what they caused.
    outside: BTreeMap<&'a Address, Vec<usize>>,
    caused: Vec<Vec<usize>>,
    cut: Vec<bool>,
}

impl<'a> Edges<'a> {
    fn of(found: &'a [Found]) -> Self {
        let mut places: HashMap<&Address, Vec<usize>> = HashMap::new();
        for (at, found) in found.iter().enumerate() {
            places.entry(&found.address).or_default().push(at);
        }
        let mut parents: Vec<_> = found.iter().map(|child| parent(child, found, &places)).collect();
        let cut = cut_cycles(&mut parents, found);
        let mut edges =
            Self { tops: Vec::new(), outside: BTreeMap::new(), caused: vec![Vec::new(); found.len()], cut };
        for (at, record) in found.iter().enumerate() {
            let by = record.record.cause.as_ref().and_then(|cause| cause.by());
            match (parents[at], by) {
                (Some(parent), _) => edges.caused[parent].push(at),
                (None, Some(by)) if !edges.cut[at] => edges.outside.entry(&by.address).or_default().push(at),
                (None, _) => edges.tops.push(at),
            }
        }
        edges
    }

    fn write(&self, at: usize, parent: Option<usize>, depth: usize, found: &[Found], nodes: &mut Vec<Node>) {
        let place = nodes.len();
        let too_deep = depth == MAX_DEPTH;
        nodes.push(Node {
            address: found[at].address.clone(),
            found: Some(found[at].clone()),
            parent,
            depth,
            cycle: self.cut[at],
            deeper: if too_deep { self.below(at) } else { 0 },
        });
        if !too_deep {
            for child in &self.caused[at] {
                self.write(*child, Some(place), depth + 1, found, nodes);
            }
        }
    }

    fn below(&self, at: usize) -> usize {
        let (mut count, mut open) = (0, self.caused[at].clone());
        while let Some(at) = open.pop() {
            count += 1;
            open.extend(&self.caused[at]);
        }
        count
    }
}

/// The record of the run that caused a record. A decision or a later run gives the record a greater token, never a
/// smaller one. Two stores may have the same address: the one with the very token is meant, else the one that is in the
/// same store.
fn parent(child: &Found, found: &[Found], places: &HashMap<&Address, Vec<usize>>) -> Option<usize> {
    let by = child.record.cause.as_ref()?.by()?;
    let at = places.get(&by.address)?.iter().copied();
    let possible = at.filter(|at| found[*at].record.token >= by.token);
    possible.min_by_key(|at| (found[*at].record.token != by.token, found[*at].store != child.store, *at))
}

/// Cuts one edge of each cycle: above the record with the fewest hops.
fn cut_cycles(parents: &mut [Option<usize>], found: &[Found]) -> Vec<bool> {
    let mut cut = vec![false; parents.len()];
    let mut walked = vec![false; parents.len()];
    for start in 0..parents.len() {
        let (mut path, mut at) = (Vec::new(), Some(start));
        while let Some(here) = at.filter(|here| !walked[*here]) {
            walked[here] = true;
            path.push(here);
            at = parents[here];
        }
        let cycle = at.and_then(|at| path.iter().position(|place| *place == at)).map(|from| &path[from..]);
        let hop = |at: &usize| found[*at].record.cause.as_ref().map_or(0, |cause| cause.hop());
        if let Some(at) = cycle.and_then(|cycle| cycle.iter().copied().min_by_key(|at| (hop(at), *at))) {
            (parents[at], cut[at]) = (None, true);
        }
    }
    cut
}

/// How urgent a key is that waits: for a decision, for its operator, for its run, or for its next call.
fn urgency(found: &Found) -> Option<u8> {
    match (state(found), found.address.kind) {
        (VisibleState::Uncertain, _) => Some(0),
        (VisibleState::Reconciling, _) => Some(1),
        (VisibleState::Executing, _) => Some(2),
        (VisibleState::Claimed, _) => Some(3),
        (VisibleState::Free, Kind::Execution) => Some(4),
        (VisibleState::Free, Kind::Lease) | (VisibleState::Completed, _) => None,
    }
}

fn state(found: &Found) -> VisibleState {
    VisibleState::of(&found.record, found.now)
}

/// `namespace/key`, with the kind if it is a lease.
fn name(address: &Address) -> String {
    let lease = if address.kind == Kind::Lease { "lease " } else { "" };
    format!("{lease}{}/{}", address.namespace, address.key)
}

/// The tree as text. The first line names what it waits for.
pub fn layout(tree: &Because) -> String {
    let mut text = format!("because of {}   {}\n", tree.root, first_line(tree));
    let branches = branches(&tree.nodes);
    let label = |at: usize| format!("{}{}", branches[at], name(&tree.nodes[at].address));
    let width = (0..tree.nodes.len()).map(|at| label(at).chars().count()).max().unwrap_or(0).min(60) + 4;
    for (at, node) in tree.nodes.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = match &node.found {
            Some(found) => writeln!(text, "{:.<width$} {}", label(at) + " ", details(tree, node, found)),
            None => writeln!(text, "? outside: {}, {}", name(&node.address), outside(tree)),
        };
    }
    if tree.more {
        let _ =
            writeln!(text, "More than {MAX_NODES} keys have this root: only {MAX_NODES} of them are shown.");
    }
    text
}

fn outside(tree: &Because) -> &'static str {
    match tree.more {
        true => "not among the keys that are shown",
        false => "in no store that was asked",
    }
}

fn first_line(tree: &Because) -> String {
    let named = tree.waits_for.iter().take(NAMED);
    let named: Vec<_> =
        named.map(|found| format!("{} ({})", name(&found.address), state(found).as_str())).collect();
    match tree.waits_for.len().saturating_sub(NAMED) {
        0 if named.is_empty() => "waits for nothing".to_owned(),
        0 => format!("waits for: {}", named.join(", ")),
        more => format!("waits for: {}, and {more} more", named.join(", ")),
    }
}

fn details(tree: &Because, node: &Node, found: &Found) -> String {
    let record = &found.record;
    let state = match (state(found), &record.result) {
        (state @ (VisibleState::Uncertain | VisibleState::Reconciling), _) => state.as_str().to_uppercase(),
        (VisibleState::Completed, Some(result)) if result.verdict == Verdict::Failure => "failed".to_owned(),
        (state, _) => state.as_str().to_owned(),
    };
    let worker = record.worker.as_ref().map_or("-", |worker| worker.as_str());
    let mut text = format!("{state:<11} {worker}");
    if let Some(claimed) = record.claimed_at {
        text += &format!("  {}", clock(claimed, found.now));
        if let Some(completed) = record.completed_at {
            text += &format!(" + {}", span(completed.since(claimed)));
        }
    }
    if tree.stores.len() > 1 {
        text += &format!("  ({})", tree.stores[found.store]);
    }
    if urgency(found) == Some(0) {
        text += "  ← settle";
    }
    if node.cycle {
        text += "  ↺ caused by a key below it";
    }
    if node.deeper > 0 {
        text += &format!("  … {} deeper", node.deeper);
    }
    text
}

/// The lines that lead to each node.
fn branches(nodes: &[Node]) -> Vec<String> {
    let mut last_child = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        last_child.insert(node.parent, at);
    }
    let mut below: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let Some(parent) = node.parent else {
            all.push(String::new());
            below.push(String::new());
            continue;
        };
        let (here, under) =
            if last_child[&node.parent] == at { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        all.push(format!("{}{here}", below[parent]));
        below.push(format!("{}{under}", below[parent]));
    }
    all
}
