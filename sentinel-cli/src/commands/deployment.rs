//! `init`, `doctor` and `purge`, which concern the whole store.

use std::time::Duration;

use sentinel::Key;
use sentinel::admin::time::span;
use sentinel::deployment::Initialised;
use sentinel::record::{Address, Kind};
use sentinel::store::{Check, Clock as _, Health, Store, StoreError, StoreTime, SystemClock};
use serde::Serialize;
use tokio::time::Instant;

use super::context::Context;
use super::read::all_namespaces;
use crate::args::{Init, Purge};
use crate::exit::{CliError, Exit};
use crate::output::time::rfc3339;
use crate::output::{Style, answer, coloured, line, object, plain};
use crate::store::is_finding;

/// Sets the store up, or registers it again and prints what was in doubt until then; or prints the SQL.
pub(crate) async fn init(context: &Context, args: &Init) -> Result<Exit, CliError> {
    if args.print_sql {
        return print_sql(context);
    }
    let (store, initialised) = context.url.init().await?;
    let (backend, shown) = (store.describe().backend, context.url.shown());
    let (registered_again, doubt) = match &initialised {
        Initialised::RegisteredAgain { doubt } => (Some(true), doubt.as_deref()),
        Initialised::Registered => (Some(false), None),
        _ => (None, None),
    };
    match (context.style, registered_again) {
        (Style::Json, _) => object(&serde_json::json!({
            "store": shown, "backend": backend, "initialised": true,
            "registered_again": registered_again, "doubt": doubt,
        }))?,
        (Style::Text, Some(true)) => {
            let was =
                doubt.map_or("nothing was in doubt".into(), |doubt| format!("it was in doubt: {doubt}"));
            line(&plain(&format!("registered again: {shown}; {was}")))?;
        }
        (Style::Text, _) => line(&format!("initialised: {shown}"))?,
    }
    Ok(Exit::OK)
}

fn print_sql(context: &Context) -> Result<Exit, CliError> {
    let sql = context.url.schema_sql()?;
    match context.style {
        Style::Text => answer(sql.as_bytes())?,
        Style::Json => object(&serde_json::json!({ "store": context.url.shown(), "sql": sql }))?,
    }
    Ok(Exit::OK)
}

/// Deletes records that are no longer needed, a batch at a time, and prints how many.
pub(crate) async fn purge(context: &Context, args: &Purge) -> Result<Exit, CliError> {
    const BATCH: u32 = 500;
    let store = if args.dry_run { context.reader().await? } else { context.store().await?.into() };
    let namespaces = match args.all_namespaces {
        true => all_namespaces(&*store).await?,
        false => vec![context.namespace.clone()],
    };
    let limit = if args.dry_run { u32::MAX } else { BATCH };
    let mut records = 0;
    for namespace in namespaces {
        let request = sentinel::store::Purge { namespace, limit, dry_run: args.dry_run };
        loop {
            let purged = store.purge(&request).await?;
            records += purged.records;
            if args.dry_run || !purged.more {
                break;
            }
        }
    }
    store.warn();
    match context.style {
        Style::Json => object(&serde_json::json!({ "purged": records, "dry_run": args.dry_run }))?,
        Style::Text => {
            let noun = if records == 1 { "record" } else { "records" };
            let verb = if args.dry_run { "would be purged" } else { "purged" };
            line(&format!("{records} {noun} {verb}"))?;
        }
    }
    Ok(Exit::OK)
}

#[derive(Debug, Serialize)]
struct DoctorView<'a> {
    store: String,
    deployment: &'a str,
    accepted: bool,
    checks: Vec<CheckView<'a>>,
    guarantees: &'a [String],
    /// Null where the store cannot be used as it is.
    latency_us: Option<u64>,
    store_now: Option<String>,
}

#[derive(Debug, Serialize)]
struct CheckView<'a> {
    name: &'static str,
    ok: bool,
    found: &'a str,
}

impl<'a> From<&'a Check> for CheckView<'a> {
    fn from(check: &'a Check) -> Self {
        Self { name: check.name, ok: check.ok, found: &check.found }
    }
}

