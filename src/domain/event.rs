//! What happened, once and for all: one row in the outbox per change, written in the transaction of the change.
//!
//! Totals are the sum of events, which is why an event carries the few columns that are counted. Each has an id, so that it can
//! be told elsewhere once.

use serde::Serialize;

use super::id::{DeskId, EventId, RequestId};
use super::policy::Suppression;
use super::rating::Score;
use super::request::{Channel, State};
use super::time::Timestamp;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What kind of change it was.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum EventKind {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word used in the API and in the store.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// Reads the word back.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
            }
        }
    };
}

kinds! {
    /// It was decided to ask.
    RequestScheduled = "request.scheduled",
    /// It was decided not to ask.
    RequestSuppressed = "request.suppressed",
    /// The provider took it.
    RequestSent = "request.sent",
    /// It arrived.
    RequestDelivered = "request.delivered",
    /// The contact has it in front of them.
    RequestReached = "request.reached",
    /// Nobody answered in time.
    RequestExpired = "request.expired",
    /// It could not be carried.
    RequestFailed = "request.failed",
    /// It was taken back.
    RequestCancelled = "request.cancelled",
    /// A first counted answer.
    RatingCreated = "rating.created",
    /// The contact corrected the score.
    RatingChanged = "rating.changed",
    /// The contact added words.
    RatingCommented = "rating.commented",
    /// An answer that no person is known to have given: the page was shown and not touched. Kept, not counted.
    RatingAuto = "rating.auto",
    /// An answer that looks like a machine's. Kept, not counted.
    RatingSuspect = "rating.suspect",
    /// A manager took the rating out of the reports, with a reason.
    RatingExcluded = "rating.excluded",
    /// A manager put an excluded rating back, or made one of an answer that was kept and not counted.
    RatingRestored = "rating.restored",
    /// A score is so low that somebody should care.
    RatingLow = "rating.low",
    /// Somebody cares for a low score.
    FollowUpTaken = "follow_up.taken",
    /// The customer was told what came of a low score.
    FollowUpTold = "follow_up.told",
    /// A low score needs nobody any more.
    FollowUpClosed = "follow_up.closed",
    /// The contact does not want to be asked.
    ContactOptedOut = "contact.opted_out",
    /// The contact may be asked again.
    ContactOptedIn = "contact.opted_in",
    /// A reply that is no rating; the desk should read it.
    ReplyUnrecognized = "reply.unrecognized",
    /// Nobody knows whether it was sent, and nobody will: looked for long enough. Late evidence may still turn it.
    DeliveryLost = "delivery.lost",
}

impl EventKind {
    /// The kind that reports entering `state`.
    pub const fn for_state(state: State) -> Self {
        match state {
            State::Scheduled => Self::RequestScheduled,
            State::Suppressed => Self::RequestSuppressed,
            State::Sent => Self::RequestSent,
            State::Delivered => Self::RequestDelivered,
            State::Reached => Self::RequestReached,
            State::Answered => Self::RatingCreated,
            State::Expired => Self::RequestExpired,
            State::Cancelled => Self::RequestCancelled,
            State::Failed => Self::RequestFailed,
        }
    }
}

/// Stands beside the states in [`Event::entered`] where a rating got its first words.
pub const COMMENTED: i64 = 1 << 32;
/// Stands beside [`State::Suppressed`] where it had been decided to ask before: the ask waited, and then it was not sent after all.
pub const WAITED: i64 = 1 << 33;
/// Stands beside the first answer that is kept and not counted of a request without a rating, and then beside the rating that the
/// request gets after all.
pub const HELD_BACK: i64 = 1 << 34;

/// One change.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its identifier, the same for every reader and every retry.
    pub id: EventId,
    /// Whose it is.
    pub desk: DeskId,
    /// The request it is about.
    pub request: RequestId,
    /// What kind of change.
    pub kind: EventKind,
    /// When it happened.
    pub at: Timestamp,
    /// The request's channel.
    pub channel: Channel,
    /// The request's touchpoint; empty if none.
    pub touchpoint: String,
    /// The states entered by this change, as bits of [`State::bit`], and what may stand beside them such as [`COMMENTED`].
    pub entered: i64,
    /// Why it was not asked.
    pub reason: Option<Suppression>,
    /// The score, for events about a rating.
    pub score: Option<Score>,
    /// Milliseconds from sending to the first answer, for [`EventKind::RatingCreated`]; from the low score to the step, for those
    /// of a follow-up.
    pub elapsed_ms: Option<i64>,
    /// The score that counted until now, for [`EventKind::RatingChanged`]; absent if none did.
    pub before: Option<Score>,
}
