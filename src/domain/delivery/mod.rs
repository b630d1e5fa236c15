//! Carrying a request to the contact: what may be sent again and what never.
//!
//! A provider without idempotency keys is called at most once per proof that it did nothing. The state `dispatching` is
//! committed before the first byte; afterwards only evidence moves a delivery, and only [`Outcome::NotProcessed`] leads
//! back to the queue. [`step`] is the whole rule and is pure: the store runs it inside the transaction that locks the row.

mod step;

pub use step::{Evidence, Position, Step, backoff_ms, step};

/// How far carrying a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Nothing is to be carried: suppressed, or handed out in the answer to the trigger.
    None,
    /// Waits for its time; nothing is on the wire.
    Queued,
    /// A worker holds it; nothing is on the wire yet.
    Claimed,
    /// Committed before the first byte: the point of no return.
    Dispatching,
    /// It may or may not exist at the provider. Never simply sent again; only evidence moves it.
    Unknown,
    /// The first message is still in doubt, and a second one waits at the provider for its time: it is taken back as soon as
    /// anything is heard of the first.
    Guarded,
    /// The provider has it.
    Accepted,
    /// The provider refused it for good.
    Rejected,
    /// Never confirmed within the window. Not sent again; evidence that comes late still turns it.
    Lost,
    /// Taken back, expired or given up before anything was sent.
    Dropped,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::Queued,
        Self::Claimed,
        Self::Dispatching,
        Self::Unknown,
        Self::Guarded,
        Self::Accepted,
        Self::Rejected,
        Self::Lost,
        Self::Dropped,
    ];

    /// The word used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Dispatching => "dispatching",
            Self::Unknown => "unknown",
            Self::Guarded => "guarded",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Lost => "lost",
            Self::Dropped => "dropped",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// How far one attempt, that is one provider call, has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptState {
    /// Committed before the first byte; no report yet.
    Dispatching,
    /// It may or may not exist at the provider.
    Unknown,
    /// It exists.
    Accepted,
    /// Proof that the provider did nothing.
    NotProcessed,
    /// The provider refused it.
    Rejected,
    /// A second message: it exists and waits at the provider for its time.
    Scheduled,
    /// A second message that is to be taken back.
    Revoking,
    /// A second message that was taken back in time.
    Revoked,
}

impl AttemptState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Dispatching,
        Self::Unknown,
        Self::Accepted,
        Self::NotProcessed,
        Self::Rejected,
        Self::Scheduled,
        Self::Revoking,
        Self::Revoked,
    ];

    /// The word used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dispatching => "dispatching",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::NotProcessed => "not_processed",
            Self::Rejected => "rejected",
            Self::Scheduled => "scheduled",
            Self::Revoking => "revoking",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What one provider call came to. Every provider must sort what it saw into one of these four; when in doubt, `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider has it, under this id.
    Accepted {
        /// The provider's id of the message or call.
        provider_id: String,
    },
    /// Proof that the provider did nothing: no byte was written, or the provider documents so (429).
    NotProcessed {
        /// A stable short code for logs and the API, such as `connect` or `429`.
        code: String,
        /// The provider asked not to come back earlier than this many milliseconds from now.
        retry_after_ms: Option<i64>,
    },
    /// The provider said no for good.
    Rejected {
        /// The provider's error code.
        code: String,
        /// The code means that the contact does not want to be written to.
        opted_out: bool,
    },
    /// Anything else once a byte was written.
    Unknown {
        /// What was seen, as a short code such as `timeout` or `http_502`.
        code: String,
    },
}

/// What a provider's signed callback says about a message or call that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Taken, on its way.
    Taken,
    /// Arrived at the contact's device.
    Delivered,
    /// It will not arrive.
    Failed {
        /// The provider's error code; empty if it gave none.
        code: String,
        /// The code means that the contact does not want to be written to.
        opted_out: bool,
    },
}
