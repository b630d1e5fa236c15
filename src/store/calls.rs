//! What the store is asked, and what it answers: the values that go in and out of its methods.

use std::sync::Arc;

use super::permission::Again;
use crate::domain::contact::{Address, Contact};
use crate::domain::delivery::{AttemptState, DeliveryState, Outcome, Status};
use crate::domain::desk::DeskSettings;
use crate::domain::id::{DeskId, RequestId};
use crate::domain::policy::{Decision, Given, Rules};
use crate::domain::rating::Rating;
use crate::domain::reply::{Effect, Reply, Understood};
use crate::domain::request::{Channel, Request, State};
use crate::domain::settling::Doubt;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;
use crate::domain::trigger::{Attribution, Context, MailThread};

/// A trigger that passed its checks, on its way into the store.
#[derive(Debug, Clone)]
pub struct NewRequest {
    /// Whose it is.
    pub desk: DeskId,
    /// The identifier it will have.
    pub id: RequestId,
    /// The channel.
    pub channel: Channel,
    /// Our address.
    pub sender: String,
    /// The person.
    pub contact: Contact,
    /// Whether a reply names its request; see [`Pair`].
    pub reply_names_request: bool,
    /// The conversation.
    pub conversation: String,
    /// Which closing of it.
    pub resolution: String,
    /// Who served.
    pub attribution: Attribution,
    /// What the words of the ask are called where results are grouped by them.
    pub wording: String,
    /// The mail thread.
    pub mail: Option<MailThread>,
    /// The desk's own JSON.
    pub metadata: serde_json::Value,
    /// The desk's `Idempotency-Key`; empty if it sent none.
    pub idempotency_key: String,
    /// The keyed hash of what the trigger says.
    pub fingerprint: [u8; 32],
    /// The desk's rules.
    pub rules: Arc<Rules>,
    /// What is known before the store is asked.
    pub given: Given,
    /// What the desk said about restraint.
    pub context: Context,
    /// How it is carried.
    pub carriage: Carriage,
    /// The hash of its link token, if it has one.
    pub link: Option<TokenHash>,
    /// When the trigger came.
    pub now: Timestamp,
    /// When it is due: after the quiet hours, if they delay it.
    pub due_at: Timestamp,
    /// When it was due before quiet hours moved it, if they did.
    pub planned_at: Option<Timestamp>,
    /// The day on which it is due, by the desk's clock.
    pub day: i64,
    /// When it stops waiting.
    pub expires_at: Timestamp,
    /// Decide, answer, and write nothing.
    pub dry_run: bool,
}

/// How a new request is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carriage {
    /// A worker sends it when it is due.
    Queue,
    /// The answer to the trigger hands it out.
    Answer,
    /// It is being asked in a call that is going on: the attempt is made at once.
    Call {
        /// The hash of the attempt's token.
        attempt: TokenHash,
        /// The provider of the call.
        provider: &'static str,
    },
}

/// Two addresses between which a reply may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The channel.
    pub channel: Channel,
    /// Ours.
    pub ours: String,
    /// Theirs.
    pub theirs: Address,
}

/// What became of a trigger.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// It is stored, with its decision in state and reason.
    New(Box<Request>),
    /// It was stored before; this is how it stands.
    Replayed(Box<Request>),
    /// The idempotency key belongs to another body.
    KeyReused,
    /// A dry run: what the decision would be.
    Considered(Decision),
}

/// How an inbound call names its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find {
    /// By the two addresses.
    Pair(Pair),
    /// By the token in a link or a chat's ask.
    Link(TokenHash),
    /// By the token of an attempt.
    Attempt(TokenHash),
    /// By itself: a name that was proved to be ours, such as that of a mail.
    Request(DeskId, RequestId),
}

/// A reply on its way into the store.
#[derive(Debug, Clone)]
pub struct NewReply {
    /// Which request it belongs to.
    pub find: Find,
    /// The reply as it came.
    pub reply: Reply,
    /// What it means by itself.
    pub understood: Understood,
    /// Milliseconds after the first answer in which it may be corrected.
    pub window_ms: i64,
    /// When the contact sent it, if that is known: what was sent before an ask is no answer to it.
    pub sent_at: Option<Timestamp>,
}

/// What a reply did.
#[derive(Debug, Clone)]
pub struct Replied {
    /// The request as it stands now.
    pub request: Request,
    /// What the reply did to it.
    pub effect: Effect,
    /// The rating as it stands now.
    pub rating: Option<Rating>,
    /// The same reply had come before; nothing was written.
    pub repeated: bool,
    /// The contact had sent something unclear before this.
    pub unclear_before: bool,
    /// In whose name it is answered.
    pub desk: Speaker,
}

/// A desk, as far as it speaks to a contact.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Arc<DeskSettings>,
}

/// A request that a worker holds.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The request.
    pub request: Request,
    /// Grows with every claim; what is recorded must name it.
    pub fence: i64,
}

