//! All events to a stream of NATS JetStream: subject `onefive.<desk>.<type>`, `Nats-Msg-Id` is the event's identifier.
//!
//! An event counts as taken when the server has acknowledged that it is in the stream, and not before. The server drops what comes
//! twice within its window (two minutes unless the stream says otherwise); whoever reads must still know an identifier that it has
//! seen. The client reconnects by itself; the stream is looked for, and made if allowed, after each failure.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::connection::State;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, stream};
use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Letter, SettingsError, Sink, SinkError, Stream};

/// For connecting, and for each acknowledgement.
const PATIENCE: Duration = Duration::from_secs(5);

/// Settings of `[sinks.nats]`.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Servers, with commas between them.
    url: String,
    /// The stream.
    #[serde(default = "stream_name")]
    stream: String,
    /// What subjects begin with.
    #[serde(default = "prefix")]
    prefix: String,
    /// Whether the stream is made if it is missing.
    #[serde(default = "yes")]
    create: bool,
    /// Ways to sign in: a token; a name and a password; the text of a credentials file.
    #[serde(default)]
    token: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    credentials: String,
}

fn stream_name() -> String {
    "ONEFIVE".to_owned()
}

fn prefix() -> String {
    "onefive".to_owned()
}

const fn yes() -> bool {
    true
}

/// Reads the settings and makes the sink.
pub(super) fn build(section: &toml::Table) -> Result<Sink, SettingsError> {
    let settings: Settings = super::settings(section)?;
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    if settings.url.is_empty() {
        return Err(SettingsError::new(
            "url",
            "must name a server such as nats://localhost:4222",
        ));
    }
    for server in settings.url.split(',') {
        if server.trim().parse::<async_nats::ServerAddr>().is_err() {
            return Err(SettingsError::new(
                "url",
                "is no list of servers such as nats://localhost:4222",
            ));
        }
    }
    for (key, text) in [("stream", &settings.stream), ("prefix", &settings.prefix)] {
        if !plain(text) {
            return Err(SettingsError::new(
                key,
                "must be letters, digits, hyphens and underscores",
            ));
        }
    }
    options(&settings)?;
    Ok(Sink::Stream(Arc::new(Nats {
        settings,
        context: Mutex::default(),
    })))
}

fn options(settings: &Settings) -> Result<ConnectOptions, SettingsError> {
    let mut options = ConnectOptions::new()
        .name("onefive")
        .connection_timeout(PATIENCE);
    if !settings.token.is_empty() {
        options = options.token(settings.token.clone());
    }
    if !settings.username.is_empty() {
        options = options.user_and_password(settings.username.clone(), settings.password.clone());
    }
    if !settings.credentials.is_empty() {
        options = options
            .credentials(&settings.credentials)
            .map_err(|error| SettingsError::new("credentials", error.to_string()))?;
    }
    Ok(options)
}

struct Nats {
    settings: Settings,
    context: Mutex<Known>,
}

/// What is known of the other side.
#[derive(Default)]
struct Known {
    context: Option<jetstream::Context>,
    /// Whether the stream was seen since the last failure.
    stream: bool,
}

impl Nats {
    async fn context(&self, known: &mut Known) -> Result<jetstream::Context, SinkError> {
        if known.context.is_none() {
            let options =
                options(&self.settings).map_err(|error| SinkError::new("settings", error))?;
            let servers: Vec<&str> = self.settings.url.split(',').map(str::trim).collect();
            let connected = options.connect(servers).await;
            let client = connected.map_err(|error| SinkError::new("connect", error))?;
            let mut context = jetstream::new(client);
            context.set_timeout(PATIENCE);
            known.context = Some(context);
        }
        let missing = || SinkError::new("connect", "no connection");
        let context = known.context.clone().ok_or_else(missing)?;
        // What is handed to a client without a connection waits in its memory and goes out late, behind what is newer by then.
        if context.client().connection_state() != State::Connected {
            return Err(missing());
        }
        if !known.stream {
            self.find_stream(&context).await?;
            known.stream = true;
        }
        Ok(context)
    }

    async fn find_stream(&self, context: &jetstream::Context) -> Result<(), SinkError> {
        let name = self.settings.stream.clone();
        let found = if self.settings.create {
            let config = stream::Config {
                name,
                subjects: vec![format!("{}.>", self.settings.prefix)],
                ..stream::Config::default()
            };
            let made = context.get_or_create_stream(config).await;
            made.map(|_| ()).map_err(|error| error.to_string())
        } else {
            let found = context.get_stream(name).await;
            found.map(|_| ()).map_err(|error| error.to_string())
        };
        found.map_err(|error| SinkError::new("stream", error))
    }

    async fn send(
        &self,
        context: &jetstream::Context,
        letters: &[Letter],
    ) -> (usize, Option<SinkError>) {
        // One after the other: were the next ones on their way already when one gets lost, it would come in behind them.
        for (taken, letter) in letters.iter().enumerate() {
            let subject = format!("{}.{}.{}", self.settings.prefix, letter.desk, letter.kind);
            let message = PublishMessage::build()
                .payload(letter.body.clone())
                .header("Content-Type", "application/json")
                .message_id(&letter.id)
                .expected_stream(&self.settings.stream);
            let sent = context.send_publish(subject, message).await;
            let failed = match sent {
                Ok(acknowledgement) => acknowledgement
                    .into_future()
                    .await
                    .map_err(|error| SinkError::new("acknowledge", error)),
                Err(error) => Err(SinkError::new("publish", error)),
            };
            if let Err(error) = failed {
                return (taken, Some(error));
            }
        }
        (letters.len(), None)
    }
}

#[async_trait]
impl Stream for Nats {
    async fn publish(&self, letters: &[Letter]) -> (usize, Option<SinkError>) {
        let mut known = self.context.lock().await;
        let context = match self.context(&mut known).await {
            Ok(context) => context,
            Err(error) => {
                known.stream = false;
                return (0, Some(error));
            }
        };
        let (taken, failed) = self.send(&context, letters).await;
        known.stream = failed.is_none();
        (taken, failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_the_settings_names_its_key() {
        let built = |text: &str| build(&text.parse().unwrap());
        assert!(built("url = 'nats://localhost:4222, nats://localhost:4223'").is_ok());
        for (text, key) in [
            ("url = ''", "url"),
            ("url = 'http://x y'", "url"),
            ("url = 'nats://x'\nstream = 'a.b'", "stream"),
            ("url = 'nats://x'\nprefix = ''", "prefix"),
            ("url = 'nats://x'\ncredentials = 'x'", "credentials"),
            ("url = 'nats://x'\ncolour = 1", "colour"),
        ] {
            assert_eq!(built(text).unwrap_err().key, key, "{text}");
        }
    }
}
