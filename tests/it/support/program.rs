//! The real program as a process of its own, to be killed, stopped, and started again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{interval, timeout};

use super::database::Database;
use super::free_port;
use super::twilio::{FakeTwilio, Service};
use onefive::domain::desk::DeskSettings;

/// For a start, for an end, and for an answer. Only a broken service comes near.
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
    settings: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    /// Where it listens.
    pub(crate) url: String,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Program {
    /// With these settings: one listener, this database, the sandbox for text messages. Several may share one PostgreSQL
    /// database: they share its key file too.
    pub(crate) fn new(database: &Database) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut program = Self {
            settings: BTreeMap::new(),
            environment: BTreeMap::new(),
            url: format!("http://{address}"),
            child: None,
            folder: tempfile::tempdir().unwrap(),
        };
        for (name, value) in database.settings() {
            program.set(&name.to_lowercase().replace("__", "."), &value);
        }
        for listener in ["public", "api", "admin"] {
            program.set(&format!("server.{listener}"), &address);
        }
        let url = program.url.clone();
        program.set("server.public_url", &url);
        program.set("server.connections_per_peer", "1000");
        // Stories make as many calls as they can.
        program.set("limits.calls_per_second", "0");
        program.set("channels.sms", "sandbox");
        program
    }

    /// The same with text messages through Twilio's double, from this number or Messaging Service.
    pub(crate) fn twilio(database: &Database, twilio: &FakeTwilio, from: &str) -> Self {
        let mut program = Self::new(database);
        program.set("channels.sms", "twilio");
        let section: toml::Table = twilio.settings(from).parse().unwrap();
        program.set_all("providers.twilio.", &section);
        if from.starts_with("MG") {
            program.settings.remove("providers.twilio.from");
            program.set("providers.twilio.messaging_service_sid", from);
        }
        program
    }

    /// Changes a setting, such as `database.lease_seconds`. It counts from the next start or command on.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// Changes every setting of a table, below the section `above`.
    pub(crate) fn set_all(&mut self, above: &str, table: &toml::Table) {
        for (key, value) in table {
            let key = format!("{above}{key}");
            if let Some(inner) = value.as_table() {
                self.set_all(&format!("{key}."), inner);
            } else if let Some(text) = value.as_str() {
                self.set(&key, text);
            } else {
                self.set(&key, &value.to_string());
            }
        }
    }

    /// Sets a variable of the environment for everything that starts from now on.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// The service as Twilio sees it.
    pub(crate) fn service(&self) -> Service {
        Service {
            listen: self.url.clone(),
            public_url: self.settings["server.public_url"].clone(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let config = self.config();
        let mut command = Command::new(env!("CARGO_BIN_EXE_onefive"));
        command.args(arguments).arg("--config").arg(config);
        command.envs(&self.environment);
        command
    }

    fn config(&self) -> PathBuf {
        let mut text = String::new();
        for (key, value) in &self.settings {
            // A telephone number is a text that looks like a number.
            let plain = value == "true"
                || value == "false"
                || value.starts_with('[')
                || (!value.starts_with('+') && value.parse::<i64>().is_ok());
            let value = if plain {
                value.clone()
            } else {
                format!("{value:?}")
            };
            writeln!(text, "{key} = {value}").unwrap();
        }
        let path = self.folder.path().join("onefive.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a command of the command line; what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Adds the desk `acme`; its key with every scope.
    pub(crate) fn desk(&self) -> String {
        // The same customers are asked all the time, also at night.
        let settings = serde_json::to_string(&DeskSettings::permissive()).unwrap();
        self.run(&[
            "desk",
            "add",
            "acme",
            "--name",
            "Acme IT",
            "--settings",
            &settings,
        ]);
        self.run(&["key", "create", "--desk", "acme"])
    }

    /// What it has logged in all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts it and does not wait for anything.
    pub(crate) fn launch(&mut self) {
        self.kill();
        let log = self.folder.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log);
        let mut command = self.command(&["serve"]);
        command.stdout(Stdio::null()).stderr(log.unwrap());
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until it answers.
    pub(crate) async fn ready(&self, http: &Http) {
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
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn serve(&mut self, http: &Http) {
        self.launch();
        self.ready(http).await;
    }

    /// Starts it and waits until it answers; the key of its sandbox.
    pub(crate) async fn start(&mut self, http: &Http) -> String {
        self.serve(http).await;
        let config = super::http::get(&format!("{}/sandbox/config", self.url)).await;
        config.json()["hook_key"].as_str().unwrap().to_owned()
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended by itself cannot be killed, and need not be.
            drop(child.kill());
            child.wait().unwrap();
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect("a running program").id()
    }

    /// Sends a signal by its name: `TERM`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.id();
        let sent = Command::new("/bin/kill")
            .args([&format!("-{name}"), &id.to_string()])
            .status();
        assert!(sent.unwrap().success(), "SIG{name} to {id}");
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.child.as_mut()?.try_wait().unwrap();
        if ended.is_some() {
            self.child = None;
        }
        ended
    }

    /// Waits until it ends by itself.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let ended = timeout(DEADLINE, async {
            let mut ticks = interval(Duration::from_millis(10));
            loop {
                ticks.tick().await;
                if let Some(status) = self.ended() {
                    return status;
                }
            }
        });
        let ended = ended.await.ok();
        ended.unwrap_or_else(|| panic!("it does not end: {}", self.log()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
