//! Who learns results. To add a sink: one file with a type that implements one of the three traits here, and one row in [`ALL`]; its
//! settings are the section `[sinks.<name>]`.
//!
//! A [`Stream`] carries the events of all desks to one place, in order; a [`Post`] calls the addresses that desks named; [`Samples`]
//! carries the totals. Which events somebody has, and what is tried again, is the journey's business: a sink tries once and says how
//! it went. What desks read by themselves (`GET /v1/events`) needs no sink: it reads the store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::proto::MetricFamily;

use crate::domain::time::Timestamp;

pub mod client;
mod nats;
mod networks;
mod remote_write;
mod webhook;

/// Every sink.
pub const ALL: &[Row] = &[
    Row {
        name: "webhook",
        description: "each desk's own addresses, by Standard Webhooks",
        unasked: true,
        build: webhook::build,
    },
    Row {
        name: "nats",
        description: "all events to a stream of NATS JetStream",
        unasked: false,
        build: nats::build,
    },
    Row {
        name: "remote_write",
        description: "the totals to Prometheus or what speaks its remote write",
        unasked: false,
        build: remote_write::build,
    },
];

/// A row of the table of sinks.
#[derive(Clone, Copy)]
pub struct Row {
    /// The name of its settings section, and its label in metrics.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// Whether it is there without a section of its own.
    pub unasked: bool,
    /// Reads the settings and makes the sink, without connecting anywhere.
    pub build: fn(&toml::Table) -> Result<Sink, SettingsError>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a row makes.
#[derive(Clone)]
pub enum Sink {
    /// Takes the events of all desks.
    Stream(Arc<dyn Stream>),
    /// Calls the addresses that desks named.
    Post(Arc<dyn Post>),
    /// Takes the totals.
    Samples(Arc<dyn Samples>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::Post(_) => "Post",
            Self::Samples(_) => "Samples",
        })
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct SettingsError {
    /// The key inside the sink's section; empty for the section as a whole.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl SettingsError {
    /// An error about `key`.
    pub fn new(key: &str, message: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

/// A section as a sink's own struct, which should `deny_unknown_fields`.
fn settings<T: serde::de::DeserializeOwned>(section: &toml::Table) -> Result<T, SettingsError> {
    serde_path_to_error::deserialize(toml::Value::Table(section.clone())).map_err(|error| {
        SettingsError {
            key: error.path().to_string().trim_matches('.').to_owned(),
            message: error.inner().message().trim_end().to_owned(),
        }
    })
}

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct SinkError {
    /// A fixed word for logs and metrics.
    pub code: &'static str,
    /// What the other side or the system said. For logs; never addresses of desks or their words.
    pub reason: String,
}

impl SinkError {
    /// An error with this code.
    pub fn new(code: &'static str, reason: impl std::fmt::Display) -> Self {
        Self {
            code,
            reason: reason.to_string(),
        }
    }
}

/// An event on its way to a [`Stream`].
#[derive(Debug, Clone)]
pub struct Letter {
    /// The event's identifier: the same in every repetition.
    pub id: String,
    /// The desk's short name.
    pub desk: String,
    /// The event's kind.
    pub kind: &'static str,
    /// The event as JSON.
    pub body: Bytes,
}

/// Carries the events of all desks to one place.
#[async_trait]
pub trait Stream: Send + Sync {
    /// Carries letters in their order. How many from the first on are surely there, and what kept the next one from it.
    async fn publish(&self, letters: &[Letter]) -> (usize, Option<SinkError>);
}

/// One call of a webhook.
#[derive(Debug, Clone)]
pub struct Call {
    /// The address.
    pub url: String,
    /// The event's identifier: the same in every repetition.
    pub id: String,
    /// Seconds since 1970 at this try.
    pub timestamp: i64,
    /// The signatures, with blanks between them.
    pub signatures: String,
    /// The event as JSON.
    pub body: Bytes,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The status that came back; 0 if none did.
    pub status: u16,
    /// The class of the failure, a fixed word; empty if the event was taken.
    pub error: &'static str,
    /// Milliseconds for which the other side wants to be left alone.
    pub retry_after_ms: Option<i64>,
}

/// Calls the addresses that desks named.
#[async_trait]
pub trait Post: Send + Sync {
    /// Whether an address may be called now; otherwise why not, as a fragment that follows its name.
    async fn vet(&self, url: &str) -> Result<(), String>;
    /// Calls once. Follows no redirect, and what comes back is not kept.
    async fn post(&self, call: Call) -> Called;
}

/// What came of carrying samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// They are there.
    Taken,
    /// They may be taken later.
    Later(SinkError),
    /// They never will be.
    Refused(SinkError),
}

/// Carries the totals.
#[async_trait]
pub trait Samples: Send + Sync {
    /// Milliseconds between two samples of a series.
    fn every_ms(&self) -> i64;
    /// Writes the totals as of `at` in the form of the wire. Calls are in the order of time: what is there no more since the last call
    /// is marked so.
    fn write(&self, families: &[MetricFamily], at: Timestamp) -> Bytes;
    /// Carries what was written, once.
    async fn carry(&self, body: Bytes) -> Carried;
}
