//! Settings: the embedded defaults, a file over them, the environment over that. Every error names the key.
//!
//! The defaults are the documentation: `config.default.toml`. Sections of providers stay raw here; each provider reads its own,
//! so adding one does not touch this file. The environment is read through [`Source`], so that tests need no process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use database::Database;
pub use events::Events;
use layers::{merge, overlay, parse, read_files};
pub use limits::Limits;

mod database;
mod events;
mod layers;
mod limits;

/// The defaults, with a comment for every setting.
pub const DEFAULTS: &str = include_str!("config.default.toml");

const PREFIX: &str = "ONEFIVE_";

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct ConfigError {
    /// The key, with dots: `server.public_url`.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl ConfigError {
    /// An error about `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }
}

/// Where settings come from besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment, or what a test says it is.
    pub environment: BTreeMap<String, String>,
}

impl Source {
    /// The process's own environment.
    pub fn process(file: Option<PathBuf>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self { file, environment }
    }
}

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listening and deadlines.
    pub server: Server,
    /// The store.
    pub database: Database,
    /// Keys.
    pub secrets: Secrets,
    /// Rules for requests.
    pub requests: Requests,
    /// What is done about sends of which nobody knows whether they happened.
    pub settling: Settling,
    /// Limits of those who call too often.
    pub limits: Limits,
    /// The provider of each channel, by name; empty for none.
    pub channels: BTreeMap<String, String>,
    /// How long events are kept.
    pub events: Events,
    /// Logging.
    pub log: Log,
    /// The sinks' own sections, raw.
    #[serde(default)]
    pub sinks: BTreeMap<String, toml::Table>,
    /// The providers' own sections, raw.
    #[serde(default)]
    pub providers: BTreeMap<String, toml::Table>,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The public base address.
    pub public_url: String,
    /// Where customers and providers are served.
    pub public: SocketAddr,
    /// Where desks are served.
    pub api: SocketAddr,
    /// Where health and metrics are served.
    pub admin: SocketAddr,
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_peer: usize,
    /// Seconds for a request's header.
    pub header_seconds: u64,
    /// Seconds for a request's body.
    pub body_seconds: u64,
    /// Seconds for a whole request.
    pub request_seconds: u64,
    /// Seconds to go on serving while balancers notice that we leave.
    pub drain_grace_seconds: u64,
    /// Seconds to wait for what is in flight.
    pub drain_seconds: u64,
    /// Whether metrics want a key.
    pub metrics_key: bool,
    /// Networks of balancers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
}

/// `[secrets]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The key file.
    pub keys_file: PathBuf,
}

/// `[requests]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Minutes in which an answer may be corrected.
    pub correction_minutes: u32,
    /// Sends a day to one address, by all desks.
    pub sends_per_address: u32,
    /// Sends a day by one desk.
    pub sends_per_desk: u32,
    /// Days after its end in which a request's link still shows what it was about.
    pub link_days: u32,
}

/// `[settling]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settling {
    /// What is done with a send that was never confirmed.
    pub policy: SettlingPolicy,
    /// Seconds after a send at which it is looked for.
    pub looks_seconds: Vec<u32>,
    /// Seconds that looks without a find must span.
    pub window_seconds: u32,
}

impl Settling {
    fn check(&self) -> Result<(), ConfigError> {
        let looks = &self.looks_seconds;
        let ascending = looks.is_sorted_by(|one, next| one < next);
        if !(3..=10).contains(&looks.len()) || !ascending || looks.iter().any(|look| *look > 86_400)
        {
            return Err(ConfigError::new(
                "settling.looks_seconds",
                "must be 3 to 10 ascending numbers up to 86400",
            ));
        }
        Ok(())
    }
}

