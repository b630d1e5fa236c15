//! One showing of the rating page: who saw it, as far as we want to know, and the one-time value that it was shown with.
//!
//! Nothing here names a person. A client is a keyed hash that is different for every link, so that the same browser cannot be
//! recognised from one request to the next.

use std::net::IpAddr;

use super::id::ViewId;
use super::rating::Score;
use super::time::Timestamp;
use super::token::{TokenHash, TokenMint};

/// How a client is known: a keyed hash of its cookie, or of its network and user agent.
pub type ClientKey = [u8; 16];

/// Which door was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ViewKind {
    /// The rating page.
    Page,
    /// Its headers only: what no browser of a person asks for.
    Head,
    /// The link on the page that people can neither see nor reach.
    Trap,
    /// The opt-out page.
    OptOut,
}

impl ViewKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Page, Self::Head, Self::Trap, Self::OptOut];

    /// The word used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Head => "head",
            Self::Trap => "trap",
            Self::OptOut => "opt_out",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// One showing, as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its identifier.
    pub id: ViewId,
    /// When.
    pub at: Timestamp,
    /// What was opened.
    pub kind: ViewKind,
    /// The score that the link offered.
    pub score: Option<Score>,
    /// Keyed hash of network and user agent.
    pub network: ClientKey,
    /// Keyed hash of the cookie that the client brought, or else of the one that it was given.
    pub cookie: ClientKey,
    /// How often more it was shown than rows are kept for; see [`CLIENT_MAX`].
    pub more: i64,
}

/// The most showings of one kind to one client that have rows of their own. Further ones are only counted, on a row of the same
/// client: a storm must not fill the disk.
pub const CLIENT_MAX: i64 = 10;
/// The most showings of one request that have rows.
pub const REQUEST_MAX: i64 = 60;

/// Who opens a page or posts it, as the connection tells it. Never stored and never logged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Visitor {
    /// The network that the connection came from; see [`network`].
    pub network: String,
    /// The user agent.
    pub agent: String,
    /// The page's cookie; empty if it brought none.
    pub cookie: String,
}

impl std::fmt::Debug for Visitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Visitor(…)")
    }
}

/// The network of an address: 24 bits of IPv4, 48 of IPv6, which is what one customer of a provider gets. Coarse on purpose: it need
/// not tell people apart, and a phone keeps it when its address changes.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            let [a, b, c, _] = four.octets();
            format!("{a}.{b}.{c}")
        }
        IpAddr::V6(six) => {
            let [a, b, c, ..] = six.segments();
            format!("{a:x}:{b:x}:{c:x}")
        }
    }
}

/// The keys of a visitor at one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Of network and user agent.
    pub network: ClientKey,
    /// Of the cookie that it brought.
    pub cookie: Option<ClientKey>,
}

impl Client {
    /// The better of the two: a cookie stays when the network changes.
    pub fn key(self) -> ClientKey {
        self.cookie.unwrap_or(self.network)
    }

    /// Whether that showing was to this client. Who keeps cookies is known by them alone, so that a scanner in the same office
    /// with the same browser is somebody else.
    pub fn saw(self, view: &View) -> bool {
        match self.cookie {
            Some(cookie) => view.cookie == cookie,
            None => view.network == self.network,
        }
    }
}

/// A value that proves a showing: which one, and how often it was posted from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewValue {
    /// The showing.
    pub view: ViewId,
    /// Posts before the one that this value is for.
    pub post: u32,
}

impl ViewValue {
    /// When the page was shown.
    pub fn opened_at(self) -> Timestamp {
        let bytes = self.view.uuid().into_bytes();
        let mut wide = [0; 8];
        wide[2..].copy_from_slice(&bytes[..6]);
        Timestamp::from_millis(i64::from_be_bytes(wide))
    }

    /// The value for the next post from the same page.
    #[must_use]
    pub const fn next(self) -> Self {
        Self {
            view: self.view,
            post: self.post.saturating_add(1),
        }
    }

    /// A name for the post that this value is for.
    pub fn name(self) -> String {
        format!("view:{}.{}", self.view.uuid().simple(), self.post)
    }
}

/// How long a page may be left open and posted.
pub const VIEW_MAX_AGE_MS: i64 = 86_400_000;

