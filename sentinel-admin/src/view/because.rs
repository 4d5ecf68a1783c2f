//! What followed from a root, as JSON. The field names are part of the program's contract.

use serde::Serialize;

use super::RecordView;
use crate::because::{Because, Found};

/// What followed from a root.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the tree")]
pub struct BecauseView {
    pub root: String,
    /// The keys that wait, the most urgent first.
    pub waits_for: Vec<FoundView>,
    /// The keys, each after the one that caused it.
    pub nodes: Vec<NodeView>,
    /// Whether more than 500 records have the root. The others are in neither list.
    pub more: bool,
}

/// A record, and its store.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the record")]
pub struct FoundView {
    pub store: String,
    #[serde(flatten)]
    pub record: RecordView,
}

/// A key in the tree.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the node")]
pub struct NodeView {
    pub namespace: String,
    pub kind: &'static str,
    pub key: String,
    /// The place of the key that caused it among the nodes.
    pub parent: Option<usize>,
    pub depth: usize,
    /// Whether no store that was asked has it with this root.
    pub outside: bool,
    /// Whether it was caused by a key below it.
    pub cycle: bool,
    /// The number of keys below it that are left out.
    pub deeper: usize,
    /// The record; null: outside.
    pub found: Option<FoundView>,
}

impl From<&Because> for BecauseView {
    fn from(tree: &Because) -> Self {
        let found = |found: &Found| FoundView {
            store: tree.stores[found.store].clone(),
            record: RecordView::new(&found.address, Some(&found.record), found.now, false),
        };
        let nodes = tree.nodes.iter().map(|node| NodeView {
            namespace: node.address.namespace.to_string(),
            kind: node.address.kind.as_str(),
            key: node.address.key.to_string(),
            parent: node.parent,
            depth: node.depth,
            outside: node.found.is_none(),
            cycle: node.cycle,
            deeper: node.deeper,
            found: node.found.as_ref().map(found),
        });
        Self {
            root: tree.root.to_string(),
            waits_for: tree.waits_for.iter().map(found).collect(),
            nodes: nodes.collect(),
            more: tree.more,
        }
    }
}
