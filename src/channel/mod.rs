//! How we speak to a person: pure. A channel knows its addresses, renders the ask and the words that follow an answer.
//! Who carries a message is a provider's business.
//!
//! To add a channel: one file that implements [`Channel`], and one row in [`ALL`].

use std::borrow::Cow;

use crate::domain::contact::{Address, AddressError, Contact};
use crate::domain::desk::Desk;
use crate::domain::rating::Score;
use crate::domain::request::{Channel as Name, Request};
use crate::domain::statistics::evidence::{Evidence, Tells};
use crate::domain::token::LinkLength;
use crate::domain::trigger::MailThread;
use crate::domain::wording::WordingOverrides;

pub mod chat;
pub mod email;
pub mod reading;
pub mod sms;
pub mod voice;
pub mod wording;

/// Every channel.
pub const ALL: &[&dyn Channel] = &[&sms::Sms, &voice::Voice, &email::Email, &chat::Chat];

/// The channel of that name.
pub fn find(name: &str) -> Option<&'static dyn Channel> {
    ALL.iter().copied().find(|channel| channel.name() == name)
}

/// What every channel tells of an ask before it is answered.
pub fn evidence() -> Evidence {
    Evidence::of(ALL.iter().map(|channel| (channel.name(), channel.tells())))
}

/// How a contact is asked in one medium.
pub trait Channel: Send + Sync {
    /// Its name in the API, in metrics and in the store.
    fn name(&self) -> &'static str;

    /// One line for people.
    fn description(&self) -> &'static str;

    /// How many actions a rating takes. A channel above [`TAPS_MAX`] is refused at start.
    fn taps(&self) -> u8;

    /// Reads an address of this channel.
    fn address(&self, raw: &str) -> Result<Address, AddressError>;

    /// Who carries the ask.
    fn carriage(&self) -> Carriage;

    /// Whether a reply names its request by itself (a link, a call). Where it does not, our address and theirs have to, so
    /// a pair of addresses can hold only one open request, whichever desk it belongs to.
    fn reply_names_request(&self) -> bool;

    /// What is known of an ask here before it is answered.
    fn tells(&self) -> Tells;

    /// How long the token in its links is.
    fn link_length(&self) -> LinkLength {
        LinkLength::Full
    }

    /// Whether the ask in this wording shows a link, which then has to lead to its request.
    fn shows_link(&self, _wording: &wording::Wording) -> bool {
        self.reply_names_request()
    }

    /// The ask.
    fn render(&self, ask: &Ask<'_>) -> Message;
}

/// The most actions that a rating may take.
pub const TAPS_MAX: u8 = 3;

/// Who carries an ask to the contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// A provider does, when it is due.
    Provider,
    /// The answer to the trigger contains it.
    Answer,
}

/// Everything that an ask is made of.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The desk's name as the contact knows it.
    pub desk: &'a str,
    /// The name of who served; empty if unknown.
    pub agent: &'a str,
    /// The contact.
    pub contact: &'a Contact,
    /// The language tag to use; empty for the default.
    pub language: &'a str,
    /// The named place in the contact's journey; may be empty. The desk's own words may depend on it.
    pub touchpoint: &'a str,
    /// The desk's own words.
    pub overrides: &'a WordingOverrides,
    /// The mail thread to continue.
    pub mail: Option<&'a MailThread>,
    /// What the conversation was called by the desk.
    pub conversation: &'a str,
    /// Where the rating page is: an absolute address without query.
    pub rating_url: &'a str,
    /// Where opting out is: an absolute address.
    pub opt_out_url: &'a str,
    /// Where a chat posts the score: an absolute address.
    pub post_url: &'a str,
}

impl<'a> Ask<'a> {
    /// The ask of this request. The contact's own language goes before the desk's.
    pub fn of(request: &'a Request, desk: &'a Desk, urls: &'a Urls) -> Self {
        Self {
            desk: &desk.name,
            agent: &request.attribution.agent.name,
            contact: &request.contact,
            language: desk.settings.spoken(&request.attribution.language),
            touchpoint: &request.attribution.touchpoint,
            overrides: &desk.settings.wording,
            mail: request.mail.as_ref(),
            conversation: &request.conversation,
            rating_url: &urls.rating,
            opt_out_url: &urls.opt_out,
            post_url: &urls.post,
        }
    }

