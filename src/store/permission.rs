//! Whether a worker may send, and what is decided again before it may.

use std::sync::Arc;

use crate::domain::policy::{Given, Rules, Suppression};
use crate::domain::time::Timestamp;

/// A decision that is made once more.
#[derive(Debug, Clone)]
pub struct Again {
    /// The desk's rules as they are now.
    pub rules: Arc<Rules>,
    /// What is known before the store is asked.
    pub given: Given,
}

/// Whether a worker may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Committed: send now.
    Granted {
        /// Tell the provider to hold it back until then.
        send_at: Option<Timestamp>,
    },
    /// The claim is not ours any more, or the request ended meanwhile.
    Withdrawn,
    /// Decided again: not asked after all.
    Suppressed(Suppression),
    /// Decided again: not before then. It is back in the queue.
    Postponed(Timestamp),
    /// More than this ceiling allows in a day. Not sent.
    Ceiling(Ceiling),
}

/// Sends a day that nothing may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// To one address, by all desks.
    Address,
    /// By one desk.
    Desk,
}

impl Ceiling {
    /// Every ceiling.
    pub const ALL: [Self; 2] = [Self::Address, Self::Desk];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Desk => "desk",
        }
    }

    /// The delivery's code at a request that met it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Address => "ceiling_address",
            Self::Desk => "ceiling_desk",
        }
    }
}
