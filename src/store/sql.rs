//! The store on SQL: how its parts fit together. The statements stand with the step that they serve.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use tokio::sync::RwLock;
use tokio_util::task::TaskTracker;

use super::commit::GroupCommit;
use super::dialect::Database;
use super::known::Known;
use super::opened::OpenedSettings;
use super::write::{Write, Written};
use super::{
    Accepted, Backlog, Cancelled, Ceilings, Check, Claim, Condition, Dispatch, Filter, Find,
    KeyRing, Lease, NewReply, NewRequest, Permission, Replied, Report, Settlement, Store,
    StoreError, StoreSettings,
};
use crate::clock::{Entropy, random};
use crate::domain::contact::Address;
use crate::domain::delivery::Status;
use crate::domain::desk::{ApiKey, Desk, DeskSettings};
use crate::domain::id::{DeskId, KeyId, RequestId};
use crate::domain::rating::Rating;
use crate::domain::request::{Channel, Request};
use crate::domain::statistics::Totals;
use crate::domain::time::Timestamp;
use crate::domain::token::TokenHash;

/// What every step needs.
pub(super) struct Inner {
    pub(super) database: Database,
    pub(super) keys: KeyRing,
    pub(super) entropy: Arc<dyn Entropy>,
    /// Events made so far, which tells those of one millisecond apart.
    pub(super) made: AtomicU32,
    pub(super) lease_ms: i64,
    pub(super) ceilings: Ceilings,
    pub(super) skip_locked: bool,
    /// The totals that were read before.
    pub(super) known: tokio::sync::Mutex<Known>,
    pub(super) opened: OpenedSettings,
}

impl Inner {
    /// Ten random bytes, for an identifier.
    pub(super) fn random(&self) -> [u8; 10] {
        random(self.entropy.as_ref())
    }
}

/// The store on SQLite or PostgreSQL.
pub struct SqlStore {
    pub(super) inner: Arc<Inner>,
    /// Gone once the store is closing.
    commit: RwLock<Option<GroupCommit>>,
    tasks: TaskTracker,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SqlStore")
    }
}

impl SqlStore {
    /// Opens the database and starts its writers. Does not touch the schema.
    pub async fn open(
        settings: &StoreSettings,
        keys: KeyRing,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let database = Database::connect(settings).await?;
        let inner = Arc::new(Inner {
            database,
            keys,
            entropy,
            made: AtomicU32::new(0),
            lease_ms: settings.lease_ms,
            ceilings: settings.ceilings,
            skip_locked: settings.skip_locked,
            known: tokio::sync::Mutex::default(),
            opened: OpenedSettings::default(),
        });
        let tasks = TaskTracker::new();
        let commit = RwLock::new(Some(GroupCommit::start(&inner, settings, &tasks)));
        Ok(Self {
            inner,
            commit,
            tasks,
        })
    }

    pub(super) async fn write(&self, write: Write) -> Result<Written, StoreError> {
        let commit = self.commit.read().await.clone();
        match commit {
            Some(commit) => commit.write(write).await,
            None => Err(StoreError::Unavailable("the store is closed".to_owned())),
        }
    }
}

/// A write answers with its own kind; anything else is a mistake in `Inner::apply`.
macro_rules! expect {
    ($written:expr, $pattern:pat => $value:expr) => {
        match $written? {
            $pattern => Ok($value),
            other => Err(StoreError::Corrupt(format!(
                "a write was answered with {other:?}"
            ))),
        }
    };
}

