//! A flush: one script call for each bucket and kind of request, all of them side by side.

use std::collections::HashMap;

use sentinel_core::{Address, StoreError, Trouble};

use super::Item;
use crate::call::{Caller, Group};
use crate::script::Script;

/// The most items of one script call: the server does nothing else while it runs.
const CAP: usize = 64;

/// Sends a flush, and answers each item.
pub(super) async fn ship(caller: &Caller, items: Vec<Item>) {
    let mut groups: HashMap<_, Vec<Vec<Item>>> = HashMap::new();
    for item in items {
        let Address { namespace, kind, .. } = &item.address;
        let place = (item.script, namespace.clone(), caller.number_of(&item.address), *kind);
        put(groups.entry(place).or_default(), item);
    }
    let calls = groups.into_values().flatten().map(|items| one_call(caller, items));
    futures_util::future::join_all(calls).await;
}

/// Puts an item into the first page that has room. A key stands once in a call that writes: it reads all records before it
/// writes one.
fn put(pages: &mut Vec<Vec<Item>>, item: Item) {
    let looks = item.script == Script::Look;
    let fits = |page: &&mut Vec<Item>| {
        page.len() < CAP && (looks || page.iter().all(|one| one.address.key != item.address.key))
    };
    match pages.iter_mut().find(fits) {
        Some(page) => page.push(item),
        None => pages.push(vec![item]),
    }
}

async fn one_call(caller: &Caller, items: Vec<Item>) {
    let Some(first) = items.first() else { return };
    let group = Group {
        script: first.script,
        namespace: first.address.namespace.clone(),
        number: caller.number_of(&first.address),
        kind: first.address.kind,
        keys: items.iter().map(|item| item.address.key.clone()).collect(),
        args: items.iter().map(|item| item.arg.clone()).collect(),
        barrier: items.iter().any(|item| item.barrier),
    };
    let mut answers = caller.call(&group).await.map(Vec::into_iter);
    for item in items {
        let none = || StoreError::ambiguous(Trouble::BrokenStore, "a script answered too little");
        let answer = match &mut answers {
            Ok(answers) => answers.next().ok_or_else(none),
            Err(error) => Err(error.clone()),
        };
        // A caller that has gone does not wait for it.
        let _ = item.reply.send(answer);
    }
}