    /// The texts to ask with.
    pub fn wording(&self) -> Cow<'static, wording::Wording> {
        wording::own(self.overrides, self.language, self.touchpoint)
    }
}

/// The public addresses of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// The rating page.
    pub rating: String,
    /// The opt-out page.
    pub opt_out: String,
    /// Where a chat posts.
    pub post: String,
}

impl Urls {
    /// The addresses for a link token below the public base address.
    pub fn new(base: &str, token: &str) -> Self {
        Self {
            rating: format!("{base}/r/{token}"),
            opt_out: format!("{base}/u/{token}"),
            post: format!("{base}/w/{token}"),
        }
    }
}

/// A rendered ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A mail.
    Mail(Mail),
    /// A spoken prompt that a key answers. The provider fetches the words when the call is there, see [`voice_prompt`].
    Call,
    /// A chat's ask as plain data.
    Buttons(Buttons),
}

/// A rendered mail, without addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The subject.
    pub subject: String,
    /// The plain text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// The Message-ID of the mail that this one continues.
    pub in_reply_to: Option<String>,
    /// Where a mail program may opt the contact out with one click (RFC 8058).
    pub opt_out_url: String,
}

/// A chat's ask as plain data, for any chat system.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Buttons {
    /// The question.
    pub text: String,
    /// The five buttons, worst first.
    pub buttons: Vec<Button>,
    /// Where to post `{"score": 1..5, "comment": "optional"}`.
    pub url: String,
}

/// One button.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Button {
    /// The score that it stands for.
    pub score: u8,
    /// Its label.
    pub label: String,
}

/// The words of the voice prompt, and the language tag to speak them in.
pub fn voice_prompt(ask: &Ask<'_>) -> (String, String) {
    voice::prompt(ask)
}

/// The public name type of a channel.
pub fn name_of(channel: &dyn Channel) -> Name {
    Name::named(channel.name())
}

/// The five scores with their words, worst first.
pub fn labels(wording: &wording::Wording) -> Vec<(Score, &str)> {
    Score::ALL
        .into_iter()
        .zip(wording.scale.iter().map(String::as_str))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::wording::TEXTS;

    pub(super) fn contact() -> Contact {
        Contact {
            address: Address::none(),
            id: String::new(),
            name: "Ana".into(),
            phone: None,
        }
    }

    pub(super) fn ask(contact: &Contact) -> Ask<'_> {
        Ask {
            desk: "Acme IT",
            agent: "Sam",
            contact,
            language: "",
            touchpoint: "",
            overrides: WordingOverrides::NONE,
            mail: None,
            conversation: "INC-1",
            rating_url: "https://r.example.com/r/TOKEN",
            opt_out_url: "https://r.example.com/u/TOKEN",
            post_url: "https://r.example.com/w/TOKEN",
        }
    }

    #[test]
    fn every_channel_has_its_own_name_and_needs_few_taps() {
        for channel in ALL {
            assert!(channel.taps() <= TAPS_MAX, "{}", channel.name());
            assert_eq!(
                ALL.iter()
                    .filter(|other| other.name() == channel.name())
                    .count(),
                1,
                "{}",
                channel.name()
            );
            let mut texts = TEXTS.iter();
            let texts = texts.any(|(key, _)| key.split('.').next() == Some(channel.name()));
            assert!(texts, "{} has no texts of its own", channel.name());
            assert_eq!(
                find(channel.name()).unwrap().description(),
                channel.description()
            );
        }
        assert!(find("fax").is_none());
    }

    #[test]
    fn the_scale_has_a_word_for_each_score() {
        let labels: Vec<_> = labels(wording::of("en"))
            .into_iter()
            .map(|(score, word)| (score.get(), word))
            .collect();
        assert_eq!(labels.first(), Some(&(1, "very poor")));
        assert_eq!(labels.last(), Some(&(5, "excellent")));
    }
}
