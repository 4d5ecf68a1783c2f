//! Executes a batch: one script call for each bucket and kind of request, all of them concurrently.

use std::collections::HashMap;

use sentinel_core::{ErrorKind, StoreError};

use super::call::{Caller, Group};
use super::reply::ScriptReply;
use super::request::{Pending, ScriptRequest};
use crate::script::Script;

/// The most items of one script call: the server does nothing else while it runs.
const MAX_ITEMS_PER_CALL: usize = 64;

/// Sends a batch, and replies to each request.
pub(super) async fn execute(caller: &Caller, items: Vec<Pending>) {
    let mut groups: HashMap<_, Vec<Vec<Pending>>> = HashMap::new();
    for item in items {
        let ScriptRequest { script, address, .. } = &item.request;
        let target = (*script, address.namespace.clone(), caller.number_of(address), address.kind);
        add(groups.entry(target).or_default(), item);
    }
    let calls = groups.into_values().flatten().map(|items| call_or_split(caller, items));
    futures_util::future::join_all(calls).await;
}

/// Adds an item to the first call that has room. A call that writes has each key once, because the script reads all
/// records before it writes one.
fn add(calls: &mut Vec<Vec<Pending>>, item: Pending) {
    let reads = matches!(item.request.script, Script::Read | Script::Inspect);
    let fits = |page: &&mut Vec<Pending>| {
        page.len() < MAX_ITEMS_PER_CALL
            && (reads || page.iter().all(|one| one.request.address.key != item.request.address.key))
    };
    match calls.iter_mut().find(fits) {
        Some(page) => page.push(item),
        None => calls.push(vec![item]),
    }
}

/// Calls the script. A record that cannot be read fails the whole call before anything is written: then each item is
/// sent alone.
async fn call_or_split(caller: &Caller, mut items: Vec<Pending>) {
    items.sort_by_key(|item| item.request.comes_last);
    let replies: Vec<_> = match call(caller, &items).await {
        Err(error) if error.kind() == ErrorKind::Corrupt && items.len() > 1 => {
            let alone = items.iter().map(|item| call(caller, std::slice::from_ref(item)));
            let replies = futures_util::future::join_all(alone).await;
            replies
                .into_iter()
                .map(|reply| reply.and_then(|mut one| one.pop().ok_or_else(missing_reply)))
                .collect()
        }
        Err(error) => items.iter().map(|_| Err(error.clone())).collect(),
        Ok(replies) => replies.into_iter().map(Ok).collect(),
    };
    let long = items.iter().zip(&replies).filter(|(_, reply)| reply.as_ref().is_ok_and(|reply| reply.long));
    futures_util::future::join_all(long.map(|(item, _)| caller.trim(&item.request.address))).await;
    let mut replies = replies.into_iter();
    for item in items {
        // A caller that has gone does not wait for it.
        let _ = item.reply_to.send(replies.next().unwrap_or_else(|| Err(missing_reply())));
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

fn missing_reply() -> StoreError {
    StoreError::ambiguous(ErrorKind::BrokenStore, "a script returned too few values")
}
