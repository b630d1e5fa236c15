//! What we remember: one trait, one implementation in SQL, two dialects.
//!
//! Each method is atomic: one transaction, or its part of one that hot writes share (see `commit`). No transaction leaves this
//! folder; "not found" is `None`. What a desk asks for names the desk. The doors that prove themselves by a secret (a key, a
//! link, a callback, a signed message between two addresses) find it; the workers' and the operators' methods go over all desks.
//!
//! Reading order: `calls` and the trait, `sql` and `write` (how they fit), `accept`, `claim`, `carry`, `sends`, `sent`, `settle`, `look`,
//! `reply`, `replies`, `end` (the steps), `lock` and `record` (what steps share), `past`, `again`, `rulings` and `watch` (what the rules need), `seal` and `people`
//! (what is known about a person), `sums`, `known`, `rollup` and `summary` (what it adds up to), `outbox`, `told`, `subscriptions` and `tries`
//! (how results leave), `duty`, `invariants`, then `dialect`, `tx`, `bulk`, `commit`, and what may fail under them: `server`,
//! `file`, `shared`. Only this folder knows SQL.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::contact::Address;
use crate::domain::delivery::Status;
use crate::domain::desk::{ApiKey, Desk, DeskSettings};
use crate::domain::id::{DeskId, KeyId, RequestId};
use crate::domain::rating::Rating;
use crate::domain::request::{Channel, Request};
use crate::domain::statistics::Totals;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;

mod accept;
mod again;
mod born;
mod bulk;
mod calls;
mod carry;
mod claim;
mod comments;
mod commit;
#[cfg(test)]
mod conformance;
mod desks;
mod dialect;
mod duty;
mod emit;
mod end;
mod error;
mod file;
mod follow;
mod follow_list;
mod held;
mod invariants;
mod kept;
mod keyring;
mod known;
mod lock;
mod look;
mod opened;
mod opted_out;
mod outbox;
mod past;
mod people;
mod permission;
mod placed;
mod pool;
mod prepared;
mod read;
mod ready;
mod record;
mod replies;
mod reply;
mod rollup;
mod row;
mod rulings;
mod seal;
mod sends;
mod sent;
mod server;
mod settle;
mod shared;
mod sql;
#[cfg(test)]
mod statements;
mod subscriptions;
mod summary;
mod sums;
mod tapped;
mod told;
mod tries;
mod turns;
mod tx;
mod views;
mod watch;
mod wishes;
mod write;

pub use calls::{
    Accepted, Attempt, Backlog, Cancelled, Carriage, Check, Claim, Condition, Dispatch, Filter,
    Find, Finding, Lease, NewReply, NewRequest, Pair, Replied, Report, Second, Settlement, Speaker,
};
pub use comments::{CommentFilter, Comments};
pub use error::{StoreError, StoreErrorKind};
pub use follow::{FollowUps, Followed};
pub use follow_list::LowFilter;
pub use held::{HeldAnswer, HeldAnswers, Note, Noted, Release};
pub use keyring::{KeyRing, KeyRingError};
pub use outbox::{Behind, Keeping, Outbox};
pub use people::{
    Erased, Forgotten, Held, HeldReply, Lifted, OptOutCursor, OptOutPage, People, Resealed,
};
pub use permission::{Again, Ceiling, Permission};
pub use rulings::{PastTrigger, Rulings};
pub use sql::SqlStore;
pub use subscriptions::{Subscriptions, WebhookChange};
pub use summary::{Group, Summaries};
pub use tries::{Tries, WebhookTries, WebhookWork};
pub use views::{NewView, Tap, Views};
pub use wishes::{Wish, Wishes};

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `sqlite:FILE` or `postgres://…`.
    pub url: String,
    /// The most connections to PostgreSQL.
    pub connections: u32,
    /// Prepared statements kept per connection to PostgreSQL; 0 behind a pooler in transaction mode.
    pub statement_cache: usize,
    /// Whether claims on PostgreSQL skip rows that somebody else has locked. Only speed: without it they wait for each other.
    pub skip_locked: bool,
    /// Writes that may wait for their transaction before further ones are refused.
    pub queue: usize,
    /// The most writes in one transaction.
    pub batch: usize,
    /// Milliseconds for which a claim is held. Longer than a provider call may take.
    pub lease_ms: i64,
    /// Sends a day that nothing may pass.
    pub ceilings: Ceilings,
}

/// The most sends a day (of UTC, by the database's clock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// To one address, by all desks.
    pub address: i64,
    /// By one desk.
    pub desk: i64,
}

