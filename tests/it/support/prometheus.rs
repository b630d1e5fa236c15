//! A real Prometheus, and `promtool`.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use super::{free_port, http, part};

/// For a scrape to show what happened. Prometheus scrapes each second.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A Prometheus of its own; it ends when dropped.
pub(crate) struct Prometheus {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes `paths` of the service, each as a job of its own.
    pub(crate) fn start(address: &str, paths: &[&str]) -> Self {
        Self::with(address, paths, None)
    }

    /// The same, by the rules that are shipped as they are, each second, with somebody to tell of what they find.
    pub(crate) fn alerting(address: &str, paths: &[&str], alertmanager: &str) -> Self {
        Self::with(address, paths, Some(alertmanager))
    }

    fn with(address: &str, paths: &[&str], alertmanager: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let jobs: Vec<Value> = paths
            .iter()
            .map(|path| {
                json!({
                    "job_name": path, "metrics_path": path,
                    "static_configs": [{"targets": [address], "labels": {"instance": "onefive"}}],
                })
            })
            .collect();
        let mut config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "scrape_configs": jobs,
        });
        if let Some(alertmanager) = alertmanager {
            std::fs::write(folder.path().join("rules.yml"), rules()).unwrap();
            config["rule_files"] = json!(["rules.yml"]);
            let targets = json!([{"static_configs": [{"targets": [alertmanager]}]}]);
            config["alerting"] = json!({ "alertmanagers": targets });
        }
        // JSON is YAML.
        std::fs::write(folder.path().join("prometheus.yml"), config.to_string()).unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(part("ONEFIVE_TEST_PROMETHEUS"))
            .current_dir(folder.path())
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            child,
            url: format!("http://{listen}"),
            folder,
        }
    }

    /// Waits until it knows whom to tell: what is found before that is told to nobody for a minute.
    pub(crate) async fn knows_alertmanager(&self) {
        let listen = self.url.strip_prefix("http://").unwrap();
        let known = timeout(DEADLINE, async {
            let mut ticks = interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                if tokio::net::TcpStream::connect(listen).await.is_err() {
                    continue;
                }
                let answer = http::get(&format!("{}/api/v1/alertmanagers", self.url)).await;
                if answer.status != 200 {
                    continue;
                }
                let active = &answer.json()["data"]["activeAlertmanagers"];
                if active.as_array().is_some_and(|all| !all.is_empty()) {
                    return;
                }
            }
        });
        known.await.expect("an Alertmanager is known");
    }

    /// The values of a query now, by nothing but their order; `None` while Prometheus does not answer.
    async fn try_query(&self, query: &str) -> Option<Vec<f64>> {
        let listen = self.url.strip_prefix("http://").unwrap();
        tokio::net::TcpStream::connect(listen).await.ok()?;
        let form = [("query", query)];
        let answer = http::post_form(&format!("{}/api/v1/query", self.url), &form, "*/*").await;
        if answer.status == 503 {
            return None;
        }
        assert_eq!(answer.status, 200, "{query}: {answer:?}");
        let answer = answer.json();
        let results = answer["data"]["result"].as_array().unwrap();
        let value = |result: &Value| result["value"][1].as_str().unwrap().parse().unwrap();
        Some(results.iter().map(value).collect())
    }

    /// The values of a query now.
    pub(crate) async fn query(&self, query: &str) -> Vec<f64> {
        self.try_query(query).await.expect("an answer")
    }

    /// Waits until a query has this one value.
    pub(crate) async fn wait_for(&self, query: &str, wanted: f64) {
        let mut last = None;
        let seen = timeout(DEADLINE, async {
            let mut ticks = interval(Duration::from_millis(100));
            loop {
                ticks.tick().await;
                last = self.try_query(query).await;
                if matches!(last.as_deref(), Some([value]) if near(*value, wanted)) {
                    return;
                }
            }
        });
        if seen.await.is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            panic!("{query} is {last:?}, not {wanted}\n{log}");
        }
    }
}

/// The rules that are shipped, as a file for Prometheus: what stands under `spec`.
fn rules() -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/rules/rules.yaml");
    let shipped = std::fs::read_to_string(file).unwrap();
    let (_, spec) = shipped.split_once("\nspec:\n").unwrap();
    let lines = spec
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether two values are the same but for rounding.
fn near(value: f64, wanted: f64) -> bool {
    (value - wanted).abs() < 1e-9
}

/// `promtool check metrics`: exit code and everything that it says.
pub(crate) fn promtool(metrics: &str) -> (bool, String) {
    let mut child = Command::new(part("ONEFIVE_TEST_PROMTOOL"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), said)
}