/// Checks the deployment, and prints what it guarantees.
pub(crate) async fn doctor(context: &Context) -> Result<Exit, CliError> {
    // A store that exists and must not be used is a finding; one that cannot be reached is a failure.
    let refused = |error: CliError| match error.refused {
        true => CliError { exit: Exit::NO, ..error },
        false => error,
    };
    let (mut health, store) = context.url.health().await.map_err(refused)?;
    let used = match store {
        Ok(store) => {
            health.checks.push(namespaces(&*store).await);
            measure(&*store, context).await
        }
        Err(error) => Err(error),
    };
    let measured = match used {
        Ok((latency, now)) => {
            let found = format!("a read takes {}, the median of 5", milliseconds(latency));
            health.checks.extend([Check { name: "latency", ok: true, found }, clock(now)]);
            Some((latency, now))
        }
        Err(error) if is_finding(&error) => {
            let found = error.to_string();
            if !health.checks.iter().any(|check| check.found == found) {
                health.checks.push(Check { name: "use", ok: false, found });
            }
            health.accepted = false;
            health.guarantees.clear();
            None
        }
        Err(error) => return Err(error.into()),
    };
    let view = DoctorView {
        store: context.url.shown(),
        deployment: &health.deployment,
        accepted: health.accepted,
        checks: health.checks.iter().map(CheckView::from).collect(),
        guarantees: &health.guarantees,
        latency_us: measured.map(|(latency, _)| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX)),
        store_now: measured.map(|(_, now)| rfc3339(now)),
    };
    match context.style {
        Style::Json => object(&view)?,
        Style::Text => answer(text(&view, &health).as_bytes())?,
    }
    Ok(if health.accepted { Exit::OK } else { Exit::NO })
}

/// Lists the namespaces: a misspelt name creates a namespace of its own.
async fn namespaces(store: &dyn Store) -> Check {
    const SHOWN: usize = 20;
    let (ok, found) = match all_namespaces(store).await {
        Ok(all) if all.is_empty() => (true, "none yet".to_owned()),
        Ok(all) => {
            let names: Vec<_> = all.iter().take(SHOWN).map(ToString::to_string).collect();
            let more = all.len().saturating_sub(SHOWN);
            let more = if more > 0 {
                format!(" and {more} more; `sentinel namespaces` lists all")
            } else {
                String::new()
            };
            (true, format!("{}{more}", names.join(", ")))
        }
        Err(error) => (false, format!("the namespaces could not be read: {error}")),
    };
    Check { name: "namespaces", ok, found }
}

/// The median time of five reads, and the store's clock.
async fn measure(store: &dyn Store, context: &Context) -> Result<(Duration, StoreTime), StoreError> {
    let key = Key::new("sentinel-doctor")?;
    let address = Address { namespace: context.namespace.clone(), kind: Kind::Execution, key };
    let mut taken = Vec::with_capacity(5);
    let mut now = StoreTime::ZERO;
    for _ in 0..5 {
        let start = Instant::now();
        now = store.inspect(&address).await.map_err(StoreError::of_a_read)?.now;
        taken.push(start.elapsed());
    }
    taken.sort_unstable();
    Ok((taken[2], now))
}

/// Compares the store's clock with this host's. No decision depends on the difference, so the check always passes. But
/// a difference can confuse a reader of times.
fn clock(store: StoreTime) -> Check {
    let here = SystemClock.now();
    let apart = store.since(here).max(here.since(store));
    let found = match apart < Duration::from_secs(1) {
        true => "the store's clock and this host's agree within a second".to_owned(),
        false => format!(
            "the store's clock and this host's differ by {}; Sentinel uses only the store's clock",
            span(Duration::from_secs(apart.as_secs()))
        ),
    };
    Check { name: "clocks", ok: true, found }
}

/// The unit of all findings that were measured.
fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

fn text(view: &DoctorView<'_>, health: &Health) -> String {
    let mut text = format!("{} ({})\n", plain(&view.store), plain(view.deployment));
    let width = view.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in &view.checks {
        let mark = if check.ok { coloured("ok  ", "32") } else { coloured("BAD ", "31") };
        text += &format!("  {mark} {:width$} {}\n", check.name, plain(check.found));
    }
    text += if health.accepted { "This deployment guarantees:\n" } else { "This deployment is refused.\n" };
    health.guarantees.iter().for_each(|sentence| text += &format!("  - {}\n", plain(sentence)));
    text
}
