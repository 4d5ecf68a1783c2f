//! `because`: what followed from a root, in one store or in several.

use std::time::Duration;

use sentinel::admin::BecauseView;
use sentinel::admin::because::{Found, MAX_NODES, because, layout};
use sentinel::record::{CauseQuery, Root};
use sentinel::store::{List, StoreError};
use tokio::time::timeout;

use super::context::Context;
use crate::args::{Because, Global};
use crate::exit::{CliError, Exit};
use crate::output::{Style, answer, note, object, plain};
use crate::store::{Reader, StoreUrl};

/// How long one store may take.
const READ_TIMEOUT: Duration = Duration::from_secs(8);

/// Prints the tree. A store that cannot be read is reported, and the others are still shown.
pub(crate) async fn run(global: &Global, args: &Because) -> Result<Exit, CliError> {
    let stores = stores(global)?;
    let (mut found, mut failed) = (Vec::new(), None);
    for (at, (name, url)) in stores.iter().enumerate() {
        let read = timeout(READ_TIMEOUT, read(url, at, &args.root));
        let read = read.await.unwrap_or_else(|_| {
            let text = format!("it did not answer within {} s", READ_TIMEOUT.as_secs());
            Err(CliError::new(Exit::UNAVAILABLE, text))
        });
        match read {
            Ok(records) => found.extend(records),
            Err(error) => {
                note(&format!("{name} was not read, and keys of it are missing: {}", error.message));
                failed = Some(error.exit);
            }
        }
    }
    let any = !found.is_empty();
    let tree = because(args.root.clone(), stores.into_iter().map(|(name, _)| name).collect(), found);
    match Style::of(global) {
        Style::Json => object(&BecauseView::from(&tree))?,
        Style::Text => answer(plain(&layout(&tree)).as_bytes())?,
    }
    if !any && failed.is_none() {
        note("no record has this root");
    }
    Ok(failed.unwrap_or(if any { Exit::OK } else { Exit::NO }))
}

/// The stores with their names: those that were named, or the one of every command.
fn stores(global: &Global) -> Result<Vec<(String, StoreUrl)>, CliError> {
    let named: Vec<_> = global.store.iter().map(|store| store.to_str().and_then(named)).collect();
    if named.iter().all(Option::is_none) {
        let url = Context::new(global)?.url;
        return Ok(vec![(url.backend().to_owned(), url)]);
    }
    let mut stores: Vec<(String, StoreUrl)> = Vec::new();
    for store in named {
        let (name, url) =
            store.ok_or_else(|| CliError::usage("each of several stores needs a name: --store NAME=URL"))?;
        if stores.iter().any(|(other, _)| other == name) {
            return Err(CliError::usage(format!("two stores have the name {name}")));
        }
        stores.push((name.to_owned(), StoreUrl::parse(url)?));
    }
    Ok(stores)
}

/// `NAME=URL`. The scheme of a URL ends before its first `=`.
fn named(store: &str) -> Option<(&str, &str)> {
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    store.split_once('=').filter(|(name, _)| is_name(name))
}

/// The records of one store, one more than a tree shows at most.
async fn read(url: &StoreUrl, at: usize, root: &Root) -> Result<Vec<Found>, CliError> {
    let store = url.open_to_read().await?;
    let query = CauseQuery::Root(root.clone());
    let (mut found, mut after): (Vec<Found>, _) = (Vec::new(), None);
    loop {
        let page = store.by_cause(&query, after.as_ref(), PAGE).await.map_err(StoreError::of_a_read)?;
        warn(&store, page.incomplete);
        let full = page.records.len() == PAGE as usize;
        after = page.records.last().map(|(address, _)| address.clone());
        let now = page.now;
        found.extend(page.records.into_iter().map(|(address, record)| {
            let now = now.max(record.last_now);
            Found { store: at, address, record, now }
        }));
        if !full || found.len() > MAX_NODES {
            return Ok(found);
        }
    }
}

/// One page is as many as a tree shows, and one more.
const PAGE: u32 = if List::MAX as usize > MAX_NODES { MAX_NODES as u32 + 1 } else { List::MAX };

fn warn(store: &Reader, incomplete: bool) {
    store.warn();
    if incomplete && store.doubt().is_none() {
        note("warning: the store may have lost its newest writes, so keys may be missing");
    }
}
