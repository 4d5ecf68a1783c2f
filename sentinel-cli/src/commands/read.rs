//! `inspect`, `history`, `list`: pure reads.

use sentinel_core::{Address, store};

use super::Context;
use crate::args::{History, Inspect, List};
use crate::exit::{Exit, Failure};
use crate::output::json::{EventView, RecordView};
use crate::output::{Style, answer, note, object, table};

/// One record, or that there is none.
pub(crate) async fn inspect(context: &Context, args: &Inspect) -> Result<Exit, Failure> {
    let address = context.address(args.kind.into(), args.key.get()?);
    let found = context.store_to_read().await?.inspect(&address).await?;
    let view = RecordView::new(&address, found.record.as_ref(), found.now, true);
    match context.style {
        Style::Json => object(&view)?,
        Style::Text => answer(table::record(&view).as_bytes())?,
    }
    Ok(if view.state == "absent" { Exit::NO } else { Exit::OK })
}

/// The newest events, oldest first.
pub(crate) async fn history(context: &Context, args: &History) -> Result<Exit, Failure> {
    let address = context.address(args.kind.into(), args.key.get()?);
    let events = context.store_to_read().await?.history(&address, args.limit).await?;
    match context.style {
        Style::Json => lines(events.iter().map(EventView::from))?,
        Style::Text if events.is_empty() => note(&format!("{address} has no events")),
        Style::Text => answer(table::events(&events).as_bytes())?,
    }
    Ok(Exit::OK)
}

/// A page of records by key.
pub(crate) async fn list(context: &Context, args: &List) -> Result<Exit, Failure> {
    let page = store::List {
        namespace: context.namespace.clone(),
        kind: args.kind.into(),
        state: args.state.map(Into::into),
        after: args.after.clone(),
        limit: args.limit,
    };
    let listing = context.store_to_read().await?.list(&page).await?;
    match context.style {
        Style::Json => lines(listing.records.iter().map(|(key, record)| {
            let address = Address { namespace: page.namespace.clone(), kind: page.kind, key: key.clone() };
            RecordView::new(&address, Some(record), listing.now.max(record.last_now), false)
        }))?,
        Style::Text if listing.records.is_empty() => note("no such records"),
        Style::Text => {
            answer(table::records(&listing).as_bytes())?;
            let last = listing.records.last().filter(|_| listing.records.len() == args.limit as usize);
            if let Some((key, _)) = last {
                note(&format!("there may be more: --after {:?}", key.as_str()));
            }
        }
    }
    Ok(Exit::OK)
}

/// One object a line, in one write: a reader that went away is noticed once.
fn lines<T: serde::Serialize>(views: impl Iterator<Item = T>) -> Result<(), Failure> {
    let mut text = String::new();
    for view in views {
        text += &serde_json::to_string(&view).map_err(std::io::Error::from)?;
        text.push('\n');
    }
    Ok(answer(text.as_bytes())?)
}