impl TokenMint {
    /// A new one-time value for a showing of the page behind `link`, good for a day.
    pub fn view(&self, link: &str, now: Timestamp, random: [u8; 8]) -> String {
        let mut ten = [0; 10];
        ten[..8].copy_from_slice(&random);
        let view = ViewId::new(now, ten);
        self.write_view(link, ViewValue { view, post: 0 })
    }

    /// The value as text.
    pub fn write_view(&self, link: &str, value: ViewValue) -> String {
        let nonce = format!("{}.{}", value.view.uuid().simple(), value.post);
        let proof = self.token("view", &[link.as_bytes(), nonce.as_bytes()]);
        format!("{nonce}.{proof}")
    }

    /// Reads a value that was made here, for this link, less than a day ago.
    pub fn read_view(&self, link: &str, text: &str, now: Timestamp) -> Option<ViewValue> {
        let (nonce, _) = text.rsplit_once('.')?;
        let (id, post) = nonce.split_once('.')?;
        let value = ViewValue {
            view: ViewId::from_uuid(uuid::Uuid::try_parse(id).ok()?),
            post: post.parse().ok()?,
        };
        let expected = self.write_view(link, value);
        let genuine: bool =
            subtle::ConstantTimeEq::ct_eq(text.as_bytes(), expected.as_bytes()).into();
        let age = now.millis_since(value.opened_at());
        (genuine && age <= VIEW_MAX_AGE_MS).then_some(value)
    }

    /// The keys under which a visitor of this link is known.
    pub fn client(&self, link: &str, visitor: &Visitor) -> Client {
        let agent = TokenHash::of(&visitor.agent);
        let network = [link.as_bytes(), visitor.network.as_bytes(), &agent.0];
        let cookie = [link.as_bytes(), visitor.cookie.as_bytes()];
        Client {
            network: self.proof("network", &network),
            cookie: (!visitor.cookie.is_empty()).then(|| self.proof("cookie", &cookie)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_proves_its_link_its_post_and_its_age() {
        let mint = TokenMint::new([1; 32]);
        let now = Timestamp::from_millis(1_700_000_000_000);
        let text = mint.view("link", now, [9; 8]);
        let value = mint.read_view("link", &text, now).unwrap();
        assert_eq!((value.opened_at(), value.post), (now, 0));
        let next = mint.write_view("link", value.next());
        assert_eq!(mint.read_view("link", &next, now), Some(value.next()));
        assert_ne!(value.name(), value.next().name());
        assert_eq!(mint.read_view("other", &text, now), None);
        let late = now.plus_millis(VIEW_MAX_AGE_MS);
        assert!(mint.read_view("link", &text, late).is_some());
        assert_eq!(mint.read_view("link", &text, late.plus_millis(1)), None);
        let raised = text.replacen(".0.", ".1.", 1);
        let padded = text.replacen(".0.", ".00.", 1);
        for forged in [
            "",
            ".",
            "0.0.0",
            &text[1..],
            &text.replace('.', ""),
            &raised,
            &padded,
        ] {
            assert_eq!(mint.read_view("link", forged, now), None, "{forged}");
        }
    }

    #[test]
    fn a_client_is_another_one_at_another_link_and_is_known_by_its_cookie_first() {
        let mint = TokenMint::new([1; 32]);
        let plain = Visitor {
            network: "192.0.2".to_owned(),
            agent: "Browser".to_owned(),
            cookie: String::new(),
        };
        let kept = Visitor {
            cookie: "c".to_owned(),
            ..plain.clone()
        };
        let (one, other) = (mint.client("a", &plain), mint.client("b", &plain));
        assert_ne!(one.network, other.network);
        assert_ne!(mint.client("a", &kept).key(), mint.client("b", &kept).key());
        assert_eq!(mint.client("a", &kept).network, one.network);
        assert_ne!(mint.client("a", &kept).key(), one.key());
        assert!(!format!("{kept:?}").contains("192"));
    }

    #[test]
    fn a_network_is_a_prefix_of_the_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("192.0.2.7"), of("192.0.2.200"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.200"));
        assert_ne!(of("192.0.2.7"), of("192.0.3.7"));
        assert_eq!(of("2001:db8:1::1"), of("2001:db8:1:ffff::9"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
    }
}
