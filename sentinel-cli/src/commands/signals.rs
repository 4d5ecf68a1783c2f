//! `metrics`: one survey of the store in Prometheus' text format. `observability`: the dashboard and the alert rules.

use std::collections::BTreeMap;
use std::time::Duration;

use sentinel::record::Label;
use sentinel::signals::{NamespaceSurvey, SurveyReport, survey};
use sentinel::store::{Clock as _, StoreTime, SystemClock};
use serde_json::json;
use tokio::time::Instant;

use super::context::Context;
use crate::exit::{CliError, Exit, has_lost_data};
use crate::output::{Style, answer, note, object};
use crate::signals_args::{Metrics, Observability};

const DASHBOARD: &str = include_str!("../../observability/grafana/sentinel.json");
const ALERTS: &str = include_str!("../../observability/alerts/sentinel.yml");

/// Prints a file that is built into the program.
pub(crate) fn observability(file: Observability) -> Result<Exit, CliError> {
    answer(match file {
        Observability::Grafana => DASHBOARD.as_bytes(),
        Observability::Alerts => ALERTS.as_bytes(),
    })?;
    Ok(Exit::OK)
}

/// Surveys the store once, and prints what it found.
pub(crate) async fn metrics(context: &Context, args: &Metrics) -> Result<Exit, CliError> {
    let began = Instant::now();
    let name = args.store_name.as_ref().map(Label::as_str);
    let store = match context.reader().await {
        Ok(store) => store,
        Err(error) if error.has_lost_data => {
            note(&error.message);
            return print(context, &Survey::refused(name.unwrap_or_else(|| context.url.backend())));
        }
        Err(error) => return Err(error),
    };
    let store_name = name.unwrap_or_else(|| store.describe().backend).to_owned();
    let mut report = match survey(&*store).await {
        Ok(report) => report,
        Err(error) if has_lost_data(&error) => {
            note(&error.to_string());
            return print(context, &Survey::refused(&store_name));
        }
        Err(error) => return Err(error.into()),
    };
    store.warn();
    report.trusted = store.doubt().is_none();
    print(context, &Survey { store: store_name, report, at: Some(SystemClock.now()), took: began.elapsed() })
}

/// A survey that was made, or that the store refused.
struct Survey {
    store: String,
    report: SurveyReport,
    at: Option<StoreTime>,
    took: Duration,
}

impl Survey {
    fn refused(store: &str) -> Self {
        let report = SurveyReport::not_trusted();
        Self { store: store.to_owned(), report, at: None, took: Duration::ZERO }
    }

    fn json(&self) -> serde_json::Value {
        let of_one = |found: &NamespaceSurvey| {
            json!({
                "oldest_uncertain_seconds": found.oldest_uncertain.as_secs_f64(),
                "oldest_reconciling_seconds": found.oldest_reconciling.as_secs_f64(),
                "uncertain_keys": found.uncertain_keys,
                "reconciling_keys": found.reconciling_keys,
            })
        };
        let namespaces = self.report.namespaces.iter().map(|(name, found)| (name.as_str(), of_one(found)));
        json!({
            "store": self.store,
            "trusted": self.report.trusted,
            "incomplete": self.report.incomplete,
            "surveyed_at_seconds": self.at.map(|at| Duration::from_micros(at.as_micros()).as_secs_f64()),
            "namespaces": namespaces.collect::<BTreeMap<_, _>>(),
        })
    }
}

fn print(context: &Context, survey: &Survey) -> Result<Exit, CliError> {
    match context.style {
        Style::Json => object(&survey.json())?,
        Style::Text => answer(survey.report.to_prometheus(&survey.store, survey.at, survey.took).as_bytes())?,
    }
    Ok(Exit::OK)
}
