//! Asked, or not and why. Pure: the facts go in, the decision comes out.

use serde::{Deserialize, Serialize};

mod quiet;
mod rules;

pub use quiet::{QuietAction, QuietHours, TimeOfDay};
pub use rules::{Cap, Rules, Share};

/// Why somebody is not asked. The fixed list: an API value, a metric label and a column. Not every one has a rule yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// What is known before the store is asked.
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
    /// The address is our own sender on this channel.
    pub address_internal: bool,
    /// No provider carries the channel.
    pub channel_not_configured: bool,
}

/// What the store knows, read in the transaction that writes the decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Another trigger already decided on this resolution.
    pub duplicate: bool,
    /// An unanswered request holds the address pair.
    pub open_request: bool,
    /// The address is on the opt-out list.
    pub opted_out: bool,
}

/// `None` means ask. The first rule that applies gives the reason; the contact's own wish comes first.
pub fn decide(given: Given, known: Known) -> Option<Suppression> {
    [
        (known.duplicate, Suppression::Duplicate),
        (given.no_address, Suppression::NoAddress),
        (known.opted_out, Suppression::OptedOut),
        (given.context_hold, Suppression::ContextHold),
        (
            given.channel_not_configured,
            Suppression::ChannelNotConfigured,
        ),
        (given.address_internal, Suppression::AddressInternal),
        (known.open_request, Suppression::OpenRequestExists),
    ]
    .into_iter()
    .find_map(|(applies, reason)| applies.then_some(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_against_it_means_ask() {
        assert_eq!(decide(Given::default(), Known::default()), None);
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
        assert_eq!(decide(given, known), Some(Suppression::OptedOut));
        assert_eq!(
            decide(given, Known::default()),
            Some(Suppression::ContextHold)
        );
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
