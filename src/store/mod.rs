//! What we remember: one trait, one implementation in SQL, two dialects.
//!
//! Each method is one transaction; no transaction leaves this folder; "not found" is `None`. Every method names the desk it
//! acts for, but for the doors that prove themselves by a secret (a link, a callback, a signed message between two
//! addresses). Only this folder knows SQL.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::contact::{Address, Contact};
use crate::domain::delivery::{DeliveryState, Outcome, Status};
use crate::domain::desk::{ApiKey, Desk, DeskSettings};
use crate::domain::id::{DeskId, KeyId, RequestId};
use crate::domain::policy::{Given, Suppression};
use crate::domain::rating::Rating;
use crate::domain::reply::{Effect, Reply, Understood};
use crate::domain::request::{Channel, Request, State};
use crate::domain::statistics::Total;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;
use crate::domain::trigger::{Attribution, MailThread};

mod accept;
mod carry;
mod commit;
#[cfg(test)]
mod conformance;
mod desks;
mod dialect;
mod keyring;
mod read;
mod record;
mod reply;
mod row;
mod sql;
mod sums;

pub use keyring::{KeyRing, KeyRingError};
pub use sql::SqlStore;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `sqlite:FILE` or `postgres://…`.
    pub url: String,
    /// The most connections to PostgreSQL.
    pub connections: u32,
    /// Prepared statements kept per connection to PostgreSQL; 0 behind a pooler in transaction mode.
    pub statement_cache: usize,
    /// Writes that may wait for their transaction before further ones are refused.
    pub queue: usize,
    /// The most writes in one transaction.
    pub batch: usize,
    /// Milliseconds for which a claim is held. Longer than a provider call may take.
    pub lease_ms: i64,
}

/// Why the store could not do it. Texts are for the log, never for a client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer; a later try may work.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Too many writes are waiting.
    #[error("too many writes are waiting for the database")]
    Busy,
    /// Somebody else was faster, more often than we care to repeat.
    #[error("the same row was written at the same time")]
    Conflict,
    /// What is stored cannot be read.
    #[error("the database holds something unexpected: {0}")]
    Corrupt(String),
    /// The address of the database cannot be used.
    #[error("the database address cannot be used: {0}")]
    Settings(String),
    /// The schema could not be brought up to date.
    #[error("the schema could not be brought up to date: {0}")]
    Migration(String),
}

/// The kind of a [`StoreError`], without its texts: what may be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// [`StoreError::Unavailable`]
    Unavailable,
    /// [`StoreError::Busy`]
    Busy,
    /// [`StoreError::Conflict`]
    Conflict,
    /// [`StoreError::Corrupt`]
    Corrupt,
    /// [`StoreError::Settings`]
    Settings,
    /// [`StoreError::Migration`]
    Migration,
}

impl StoreErrorKind {
    /// Those that a running service may meet; the others keep it from starting.
    pub const RUNNING: [Self; 4] = [Self::Unavailable, Self::Busy, Self::Conflict, Self::Corrupt];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Settings => "settings",
            Self::Migration => "migration",
        }
    }
}

impl StoreError {
    /// Its kind.
    pub const fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Unavailable(_) => StoreErrorKind::Unavailable,
            Self::Busy => StoreErrorKind::Busy,
            Self::Conflict => StoreErrorKind::Conflict,
            Self::Corrupt(_) => StoreErrorKind::Corrupt,
            Self::Settings(_) => StoreErrorKind::Settings,
            Self::Migration(_) => StoreErrorKind::Migration,
        }
    }
}

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
    /// The mail thread.
    pub mail: Option<MailThread>,
    /// The desk's own JSON.
    pub metadata: serde_json::Value,
    /// The desk's `Idempotency-Key`; empty if it sent none.
    pub idempotency_key: String,
    /// SHA-256 of what the trigger says.
    pub fingerprint: [u8; 32],
    /// What is known before the store is asked.
    pub given: Given,
    /// How it is carried.
    pub carriage: Carriage,
    /// The hash of its link token, if it has one.
    pub link: Option<TokenHash>,
    /// When the trigger came.
    pub now: Timestamp,
    /// When it is due.
    pub due_at: Timestamp,
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
    Considered(Option<Suppression>),
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
    /// Now.
    pub now: Timestamp,
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
    /// What came of it.
    pub outcome: Outcome,
    /// Now.
    pub now: Timestamp,
}

/// Whether a worker may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Committed: send now.
    Granted,
    /// The claim is not ours any more, or the request ended meanwhile.
    Withdrawn,
    /// Decided again: not asked after all.
    Suppressed(Suppression),
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

