//! A flush: one script call for each bucket and kind of request, all of them side by side.

use std::collections::HashMap;

use sentinel_core::{ErrorKind, StoreError};

use super::call::{Caller, Group};
use super::reply::ScriptReply;
use super::request::{Pending, ScriptRequest};
use crate::script::Script;

/// The most items of one script call: the server does nothing else while it runs.
const CAP: usize = 64;

/// Sends a flush, and answers each item.
pub(super) async fn execute(caller: &Caller, items: Vec<Pending>) {
    let mut groups: HashMap<_, Vec<Vec<Pending>>> = HashMap::new();
    for item in items {
        let ScriptRequest { script, address, .. } = &item.request;
        let place = (*script, address.namespace.clone(), caller.number_of(address), address.kind);
        put(groups.entry(place).or_default(), item);
    }
    let calls = groups.into_values().flatten().map(|items| one_call(caller, items));
    futures_util::future::join_all(calls).await;
}

/// Puts an item into the first page that has room. A key stands once in a call that writes: it reads all records before it
/// writes one.
fn put(pages: &mut Vec<Vec<Pending>>, item: Pending) {
    let looks = matches!(item.request.script, Script::Read | Script::Inspect);
    let fits = |page: &&mut Vec<Pending>| {
        page.len() < CAP
            && (looks || page.iter().all(|one| one.request.address.key != item.request.address.key))
    };
    match pages.iter_mut().find(fits) {
        Some(page) => page.push(item),
        None => pages.push(vec![item]),
    }
}

/// Calls the script. A record that cannot be read stops all of a call before anything is written: then each item goes alone.
async fn one_call(caller: &Caller, mut items: Vec<Pending>) {
    items.sort_by_key(|item| item.request.comes_last);
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
    futures_util::future::join_all(long.map(|(item, _)| caller.trim(&item.request.address))).await;
    let mut answers = answers.into_iter();
    for item in items {
        // A caller that has gone does not wait for it.
        let _ = item.reply_to.send(answers.next().unwrap_or_else(|| Err(too_little())));
    }
}

async fn call(caller: &Caller, items: &[Pending]) -> Result<Vec<ScriptReply>, StoreError> {
    let Some(first) = items.first().map(|item| &item.request) else { return Ok(Vec::new()) };
    let asked = || items.iter().map(|item| &item.request);
    let group = Group {
        script: first.script,
        namespace: first.address.namespace.clone(),
        number: caller.number_of(&first.address),
        kind: first.address.kind,
        keys: asked().map(|request| request.address.key.clone()).collect(),
        args: asked().map(|request| request.arg.clone()).collect(),
        first: asked().filter(|request| !request.comes_last).count(),
        barrier: asked().any(|request| request.barrier),
    };
    caller.call(&group).await
}

fn too_little() -> StoreError {
    StoreError::ambiguous(ErrorKind::BrokenStore, "a script answered too little")
}
