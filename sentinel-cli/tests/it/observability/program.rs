//! The program: what `metrics` and `observability` print, and a real Prometheus that fires and clears an alert.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use sentinel_testbed::{Prometheus, promtool};
use serde_json::Value;

use super::files::read;
use crate::world::{World, until};

#[test]
fn observability_prints_the_files_and_needs_no_store() {
    let world = World::on("nonsense:");
    for (file, name) in [("grafana", "grafana/sentinel.json"), ("alerts", "alerts/sentinel.yml")] {
        let ran = world.run(&["observability", file]);
        assert_eq!((ran.code(), ran.out()), (0, read(name)));
    }
    assert_eq!(world.run(&["observability", "alarms"]).code(), 64);
}

/// The value of a series of this name whose labels include these.
fn value(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    text.lines().find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let found = series.split('{').next()? == name && labels.iter().all(|label| series.contains(label));
        found.then(|| value.parse().unwrap())
    })
}

#[track_caller]
fn check_metrics(text: &str) {
    let mut tool = promtool(&std::env::temp_dir());
    let tool =
        tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = tool.spawn().unwrap();
    running.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = running.wait_with_output().unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty() && checked.stdout.is_empty(),
        "{checked:?}\n{text}"
    );
}

each_store!(metrics_prints_a_survey_that_prometheus_reads);
fn metrics_prints_a_survey_that_prometheus_reads(world: World) {
    assert_eq!(world.once("done", &["--namespace", "quiet"], "true").code(), 0);
    let doubted = ["--namespace", "pay", "--late-effects", "0s"];
    for key in ["one", "two", "three"] {
        assert_eq!(world.once(key, &doubted, "exit 9").code(), 76);
    }
    assert_eq!(world.run(&["reconcile", "three", "--namespace", "pay"]).code(), 0);
    let printed = world.run(&["metrics", "--store-name", "a \"b\" \\c"]);
    assert_eq!((printed.code(), printed.err().as_str()), (0, ""), "{printed:?}");
    let text = printed.out();
    check_metrics(&text);
    let (store, pay, quiet) = (r#"store="a \"b\" \\c""#, r#"namespace="pay""#, r#"namespace="quiet""#);
    let of = |name: &str, namespace| {
        value(&text, name, &[store, namespace]).unwrap_or_else(|| panic!("{name}: {text}"))
    };
    assert_eq!(of("sentinel_uncertain_keys", pay), 2.0);
    assert_eq!(of("sentinel_reconciling_keys", pay), 1.0);
    assert!(of("sentinel_oldest_uncertain_seconds", pay) > 0.0);
    assert!(of("sentinel_oldest_reconciling_seconds", pay) > 0.0);
    assert_eq!(of("sentinel_uncertain_keys", quiet), 0.0);
    assert_eq!(value(&text, "sentinel_store_trusted", &[store]), Some(1.0));
    assert!(value(&text, "sentinel_survey_last_success_timestamp_seconds", &[store]).unwrap() > 1.6e9);
    assert_eq!(value(&text, "sentinel_survey_seconds_count", &[store]), Some(1.0));
    assert!(!text.contains("three"), "no key is a label");

    let json = world.run(&["metrics", "--json"]).json();
    assert_eq!((&json["trusted"], &json["namespaces"]["pay"]["uncertain_keys"]), (&true.into(), &2.into()));
    let backend = json["store"].as_str().unwrap();
    assert!(world.store().starts_with(backend), "{backend}");
}

#[test]
fn metrics_of_a_store_that_cannot_be_read_prints_nothing_and_fails() {
    let world = World::sqlite();
    let absent = world.run(&["metrics"]);
    assert_eq!((absent.code(), absent.out().as_str()), (69, ""), "{absent:?}");
    assert!(!absent.err().is_empty());
}

#[test]
fn metrics_of_a_store_that_may_have_lost_data_are_not_trusted() {
    let (_server, world) = crate::data_loss::in_doubt();
    let printed = world.run(&["metrics"]);
    assert_eq!(printed.code(), 0, "{printed:?}");
    assert_eq!(value(&printed.out(), "sentinel_store_trusted", &[]), Some(0.0));
    assert!(!printed.err().is_empty(), "and the reason is printed");
    check_metrics(&printed.out());
}

/// Answers each request with what `sentinel metrics` prints then, until it is dropped.
struct Served {
    address: String,
    ended: Arc<AtomicBool>,
}

impl Served {
    fn new(world: &Arc<World>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let ended = Arc::new(AtomicBool::new(false));
        let (is_over, world) = (ended.clone(), world.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let _ = lines.find(String::is_empty);
                let body = world.run(&["metrics", "--store-name", "main"]).out();
                let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        Self { address, ended }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(&self.address);
    }
}

/// The alerts that fire: their names, and the namespace of each.
fn firing(prometheus: &Prometheus) -> Vec<(String, Option<String>)> {
    let answer: Value = serde_json::from_str(&prometheus.get("/api/v1/alerts")).unwrap();
    let alerts =
        answer["data"]["alerts"].as_array().unwrap().iter().filter(|alert| alert["state"] == "firing");
    let word = |alert: &Value, name: &str| alert["labels"][name].as_str().map(str::to_owned);
    alerts.map(|alert| (word(alert, "alertname").unwrap(), word(alert, "namespace"))).collect()
}

#[test]
fn a_real_prometheus_fires_while_the_key_of_a_killed_worker_waits_and_stops_when_it_is_settled() {
    let world = Arc::new(World::sqlite());
    let started = world.path("started").display().to_string();
    let script = format!("touch {started}; exec sleep 1000");
    let terms = ["--namespace", "pay", "--ttl", "500ms", "--hard-ttl", "600s", "--late-effects", "0s"];
    let worker = world.start(&[&["once", "k"], &terms[..], &["--", "sh", "-c", &script]].concat());
    until("the command runs", || world.path("started").exists());

    let served = Served::new(&world);
    // Five minutes become one second, and nothing is waited for twice.
    let rules = read("alerts/sentinel.yml").replace("> 300", "> 1").replace("for: 1m", "for: 0s");
    let prometheus = Prometheus::start(&served.address, &rules, "1s");
    let is_firing = |alert: &str| firing(&prometheus).into_iter().find(|(name, _)| name == alert);
    let scraped = "/api/v1/query?query=sentinel_store_trusted%7Bjob%3D%22sentinel%22%7D";
    until("Prometheus has scraped", || prometheus.get(scraped).contains("\"store\":\"main\""));
    until("a survey is there", || is_firing("SentinelMetricsStale").is_none());
    assert_eq!(is_firing("SentinelUncertainWaiting"), None, "the worker is alive");

    let killed = worker.ended_by(Signal::KILL);
    drop(killed);
    until("the alert fires", || is_firing("SentinelUncertainWaiting").is_some());
    let (_, namespace) = is_firing("SentinelUncertainWaiting").unwrap();
    assert_eq!(namespace.as_deref(), Some("pay"));

    let taken = world.run(&["reconcile", "k", "--namespace", "pay"]);
    assert_eq!(taken.code(), 0, "{taken:?}");
    let token = taken.out().trim().to_owned();
    let decided =
        world.run(&["force-complete", "k", "--namespace", "pay", "--token", &token, "--response", "paid"]);
    assert_eq!(decided.code(), 0, "{decided:?}");
    let settled = "/api/v1/query?query=sentinel_uncertain_keys%7Bnamespace%3D%22pay%22%7D%3D%3D0";
    until("the survey shows no doubt", || prometheus.get(settled).contains("\"namespace\":\"pay\""));
    until("the alert is over", || is_firing("SentinelUncertainWaiting").is_none());
}

#[test]
fn a_real_prometheus_reports_that_no_survey_is_made() {
    // A target that exports no survey.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let prometheus =
        Prometheus::start(&target, &read("alerts/sentinel.yml").replace("for: 1m", "for: 0s"), "1s");
    until("the alert fires", || firing(&prometheus).iter().any(|(name, _)| name == "SentinelMetricsStale"));
}