/// Everything that the journey asks of the store.
#[async_trait]
pub trait Store: Send + Sync {
    /// Brings the schema up to date.
    async fn migrate(&self) -> Result<(), StoreError>;
    /// Whether the database answers and its schema fits this binary.
    async fn ready(&self) -> Result<bool, StoreError>;
    /// Finishes what is waiting and closes the connections.
    async fn close(&self);

    /// Adds a desk. `None` if its short name is taken.
    async fn add_desk(
        &self,
        slug: &str,
        name: &str,
        settings: &DeskSettings,
        now: Timestamp,
    ) -> Result<Option<Desk>, StoreError>;
    /// Every desk, oldest first.
    async fn desks(&self) -> Result<Vec<Desk>, StoreError>;
    /// A desk by its short name.
    async fn find_desk(&self, slug: &str) -> Result<Option<Desk>, StoreError>;
    /// A desk by its identifier.
    async fn desk(&self, id: DeskId) -> Result<Option<Desk>, StoreError>;
    /// Adds a key.
    async fn add_key(&self, key: &ApiKey) -> Result<(), StoreError>;
    /// A key that is not revoked, by its handle.
    async fn find_key(&self, handle: &str) -> Result<Option<ApiKey>, StoreError>;
    /// Revokes a key; whether there was one to revoke.
    async fn revoke_key(
        &self,
        desk: DeskId,
        handle: &str,
        now: Timestamp,
    ) -> Result<Option<KeyId>, StoreError>;

    /// Decides on a trigger and stores request, decision and event.
    async fn accept(&self, new: NewRequest) -> Result<Accepted, StoreError>;
    /// One request, with its rating.
    async fn request(
        &self,
        desk: DeskId,
        id: RequestId,
    ) -> Result<Option<(Request, Option<Rating>)>, StoreError>;
    /// Requests in the order of their creation.
    async fn requests(&self, desk: DeskId, filter: &Filter) -> Result<Vec<Request>, StoreError>;
    /// Takes an open request back.
    async fn cancel(
        &self,
        desk: DeskId,
        id: RequestId,
        now: Timestamp,
    ) -> Result<Option<Cancelled>, StoreError>;
    /// Ratings with their requests, in the order of their creation.
    async fn ratings(
        &self,
        desk: DeskId,
        filter: &Filter,
    ) -> Result<Vec<(Rating, Request)>, StoreError>;
    /// The request behind a link or an attempt, with its rating.
    async fn find(&self, find: &Find) -> Result<Option<(Request, Option<Rating>)>, StoreError>;

    /// Takes due requests out of the queue, for one worker.
    async fn claim_deliveries(
        &self,
        owner: &str,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError>;
    /// Commits to sending, before the first byte.
    async fn dispatch(&self, dispatch: Dispatch) -> Result<Permission, StoreError>;
    /// Records what came of sending. `false` if the worker was fenced out or evidence was faster.
    async fn report(&self, report: Report) -> Result<bool, StoreError>;
    /// Settles what dead workers left behind: claims go back to the queue, what may have been sent becomes unknown.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError>;
    /// Applies a provider's callback. `None` if no attempt has that token.
    async fn record_status(
        &self,
        token: TokenHash,
        provider_id: &str,
        status: Status,
        now: Timestamp,
    ) -> Result<Option<Request>, StoreError>;
    /// The contact has the ask in front of them.
    async fn record_reached(
        &self,
        find: Find,
        now: Timestamp,
    ) -> Result<Option<Request>, StoreError>;

    /// Records a reply and all that follows from it. `None` if no request waits for it.
    async fn record_reply(&self, new: NewReply) -> Result<Option<Replied>, StoreError>;
    /// Puts an address on the opt-out list of every desk.
    async fn opt_out(
        &self,
        channel: &Channel,
        address: &Address,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Takes an address off every opt-out list of this channel; whether it was on one.
    async fn opt_in(&self, channel: &Channel, address: &Address) -> Result<bool, StoreError>;

    /// Ends what has waited long enough; how many.
    async fn expire(&self, now: Timestamp, limit: i64) -> Result<u64, StoreError>;
    /// Moves events into the totals; how many.
    async fn fold(&self, limit: i64) -> Result<u64, StoreError>;
    /// Folded totals plus what is not folded yet, read in one statement.
    async fn totals(&self) -> Result<Vec<Total>, StoreError>;
    /// What is being carried.
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;
}

/// The store as everybody holds it.
pub type SharedStore = Arc<dyn Store>;
