//! A flush: one script call for each bucket and kind of request, all of them side by side.

use std::collections::HashMap;

use sentinel_core::{ErrorKind, StoreError};

use super::{Ask, Item};
use crate::call::{Caller, Group};
use crate::script::Script;
use crate::transition::Told;

/// The most items of one script call: the server does nothing else while it runs.
const CAP: usize = 64;

/// Sends a flush, and answers each item.
pub(super) async fn ship(caller: &Caller, items: Vec<Item>) {
    let mut groups: HashMap<_, Vec<Vec<Item>>> = HashMap::new();
    for item in items {
        let Ask { script, address, .. } = &item.ask;
        let place = (*script, address.namespace.clone(), caller.number_of(address), address.kind);
        put(groups.entry(place).or_default(), item);
    }
    let calls = groups.into_values().flatten().map(|items| one_call(caller, items));
    futures_util::future::join_all(calls).await;
}

/// Puts an item into the first page that has room. A key stands once in a call that writes: it reads all records before it
/// writes one.
fn put(pages: &mut Vec<Vec<Item>>, item: Item) {
    let looks = matches!(item.ask.script, Script::Look | Script::Inspect);
    let fits = |page: &&mut Vec<Item>| {
        page.len() < CAP && (looks || page.iter().all(|one| one.ask.address.key != item.ask.address.key))
    };
    match pages.iter_mut().find(fits) {
        Some(page) => page.push(item),
        None => pages.push(vec![item]),
    }
}

/// Calls the script. A record that cannot be read stops all of a call before anything is written: then each item goes alone.
async fn one_call(caller: &Caller, mut items: Vec<Item>) {
    items.sort_by_key(|item| item.ask.behind);
    let answers: Vec<_> = match call(caller, &items).await {
        Err(error) if error.kind() == ErrorKind::Corrupt && items.len() > 1 => {
            let alone = items.iter().map(|item| call(caller, std::slice::from_ref(item)));
            let answers = futures_util::future::join_all(alone).await;
            answers
                .into_iter()
                .map(|answer| answer.and_then(|mut one| one.pop().ok_or_else(too_little)))
                .collect()
        }
        Err(error) => items.iter().map(|_| Err(error.clone())).collect(),
        Ok(answers) => answers.into_iter().map(Ok).collect(),
    };
    let long = items.iter().zip(&answers).filter(|(_, told)| told.as_ref().is_ok_and(|told| told.long));
    futures_util::future::join_all(long.map(|(item, _)| caller.trim(&item.ask.address))).await;
    let mut answers = answers.into_iter();
    for item in items {
        // A caller that has gone does not wait for it.
        let _ = item.reply.send(answers.next().unwrap_or_else(|| Err(too_little())));
    }
}

async fn call(caller: &Caller, items: &[Item]) -> Result<Vec<Told>, StoreError> {
    let Some(first) = items.first().map(|item| &item.ask) else { return Ok(Vec::new()) };
    let asked = || items.iter().map(|item| &item.ask);
    let group = Group {
        script: first.script,
        namespace: first.address.namespace.clone(),
        number: caller.number_of(&first.address),
        kind: first.address.kind,
        keys: asked().map(|ask| ask.address.key.clone()).collect(),
        args: asked().map(|ask| ask.arg.clone()).collect(),
        ahead: asked().filter(|ask| !ask.behind).count(),
        barrier: asked().any(|ask| ask.barrier),
    };
    caller.call(&group).await
}

fn too_little() -> StoreError {
    StoreError::ambiguous(ErrorKind::BrokenStore, "a script answered too little")
}