#[async_trait]
impl Store for SqlStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.database.migrate().await
    }

    async fn ready(&self) -> Result<bool, StoreError> {
        self.inner.ready().await
    }

    async fn close(&self) {
        self.commit.write().await.take();
        self.tasks.close();
        self.tasks.wait().await;
        self.inner.database.close().await;
    }

    async fn broken(&self) -> String {
        match &self.inner.database {
            Database::Sqlite(file) => file.broken().await,
            // PostgreSQL ends by itself when its disk fails, and is away then.
            Database::Postgres(_) => std::future::pending().await,
        }
    }

    async fn shared_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.shared_time().await
    }

    fn condition(&self) -> Condition {
        self.inner.database.condition()
    }

    async fn add_desk(
        &self,
        slug: &str,
        name: &str,
        settings: &DeskSettings,
        now: Timestamp,
    ) -> Result<Option<Desk>, StoreError> {
        self.inner.add_desk(slug, name, settings, now).await
    }

    async fn desks(&self) -> Result<Vec<Desk>, StoreError> {
        self.inner.desks().await
    }

    async fn find_desk(&self, slug: &str) -> Result<Option<Desk>, StoreError> {
        self.inner.find_desk(slug).await
    }

    async fn desk(&self, id: DeskId) -> Result<Option<Desk>, StoreError> {
        self.inner.desk(id).await
    }

    async fn add_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.inner.add_key(key).await
    }

    async fn find_key(&self, handle: &str) -> Result<Option<ApiKey>, StoreError> {
        self.inner.find_key(handle).await
    }

    async fn revoke_key(
        &self,
        desk: DeskId,
        handle: &str,
        now: Timestamp,
    ) -> Result<Option<KeyId>, StoreError> {
        self.inner.revoke_key(desk, handle, now).await
    }

    async fn accept(&self, new: NewRequest) -> Result<Accepted, StoreError> {
        let prepared = self.inner.prepare(new)?;
        expect!(self.write(Write::Accept(Box::new(prepared))).await, Written::Accepted(accepted) => accepted)
    }

    async fn request(
        &self,
        desk: DeskId,
        id: RequestId,
    ) -> Result<Option<(Request, Option<Rating>)>, StoreError> {
        self.inner.request(desk, id).await
    }

    async fn requests(&self, desk: DeskId, filter: &Filter) -> Result<Vec<Request>, StoreError> {
        self.inner.requests(desk, filter).await
    }

    async fn cancel(
        &self,
        desk: DeskId,
        id: RequestId,
        now: Timestamp,
    ) -> Result<Option<Cancelled>, StoreError> {
        self.inner.cancel(desk, id, now).await
    }

    async fn ratings(
        &self,
        desk: DeskId,
        filter: &Filter,
    ) -> Result<Vec<(Rating, Request)>, StoreError> {
        self.inner.ratings(desk, filter).await
    }

    async fn find(&self, find: &Find) -> Result<Option<(Request, Option<Rating>)>, StoreError> {
        self.inner.find(find).await
    }

    async fn claim_deliveries(
        &self,
        owner: &str,
        channels: &[&str],
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<Claim>, StoreError> {
        self.inner
            .claim_deliveries(owner, channels, limit, now)
            .await
    }

    async fn dispatch(&self, dispatch: Dispatch) -> Result<Permission, StoreError> {
        expect!(self.write(Write::Dispatch(dispatch)).await, Written::Permission(permission) => permission)
    }

    async fn report(&self, report: Report) -> Result<bool, StoreError> {
        expect!(self.write(Write::Report(report)).await, Written::Reported(recorded) => recorded)
    }

    async fn release(&self, owner: &str) -> Result<u64, StoreError> {
        self.inner.release(owner).await
    }

    async fn take_over(&self) -> Result<(), StoreError> {
        self.inner.take_over().await
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.inner.sweep(now).await
    }

    async fn record_status(
        &self,
        token: TokenHash,
        provider_id: &str,
        status: Status,
        now: Timestamp,
    ) -> Result<Option<Request>, StoreError> {
        let write = Write::Status {
            token,
            provider_id: provider_id.to_owned(),
            status,
            now,
        };
        expect!(self.write(write).await, Written::Request(request) => request.map(|boxed| *boxed))
    }

    async fn claim_checks(&self, limit: i64, now: Timestamp) -> Result<Vec<Check>, StoreError> {
        self.inner.claim_checks(limit, now).await
    }

    async fn taken(&self, provider: &str, ids: &[&str]) -> Result<Vec<String>, StoreError> {
        self.inner.taken(provider, ids).await
    }

    async fn settle(&self, settlement: Settlement) -> Result<bool, StoreError> {
        let write = Write::Settle(Box::new(settlement));
        expect!(self.write(write).await, Written::Reported(recorded) => recorded)
    }

    async fn hold_duty(
        &self,
        name: &str,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<Lease>, StoreError> {
        self.inner.hold_duty(name, owner, lease_ms).await
    }

    async fn duty_mark(&self, name: &str) -> Result<i64, StoreError> {
        self.inner.duty_mark(name).await
    }

    async fn mark_duty(&self, name: &str, lease: Lease, mark: i64) -> Result<bool, StoreError> {
        self.inner.mark_duty(name, lease, mark).await
    }

    async fn is_stray(&self, provider: &str, provider_id: &str) -> Result<bool, StoreError> {
        self.inner.is_stray(provider, provider_id).await
    }

    async fn add_stray(
        &self,
        provider: &str,
        provider_id: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.add_stray(provider, provider_id, now).await
    }

    async fn forget(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.inner.forget(now).await
    }

    async fn invariants(&self) -> Vec<(&'static str, Result<i64, StoreError>)> {
        self.inner.invariants().await
    }

    async fn record_reached(
        &self,
        find: Find,
        now: Timestamp,
    ) -> Result<Option<Request>, StoreError> {
        let write = Write::Reached { find, now };
        expect!(self.write(write).await, Written::Request(request) => request.map(|boxed| *boxed))
    }

    async fn record_reply(&self, new: NewReply) -> Result<Option<Replied>, StoreError> {
        let write = Write::Reply(Box::new(new));
        expect!(self.write(write).await, Written::Replied(replied) => replied.map(|boxed| *boxed))
    }

    async fn opt_out(
        &self,
        channel: &Channel,
        address: &Address,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.opt_out(channel, address, now).await
    }

    async fn opt_in(
        &self,
        address: &Address,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.inner.opt_in(address, at, now).await
    }

    async fn expire(
        &self,
        now: Timestamp,
        heard: Timestamp,
        limit: i64,
    ) -> Result<u64, StoreError> {
        self.inner.expire(now, heard, limit).await
    }

    async fn fold(&self, limit: i64) -> Result<u64, StoreError> {
        self.inner.fold(limit).await
    }

    async fn oldest_unfolded(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.oldest_unfolded().await
    }

    async fn totals(&self) -> Result<Vec<Arc<Totals>>, StoreError> {
        self.inner.totals().await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.inner.backlog().await
    }
}
