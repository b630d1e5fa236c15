//! A server of the test's own, on a free port, to be killed and started again where it was.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::{free_port, part};

/// For a start. Only a broken server comes near.
const PATIENCE: Duration = Duration::from_secs(40);

/// A server; it is killed when dropped.
pub(crate) struct Daemon {
    /// Host and port.
    pub(crate) address: String,
    program: String,
    arguments: Vec<String>,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Daemon {
    /// The program behind the variable `name`, with arguments made of its address and its folder. Not started yet.
    pub(crate) fn new(name: &str, arguments: impl FnOnce(&str, &str) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let arguments = arguments(&address, folder.path().to_str().unwrap());
        Self {
            address,
            program: part(name),
            arguments,
            folder,
            child: None,
        }
    }

    /// A NATS server with JetStream.
    pub(crate) fn nats() -> Self {
        Self::new("ONEFIVE_TEST_NATS_SERVER", |address, folder| {
            let (host, port) = address.split_once(':').unwrap();
            ["-js", "-a", host, "-p", port, "-sd", folder]
                .map(str::to_owned)
                .to_vec()
        })
    }

    /// `VictoriaMetrics`.
    pub(crate) fn victoria_metrics() -> Self {
        Self::new("ONEFIVE_TEST_VICTORIA_METRICS", |address, folder| {
            vec![
                format!("-httpListenAddr={address}"),
                format!("-storageDataPath={folder}/data"),
                "-retentionPeriod=100y".to_owned(),
                // What was just written is found at once.
                "-search.latencyOffset=0s".to_owned(),
            ]
        })
    }

    /// Prometheus that takes samples and scrapes nobody.
    pub(crate) fn prometheus() -> Self {
        Self::new("ONEFIVE_TEST_PROMETHEUS", |address, folder| {
            let config = format!("{folder}/prometheus.yml");
            std::fs::write(&config, "global: {}\n").unwrap();
            vec![
                format!("--config.file={config}"),
                format!("--storage.tsdb.path={folder}/data"),
                format!("--web.listen-address={address}"),
                "--web.enable-remote-write-receiver".to_owned(),
            ]
        })
    }

    /// Alertmanager, alone, that tells this webhook of every alert by itself and at once, and when it is over.
    pub(crate) fn alertmanager(webhook: &str) -> Self {
        let config = json!({
            "route": {
                "receiver": "duty", "group_by": ["..."],
                "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h",
            },
            "receivers": [{"name": "duty", "webhook_configs": [{"url": webhook}]}],
        });
        Self::new("ONEFIVE_TEST_ALERTMANAGER", |address, folder| {
            // JSON is YAML.
            let file = format!("{folder}/alertmanager.yml");
            std::fs::write(&file, config.to_string()).unwrap();
            vec![
                format!("--config.file={file}"),
                format!("--storage.path={folder}/data"),
                format!("--web.listen-address={address}"),
                // No port for other Alertmanagers.
                "--cluster.listen-address=".to_owned(),
            ]
        })
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(&mut self) {
        let log = self.folder.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log);
        let log = log.unwrap();
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(self.folder.path());
        command.stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let listens = timeout(PATIENCE, async {
            let mut ticks = interval(Duration::from_millis(20));
            while TcpStream::connect(&self.address).await.is_err() {
                ticks.tick().await;
            }
        });
        let listens = listens.await.is_ok();
        let log = std::fs::read_to_string(self.folder.path().join("log"));
        assert!(listens, "{} does not start: {}", self.program, log.unwrap());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The folder that it works in.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}
