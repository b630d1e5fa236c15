//! What the store does for the people in it: their wish not to be asked, everything that is held about them, forgetting, and
//! sealing anew with a newer key.
//!
//! Opt-outs and contacts belong to a desk. Forgetting and resealing are duties that walk over the rows of one desk in small steps
//! and note how far they have come (see `walk`), so that they cost nothing when there is nothing to do.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::sql::SqlStore;
use super::{Attempt, KeyRing, StoreError};
use crate::domain::contact::Address;
use crate::domain::follow_up::FollowUp;
use crate::domain::id::DeskId;
use crate::domain::opt_out::{NewOptOut, OptOut, Origin};
use crate::domain::rating::Rating;
use crate::domain::request::{Channel, Request};
use crate::domain::retention::Retention;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;

mod agents;
mod erase;
mod held;
mod links;
mod opt_outs;
mod reseal;
mod retain;
mod sealed;
mod walk;

/// A place in a desk's list of opt-outs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutCursor {
    /// Whether it lies in those that hold for every desk; they come after the desk's own.
    pub every_desk: bool,
    /// The channel.
    pub channel: String,
    /// The keyed hash of the address.
    pub hash: [u8; 16],
}

/// A part of a desk's list of opt-outs.
#[derive(Debug, Clone)]
pub struct OptOutPage {
    /// The opt-outs; may be fewer than asked for, also where more come after them.
    pub items: Vec<OptOut>,
    /// Where the next page begins; none on the last.
    pub next: Option<OptOutCursor>,
}

/// What became of taking an opt-out back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifted {
    /// So many entries of the desk are gone.
    Lifted(u64),
    /// The contact said it; nothing was changed.
    ByContact,
    /// There is none.
    Nothing,
}

/// A reply as it is held.
#[derive(Debug, Clone)]
pub struct HeldReply {
    /// In which form it came.
    pub kind: String,
    /// How we know that the contact gave it.
    pub grade: String,
    /// What it did.
    pub effect: String,
    /// Exactly what was written or pressed; empty once forgotten.
    pub raw: String,
    /// When we got it.
    pub at: Timestamp,
}

/// Everything held about one request of a person.
#[derive(Debug, Clone)]
pub struct Held {
    /// The request, with the person.
    pub request: Request,
    /// Its rating.
    pub rating: Option<Rating>,
    /// Its replies.
    pub replies: Vec<HeldReply>,
    /// Its provider calls.
    pub attempts: Vec<Attempt>,
    /// What was done about a low score.
    pub follow_ups: Vec<FollowUp>,
}

/// How much was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Requests that name nobody any more.
    pub requests: u64,
    /// Of these, those that were open and are cancelled now.
    pub cancelled: u64,
    /// Comments.
    pub comments: u64,
    /// Raw replies.
    pub replies: u64,
    /// Addresses in the desk's list of opt-outs; the opt-outs themselves stay.
    pub opt_outs: u64,
}

/// How much was forgotten in one step, by field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Requests that name nobody any more.
    pub addresses: u64,
    /// Comments.
    pub comments: u64,
    /// Raw replies.
    pub raws: u64,
    /// Scores that do not say any more whom they are about.
    pub ratings: u64,
    /// There is more to do at once.
    pub more: bool,
}

/// How far sealing anew has come at one desk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that are not under the newest key; `None` until they are counted.
    pub left: Option<u64>,
    /// There is more to do at once.
    pub more: bool,
}

/// What the store does for the people in it.
#[async_trait]
pub trait People: Send + Sync {
    /// A desk's opt-outs: its own, then those that hold for every desk and whose address the desk knows from its requests.
    async fn opt_outs(
        &self,
        desk: DeskId,
        after: Option<&OptOutCursor>,
        limit: i64,
    ) -> Result<OptOutPage, StoreError>;
    /// The opt-outs of one address, as far as the desk may know of them.
    async fn opt_outs_of(&self, desk: DeskId, address: &Address)
    -> Result<Vec<OptOut>, StoreError>;
    /// Adds opt-outs of a desk, all or none; how many were new. What is there already stays as it is.
    async fn add_opt_outs(
        &self,
        desk: DeskId,
        new: &[NewOptOut],
        now: Timestamp,
    ) -> Result<u64, StoreError>;
    /// Takes the desk's own opt-outs of an address back: all, or those of one channel.
    async fn lift_opt_outs(
        &self,
        desk: DeskId,
        address: &Address,
        channel: Option<&Channel>,
        now: Timestamp,
    ) -> Result<Lifted, StoreError>;

