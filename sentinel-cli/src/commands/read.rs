//! `inspect`, `history`, `list`: pure reads. A store that is in doubt is read, too, with a warning.

use sentinel::Namespace;
use sentinel::admin::{EventView, RecordView};
use sentinel::record::Address;
use sentinel::store::survey::Undecided;
use sentinel::store::{self, Store, StoreError, VisibleState};
use serde_json::json;

use super::context::Context;
use crate::args::{History, Inspect, KindArg, List, StateArg};
use crate::exit::{CliError, Exit};
use crate::output::{Style, answer, lines, note, object, table};
use crate::store::Reader;

/// One record, or that there is none.
pub(crate) async fn inspect(context: &Context, args: &Inspect) -> Result<Exit, CliError> {
    let address = context.address(args.kind.into(), args.key.get()?);
    let store = context.reader().await?;
    let found = store.inspect(&address).await.map_err(StoreError::of_a_read)?;
    store.warn();
    let view = RecordView::new(&address, found.record.as_ref(), found.now, true);
    match context.style {
        Style::Json => object(&view)?,
        Style::Text => answer(table::record(&view).as_bytes())?,
    }
    Ok(if view.state == "absent" { Exit::NO } else { Exit::OK })
}

/// The newest events, oldest first.
pub(crate) async fn history(context: &Context, args: &History) -> Result<Exit, CliError> {
    let address = context.address(args.kind.into(), args.key.get()?);
    let store = context.reader().await?;
    let events = store.history(&address, args.limit).await.map_err(StoreError::of_a_read)?;
    store.warn();
    match context.style {
        Style::Json => lines(events.iter().map(EventView::from))?,
        Style::Text if events.is_empty() => note(&format!("{address} has no events")),
        Style::Text => answer(table::events(&events).as_bytes())?,
    }
    Ok(Exit::OK)
}

/// Prints the namespaces of the store, one a line.
pub(crate) async fn namespaces(context: &Context) -> Result<Exit, CliError> {
    let store = context.reader().await?;
    let namespaces = all_namespaces(&*store).await?;
    store.warn();
    match context.style {
        Style::Json => lines(namespaces.iter().map(|namespace| json!({ "namespace": namespace.as_str() })))?,
        Style::Text if namespaces.is_empty() => note("the store has no namespaces yet"),
        Style::Text => {
            answer(
                namespaces.iter().map(|namespace| format!("{namespace}\n")).collect::<String>().as_bytes(),
            )?;
        }
    }
    Ok(Exit::OK)
}

/// Every namespace of a store.
pub(super) async fn all_namespaces(store: &dyn Store) -> Result<Vec<Namespace>, StoreError> {
    let mut all: Vec<Namespace> = Vec::new();
    loop {
        let page = store.namespaces(all.last(), store::List::MAX).await.map_err(StoreError::of_a_read)?;
        let full = page.len() == store::List::MAX as usize;
        all.extend(page);
        if !full {
            return Ok(all);
        }
    }
}

/// Records: by key, or what is undecided, the longest in doubt first.
pub(crate) async fn list(context: &Context, args: &List) -> Result<Exit, CliError> {
    let of_all =
        args.all_namespaces || args.older_than.is_some() || matches!(args.state, Some(StateArg::Open));
    let any = match (of_all, args.state) {
        _ if args.idempotency_key.is_some() => list_by_idempotency_key(context, args).await?,
        (false, _) => list_by_key(context, args).await?,
        (true, Some(state))
            if state.is_undecided() && args.after.is_none() && matches!(args.kind, KindArg::Execution) =>
        {
            list_undecided(context, args, state).await?
        }
        (true, _) => {
            return Err(CliError::usage(
                "--all-namespaces, --older-than and --state open list executions in doubt: \
                 give --state uncertain, reconciling or open, and neither --kind lease nor --after",
            ));
        }
    };
    Ok(if any && args.fail_if_any { Exit::NO } else { Exit::OK })
}

/// Prints the undecided executions. Returns whether there are any.
async fn list_undecided(context: &Context, args: &List, state: StateArg) -> Result<bool, CliError> {
    let namespace = (!args.all_namespaces).then(|| context.namespace.clone());
    let after_age = args.older_than.unwrap_or_default();
    // The store returns both states; the other one is left out here.
    let limit = if matches!(state, StateArg::Open) { args.limit } else { u32::MAX };
    let filter = Undecided { namespace, after_age, limit };
    let store = context.reader().await?;
    let mut page = store.undecided(&filter).await.map_err(StoreError::of_a_read)?;
    store.warn();
    let now = page.now;
    page.records
        .retain(|(_, record)| state.shown().contains(&VisibleState::of(record, now.max(record.last_now))));
    page.records.truncate(args.limit as usize);
    match context.style {
        Style::Json => lines(page.records.iter().map(|(address, record)| {
            RecordView::new(address, Some(record), now.max(record.last_now), false)
        }))?,
        Style::Text if page.records.is_empty() && args.all_namespaces => {
            note("no such records in any namespace")
        }
        Style::Text if page.records.is_empty() => note(&none_in(&context.namespace)),
        Style::Text => answer(table::undecided(&page).as_bytes())?,
    }
    if page.records.len() == args.limit as usize {
        note("there may be more: raise --limit, or decide these first");
    }
    if page.incomplete {
        note("more than 10,000 executions are in doubt: older ones may be missing here");
    }
    found(!page.records.is_empty(), &store, args)
}