/// What is done with a send that was never confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SettlingPolicy {
    /// It is given up as lost.
    Strict,
    /// One revocable attempt more.
    Guarded,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What is logged.
    pub level: String,
    /// In which form.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Config {
    /// Reads and checks all settings.
    pub fn load(source: &Source) -> Result<Self, ConfigError> {
        let mut table = parse("the embedded defaults", DEFAULTS)?;
        if let Some(path) = &source.file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::new(path.display().to_string(), error.to_string()))?;
            merge(&mut table, parse(&path.display().to_string(), &text)?);
        }
        for (name, value) in &source.environment {
            let Some(key) = name.strip_prefix(PREFIX) else {
                continue;
            };
            // Test and tool variables such as ONEFIVE_TEST_… have no section separator and are not settings.
            if key.contains("__") {
                overlay(&mut table, key, value)?;
            }
        }
        read_files(&mut table, "")?;
        let config: Self =
            serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
                ConfigError::new(error.path().to_string(), error.inner().message().trim_end())
            })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let server = &self.server;
        if !server.public_url.is_empty() {
            let uri: http::Uri = server.public_url.parse().map_err(|error| {
                ConfigError::new("server.public_url", format!("is not an address: {error}"))
            })?;
            if !matches!(uri.scheme_str(), Some("https" | "http")) || uri.authority().is_none() {
                return Err(ConfigError::new(
                    "server.public_url",
                    "must begin with https:// (or http://) and name a host",
                ));
            }
            if server.public_url.ends_with('/') || uri.query().is_some() {
                return Err(ConfigError::new(
                    "server.public_url",
                    "must not end with a slash and must have no query",
                ));
            }
        }
        for (key, value, low, high) in [
            ("server.header_seconds", server.header_seconds, 1, 300),
            ("server.body_seconds", server.body_seconds, 1, 300),
            ("server.request_seconds", server.request_seconds, 1, 300),
            (
                "server.drain_grace_seconds",
                server.drain_grace_seconds,
                0,
                300,
            ),
            ("server.drain_seconds", server.drain_seconds, 1, 300),
            (
                "server.connections",
                server.connections as u64,
                1,
                1_000_000,
            ),
            (
                "server.connections_per_peer",
                server.connections_per_peer as u64,
                1,
                1_000_000,
            ),
            (
                "database.connections",
                u64::from(self.database.connections),
                2,
                1_000,
            ),
            ("database.queue", self.database.queue as u64, 1, 1_000_000),
            ("database.batch", self.database.batch as u64, 1, 1_000),
            // A lease that ends before the longest provider call (SMTP: 20 s) would call a live worker dead.
            (
                "database.lease_seconds",
                u64::from(self.database.lease_seconds),
                25,
                600,
            ),
            (
                "requests.correction_minutes",
                u64::from(self.requests.correction_minutes),
                0,
                1_440,
            ),
            (
                "requests.sends_per_address",
                u64::from(self.requests.sends_per_address),
                1,
                1_000_000,
            ),
            (
                "requests.sends_per_desk",
                u64::from(self.requests.sends_per_desk),
                1,
                1_000_000_000,
            ),
            (
                "requests.link_days",
                u64::from(self.requests.link_days),
                0,
                365,
            ),
            (
                "settling.window_seconds",
                u64::from(self.settling.window_seconds),
                1,
                86_400,
            ),
        ] {
            if !(low..=high).contains(&value) {
                return Err(ConfigError::new(
                    key,
                    format!("must be from {low} to {high}, not {value}"),
                ));
            }
        }
        self.settling.check()?;
        self.events.check()?;
        self.limits.check()?;
        self.database.check()
    }

    /// Whether the database is a file of this process.
    pub fn is_sqlite(&self) -> bool {
        self.database.url.starts_with("sqlite:")
    }

    /// The key file; a relative one lies next to the SQLite database.
    pub fn keys_file(&self) -> PathBuf {
        let file = &self.secrets.keys_file;
        let database = self
            .database
            .url
            .strip_prefix("sqlite:")
            .map(|path| path.trim_start_matches("//"));
        match database
            .and_then(|path| Path::new(path.split('?').next().unwrap_or_default()).parent())
        {
            Some(folder) if file.is_relative() => folder.join(file),
            _ => file.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Config::load(&Source {
            file: None,
            environment,
        })
    }

    #[test]
    fn the_defaults_load() {
        let config = load(&[]).unwrap();
        assert!(config.is_sqlite());
        assert_eq!(config.keys_file(), PathBuf::from("onefive.keys"));
    }

    #[test]
    fn a_variable_goes_over_the_file_and_a_file_over_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("onefive.toml");
        std::fs::write(
            &file,
            "[server]\nconnections = 5\nconnections_per_peer = 6\n",
        )
        .unwrap();
        let environment = [("ONEFIVE_SERVER__CONNECTIONS".to_owned(), "7".to_owned())].into();
        let config = Config::load(&Source {
            file: Some(file),
            environment,
        })
        .unwrap();
        assert_eq!(
            (
                config.server.connections,
                config.server.connections_per_peer
            ),
            (7, 6)
        );
    }

    #[test]
    fn a_secret_may_come_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "0123\n").unwrap();
        let path = file.to_str().unwrap();
        let config = load(&[
            ("ONEFIVE_PROVIDERS__TWILIO__SECRET_FILE", path),
            ("ONEFIVE_PROVIDERS__SMTP__PASSWORD", "42"),
        ])
        .unwrap();
        assert_eq!(config.providers["twilio"]["secret"].as_str(), Some("0123"));
        assert_eq!(config.providers["smtp"]["password"].as_str(), Some("42"));
    }

    #[test]
    fn every_mistake_names_its_key() {
        for (name, value, key) in [
            ("ONEFIVE_SERVER__CONNECTIONS", "many", "server.connections"),
            ("ONEFIVE_SERVER__COLOUR", "red", "server.colour"),
            ("ONEFIVE_SERVER__PUBLIC_URL", "ftp://x", "server.public_url"),
            (
                "ONEFIVE_SERVER__PUBLIC_URL",
                "https://x/",
                "server.public_url",
            ),
            ("ONEFIVE_SERVER__PUBLIC", "nowhere", "server.public"),
            (
                "ONEFIVE_SERVER__HEADER_SECONDS",
                "0",
                "server.header_seconds",
            ),
            ("ONEFIVE_DATABASE__URL", "mysql://x", "database.url"),
            ("ONEFIVE_DATABASE__URL", "sqlite::memory:", "database.url"),
            (
                "ONEFIVE_DATABASE__URL_FILE",
                "/nowhere/x",
                "database.url_file",
            ),
            (
                "ONEFIVE_DATABASE__LEASE_SECONDS",
                "5",
                "database.lease_seconds",
            ),
            ("ONEFIVE_LOG__FORMAT", "xml", "log.format"),
            ("ONEFIVE_LIMITS__CALLS_BURST", "0", "limits.calls_burst"),
            ("ONEFIVE_REQUESTS__LINK_DAYS", "400", "requests.link_days"),
            (
                "ONEFIVE_SERVER__TRUSTED_PROXIES",
                "10.0.0.0/8, here",
                "server.trusted_proxies",
            ),
            ("ONEFIVE_NOSECTION__X", "1", "nosection"),
        ] {
            let error = load(&[(name, value)]).unwrap_err();
            assert!(error.to_string().contains(key), "{name}={value}: {error}");
        }
    }

    #[test]
    fn printing_the_settings_shows_no_password() {
        let config = load(&[("ONEFIVE_DATABASE__URL", "postgres://u:hunter2@h/d")]).unwrap();
        assert!(!format!("{:?}", config.database).contains("hunter2"));
    }
}