    /// What a desk holds about an address, in the order in which it was due, after this instant and identifier.
    async fn held(
        &self,
        desk: DeskId,
        address: &Address,
        after: Option<(Timestamp, uuid::Uuid)>,
        limit: i64,
    ) -> Result<Vec<Held>, StoreError>;
    /// Erases up to `limit` requests of an address, and cancels what is open. Nothing left to erase where none is counted.
    async fn erase(
        &self,
        desk: DeskId,
        address: &Address,
        now: Timestamp,
        limit: i64,
    ) -> Result<Erased, StoreError>;

    /// The desk of a link whose request names nobody any more.
    async fn kept_link(&self, link: TokenHash) -> Result<Option<DeskId>, StoreError>;
    /// Whoever has such a link does not want to be asked; its desk.
    async fn opt_out_by_kept_link(
        &self,
        link: TokenHash,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<DeskId>, StoreError>;

    /// Forgets what a desk has kept for long enough, at most `limit` rows of each field.
    async fn retain(
        &self,
        desk: DeskId,
        retention: &Retention,
        now: Timestamp,
        limit: i64,
    ) -> Result<Forgotten, StoreError>;

    /// The name of the key that seals.
    fn newest_key(&self) -> String;
    /// Seals values of a desk with the newest key that are sealed with an older one or not at all: one step of at most `limit` rows.
    async fn reseal(&self, desk: DeskId, limit: i64) -> Result<Resealed, StoreError>;
    /// How many values are sealed with which key; the empty name stands for those that are not sealed. Reads everything.
    async fn key_use(&self) -> Result<BTreeMap<String, u64>, StoreError>;
}

#[async_trait]
impl People for SqlStore {
    async fn opt_outs(
        &self,
        desk: DeskId,
        after: Option<&OptOutCursor>,
        limit: i64,
    ) -> Result<OptOutPage, StoreError> {
        self.inner.opt_outs(desk, after, limit).await
    }

    async fn opt_outs_of(
        &self,
        desk: DeskId,
        address: &Address,
    ) -> Result<Vec<OptOut>, StoreError> {
        self.inner.opt_outs_of(desk, address).await
    }

    async fn add_opt_outs(
        &self,
        desk: DeskId,
        new: &[NewOptOut],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.inner.add_opt_outs(desk, new, now).await
    }

    async fn lift_opt_outs(
        &self,
        desk: DeskId,
        address: &Address,
        channel: Option<&Channel>,
        now: Timestamp,
    ) -> Result<Lifted, StoreError> {
        self.inner.lift_opt_outs(desk, address, channel, now).await
    }

    async fn held(
        &self,
        desk: DeskId,
        address: &Address,
        after: Option<(Timestamp, uuid::Uuid)>,
        limit: i64,
    ) -> Result<Vec<Held>, StoreError> {
        self.inner.held_of(desk, address, after, limit).await
    }

    async fn erase(
        &self,
        desk: DeskId,
        address: &Address,
        now: Timestamp,
        limit: i64,
    ) -> Result<Erased, StoreError> {
        self.inner.erase(desk, address, now, limit).await
    }

    async fn kept_link(&self, link: TokenHash) -> Result<Option<DeskId>, StoreError> {
        self.inner.kept_link(&link).await
    }

    async fn opt_out_by_kept_link(
        &self,
        link: TokenHash,
        origin: Origin,
        now: Timestamp,
    ) -> Result<Option<DeskId>, StoreError> {
        self.inner.opt_out_by_kept_link(&link, origin, now).await
    }

    async fn retain(
        &self,
        desk: DeskId,
        retention: &Retention,
        now: Timestamp,
        limit: i64,
    ) -> Result<Forgotten, StoreError> {
        self.inner.retain(desk, retention, now, limit).await
    }

    fn newest_key(&self) -> String {
        KeyRing::newest(&self.inner.keys).to_owned()
    }

    async fn reseal(&self, desk: DeskId, limit: i64) -> Result<Resealed, StoreError> {
        self.inner.reseal(desk, limit).await
    }

    async fn key_use(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.inner.key_use().await
    }
}

/// Every statement of this folder.
#[cfg(test)]
pub(super) fn statements() -> Vec<(&'static str, super::dialect::Sql)> {
    [
        opt_outs::STATEMENTS,
        held::STATEMENTS,
        links::STATEMENTS,
        erase::STATEMENTS,
        retain::STATEMENTS,
        agents::STATEMENTS,
        reseal::STATEMENTS,
        sealed::STATEMENTS,
        walk::STATEMENTS,
    ]
    .concat()
}
