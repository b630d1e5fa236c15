//! One ask for one resolution, and the states it walks through.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::contact::Contact;
use super::delivery::DeliveryState;
use super::id::{DeskId, RequestId};
use super::policy::Suppression;
use super::time::Timestamp;
use super::trigger::{Attribution, Context, MailThread};

/// A channel's name, such as `sms`. Which names exist is the table `channel::ALL`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Channel(Cow<'static, str>);

impl Channel {
    /// The name of a channel that is compiled in.
    pub const fn named(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A name read from the store or from a trigger.
    pub fn from_text(name: String) -> Self {
        Self(Cow::Owned(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Decided to ask; not carried yet.
    Scheduled,
    /// Decided not to ask, with a reason.
    Suppressed,
    /// The provider took it, or the chat's ask was handed out.
    Sent,
    /// The provider says that it arrived.
    Delivered,
    /// The contact has it in front of them: the prompt started, the widget was shown.
    Reached,
    /// A rating was given.
    Answered,
    /// Nobody answered in time.
    Expired,
    /// The desk took it back, or the contact opted out.
    Cancelled,
    /// It could not be carried.
    Failed,
}

impl State {
    /// Every state, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Scheduled,
        Self::Suppressed,
        Self::Sent,
        Self::Delivered,
        Self::Reached,
        Self::Answered,
        Self::Expired,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The word used in the API, in metrics and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Suppressed => "suppressed",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Reached => "reached",
            Self::Answered => "answered",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Bit of this state in a set of states (see [`State::entered_by`]).
    pub const fn bit(self) -> i64 {
        1 << (self as i64)
    }

    /// Height on the way to an answer; `None` for states off that way.
    const fn rank(self) -> Option<u8> {
        match self {
            Self::Scheduled => Some(0),
            Self::Sent => Some(1),
            Self::Delivered => Some(2),
            Self::Reached => Some(3),
            Self::Answered => Some(4),
            Self::Suppressed | Self::Expired | Self::Cancelled | Self::Failed => None,
        }
    }

    /// Whether an answer may still come.
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Scheduled | Self::Sent | Self::Delivered | Self::Reached
        )
    }

    /// Whether evidence of `to` may move a request that is in this state.
    ///
    /// Evidence may come late, twice and in any order, so the way only goes up. A failure reported by a provider is
    /// overruled by later evidence that the ask arrived after all; a decision (suppressed, cancelled, expired) is not.
    pub fn admits(self, to: Self) -> bool {
        match (self, to) {
            (Self::Scheduled | Self::Sent, Self::Failed) => true,
            (
                Self::Scheduled | Self::Sent | Self::Delivered | Self::Reached,
                Self::Expired | Self::Cancelled,
            ) => true,
            (Self::Failed, Self::Delivered | Self::Reached | Self::Answered) => true,
            (from, to) => matches!((from.rank(), to.rank()), (Some(from), Some(to)) if from < to),
        }
    }

    /// The set of states that are entered by going from here to `to`, as bits.
    ///
    /// An answer proves that the ask was sent, arrived and was seen, even where no callback ever said so. Counting these
    /// with the answer keeps the three response rates honest: no denominator is ever smaller than its numerator. `was_sent` tells of
    /// a failed one whether it had been sent before it failed.
    pub fn entered_by(self, to: Self, was_sent: bool) -> i64 {
        let Some(high) = to.rank() else {
            return to.bit();
        };
        let low = self.rank().unwrap_or(u8::from(was_sent));
        Self::ALL
            .into_iter()
            .filter(|state| state.rank().is_some_and(|rank| rank > low && rank <= high))
            .fold(0, |set, state| set | state.bit())
    }
}

/// When each state was entered; absent where it was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The trigger was accepted.
    pub created_at: Timestamp,
    /// The provider took it.
    pub sent_at: Option<Timestamp>,
    /// It arrived.
    pub delivered_at: Option<Timestamp>,
    /// The contact had it in front of them.
    pub reached_at: Option<Timestamp>,
    /// It was answered.
    pub answered_at: Option<Timestamp>,
    /// It came to an end without an answer.
    pub ended_at: Option<Timestamp>,
}

/// One ask for one resolution, as the store keeps it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose request it is.
    pub desk: DeskId,
    /// Its identifier.
    pub id: RequestId,
    /// The channel that the conversation took place in.
    pub channel: Channel,
    /// Our own address on that channel; empty where the channel needs none.
    pub sender: String,
    /// The person asked.
    pub contact: Contact,
    /// The desk's id of the conversation.
    pub conversation: String,
    /// Which closing of it; empty if the desk did not say.
    pub resolution: String,
    /// Who served, where and about what: a snapshot, never looked up later.
    pub attribution: Attribution,
    /// What the words of the ask are called where results are grouped by them.
    pub wording: String,
    /// The mail thread to continue, for mail.
    pub mail: Option<MailThread>,
    /// The desk's own JSON, given back unchanged.
    pub metadata: serde_json::Value,
    /// Where it stands.
    pub state: State,
    /// Why it was not asked, if it was not.
    pub reason: Option<Suppression>,
    /// When each state was entered.
    pub history: History,
    /// What the desk said about restraint.
    pub context: Context,
    /// When it is to be sent.
    pub due_at: Timestamp,
    /// When it was to be sent before quiet hours moved it, if they did.
    pub planned_at: Option<Timestamp>,
    /// When it stops waiting for an answer.
    pub expires_at: Timestamp,
    /// How far carrying it has come.
    pub delivery: DeliveryState,
    /// Provider calls made so far.
    pub attempts: i64,
    /// The provider's last word on it, such as an error code; empty if none.
    pub delivery_code: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_only_moves_a_request_up() {
        assert!(State::Scheduled.admits(State::Answered));
        assert!(State::Sent.admits(State::Delivered));
        assert!(!State::Delivered.admits(State::Sent));
        assert!(
            !State::Delivered.admits(State::Failed),
            "a late failure does not undo a delivery"
        );
        assert!(State::Failed.admits(State::Answered));
        for ended in [
            State::Suppressed,
            State::Cancelled,
            State::Expired,
            State::Answered,
        ] {
            assert!(
                State::ALL.into_iter().all(|to| !ended.admits(to)),
                "{ended:?} is final"
            );
        }
    }

    #[test]
    fn an_answer_counts_the_states_that_it_proves() {
        let all = State::Sent.bit()
            | State::Delivered.bit()
            | State::Reached.bit()
            | State::Answered.bit();
        assert_eq!(State::Scheduled.entered_by(State::Answered, false), all);
        assert_eq!(
            State::Reached.entered_by(State::Answered, true),
            State::Answered.bit()
        );
        assert_eq!(
            State::Failed.entered_by(State::Delivered, true),
            State::Delivered.bit()
        );
        assert_eq!(
            State::Failed.entered_by(State::Answered, false),
            all,
            "it failed before anybody knew that it was sent"
        );
        let expired = State::Sent.entered_by(State::Expired, true);
        assert_eq!(expired, State::Expired.bit());
    }

    #[test]
    fn every_state_reads_back() {
        assert!(
            State::ALL
                .into_iter()
                .all(|state| State::parse(state.as_str()) == Some(state))
        );
    }
}
