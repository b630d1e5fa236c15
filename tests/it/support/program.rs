//! The real program as a process of its own, to be killed and started again.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{interval, timeout};

use super::database::Database;
use super::free_port;

/// For a start, and for an answer. Only a broken service comes near.
const DEADLINE: Duration = Duration::from_secs(40);

/// A client that keeps its connections.
pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

/// One call; `None` if no whole answer came back.
pub(crate) async fn once(http: &Http, request: Request<Full<Bytes>>) -> Option<(u16, Bytes)> {
    let answer = timeout(DEADLINE, async {
        let response = http.request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, body))
    });
    answer.await.ok()?
}

/// The program with its settings file; it is killed when dropped.
pub(crate) struct Program {
    config: PathBuf,
    /// Where it listens.
    pub(crate) url: String,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Program {
    /// Writes the settings: one listener, this database, the sandbox for text messages.
    pub(crate) fn new(database: &Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("onefive.toml");
        let address = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{address}");
        let mut settings = String::new();
        for (name, value) in database.settings() {
            let (section, key) = name.split_once("__").unwrap();
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
            let number = value.parse::<u32>().map(|number| number.to_string());
            let value = number.unwrap_or_else(|_| format!("{value:?}"));
            writeln!(settings, "{section}.{key} = {value}").unwrap();
        }
        for listener in ["public", "api", "admin"] {
            writeln!(settings, "server.{listener} = \"{address}\"").unwrap();
        }
        writeln!(settings, "server.public_url = \"{url}\"").unwrap();
        writeln!(settings, "server.connections_per_peer = 1000").unwrap();
        writeln!(settings, "channels.sms = \"sandbox\"").unwrap();
        std::fs::write(&config, settings).unwrap();
        Self {
            config,
            url,
            child: None,
            folder,
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onefive"));
        command.args(arguments).arg("--config").arg(&self.config);
        command
    }

    /// Runs a command of the command line; what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What it has logged in all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts it and waits until it answers; the key of its sandbox.
    pub(crate) async fn start(&mut self, http: &Http) -> String {
        let log = self.folder.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log);
        let mut command = self.command(&["serve"]);
        command.stdout(Stdio::null()).stderr(log.unwrap());
        self.child = Some(command.spawn().unwrap());
        let ready = async {
            let mut ticks = interval(Duration::from_millis(10));
            loop {
                ticks.tick().await;
                let livez = Request::get(format!("{}/livez", self.url));
                if let Some((200, _)) = once(http, livez.body(Full::default()).unwrap()).await {
                    break;
                }
            }
        };
        assert!(
            timeout(DEADLINE, ready).await.is_ok(),
            "it does not start: {}",
            self.log()
        );
        let config = super::http::get(&format!("{}/sandbox/config", self.url)).await;
        config.json()["hook_key"].as_str().unwrap().to_owned()
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
