//! Asked, or not and why. Pure: the facts go in, the decision comes out.
//!
//! [`Rules`] are what a desk sets; a [`Case`] is one trigger, and its [`Plan`] says what can be said before the store is asked;
//! [`decide`] adds what the store knows. The same three steps run when a trigger comes, when one that waited falls due, and when
//! past ones are replayed with other rules.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

mod case;
mod country;
mod plans;
mod quiet;
mod replay;
mod rules;

pub use case::{Case, Plan};
pub use country::region;
pub use quiet::{QuietAction, QuietHours, TimeOfDay};
pub use replay::{Compared, Recorded, Replay, Tally, Who, word as decision_word};
pub use rules::{Cap, Rules, Share};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Why somebody is not asked. The fixed list: an API value, a metric label and a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppression {
    /// This resolution was already decided on, by a trigger with other content.
    Duplicate,
    /// The contact still has an open request from the same sender.
    OpenRequestExists,
    /// The contact was asked often enough.
    CapContact,
    /// The desk asked often enough today.
    CapDesk,
    /// Not in the sample.
    SampledOut,
    /// In the share that is never asked.
    HoldOut,
    /// The contact does not want to be asked.
    OptedOut,
    /// The desk knows no address.
    NoAddress,
    /// The address is one of our own or the desk's.
    AddressInternal,
    /// The country is not on the list.
    CountryNotAllowed,
    /// No provider carries this channel.
    ChannelNotConfigured,
    /// The time in which the channel lets us write is over.
    WindowClosed,
    /// It is night where the contact is.
    QuietHours,
    /// The desk asked for restraint: an outage, a bereavement, a complaint in progress.
    ContextHold,
    /// Nobody served the contact.
    NoAgentReply,
    /// The conversation was closed by a machine.
    AutoResolved,
}

impl Suppression {
    /// Every reason.
    pub const ALL: [Self; 16] = [
        Self::Duplicate,
        Self::OpenRequestExists,
        Self::CapContact,
        Self::CapDesk,
        Self::SampledOut,
        Self::HoldOut,
        Self::OptedOut,
        Self::NoAddress,
        Self::AddressInternal,
        Self::CountryNotAllowed,
        Self::ChannelNotConfigured,
        Self::WindowClosed,
        Self::QuietHours,
        Self::ContextHold,
        Self::NoAgentReply,
        Self::AutoResolved,
    ];

    /// The word used in the API, in metrics and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::OpenRequestExists => "open_request_exists",
            Self::CapContact => "cap_contact",
            Self::CapDesk => "cap_desk",
            Self::SampledOut => "sampled_out",
            Self::HoldOut => "hold_out",
            Self::OptedOut => "opted_out",
            Self::NoAddress => "no_address",
            Self::AddressInternal => "address_internal",
            Self::CountryNotAllowed => "country_not_allowed",
            Self::ChannelNotConfigured => "channel_not_configured",
            Self::WindowClosed => "window_closed",
            Self::QuietHours => "quiet_hours",
            Self::ContextHold => "context_hold",
            Self::NoAgentReply => "no_agent_reply",
            Self::AutoResolved => "auto_resolved",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// What is known before the store is asked, already weighed by the desk's rules.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any may be true"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given {
    /// The trigger says that the contact is to be left alone.
    pub context_hold: bool,
    /// The trigger has no address.
    pub no_address: bool,
    /// The address is one of our senders or of the desk's own people.
    pub address_internal: bool,
    /// No provider carries the channel.
    pub channel_not_configured: bool,
    /// The number's country is not to be asked, or the number is a costly one.
    pub country_not_allowed: bool,
    /// Nobody replied in the conversation.
    pub no_agent_reply: bool,
    /// A machine closed the conversation.
    pub auto_resolved: bool,
    /// The ask would come too late.
    pub window_closed: bool,
    /// The contact is in the share that is never asked.
    pub hold_out: bool,
    /// The resolution is not in the sample.
    pub sampled_out: bool,
    /// It is night where the contact is, and nobody waits for the morning.
    pub quiet_hours: bool,
    /// It is night where the contact is, until then.
    pub wait_until: Option<Timestamp>,
}

