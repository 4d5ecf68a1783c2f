//! `why`: the story of a key, and the keys that wait for a decision.

use sentinel::Key;
use sentinel::admin::why::Link;
use sentinel::admin::why::layout;
use sentinel::admin::{Facts, Story, StoryView, why};
use sentinel::record::{Address, CauseQuery, Kind};
use sentinel::store::survey::Undecided;
use sentinel::store::{List, StoreError, VisibleState};

use super::context::Context;
use crate::args::Why;
use crate::exit::{CliError, Exit};
use crate::output::{Style, answer, lines, note, object, plain};
use crate::store::Reader;

/// One key, or all that wait for a decision.
pub(crate) async fn run(context: &Context, args: &Why) -> Result<Exit, CliError> {
    match args.key() {
        Some(key) => one(context, key.clone(), args.kind.into()).await,
        None => all(context).await,
    }
}

async fn one(context: &Context, key: Key, kind: Kind) -> Result<Exit, CliError> {
    let address = context.address(kind, key);
    let store = context.reader().await?;
    let facts = Facts::read(store.coordination(), &address).await?;
    // The check of a file reads all of it, and a file that is accepted loses nothing.
    let may_lose = store.describe().backend != "sqlite";
    let health = match may_lose && needs_health(&facts) {
        true => context.url.findings().await,
        false => None,
    };
    let because = related(&store, &facts).await?;
    let facts = Facts { health, store: store.doubt().map_or(Ok(()), Err), because, ..facts };
    let story = why(&facts);
    match context.style {
        Style::Json => object(&StoryView::new(&facts, story, &context.global))?,
        Style::Text => answer(plain(&layout(&story, facts.now, &context.global)).as_bytes())?,
    }
    Ok(Exit::OK)
}

/// The most keys of one root that a story names. `because` shows them all.
const RELATED: u32 = 10;

/// Other keys with the root of this one.
async fn related(store: &Reader, facts: &Facts) -> Result<Vec<Link>, StoreError> {
    let Some(cause) = facts.record.as_ref().and_then(|record| record.cause.as_ref()) else {
        return Ok(Vec::new());
    };
    let query = CauseQuery::Root(cause.root().clone());
    let page = store.by_cause(&query, None, RELATED + 1).await.map_err(StoreError::of_a_read)?;
    let others = page.records.into_iter().map(|(address, _)| address).filter(|found| *found != facts.address);
    Ok(others.take(RELATED as usize).map(|address| Link { address }).collect())
}

/// Whether the deployment's guarantees change what the story means: where something may be missing.
fn needs_health(facts: &Facts) -> bool {
    let state = facts.record.as_ref().map(|record| VisibleState::of(record, facts.now));
    matches!(state, None | Some(VisibleState::Free | VisibleState::Claimed | VisibleState::Uncertain))
}

/// One line for each key that waits for a decision, in any namespace.
async fn all(context: &Context) -> Result<Exit, CliError> {
    let store = context.reader().await?;
    let filter = Undecided { namespace: None, after_age: Default::default(), limit: List::MAX };
    let page = store.undecided(&filter).await.map_err(StoreError::of_a_read)?;
    store.warn();
    let doubt = store.doubt();
    let stories = page.records.into_iter().map(|(address, record)| {
        let now = page.now.max(record.last_now);
        let facts = Facts::of_record(address, Some(record), now);
        let facts = Facts { store: doubt.clone().map_or(Ok(()), Err), ..facts };
        let story = why(&facts);
        (facts, story)
    });
    let stories: Vec<(Facts, Story)> = stories.collect();
    if stories.is_empty() {
        note("no key waits for a decision in any namespace");
    }
    if stories.len() == List::MAX as usize || page.incomplete {
        note("there may be more: decide these first");
    }
    match context.style {
        Style::Json => lines(stories.into_iter().map(|(facts, story)| {
            let global = of_namespace(context, &facts.address);
            StoryView::new(&facts, story, &global)
        }))?,
        Style::Text => {
            let text: String =
                stories.iter().map(|(_, story)| format!("{}\n", story.headline.text)).collect();
            answer(plain(&text).as_bytes())?;
        }
    }
    Ok(Exit::OK)
}

/// The global options for a command about a key of another namespace.
fn of_namespace(context: &Context, address: &Address) -> Vec<String> {
    let mut global: Vec<String> = context.store_words().to_vec();
    global.extend(["--namespace".to_owned(), address.namespace.to_string()]);
    global
}
