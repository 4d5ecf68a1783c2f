//! The tree of a root: each rule of its shape, its order and its text.

use sentinel_admin::because::{Because, Found, MAX_DEPTH, MAX_NODES, because, layout};
use sentinel_core::{Address, By, Cause, Key, Kind, Namespace, Record, Root, State, StoreTime, Token};

fn address(key: &str) -> Address {
    Address {
        namespace: Namespace::new("orders").unwrap(),
        kind: Kind::Execution,
        key: Key::new(key).unwrap(),
    }
}

fn by(key: &str, token: u64) -> By {
    By { address: address(key), token: Token::from_stored(token) }
}

fn root() -> Root {
    Root::new("order-42").unwrap()
}

/// A key that completed under this token, caused by these runs, the first one next to the root.
fn found(key: &str, token: u64, causes: &[By]) -> Found {
    let cause = causes.iter().fold(Cause::new(root()), |cause, by| cause.child(by.clone()).unwrap());
    let at = StoreTime::from_micros(1_763_688_225_000_000 + token);
    let record = Record {
        state: State::Completed,
        token: Token::from_stored(token),
        rev: 1,
        claimed_at: Some(at),
        cause: Some(cause),
        ..Record::absent()
    };
    Found { store: 0, address: address(key), record, now: at }
}

fn in_state(state: State, found: Found) -> Found {
    Found { record: Record { state, ..found.record }, ..found }
}

fn tree(found: Vec<Found>) -> Because {
    because(root(), vec!["one".into(), "two".into()], found)
}

/// Each node as `depth key`, with what marks it.
fn shape(tree: &Because) -> Vec<String> {
    let nodes = tree.nodes.iter().map(|node| {
        let outside = if node.found.is_none() { " outside" } else { "" };
        let cycle = if node.cycle { " cycle" } else { "" };
        format!("{} {}{outside}{cycle}", node.depth, node.address.key)
    });
    nodes.collect()
}

#[test]
fn a_key_is_below_the_one_that_caused_it_whatever_their_clocks_are() {
    // The later it is by its clock, the higher it is in the tree.
    let parent = found("a", 900, &[]);
    let mut child = found("b", 500, &[by("a", 900)]);
    child.store = 1;
    let grandchild = found("c", 100, &[by("a", 900), by("b", 500)]);
    assert_eq!(shape(&tree(vec![grandchild, child, parent])), ["0 a", "1 b", "2 c"]);
}

#[test]
fn keys_of_one_cause_are_sorted_by_store_and_then_by_the_clock_of_that_store() {
    let mut other = found("a", 5, &[]);
    other.store = 1;
    assert_eq!(shape(&tree(vec![other, found("b", 9, &[]), found("c", 7, &[])])), ["0 c", "0 b", "0 a"]);
}

#[test]
fn a_decision_gives_the_parent_a_greater_token() {
    let parent = in_state(State::Reconciling, found("a", 12, &[]));
    assert_eq!(shape(&tree(vec![parent, found("b", 20, &[by("a", 10)])])), ["0 a", "1 b"]);
    // No later run has a smaller one.
    let never = tree(vec![found("a", 12, &[]), found("b", 20, &[by("a", 13)])]);
    assert_eq!(shape(&never), ["0 a", "0 a outside", "1 b"]);
}

#[test]
fn of_two_stores_with_one_address_the_one_with_the_token_is_the_parent() {
    let mut other = found("a", 10, &[]);
    other.store = 1;
    let nodes = tree(vec![found("a", 30, &[]), other, found("b", 40, &[by("a", 10)])]).nodes;
    let parent = nodes[2].parent.and_then(|at| nodes[at].found.as_ref()).unwrap();
    assert_eq!((nodes[2].address.key.as_str(), parent.store), ("b", 1));
}