/// What the store knows, read in the transaction that writes the decision.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any may be true"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Another trigger already decided on this resolution.
    pub duplicate: bool,
    /// An unanswered request holds the address pair.
    pub open_request: bool,
    /// The address is on the opt-out list.
    pub opted_out: bool,
    /// The desk's other asks of the same contact: those that were sent and those that wait for it.
    pub asks: Vec<Past>,
    /// The desk's asks of the day are used up.
    pub desk_full: bool,
}

/// An ask of the same contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    /// When it was or is due.
    pub due_at: Timestamp,
    /// Whether it went to the same address, and not only to the same contact.
    pub same_address: bool,
}

/// What is done about a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The contact is asked when the ask is due.
    Ask,
    /// The contact is asked, but not before this instant.
    Wait(Timestamp),
    /// The contact is not asked, and why.
    Suppress(Suppression),
}

impl Decision {
    /// Why the contact is not asked, if so.
    pub const fn reason(self) -> Option<Suppression> {
        match self {
            Self::Suppress(reason) => Some(reason),
            Self::Ask | Self::Wait(_) => None,
        }
    }
}

/// Decides about an ask that is due at `due_at`. The first rule that applies gives the reason; the contact's own wish comes first,
/// then what the desk said about this conversation, then its rules, and last what is only found out by trying: a request that
/// holds the pair of addresses, and a full day.
pub fn decide(rules: &Rules, given: &Given, known: &Known, due_at: Timestamp) -> Decision {
    let reason = [
        (known.duplicate, Suppression::Duplicate),
        (given.no_address, Suppression::NoAddress),
        (known.opted_out, Suppression::OptedOut),
        (given.context_hold, Suppression::ContextHold),
        (
            given.channel_not_configured,
            Suppression::ChannelNotConfigured,
        ),
        (given.address_internal, Suppression::AddressInternal),
        (given.country_not_allowed, Suppression::CountryNotAllowed),
        (given.no_agent_reply, Suppression::NoAgentReply),
        (given.auto_resolved, Suppression::AutoResolved),
        (given.window_closed, Suppression::WindowClosed),
        (given.hold_out, Suppression::HoldOut),
        (given.sampled_out, Suppression::SampledOut),
        (
            rules.asked_enough(&known.asks, due_at),
            Suppression::CapContact,
        ),
        (given.quiet_hours, Suppression::QuietHours),
        (known.open_request, Suppression::OpenRequestExists),
        (known.desk_full, Suppression::CapDesk),
    ]
    .into_iter()
    .find_map(|(applies, reason)| applies.then_some(reason));
    match (reason, given.wait_until) {
        (Some(reason), _) => Decision::Suppress(reason),
        (None, Some(until)) => Decision::Wait(until),
        (None, None) => Decision::Ask,
    }
}

impl Rules {
    /// Whether a decision needs to know the other asks of the contact.
    pub fn need_asks(&self) -> bool {
        !self.caps.is_empty() || self.cooldown_hours > 0
    }

    /// How far apart two asks of a contact can be and still count for a rule, in milliseconds.
    pub fn reach_ms(&self) -> i64 {
        let caps = self.caps.iter().map(|cap| i64::from(cap.days) * DAY_MS);
        caps.max().unwrap_or(0).max(self.cooldown_ms())
    }

    fn cooldown_ms(&self) -> i64 {
        i64::from(self.cooldown_hours) * HOUR_MS
    }