/// Prints a page of records by key. Returns whether there are any.
async fn list_by_key(context: &Context, args: &List) -> Result<bool, CliError> {
    let page = store::List {
        namespace: context.namespace.clone(),
        kind: args.kind.into(),
        state: args.state.and_then(|state| state.shown().first().copied()),
        after: args.after.clone(),
        limit: args.limit,
    };
    let store = context.reader().await?;
    let listing = store.list(&page).await.map_err(StoreError::of_a_read)?;
    store.warn();
    match context.style {
        Style::Json => lines(listing.records.iter().map(|(key, record)| {
            let address = Address { namespace: page.namespace.clone(), kind: page.kind, key: key.clone() };
            RecordView::new(&address, Some(record), listing.now.max(record.last_now), false)
        }))?,
        Style::Text if listing.records.is_empty() => note(&none_in(&page.namespace)),
        Style::Text => {
            answer(table::records(&listing).as_bytes())?;
            let last = listing.records.last().filter(|_| listing.records.len() == args.limit as usize);
            if let Some((key, _)) = last {
                note(&format!("there may be more: --after {:?}", key.as_str()));
            }
        }
    }
    found(!listing.records.is_empty(), &store, args)
}

/// Prints the record that has an idempotency key now. The key is a digest, so each record is read and compared. Returns
/// whether there is one.
async fn list_by_idempotency_key(context: &Context, args: &List) -> Result<bool, CliError> {
    let wanted = args.idempotency_key.as_deref().unwrap_or_default();
    let store = context.reader().await?;
    let namespaces = match args.all_namespaces {
        true => all_namespaces(&*store).await?,
        false => vec![context.namespace.clone()],
    };
    let mut views = Vec::new();
    for namespace in namespaces {
        // A reset leaves a tombstone whose idempotency key the provider may know.
        for state in [None, Some(VisibleState::Free)] {
            views.extend(matching(&store, args, &namespace, state, wanted).await?);
        }
    }
    store.warn();
    let any = !views.is_empty();
    match context.style {
        Style::Json => lines(views.into_iter())?,
        Style::Text => {
            let text: Vec<String> = views.iter().map(table::record).collect();
            answer(text.join("\n").as_bytes())?;
        }
    }
    if !any {
        note("no record has this idempotency key now; an earlier attempt of a key had another one");
    }
    found(any, &store, args)
}

/// The records of a namespace that have an idempotency key.
async fn matching(
    store: &Reader,
    args: &List,
    namespace: &Namespace,
    state: Option<VisibleState>,
    wanted: &str,
) -> Result<Vec<RecordView>, CliError> {
    let mut views = Vec::new();
    let chosen = |record: &_, now| {
        let shown = VisibleState::of(record, now);
        args.state.is_none_or(|wanted| wanted.shown().contains(&shown))
    };
    let mut after = None;
    loop {
        let (namespace, kind) = (namespace.clone(), args.kind.into());
        let page = store::List { namespace, kind, state, after, limit: store::List::MAX };
        let listing = store.list(&page).await.map_err(StoreError::of_a_read)?;
        for (key, record) in &listing.records {
            let address = Address { namespace: page.namespace.clone(), kind, key: key.clone() };
            let now = listing.now.max(record.last_now);
            let view = RecordView::new(&address, Some(record), now, false);
            if view.idempotency_key.as_deref() == Some(wanted) && chosen(record, now) {
                views.push(view);
            }
        }
        after = listing.records.last().map(|(key, _)| key.clone());
        if listing.records.len() < store::List::MAX as usize {
            return Ok(views);
        }
    }
}

/// Whether there are any records. A monitor must not rely on an empty page after a possible data loss.
fn found(any: bool, store: &Reader, args: &List) -> Result<bool, CliError> {
    match store.doubt() {
        Some(doubt) if args.fail_if_any && !any => Err(doubt.into()),
        _ => Ok(any),
    }
}

fn none_in(namespace: &Namespace) -> String {
    format!("no such records in namespace {:?}", namespace.as_str())
}