#[test]
fn a_missing_parent_is_outside_and_comes_last() {
    let tree =
        tree(vec![found("b", 5, &[by("gone", 3)]), found("z", 9, &[]), found("c", 6, &[by("gone", 3)])]);
    assert_eq!(shape(&tree), ["0 z", "0 gone outside", "1 b", "1 c"]);
    assert!(layout(&tree).contains("? outside: orders/gone, in no store that was asked\n├─ orders/b"));
}

#[test]
fn a_cycle_is_cut_above_the_fewest_hops_and_marked() {
    let first = found("a", 5, &[by("b", 4)]);
    let second = found("b", 6, &[by("b", 4), by("a", 5)]);
    let third = found("c", 7, &[by("b", 4), by("a", 5), by("b", 6)]);
    let tree = tree(vec![third, second, first]);
    assert_eq!(shape(&tree), ["0 a cycle", "1 b", "2 c"]);
    assert!(layout(&tree).contains("caused by a key below it"));
    assert_eq!(shape(&self::tree(vec![found("s", 5, &[by("s", 4)])])), ["0 s cycle"], "a key caused itself");
}

#[test]
fn keys_below_the_deepest_level_are_counted_and_still_waited_for() {
    // Each key was caused by an earlier run of the one above it, so the tree is deeper than any hop.
    let key = |at: u64| format!("k{at:02}");
    let mut all = vec![found(&key(0), 100, &[])];
    all.extend((1..=MAX_DEPTH as u64 + 3).map(|at| found(&key(at), 100 + at, &[by(&key(at - 1), 99 + at)])));
    let last = all.pop().unwrap();
    all.push(in_state(State::Executing, last));
    let tree = tree(all);
    assert_eq!(tree.nodes.len(), MAX_DEPTH + 1);
    assert_eq!(tree.nodes.iter().map(|node| node.deeper).collect::<Vec<_>>()[MAX_DEPTH - 1..], [0, 3]);
    assert_eq!(tree.waits_for.len(), 1);
    assert!(layout(&tree).contains("3 deeper"));
}

#[test]
fn the_501st_key_is_reported() {
    let some = |count: usize| (0..count).map(|at| found(&format!("k{at}"), 9, &[])).collect();
    let (all, more) = (tree(some(MAX_NODES)), tree(some(MAX_NODES + 1)));
    assert!(all.nodes.len() == MAX_NODES && !all.more && !layout(&all).contains("More than"));
    assert!(more.nodes.len() == MAX_NODES && more.more);
    assert!(layout(&more).ends_with("More than 500 keys have this root: only 500 of them are shown.\n"));
}

#[test]
fn the_first_line_names_what_waits_the_most_urgent_first() {
    let tree = tree(vec![
        in_state(State::Free, found("free", 1, &[])),
        in_state(State::Reconciling, found("taken", 2, &[])),
        found("done", 3, &[]),
        in_state(State::Executing, found("doubt", 4, &[])),
    ]);
    let text = layout(&tree);
    let first = "because of order-42   waits for: orders/doubt (uncertain), \
                 orders/taken (reconciling), orders/free (free)";
    assert_eq!(text.lines().next(), Some(first));
    assert!(
        text.lines().any(|line| line.starts_with("orders/doubt ") && line.ends_with("← settle")),
        "{text}"
    );
    let done = layout(&self::tree(vec![found("done", 3, &[])]));
    assert!(done.starts_with("because of order-42   waits for nothing\n"), "{done}");
}

#[test]
fn the_tree_is_drawn() {
    let a = || by("a", 5);
    let tree = tree(vec![
        found("a", 5, &[]),
        found("b", 6, &[a()]),
        found("c", 7, &[a(), by("b", 6)]),
        found("d", 8, &[a()]),
    ]);
    let text = layout(&tree);
    let drawn: Vec<_> = text.lines().skip(1).map(|line| line.split(" .").next().unwrap()).collect();
    assert_eq!(drawn, ["orders/a", "├─ orders/b", "│  └─ orders/c", "└─ orders/d"], "{text}");
}