/// Everything that the journey asks of the store.
#[async_trait]
pub trait Store:
    Comments
    + Rulings
    + Views
    + HeldAnswers
    + Outbox
    + Subscriptions
    + Tries
    + Summaries
    + FollowUps
    + People
    + Wishes
    + Send
    + Sync
{
    /// Brings the schema up to date.
    async fn migrate(&self) -> Result<(), StoreError>;
    /// Whether the database answers and its schema fits this binary.
    async fn ready(&self) -> Result<bool, StoreError>;
    /// Finishes what is waiting and closes the connections.
    async fn close(&self);
    /// Waits until the disk under the database has failed; why. Nothing is acknowledged any more, and the process has to end.
    async fn broken(&self) -> String;
    /// What time it is by the clock that all replicas share; `None` if that is this machine's own.
    async fn shared_time(&self) -> Result<Option<Timestamp>, StoreError>;
    /// How the connections and files are doing.
    fn condition(&self) -> Condition;

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

    /// Takes due requests of these channels out of the queue, for one worker.
    async fn claim_deliveries(
        &self,
        owner: &str,
        channels: &[&str],
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError>;
    /// Commits to sending, before the first byte.
    async fn dispatch(&self, dispatch: Dispatch) -> Result<Permission, StoreError>;
    /// Records what came of sending. `false` if the worker was fenced out or evidence was faster.
    async fn report(&self, report: Report) -> Result<bool, StoreError>;
    /// Puts back into the queue what this worker has claimed and not begun to send; how many.
    async fn release(&self, owner: &str) -> Result<u64, StoreError>;
    /// Ends every lease: for a start on a database that only this process works on.
    async fn take_over(&self) -> Result<(), StoreError>;
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
    /// Takes attempts whose turn it is to be looked after, for one worker and for a minute.
    async fn claim_checks(&self, limit: i64, now: Timestamp) -> Result<Vec<Check>, StoreError>;
    /// Which of these ids of a provider belong to attempts.
    async fn taken(&self, provider: &str, ids: &[&str]) -> Result<Vec<String>, StoreError>;
    /// Records what looking after an attempt came to. `false` if it was settled otherwise meanwhile.
    async fn settle(&self, settlement: Settlement) -> Result<bool, StoreError>;
    /// Takes or keeps a scheduled duty for `lease_ms` on the database's clock. `None` while somebody else has it.
    async fn hold_duty(
        &self,
        name: &str,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<Lease>, StoreError>;
    /// How far a duty has come, whoever has it; 0 if it was never done.
    async fn duty_mark(&self, name: &str) -> Result<i64, StoreError>;
    /// Notes how far a duty has come. `false` if it is not ours any more.
    async fn mark_duty(&self, name: &str, lease: Lease, mark: i64) -> Result<bool, StoreError>;
    /// Whether this text of a provider is known to belong to nobody.
    async fn is_stray(&self, provider: &str, provider_id: &str) -> Result<bool, StoreError>;
    /// Remembers that a text of a provider belongs to nobody.
    async fn add_stray(
        &self,
        provider: &str,
        provider_id: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;
    /// Forgets what bounds nothing any more: yesterday's counts, old texts that belonged to nobody.
    async fn forget(&self, now: Timestamp) -> Result<u64, StoreError>;
    /// How often each invariant is broken; all 0 as long as the promises hold. These are questions over all rows, so one may take
    /// too long where another is answered.
    async fn invariants(&self) -> Vec<(&'static str, Result<i64, StoreError>)>;
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
    /// Takes back whatever the contact said about not being asked, to whichever desk, unless it was said after `at`; whether there
    /// was something.
    async fn opt_in(
        &self,
        address: &Address,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Ends what had waited long enough at `heard`, up to when every reply is known; how many.
    async fn expire(&self, now: Timestamp, heard: Timestamp, limit: i64)
    -> Result<u64, StoreError>;
    /// Moves events into the totals; how many.
    async fn fold(&self, limit: i64) -> Result<u64, StoreError>;
    /// When the oldest event happened that is not in the totals yet.
    async fn oldest_unfolded(&self) -> Result<Option<Timestamp>, StoreError>;
    /// Folded totals plus what is not folded yet, read in one statement; each place stands once.
    async fn totals(&self) -> Result<Vec<Arc<Totals>>, StoreError>;
    /// What is being carried.
    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError>;
}

/// The store as everybody holds it.
pub type SharedStore = Arc<dyn Store>;
