//! Who does not want to be asked, and how we know.

use super::contact::Address;
use super::reply::ReplyKind;
use super::request::Channel;
use super::time::Timestamp;

/// The channel of an opt-out that holds on every channel.
pub const EVERY_CHANNEL: Channel = Channel::named("*");
/// The most characters of a desk's reason.
pub const REASON_MAX: usize = 200;

/// The reply that a mail program's one click makes (RFC 8058), and the one of our page: their ids, which also make each count once.
pub const ONE_CLICK: &str = "one_click";
/// See [`ONE_CLICK`].
pub const PAGE: &str = "opt_out";

/// How we know of an opt-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The contact wrote STOP.
    Reply,
    /// The contact used the button of the opt-out page.
    Page,
    /// The contact's mail program did (RFC 8058).
    OneClick,
    /// The provider says that the contact does not want it.
    Provider,
    /// The desk said it.
    Api,
    /// The desk said it in a file.
    Import,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 6] = [
        Self::Reply,
        Self::Page,
        Self::OneClick,
        Self::Provider,
        Self::Api,
        Self::Import,
    ];

    /// The word used in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Page => "page",
            Self::OneClick => "one_click",
            Self::Provider => "provider",
            Self::Api => "api",
            Self::Import => "import",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == word)
    }

    /// Whether the contact said it. Then it holds on every channel, and only the contact takes it back, by START.
    pub const fn is_contacts(self) -> bool {
        match self {
            Self::Reply | Self::Page | Self::OneClick | Self::Provider => true,
            Self::Api | Self::Import => false,
        }
    }

    /// The origin of a wish that came as a reply of this kind with this id.
    pub fn of_reply(kind: ReplyKind, provider_id: &str) -> Self {
        match kind {
            ReplyKind::Click | ReplyKind::Button if provider_id == ONE_CLICK => Self::OneClick,
            ReplyKind::Click | ReplyKind::Button => Self::Page,
            ReplyKind::Text | ReplyKind::Key | ReplyKind::Mail => Self::Reply,
        }
    }
}

/// An opt-out as a desk sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOut {
    /// The channel, or [`EVERY_CHANNEL`].
    pub channel: Channel,
    /// Who; `None` once the person was erased.
    pub address: Option<Address>,
    /// How we know.
    pub origin: Origin,
    /// The desk's reason; empty if it gave none.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
    /// Whether it holds for every desk: STOP between two addresses cannot tell desks apart.
    pub every_desk: bool,
}

/// An opt-out that a desk makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOptOut {
    /// The channel, or [`EVERY_CHANNEL`].
    pub channel: Channel,
    /// Who.
    pub address: Address,
    /// How we know.
    pub origin: Origin,
    /// The desk's reason; may be empty.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_origin_reads_back_and_a_desks_own_are_not_the_contacts() {
        for origin in Origin::ALL {
            assert_eq!(Origin::parse(origin.as_str()), Some(origin));
        }
        assert!(!Origin::Api.is_contacts() && !Origin::Import.is_contacts());
        let of = Origin::of_reply;
        assert_eq!(of(ReplyKind::Click, ONE_CLICK), Origin::OneClick);
        assert_eq!(of(ReplyKind::Click, PAGE), Origin::Page);
        assert_eq!(of(ReplyKind::Text, ONE_CLICK), Origin::Reply);
    }
}