    /// Whether one more ask at `due_at` would be more than the caps or the cooldown allow. Asks that wait count as well, so the
    /// others may lie on both sides.
    fn asked_enough(&self, asks: &[Past], due_at: Timestamp) -> bool {
        let apart = |past: &Past| (past.due_at.as_millis() - due_at.as_millis()).abs();
        let too_soon = |past: &Past| past.same_address && apart(past) < self.cooldown_ms();
        if asks.iter().any(too_soon) {
            return true;
        }
        let mut times: Vec<i64> = asks.iter().map(|past| past.due_at.as_millis()).collect();
        times.sort_unstable();
        let here = due_at.as_millis();
        self.caps.iter().any(|cap| {
            let (count, days) = (cap.count as usize, i64::from(cap.days) * DAY_MS);
            // So many in a row that they and this one lie within the days.
            count == 0
                || times.windows(count).any(|row| {
                    let first = row.first().map_or(here, |first| here.min(*first));
                    let last = row.last().map_or(here, |last| here.max(*last));
                    last - first < days
                })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_284_000_000);

    fn reason(given: Given, known: &Known) -> Option<Suppression> {
        decide(&Rules::default(), &given, known, NOW).reason()
    }

    fn past(days: f64, same_address: bool) -> Past {
        #[expect(clippy::cast_possible_truncation, reason = "a test's days")]
        let due_at = NOW.plus_millis((days * 86_400_000.0) as i64);
        Past {
            due_at,
            same_address,
        }
    }

    #[test]
    fn nothing_against_it_means_ask() {
        assert_eq!(reason(Given::default(), &Known::default()), None);
    }

    #[test]
    fn a_contacts_own_wish_goes_before_the_desks() {
        let given = Given {
            context_hold: true,
            ..Given::default()
        };
        let known = Known {
            opted_out: true,
            open_request: true,
            ..Known::default()
        };
        assert_eq!(reason(given, &known), Some(Suppression::OptedOut));
        assert_eq!(
            reason(given, &Known::default()),
            Some(Suppression::ContextHold)
        );
    }

    #[test]
    fn each_fact_alone_gives_its_own_reason() {
        let given = |change: fn(&mut Given)| {
            let mut given = Given::default();
            change(&mut given);
            reason(given, &Known::default())
        };
        let known = |change: fn(&mut Known)| {
            let mut known = Known::default();
            change(&mut known);
            reason(Given::default(), &known)
        };
        let found = [
            known(|known| known.duplicate = true),
            known(|known| known.open_request = true),
            known(|known| known.asks = vec![past(-1.5, false)]),
            known(|known| known.desk_full = true),
            given(|given| given.sampled_out = true),
            given(|given| given.hold_out = true),
            known(|known| known.opted_out = true),
            given(|given| given.no_address = true),
            given(|given| given.address_internal = true),
            given(|given| given.country_not_allowed = true),
            given(|given| given.channel_not_configured = true),
            given(|given| given.window_closed = true),
            given(|given| given.quiet_hours = true),
            given(|given| given.context_hold = true),
            given(|given| given.no_agent_reply = true),
            given(|given| given.auto_resolved = true),
        ];
        assert_eq!(found, Suppression::ALL.map(Some));
    }

    #[test]
    fn a_suppression_goes_before_waiting() {
        let given = Given {
            wait_until: Some(NOW),
            ..Given::default()
        };
        let rules = Rules::default();
        let known = Known::default();
        assert_eq!(decide(&rules, &given, &known, NOW), Decision::Wait(NOW));
        let known = Known {
            desk_full: true,
            ..known
        };
        let suppressed = Decision::Suppress(Suppression::CapDesk);
        assert_eq!(decide(&rules, &given, &known, NOW), suppressed);
    }

    #[test]
    fn every_cap_holds_over_any_stretch_of_its_days() {
        let enough = |asks: &[f64]| {
            let asks: Vec<Past> = asks.iter().map(|days| past(*days, false)).collect();
            Rules::default().asked_enough(&asks, NOW)
        };
        assert!(!enough(&[]));
        assert!(enough(&[-6.99]) && enough(&[6.99]) && enough(&[0.0]));
        assert!(!enough(&[-7.0]) && !enough(&[7.0]));
        // Three in thirty days: before, after, and on both sides.
        assert!(enough(&[-8.0, -16.0, -29.9]) && enough(&[8.0, 16.0, 29.9]));
        assert!(enough(&[-14.0, -7.0, 15.0]));
        assert!(!enough(&[-20.0, -8.0, 20.0]));
        assert!(!enough(&[-8.0, -16.0]) && !enough(&[-8.0, -16.0, -30.0]));
    }

    #[test]
    fn the_cooldown_is_per_address() {
        let rules = Rules {
            caps: Vec::new(),
            ..Rules::default()
        };
        assert!(rules.asked_enough(&[past(-0.99, true)], NOW));
        assert!(!rules.asked_enough(&[past(-0.99, false)], NOW));
        assert!(!rules.asked_enough(&[past(-1.0, true)], NOW));
        assert!(!Rules::permissive().asked_enough(&[past(0.0, true)], NOW));
    }

    #[test]
    fn every_reason_reads_back() {
        assert!(
            Suppression::ALL
                .into_iter()
                .all(|reason| Suppression::parse(reason.as_str()) == Some(reason))
        );
    }
}