/// The point of no return of one attempt.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// Whose it is.
    pub desk: DeskId,
    /// The request.
    pub request: RequestId,
    /// The claim's fence.
    pub fence: i64,
    /// The number of the attempt, from 1.
    pub attempt: i64,
    /// The hash of its token.
    pub token: TokenHash,
    /// The provider.
    pub provider: &'static str,
    /// What the text is known by in the provider's list, if it has one.
    pub body: Option<[u8; 32]>,
    /// How a second attempt is made while the first is in doubt.
    pub second: Second,
    /// Now.
    pub now: Timestamp,
    /// What the rules say now, for an ask that waited so long that it is decided again.
    pub again: Option<Box<Again>>,
}

/// How a second attempt is made while nobody knows whether the first one happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// Not at all.
    Never,
    /// At once, because it carries the same identity as the first.
    Same,
    /// It waits at the provider until this time, so that it can be taken back.
    At(Timestamp),
}

/// What a worker reports about its call.
#[derive(Debug, Clone)]
pub struct Report {
    /// Whose it is.
    pub desk: DeskId,
    /// The request.
    pub request: RequestId,
    /// The claim's fence.
    pub fence: i64,
    /// The number of the attempt.
    pub attempt: i64,
    /// When its message goes out, if it was told to wait at the provider.
    pub send_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: Outcome,
    /// Now.
    pub now: Timestamp,
}

/// An attempt as it is stored.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its number, from 1.
    pub n: i64,
    /// The provider.
    pub provider: String,
    /// The provider's id of the message; empty if none is known.
    pub provider_id: String,
    /// How far it has come.
    pub state: AttemptState,
    /// When it started.
    pub started_at: Timestamp,
    /// What its text is known by in the provider's list.
    pub body: Option<[u8; 32]>,
    /// When its message goes out, if it waits at the provider.
    pub send_at: Option<Timestamp>,
    /// Looks that were answered.
    pub looks: i64,
    /// Of these, those that found nothing.
    pub absent: i64,
    /// When nothing was found for the first time.
    pub absent_since: Option<Timestamp>,
}

/// An attempt whose turn it is to be looked after.
#[derive(Debug, Clone)]
pub struct Check {
    /// The request.
    pub request: Request,
    /// The attempt.
    pub attempt: Attempt,
    /// Attempts of the request in doubt.
    pub doubts: i64,
    /// When the message of a later attempt goes out, if it was told to wait at the provider.
    pub next_send_at: Option<Timestamp>,
    /// When the next attempt started, if there was one.
    pub next_started_at: Option<Timestamp>,
}

/// What looking after an attempt came to.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Whose it is.
    pub desk: DeskId,
    /// The request.
    pub request: RequestId,
    /// The number of the attempt.
    pub attempt: i64,
    /// How far the attempt had come when it was looked after.
    pub state: AttemptState,
    /// What was found.
    pub finding: Finding,
    /// Now.
    pub now: Timestamp,
}

/// What was found when an attempt was looked after.
#[derive(Debug, Clone)]
pub enum Finding {
    /// Nothing yet: come back at this time, knowing this.
    Later {
        /// When.
        at: Timestamp,
        /// What is known.
        doubt: Doubt,
    },
    /// The provider has it.
    Found {
        /// Under this id.
        provider_id: String,
        /// And says this of it.
        status: Status,
    },
    /// Looked for long enough.
    NotFound {
        /// A second attempt is to be made.
        second: bool,
    },
    /// A second message's time has come.
    Released,
    /// A second message was taken back.
    Revoked,
    /// A second message went out before it could be taken back.
    TooLate,
    /// There is nothing left to look for.
    Settled,
}

/// A scheduled duty is ours for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Grows whenever it changes hands.
    pub fence: i64,
    /// How far the work has come.
    pub mark: i64,
}

/// Which requests or ratings to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this conversation.
    pub conversation: Option<String>,
    /// Only this state (requests).
    pub state: Option<State>,
    /// Only this channel.
    pub channel: Option<String>,
    /// Only created (requests) or answered (ratings) at or after this instant.
    pub from: Option<Timestamp>,
    /// Only created or answered before this instant.
    pub to: Option<Timestamp>,
    /// Only what comes after this identifier, in the order of creation.
    pub after: Option<uuid::Uuid>,
    /// At most so many.
    pub limit: i64,
}

/// What became of cancelling.
#[derive(Debug, Clone)]
pub enum Cancelled {
    /// It was open and is cancelled now; or it was cancelled before.
    Done(Box<Request>),
    /// It has ended otherwise.
    Ended(Box<Request>),
}

/// Deliveries in one state, and since when the oldest waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The state.
    pub state: DeliveryState,
    /// How many.
    pub count: i64,
    /// When the longest-waiting one became due; 0 if that means nothing.
    pub oldest_due: Timestamp,
}

/// How the connections and files of the database are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// Connections that are in use.
    pub busy: u64,
    /// Connections that wait for use.
    pub idle: u64,
    /// Bytes in SQLite's write-ahead log; none with PostgreSQL.
    pub log_bytes: Option<u64>,
}
