//! The owner of a slot, and moving a slot to another node while clients read and write its keys.

use crate::process::until;

use super::{Redis, RedisCluster, USER};

/// A slot on its way from one node to another. Meanwhile the old node answers for the keys that it still has and sends
/// clients on (`ASK`) for all others; the new one answers those that were sent.
///
/// One that is dropped before it is [finished](Self::finish) stays where it is.
#[derive(Debug)]
#[must_use = "a slot that is not moved to the end stays where it is"]
pub struct SlotMove<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    from: &'a Redis,
    to: &'a Redis,
}

impl RedisCluster {
    /// Which of the [`nodes`](Self::nodes) has a slot, by its own account.
    #[track_caller]
    pub fn owner(&self, slot: u16) -> usize {
        let owns = |node: &Redis| {
            node.try_send(&[b"CLUSTER", b"NODES"]).is_ok_and(|reply| claims(&reply.text(), "myself", slot))
        };
        let found = self.nodes().iter().position(owns);
        found.unwrap_or_else(|| panic!("no node that runs has slot {slot}"))
    }

    /// Moves a slot to another node, with all its keys, while clients use it. When this returns, all nodes know.
    #[track_caller]
    pub fn move_slot(&self, slot: u16, to: usize) {
        self.begin_move(slot, to).finish();
    }

    /// Waits until the messages between the nodes have arrived, and the replies to them. A node that answers a second
    /// command has written and read everything that was pending at the first.
    #[track_caller]
    fn drain(&self) {
        // Written, read, answered, and the answer read.
        for _ in 0..4 {
            for node in self.nodes().iter().flat_map(|node| [node, node]) {
                node.send(&[b"PING"]);
            }
        }
    }

    /// Begins to move a slot; no key has been moved yet.
    #[track_caller]
    pub fn begin_move(&self, slot: u16, to: usize) -> SlotMove<'_> {
        let from = self.owner(slot);
        assert!(from != to, "slot {slot} is with node {to} already");
        let (from, to) = (&self.nodes()[from], &self.nodes()[to]);
        let moving = SlotMove { cluster: self, slot, from, to };
        moving.set_slot(to, "IMPORTING", &id(from));
        moving.set_slot(from, "MIGRATING", &id(to));
        moving
    }
}

impl SlotMove<'_> {
    /// Moves this many keys of the slot, or as many as there are. Returns how many.
    #[track_caller]
    pub fn move_keys(&self, most: usize) -> usize {
        let keys = self.keys(most);
        if !keys.is_empty() {
            let port = self.to.port().to_string();
            let mut migrate: Vec<&[u8]> =
                vec![b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0", b"60000"];
            if let Some(password) = &self.to.password {
                migrate.extend([b"AUTH2", USER.as_bytes(), password.as_bytes()]);
            }
            migrate.push(b"KEYS");
            migrate.extend(keys.iter().map(Vec::as_slice));
            let reply = self.from.send(&migrate).text();
            // None of them is there any more when all have lapsed.
            assert!(["OK", "NOKEY"].contains(&reply.as_str()), "slot {} cannot be moved: {reply}", self.slot);
        }
        keys.len()
    }

    /// Keys that are with the old node. They may hold anything.
    #[track_caller]
    fn keys(&self, most: usize) -> Vec<Vec<u8>> {
        let (slot, most) = (self.slot.to_string(), most.to_string());
        self.from.send(&[b"CLUSTER", b"GETKEYSINSLOT", slot.as_bytes(), most.as_bytes()]).items()
    }

    /// Moves the other keys, and makes the new node the slot's owner. When this returns, all nodes know.
    #[track_caller]
    pub fn finish(self) {
        while self.move_keys(100) > 0 {}
        let to = id(self.to);
        // First the new one: if it were last, the old one would redirect clients to a node that does not accept them
        // yet.
        self.set_slot(self.to, "NODE", &to);
        self.set_slot(self.from, "NODE", &to);
        let ports = [self.from.port(), self.to.port()];
        for node in self.cluster.nodes().iter().filter(|node| !ports.contains(&node.port())) {
            self.set_slot(node, "NODE", &to);
        }
        // Still, when nothing is on its way between them any more. Redis may believe an old message of a slot's last
        // owner, and corrects that with the next one of the new owner; a node that meanwhile got another slot, and with
        // it a newer epoch, would be believed for good (https://github.com/redis/redis/pull/12344).
        until("all nodes know the slot's new owner", || {
            self.is_known(&to) && {
                self.cluster.drain();
                self.is_known(&to)
            }
        });
    }

    /// Whether all nodes report the same, in the same epochs: one that is behind would claim in an older one what it
    /// gets next, and lose it.
    fn is_known(&self, to: &str) -> bool {
        let views = self.cluster.nodes().iter().map(|node| node.send(&[b"CLUSTER", b"NODES"]).text());
        let views: Vec<String> = views.collect();
        views.iter().all(|nodes| claims(nodes, to, self.slot) && owners(nodes) == owners(&views[0]))
    }

    #[track_caller]
    fn set_slot(&self, node: &Redis, what: &str, id: &str) {
        let words = ["CLUSTER", "SETSLOT", &self.slot.to_string(), what, id];
        node.send(&words.map(str::as_bytes));
    }
}

#[track_caller]
fn id(node: &Redis) -> String {
    node.send(&[b"CLUSTER", b"MYID"]).text()
}

/// Whether, in a reply to `CLUSTER NODES`, the line with this word (an id, a flag) has a slot: `7`, or `0-99`. What is
/// on its way, `[7->-ID]`, is where it was.
fn claims(nodes: &str, word: &str, slot: u16) -> bool {
    let line = nodes.lines().find(|line| {
        let mut words = line.split([' ', ',']);
        words.next() == Some(word) || words.take(4).any(|found| found == word)
    });
    let ranges = line.into_iter().flat_map(|line| line.split(' ').skip(8));
    ranges.filter_map(range).any(|range| range.contains(&slot))
}

/// The owners of slots with their epochs, as every node reports them once all know.
fn owners(nodes: &str) -> Vec<String> {
    let fields = |line: &str| -> Option<String> {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.starts_with('[')).collect();
        let slots = words.get(8..).unwrap_or_default().join(" ");
        Some(format!("{} {} {slots}", words.first()?, words.get(6)?))
    };
    let mut owners: Vec<String> = nodes.lines().filter_map(fields).collect();
    owners.sort();
    owners
}

fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_slot_is_parsed() {
        let nodes = "aaa 127.0.0.1:7000@7001 myself,master - 0 0 1 connected 0-9 12 [11->-bbb] [13-<-bbb]\n\
                     bbb 127.0.0.1:7002@7003,host master - 0 0 2 connected 10-11 13-16383\n";
        let of = |word| (0..20).filter(|slot| claims(nodes, word, *slot)).collect::<Vec<_>>();
        assert_eq!(of("myself"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12]);
        assert_eq!(of("aaa"), of("myself"));
        assert_eq!(of("bbb"), [10, 11, 13, 14, 15, 16, 17, 18, 19]);
        assert_eq!(of("ccc"), []);
        assert_eq!(owners(nodes), ["aaa 1 0-9 12", "bbb 2 10-11 13-16383"]);
    }
}
