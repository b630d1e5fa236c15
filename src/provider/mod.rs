//! Who carries a message, and how its answers come back.
//!
//! A provider owns its settings, its wire format, its errors and its hooks; formats stop at this door. To add one: a folder
//! with a type that implements [`Provider`], and one row in [`ALL`]. Its settings are the section `[providers.<name>]`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::channel::Message;
use crate::clock::{Clock, Entropy};
use crate::domain::contact::Address;
use crate::domain::delivery::{Outcome, Status};
use crate::domain::request::Channel;
use crate::domain::settling::Recovery;
use crate::domain::time::Timestamp;
pub use meaning::{Class, Explanation, own_meaning};

use ledger::Ledger;

pub mod ledger;
pub mod line;
mod meaning;
pub mod sandbox;
pub mod smtp;
pub mod twilio;

/// Every provider.
pub const ALL: &[Row] = &[
    Row {
        name: "twilio",
        description: "text messages and calls through Twilio",
        build: twilio::build,
    },
    Row {
        name: "smtp",
        description: "mail through an SMTP server",
        build: smtp::build,
    },
    Row {
        name: "sandbox",
        description: "pretend phone, mailbox and calls on the page /sandbox",
        build: sandbox::build,
    },
];

/// A row of the table of providers.
#[derive(Clone, Copy)]
pub struct Row {
    /// The name of its settings section and of its hooks.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// Reads the settings and makes the provider, without connecting anywhere.
    pub build: fn(Built) -> Result<Arc<dyn Provider>, SettingsError>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a provider is built from.
#[derive(Clone)]
pub struct Built {
    /// The section `[providers.<name>]`, with `…_file` secrets already read into their keys.
    pub settings: toml::Table,
    /// The public base address, `https://host[:port][/path]` without a slash at the end. Empty if none is set.
    pub public_url: String,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Built {
    /// The settings as the provider's own struct, which should `deny_unknown_fields`.
    pub fn settings<T: serde::de::DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let deserializer = toml::Value::Table(self.settings.clone());
        serde_path_to_error::deserialize(deserializer).map_err(|error| SettingsError {
            key: error.path().to_string().trim_matches('.').to_owned(),
            message: error.inner().message().trim_end().to_owned(),
        })
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct SettingsError {
    /// The key inside the provider's section; empty for the section as a whole.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl SettingsError {
    /// An error about `key`.
    pub fn new(key: &str, message: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

/// Carries messages on one or more channels.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name, as in [`ALL`].
    fn name(&self) -> &'static str;

    /// Whether it can carry this channel.
    fn carries(&self, channel: &str) -> bool;

    /// Our own address on this channel, unless a desk has its own. Empty where the channel needs none.
    fn sender(&self, channel: &str) -> &str;

    /// Whether it can reach this address. `Err` says what is missing, as a fragment that follows the channel's name.
    fn reaches(&self, channel: &str, address: &Address) -> Result<(), &'static str>;

    /// Sends at most so many at once.
    fn in_flight(&self) -> usize;

    /// So many more may have their way open and their permission on disk while they wait for one of those places, so that none stands
    /// empty for as long as a commit takes. None where the other side counts open ways. Whoever dies leaves these in doubt too.
    fn ahead(&self) -> usize {
        0
    }

    /// Gets ready to send, up to but not including the first byte of the message: connects, shakes hands, signs in.
    /// A failure here is proof that nothing was sent, which is why it happens before the point of no return.
    async fn open(&self, parcel: &Parcel) -> Result<Box<dyn Line>, Outcome>;

    /// Looks at a hook whose body is not read yet (and is empty here): whether it may come in, and how much of it.
    fn admit(&self, _hook: &Hook<'_>) -> Result<Intake, HookError> {
        Ok(Intake::Whole)
    }

    /// Reads a call of ours from the provider: proves that it is genuine, then turns it into our words.
    fn inbound(&self, hook: &Hook<'_>) -> Result<Inbound, HookError>;

    /// What we say back to the provider for an inbound call.
    fn answer(&self, inbound: &Inbound, answer: &Answer) -> HookReply;

    /// Whether it answers this text by itself (STOP, START, HELP and the like), so that we must not answer too.
    fn answers_itself(&self, _text: &str) -> bool {
        false
    }

    /// How an attempt in doubt is settled on this channel, when `sender` asked.
    fn recovery(&self, _channel: &str, _sender: &str) -> Recovery {
        Recovery::Wait
    }

    /// What it remembers of us, if it can be asked.
    fn ledger(&self) -> Option<&dyn Ledger> {
        None
    }

    /// What one of its codes means, if it is one that we know.
    fn explain(&self, _code: &str) -> Option<Explanation> {
        None
    }

    /// The sandbox behind this provider, if it is one.
    fn sandbox(&self) -> Option<&sandbox::Sandbox> {
        None
    }
}

/// An open way to the provider, good for one message.
#[async_trait]
pub trait Line: Send {
    /// Sends. From the first byte on, anything but a clear answer is [`Outcome::Unknown`].
    async fn send(self: Box<Self>, parcel: &Parcel) -> Outcome;
}

/// A message with its addresses, ready to be carried.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The channel.
    pub channel: Channel,
    /// Our address; may be empty for live calls.
    pub from: String,
    /// The contact's address.
    pub to: Address,
    /// The contact's name, for mail headers; may be empty.
    pub to_name: String,
    /// The desk's name, for mail headers.
    pub desk: String,
    /// The message.
    pub message: Message,
    /// Names this attempt in callback addresses.
    pub attempt_token: String,
    /// Names the request in a Message-ID, the same for each attempt: it leads back to the request and cannot be guessed.
    pub request: String,
    /// Seconds after which carrying it makes no sense any more.
    pub valid_seconds: u32,
    /// The provider is to hold it back until then.
    pub send_at: Option<Timestamp>,
}

/// A call of ours by a provider, as raw as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Hook<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The path below `/hooks/<provider>/`, such as `sms` or `status/TOKEN`.
    pub path: &'a str,
    /// Path and query exactly as received, from the first slash on.
    pub target: &'a str,
    /// The query as received, without the question mark.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a http::HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// How much of a hook's body is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// All of it, within the limit for every body.
    Whole,
    /// At most so many bytes; what comes after them is thrown away.
    Start(usize),
}

/// Why a hook is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// It does not prove that the provider sent it. Answered 403; nothing else is looked at.
    #[error("the request does not prove that it comes from the provider")]
    Forged,
    /// There is no such hook. Answered 404.
    #[error("there is no such hook")]
    Unknown,
    /// It is genuine and lacks what it must have. Answered 400.
    #[error("`{field}` {message}")]
    Malformed {
        /// The field.
        field: &'static str,
        /// What is wrong, as a fragment.
        message: &'static str,
    },
}

/// What a provider tells us, in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A text message to one of our numbers.
    Text {
        /// The channel.
        channel: Channel,
        /// Theirs.
        from: Address,
        /// Ours: the address it was sent to, and any other name under which it may have been asked from.
        to: Vec<String>,
        /// The words.
        body: String,
        /// The provider's id of the message.
        message_id: String,
        /// When it was sent, by our clock, if the provider says so: what was sent before an ask is no answer to it.
        at: Option<Timestamp>,
    },
    /// The provider asks what to say in a call, or reports the key that was pressed.
    Call {
        /// The attempt's token; none when a call flow was redirected to us and there is no request yet.
        token: Option<String>,
        /// The call.
        call: Address,
        /// The person's number, if the provider says it.
        person: Option<Address>,
        /// How many times the prompt was heard without a usable key, before this.
        turn: u8,
        /// The key pressed: `None` when the prompt is fetched, `Some("")` when no key came in time.
        key: Option<String>,
        /// The query's own fields, for a redirected flow: desk, conversation, agent and the like.
        fields: BTreeMap<String, String>,
    },
    /// News of something we sent.
    Status {
        /// The attempt's token.
        token: String,
        /// The provider's id of it.
        provider_id: String,
        /// The news.
        status: Status,
    },
    /// A mail that came back to the address that we ask from.
    Mail {
        /// The Message-IDs that it refers to, in small letters and without brackets, the likeliest first.
        refers_to: Vec<String>,
        /// Its own Message-ID, or what stands for it: the same mail always has the same.
        id: String,
        /// What it is.
        returned: Returned,
    },
}

/// What a mail that came back is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Returned {
    /// A mail server's news of what we sent.
    News(Status),
    /// A complaint that the mail was not wanted, by way of the contact's mail service.
    Complaint,
    /// Written by a machine: out-of-office notes, receipts, lists, newsletters. Never an answer.
    Automatic,
    /// Written by a person.
    Answer {
        /// Whom it says it comes from.
        from: Address,
        /// The writer's own words, without what they quote and without their signature. May be empty.
        words: String,
    },
}

/// What we say back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Silence,
    /// A text message back.
    Text(String),
    /// Speak, and wait for one key.
    Prompt {
        /// The attempt's token, for the address that gets the key.
        token: String,
        /// What to say.
        say: String,
        /// The language tag to say it in.
        language: String,
        /// The turn that the key will be reported with.
        turn: u8,
    },
    /// Speak, and hang up.
    Goodbye {
        /// What to say.
        say: String,
        /// The language tag to say it in.
        language: String,
    },
    /// Nothing to say in this call: leave it.
    HangUp,
}

/// An HTTP answer to a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReply {
    /// The media type of `body`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}
