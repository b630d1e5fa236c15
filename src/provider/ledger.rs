//! What a provider remembers of us: the messages it took, those that were sent to us, and the ones it still holds back. Asked
//! only where something is in doubt; asking changes nothing, so it may be repeated.

use async_trait::async_trait;

use crate::domain::contact::Address;
use crate::domain::delivery::Status;
use crate::domain::time::Timestamp;

/// A provider that can be asked afterwards.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// The text messages to this address that were made at or after `since`, oldest first.
    async fn sent(&self, to: &Address, since: Timestamp) -> Result<Vec<Sent>, LookError>;

    /// The text messages to us that were made at or after `since`, oldest first. `ours` are the names under which we ask.
    async fn received(&self, ours: &[String], since: Timestamp)
    -> Result<Vec<Received>, LookError>;

    /// Takes back a message that waits for its time.
    async fn revoke(&self, provider_id: &str) -> Result<Revoked, LookError>;
}

/// A message that the provider took from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The provider's id.
    pub provider_id: String,
    /// The names of the sender: number, service.
    pub from: Vec<String>,
    /// The words; `None` if the provider does not keep or show them.
    pub body: Option<String>,
    /// When it was made, by our clock.
    pub created_at: Timestamp,
    /// How far it has come.
    pub status: Status,
}

/// A message that was sent to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The provider's id.
    pub provider_id: String,
    /// Theirs.
    pub from: Address,
    /// Ours, under every name.
    pub to: Vec<String>,
    /// The words.
    pub body: String,
    /// When it was sent, by our clock.
    pub at: Timestamp,
}

/// What became of taking a message back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// It will not go out.
    Done,
    /// It is out already.
    TooLate,
}

/// No answer, or none that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider's list cannot be read: {code}")]
pub struct LookError {
    /// A short code such as `timeout` or `http_500`.
    pub code: String,
    /// The provider asked not to come back earlier than this many milliseconds from now.
    pub retry_after_ms: Option<i64>,
}
